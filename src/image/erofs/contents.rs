//! What stands behind the inode of a regular file: its tail, or where its compressed data are.

use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use super::compress::Extent;
use super::encoded::{self, Piece, Records};
use super::format::{
    EROFS_INODE_COMPRESSED_COMPACT, EROFS_INODE_COMPRESSED_FULL, EROFS_INODE_FLAT_INLINE,
    EROFS_INODE_FLAT_PLAIN, MapHeader, Z_EROFS_ADVISE_BIG_PCLUSTER_1,
    Z_EROFS_ADVISE_BIG_PCLUSTER_2, Z_EROFS_ADVISE_COMPACTED_2B, Z_EROFS_ADVISE_FRAGMENT_PCLUSTER,
    Z_EROFS_ADVISE_INLINE_PCLUSTER, Z_EROFS_COMPRESSION_LZ4, Z_EROFS_COMPRESSION_ZSTD,
    Z_EROFS_FRAGMENT_INODE,
};
use super::index::Width;
use super::options::{Compression, Plan};
use super::store::{PackedSegment, Place, Record, Run, Store, Tail};
use super::{BLOCK, index, len, wide};

/// The header of compression metadata, in bytes.
const HEADER: u64 = 8;

/// What stands behind an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// `EROFS_INODE_*`
    pub layout: u16,
    /// Bytes of compression indexes and what aligns them.
    pub indexes: u64,
    /// Bytes of the tail.
    pub tail: u64,
}

/// Knows the bodies of all regular files.
#[derive(Clone, Copy, Debug)]
pub struct Bodies<'a> {
    pub plan: Plan,
    pub store: &'a Store,
}

impl Bodies<'_> {
    /// The body of a file behind `inode` bytes of inode and attributes.
    pub fn of(&self, record: &Record, inode: u64) -> Body {
        let start = inode.next_multiple_of(8) + HEADER;
        let run = |run: Run| u64::from(run.count);
        let extents = self.store.place(record).extents;
        let compressed = extents.count > 0 || matches!(record.tail, Tail::Fragment(_));
        match record.tail {
            _ if is_whole(record) => {
                let layout = EROFS_INODE_COMPRESSED_COMPACT;
                Body { layout, indexes: start - inode, tail: 0 }
            }
            Tail::Flat(tail) => {
                Body { layout: EROFS_INODE_FLAT_INLINE, indexes: 0, tail: run(tail) }
            }
            _ if !compressed => Body { layout: EROFS_INODE_FLAT_PLAIN, indexes: 0, tail: 0 },
            _ if self.plan.extents => {
                let end = self.records(record.size).end(start);
                Body { layout: EROFS_INODE_COMPRESSED_FULL, indexes: end - inode, tail: 0 }
            }
            tail => {
                let indexes = start + Width::Narrow.length(start, record.size) - inode;
                let tail = if let Tail::Inline(cluster) = tail { run(cluster) } else { 0 };
                Body { layout: EROFS_INODE_COMPRESSED_COMPACT, indexes, tail }
            }
        }
    }

    /// `i_u` of a file: its first block, or the number of its blocks.
    pub fn i_u(&self, record: &Record, layout: u16) -> u32 {
        let Place { start, stored, .. } = self.store.place(record);
        let blocks = |bytes: u64| u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        match layout {
            EROFS_INODE_COMPRESSED_COMPACT | EROFS_INODE_COMPRESSED_FULL => blocks(stored),
            _ if stored > 0 => blocks(start),
            _ => 0,
        }
    }

    /// Writes the body of a file behind `out`, which is its inode.
    pub fn write(&self, out: &mut Vec<u8>, record: &Record) {
        let Place { start: first, extents, .. } = self.store.place(record);
        let extents = extents.of(&self.store.extents);
        match record.tail {
            Tail::Fragment(fragment) if is_whole(record) => {
                out.resize(out.len().next_multiple_of(8), 0);
                let [a, b, c, d, ..] = self.store.offset(fragment).to_le_bytes();
                out.extend_from_slice(&[a, b, c, d, 0, 0, 0, Z_EROFS_FRAGMENT_INODE]);
            }
            Tail::Flat(tail) => out.extend_from_slice(tail.of(&self.store.arena)),
            Tail::None if extents.is_empty() => {}
            tail if self.plan.extents => {
                let fragment = match tail {
                    Tail::Fragment(fragment) => Some(self.store.offset(fragment)),
                    _ => None,
                };
                let records = self.records(record.size);
                self.write_encoded(out, records, self.pieces(extents, first), fragment);
            }
            tail => {
                let mut extents = extents.to_vec();
                let mut header = self.header(Z_EROFS_ADVISE_COMPACTED_2B);
                match tail {
                    Tail::Fragment(fragment) => {
                        header.h_advise |= U16::new(Z_EROFS_ADVISE_FRAGMENT_PCLUSTER);
                        let offset = self.store.offset(fragment);
                        let (low, high) = (offset & 0xffff, offset >> 16);
                        header.h_fragmentoff_lo = U16::new(u16::try_from(low).unwrap_or(0));
                        header.h_idata_size = U16::new(u16::try_from(high).unwrap_or(0));
                        extents.push(Extent::elsewhere(fragment.length));
                    }
                    Tail::Inline(cluster) => {
                        header.h_advise |= U16::new(Z_EROFS_ADVISE_INLINE_PCLUSTER);
                        let length = u16::try_from(cluster.count).unwrap_or(u16::MAX);
                        header.h_idata_size = U16::new(length);
                    }
                    Tail::None | Tail::Flat(_) => {}
                }
                out.resize(out.len().next_multiple_of(8), 0);
                out.extend_from_slice(header.as_bytes());
                // An inode starts at a multiple of 32, so its own length tells the alignment.
                let start = len(out);
                let extents = index::placed(&extents, block(first));
                Width::Narrow.write(out, start, record.size, extents, self.big_clusters());
                if let Tail::Inline(cluster) = tail {
                    out.extend_from_slice(cluster.of(&self.store.arena));
                }
            }
        }
    }

    /// The body of the packed inode, behind `inode` bytes.
    pub fn of_packed(&self, inode: u64) -> Body {
        let start = inode.next_multiple_of(8) + HEADER;
        let (layout, end) = if self.plan.extents {
            (EROFS_INODE_COMPRESSED_FULL, self.packed_records().end(start))
        } else {
            let width = self.packed_width();
            let layout = match width {
                Width::Full => EROFS_INODE_COMPRESSED_FULL,
                Width::Narrow | Width::Wide => EROFS_INODE_COMPRESSED_COMPACT,
            };
            (layout, start + width.length(start, self.store.packed_size()))
        };
        Body { layout, indexes: end - inode, tail: 0 }
    }

    /// Blocks of the packed inode.
    pub fn packed_blocks(&self) -> u32 {
        let stored: u64 = self.packed().map(|segment| segment.stored).sum();
        u32::try_from(stored.div_ceil(BLOCK)).unwrap_or(u32::MAX)
    }

    /// Writes the body of the packed inode behind `out`, which is the inode.
    pub fn write_packed(&self, out: &mut Vec<u8>) {
        if self.plan.extents {
            return self.write_encoded(out, self.packed_records(), self.packed_pieces(), None);
        }
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend_from_slice(self.header(0).as_bytes());
        let (start, size) = (len(out), self.store.packed_size());
        let extents = self.packed_extents();
        self.packed_width().write(out, start, size, extents, self.big_clusters());
    }

    /// The segments of the packed inode, in their order there.
    fn packed(&self) -> impl Iterator<Item = &PackedSegment> {
        self.store.packed.iter().flatten()
    }

    fn packed_extents(&self) -> impl Iterator<Item = (Extent, u32)> {
        self.packed().flat_map(|segment| index::placed(&segment.extents, block(segment.start)))
    }

    fn packed_width(&self) -> Width {
        Width::of_scattered(self.packed_extents())
    }

    fn packed_pieces(&self) -> impl Iterator<Item = Piece> {
        self.packed().flat_map(|segment| self.pieces(&segment.extents, segment.start))
    }

    fn packed_records(&self) -> Records {
        Records::anywhere(self.store.packed_size(), wide(self.packed_pieces().count()))
    }

    fn write_encoded(
        &self,
        out: &mut Vec<u8>,
        records: Records,
        pieces: impl Iterator<Item = Piece>,
        fragment: Option<u64>,
    ) {
        let mut advise = records.advise();
        if fragment.is_some() {
            advise |= Z_EROFS_ADVISE_FRAGMENT_PCLUSTER;
        }
        // The header has either the number of records or the size of pieces, at one place.
        let count = records.counted();
        let bits = self.plan.cluster.blocks().ilog2();
        let field = |shift: u32| {
            let part = count.map_or(0, |count| (count >> shift) & 0xffff);
            U16::new(u16::try_from(part).unwrap_or(0))
        };
        let header = MapHeader {
            h_fragmentoff_lo: field(0),
            h_idata_size: field(16),
            h_advise: U16::new(advise),
            h_algorithmtype: 0,
            h_clusterbits: if count.is_some() { 0 } else { u8::try_from(bits).unwrap_or(0) },
        };
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend_from_slice(header.as_bytes());
        records.write(out, pieces, fragment);
    }

    /// The pieces of extents that are one after the other.
    fn pieces<'e>(
        &self,
        extents: &'e [Extent],
        start: u64,
    ) -> impl Iterator<Item = Piece> + use<'e> {
        let piece = u32::try_from(self.plan.cluster.bytes()).unwrap_or(u32::MAX);
        encoded::pieces(extents, start, piece, self.algorithm())
    }

    fn records(&self, file_size: u64) -> Records {
        Records::consecutive(file_size, wide(self.plan.cluster.bytes()))
    }

    fn header(&self, mut advise: u16) -> MapHeader {
        if self.big_clusters() {
            advise |= Z_EROFS_ADVISE_BIG_PCLUSTER_1 | Z_EROFS_ADVISE_BIG_PCLUSTER_2;
        }
        MapHeader {
            h_fragmentoff_lo: U16::ZERO,
            h_idata_size: U16::ZERO,
            h_advise: U16::new(advise),
            h_algorithmtype: self.algorithm(),
            h_clusterbits: 0,
        }
    }

    /// The number of the algorithm on disk.
    pub fn algorithm(&self) -> u8 {
        match self.plan.compression {
            Compression::Zstd(_) => Z_EROFS_COMPRESSION_ZSTD,
            _ => Z_EROFS_COMPRESSION_LZ4,
        }
    }

    /// Whether clusters may have more than one block.
    pub fn big_clusters(&self) -> bool {
        self.plan.compression != Compression::None && self.plan.cluster.blocks() > 1
    }
}

/// Whether all of a file is in the packed inode.
fn is_whole(record: &Record) -> bool {
    matches!(record.tail, Tail::Fragment(fragment) if u64::from(fragment.length) == record.size)
}

fn block(position: u64) -> u32 {
    u32::try_from(position / BLOCK).unwrap_or(u32::MAX)
}
