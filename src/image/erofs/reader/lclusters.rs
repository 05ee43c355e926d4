//! The indexes of a compressed file, full and compact, read as the kernel does (`zmap.c`).

use super::super::format::{
    EROFS_FEATURE_INCOMPAT_COMPR_CFGS, EROFS_INODE_COMPRESSED_FULL, LclusterIndex, MapHeader,
    Z_EROFS_ADVISE_BIG_PCLUSTER_1, Z_EROFS_ADVISE_BIG_PCLUSTER_2, Z_EROFS_ADVISE_COMPACTED_2B,
    Z_EROFS_ADVISE_FRAGMENT_PCLUSTER, Z_EROFS_ADVISE_INLINE_PCLUSTER,
    Z_EROFS_ADVISE_INTERLACED_PCLUSTER, Z_EROFS_FRAGMENT_INODE, Z_EROFS_LCLUSTER_TYPE_HEAD2,
    Z_EROFS_LCLUSTER_TYPE_NONHEAD, Z_EROFS_LCLUSTER_TYPE_PLAIN, Z_EROFS_LI_D0_CBLKCNT,
    Z_EROFS_LI_LCLUSTER_TYPE_MASK, Z_EROFS_LI_PARTIAL_REF,
};
use super::super::{BLOCK, size};
use super::data::{Extent, Source};
use super::inode::Inode;
use super::{Reader, STEP, corrupt, expect_data, unsupported};
use crate::image::Error;

/// The indexes of one file.
#[derive(Debug)]
pub struct Lclusters {
    nid: u64,
    size: u64,
    full: bool,
    advise: u16,
    algorithms: [u8; 2],
    /// Where the first index is.
    base: u64,
    /// Where the contents' last part is, if not in a cluster of its own.
    tail: Option<Tail>,
}

#[derive(Clone, Copy, Debug)]
struct Tail {
    /// The lcluster that it starts in; none if it is the whole file.
    head: Option<u64>,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Inline { position: u64, length: u64 },
    Fragment { offset: u64 },
}

/// The index of an lcluster.
#[derive(Clone, Copy, Debug)]
enum Index {
    Head { kind: u8, offset: u64, block: u64, partial: bool },
    Nonhead { to_head: u64, to_next: u64, blocks: Option<u64> },
}

/// A pack of compact indexes.
struct Pack {
    bytes: [u8; 32],
    length: usize,
    entries: usize,
    /// Where the pack ends.
    end: u64,
}

impl Pack {
    /// Type and offset or distance.
    fn entry(&self, i: usize) -> (u8, u16) {
        let bits = (self.length * 8 - 32) / self.entries;
        let (byte, shift) = (bits * i / 8, bits * i % 8);
        let mut word = [0; 4];
        word.iter_mut().zip(self.bytes.iter().skip(byte)).for_each(|(to, from)| *to = *from);
        let value = u32::from_le_bytes(word) >> shift;
        let low = u16::try_from(value & 0xfff).unwrap_or(0);
        (u8::try_from((value >> 12) & 3).unwrap_or(0), low)
    }

    fn base(&self) -> u64 {
        let mut word = [0; 4];
        word.iter_mut()
            .zip(self.bytes.iter().skip(self.length - 4))
            .for_each(|(to, from)| *to = *from);
        u64::from(u32::from_le_bytes(word))
    }
}

impl Lclusters {
    pub fn new(reader: &Reader, inode: &Inode, header: MapHeader) -> Result<Self, Error> {
        let start = inode.body.next_multiple_of(8);
        let full = inode.layout == EROFS_INODE_COMPRESSED_FULL;
        let fragment =
            u64::from(header.h_fragmentoff_lo.get()) | u64::from(header.h_idata_size.get()) << 16;
        let mut lclusters = Self {
            nid: inode.nid,
            size: inode.size,
            full,
            advise: header.h_advise.get(),
            algorithms: [header.h_algorithmtype & 15, header.h_algorithmtype >> 4],
            base: start + if full { 16 } else { 8 },
            tail: None,
        };
        if header.h_clusterbits & Z_EROFS_FRAGMENT_INODE != 0 {
            let whole: zerocopy::little_endian::U64 = reader.structure(start)?;
            let place = Place::Fragment { offset: whole.get() & (u64::MAX >> 1) };
            lclusters.tail = Some(Tail { head: None, place });
            return Ok(lclusters);
        }
        if header.h_clusterbits != 0 {
            return Err(unsupported(format!(
                "found logical clusters of 2^(12+{}) bytes in inode {}",
                header.h_clusterbits, inode.nid
            )));
        }
        let both = Z_EROFS_ADVISE_BIG_PCLUSTER_1 | Z_EROFS_ADVISE_BIG_PCLUSTER_2;
        if lclusters.advises(both) && !reader.has(EROFS_FEATURE_INCOMPAT_COMPR_CFGS) {
            return Err(corrupt(format!(
                "found large clusters in inode {}, which the superblock does not announce",
                inode.nid
            )));
        }
        if !full && ![0, both].contains(&(lclusters.advise & both)) {
            return Err(corrupt(format!(
                "found large clusters of one kind only in inode {}",
                inode.nid
            )));
        }
        let is_fragment = lclusters.advises(Z_EROFS_ADVISE_FRAGMENT_PCLUSTER);
        let inline = u64::from(header.h_idata_size.get());
        if is_fragment || (lclusters.advises(Z_EROFS_ADVISE_INLINE_PCLUSTER) && inline > 0) {
            let (head, block) = lclusters.head_of(reader, inode.size - 1)?;
            let place = if is_fragment {
                let high = if full { block << 32 } else { 0 };
                Place::Fragment { offset: fragment | high }
            } else {
                let last = (inode.size - 1) / BLOCK;
                let position = if full {
                    lclusters.base + (last + 1) * 8
                } else {
                    lclusters.pack(reader, last)?.0.end
                };
                if position % BLOCK + inline > BLOCK {
                    return Err(corrupt(format!(
                        "found an inline cluster of {inline} bytes at {position}"
                    )));
                }
                Place::Inline { position, length: inline }
            };
            lclusters.tail = Some(Tail { head: Some(head), place });
        }
        Ok(lclusters)
    }

    /// Where in the packed inode a part of the contents is, if one is.
    pub fn fragment(&self) -> Option<u64> {
        match self.tail {
            Some(Tail { place: Place::Fragment { offset }, .. }) => Some(offset),
            _ => None,
        }
    }

    fn advises(&self, flag: u16) -> bool {
        self.advise & flag != 0
    }

    /// The extent that a byte of the contents is in.
    pub fn extent(&self, reader: &Reader, position: u64) -> Result<Extent, Error> {
        if let Some(Tail { head: None, place: Place::Fragment { offset } }) = self.tail {
            return Ok(Extent { start: 0, length: self.size, source: Source::Fragment { offset } });
        }
        let (head, _) = self.head_of(reader, position)?;
        let Index::Head { kind, offset, block, partial } = self.index(reader, head)? else {
            return Err(self.broken(head));
        };
        let start = head * BLOCK + offset;
        let end = self.end_of(reader, head)?;
        let length = end.checked_sub(start).ok_or_else(|| self.broken(head))?;
        let (at, stored) = match self.tail {
            Some(Tail { head: Some(tail), place }) if tail == head => match place {
                Place::Inline { position, length } => (position, length),
                Place::Fragment { offset } => {
                    return Ok(Extent { start, length, source: Source::Fragment { offset } });
                }
            },
            _ => {
                expect_data(block * BLOCK, self.nid)?;
                (block * BLOCK, self.blocks_of(reader, head, kind)? * BLOCK)
            }
        };
        if kind != Z_EROFS_LCLUSTER_TYPE_PLAIN {
            let second = usize::from(kind == Z_EROFS_LCLUSTER_TYPE_HEAD2);
            let algorithm = self.algorithms.get(second).copied().unwrap_or(u8::MAX);
            let source = Source::Compressed { position: at, length: stored, algorithm, partial };
            return Ok(Extent { start, length, source });
        }
        if length > stored {
            return Err(self.broken(head));
        }
        let source = if self.advises(Z_EROFS_ADVISE_INTERLACED_PCLUSTER) {
            Source::Interlaced { position: at, length: stored }
        } else {
            Source::Plain { position: at }
        };
        Ok(Extent { start, length, source })
    }

    /// The lcluster that the cluster of a byte starts in, and the cluster's block.
    fn head_of(&self, reader: &Reader, position: u64) -> Result<(u64, u64), Error> {
        let mut lcn = position / BLOCK;
        let mut back = match self.index(reader, lcn)? {
            Index::Head { offset, block, .. } if position % BLOCK >= offset => {
                return Ok((lcn, block));
            }
            Index::Head { .. } => 1,
            Index::Nonhead { to_head, .. } => to_head,
        };
        loop {
            lcn = lcn.checked_sub(back).filter(|_| back > 0).ok_or_else(|| self.broken(lcn))?;
            match self.index(reader, lcn)? {
                Index::Head { block, .. } => return Ok((lcn, block)),
                Index::Nonhead { to_head, .. } => back = to_head,
            }
        }
    }

    /// Where in the contents the cluster ends that starts in an lcluster.
    fn end_of(&self, reader: &Reader, head: u64) -> Result<u64, Error> {
        let mut lcn = head + 1;
        while lcn * BLOCK < self.size {
            match self.index(reader, lcn)? {
                Index::Head { offset, .. } => return Ok((lcn * BLOCK + offset).min(self.size)),
                // Zero in images of mkfs.erofs before 1.0.
                Index::Nonhead { to_next, .. } => lcn += to_next.max(1),
            }
        }
        Ok(self.size)
    }

    /// How many blocks the cluster has that starts in an lcluster.
    fn blocks_of(&self, reader: &Reader, head: u64, kind: u8) -> Result<u64, Error> {
        let large = match kind {
            Z_EROFS_LCLUSTER_TYPE_PLAIN | Z_EROFS_LCLUSTER_TYPE_HEAD2 => {
                Z_EROFS_ADVISE_BIG_PCLUSTER_2
            }
            _ => Z_EROFS_ADVISE_BIG_PCLUSTER_1,
        };
        if !self.advises(large) || (head + 1) * BLOCK >= self.size {
            return Ok(1);
        }
        match self.index(reader, head + 1)? {
            Index::Head { .. } => Ok(1),
            Index::Nonhead { blocks: Some(blocks), .. } if blocks > 0 => Ok(blocks),
            Index::Nonhead { .. } => Err(self.broken(head + 1)),
        }
    }

    fn broken(&self, lcn: u64) -> Error {
        corrupt(format!("found a broken index of block {lcn} of inode {}", self.nid))
    }

    fn index(&self, reader: &Reader, lcn: u64) -> Result<Index, Error> {
        reader.spend(STEP)?;
        let index = if self.full {
            self.full_index(reader, lcn)?
        } else {
            self.compact_index(reader, lcn)?
        };
        match index {
            Index::Head { offset, .. } if offset >= BLOCK => Err(self.broken(lcn)),
            Index::Nonhead { blocks: Some(_), .. }
                if !self.advises(Z_EROFS_ADVISE_BIG_PCLUSTER_1 | Z_EROFS_ADVISE_BIG_PCLUSTER_2) =>
            {
                Err(self.broken(lcn))
            }
            index => Ok(index),
        }
    }

    fn full_index(&self, reader: &Reader, lcn: u64) -> Result<Index, Error> {
        let index: LclusterIndex = reader.structure(self.base + lcn * 8)?;
        let advise = index.di_advise.get();
        let kind = u8::try_from(advise & Z_EROFS_LI_LCLUSTER_TYPE_MASK).unwrap_or(0);
        let value = index.di_u.get();
        if kind != Z_EROFS_LCLUSTER_TYPE_NONHEAD {
            return Ok(Index::Head {
                kind,
                offset: u64::from(index.di_clusterofs.get()),
                block: u64::from(value),
                partial: advise & Z_EROFS_LI_PARTIAL_REF != 0,
            });
        }
        let to_next = u64::from(value >> 16);
        let low = value & 0xffff;
        let count = u32::from(Z_EROFS_LI_D0_CBLKCNT);
        Ok(if low & count != 0 {
            Index::Nonhead { to_head: 1, to_next, blocks: Some(u64::from(low & !count)) }
        } else {
            Index::Nonhead { to_head: u64::from(low), to_next, blocks: None }
        })
    }

    /// The pack that the compact index of an lcluster is in, and its number there.
    fn pack(&self, reader: &Reader, lcn: u64) -> Result<(Pack, usize), Error> {
        let total = self.size.div_ceil(BLOCK);
        let initial = (32 - self.base % 32) / 4 % 8;
        let middle = if self.advises(Z_EROFS_ADVISE_COMPACTED_2B) && initial < total {
            (total - initial) / 16 * 16
        } else {
            0
        };
        let (position, width, entries) = if lcn < initial {
            (self.base + lcn * 4, 4, 2)
        } else if lcn < initial + middle {
            (self.base + initial * 4 + (lcn - initial) * 2, 2, 16)
        } else {
            let before = initial * 4 + middle * 2;
            (self.base + before + (lcn - initial - middle) * 4, 4, 2)
        };
        let length = width * entries;
        let start = position / length * length;
        let mut pack = Pack {
            bytes: [0; 32],
            length: size(length),
            entries: size(entries),
            end: start + length,
        };
        reader.metadata(pack.bytes.get_mut(..size(length)).unwrap_or_default(), start)?;
        Ok((pack, size((position - start) / width)))
    }

    fn compact_index(&self, reader: &Reader, lcn: u64) -> Result<Index, Error> {
        let (pack, i) = self.pack(reader, lcn)?;
        let (kind, low) = pack.entry(i);
        let count = Z_EROFS_LI_D0_CBLKCNT;
        if kind != Z_EROFS_LCLUSTER_TYPE_NONHEAD {
            let block =
                pack.base() + self.blocks_before(&pack, i).ok_or_else(|| self.broken(lcn))?;
            return Ok(Index::Head { kind, offset: u64::from(low), block, partial: false });
        }
        let to_next = to_next(&pack, i);
        if low & count != 0 {
            return Ok(Index::Nonhead {
                to_head: 1,
                to_next,
                blocks: Some(u64::from(low & !count)),
            });
        }
        // The last of a pack says how far the next head is; the one before it knows the last.
        let to_head = if i + 1 < pack.entries {
            u64::from(low)
        } else {
            match i.checked_sub(1).map(|before| pack.entry(before)) {
                Some((Z_EROFS_LCLUSTER_TYPE_NONHEAD, low)) if low & count != 0 => 2,
                Some((Z_EROFS_LCLUSTER_TYPE_NONHEAD, low)) => u64::from(low) + 1,
                _ => 1,
            }
        };
        Ok(Index::Nonhead { to_head, to_next, blocks: None })
    }

    /// How many blocks lie between the base of a pack and the cluster of a head in it.
    fn blocks_before(&self, pack: &Pack, head: usize) -> Option<u64> {
        let count = Z_EROFS_LI_D0_CBLKCNT;
        let mut i = head;
        if !self.advises(Z_EROFS_ADVISE_BIG_PCLUSTER_1) {
            let mut blocks = 1;
            while i > 0 {
                i -= 1;
                let (kind, low) = pack.entry(i);
                if kind == Z_EROFS_LCLUSTER_TYPE_NONHEAD {
                    match i.checked_sub(usize::from(low)) {
                        Some(head) => i = head,
                        None => break,
                    }
                }
                blocks += 1;
            }
            return Some(blocks);
        }
        let mut blocks = 0;
        while i > 0 {
            i -= 1;
            let (kind, low) = pack.entry(i);
            if kind != Z_EROFS_LCLUSTER_TYPE_NONHEAD {
                blocks += 1;
            } else if low & count != 0 {
                blocks += u64::from(low & !count);
                i = i.saturating_sub(1);
            } else if low <= 1 {
                return None;
            } else {
                i = i.saturating_sub(usize::from(low) - 2);
            }
        }
        Some(blocks)
    }
}

/// How far the next head is, as far as the pack knows.
fn to_next(pack: &Pack, i: usize) -> u64 {
    let mut distance = 0;
    for j in i..pack.entries {
        let (kind, low) = pack.entry(j);
        if kind != Z_EROFS_LCLUSTER_TYPE_NONHEAD {
            return distance;
        }
        if j + 1 == pack.entries && low & Z_EROFS_LI_D0_CBLKCNT == 0 {
            return distance + u64::from(low);
        }
        distance += 1;
    }
    distance
}
