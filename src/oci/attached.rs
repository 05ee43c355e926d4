//! The signatures that are attached to an image in cosign's tag scheme (L1–L3), as candidates.

use std::collections::BTreeMap;

use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;

use super::{Descriptor, Digest, Error, ImageManifest, RawManifest};
use crate::error::{ExitCode, Fault};
use crate::limits::Limits;
use crate::verify::Candidate;

/// The media type of a simple-signing payload.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// What the manifest of a `.sig` tag offers, in its order. `fetch` gets the bytes of a layer.
///
/// What cannot be used is a candidate too, and says why: it counts when no other is accepted,
/// and hides none that is (rows 7, 13).
pub fn candidates(
    manifest: &RawManifest,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Error>,
    limits: &Limits,
) -> Vec<Candidate> {
    let whole = format!("signature manifest {}", manifest.digest);
    let layers = match layers(manifest) {
        Ok(layers) => layers,
        Err(problem) => return vec![unusable(whole, problem, ExitCode::Signature)],
    };
    let found = layers.len();
    let (payloads, others): (Vec<_>, Vec<_>) =
        layers.into_iter().partition(|layer| layer.media_type.0 == SIMPLE_SIGNING);
    if payloads.is_empty() {
        let problem = format!(
            "found {found} layers, {} of other types, expected some of {SIMPLE_SIGNING}",
            others.len()
        );
        return vec![unusable(whole, problem, ExitCode::Signature)];
    }
    let most = usize::try_from(limits.signatures).unwrap_or(usize::MAX);
    let mut fetched = BTreeMap::new();
    let mut candidates: Vec<Candidate> = payloads
        .iter()
        .take(most)
        .map(|layer| candidate(layer, fetch, &mut fetched, limits))
        .collect();
    if payloads.len() > most {
        let problem = format!(
            "found {} signatures, expected at most {most}; the others are not looked at",
            payloads.len()
        );
        candidates.push(unusable(whole, problem, ExitCode::Limit));
    }
    candidates
}

/// What two places offer. One that does not answer hides nothing that is in the other, and is not
/// taken for one without signatures (L1, B8).
pub(super) fn both(
    image: &Digest,
    signatures: Result<Vec<Candidate>, Error>,
    bundles: Result<Vec<Candidate>, Error>,
) -> Result<Vec<Candidate>, Error> {
    let failed = |what: &str, error: &Error| {
        unusable(format!("{what} of {image}"), error.to_string(), error.exit_code())
    };
    match (signatures, bundles) {
        (Ok(mut signatures), Ok(bundles)) => {
            signatures.extend(bundles);
            Ok(signatures)
        }
        // Nothing here, and there nobody knows: that is what to say.
        (Ok(found), Err(error)) | (Err(error), Ok(found)) if found.is_empty() => Err(error),
        (Ok(mut signatures), Err(error)) => {
            signatures.push(failed("bundles", &error));
            Ok(signatures)
        }
        (Err(error), Ok(mut bundles)) => {
            bundles.push(failed("signatures", &error));
            Ok(bundles)
        }
        (Err(error), Err(_)) => Err(error),
    }
}

/// The layers, if it is an OCI image manifest and nothing else (L1).
fn layers(manifest: &RawManifest) -> Result<Vec<Descriptor>, String> {
    let parsed = ImageManifest::read(&manifest.bytes, manifest.media_type.as_deref())?;
    let declared = parsed.media_type.as_ref().map(|media_type| &*media_type.0);
    match declared.or(manifest.media_type.as_deref()) {
        Some(OCI_IMAGE_MEDIA_TYPE) => Ok(parsed.layers),
        None => Err(format!("found no media type, expected {OCI_IMAGE_MEDIA_TYPE}")),
        Some(found) => Err(format!("found media type {found}, expected {OCI_IMAGE_MEDIA_TYPE}")),
    }
}

/// One layer. Signatures of several keys often share one payload: it is fetched once.
fn candidate(
    layer: &Descriptor,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Error>,
    fetched: &mut BTreeMap<Digest, Vec<u8>>,
    limits: &Limits,
) -> Candidate {
    let Descriptor { digest, size, .. } = layer;
    let origin = format!("signature {digest}");
    if *size > limits.signature_size {
        let problem = format!("found {size} bytes, expected at most {}", limits.signature_size);
        return unusable(origin, problem, ExitCode::Limit);
    }
    let payload = match fetched.get(digest) {
        Some(payload) => payload.clone(),
        None => match fetch(layer) {
            Ok(payload) => payload,
            Err(error) => return unusable(origin, error.to_string(), error.exit_code()),
        },
    };
    let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    if length != *size {
        let problem = format!("found {length} bytes, expected {size}");
        return unusable(origin, problem, ExitCode::Integrity);
    }
    let found = Digest::of(&payload);
    if found != *digest {
        let problem = format!("found digest {found}, expected {digest}");
        return unusable(origin, problem, ExitCode::Integrity);
    }
    fetched.insert(*digest, payload.clone());
    Candidate::Payload { origin, payload, annotations: layer.annotations.clone() }
}

fn unusable(origin: String, problem: String, exit_code: ExitCode) -> Candidate {
    Candidate::Unusable { origin, problem, exit_code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str, bytes: &[u8], size: u64, signature: &str) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{}","size":{size},
                "annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}"#,
            Digest::of(bytes)
        )
    }

    fn manifest(layers: &[String]) -> RawManifest {
        let config = layer("application/vnd.oci.image.config.v1+json", b"{}", 2, "");
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_IMAGE_MEDIA_TYPE}","config":{config},
                "layers":[{}]}}"#,
            layers.join(",")
        );
        RawManifest::new(text.into_bytes(), Some(OCI_IMAGE_MEDIA_TYPE.to_owned()))
    }

    fn codes(manifest: &RawManifest, blob: &[u8]) -> Vec<Option<ExitCode>> {
        let mut fetch = |_: &Descriptor| Ok(blob.to_vec());
        candidates(manifest, &mut fetch, &Limits::default())
            .into_iter()
            .map(|candidate| match candidate {
                Candidate::Unusable { exit_code, .. } => Some(exit_code),
                Candidate::Payload { .. } | Candidate::Bundle { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_bad_candidate_hides_no_good_one() {
        use ExitCode::{Integrity, Limit};
        let good = |signature: &str| layer(SIMPLE_SIGNING, b"good", 4, signature);
        let layers = [
            layer(SIMPLE_SIGNING, b"huge", 200 << 20, ""),
            layer(SIMPLE_SIGNING, b"other", 4, ""),
            layer(SIMPLE_SIGNING, b"good", 5, ""),
            layer("application/octet-stream", b"good", 4, ""),
            good("1"),
        ];
        assert_eq!(
            codes(&manifest(&layers), b"good"),
            [Some(Limit), Some(Integrity), Some(Integrity), None]
        );
        let many: Vec<String> = (0..10_000).map(|i| good(&i.to_string())).collect();
        let many = codes(&manifest(&many), b"good");
        assert_eq!(many.iter().filter(|code| code.is_none()).count(), 100);
        assert_eq!(many.last(), Some(&Some(Limit)));
    }

    #[test]
    fn a_shared_payload_is_fetched_once_and_failures_keep_their_meaning() {
        let layers = ["1", "2"].map(|signature| layer(SIMPLE_SIGNING, b"good", 4, signature));
        let mut asked = 0;
        let mut fetch = |_: &Descriptor| {
            asked += 1;
            Ok(b"good".to_vec())
        };
        let found = candidates(&manifest(&layers), &mut fetch, &Limits::default());
        assert_eq!((found.len(), asked), (2, 1));
        let mut fetch = |_: &Descriptor| {
            let (url, problem) = ("https://registry.test/".to_owned(), String::new());
            Err(crate::oci::RegistryError::Absent { url, problem }.into())
        };
        let found = candidates(&manifest(&layers), &mut fetch, &Limits::default());
        assert!(found.iter().all(|candidate| matches!(
            candidate,
            Candidate::Unusable { exit_code: ExitCode::Network, .. }
        )));
    }

    #[test]
    fn only_an_oci_image_manifest_holds_signatures() {
        let good = manifest(&[layer(SIMPLE_SIGNING, b"good", 4, "1")]);
        assert_eq!(codes(&good, b"good"), [None]);
        let text = String::from_utf8(good.bytes.clone()).unwrap();
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let media_type = good.media_type.clone();
        for bad in [
            RawManifest { media_type: Some(docker.to_owned()), ..good.clone() },
            RawManifest::new(text.replace(OCI_IMAGE_MEDIA_TYPE, docker).into(), None),
            RawManifest::new(text.replace("{\"schema", "{\"manifests\":[],\"schema").into(), None),
            RawManifest::new(text.replace("sion\":2", "sion\":1").into(), media_type.clone()),
            RawManifest::new(b"{}".to_vec(), media_type.clone()),
            RawManifest::new(Vec::new(), media_type),
            manifest(&[]),
            manifest(&[layer("text/plain", b"", 0, "")]),
        ] {
            assert_eq!(codes(&bad, b"good"), [Some(ExitCode::Signature)], "{bad:?}");
        }
    }
}
