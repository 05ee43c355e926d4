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
