//! The stored bytes of a layer, from first to last, counted and if need be hashed again.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};

use super::Problem;
use crate::oci::Digest;
use crate::verify::{Blob, Origin};

/// Reads a blob from its start by positioned reads, so that several readers can share the file.
#[derive(Debug)]
pub(super) struct BlobReader {
    file: File,
    offset: u64,
    size: u64,
    /// For a file that somebody else can change (design decision 3).
    hasher: Option<Sha256>,
}

impl BlobReader {
    pub(super) fn new(blob: &Blob) -> io::Result<Self> {
        let hasher = (blob.origin == Origin::Local).then(Sha256::new);
        let file = blob.file.try_clone()?;
        Ok(Self { file, offset: 0, size: blob.layer.descriptor.size, hasher })
    }

    /// Reads what is left and compares: whether these are the bytes that were verified.
    pub(super) fn check(&mut self, expected: Digest) -> Result<(), Problem> {
        if self.hasher.is_none() {
            return Ok(());
        }
        let mut buffer = vec![0; super::BUFFER];
        while self.read(&mut buffer).map_err(Problem::from_io)? > 0 {}
        match self.hasher.take().map(|hasher| Digest::from_bytes(hasher.finalize().into())) {
            Some(found) if found != expected => Err(Problem::Changed { found }),
            _ => Ok(()),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let count = loop {
            match self.file.read_at(buffer, self.offset) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::Read(error).into()),
            }
        };
        if count == 0 {
            return Err(Problem::Cut { found: self.offset, expected: self.size }.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
        self.offset += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}

/// Counts what a reader gives.
#[derive(Debug)]
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) count: u64,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, count: 0 }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}
