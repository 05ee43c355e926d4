//! The uncompressed bytes of a blob, and what must be true of them once all were read.
//!
//! A thread decompresses ahead of whoever reads, by a few buffers: inflating, and what is made of
//! the bytes, each keep a processor busy.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use sha2::{Digest as _, Sha256};

use super::decompress::{Compression, Uncompressed};
use super::source::BlobReader;
use super::{BUFFER, Problem, Spent};
use crate::error::{ExitCode, Fault};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::verify::{Blob, Verified};

/// How many buffers there are, full and empty.
const BUFFERS: usize = 4;

/// A blob being decompressed from its start.
#[derive(Debug)]
pub(super) struct Stream {
    ahead: Ahead,
    hasher: Sha256,
    buffer: Vec<u8>,
    /// How much of the buffer was taken.
    taken: usize,
    ended: bool,
}

/// The thread that decompresses.
#[derive(Debug)]
struct Ahead {
    /// What it gives: buffers, an empty one at the end, or an error.
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    thread: JoinHandle<Uncompressed<BlobReader>>,
}

impl Stream {
    pub(super) fn open(
        blob: &Verified<Blob>,
        limits: &Limits,
        spent: Spent,
    ) -> Result<Self, Problem> {
        let compression = Compression::of(&blob.layer.descriptor)?;
        let stored = BlobReader::new(blob).map_err(Problem::Read)?;
        let bytes = Uncompressed::new(stored, compression, limits, spent)?;
        Ok(Self {
            ahead: Ahead::start(bytes).map_err(Problem::Read)?,
            hasher: Sha256::new(),
            buffer: Vec::new(),
            taken: 0,
            ended: false,
        })
    }

    /// Call when the end was read: what was decompressed must be what the image says.
    pub(super) fn finish(self, blob: &Blob) -> Result<(), Problem> {
        self.ahead.stop()?.stored_mut().check(blob.layer.descriptor.digest)?;
        let (found, expected) =
            (Digest::from_bytes(self.hasher.finalize().into()), blob.layer.diff_id);
        if found == expected { Ok(()) } else { Err(Problem::DiffId { found, expected }) }
    }

    /// Call when no more is wanted: at least nobody must have changed the file.
    pub(super) fn abandon(self, blob: &Blob) -> Result<(), Problem> {
        self.ahead.stop()?.stored_mut().check(blob.layer.descriptor.digest)
    }

    /// The reason behind a problem: if the file was changed since it was verified, then that.
    pub(super) fn explain(self, blob: &Blob, problem: Problem) -> Problem {
        if problem.exit_code() != ExitCode::Malformed {
            return problem;
        }
        match self.abandon(blob) {
            Err(changed @ (Problem::Changed { .. } | Problem::Cut { .. })) => changed,
            _ => problem,
        }
    }
}

impl Ahead {
    fn start(bytes: Uncompressed<BlobReader>) -> io::Result<Self> {
        let (filled, full) = channel();
        let (empty, to_fill) = channel();
        // The last is the one that the stream begins with.
        for _ in 1..BUFFERS {
            let _ = empty.send(Vec::new());
        }
        let thread = Builder::new().name("decompress".to_owned());
        let thread = thread.spawn(move || decompress(bytes, &to_fill, &filled))?;
        Ok(Self { full, empty, thread })
    }

    /// Ends the thread, wherever it is.
    fn stop(self) -> Result<Uncompressed<BlobReader>, Problem> {
        drop((self.full, self.empty));
        self.thread.join().map_err(|_| Problem::Read(gone()))
    }
}

/// Fills buffers until the end, an error, or nobody wants more of them.
fn decompress(
    mut bytes: Uncompressed<BlobReader>,
    to_fill: &Receiver<Vec<u8>>,
    filled: &Sender<io::Result<Vec<u8>>>,
) -> Uncompressed<BlobReader> {
    while let Ok(mut buffer) = to_fill.recv() {
        buffer.resize(BUFFER, 0);
        let (length, result) = fill(&mut bytes, &mut buffer);
        buffer.truncate(length);
        // What came before an error is read before it.
        let goes_on = result.is_ok() && length > 0;
        if (length > 0 || result.is_ok()) && filled.send(Ok(buffer)).is_err() {
            break;
        }
        if let Err(error) = result {
            let _ = filled.send(Err(error));
        }
        if !goes_on {
            break;
        }
    }
    bytes
}

/// Reads until the buffer is full; how much there was, and why it is not full if not at the end.
fn fill(bytes: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match bytes.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(()))
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.buffer.len() && !self.ended {
            self.taken = 0;
            // It fails where the thread has ended, which is told below.
            let _ = self.ahead.empty.send(std::mem::take(&mut self.buffer));
            self.buffer = self.ahead.full.recv().unwrap_or_else(|_| Err(gone()))?;
            self.ended = self.buffer.is_empty();
            self.hasher.update(&self.buffer);
        }
        Ok(self.buffer.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.taken = self.buffer.len().min(self.taken + count);
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(to)?;
        self.consume(count);
        Ok(count)
    }
}

fn gone() -> io::Error {
    io::Error::other("reading failed before, or the decompressing thread has ended")
}
