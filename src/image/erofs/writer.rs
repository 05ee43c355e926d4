//! Contents go straight into the data area of the image, while the layer is being read.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::compress::{Extent, SEGMENT, Squeezed, blocks_in};
use super::options::{Compression, Options};
use super::pool::{Answer, Pool};
use super::{BLOCK, len, metadata, size};
use crate::image::{Error, Staged};
use crate::layer::{ContentSink, SinkError};
use crate::tree::Tree;

/// Bytes of tails that wait for their inodes; whatever comes later gets a block of its own.
const ARENA: usize = 16 << 20;
/// The longest tail that fits behind any inode, whose end may need the start of the block.
pub(super) const TAIL: u64 = BLOCK - 64;

/// Stored contents. Equal values are the same place, hence the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Contents {
    size: u64,
    digest: [u8; 16],
    record: u32,
}

impl Contents {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first half of the BLAKE3 digest.
    pub fn digest(&self) -> &[u8; 16] {
        &self.digest
    }
}

/// Where the contents of a file are.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Length in bytes.
    pub size: u64,
    /// The first half of their BLAKE3 digest.
    pub digest: [u8; 16],
    /// The first block.
    pub start: u32,
    /// How many blocks.
    pub blocks: u32,
    /// The extents of compressed contents: from which, and how many.
    pub extents: (usize, usize),
    /// The tail in the arena: from where, and how long.
    pub tail: (usize, usize),
}

/// Everything that was stored.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub records: Vec<Record>,
    pub extents: Vec<Extent>,
    pub arena: Vec<u8>,
}

impl Store {
    /// The record of contents, if they were stored here.
    pub fn record(&self, contents: &Contents) -> Option<&Record> {
        let record = self.records.get(size(u64::from(contents.record)))?;
        (record.digest == contents.digest && record.size == contents.size).then_some(record)
    }
}

/// Writes an image: first contents, as they come, then everything else.
#[derive(Debug)]
pub struct Writer {
    file: File,
    options: Options,
    pool: Option<Pool>,
    store: Store,
    /// Records by the first half of their digests.
    known: HashMap<u64, u32>,
    next_block: u32,
    /// What was handed to the pool, in order, and is not written yet.
    pending: VecDeque<Pending>,
    /// Bytes of the segments in `pending`.
    waiting: usize,
    /// The record whose segments are being written.
    current: Option<u32>,
    /// Memory for segments.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Pending {
    Segment {
        record: u32,
        last: bool,
        length: usize,
        answer: Answer,
    },
    Ready {
        record: u32,
        segment: Vec<u8>,
    },
    /// The file turned out to be one that is there already.
    Discard {
        record: u32,
    },
}

impl Writer {
    /// Starts an image in an empty file.
    pub fn new(file: File, options: &Options) -> Result<Self, Error> {
        let pool = match options.compression {
            Compression::None => None,
            _ => Some(Pool::new(options)?),
        };
        Ok(Self {
            file,
            options: options.clone(),
            pool,
            store: Store::default(),
            known: HashMap::new(),
            next_block: 1,
            pending: VecDeque::new(),
            waiting: 0,
            current: None,
            spare: Vec::new(),
        })
    }

    /// Writes everything but the contents, then reads the whole image back and compares it with
    /// the tree.
    ///
    /// Contents that no inode of the tree has are overwritten: nothing may be in the image that
    /// cannot be seen in it.
    pub fn finish(self, tree: &Tree<Contents>) -> Result<Staged, Error> {
        let file = self.finish_unchecked(tree)?;
        super::check(&file, tree)?;
        Ok(Staged::checked(file)?)
    }

    pub(super) fn finish_unchecked(mut self, tree: &Tree<Contents>) -> Result<File, Error> {
        while self.write_next()? {}
        self.pool = None;
        self.erase_unused(tree)?;
        metadata::write(&self.file, &self.options, &self.store, self.next_block, tree)?;
        Ok(self.file)
    }

    fn erase_unused(&self, tree: &Tree<Contents>) -> io::Result<()> {
        let mut used = vec![false; self.store.records.len()];
        for entry in tree.walk() {
            if let crate::tree::Content::Regular(contents) = &entry.inode.content
                && let Some(used) = used.get_mut(size(u64::from(contents.record)))
            {
                *used = true;
            }
        }
        let zeros = vec![0; SEGMENT];
        for (record, _) in self.store.records.iter().zip(&used).filter(|(_, used)| !**used) {
            let mut position = u64::from(record.start) * BLOCK;
            let mut left = size(u64::from(record.blocks) * BLOCK);
            while left > 0 {
                let piece = zeros.get(..left.min(SEGMENT)).unwrap_or(&zeros);
                self.file.write_all_at(piece, position)?;
                position += len(piece);
                left -= piece.len();
            }
        }
        Ok(())
    }

    /// Reads the next segment of at most `left` bytes.
    fn read_segment(&mut self, contents: &mut dyn Read, left: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(SEGMENT);
        let mut segment =
            if length == SEGMENT { self.spare.pop().unwrap_or_default() } else { Vec::new() };
        segment.resize(length, 0);
        contents.read_exact(&mut segment)?;
        Ok(segment)
    }

    fn submit(&mut self, record: u32, last: bool, segment: Vec<u8>) -> io::Result<()> {
        let Some(pool) = &self.pool else {
            return self.append(record, last, Squeezed::Plain(segment));
        };
        let length = segment.len();
        let small = len(&segment) <= BLOCK && last;
        self.pending.push_back(if small {
            Pending::Ready { record, segment }
        } else {
            Pending::Segment { record, last, length, answer: pool.ask(segment)? }
        });
        // What waits is bounded by its bytes, and, as each counts as a block, in number.
        self.waiting += length.max(size(BLOCK));
        while self.waiting > (self.options.threads.get() + 2) * SEGMENT && self.write_next()? {}
        Ok(())
    }

    /// Writes what was handed to the pool first; false if there is nothing left.
    fn write_next(&mut self) -> io::Result<bool> {
        let Some(pending) = self.pending.pop_front() else { return Ok(false) };
        match pending {
            Pending::Segment { record, last, length, answer } => {
                self.waiting -= length.max(size(BLOCK));
                self.append(record, last, answer.wait()?)?;
            }
            Pending::Ready { record, segment } => {
                self.waiting -= segment.len().max(size(BLOCK));
                self.append(record, true, Squeezed::Plain(segment))?;
            }
            Pending::Discard { record } => self.discard(record),
        }
        Ok(true)
    }

    /// Writes a segment behind what is there, and notes where.
    fn append(&mut self, id: u32, last: bool, squeezed: Squeezed) -> io::Result<()> {
        let Store { records, extents, arena } = &mut self.store;
        let Some(record) = records.get_mut(size(u64::from(id))) else { return Ok(()) };
        if self.current != Some(id) {
            self.current = Some(id);
            record.start = self.next_block;
            record.extents = (extents.len(), 0);
        }
        let first = record.extents.0;
        let position = u64::from(self.next_block) * BLOCK;
        let (written, spent) = match squeezed {
            Squeezed::Clusters { blocks, extents: found, spent } => {
                self.file.write_all_at(&blocks, position)?;
                extents.extend(found);
                (blocks_in(&blocks), spent)
            }
            Squeezed::Plain(mut segment) => {
                let length = segment.len();
                let plain = Extent { length: u32::try_from(length).unwrap_or(u32::MAX), blocks: 0 };
                extents.push(plain);
                let flat = extents.iter().skip(first).all(|extent| extent.blocks == 0);
                let tail = len(&segment) % BLOCK;
                if last && flat && tail > 0 && tail <= TAIL && arena.len() + size(tail) <= ARENA {
                    record.tail = (arena.len(), size(tail));
                    arena.extend(segment.drain(length - size(tail)..));
                }
                segment.resize(segment.len().next_multiple_of(size(BLOCK)), 0);
                self.file.write_all_at(&segment, position)?;
                (blocks_in(&segment), segment)
            }
        };
        if spent.capacity() >= SEGMENT && self.spare.len() < self.options.threads.get() + 2 {
            self.spare.push(spent);
        }
        let added = u32::try_from(written).ok();
        let next = added.and_then(|added| self.next_block.checked_add(added));
        self.next_block = next.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        record.blocks = self.next_block - record.start;
        if last {
            if extents.iter().skip(first).all(|extent| extent.blocks == 0) {
                extents.truncate(first);
            }
            record.extents = (first, extents.len() - first);
        }
        Ok(())
    }

    /// Takes back the file that was written last.
    fn discard(&mut self, id: u32) {
        let Some(record) = self.store.records.get_mut(size(u64::from(id))) else { return };
        self.next_block = record.start;
        self.store.extents.truncate(record.extents.0);
        if record.tail.1 > 0 {
            self.store.arena.truncate(record.tail.0);
        }
        record.blocks = 0;
        record.tail = (0, 0);
        record.extents = (0, 0);
    }

    /// The contents that are stored under a digest.
    fn find(&self, size: u64, digest: [u8; 16]) -> Option<Contents> {
        let record = *self.known.get(&key(&digest))?;
        let contents = Contents { size, digest, record };
        self.store.record(&contents).map(|_| contents)
    }

    fn new_record(&mut self, size: u64) -> Result<u32, SinkError> {
        let record = u32::try_from(self.store.records.len())
            .map_err(|_| SinkError::Write(io::ErrorKind::FileTooLarge.into()))?;
        self.store.records.push(Record {
            size,
            digest: [0; 16],
            start: 0,
            blocks: 0,
            extents: (0, 0),
            tail: (0, 0),
        });
        Ok(record)
    }

    /// Makes a record known by its digest.
    fn know(&mut self, record: u32, length: u64, digest: [u8; 16]) -> Contents {
        if let Some(known) = self.store.records.get_mut(size(u64::from(record))) {
            known.digest = digest;
        }
        self.known.entry(key(&digest)).or_insert(record);
        Contents { size: length, digest, record }
    }
}

impl ContentSink for Writer {
    type Content = Contents;

    fn store(&mut self, size: u64, contents: &mut dyn Read) -> Result<Contents, SinkError> {
        let mut hasher = blake3::Hasher::new();
        let mut segment = self.read_segment(contents, size).map_err(SinkError::Read)?;
        let mut left = size - len(&segment);
        hasher.update(&segment);
        if left == 0 {
            let digest = half(&hasher);
            if let Some(known) = self.find(size, digest) {
                return Ok(known);
            }
            let record = self.new_record(size)?;
            self.submit(record, true, segment).map_err(SinkError::Write)?;
            return Ok(self.know(record, size, digest));
        }
        let record = self.new_record(size)?;
        while left > 0 {
            self.submit(record, false, segment).map_err(SinkError::Write)?;
            segment = self.read_segment(contents, left).map_err(SinkError::Read)?;
            left -= len(&segment);
            hasher.update(&segment);
        }
        self.submit(record, true, segment).map_err(SinkError::Write)?;
        let digest = half(&hasher);
        if let Some(known) = self.find(size, digest) {
            self.pending.push_back(Pending::Discard { record });
            if self.pool.is_none() {
                self.write_next().map_err(SinkError::Write)?;
            }
            return Ok(known);
        }
        Ok(self.know(record, size, digest))
    }
}

fn half(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    half
}

fn key(digest: &[u8; 16]) -> u64 {
    let mut key = [0; 8];
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(key)
}
