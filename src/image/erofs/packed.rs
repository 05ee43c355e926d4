//! The packed inode: small files and the ends of larger ones, one after the other, compressed
//! together.
//!
//! Its segments are compressed while others are read, and lie between the files' own data. When
//! the turn of one comes depends on how much was written since it was full, not on how fast it
//! was compressed, so that the image is always the same.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;

use super::compress::{Extent, Follows, SEGMENT, Squeezed, Squeezer};
use super::pool::{Answer, Pool};
use super::store::Tail;
use super::writer::{Writer, zero};
use super::{codec, len, lz4, size, wide};
use crate::image::Error;

/// Bytes of other contents that are written before a segment is waited for.
const DELAY: u64 = 4 << 20;

/// What of the packed inode is not written yet.
#[derive(Debug, Default)]
pub struct Packed {
    /// The last segment.
    buffer: Vec<u8>,
    /// Its length so far.
    pub length: u64,
    /// Segments that are being compressed, and when it is their turn.
    waiting: VecDeque<(u64, Answer)>,
    /// Bytes of contents that were written.
    pub passed: u64,
    ended: bool,
}

impl Packed {
    /// Adds bytes at the end, unless their place could not be told in 32 bits.
    pub fn add(&mut self, mut bytes: &[u8], pool: &Pool) -> io::Result<Option<Tail>> {
        let (Ok(offset), Ok(length)) = (u32::try_from(self.length), u32::try_from(bytes.len()))
        else {
            return Ok(None);
        };
        self.length += len(bytes);
        while !bytes.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(SEGMENT);
            }
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() == SEGMENT {
                self.ask(pool)?;
            }
            bytes = later;
        }
        Ok(Some(Tail::Fragment { offset, length }))
    }

    /// Takes the last segment, although it is not full.
    pub fn end(&mut self, pool: &Pool) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.ask(pool)?;
        }
        self.ended = true;
        Ok(())
    }

    fn ask(&mut self, pool: &Pool) -> io::Result<()> {
        let segment = std::mem::take(&mut self.buffer);
        self.waiting.push_back((self.passed + DELAY, pool.ask(segment, Follows::More)?));
        Ok(())
    }

    /// The next segment, if its turn has come.
    pub fn due(&mut self) -> io::Result<Option<Squeezed>> {
        match self.waiting.front() {
            Some((turn, _)) if self.ended || *turn <= self.passed => {}
            _ => return Ok(None),
        }
        self.waiting.pop_front().map(|(_, answer)| answer.wait()).transpose()
    }
}

impl Writer {
    /// Overwrites parts of the packed inode, each given by offset and length, in ascending order,
    /// with zeros: the segments that they are in are compressed anew behind all others.
    pub(super) fn erase_fragments(&mut self, fragments: &[(u64, u64)]) -> Result<(), Error> {
        let mut squeezer = None;
        for number in 0..self.store.packed.len() {
            let start = wide(number) * wide(SEGMENT);
            let end = start + wide(SEGMENT);
            let first = fragments.partition_point(|&(offset, length)| offset + length <= start);
            let touched = fragments.iter().skip(first);
            let mut touched = touched.take_while(|(offset, _)| *offset < end).peekable();
            if touched.peek().is_none() {
                continue;
            }
            let mut bytes = self.unpacked(number)?;
            for &(offset, length) in touched {
                let from = size(offset.max(start) - start);
                let to = size((offset + length).min(end) - start).min(bytes.len());
                bytes.get_mut(from..to).unwrap_or_default().fill(0);
            }
            if let Some(old) = self.store.packed.get(number) {
                zero(&self.file, old.start, old.stored)?;
            }
            let squeezer = match &mut squeezer {
                Some(squeezer) => squeezer,
                none => none.insert(Squeezer::new(self.plan)?),
            };
            self.append_packed(squeezer.squeeze(bytes, Follows::More))?;
            self.store.packed.swap_remove(number);
        }
        Ok(())
    }

    /// Decompresses a segment of the packed inode.
    fn unpacked(&self, number: usize) -> Result<Vec<u8>, Error> {
        let broken = || Error::Io(io::Error::other("contents changed while they were written"));
        let segment = self.store.packed.get(number).ok_or_else(broken)?;
        let mut stored = vec![0; size(segment.stored)];
        self.file.read_exact_at(&mut stored, segment.start)?;
        let mut rest = &stored[..];
        let mut bytes = Vec::with_capacity(SEGMENT);
        for &Extent { length, stored } in &segment.extents {
            let length = size(u64::from(length));
            if stored == 0 {
                let (plain, after) = rest.split_at_checked(length).ok_or_else(broken)?;
                bytes.extend_from_slice(plain);
                let block = size(super::BLOCK);
                let padding = length.next_multiple_of(block) - length;
                rest = if self.plan.extents {
                    after
                } else {
                    after.get(padding..).unwrap_or_default()
                };
                continue;
            }
            let (cluster, after) =
                rest.split_at_checked(size(u64::from(stored))).ok_or_else(broken)?;
            rest = after;
            let zeros = cluster.iter().position(|&byte| byte != 0).unwrap_or(cluster.len());
            let cluster = cluster.get(zeros..).unwrap_or_default();
            let start = bytes.len();
            bytes.resize(start + length, 0);
            let output = bytes.get_mut(start..).unwrap_or_default();
            let done = match self.plan.compression {
                super::Compression::Zstd(_) => codec::unzstd(cluster, output, true),
                _ => lz4::decompress(cluster, output),
            };
            if !done {
                return Err(broken());
            }
        }
        Ok(bytes)
    }
}
