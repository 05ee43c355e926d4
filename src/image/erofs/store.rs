//! Where the contents of files are: what the data area is known by while it is written.

use super::compress::Extent;
use super::size;

/// Stored contents. Equal values are the same place, hence the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(Rust, packed(4))]
pub struct Contents {
    pub(super) size: u64,
    pub(super) record: u32,
}

impl Contents {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// The first half of a BLAKE3 digest.
pub type Half = [u8; 16];

/// Such a half of what a hasher took.
pub fn half(hasher: &blake3::Hasher) -> Half {
    let mut half = Half::default();
    hasher.finalize_xof().fill(&mut half);
    half
}

/// A number of one of a store's lists as an index.
pub fn index(number: u32) -> usize {
    size(u64::from(number))
}

/// Where the contents of a file are.
#[derive(Clone, Debug)]
pub struct Record {
    /// Length in bytes.
    pub size: u64,
    /// The first half of their BLAKE3 digest.
    pub digest: Half,
    /// Their last bytes, where those are elsewhere.
    pub tail: Tail,
    /// Which of the store's places the others are at; 0 if there are no others.
    pub place: u32,
}

/// Where bytes of a file are in the data area.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The first byte in the image.
    pub start: u64,
    /// How many bytes from there.
    pub stored: u64,
    /// The extents of compressed contents.
    pub extents: Run,
}

/// Some of a list: from where, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub first: u32,
    pub count: u32,
}

impl Run {
    /// A run of a list in memory; none if it is too long to be one.
    pub fn new(first: usize, count: usize) -> Option<Self> {
        Some(Self { first: u32::try_from(first).ok()?, count: u32::try_from(count).ok()? })
    }

    /// What the run means.
    pub fn of<T>(self, list: &[T]) -> &[T] {
        let first = size(u64::from(self.first));
        list.get(first..first + size(u64::from(self.count))).unwrap_or_default()
    }
}

/// The last bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With the others.
    None,
    /// In the arena, as they are, for the place behind a flat inode.
    Flat(Run),
    /// In the arena, as the last extent has them, for the place behind the indexes.
    Inline(Run),
    /// In the packed inode.
    Fragment(Fragment),
}

/// A part of a chain of the packed inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(Rust, packed)]
pub struct Fragment {
    pub chain: u8,
    /// Where in the chain it starts.
    pub offset: u32,
    pub length: u32,
}

/// How many chains the packed inode has: as many of its segments can be compressed at a time.
pub const CHAINS: usize = 3;

/// A part of a chain.
#[derive(Clone, Debug)]
pub struct PackedSegment {
    /// The first byte in the image.
    pub start: u64,
    /// How many bytes from there.
    pub stored: u64,
    /// Its extents.
    pub extents: Vec<Extent>,
}

/// Everything that was stored.
#[derive(Debug, Default)]
pub struct Store {
    pub records: Vec<Record>,
    /// Small files have none, and there may be a million.
    places: Vec<Place>,
    pub extents: Vec<Extent>,
    pub arena: Vec<u8>,
    /// The packed inode: one chain after the other.
    pub packed: [Vec<PackedSegment>; CHAINS],
    /// The lengths of its chains.
    pub packed_sizes: [u64; CHAINS],
}

impl PackedSegment {
    /// Bytes of the chain.
    pub fn length(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.length)).sum()
    }
}

impl Store {
    /// Where a record's bytes are in the data area.
    pub fn place(&self, record: &Record) -> Place {
        let index = index(record.place).checked_sub(1);
        index.and_then(|index| self.places.get(index)).copied().unwrap_or_default()
    }

    /// Notes where a record's bytes are; none if there are too many.
    pub fn put(&mut self, id: usize, tail: Tail, place: Place) -> Option<()> {
        let record = self.records.get_mut(id)?;
        record.tail = tail;
        if place.stored > 0 || place.extents.count > 0 {
            self.places.push(place);
            record.place = u32::try_from(self.places.len()).ok()?;
        }
        Some(())
    }

    /// Length of the packed inode.
    pub fn packed_size(&self) -> u64 {
        self.packed_sizes.iter().sum()
    }

    /// Where in the packed inode a fragment starts, once all chains are complete.
    pub fn offset(&self, fragment: Fragment) -> u64 {
        let before = self.packed_sizes.iter().take(usize::from(fragment.chain));
        before.sum::<u64>() + u64::from(fragment.offset)
    }

    /// The record of contents, if they were stored here.
    pub fn record(&self, contents: &Contents) -> Option<&Record> {
        let record = self.records.get(index(contents.record))?;
        (record.size == contents.size).then_some(record)
    }
}
