//! A segment of a file, compressed on its own: the unit of parallel work.
//!
//! Where segments are cut depends on the bytes alone, so the image depends neither on how many
//! threads there are nor on which of them was faster.

use std::io;

use super::codec::Codec;
use super::lz4;
use super::options::{Plan, Tails};
use super::{BLOCK, size};

/// The most input that a last cluster takes to the packed inode, or to the next segment.
pub const MAX_TAIL: usize = 512 << 10;
/// The longest tail that fits behind any inode, whose end may need the start of the block.
pub const INLINE: usize = 4096 - 64;

/// A run of bytes of a file and what holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of the file.
    pub length: u32,
    /// Bytes of one compressed cluster, whole blocks but for encoded extents; 0 for plain
    /// bytes, which may be many clusters.
    pub stored: u32,
}

impl Extent {
    /// A file's last bytes, which are not among its blocks: one compressed cluster to the indexes.
    pub fn elsewhere(length: u32) -> Self {
        Self { length, stored: 4096 }
    }

    /// Blocks of the compressed cluster.
    pub fn blocks(self) -> u16 {
        u16::try_from(u64::from(self.stored).div_ceil(BLOCK)).unwrap_or(u16::MAX)
    }
}

/// What follows a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// More of the same file.
    More,
    /// More of the same file, which begins with what is left over of this segment: a last cluster
    /// that would leave a part of it unused.
    Rest,
    /// Nothing: this is the file's end.
    Nothing,
}

/// A segment, and memory for what becomes of it.
#[derive(Debug, Default)]
pub struct Buffers {
    /// The bytes to compress.
    pub input: Vec<u8>,
    /// Where the compressed ones go.
    pub output: Vec<u8>,
}

/// What became of a segment.
#[derive(Debug)]
pub enum Squeezed {
    /// It does not shrink: the input is what it was, the output is meaningless.
    Plain(Buffers),
    /// Compressed bytes, and what is in them.
    Clusters(Clusters),
}

/// A segment that shrinks.
#[derive(Debug)]
pub struct Clusters {
    /// The input, for its end, and the compressed bytes.
    pub buffers: Buffers,
    /// What is in them, in order; then the extent of `inline`.
    pub extents: Vec<Extent>,
    /// A last cluster that is small enough to stand behind the inode.
    pub inline: Vec<u8>,
    /// Bytes at the input's end that are in no extent, for the packed inode or the next segment.
    pub tail: usize,
}

impl Clusters {
    /// The bytes that are in no extent.
    pub fn rest(&self) -> &[u8] {
        let input = &self.buffers.input;
        input.get(input.len().saturating_sub(self.tail)..).unwrap_or_default()
    }
}

/// Compresses segments.
#[derive(Debug)]
pub struct Squeezer {
    codec: Option<Codec>,
    plan: Plan,
    cluster: Vec<u8>,
}

impl Squeezer {
    /// A squeezer, one for each thread.
    pub fn new(plan: Plan) -> io::Result<Self> {
        let codec = Codec::new(plan.compression, plan.piece())?;
        Ok(Self { codec, plan, cluster: vec![0; plan.cluster.bytes()] })
    }

    /// Compresses a segment, if that saves anything.
    pub fn squeeze(&mut self, mut buffers: Buffers, follows: Follows) -> Squeezed {
        buffers.output.clear();
        buffers.output.reserve_exact(buffers.input.len() / 2);
        let mut clusters = Clusters { buffers, extents: Vec::new(), inline: Vec::new(), tail: 0 };
        let done = if self.plan.extents {
            self.pieces(&mut clusters, follows)
        } else {
            self.blocks(&mut clusters, follows)
        };
        match done {
            Some(()) => Squeezed::Clusters(clusters),
            None => Squeezed::Plain(clusters.buffers),
        }
    }

    /// Where the last bytes go.
    fn tails(&self, follows: Follows) -> Tails {
        match follows {
            Follows::Nothing => self.plan.tails,
            Follows::More | Follows::Rest => Tails::Blocks,
        }
    }

    /// Fills clusters of whole blocks; none if that saves nothing.
    fn blocks(&mut self, out: &mut Clusters, follows: Follows) -> Option<()> {
        let tails = self.tails(follows);
        let may_go = tails == Tails::Fragments || follows == Follows::Rest;
        let codec = self.codec.as_mut()?;
        let (block, cluster) = (size(BLOCK), self.plan.cluster.bytes());
        let Buffers { input, output: bytes } = &mut out.buffers;
        let mut rest = &input[..];
        while !rest.is_empty() {
            if may_go {
                // What a cluster takes, as far as those before it tell: less is not compressed
                // here only to be compressed again where it goes.
                let taken = (input.len() - rest.len()).checked_div(out.extents.len());
                let small = self.plan.small();
                if rest.len() <= taken.map_or(small, |taken| taken.clamp(small, MAX_TAIL)) {
                    out.tail = rest.len();
                    break;
                }
            }
            if tails == Tails::Inline && rest.len() <= INLINE {
                // A block that is too small to shrink by one may still shrink behind the inode.
                let given = codec.fill(rest, &mut self.cluster);
                let given = given.filter(|&(taken, given)| taken == rest.len() && given < taken);
                let length = u32::try_from(rest.len()).ok()?;
                let (extent, bytes) = match given {
                    Some((_, given)) => (Extent::elsewhere(length), self.cluster.get(..given)?),
                    None => (Extent { length, stored: 0 }, rest),
                };
                out.extents.push(extent);
                out.inline = bytes.to_vec();
                break;
            }
            // What cannot become smaller than one block is not worth trying.
            let offered = rest.get(..codec.offer(cluster)).unwrap_or(rest);
            let filled =
                if rest.len() > block { codec.fill(offered, &mut self.cluster) } else { None };
            let (taken, given) = filled.unwrap_or((0, usize::MAX));
            let stored = given.checked_next_multiple_of(block).filter(|&stored| stored < taken);
            let ends = taken == rest.len();
            if let Some(stored) = stored {
                let compressed = self.cluster.get(..given)?;
                let length = u32::try_from(taken).ok()?;
                if ends && may_go && taken <= MAX_TAIL && given < cluster / 16 * 15 {
                    out.tail = taken;
                    break;
                }
                if ends && tails == Tails::Inline && given <= INLINE {
                    out.extents.push(Extent::elsewhere(length));
                    out.inline = compressed.to_vec();
                    break;
                }
                // Zeros come first: the decompressor finds the start by them, and the end is
                // where it can decompress in place (LZ4_0PADDING).
                bytes.resize(bytes.len() + (stored - given), 0);
                bytes.extend_from_slice(compressed);
                out.extents.push(Extent { length, stored: u32::try_from(stored).ok()? });
                rest = rest.get(taken..)?;
            } else {
                let noise = rest.get(..cluster).unwrap_or(rest);
                // Where the probe was wrong, all of it: trying costs more than it saves.
                let again = out.extents.last().is_some_and(|last| last.stored == 0);
                let mut taken =
                    if again { noise.len() } else { noise_length(noise, &mut self.cluster) };
                if follows == Follows::Rest {
                    // Two extents cannot start in one block of the file.
                    taken = taken / block * block;
                }
                if taken == 0 {
                    out.tail = rest.len();
                    break;
                }
                let (plain, after) = rest.split_at_checked(taken)?;
                bytes.extend_from_slice(plain);
                bytes.resize(bytes.len().next_multiple_of(block), 0);
                push_plain(&mut out.extents, plain.len())?;
                rest = after;
            }
            if bytes.len() >= input.len() {
                return None;
            }
        }
        let covered = input.len() - out.tail;
        let shrinks = out.extents.iter().any(|extent| extent.stored > 0);
        ((shrinks && bytes.len() < covered) || covered == 0).then_some(())
    }

    /// Compresses pieces of one size, one after the other.
    fn pieces(&mut self, out: &mut Clusters, follows: Follows) -> Option<()> {
        let may_go = self.tails(follows) == Tails::Fragments || follows == Follows::Rest;
        let codec = self.codec.as_mut()?;
        let length = self.plan.cluster.bytes();
        let Buffers { input, output: bytes } = &mut out.buffers;
        let mut plain = true;
        for piece in input.chunks(length) {
            if piece.len() < length && may_go {
                out.tail = piece.len();
                break;
            }
            let room = self.cluster.get_mut(..piece.len())?;
            let filled = codec.fill(piece, room);
            let given = filled.filter(|&(taken, given)| {
                // The kernel's work for what hardly shrinks is not worth it.
                taken == piece.len() && given + piece.len() / 64 < piece.len()
            });
            if let Some((_, given)) = given {
                plain = false;
                bytes.extend_from_slice(self.cluster.get(..given)?);
                out.extents.push(Extent {
                    length: u32::try_from(piece.len()).ok()?,
                    stored: u32::try_from(given).ok()?,
                });
            } else {
                bytes.extend_from_slice(piece);
                push_plain(&mut out.extents, piece.len())?;
            }
        }
        (!plain || out.tail == input.len()).then_some(())
    }
}

/// How many bytes at the start of what did not shrink are best left plain: up to where quick LZ4
/// finds something.
fn noise_length(bytes: &[u8], room: &mut [u8]) -> usize {
    let mut probe = lz4::Compressor::fast();
    let mut shrinks = |piece: &[u8]| {
        let room = room.get_mut(..piece.len() / 16 * 15).unwrap_or_default();
        probe.fill(piece, room).is_some_and(|(taken, _)| taken == piece.len())
    };
    let pieces = bytes.chunks(size(BLOCK)).enumerate();
    pieces.take_while(|&(n, piece)| n == 0 || !shrinks(piece)).map(|(_, piece)| piece.len()).sum()
}

fn push_plain(extents: &mut Vec<Extent>, length: usize) -> Option<()> {
    let length = u32::try_from(length).ok()?;
    match extents.last_mut() {
        Some(last) if last.stored == 0 => last.length += length,
        _ => extents.push(Extent { length, stored: 0 }),
    }
    Some(())
}

/// Bytes without any pattern.
#[cfg(test)]
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

#[cfg(test)]
mod tests {
    use super::super::len;
    use super::super::options::Options;
    use super::*;

    fn squeezer(codec: &str, cluster: &str, kernel: &str) -> Squeezer {
        let options = Options {
            compression: codec.parse().unwrap(),
            cluster_size: Some(cluster.parse().unwrap()),
            min_kernel: kernel.parse().unwrap(),
            ..Options::default()
        };
        Squeezer::new(options.plan()).unwrap()
    }

    fn squeeze(squeezer: &mut Squeezer, input: &[u8], follows: Follows) -> Squeezed {
        squeezer.squeeze(Buffers { input: input.to_vec(), output: vec![3; 10] }, follows)
    }

    /// Bytes in the data area of an extent.
    fn place_of(extent: Extent, encoded: bool) -> u64 {
        match extent.stored {
            0 if encoded => u64::from(extent.length),
            0 => u64::from(extent.length).next_multiple_of(BLOCK),
            stored => u64::from(stored),
        }
    }

    #[test]
    fn extents_cover_the_input_and_name_all_bytes() {
        let noise = noise(100_000);
        let mixed = [&vec![7; 70_000], &noise[..], &vec![9; 9_000], &noise[..5000]].concat();
        for codec in ["lz4", "lz4hc", "zstd"] {
            for cluster in ["4K", "16K", "64K"] {
                for kernel in ["5.17", "6.12", "6.15"] {
                    let kernel = if codec == "zstd" { kernel.max("6.10") } else { kernel };
                    for follows in [Follows::More, Follows::Rest, Follows::Nothing] {
                        let mut squeezer = squeezer(codec, cluster, kernel);
                        let encoded = squeezer.plan.extents;
                        let what = format!("{codec} {cluster} {kernel} {follows:?}");
                        let Squeezed::Clusters(found) = squeeze(&mut squeezer, &mixed, follows)
                        else {
                            panic!("{what}: it shrinks")
                        };
                        let covered: u64 =
                            found.extents.iter().map(|extent| u64::from(extent.length)).sum();
                        assert_eq!(size(covered) + found.tail, mixed.len(), "{what}");
                        let mut extents = &found.extents[..];
                        if !found.inline.is_empty() {
                            (_, extents) = extents.split_last().unwrap();
                        }
                        let places = extents.iter().map(|&extent| place_of(extent, encoded));
                        assert_eq!(places.sum::<u64>(), len(&found.buffers.output), "{what}");
                        assert!(
                            found.buffers.output.len() < 145 * 1024,
                            "{what} {}",
                            found.buffers.output.len()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_shrink_stays() {
        for kernel in ["5.15", "6.15"] {
            let mut squeezer = squeezer("lz4", "64K", kernel);
            let noise = noise(300_000);
            let plain = squeeze(&mut squeezer, &noise, Follows::More);
            assert!(matches!(plain, Squeezed::Plain(same) if same.input == noise));
        }
        let mut squeezer = squeezer("lz4", "64K", "5.15");
        let mut of_ones = |n| squeeze(&mut squeezer, &vec![1; n], Follows::Nothing);
        assert!(matches!(of_ones(4096), Squeezed::Plain(_)));
        assert!(matches!(of_ones(4097), Squeezed::Clusters(_)));
    }
}
