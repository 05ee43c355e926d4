//! From a verified digest to verified documents: manifest, configuration, layer descriptors.

use super::{Error, Verified};
use crate::oci::{Descriptor, Digest, ImageConfig, ImageManifest};

/// The digest of an image whose signature the user asked not to check.
///
/// The one way round a signature (`--insecure-skip-signature`); [`Unverified::image_manifest`]
/// is the one place that accepts it.
#[derive(Debug)]
pub struct Unverified(Digest);

impl Unverified {
    /// Takes the user's word for `digest`.
    pub fn skip_signature(digest: Digest) -> Self {
        Self(digest)
    }

    /// The manifest that has this digest: as whole as a verified one, but nobody vouches for it.
    pub fn image_manifest(&self, bytes: &[u8]) -> Result<Verified<ImageManifest>, Error> {
        parse_manifest(self.0, bytes)
    }
}

/// The manifest that has a verified digest.
pub fn image_manifest(
    digest: &Verified<Digest>,
    bytes: &[u8],
) -> Result<Verified<ImageManifest>, Error> {
    parse_manifest(**digest, bytes)
}

fn parse_manifest(expected: Digest, bytes: &[u8]) -> Result<Verified<ImageManifest>, Error> {
    const WHAT: &str = "manifest";
    let found = Digest::of(bytes);
    if found != expected {
        return Err(Error::DigestMismatch { what: WHAT, found, expected });
    }
    let manifest = ImageManifest::read(bytes, None).map_err(|problem| Error::Document {
        what: WHAT,
        digest: expected,
        problem,
    })?;
    Ok(Verified::assertion(manifest))
}

/// The configuration that a verified manifest names.
pub fn config(
    manifest: &Verified<ImageManifest>,
    bytes: &[u8],
) -> Result<Verified<ImageConfig>, Error> {
    const WHAT: &str = "image configuration";
    let Descriptor { digest: expected, size, .. } = manifest.config;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length != size {
        return Err(Error::SizeMismatch {
            what: WHAT,
            digest: expected,
            found: length,
            expected: size,
        });
    }
    let found = Digest::of(bytes);
    if found != expected {
        return Err(Error::DigestMismatch { what: WHAT, found, expected });
    }
    let config = ImageConfig::read(bytes).map_err(|problem| Error::Document {
        what: WHAT,
        digest: expected,
        problem,
    })?;
    Ok(Verified::assertion(config))
}

/// A layer of an image: its stored bytes, and what they must decompress to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// Its place in the image, 0 the lowest.
    pub index: usize,
    /// Media type, digest and size of the stored bytes.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed bytes.
    pub diff_id: Digest,
}

/// The layers of a verified image, lowest first.
pub fn layers(
    manifest: &Verified<ImageManifest>,
    config: &Verified<ImageConfig>,
) -> Result<Vec<Verified<LayerDescriptor>>, Error> {
    let (found, expected) = (config.rootfs.diff_ids.len(), manifest.layers.len());
    if found != expected {
        return Err(Error::LayerCount { found, expected });
    }
    Ok(manifest
        .layers
        .iter()
        .zip(&config.rootfs.diff_ids)
        .enumerate()
        .map(|(index, (descriptor, &diff_id))| {
            Verified::assertion(LayerDescriptor { index, descriptor: descriptor.clone(), diff_id })
        })
        .collect())
}
