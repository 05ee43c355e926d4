//! The packed inode: small files and the ends of larger ones, one after the other, compressed
//! together.
//!
//! It consists of chains, which are filled in turns, a segment each. A segment is compressed while
//! those of the other chains are filled; what does not fill its last cluster is where the chain
//! goes on, so that no cluster is cut short but the last of each chain. When the turn of a
//! chain comes depends on the bytes alone, so that the image is always the same.

use std::io;

use super::compress::{Extent, Follows, MAX_TAIL, Squeezer};
use super::pool::{Answer, Pool};
use super::spare::Spare;
use super::store::{CHAINS, Fragment, PackedSegment, Tail};
use super::writer::Writer;
use super::{BLOCK, codec, len, lz4, size, wide};
use crate::image::Error;

/// What of the packed inode is not written yet.
#[derive(Debug, Default)]
pub struct Packed {
    chains: [Chain; CHAINS],
    /// The one that is being filled.
    current: usize,
}

#[derive(Debug, Default)]
struct Chain {
    /// The segment that is being filled.
    buffer: Vec<u8>,
    /// Bytes so far.
    length: u64,
    /// The segment before it, which is being compressed.
    waiting: Option<Answer>,
}

impl Packed {
    /// Adds bytes at the end of a chain, unless their place could not be told in 32 bits; it is full
    /// from `segment` bytes on. Then comes [`Self::turn`].
    pub fn add(
        &mut self,
        bytes: &[u8],
        pool: &Pool,
        spare: &mut Spare,
        segment: usize,
    ) -> io::Result<Option<Tail>> {
        let all: u64 = self.chains.iter().map(|chain| chain.length).sum();
        let (Some(chain), Ok(number)) =
            (self.chains.get_mut(self.current), u8::try_from(self.current))
        else {
            return Ok(None);
        };
        let (Ok(_), Ok(offset), Ok(length)) = (
            // Each chain is filled up to the end of a block.
            u32::try_from(all + len(bytes) + wide(CHAINS) * BLOCK),
            u32::try_from(chain.length),
            u32::try_from(bytes.len()),
        ) else {
            return Ok(None);
        };
        if chain.buffer.capacity() == 0 {
            chain.buffer.reserve_exact(segment + 2 * MAX_TAIL);
        }
        chain.buffer.extend_from_slice(bytes);
        chain.length += len(bytes);
        if chain.buffer.len() >= segment {
            let full = spare.with(std::mem::take(&mut chain.buffer));
            chain.waiting = Some(pool.ask(full, Follows::Rest)?);
        }
        Ok(Some(Tail::Fragment(Fragment { chain: number, offset, length })))
    }

    /// If the present chain's segment is full, goes on with the next chain, and gives the
    /// segment of it that must be written first.
    pub fn turn(&mut self) -> Option<(usize, Answer)> {
        self.chains.get(self.current)?.waiting.as_ref()?;
        self.current = (self.current + 1) % CHAINS;
        Some((self.current, self.chains.get_mut(self.current)?.waiting.take()?))
    }

    /// Has a chain go on with the last `rest` bytes of a segment of it.
    pub fn go_on(&mut self, chain: usize, mut segment: Vec<u8>, rest: usize) {
        segment.drain(..segment.len().saturating_sub(rest));
        if let Some(chain) = self.chains.get_mut(chain) {
            chain.buffer = segment;
        }
    }

    /// Takes what a chain is to go on with.
    fn rest(&mut self, chain: usize) -> Vec<u8> {
        self.chains
            .get_mut(chain)
            .map(|chain| std::mem::take(&mut chain.buffer))
            .unwrap_or_default()
    }

    /// All segments that are being compressed.
    pub fn waiting(&mut self) -> Vec<(usize, Answer)> {
        let chains = self.chains.iter_mut().enumerate();
        chains.filter_map(|(number, chain)| Some((number, chain.waiting.take()?))).collect()
    }

    /// Has the last segments compressed, though they are not full. Each chain ends with a block:
    /// two clusters cannot start in one.
    pub fn end(&mut self, pool: &Pool, spare: &mut Spare) -> io::Result<Vec<(usize, Answer)>> {
        let is_open =
            |chain: &Chain| !chain.buffer.is_empty() || !chain.length.is_multiple_of(BLOCK);
        for chain in self.chains.iter_mut().filter(|chain| is_open(chain)) {
            let padding = size(chain.length.next_multiple_of(BLOCK) - chain.length);
            chain.buffer.resize(chain.buffer.len() + padding, 0);
            chain.length = chain.length.next_multiple_of(BLOCK);
            let segment = spare.with(std::mem::take(&mut chain.buffer));
            chain.waiting = Some(pool.ask(segment, Follows::More)?);
        }
        Ok(self.waiting())
    }
}

impl Writer {
    /// Overwrites parts of the packed inode with zeros. From the first of them on, each chain is
    /// compressed anew behind everything else: where a cluster ends, the next one starts.
    pub(super) fn erase_fragments(&mut self, mut fragments: Vec<Fragment>) -> Result<(), Error> {
        fragments.sort_unstable();
        if fragments.is_empty() {
            return Ok(());
        }
        let mut squeezer = Squeezer::new(self.plan)?;
        for (chain, fragments) in (0..).zip(by_chain(&fragments)) {
            let Some(first) = fragments.first() else { continue };
            let Some(segments) = self.store.packed.get_mut(chain) else { continue };
            let (mut number, mut start) = (0, 0);
            while let Some(segment) = segments.get(number)
                && start + segment.length() <= u64::from(first.offset)
            {
                start += segment.length();
                number += 1;
            }
            let mut segments = segments.split_off(number).into_iter().peekable();
            while let Some(segment) = segments.next() {
                let mut input = self.packed.rest(chain);
                let rest = input.len();
                input.extend_from_slice(&self.unpacked(&segment)?);
                erase(input.get_mut(rest..).unwrap_or_default(), start, fragments);
                start += segment.length();
                self.data.zero(segment.start, segment.stored)?;
                let follows = if segments.peek().is_some() { Follows::Rest } else { Follows::More };
                let clusters = squeezer.squeeze(self.spare.with(input), follows);
                self.append_packed(chain, clusters, follows)?;
            }
        }
        Ok(())
    }

    /// Decompresses a segment of the packed inode.
    fn unpacked(&mut self, segment: &PackedSegment) -> Result<Vec<u8>, Error> {
        let mut stored = vec![0; size(segment.stored)];
        self.data.read(&mut stored, segment.start)?;
        let mut rest = &stored[..];
        let mut bytes = Vec::new();
        for &Extent { length, stored } in &segment.extents {
            let length = size(u64::from(length));
            if stored == 0 {
                let (plain, after) = rest.split_at_checked(length).ok_or_else(changed)?;
                bytes.extend_from_slice(plain);
                let block = size(BLOCK);
                let padding = length.next_multiple_of(block) - length;
                rest = if self.plan.extents {
                    after
                } else {
                    after.get(padding..).unwrap_or_default()
                };
                continue;
            }
            let (cluster, after) =
                rest.split_at_checked(size(u64::from(stored))).ok_or_else(changed)?;
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
                return Err(changed());
            }
        }
        Ok(bytes)
    }
}

/// Sorted fragments, those of each chain together.
fn by_chain(fragments: &[Fragment]) -> [&[Fragment]; CHAINS] {
    let mut rest = fragments;
    std::array::from_fn(|chain| {
        let count = rest.partition_point(|fragment| usize::from(fragment.chain) <= chain);
        let (of_chain, after) = rest.split_at_checked(count).unwrap_or_default();
        rest = after;
        of_chain
    })
}

/// Overwrites those parts of a chain's bytes, which start at `start`, that are in fragments.
fn erase(bytes: &mut [u8], start: u64, fragments: &[Fragment]) {
    let end = start + len(bytes);
    for fragment in fragments {
        let from = u64::from(fragment.offset).clamp(start, end);
        let to = (u64::from(fragment.offset) + u64::from(fragment.length)).clamp(start, end);
        bytes.get_mut(size(from - start)..size(to - start)).unwrap_or_default().fill(0);
    }
}

fn changed() -> Error {
    Error::Io(io::Error::other("contents changed while they were written"))
}
