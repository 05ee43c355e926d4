//! A blob: bytes on this machine that were hashed and found to be what a verified document names.

use std::fs::File;

use sha2::{Digest as _, Sha256};

use super::{Error, LayerDescriptor, Verified};
use crate::oci::Digest;

/// The stored bytes of a layer.
#[derive(Debug)]
pub struct Blob {
    /// Which layer they are.
    pub layer: LayerDescriptor,
    /// The bytes, from the start of the file to `layer.descriptor.size`.
    pub file: File,
    /// Whether somebody else could change them between two reads.
    pub origin: Origin,
}

/// Whose file a blob is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Our own unnamed spool: what was hashed is what will be read.
    Spool,
    /// Somebody's file: hashed again while it is decoded, and both must match (design decision 3).
    Local,
}

impl Verified<Blob> {
    /// The same blob once more: the same file, which is read by position.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let Blob { layer, file, origin } = &**self;
        let (layer, file) = (layer.clone(), file.try_clone()?);
        Ok(Self::assertion(Blob { layer, file, origin: *origin }))
    }
}

/// Hashes the bytes of a layer as they arrive; its end is the only maker of a verified [`Blob`].
#[derive(Debug)]
pub struct BlobHasher {
    layer: LayerDescriptor,
    hasher: Sha256,
    length: u64,
}

impl BlobHasher {
    /// Starts a layer.
    pub fn new(layer: &Verified<LayerDescriptor>) -> Self {
        Self { layer: LayerDescriptor::clone(layer), hasher: Sha256::new(), length: 0 }
    }

    /// Takes the next bytes; fails as soon as there are more than the descriptor says.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(length);
        if self.length > self.layer.descriptor.size {
            return Err(self.size_mismatch());
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// How many bytes were taken.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Ends the layer: size and digest must be the descriptor's. `file` holds the bytes taken.
    pub fn finish(self, file: File, origin: Origin) -> Result<Verified<Blob>, Error> {
        if self.length != self.layer.descriptor.size {
            return Err(self.size_mismatch());
        }
        let found = Digest::from_bytes(self.hasher.finalize().into());
        let expected = self.layer.descriptor.digest;
        if found != expected {
            return Err(Error::DigestMismatch { what: "layer", found, expected });
        }
        Ok(Verified::assertion(Blob { layer: self.layer, file, origin }))
    }

    fn size_mismatch(&self) -> Error {
        Error::SizeMismatch {
            what: "layer",
            digest: self.layer.descriptor.digest,
            found: self.length,
            expected: self.layer.descriptor.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::{Descriptor, MediaType};

    const BYTES: &[u8] = b"layer";

    fn layer(size: u64, bytes: &[u8]) -> Verified<LayerDescriptor> {
        let descriptor = Descriptor {
            media_type: MediaType("application/vnd.oci.image.layer.v1.tar".to_owned()),
            digest: Digest::of(bytes),
            size,
            urls: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        };
        Verified::assertion(LayerDescriptor { index: 0, descriptor, diff_id: Digest::of(b"") })
    }

    fn finish(hasher: BlobHasher) -> Result<Verified<Blob>, Error> {
        hasher.finish(tempfile::tempfile().unwrap(), Origin::Spool)
    }

    #[test]
    fn a_blob_is_what_its_descriptor_says() {
        for parts in [&[BYTES][..], &[&BYTES[..2], &BYTES[2..]], &[b"", BYTES, b""]] {
            let mut hasher = BlobHasher::new(&layer(5, BYTES));
            let mut length = 0;
            for part in parts {
                hasher.update(part).unwrap();
                length += u64::try_from(part.len()).unwrap();
                assert_eq!(hasher.length(), length);
            }
            let blob = finish(hasher).unwrap();
            assert_eq!((&blob.layer, blob.origin), (&*layer(5, BYTES), Origin::Spool));
            assert_eq!(blob.try_clone().unwrap().layer, blob.layer);
        }
    }

    /// Row 39: too few bytes, one too many, and as many others.
    #[test]
    fn row_39_other_bytes_are_no_blob() {
        let mut hasher = BlobHasher::new(&layer(5, BYTES));
        hasher.update(BYTES).unwrap();
        let size = |found| Error::SizeMismatch {
            what: "layer",
            digest: Digest::of(BYTES),
            found,
            expected: 5,
        };
        assert_eq!(hasher.update(b"x").unwrap_err(), size(6));
        let mut hasher = BlobHasher::new(&layer(5, BYTES));
        hasher.update(&BYTES[..4]).unwrap();
        assert_eq!(finish(hasher).unwrap_err(), size(4));
        let mut hasher = BlobHasher::new(&layer(5, BYTES));
        hasher.update(b"lAyer").unwrap();
        assert_eq!(
            finish(hasher).unwrap_err(),
            Error::DigestMismatch {
                what: "layer",
                found: Digest::of(b"lAyer"),
                expected: Digest::of(BYTES)
            }
        );
        // The size counts, too, where the digest is right.
        let mut hasher = BlobHasher::new(&layer(6, BYTES));
        hasher.update(BYTES).unwrap();
        assert!(finish(hasher).is_err());
    }

    proptest! {
        /// However the bytes arrive, they are a blob if, and only if, they are those.
        #[test]
        fn a_blob_in_parts(parts: Vec<Vec<u8>>, size in 0..20_u64, right_size: bool, right: bool) {
            let bytes = parts.concat();
            let length = u64::try_from(bytes.len()).unwrap();
            let size = if right_size { length } else { size };
            let layer = layer(size, if right { &bytes } else { b"others" });
            let mut hasher = BlobHasher::new(&layer);
            let taken = parts.iter().try_for_each(|part| hasher.update(part));
            prop_assert_eq!(taken.is_ok(), length <= size);
            if taken.is_ok() {
                let is_blob = size == length && (right || bytes == b"others");
                prop_assert_eq!(finish(hasher).is_ok(), is_blob);
            }
        }
    }
}
