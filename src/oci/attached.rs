//! Signatures attached to an image by cosign's tag scheme: the layers of a `.sig` manifest (L1, L2).

use super::{Descriptor, Digest, Error, ImageManifest, MediaType, RawManifest};
use crate::error::{ExitCode, Fault};
use crate::limits::Limits;
use crate::verify::Candidate;

/// The media type of a simple-signing payload.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Turns a `.sig` manifest into candidates; `fetch` gets the bytes of one of its layers.
///
/// What cannot be considered becomes [`Candidate::Unusable`], so that it never hides a good
/// signature (bad-inputs, "Which entries").
pub fn candidates(
    manifest: &RawManifest,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Error>,
    limits: &Limits,
) -> Vec<Candidate> {
    let origin = format!("signature manifest {}", manifest.digest);
    let unusable =
        |exit_code, problem| Candidate::Unusable { origin: origin.clone(), problem, exit_code };
    let layers = match ImageManifest::parse(manifest) {
        Ok(parsed) => {
            let declared = parsed.media_type.map(|media_type| media_type.0);
            match declared.as_deref().or(manifest.media_type.as_deref()) {
                None | Some(MediaType::OCI_MANIFEST) => parsed.layers,
                Some(_) => {
                    let problem = "found a docker manifest, expected an OCI image manifest";
                    return vec![unusable(ExitCode::Signature, problem.to_owned())];
                }
            }
        }
        Err(error) => return vec![unusable(ExitCode::Signature, error.to_string())],
    };
    let max = usize::try_from(limits.signatures).unwrap_or(usize::MAX);
    let mut candidates: Vec<_> =
        layers.iter().take(max).map(|layer| candidate(layer, fetch, limits)).collect();
    if layers.len() > max {
        let problem = format!(
            "found {} signatures, expected at most {max}: the rest is ignored",
            layers.len()
        );
        candidates.push(unusable(ExitCode::Limit, problem));
    }
    candidates
}

fn candidate(
    layer: &Descriptor,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Error>,
    limits: &Limits,
) -> Candidate {
    let origin = format!("signature {}", layer.digest);
    match payload(layer, fetch, limits) {
        Ok(payload) => {
            Candidate::Payload { origin, payload, annotations: layer.annotations.clone() }
        }
        Err((exit_code, problem)) => Candidate::Unusable { origin, problem, exit_code },
    }
}

fn payload(
    layer: &Descriptor,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Error>,
    limits: &Limits,
) -> Result<Vec<u8>, (ExitCode, String)> {
    if layer.media_type.0 != SIMPLE_SIGNING {
        let problem = format!("found media type {}, expected {SIMPLE_SIGNING}", layer.media_type);
        return Err((ExitCode::Signature, problem));
    }
    let max = limits.signature_size;
    if layer.size > max {
        let problem = format!("found {} bytes, expected at most {max}", layer.size);
        return Err((ExitCode::Limit, problem));
    }
    let payload = fetch(layer).map_err(|error| (error.exit_code(), error.to_string()))?;
    let size = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    if size != layer.size {
        let problem = format!("found {size} bytes, expected {}", layer.size);
        return Err((ExitCode::Integrity, problem));
    }
    let found = Digest::of(&payload);
    if found != layer.digest {
        let problem = format!("found digest {found}, expected {}", layer.digest);
        return Err((ExitCode::Integrity, problem));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":0,
        "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"layers":["#;

    fn manifest(layers: &[(&str, u64)]) -> RawManifest {
        let digest = Digest::of(b"payload");
        let layers: Vec<_> = layers
            .iter()
            .map(|(kind, size)| {
                format!(
                    r#"{{"mediaType":"{kind}","size":{size},"digest":"{digest}",
                       "annotations":{{"dev.cosignproject.cosign/signature":"x"}}}}"#
                )
            })
            .collect();
        RawManifest::new(format!("{MANIFEST}{}]}}", layers.join(",")).into_bytes(), None)
    }

    fn codes(manifest: &RawManifest, bytes: &[u8], limits: &Limits) -> Vec<Option<ExitCode>> {
        candidates(manifest, &mut |_| Ok(bytes.to_vec()), limits)
            .into_iter()
            .map(|candidate| match candidate {
                Candidate::Payload { payload, annotations, .. } => {
                    assert_eq!(payload, bytes);
                    assert_eq!(annotations.len(), 1);
                    None
                }
                Candidate::Unusable { exit_code, .. } => Some(exit_code),
            })
            .collect()
    }

    /// Rows 7 and 13.
    #[test]
    fn what_cannot_be_used_does_not_hide_what_can() {
        let limits = Limits::default();
        let layers =
            [("a/b", 7), (SIMPLE_SIGNING, 7), (SIMPLE_SIGNING, 1 << 30), (SIMPLE_SIGNING, 8)];
        let (signature, limit, integrity) =
            (Some(ExitCode::Signature), Some(ExitCode::Limit), Some(ExitCode::Integrity));
        assert_eq!(
            codes(&manifest(&layers), b"payload", &limits),
            [signature, None, limit, integrity]
        );
        assert_eq!(codes(&manifest(&layers[1..2]), b"paylaod", &limits), [integrity]);
        let many = vec![(SIMPLE_SIGNING, 7); 150];
        let found = codes(&manifest(&many), b"payload", &limits);
        assert_eq!((found.len(), found[99], found[100]), (101, None, limit));
        assert_eq!(codes(&RawManifest::new(b"{}".to_vec(), None), b"", &limits), [signature]);
        let mut docker = manifest(&[(SIMPLE_SIGNING, 7)]);
        let text = String::from_utf8(docker.bytes).unwrap();
        docker = RawManifest::new(
            text.replace(MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST).into_bytes(),
            None,
        );
        assert_eq!(codes(&docker, b"payload", &limits), [signature]);
    }

    #[test]
    fn a_failure_to_fetch_keeps_its_exit_code() {
        let one = manifest(&[(SIMPLE_SIGNING, 7)]);
        let mut fetch = |_: &Descriptor| {
            Err(Error::NoImage { place: "here".to_owned(), problem: "gone".to_owned() })
        };
        let found = candidates(&one, &mut fetch, &Limits::default());
        assert!(matches!(found[..], [Candidate::Unusable { exit_code: ExitCode::Io, .. }]));
    }
}
