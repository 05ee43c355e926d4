//! Contents that wait until somebody has classified their file: in memory while it is little,
//! in an unnamed temporary file beyond that.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{BUFFER, ContentSink, Problem, SinkError};
use crate::unnamed;

/// Bytes that are kept in memory, of all files together.
const MEMORY: u64 = 16 << 20;
/// Bytes of memory that contents take besides their own.
const OVERHEAD: u64 = 64;

/// The contents of one file that waits to be classified.
#[derive(Debug)]
pub struct Held(Place);

#[derive(Debug)]
enum Place {
    Memory(Box<[u8]>),
    Spool { file: Arc<File>, offset: u64, size: u64 },
}

impl Held {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Place::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Place::Spool { size, .. } => *size,
        }
    }

    /// Puts the contents into a sink.
    ///
    /// # Errors
    /// Those of the sink, and of reading what was held.
    pub fn store<S: ContentSink>(&self, sink: &mut S) -> Result<S::Content, SinkError> {
        sink.store(self.size(), &mut self.reader().map_err(SinkError::Read)?)
    }

    /// Reads the contents from the start; several readers do not disturb each other.
    pub fn reader(&self) -> io::Result<impl Read + '_> {
        Ok(match &self.0 {
            Place::Memory(bytes) => HeldReader::Memory(bytes),
            Place::Spool { file, offset, size } => {
                HeldReader::Spool { file, offset: *offset, left: *size }
            }
        })
    }
}

impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Memory(bytes.into()))
    }
}

/// Takes contents as they are made: in memory while they are few.
#[derive(Debug, Default)]
pub struct HeldWriter {
    memory: Vec<u8>,
    spool: Option<Spool>,
}

impl HeldWriter {
    /// The contents.
    ///
    /// # Errors
    /// The last of them cannot be written.
    pub fn finish(mut self) -> io::Result<Held> {
        let Some(mut spool) = self.spool.take() else { return Ok(self.memory.into()) };
        spool.write(&self.memory)?;
        Ok(Held(Place::Spool { file: spool.file, offset: 0, size: spool.end }))
    }
}

impl Write for HeldWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() >= 1 << 20 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    /// Writes what is in memory into the spool.
    fn flush(&mut self) -> io::Result<()> {
        let spool = Spool::of(&mut self.spool)?;
        spool.write(&self.memory)?;
        self.memory.clear();
        Ok(())
    }
}

enum HeldReader<'a> {
    Memory(&'a [u8]),
    Spool { file: &'a File, offset: u64, left: u64 },
}

impl Read for HeldReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(buffer),
            Self::Spool { file, offset, left } => {
                let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let buffer = buffer.get_mut(..wanted).unwrap_or_default();
                let count = file.read_at(buffer, *offset)?;
                if count == 0 && wanted > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let count_u64 = u64::try_from(count).unwrap_or(u64::MAX);
                *offset += count_u64;
                *left -= count_u64;
                Ok(count)
            }
        }
    }
}

/// Takes contents and says where they are kept.
#[derive(Debug)]
pub(super) struct Holder {
    memory: u64,
    spool: Option<Spool>,
}

#[derive(Debug)]
struct Spool {
    file: Arc<File>,
    end: u64,
}

impl Spool {
    /// The one that there is, or a new one.
    fn of(spool: &mut Option<Self>) -> io::Result<&mut Self> {
        Ok(match spool {
            Some(spool) => spool,
            none => {
                let file = unnamed::file(&unnamed::directory())?;
                none.insert(Self { file: Arc::new(file), end: 0 })
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.end += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl Holder {
    pub(super) fn new() -> Self {
        Self { memory: MEMORY, spool: None }
    }

    /// Takes `size` bytes from a reader; an error of the reader is for the caller to explain.
    pub(super) fn hold(&mut self, size: u64, contents: &mut dyn Read) -> Result<Held, HoldError> {
        // However small it is, a million of them would be much.
        let cost = size.saturating_add(OVERHEAD);
        if cost <= self.memory {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
            contents.read_exact(&mut bytes).map_err(HoldError::Read)?;
            self.memory -= cost;
            return Ok(Held(Place::Memory(bytes.into())));
        }
        let spool = Spool::of(&mut self.spool).map_err(HoldError::Write)?;
        let offset = spool.end;
        let mut buffer = buffer(size);
        let mut left = size;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            contents.read_exact(chunk).map_err(HoldError::Read)?;
            spool.write(chunk).map_err(HoldError::Write)?;
            left -= u64::try_from(wanted).unwrap_or(u64::MAX);
        }
        Ok(Held(Place::Spool { file: Arc::clone(&spool.file), offset, size }))
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
        let mut holder = Holder { memory: 10 + OVERHEAD, spool: None };
        let first = holder.hold(8, &mut &b"12345678rest"[..]).unwrap();
        let second = holder.hold(5, &mut &b"abcde"[..]).unwrap();
        let third = holder.hold(3, &mut &b"xyz"[..]).unwrap();
        assert!(matches!(first.0, Place::Memory(_)));
        assert!(matches!(second.0, Place::Spool { offset: 0, .. }));
        assert!(matches!(third.0, Place::Spool { offset: 5, .. }));
        for (held, expected) in [(&second, "abcde"), (&first, "12345678"), (&third, "xyz")] {
            let mut text = String::new();
            held.reader().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
            assert_eq!(held.size(), u64::try_from(expected.len()).unwrap());
        }
        assert!(matches!(holder.hold(4, &mut &b"abc"[..]), Err(HoldError::Read(_))));
    }
}
