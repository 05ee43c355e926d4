//! The uncompressed bytes of a blob, and what must be true of them once all were read.

use std::io::{BufReader, Read};

use super::decompress::{Compression, Uncompressed};
use super::source::BlobReader;
use super::{BUFFER, Problem};
use crate::error::{ExitCode, Fault};
use crate::limits::Limits;
use crate::verify::{Blob, Verified};

/// A blob being decompressed from its start.
#[derive(Debug)]
pub(super) struct Stream<'a>(Uncompressed<BlobReader<'a>>);

impl<'a> Stream<'a> {
    pub(super) fn open(blob: &'a Verified<Blob>, limits: &Limits) -> Result<Self, Problem> {
        let compression = Compression::of(&blob.layer.descriptor)?;
        Uncompressed::new(BlobReader::new(blob), compression, limits).map(Self)
    }

    /// With a buffer for the archive's small reads; large ones pass it by.
    pub(super) fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(BUFFER, self)
    }

    /// Call when the end was read: what was decompressed must be what the image says.
    pub(super) fn finish(mut self, blob: &Blob) -> Result<(), Problem> {
        self.0.stored_mut().check(blob.layer.descriptor.digest)?;
        let (found, expected) = (self.0.digest(), blob.layer.diff_id);
        if found == expected { Ok(()) } else { Err(Problem::DiffId { found, expected }) }
    }

    /// Call when no more is wanted: at least nobody must have changed the file.
    pub(super) fn abandon(mut self, blob: &Blob) -> Result<(), Problem> {
        self.0.stored_mut().check(blob.layer.descriptor.digest)
    }

    /// The reason behind a problem: if the file was changed since it was verified, then that.
    pub(super) fn explain(mut self, blob: &Blob, problem: Problem) -> Problem {
        if problem.exit_code() != ExitCode::Malformed {
            return problem;
        }
        match self.0.stored_mut().check(blob.layer.descriptor.digest) {
            Err(changed @ (Problem::Changed { .. } | Problem::Cut { .. })) => changed,
            _ => problem,
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
