//! A copy of a layer: bytes on this machine, in whatever form, that were put together, hashed, and
//! found to be what a verified configuration says of the layer when it is decompressed.

use sha2::{Digest as _, Sha256};

use super::{Error, LayerDescriptor, Verified};
use crate::oci::Digest;

/// The uncompressed bytes of a layer, in an archive that somebody else could change: whoever reads
/// them hashes them again.
#[derive(Debug)]
pub struct LayerCopy<A> {
    /// Which layer they are.
    pub layer: LayerDescriptor,
    /// What has them.
    pub archive: A,
}

/// Hashes the uncompressed bytes of a layer; its end is the only maker of a verified [`LayerCopy`].
#[derive(Debug)]
pub struct CopyHasher {
    layer: LayerDescriptor,
    hasher: Sha256,
}

impl CopyHasher {
    /// Starts a layer.
    pub fn new(layer: &Verified<LayerDescriptor>) -> Self {
        Self { layer: LayerDescriptor::clone(layer), hasher: Sha256::new() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Ends the layer: the digest must be its `diff_id`. `archive` has the bytes taken.
    pub fn finish<A>(self, archive: A) -> Result<Verified<LayerCopy<A>>, Error> {
        let found = Digest::from_bytes(self.hasher.finalize().into());
        let expected = self.layer.diff_id;
        if found != expected {
            return Err(Error::DigestMismatch { what: "copy of a layer", found, expected });
        }
        Ok(Verified::assertion(LayerCopy { layer: self.layer, archive }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Descriptor, MediaType};

    #[test]
    fn a_copy_has_the_diff_id_of_its_layer() {
        let descriptor = Descriptor {
            media_type: MediaType("application/vnd.oci.image.layer.v1.tar+gzip".to_owned()),
            digest: Digest::of(b"stored"),
            size: 6,
            urls: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        };
        let diff_id = Digest::of(b"bytes");
        let layer = Verified::assertion(LayerDescriptor { index: 0, descriptor, diff_id });
        let copy = |parts: &[&[u8]]| {
            let mut hasher = CopyHasher::new(&layer);
            for part in parts {
                hasher.update(part);
            }
            hasher.finish(())
        };
        assert_eq!(copy(&[b"by", b"", b"tes"]).unwrap().layer, *layer);
        for other in [&[b"byte".as_slice()][..], &[b"stored"], &[], &[b"bytes", b"x"]] {
            let found = Digest::of(&other.concat());
            assert_eq!(
                copy(other).unwrap_err(),
                Error::DigestMismatch { what: "copy of a layer", found, expected: diff_id }
            );
        }
    }
}
