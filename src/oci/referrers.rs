//! The bundles that refer to an image: cosign's newer format, artifacts with a subject (B1, B2).

use serde::Deserialize;

use super::{
    Descriptor, Digest, Error, ImageIndex, ImageManifest, MediaType, RawManifest, resolve,
};
use crate::error::{ExitCode, Fault};
use crate::json;
use crate::limits::Limits;
use crate::verify::Candidate;

/// What the types of bundles start with; the version follows.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The media types of bundles that are read, one for each spelling.
const READ: [&str; 2] = [
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];
/// What indexes say of artifacts whose type they do not know (buildx #4010).
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What the bundles come from.
pub(super) trait Referrers {
    /// The manifest of a referrer.
    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error>;
    /// The bytes of a bundle, stored as they are.
    fn blob(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
}

/// An entry of an index of referrers.
#[derive(Clone, Debug)]
pub(super) struct Referrer {
    pub descriptor: Descriptor,
    artifact_type: Option<String>,
}

impl Referrer {
    /// One of which only the descriptor is known.
    pub(super) fn new(descriptor: Descriptor) -> Self {
        Self { descriptor, artifact_type: None }
    }
}

/// The entries of an index of referrers.
pub(super) fn entries(index: &RawManifest) -> Result<Vec<Referrer>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        artifact_type: Option<String>,
    }
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Entry>,
    }
    let found = ImageIndex::read(&index.bytes, index.media_type.as_deref())?;
    let types: Index = json::parse(&index.bytes, json::DEEPEST)?;
    let entries = found.manifests.into_iter().zip(types.manifests);
    Ok(entries
        .map(|(descriptor, entry)| Referrer { descriptor, artifact_type: entry.artifact_type })
        .collect())
}

/// The bundles among what is said to refer to `image`; anything else that does is no business of
/// ours. Believed is only what the fetched manifests say (B1).
///
/// What cannot be used is a candidate too, and says why, as in [`super::attached::candidates`].
pub(super) fn candidates(
    image: &Digest,
    mut referrers: Vec<Referrer>,
    source: &mut dyn Referrers,
    limits: &Limits,
) -> Vec<Candidate> {
    // Those that are likely to be bundles first, so that others do not use up the limit; of these
    // the smallest, so that large ones do not use up the time.
    referrers.sort_by_key(|referrer| {
        let kind = match referrer.artifact_type.as_deref() {
            Some(kind) if kind.starts_with(BUNDLE) => 0,
            None | Some(EMPTY | "") => 1,
            Some(_) => 2,
        };
        (kind, referrer.descriptor.size)
    });
    let most = usize::try_from(limits.signatures).unwrap_or(usize::MAX);
    let found = referrers.len();
    let mut candidates = Vec::new();
    for Referrer { descriptor, .. } in referrers.into_iter().take(most) {
        let origin = format!("bundle {}", descriptor.digest);
        match candidate(image, &descriptor, &origin, source, limits) {
            Ok(candidate) => candidates.extend(candidate),
            Err((exit_code, problem)) => {
                candidates.push(Candidate::Unusable { origin, problem, exit_code });
            }
        }
    }
    if found > most {
        candidates.push(Candidate::Unusable {
            origin: format!("what refers to {image}"),
            problem: format!(
                "found {found} of them, expected at most {most}; the others are not looked at"
            ),
            exit_code: ExitCode::Limit,
        });
    }
    candidates
}

/// One referrer; none if it is no bundle.
fn candidate(
    image: &Digest,
    descriptor: &Descriptor,
    origin: &str,
    source: &mut dyn Referrers,
    limits: &Limits,
) -> Result<Option<Candidate>, (ExitCode, String)> {
    let refuse = |problem: String| (ExitCode::Signature, problem);
    let failed = |error: Error| (error.exit_code(), error.to_string());
    // An index of signatures is none; nor is one of another kind.
    if !descriptor.media_type.is_manifest() {
        return Ok(None);
    }
    if descriptor.size > limits.manifest_size {
        let (found, max) = (descriptor.size, limits.manifest_size);
        return Err((ExitCode::Limit, format!("found {found} bytes, expected at most {max}")));
    }
    let raw = source.manifest(descriptor).map_err(failed)?;
    resolve::check(&raw, descriptor).map_err(failed)?;
    let Artifact { artifact_type, subject } = Artifact::of(&raw.bytes).map_err(refuse)?;
    let manifest = ImageManifest::read(&raw.bytes, raw.media_type.as_deref()).map_err(refuse)?;
    let is_bundle = |kind: &MediaType| kind.0.starts_with(BUNDLE);
    if !artifact_type.as_ref().is_some_and(is_bundle)
        && !manifest.layers.iter().any(|layer| is_bundle(&layer.media_type))
    {
        return Ok(None);
    }
    match subject {
        Some(subject) if subject.digest == *image => {}
        Some(subject) => {
            return Err(refuse(format!("refers to another image, {}", subject.digest)));
        }
        None => return Err(refuse("found no subject, expected the image".to_owned())),
    }
    let [layer] = &*manifest.layers else {
        return Err(refuse(format!("found {} layers, expected one", manifest.layers.len())));
    };
    let Descriptor { media_type, digest, size, .. } = layer;
    // Nothing is decompressed: what says that it would have to be is no bundle (row 26).
    if !READ.contains(&&*media_type.0.replace(' ', "")) {
        return Err(refuse(format!("found a layer of type {media_type}, expected {}", READ[0])));
    }
    if *size > limits.bundle_size {
        let problem = format!("found {size} bytes, expected at most {}", limits.bundle_size);
        return Err((ExitCode::Limit, problem));
    }
    let bundle = source.blob(layer).map_err(failed)?;
    let length = u64::try_from(bundle.len()).unwrap_or(u64::MAX);
    if length != *size {
        return Err((ExitCode::Integrity, format!("found {length} bytes, expected {size}")));
    }
    let found = Digest::of(&bundle);
    if found != *digest {
        return Err((ExitCode::Integrity, format!("found digest {found}, expected {digest}")));
    }
    Ok(Some(Candidate::Bundle { origin: origin.to_owned(), bundle }))
}

/// What a manifest says of itself as an artifact.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    artifact_type: Option<MediaType>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
}

impl Artifact {
    pub(super) fn of(manifest: &[u8]) -> Result<Self, String> {
        json::parse(manifest, json::DEEPEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Nothing(Vec<u8>);

    impl Referrers for Nothing {
        fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
            Ok(RawManifest::new(self.0.clone(), Some(descriptor.media_type.0.clone())))
        }

        fn blob(&mut self, _: &Descriptor) -> Result<Vec<u8>, Error> {
            Ok(self.0.clone())
        }
    }

    /// Notes which manifests are asked for, and has none.
    struct Asked(Vec<u64>);

    impl Referrers for Asked {
        fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
            self.0.push(descriptor.size);
            Ok(RawManifest::new(Vec::new(), None))
        }

        fn blob(&mut self, _: &Descriptor) -> Result<Vec<u8>, Error> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn bundles_come_first_and_of_these_the_smallest() {
        let digest = Digest::of(b"");
        let entry = |kind: &str, size: u64| {
            format!(
                r#"{{"mediaType":"{}","size":{size},"digest":"{digest}","artifactType":"{kind}"}}"#,
                MediaType::OCI_MANIFEST
            )
        };
        let listed = [("text/x", 1), (BUNDLE, 900), (EMPTY, 3), (BUNDLE, 5)];
        let listed = listed.map(|(kind, size)| entry(kind, size)).join(",");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{listed}]}}"#);
        let found = entries(&RawManifest::new(index.into_bytes(), None)).unwrap();
        let mut asked = Asked(Vec::new());
        candidates(&digest, found, &mut asked, &Limits::default());
        assert_eq!(asked.0, [5, 900, 3, 1]);
    }

    proptest! {
        #[test]
        fn no_referrer_panics(bytes: Vec<u8>, text in r#"[\[\]{}",:a-zA-Z0-9]{0,60}"#) {
            for bytes in [bytes, text.into_bytes()] {
                let size = bytes.len();
                let digest = Digest::of(&bytes);
                let index = format!(
                    r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","size":{size},
                       "digest":"{digest}","artifactType":"{BUNDLE}"}}]}}"#,
                    MediaType::OCI_MANIFEST
                );
                let found = entries(&RawManifest::new(index.into_bytes(), None)).unwrap();
                let found = candidates(&digest, found, &mut Nothing(bytes.clone()), &Limits::default());
                let refused = |it: &Candidate| matches!(it, Candidate::Unusable { .. });
                prop_assert!(found.iter().all(refused));
                let _ = entries(&RawManifest::new(bytes, None));
            }
        }
    }
}
