//! From what the user asked for to one manifest: resolved once, and by digest from then on
//! (P2, P4).

use super::source::Transport;
use super::{
    Descriptor, Digest, Document, Error, ImageConfig, ImageIndex, ImageManifest, Platform,
    RawManifest,
};

/// How many platforms of an index a message lists.
const LISTED: usize = 20;

/// The image that a reference names, at the moment it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest of the image for the platform that is wanted: a manifest, no index.
    pub manifest: RawManifest,
    /// The index that it was selected from, if the reference names one.
    pub index: Option<RawManifest>,
    /// What that index says of it.
    pub entry: Option<Descriptor>,
}

impl Resolved {
    /// Checks what the image's configuration says it runs on.
    ///
    /// Where an index was asked, both must agree (row 36). An image that is alone is used for
    /// what it is, as podman does, unless `asked` (an explicit `--platform`) says otherwise:
    /// podman only warns then, but an extension for the wrong machines is no use.
    pub fn check_platform(
        &self,
        config: &ImageConfig,
        asked: Option<&Platform>,
    ) -> Result<(), Error> {
        let found = &config.platform;
        let expected = self.entry.as_ref().and_then(|entry| entry.platform.as_ref());
        match (expected, asked) {
            (Some(expected), _) if !agree(expected, found) => Err(Error::PlatformMismatch {
                found: Box::new(found.clone()),
                expected: Box::new(expected.clone()),
            }),
            (None, Some(wanted)) if !agree(wanted, found) => Err(Error::NoPlatform {
                found: format!("one image, for {found}"),
                wanted: Box::new(wanted.clone()),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether both mean the same machines; either may leave the variant out, as buildah does.
fn agree(a: &Platform, b: &Platform) -> bool {
    let unsaid = |platform: &Platform| platform.variant.as_deref().is_none_or(str::is_empty);
    let (x, y) = (a.normalized(), b.normalized());
    x.os == y.os
        && x.architecture == y.architecture
        && (unsaid(a) || unsaid(b) || x.variant == y.variant)
}

/// The one manifest of `index` for `wanted`; an index in an index is refused (row 35).
pub fn select<'a>(index: &'a ImageIndex, wanted: &Platform) -> Result<&'a Descriptor, Error> {
    let refuse = |found: String| Error::NoPlatform { found, wanted: Box::new(wanted.clone()) };
    if let Some(nested) = index.manifests.iter().find(|entry| entry.media_type.is_index()) {
        return Err(refuse(format!("an index in the index ({})", nested.digest)));
    }
    let matches = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|platform| platform.same_as(wanted))
    };
    let mut matching = index.manifests.iter().filter(matches);
    match (matching.next(), matching.next()) {
        (Some(entry), None) if entry.media_type.is_manifest() => Ok(entry),
        (Some(entry), None) => Err(refuse(format!("an entry of type {}", entry.media_type))),
        (Some(_), Some(_)) => Err(refuse(format!("{} images for it", matching.count() + 2))),
        (None, _) => Err(refuse(format!("none among {}", listing(index)))),
    }
}

fn listing(index: &ImageIndex) -> String {
    let platform = |entry: &Descriptor| match &entry.platform {
        Some(platform) => platform.to_string(),
        None => "an entry without platform".to_owned(),
    };
    let mut names: Vec<_> = index.manifests.iter().take(LISTED).map(platform).collect();
    if index.manifests.len() > LISTED {
        names.push(format!("{} more", index.manifests.len() - LISTED));
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Resolves what `transport` was opened for; `demanded` is the digest in the reference.
pub(super) fn resolve(
    transport: &mut dyn Transport,
    demanded: Option<Digest>,
    platform: &Platform,
) -> Result<Resolved, Error> {
    let root = transport.root()?;
    if let Some(expected) = demanded
        && root.digest != expected
    {
        return Err(Error::DigestMismatch { what: "manifest", found: root.digest, expected });
    }
    let index = match Document::parse(&root)? {
        Document::Manifest(_) => {
            return Ok(Resolved { manifest: root, index: None, entry: None });
        }
        Document::Index(index) => index,
    };
    let entry = select(&index, platform)?;
    let manifest = transport.manifest(entry)?;
    check(&manifest, entry)?;
    ImageManifest::parse(&manifest)?;
    let entry = Some(entry.clone());
    Ok(Resolved { manifest, index: Some(root), entry })
}

/// Checks a manifest against the descriptor that names it.
pub(super) fn check(manifest: &RawManifest, descriptor: &Descriptor) -> Result<(), Error> {
    const WHAT: &str = "manifest";
    let size = u64::try_from(manifest.bytes.len()).unwrap_or(u64::MAX);
    if size != descriptor.size {
        let digest = descriptor.digest;
        return Err(Error::SizeMismatch {
            what: WHAT,
            digest,
            found: size,
            expected: descriptor.size,
        });
    }
    if manifest.digest != descriptor.digest {
        let (found, expected) = (manifest.digest, descriptor.digest);
        return Err(Error::DigestMismatch { what: WHAT, found, expected });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ExitCode, Fault};

    fn index(platforms: &[&str]) -> ImageIndex {
        let entries: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(position, platform)| {
                let digest = Digest::of(&position.to_le_bytes());
                let mut words = platform.split('/');
                let (os, architecture) = (words.next().unwrap(), words.next().unwrap());
                let variant = words.next().unwrap_or_default();
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"{digest}",
                       "platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#
                )
            })
            .collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        ImageIndex::parse(&RawManifest::new(text.into_bytes(), None)).unwrap()
    }

    fn position(platforms: &[&str], wanted: &str) -> Result<usize, Error> {
        let index = index(platforms);
        let digest = select(&index, &wanted.parse().unwrap())?.digest;
        Ok(index.manifests.iter().position(|entry| entry.digest == digest).unwrap())
    }

    #[test]
    fn the_entry_of_the_platform_is_selected() {
        let all = ["linux/amd64", "linux/arm64/v8", "linux/arm/v6", "unknown/unknown"];
        assert_eq!(position(&all, "linux/x86_64").unwrap(), 0);
        assert_eq!(position(&all, "linux/arm64").unwrap(), 1);
        assert_eq!(position(&all, "linux/arm/v6").unwrap(), 2);
        assert_eq!(position(&["linux/amd64/v3", "linux/amd64"], "linux/amd64").unwrap(), 1);
    }

    /// Row 35.
    #[test]
    fn no_match_or_two_are_refused_with_what_is_there() {
        let error = position(&["linux/arm64", "linux/s390x"], "linux/amd64").unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Malformed);
        assert!(error.to_string().contains("linux/arm64, linux/s390x"), "{error}");
        let error = position(&["linux/arm64", "linux/arm64/v8"], "linux/arm64").unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Malformed);
        assert!(position(&[], "linux/arm64").is_err());
    }

    fn config(os: &str, architecture: &str) -> ImageConfig {
        let text = format!(
            r#"{{"os":"{os}","architecture":"{architecture}","rootfs":{{"diff_ids":[]}}}}"#
        );
        ImageConfig::parse(text.as_bytes()).unwrap()
    }

    /// Row 36.
    #[test]
    fn index_and_configuration_must_agree() {
        let amd64: Platform = "linux/amd64".parse().unwrap();
        let manifest = RawManifest::new(Vec::new(), None);
        let entry: Descriptor = serde_json::from_str(&format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":0,
                "digest":"{}","platform":{{"os":"linux","architecture":"amd64"}}}}"#,
            manifest.digest
        ))
        .unwrap();
        let selected = Resolved { manifest: manifest.clone(), index: None, entry: Some(entry) };
        selected.check_platform(&config("linux", "amd64"), Some(&amd64)).unwrap();
        let error = selected.check_platform(&config("linux", "arm64"), None).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Identity);
        let alone = Resolved { manifest, index: None, entry: None };
        alone.check_platform(&config("linux", "arm64"), None).unwrap();
        let error = alone.check_platform(&config("linux", "arm64"), Some(&amd64)).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Malformed);
    }

    #[test]
    fn row_36_the_platform_is_what_was_chosen() {
        let manifest = RawManifest::new(Vec::new(), None);
        let entry: Descriptor = serde_json::from_str(&format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":0,"digest":"{}",
                "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}"#,
            manifest.digest
        ))
        .unwrap();
        let selected = Resolved { manifest, index: None, entry: Some(entry) };
        for (text, is_right) in [
            (r#""os":"linux","architecture":"arm64""#, true),
            (r#""os":"linux","architecture":"arm64","variant":"v8""#, true),
            (r#""os":"linux","architecture":"arm64","variant":"""#, true),
            (r#""os":"linux","architecture":"arm64","variant":"v9""#, false),
            (r#""os":"linux","architecture":"amd64""#, false),
            (r#""os":"windows","architecture":"arm64""#, false),
        ] {
            let config = format!(r#"{{{text},"rootfs":{{"diff_ids":[]}}}}"#);
            let config = ImageConfig::parse(config.as_bytes()).unwrap();
            let error = selected.check_platform(&config, None).err();
            let code = error.as_ref().map(Fault::exit_code);
            assert_eq!(code, (!is_right).then_some(ExitCode::Identity), "{text}");
        }
    }
}
