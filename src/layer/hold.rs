//! Contents that wait until somebody has classified their file, one behind the other: in memory
//! while they are few, in an unnamed temporary file beyond that.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BUFFER, ContentSink, Problem, SinkError};
use crate::unnamed;

/// Bytes that are kept in memory, of all files together.
const MEMORY: usize = 4 << 20;

/// Contents of files that wait to be classified: there may be a million.
#[derive(Default)]
pub struct Spool(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Where each of the contents ends.
    ends: Vec<u64>,
    /// Bytes of all of them.
    length: u64,
    /// The first bytes.
    memory: Vec<u8>,
    /// All others.
    file: Option<File>,
}

/// The contents of one file that waits to be classified.
#[derive(Clone, Copy, Debug)]
pub struct Held<'s> {
    spool: &'s Spool,
    start: u64,
    end: u64,
}

impl Spool {
    /// Takes `size` bytes from a reader, whose errors are for the caller to explain, and says by
    /// which number they can be had.
    pub(super) fn hold(&self, size: u64, contents: &mut dyn Read) -> Result<u32, HoldError> {
        let mut inner = self.inner();
        let too_many = |_| HoldError::Write(io::Error::other("found 2^32 files that wait"));
        let number = u32::try_from(inner.ends.len()).map_err(too_many)?;
        let mut buffer = buffer(size);
        let mut left = size;
        let mut fill = || {
            while left > 0 {
                let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let chunk = buffer.get_mut(..wanted).unwrap_or_default();
                contents.read_exact(chunk).map_err(HoldError::Read)?;
                inner.append(chunk).map_err(HoldError::Write)?;
                left -= u64::try_from(wanted).unwrap_or(u64::MAX);
            }
            Ok(number)
        };
        let result = fill();
        inner.end();
        result
    }

    /// The contents of a number that this spool gave; of a [`SpoolWriter`]'s, the only ones.
    pub fn get(&self, number: u32) -> Held<'_> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let inner = self.inner();
        let end = |number: usize| inner.ends.get(number).copied().unwrap_or_default();
        Held { spool: self, start: number.checked_sub(1).map_or(0, end), end: end(number) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Vec<u8>> for Spool {
    fn from(bytes: Vec<u8>) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self(Mutex::new(Inner { ends: vec![length], length, memory: bytes, file: None }))
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").finish_non_exhaustive()
    }
}

impl Inner {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() <= MEMORY {
            self.memory.extend_from_slice(bytes);
        } else {
            let in_memory = u64::try_from(self.memory.len()).unwrap_or(u64::MAX);
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(unnamed::file(&unnamed::directory())?),
            };
            file.write_all_at(bytes, self.length - in_memory)?;
        }
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Ends the contents of a file.
    fn end(&mut self) {
        self.ends.push(self.length);
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let in_memory = usize::try_from(offset).ok().and_then(|offset| self.memory.get(offset..));
        match (in_memory.filter(|bytes| !bytes.is_empty()), &self.file) {
            (Some(mut bytes), _) => bytes.read(buffer),
            (None, Some(file)) => {
                let before = u64::try_from(self.memory.len()).unwrap_or(u64::MAX);
                file.read_at(buffer, offset.saturating_sub(before))
            }
            (None, None) => Ok(0),
        }
    }
}

impl Held<'_> {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Puts the contents into a sink.
    ///
    /// # Errors
    /// Those of the sink, and of reading what was held.
    pub fn store<S: ContentSink>(&self, sink: &mut S) -> Result<S::Content, SinkError> {
        sink.store(self.size(), &mut self.reader())
    }

    /// Reads the contents from the start; several readers do not disturb each other.
    pub fn reader(&self) -> impl Read + use<'_> {
        HeldReader { held: *self }
    }
}

/// What is left of contents.
struct HeldReader<'s> {
    held: Held<'s>,
}

impl Read for HeldReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Held { spool, start, .. } = self.held;
        let left = usize::try_from(self.held.size()).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        let count = if wanted == 0 { 0 } else { spool.inner().read_at(buffer, start)? };
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.held.start += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}

/// Takes the contents of one file as they are made.
#[derive(Default)]
pub struct SpoolWriter(Inner);

impl SpoolWriter {
    /// A spool of these contents alone.
    pub fn finish(mut self) -> Spool {
        self.0.end();
        Spool(Mutex::new(self.0))
    }
}

impl fmt::Debug for SpoolWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolWriter").finish_non_exhaustive()
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// No more than the contents need: most files are small, and there may be millions.
fn buffer(size: u64) -> Vec<u8> {
    vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(BUFFER)]
}

/// Why contents are not held.
#[derive(Debug)]
pub(super) enum HoldError {
    Read(io::Error),
    Write(io::Error),
}

impl HoldError {
    /// The problem, if it is not the reader's.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Self::Read(error) => Problem::Read(error),
            Self::Write(error) => Problem::Hold(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_takes_no_large_buffer() {
        assert_eq!(buffer(5).len(), 5);
        assert_eq!(buffer(u64::MAX).len(), BUFFER);
    }

    #[test]
    fn what_memory_has_no_room_for_waits_in_a_file() {
        let spool = Spool::default();
        let large = vec![7; MEMORY - 10];
        let contents: [&[u8]; 6] = [b"12345678", &large, b"abcde", b"", b"xyz", &large];
        for (number, bytes) in (0..).zip(contents) {
            let size = u64::try_from(bytes.len()).unwrap();
            let held = spool.hold(size, &mut bytes.chain(&b"rest"[..])).unwrap();
            assert_eq!(held, number);
        }
        assert!(matches!(spool.hold(4, &mut &b"abc"[..]), Err(HoldError::Read(_))));
        let last = spool.hold(2, &mut &b"ok"[..]).unwrap();
        assert!(spool.inner().file.is_some());
        for (number, expected) in (0..).zip(contents).chain([(last, &b"ok"[..])]) {
            let held = spool.get(number);
            assert_eq!(held.size(), u64::try_from(expected.len()).unwrap());
            let mut bytes = Vec::new();
            held.reader().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn what_is_made_waits_like_what_was_there() {
        let mut writer = SpoolWriter::default();
        for n in 0..600_000 {
            writeln!(writer, "line {n}").unwrap();
        }
        let spool = writer.finish();
        assert!(spool.inner().file.is_some());
        let mut text = String::new();
        spool.get(0).reader().read_to_string(&mut text).unwrap();
        assert!(text.lines().enumerate().all(|(n, line)| line == format!("line {n}")));
        assert_eq!(text.lines().count(), 600_000);
    }
}
