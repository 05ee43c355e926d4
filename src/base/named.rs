//! A base that somebody names: what its documents say of its layers.

use crate::oci::{Digest, Error, ImageConfig, ImageManifest, Platform, Source};

/// What is known of a base by its name. Nobody vouches for it: see [`super::boundary::draw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBase {
    /// The digest of what has the name: an index or a manifest.
    pub digest: Digest,
    /// The digest of each layer's uncompressed bytes, lowest first.
    pub diff_ids: Vec<Digest>,
}

impl NamedBase {
    /// Fetches the manifest for a platform, and its configuration: no layer.
    ///
    /// # Errors
    /// What the source says; documents that contradict each other.
    pub fn fetch(source: &mut Source, platform: &Platform) -> Result<Self, Error> {
        let resolved = source.resolve(platform)?;
        let manifest = ImageManifest::parse(&resolved.manifest)?;
        let config = ImageConfig::parse(&source.config(&manifest.config)?)?;
        let (found, expected) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        if found != expected {
            return Err(Error::Document {
                document: format!("image configuration {}", manifest.config.digest),
                problem: format!("found {found} diff_ids, expected {expected}, one for each layer"),
            });
        }
        let digest = resolved.index.as_ref().unwrap_or(&resolved.manifest).digest;
        Ok(Self { digest, diff_ids: config.rootfs.diff_ids })
    }
}
