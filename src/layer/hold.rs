//! Contents that wait until somebody has classified their file: in memory while it is little,
//! in an unnamed temporary file beyond that.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BUFFER, ContentSink, Problem, SinkError};
use crate::unnamed;

/// Bytes that are kept in memory, of all files together.
const MEMORY: u64 = 8 << 20;
/// Bytes of memory that contents take besides their own.
const OVERHEAD: u64 = 64;

/// The contents of one file that waits to be classified. A million may wait, so it is as small as
/// what a sink gives.
#[derive(Clone, Debug)]
pub struct Held(Place);

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<Box<[u8]>>),
    Spool { spool: Arc<Spool>, index: u32 },
}

impl Held {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Place::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Place::Spool { spool, index } => spool.range(*index).1,
        }
    }

    /// Puts the contents into a sink.
    ///
    /// # Errors
    /// Those of the sink, and of reading what was held.
    pub fn store<S: ContentSink>(&self, sink: &mut S) -> Result<S::Content, SinkError> {
        sink.store(self.size(), &mut self.reader())
    }

    /// Reads the contents from the start; several readers do not disturb each other.
    pub fn reader(&self) -> impl Read + '_ {
        match &self.0 {
            Place::Memory(bytes) => HeldReader::Memory(bytes),
            Place::Spool { spool, index } => {
                let (offset, left) = spool.range(*index);
                HeldReader::Spool { file: &spool.file, offset, left }
            }
        }
    }
}

impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Memory(Arc::new(bytes.into())))
    }
}

/// Takes contents as they are made: in memory while they are few.
#[derive(Debug, Default)]
pub struct HeldWriter {
    memory: Vec<u8>,
    spool: Option<Arc<Spool>>,
    /// How many are in the spool.
    written: u64,
}

impl HeldWriter {
    /// The contents.
    ///
    /// # Errors
    /// The last of them cannot be written.
    pub fn finish(mut self) -> io::Result<Held> {
        let Some(spool) = self.spool.take() else { return Ok(self.memory.into()) };
        spool.write(&self.memory, &mut self.written)?;
        spool.end(self.written)
    }
}

impl Write for HeldWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Before they are taken: whoever is told to try again brings them again.
        if self.memory.len() + bytes.len() > 1 << 20 {
            self.flush()?;
        }
        self.memory.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Writes what is in memory into the spool.
    fn flush(&mut self) -> io::Result<()> {
        Spool::of(&mut self.spool)?.write(&self.memory, &mut self.written)?;
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
    spool: Option<Arc<Spool>>,
}

/// Contents in a file, one behind the other.
#[derive(Debug)]
struct Spool {
    file: File,
    /// Where each of them ends. Here, as a million of [`Held`] should have nothing of their own.
    ends: Mutex<Vec<u64>>,
}

impl Spool {
    /// The one that there is, or a new one.
    fn of(spool: &mut Option<Arc<Self>>) -> io::Result<&Arc<Self>> {
        Ok(match spool {
            Some(spool) => spool,
            none => {
                let file = unnamed::file(&unnamed::directory())?;
                none.insert(Arc::new(Self { file, ends: Mutex::default() }))
            }
        })
    }

    fn ends(&self) -> MutexGuard<'_, Vec<u64>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a part of the next contents at `end`, which is then behind it.
    fn write(&self, bytes: &[u8], end: &mut u64) -> io::Result<()> {
        self.file.write_all_at(bytes, *end)?;
        *end += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The next contents, which were written up to `end`.
    fn end(self: &Arc<Self>, end: u64) -> io::Result<Held> {
        let mut ends = self.ends();
        let index = u32::try_from(ends.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        ends.push(end);
        Ok(Held(Place::Spool { spool: Arc::clone(self), index }))
    }

    /// Where contents start, and their length.
    fn range(&self, index: u32) -> (u64, u64) {
        let (ends, index) = (self.ends(), usize::try_from(index).unwrap_or(usize::MAX));
        let end = |index: Option<usize>| index.and_then(|index| ends.get(index).copied());
        let start = end(index.checked_sub(1)).unwrap_or(0);
        (start, end(Some(index)).unwrap_or(0).saturating_sub(start))
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
            return Ok(bytes.into());
        }
        let spool = Spool::of(&mut self.spool).map_err(HoldError::Write)?;
        let mut end = spool.ends().last().copied().unwrap_or(0);
        let mut buffer = buffer(size);
        let mut left = size;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            contents.read_exact(chunk).map_err(HoldError::Read)?;
            spool.write(chunk, &mut end).map_err(HoldError::Write)?;
            left -= u64::try_from(wanted).unwrap_or(u64::MAX);
        }
        spool.end(end).map_err(HoldError::Write)
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
        assert!(matches!(first.0, Place::Memory(_)));
        assert!(matches!(second.0, Place::Spool { index: 0, .. }));
        assert!(matches!(holder.hold(4, &mut &b"abc"[..]), Err(HoldError::Read(_))));
        let third = holder.hold(3, &mut &b"xyz"[..]).unwrap();
        assert!(matches!(third.0, Place::Spool { index: 1, .. }));
        for (held, expected) in [(&second, "abcde"), (&first, "12345678"), (&third, "xyz")] {
            let mut text = String::new();
            held.reader().read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
            assert_eq!(held.size(), u64::try_from(expected.len()).unwrap());
        }
    }

    #[test]
    fn what_is_written_in_pieces_is_read_in_one() {
        for count in [0, 1000, 300_000] {
            let (mut writer, mut expected) = (HeldWriter::default(), Vec::new());
            for n in 0..count {
                writeln!(writer, "{n}").unwrap();
                writeln!(expected, "{n}").unwrap();
            }
            assert_eq!(writer.spool.is_some(), count > 1000);
            let (held, mut text) = (writer.finish().unwrap(), Vec::new());
            held.reader().read_to_end(&mut text).unwrap();
            assert!(text == expected);
            assert_eq!(held.size(), u64::try_from(text.len()).unwrap());
        }
    }

    /// A million inodes may have one: it takes no more of them than what sinks give.
    #[test]
    fn what_is_held_is_small() {
        assert_eq!(size_of::<crate::layer::Stored<[u32; 3]>>(), 16);
    }
}
