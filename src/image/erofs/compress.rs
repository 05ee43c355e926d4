//! A segment of a file, compressed on its own: the unit of parallel work.
//!
//! Segments are cut at fixed places, so the image depends neither on how many threads there are
//! nor on which of them was faster.

use super::lz4::Compressor;
use super::options::{ClusterSize, Compression};
use super::{BLOCK, len, size};

/// Bytes of input in a segment; the last one of a file may have fewer.
///
/// Large enough that the cut costs little (half a block for each), small enough that a dozen
/// fit memory.
pub const SEGMENT: usize = 2 << 20;

/// A run of bytes of a file and the blocks that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of the file.
    pub length: u32,
    /// Blocks of one compressed cluster; 0 for plain ones, of which each holds 4096 bytes or
    /// the run's rest.
    pub blocks: u16,
}

/// What became of a segment.
#[derive(Debug)]
pub enum Squeezed {
    /// It does not shrink: the bytes as they were.
    Plain(Vec<u8>),
    /// Whole blocks, and what is in them.
    Clusters {
        /// The blocks.
        blocks: Vec<u8>,
        /// What is in them, in order.
        extents: Vec<Extent>,
        /// The input, for its memory to be used again.
        spent: Vec<u8>,
    },
}

/// Compresses segments.
#[derive(Debug)]
pub struct Squeezer {
    lz4: Option<Compressor>,
    cluster: ClusterSize,
}

impl Squeezer {
    /// A squeezer, one for each thread; none if there is no memory for its tables.
    pub fn new(compression: Compression, cluster: ClusterSize) -> Option<Self> {
        let lz4 = match compression {
            Compression::None => None,
            Compression::Lz4 => Some(Compressor::fast()),
            Compression::Lz4hc(level) => Some(Compressor::high(level.number())?),
        };
        Some(Self { lz4, cluster })
    }

    /// Compresses a segment, if that saves anything.
    pub fn squeeze(&mut self, input: Vec<u8>) -> Squeezed {
        match self.clusters(&input) {
            Some((blocks, extents)) => Squeezed::Clusters { blocks, extents, spent: input },
            None => Squeezed::Plain(input),
        }
    }

    fn clusters(&mut self, input: &[u8]) -> Option<(Vec<u8>, Vec<Extent>)> {
        let lz4 = self.lz4.as_mut()?;
        let block = size(BLOCK);
        let mut blocks = Vec::with_capacity(input.len() / 2);
        let mut extents: Vec<Extent> = Vec::new();
        let mut cluster = vec![0; self.cluster.bytes()];
        let mut rest = input;
        while !rest.is_empty() {
            // What cannot become smaller than one block is not worth trying.
            let filled = if rest.len() > block { lz4.fill(rest, &mut cluster) } else { None };
            let (taken, given) = filled.unwrap_or((rest.len().min(block), usize::MAX));
            let stored = given.checked_next_multiple_of(block).filter(|&stored| stored < taken);
            if let Some(stored) = stored {
                // Zeros come first: the decompressor finds the start by them, and the end is
                // where it can decompress in place (LZ4_0PADDING).
                blocks.resize(blocks.len() + (stored - given), 0);
                blocks.extend_from_slice(cluster.get(..given)?);
                extents.push(Extent {
                    length: u32::try_from(taken).ok()?,
                    blocks: u16::try_from(stored / block).ok()?,
                });
                rest = rest.get(taken..)?;
            } else {
                let (plain, after) =
                    rest.split_at_checked(taken.next_multiple_of(block).min(rest.len()))?;
                blocks.extend_from_slice(plain);
                blocks.resize(blocks.len().next_multiple_of(block), 0);
                let length = u32::try_from(plain.len()).ok()?;
                match extents.last_mut() {
                    Some(last) if last.blocks == 0 => last.length += length,
                    _ => extents.push(Extent { length, blocks: 0 }),
                }
                rest = after;
            }
            if blocks.len() >= input.len() {
                return None;
            }
        }
        Some((blocks, extents))
    }
}

/// How many blocks an extent has.
#[cfg(test)]
fn blocks_of(extent: Extent) -> u64 {
    match extent.blocks {
        0 => u64::from(extent.length).div_ceil(BLOCK),
        blocks => u64::from(blocks),
    }
}

/// How many blocks there are in whole.
pub fn blocks_in(bytes: &[u8]) -> u64 {
    len(bytes).div_ceil(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::erofs::Level;

    /// Bytes without any pattern.
    pub fn noise(n: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .take(n)
        .collect()
    }

    #[test]
    fn extents_cover_the_input_and_name_all_blocks() {
        let noise = noise(100_000);
        let mixed = [&vec![7; 70_000], &noise[..], &vec![9; 9_000], &noise[..5000]].concat();
        for compression in [Compression::Lz4, Compression::Lz4hc(Level::default())] {
            for cluster in [4096, 16_384, 65_536] {
                let cluster = ClusterSize::new(cluster).unwrap();
                let mut squeezer = Squeezer::new(compression, cluster).unwrap();
                let Squeezed::Clusters { blocks, extents, .. } = squeezer.squeeze(mixed.clone())
                else {
                    panic!("{compression:?} {cluster:?}: it shrinks")
                };
                let covered: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
                assert_eq!(covered, len(&mixed));
                assert_eq!(
                    extents.iter().copied().map(blocks_of).sum::<u64>() * BLOCK,
                    len(&blocks)
                );
                assert!(len(&blocks) < 121 * 1024, "{}", blocks.len());
            }
        }
    }

    #[test]
    fn what_does_not_shrink_stays() {
        let mut squeezer =
            Squeezer::new(Compression::Lz4, ClusterSize::new(65_536).unwrap()).unwrap();
        let noise = noise(300_000);
        assert!(matches!(squeezer.squeeze(noise.clone()), Squeezed::Plain(same) if same == noise));
        assert!(matches!(squeezer.squeeze(vec![1; 4096]), Squeezed::Plain(_)));
        assert!(matches!(squeezer.squeeze(vec![1; 4097]), Squeezed::Clusters { .. }));
    }
}
