//! Encoded extents of a file (48bit), read as the kernel does (`z_erofs_map_blocks_ext`).

use std::cell::Cell;

use zerocopy::little_endian::{U32, U64};

use super::super::BLOCK;
use super::super::format::{
    MapHeader, Z_EROFS_ADVISE_EXTRECSZ_BIT, Z_EROFS_ADVISE_FRAGMENT_PCLUSTER,
    Z_EROFS_ADVISE_INTERLACED_PCLUSTER, Z_EROFS_EXTENT_PLEN_FMT_BIT, Z_EROFS_EXTENT_PLEN_MASK,
    Z_EROFS_EXTENT_PLEN_PARTIAL,
};
use super::data::{Extent, Source};
use super::{Reader, STEP, corrupt, expect_data};
use crate::image::Error;

/// The extents of one file.
#[derive(Debug)]
pub struct Encoded {
    nid: u64,
    size: u64,
    advise: u16,
    /// Bytes of a record: 4, 8, 16 or 32.
    width: u64,
    /// log₂ of the bytes of a piece, if the records do not tell where they start.
    bits: u32,
    count: u64,
    /// Where the first record is.
    base: u64,
    /// For records without addresses: one of them, and its address.
    known: Cell<(u64, u64)>,
}

/// A record, with where it starts in the file.
struct Record {
    start: u64,
    end: u64,
    stored: u32,
    position: u64,
    last: bool,
}

impl Encoded {
    pub fn new(
        reader: &Reader,
        nid: u64,
        size: u64,
        header: MapHeader,
        end: u64,
    ) -> Result<Self, Error> {
        let advise = header.h_advise.get();
        let width = 4u64 << ((advise >> Z_EROFS_ADVISE_EXTRECSZ_BIT) & 3);
        let count = u64::from(header.h_fragmentoff_lo.get())
            | u64::from(header.h_idata_size.get()) << 16
            | u64::from(header.h_algorithmtype) << 32
            | u64::from(header.h_clusterbits & 0x7f) << 40;
        // The last two bytes are part of the count, or the size of pieces.
        let bits = BLOCK.ilog2() + u32::from(header.h_clusterbits & 15);
        let mut base = end.next_multiple_of(width);
        let mut first = 0;
        if width == 4 {
            first = reader.structure::<U64>(base)?.get();
            base += 8;
        }
        let count = if width <= 8 { size.div_ceil(1 << bits) } else { count };
        let fits = count
            .checked_mul(width)
            .and_then(|bytes| bytes.checked_add(base))
            .is_some_and(|end| end <= reader.length());
        if !fits {
            return Err(corrupt(format!("found {count} extents of inode {nid}")));
        }
        Ok(Self { nid, size, advise, width, bits, count, base, known: Cell::new((0, first)) })
    }

    /// Where in the packed inode the last bytes are, if they are there.
    pub fn fragment(&self, reader: &Reader) -> Result<Option<u64>, Error> {
        if !self.has_fragment() {
            return Ok(None);
        }
        let Some(last) = self.count.checked_sub(1) else { return Ok(None) };
        let high = if self.width > 4 { u64::from(self.word(reader, last, 1)?) << 32 } else { 0 };
        Ok(Some(u64::from(self.word(reader, last, 0)?) | high))
    }

    /// 32 bits of a record.
    fn word(&self, reader: &Reader, number: u64, word: u64) -> Result<u32, Error> {
        Ok(reader.structure::<U32>(self.base + number * self.width + 4 * word)?.get())
    }

    fn has_fragment(&self) -> bool {
        self.advise & Z_EROFS_ADVISE_FRAGMENT_PCLUSTER != 0
    }

    /// The extent that a byte of the contents is in.
    pub fn extent(&self, reader: &Reader, position: u64) -> Result<Extent, Error> {
        let record = if self.width <= 8 {
            self.by_number(reader, position >> self.bits)?
        } else {
            self.by_start(reader, position)?
        };
        let start = record.start;
        let length = record.end.checked_sub(start).ok_or_else(|| self.broken(position))?;
        let extent = |source| Ok(Extent { start, length, source });
        if record.last && self.has_fragment() {
            let high = if self.width > 4 { record.position << 32 } else { 0 };
            return extent(Source::Fragment { offset: u64::from(record.stored) | high });
        }
        let stored = u64::from(record.stored & Z_EROFS_EXTENT_PLEN_MASK);
        if stored == 0 {
            return extent(Source::Hole);
        }
        let at = record.position;
        expect_data(at, self.nid)?;
        let partial = record.stored & Z_EROFS_EXTENT_PLEN_PARTIAL != 0;
        let format = u8::try_from(record.stored >> Z_EROFS_EXTENT_PLEN_FMT_BIT).unwrap_or(u8::MAX);
        if let Some(algorithm) = format.checked_sub(1) {
            let source = Source::Compressed { position: at, length: stored, algorithm, partial };
            return extent(source);
        }
        if length > stored {
            return Err(self.broken(position));
        }
        let interlaced = self.advise & Z_EROFS_ADVISE_INTERLACED_PCLUSTER != 0;
        extent(if interlaced && (at | stored).is_multiple_of(BLOCK) {
            Source::Interlaced { position: at, length: stored }
        } else {
            Source::Plain { position: at }
        })
    }

    /// A record of pieces that all have one length.
    fn by_number(&self, reader: &Reader, number: u64) -> Result<Record, Error> {
        if number >= self.count {
            return Err(self.broken(number << self.bits));
        }
        let stored = |number| self.word(reader, number, 0);
        let position = if self.width == 8 {
            u64::from(self.word(reader, number, 1)?)
        } else {
            let (mut known, mut position) = self.known.get();
            if known > number {
                (known, position) = (0, reader.structure::<U64>(self.base - 8)?.get());
            }
            while known < number {
                reader.spend(STEP)?;
                position = position
                    .checked_add(u64::from(stored(known)? & Z_EROFS_EXTENT_PLEN_MASK))
                    .ok_or_else(|| self.broken(number << self.bits))?;
                known += 1;
            }
            self.known.set((known, position));
            position
        };
        Ok(Record {
            start: number << self.bits,
            end: ((number + 1) << self.bits).min(self.size),
            stored: stored(number)?,
            position,
            last: number + 1 == self.count,
        })
    }

    /// The record that a byte is in, by bisection.
    fn by_start(&self, reader: &Reader, position: u64) -> Result<Record, Error> {
        let word = |number, word| self.word(reader, number, word).map(u64::from);
        let start = |number: u64| -> Result<u64, Error> {
            reader.spend(STEP)?;
            let high = if self.width > 16 { word(number, 4)? << 32 } else { 0 };
            Ok(word(number, 3)? | high)
        };
        let (mut low, mut high) = (0, self.count);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if start(middle)? > position { high = middle } else { low = middle }
        }
        if self.count == 0 || start(low)? > position {
            return Err(self.broken(position));
        }
        let end = if low + 1 < self.count { start(low + 1)? } else { self.size };
        Ok(Record {
            start: start(low)?,
            end: end.min(self.size),
            stored: self.word(reader, low, 0)?,
            position: word(low, 1)? | word(low, 2)? << 32,
            last: low + 1 == self.count,
        })
    }

    fn broken(&self, position: u64) -> Error {
        corrupt(format!("found a broken extent at {position} of inode {}", self.nid))
    }
}
