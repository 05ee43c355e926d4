//! Indexes of a compressed file, compact and full: which cluster each block of it starts in.
//!
//! Each logical cluster (block) of the file gets 14 or 16 bits: a head says where in it a cluster
//! starts, the others say how far away their head is. The bits of 16 or 2 of them and the
//! address of the first cluster make a pack (`z_erofs_load_compact_lcluster` in the kernel). Full
//! indexes have 8 bytes for each and may point anywhere.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::compress::Extent;
use super::format::{
    LclusterIndex, Z_EROFS_LCLUSTER_TYPE_HEAD1, Z_EROFS_LCLUSTER_TYPE_NONHEAD,
    Z_EROFS_LCLUSTER_TYPE_PLAIN, Z_EROFS_LI_D0_CBLKCNT,
};
use super::{BLOCK, size};

/// Bits of an offset or distance; the type is above them.
const LOBITS: u32 = 12;

/// How many indexes of which width there are, for `start` as the offset of the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    /// 4-byte ones that come first, up to a multiple of 32 bytes.
    initial: u64,
    /// 2-byte ones.
    middle: u64,
    /// 4-byte ones that come last.
    end: u64,
}

impl Split {
    /// All of them with 4 bytes.
    fn wide(file_size: u64) -> Self {
        Self { initial: 0, middle: 0, end: file_size.div_ceil(BLOCK) }
    }

    fn new(start: u64, file_size: u64) -> Self {
        let total = file_size.div_ceil(BLOCK);
        let initial = (start.next_multiple_of(32) - start) / 4;
        if initial >= total {
            return Self { initial: 0, middle: 0, end: total };
        }
        let middle = (total - initial) / 16 * 16;
        Self { initial, middle, end: total - initial - middle }
    }
}

/// How the indexes of a file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 2 bytes wherever 16 of them can share a pack, if the file's blocks are one after the other.
    Narrow,
    /// 4 bytes: from one pack of two to the next, the blocks may be anywhere.
    Wide,
    /// 8 bytes: the blocks may be anywhere.
    Full,
}

impl Width {
    /// The width for extents that are anywhere.
    pub fn of_scattered(extents: impl Iterator<Item = (Extent, u32)>) -> Self {
        let mut lclusters = Lclusters::new(extents);
        while let Some(first) = lclusters.next() {
            // A pack has one address, which is not below 0.
            let fits = match (first, lclusters.next()) {
                (_, Some(Lcluster::Head { block: 0, .. })) => true,
                (Lcluster::Head { block: first, .. }, Some(Lcluster::Head { block, .. })) => {
                    block == first + 1
                }
                (Lcluster::Nonhead { blocks, .. }, Some(Lcluster::Head { block, .. })) => {
                    block >= blocks.into()
                }
                _ => true,
            };
            if !fits {
                return Self::Full;
            }
        }
        Self::Wide
    }

    /// How many bytes the indexes of a file take from the offset `start` on.
    pub fn length(self, start: u64, file_size: u64) -> u64 {
        let split = match self {
            Self::Narrow => Split::new(start, file_size),
            Self::Wide => Split::wide(file_size),
            // The first 8 bytes are for alignment (Z_EROFS_FULL_INDEX_ALIGN).
            Self::Full => return 8 + file_size.div_ceil(BLOCK) * 8,
        };
        split.initial * 4 + split.middle * 2 + split.end.next_multiple_of(2) * 4
    }

    /// Writes the indexes of a file, of whose extents each has its first block beside it; `big`
    /// if clusters may have several.
    pub fn write(
        self,
        out: &mut Vec<u8>,
        start: u64,
        file_size: u64,
        extents: impl Iterator<Item = (Extent, u32)>,
        big: bool,
    ) {
        let mut lclusters = Lclusters::new(extents);
        let split = match self {
            Self::Narrow => Split::new(start, file_size),
            Self::Wide => Split::wide(file_size),
            Self::Full => {
                out.extend_from_slice(&[0; 8]);
                return lclusters.for_each(|lcluster| write_full(out, lcluster, big));
            }
        };
        let mut block = 0;
        for (count, per_pack, bits) in
            [(split.initial, 2, 16), (split.middle, 16, 14), (split.end, 2, 16)]
        {
            for _ in 0..count.div_ceil(per_pack) {
                let pack: Vec<_> = lclusters.by_ref().take(size(per_pack)).collect();
                write_pack(out, &pack, size(per_pack), bits, &mut block, big);
            }
        }
    }
}

/// Extents with their first blocks, one after the other from `block` on.
pub fn placed(extents: &[Extent], mut block: u32) -> impl Iterator<Item = (Extent, u32)> {
    extents.iter().map(move |&extent| {
        let first = block;
        block += match extent.stored {
            0 => u32::try_from(u64::from(extent.length).div_ceil(BLOCK)).unwrap_or(u32::MAX),
            _ => extent.blocks().into(),
        };
        (extent, first)
    })
}

/// Writes a full index.
fn write_full(out: &mut Vec<u8>, lcluster: Lcluster, big: bool) {
    let (kind, offset, value) = match lcluster {
        Lcluster::Head { kind, offset, block } => (kind, offset, block),
        Lcluster::Nonhead { from_head, to_next, blocks } => {
            let back = match from_head {
                1 if big => blocks | Z_EROFS_LI_D0_CBLKCNT,
                _ => from_head.min(Z_EROFS_LI_D0_CBLKCNT - 1),
            };
            let value = u32::from(back) | u32::from(to_next) << 16;
            (Z_EROFS_LCLUSTER_TYPE_NONHEAD, 0, value)
        }
    };
    let index = LclusterIndex {
        di_advise: U16::new(kind.into()),
        di_clusterofs: U16::new(offset),
        di_u: U32::new(value),
    };
    out.extend_from_slice(index.as_bytes());
}

/// A logical cluster of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lcluster {
    /// Something starts in it.
    Head { kind: u8, offset: u16, block: u32 },
    /// Nothing does.
    Nonhead { from_head: u16, to_next: u16, blocks: u16 },
}

/// The logical clusters of a file.
struct Lclusters<I> {
    /// Each with its first block.
    extents: I,
    /// What is left of a plain extent, of which each block is a cluster.
    plain: u32,
    position: u64,
    block: u32,
    /// Nonheads of the present cluster: distance to the head, to the next, blocks.
    nonheads: (u16, u16, u16),
    /// Whether the last lcluster has got its index.
    ended: bool,
}

impl<I: Iterator<Item = (Extent, u32)>> Lclusters<I> {
    fn new(extents: I) -> Self {
        Self { extents, plain: 0, position: 0, block: 0, nonheads: (0, 0, 0), ended: false }
    }
}

impl<I: Iterator<Item = (Extent, u32)>> Iterator for Lclusters<I> {
    type Item = Lcluster;

    fn next(&mut self) -> Option<Lcluster> {
        let (from_head, to_next, blocks) = self.nonheads;
        if to_next > 0 {
            self.nonheads = (from_head + 1, to_next - 1, blocks);
            return Some(Lcluster::Nonhead { from_head, to_next, blocks });
        }
        let offset = u16::try_from(self.position % BLOCK).unwrap_or(0);
        let one_block = u32::try_from(BLOCK).unwrap_or(u32::MAX);
        let (kind, length, blocks) = if self.plain > 0 {
            (Z_EROFS_LCLUSTER_TYPE_PLAIN, self.plain.min(one_block), 1)
        } else if let Some((extent, block)) = self.extents.next() {
            self.block = block;
            if extent.stored > 0 {
                (Z_EROFS_LCLUSTER_TYPE_HEAD1, extent.length, extent.blocks())
            } else {
                self.plain = extent.length;
                (Z_EROFS_LCLUSTER_TYPE_PLAIN, extent.length.min(one_block), 1)
            }
        } else {
            // The last cluster's end is told by a head that nothing belongs to.
            let more = offset != 0 && !std::mem::replace(&mut self.ended, true);
            let (kind, block) = (Z_EROFS_LCLUSTER_TYPE_PLAIN, 0);
            return more.then_some(Lcluster::Head { kind, offset, block });
        };
        let head = Lcluster::Head { kind, offset, block: self.block };
        if kind == Z_EROFS_LCLUSTER_TYPE_PLAIN {
            self.plain -= length;
        }
        // Where the file ends in the lcluster that this starts in, no other index is left.
        let lclusters = (u64::from(offset) + u64::from(length)) / BLOCK;
        self.ended = lclusters == 0;
        self.nonheads = (1, u16::try_from(lclusters).unwrap_or(u16::MAX).saturating_sub(1), blocks);
        self.position += u64::from(length);
        self.block += u32::from(blocks);
        Some(head)
    }
}

/// Writes one pack; `block` is where the last head so far was, for packs without one.
fn write_pack(
    out: &mut Vec<u8>,
    pack: &[Lcluster],
    entries: usize,
    bits: u32,
    block: &mut u32,
    big: bool,
) {
    let mut packed = [0u8; 32];
    for (i, lcluster) in pack.iter().enumerate() {
        let last = i + 1 == entries;
        let (kind, low) = match *lcluster {
            Lcluster::Head { kind, offset, .. } => (kind, offset),
            Lcluster::Nonhead { from_head: 1, blocks, .. } if big => {
                (Z_EROFS_LCLUSTER_TYPE_NONHEAD, blocks | Z_EROFS_LI_D0_CBLKCNT)
            }
            Lcluster::Nonhead { from_head, to_next, .. } => {
                let distance = if last { to_next } else { from_head };
                (Z_EROFS_LCLUSTER_TYPE_NONHEAD, distance.min(Z_EROFS_LI_D0_CBLKCNT - 1))
            }
        };
        let value = (u32::from(kind) << LOBITS) | u32::from(low);
        let position = u32::try_from(i).unwrap_or(0) * bits;
        let shifted = (value << (position % 8)).to_le_bytes();
        let place = packed.iter_mut().skip(size(u64::from(position / 8)));
        for (byte, bits) in place.zip(shifted) {
            *byte |= bits;
        }
    }
    let first_head = pack.iter().find_map(|lcluster| match *lcluster {
        Lcluster::Head { block, .. } if block != 0 => Some(block),
        _ => None,
    });
    // A reader adds to the base the blocks of all clusters that it sees before a head.
    let base = match (first_head, pack.first()) {
        (Some(first), Some(&Lcluster::Nonhead { from_head: 1, blocks, .. })) if big => {
            first - u32::from(blocks)
        }
        (Some(first), _) if big => first,
        (Some(first), _) => first - 1,
        (None, _) => *block,
    };
    if let Some(first) = first_head {
        *block = first;
    }
    let data = entries * size(u64::from(bits)) / 8;
    out.extend(packed.iter().take(data));
    out.extend_from_slice(&base.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_distances_are_those_of_the_extents() {
        // 10,000 bytes in 1 block, 2 plain blocks, 12,000 bytes in 2 blocks, a rest of 100.
        let extents = [
            Extent { length: 10_000, stored: 4096 },
            Extent { length: 8192, stored: 0 },
            Extent { length: 12_000, stored: 8192 },
            Extent { length: 100, stored: 0 },
        ];
        let head = |kind, offset, block| Lcluster::Head { kind, offset, block };
        let nonhead = |from_head, to_next, blocks| Lcluster::Nonhead { from_head, to_next, blocks };
        let found: Vec<_> = Lclusters::new(placed(&extents, 7)).collect();
        assert_eq!(
            found,
            [
                head(1, 0, 7),
                nonhead(1, 1, 1),
                head(0, 1808, 8),
                head(0, 1808, 9),
                head(1, 1808, 10),
                nonhead(1, 2, 2),
                nonhead(2, 1, 2),
                head(0, 1520, 12),
            ]
        );
        let ends = [Extent { length: 9000, stored: 4096 }];
        let found: Vec<_> = Lclusters::new(placed(&ends, 7)).collect();
        assert_eq!(found, [head(1, 0, 7), nonhead(1, 1, 1), head(0, 808, 0)]);
    }

    #[test]
    fn widths_are_chosen_by_alignment() {
        let split = |start, lclusters| {
            let Split { initial, middle, end } = Split::new(start, lclusters * BLOCK);
            for width in [Width::Narrow, Width::Wide, Width::Full] {
                let mut out = Vec::new();
                let extents = vec![Extent { length: 4096, stored: 0 }; size(lclusters)];
                width.write(&mut out, start, lclusters * BLOCK, placed(&extents, 1), true);
                assert_eq!(width.length(start, lclusters * BLOCK), super::super::len(&out));
            }
            (initial, middle, end)
        };
        assert_eq!(split(40, 5), (0, 0, 5));
        assert_eq!(split(40, 23), (6, 16, 1));
        assert_eq!(split(64, 16), (0, 16, 0));
        assert_eq!(split(72, 40), (6, 32, 2));
    }
}
