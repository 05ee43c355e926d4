//! Encoded extents of a compressed file: pieces of one length, each at any byte (48bit, Linux 6.15).

use super::compress::Extent;
use super::format::{
    Z_EROFS_ADVISE_EXTENTS, Z_EROFS_ADVISE_EXTRECSZ_BIT, Z_EROFS_EXTENT_PLEN_FMT_BIT,
};

/// The most pieces that may be found by adding up the lengths of those before them.
const MAX_SUMMED: u64 = 64;

/// A piece of a file: its length there, and its bytes in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub length: u32,
    /// `plen` of the extent: the bytes and their algorithm.
    pub stored: u32,
    pub start: u64,
}

/// How the extents of a file are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// Bytes of each.
    size: u64,
    count: u64,
}

impl Records {
    /// For a file in pieces of `piece` bytes, one after the other.
    pub fn consecutive(file_size: u64, piece: u64) -> Self {
        let count = file_size.div_ceil(piece);
        if count <= MAX_SUMMED { Self { size: 4, count } } else { Self::anywhere(file_size, count) }
    }

    /// For a file in so many pieces.
    pub fn anywhere(file_size: u64, count: u64) -> Self {
        Self { size: if u32::try_from(file_size).is_ok() { 16 } else { 32 }, count }
    }

    /// Where the records end that start behind a header that ends at `start`.
    pub fn end(self, start: u64) -> u64 {
        let first = if self.size == 4 { start + 8 } else { start.next_multiple_of(self.size) };
        first + self.count * self.size
    }

    /// Of records that say where they start, how many there are.
    pub fn counted(self) -> Option<u64> {
        (self.size > 4).then_some(self.count)
    }

    /// The flags of the header that say so.
    pub fn advise(self) -> u16 {
        let log = u16::try_from(self.size.ilog2()).unwrap_or(2) - 2;
        Z_EROFS_ADVISE_EXTENTS | (log << Z_EROFS_ADVISE_EXTRECSZ_BIT)
    }

    /// Writes the records behind `out`, whose start is aligned to all of them.
    pub fn write(
        self,
        out: &mut Vec<u8>,
        pieces: impl Iterator<Item = Piece>,
        fragment: Option<u64>,
    ) {
        let mut position = 0u64;
        let width = super::size(self.size);
        let mut pieces = pieces.peekable();
        if self.size == 4 {
            let start = pieces.peek().map_or(0, |piece| piece.start);
            out.extend_from_slice(&start.to_le_bytes());
        } else {
            out.resize(out.len().next_multiple_of(width), 0);
        }
        let mut record = |stored: u32, start: u64, position: u64| {
            let mut record = [0; 32];
            let fields = stored
                .to_le_bytes()
                .into_iter()
                .chain(start.to_le_bytes())
                .chain(position.to_le_bytes());
            record.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
            out.extend(record.iter().take(width));
        };
        for piece in pieces {
            record(piece.stored, piece.start, position);
            position += u64::from(piece.length);
        }
        if let Some(offset) = fragment {
            record(u32::try_from(offset & 0xffff_ffff).unwrap_or(0), offset >> 32, position);
        }
    }
}

/// The pieces that extents consist of, in bytes from `start` on.
pub fn pieces(
    extents: &[Extent],
    mut start: u64,
    piece: u32,
    algorithm: u8,
) -> impl Iterator<Item = Piece> {
    extents.iter().flat_map(move |extent| {
        let plain = extent.stored == 0;
        let count = if plain { extent.length.div_ceil(piece) } else { 1 };
        let first = start;
        let (length, stored) = (extent.length, extent.stored);
        start += u64::from(if plain { length } else { stored });
        (0..count).map(move |n| {
            if plain {
                let length = (length - n * piece).min(piece);
                let start = first + u64::from(n) * u64::from(piece);
                return Piece { length, stored: length, start };
            }
            let format = u32::from(algorithm + 1) << Z_EROFS_EXTENT_PLEN_FMT_BIT;
            Piece { length, stored: stored | format, start: first }
        })
    })
}
