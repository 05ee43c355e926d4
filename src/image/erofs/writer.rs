//! Contents go straight into the data area of the image, while the layer is being read.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use hashbrown::HashTable;

use super::check::check;
use super::compress::{Buffers, Extent, Follows, INLINE, Squeezed};
use super::data::Data;
use super::options::{Options, Plan, SelfCheck, Tails};
use super::packed::Packed;
use super::pool::{Answer, Pool};
use super::spare::Spare;
use super::store::{
    CHAINS, Contents, Half, PackedSegment, Place, Record, Run, Store, Tail, half, index,
};
use super::{BLOCK, len, metadata, size, too_large};
use crate::image::{Error, Staged};
use crate::layer::{ContentSink, SinkError};
use crate::tree::{Content, Tree};

/// Bytes of tails that wait for their inodes; whatever comes later gets a block of its own.
const ARENA: usize = 16 << 20;
/// The same where nothing is compressed, which needs no other memory.
const PLAIN_ARENA: usize = 32 << 20;

/// Writes an image: first contents, as they come, then everything else.
#[derive(Debug)]
pub struct Writer {
    pub(super) data: Data,
    options: Options,
    pub(super) plan: Plan,
    pool: Option<Pool>,
    pub(super) store: Store,
    pub(super) packed: Packed,
    /// Records by their digests; none if files may not share contents.
    known: HashTable<u32>,
    /// Contents can be chosen for what their digests start with.
    random: RandomState,
    /// What was handed to the pool, in order, and is not written yet.
    pending: VecDeque<Pending>,
    /// Bytes of the segments in `pending`.
    waiting: usize,
    /// The record whose segments are being written, and where they are.
    current: Option<(u32, Place)>,
    /// Memory for segments, and for what becomes of them.
    pub(super) spare: Spare,
    /// Bytes of tails that may wait for their inodes.
    arena: usize,
}

#[derive(Debug)]
enum Pending {
    Segment {
        record: u32,
        last: bool,
        length: usize,
        answer: Answer,
    },
    /// A whole file that is not compressed on its own.
    Small {
        record: u32,
        bytes: Vec<u8>,
    },
    /// The file turned out to be one that is there already.
    Discard,
}

impl Writer {
    /// Starts an image in an empty file.
    pub fn new(file: File, options: &Options) -> Result<Self, Error> {
        let plan = options.plan();
        let (pool, arena) = match plan.compression {
            super::Compression::None => (None, PLAIN_ARENA),
            _ => (Some(Pool::new(plan, options.threads)?), ARENA),
        };
        Ok(Self {
            data: Data::new(file),
            options: options.clone(),
            plan,
            pool,
            store: Store::default(),
            packed: Packed::default(),
            known: HashTable::new(),
            random: RandomState::new(),
            pending: VecDeque::new(),
            waiting: 0,
            current: None,
            spare: Spare::new(plan.segment(), options.threads.get() + CHAINS + 1),
            arena,
        })
    }

    /// Writes everything but the contents, then reads the image back and compares it with the
    /// tree.
    ///
    /// Contents that no inode of the tree has are overwritten: nothing may be in the image that
    /// cannot be seen in it.
    pub fn finish(self, tree: &Tree<Contents>) -> Result<Staged, Error> {
        let (file, digests) = self.finish_unchecked(tree)?;
        check(&file, tree, digests.as_deref())?;
        Ok(Staged::checked(file)?)
    }

    /// Writes everything; gives also the digests of all records if they are to be compared.
    pub(super) fn finish_unchecked(
        mut self,
        tree: &Tree<Contents>,
    ) -> Result<(File, Option<Vec<Half>>), Error> {
        self.pause()?;
        self.finish_packed()?;
        self.spare.release();
        self.known = HashTable::new();
        self.erase_unused(tree)?;
        self.data.align()?;
        let start = u32::try_from(self.data.end() / BLOCK).map_err(|_| too_large())?;
        let file = self.data.finish()?;
        metadata::write(&file, &self.options, &self.store, start, tree)?;
        let digests = || self.store.records.iter().map(|record| record.digest).collect();
        Ok((file, (self.options.self_check == SelfCheck::Full).then(digests)))
    }

    fn erase_unused(&mut self, tree: &Tree<Contents>) -> Result<(), Error> {
        let mut used = vec![false; self.store.records.len()];
        for entry in tree.walk() {
            if let Content::Regular(contents) = &entry.inode.content
                && let Some(used) = used.get_mut(index(contents.record))
            {
                *used = true;
            }
        }
        let mut fragments = Vec::new();
        for (record, _) in self.store.records.iter().zip(&used).filter(|(_, used)| !**used) {
            let Place { start, stored, .. } = self.store.place(record);
            self.data.zero(start, stored)?;
            if let Tail::Fragment(fragment) = record.tail {
                fragments.push(fragment);
            }
        }
        self.erase_fragments(fragments)
    }

    /// Reads the next segment of at most `left` bytes.
    fn read_segment(&mut self, contents: &mut dyn Read, left: u64) -> io::Result<Vec<u8>> {
        let whole = self.plan.segment();
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(whole);
        // What waits for nobody can use the same memory for the next file, however small it is.
        let reused = length == whole || self.pool.is_none();
        let mut segment = if reused { self.spare.input() } else { Vec::new() };
        segment.resize(length, 0);
        contents.read_exact(&mut segment)?;
        Ok(segment)
    }

    fn submit(&mut self, record: u32, last: bool, segment: Vec<u8>) -> io::Result<()> {
        let Some(pool) = &self.pool else {
            let buffers = Buffers { input: segment, output: Vec::new() };
            return self.append(record, last, Squeezed::Plain(buffers));
        };
        let length = segment.len();
        let whole = last
            && self
                .store
                .records
                .get(index(record))
                .is_some_and(|record| record.size == len(&segment));
        let small = match self.plan.tails {
            Tails::Fragments => length <= self.plan.small(),
            Tails::Blocks => len(&segment) <= BLOCK,
            Tails::Inline => length <= 64,
        };
        self.pending.push_back(if whole && small {
            Pending::Small { record, bytes: segment }
        } else {
            let follows = if last { Follows::Nothing } else { Follows::More };
            let answer = pool.ask(self.spare.with(segment), follows)?;
            Pending::Segment { record, last, length, answer }
        });
        // What waits is bounded by its bytes, and, as each counts as something, in number: one
        // segment for each thread, and the next.
        self.waiting += length.max(MINIMUM);
        let most = self.options.threads.get() * self.plan.segment();
        let is_small = |pending: Option<&Pending>| matches!(pending, Some(Pending::Small { .. }));
        while (self.waiting > most || is_small(self.pending.front())) && self.write_next()? {}
        Ok(())
    }

    /// Writes what was handed to the pool first; false if there is nothing left.
    fn write_next(&mut self) -> io::Result<bool> {
        let Some(pending) = self.pending.pop_front() else { return Ok(false) };
        match pending {
            Pending::Segment { record, last, length, answer } => {
                self.waiting -= length.max(MINIMUM);
                self.append(record, last, answer.wait()?)?;
            }
            Pending::Small { record, bytes } => {
                self.waiting -= bytes.len().max(MINIMUM);
                if let Some(tail) = self.pack(&bytes)? {
                    let put = self.store.put(index(record), tail, Place::default());
                    put.ok_or_else(too_many)?;
                } else {
                    let buffers = Buffers { input: bytes, output: Vec::new() };
                    self.append(record, true, Squeezed::Plain(buffers))?;
                }
            }
            Pending::Discard => self.discard(),
        }
        if self.current.is_none() {
            self.turn_packed()?;
        }
        Ok(true)
    }

    /// Puts bytes into the packed inode, if there is one and it has room.
    fn pack(&mut self, bytes: &[u8]) -> io::Result<Option<Tail>> {
        match &self.pool {
            Some(pool) if self.plan.tails == Tails::Fragments && !bytes.is_empty() => {
                self.packed.add(bytes, pool, &mut self.spare, self.plan.segment())
            }
            _ => Ok(None),
        }
    }

    /// Where a segment of the packed inode is full, goes on with the next chain, whose last
    /// segment is written.
    fn turn_packed(&mut self) -> io::Result<()> {
        if let Some((chain, answer)) = self.packed.turn() {
            self.append_packed(chain, answer.wait()?, Follows::Rest)?;
        }
        Ok(())
    }

    /// Writes what is left of all chains.
    fn finish_packed(&mut self) -> io::Result<()> {
        let Some(pool) = self.pool.take() else { return Ok(()) };
        for (chain, answer) in self.packed.waiting() {
            self.append_packed(chain, answer.wait()?, Follows::Rest)?;
        }
        for (chain, answer) in self.packed.end(&pool, &mut self.spare)? {
            self.append_packed(chain, answer.wait()?, Follows::More)?;
        }
        let length =
            |segments: &Vec<PackedSegment>| segments.iter().map(PackedSegment::length).sum();
        self.store.packed_sizes = self.store.packed.each_ref().map(length);
        Ok(())
    }

    /// Writes a segment of a chain, which goes on with what is left over of it.
    pub(super) fn append_packed(
        &mut self,
        chain: usize,
        squeezed: Squeezed,
        follows: Follows,
    ) -> io::Result<()> {
        let start = self.data.end();
        let (extents, Buffers { input, output }, rest) = match squeezed {
            Squeezed::Clusters(found) => {
                self.data.write(&found.buffers.output)?;
                (found.extents, found.buffers, found.tail)
            }
            Squeezed::Plain(buffers) => {
                // Two clusters cannot start in one block of the packed inode.
                let length = buffers.input.len();
                let rest = if follows == Follows::Rest { length % size(BLOCK) } else { 0 };
                let length = length - rest;
                self.data.write(buffers.input.get(..length).unwrap_or_default())?;
                let length = u32::try_from(length).map_err(|_| too_many())?;
                (vec![Extent { length, stored: 0 }], buffers, rest)
            }
        };
        if !self.plan.extents {
            self.data.align()?;
        }
        self.packed.go_on(chain, input, rest);
        self.spare.keep(Buffers { input: Vec::new(), output });
        if let Some(segments) = self.store.packed.get_mut(chain).filter(|_| !extents.is_empty()) {
            segments.push(PackedSegment { start, stored: self.data.end() - start, extents });
        }
        Ok(())
    }

    /// Writes a segment behind what is there, and notes where.
    fn append(&mut self, id: u32, last: bool, squeezed: Squeezed) -> io::Result<()> {
        let mut place = if let Some((_, place)) = self.current.take_if(|(of, _)| *of == id) {
            place
        } else {
            if matches!(squeezed, Squeezed::Plain(_)) || !self.plan.extents {
                self.data.align()?;
            }
            let extents = Run::new(self.store.extents.len(), 0).ok_or_else(too_many)?;
            Place { start: self.data.end(), stored: 0, extents }
        };
        let first = index(place.extents.first);
        let mut tail = Tail::None;
        match squeezed {
            Squeezed::Clusters(found) => {
                self.data.write(&found.buffers.output)?;
                self.store.extents.extend_from_slice(&found.extents);
                if !found.inline.is_empty() {
                    tail = self.inline(&found.inline, &found.buffers.input)?;
                }
                if found.tail > 0 {
                    tail = self.fragment(found.rest())?;
                }
                self.spare.keep(found.buffers);
            }
            Squeezed::Plain(mut buffers) => {
                let segment = &mut buffers.input;
                let length = u32::try_from(segment.len()).map_err(|_| too_many())?;
                self.store.extents.push(Extent { length, stored: 0 });
                let flat = last && self.is_flat(first);
                let bytes = segment.len() % size(BLOCK);
                let (arena, most) = (&mut self.store.arena, self.arena);
                if flat && (1..=INLINE).contains(&bytes) && arena.len() + bytes <= most {
                    tail = Tail::Flat(Run::new(arena.len(), bytes).ok_or_else(too_many)?);
                    arena.extend(segment.drain(segment.len() - bytes..));
                }
                self.data.write(segment)?;
                if !self.plan.extents {
                    self.data.align()?;
                }
                self.spare.keep(buffers);
            }
        }
        if last && self.is_flat(first) && !matches!(tail, Tail::Fragment(_) | Tail::Inline(_)) {
            self.store.extents.truncate(first);
            // Nothing may be behind the end of a flat file: whoever maps it sees all of the block.
            self.data.align()?;
        }
        let count = self.store.extents.len() - first;
        place.extents = Run::new(first, count).ok_or_else(too_many)?;
        place.stored = self.data.end() - place.start;
        if last {
            return self.store.put(index(id), tail, place).ok_or_else(too_many);
        }
        self.current = Some((id, place));
        Ok(())
    }

    /// Whether all extents from one on are plain.
    fn is_flat(&self, first: usize) -> bool {
        self.store.extents.iter().skip(first).all(|extent| extent.stored == 0)
    }

    /// Keeps a last cluster, of the end of `input`, for the place behind its inode, or writes it
    /// like the others.
    fn inline(&mut self, cluster: &[u8], input: &[u8]) -> io::Result<Tail> {
        let arena = &mut self.store.arena;
        if arena.len() + cluster.len() <= self.arena {
            let run = Run::new(arena.len(), cluster.len()).ok_or_else(too_many)?;
            arena.extend_from_slice(cluster);
            return Ok(Tail::Inline(run));
        }
        let Some(extent) = self.store.extents.last_mut() else { return Ok(Tail::None) };
        let length = size(u64::from(extent.length));
        let mut block = vec![0; size(BLOCK)];
        if length <= block.len() {
            // Compressed, it would be a cluster of more bytes than are in it: nothing is saved,
            // and kernels need not expect such a one.
            extent.stored = 0;
            let tail = input.get(input.len().saturating_sub(length)..).unwrap_or_default();
            block.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        } else {
            // A compressed one ends with its block.
            let from = block.len() - cluster.len();
            block.iter_mut().skip(from).zip(cluster).for_each(|(to, from)| *to = *from);
        }
        self.data.write(&block)?;
        Ok(Tail::None)
    }

    /// Puts the end of a file into the packed inode, or writes it plain.
    fn fragment(&mut self, bytes: &[u8]) -> io::Result<Tail> {
        if let Some(tail) = self.pack(bytes)? {
            return Ok(tail);
        }
        let length = u32::try_from(bytes.len()).map_err(|_| too_many())?;
        self.store.extents.push(Extent { length, stored: 0 });
        self.data.write(bytes)?;
        if !self.plan.extents {
            self.data.align()?;
        }
        Ok(Tail::None)
    }

    /// Takes back the file that is being written.
    fn discard(&mut self) {
        if let Some((_, place)) = self.current.take() {
            self.data.take_back(place.start);
            self.store.extents.truncate(index(place.extents.first));
        }
    }

    /// The contents that are stored under a digest.
    fn find(&self, size: u64, digest: Half) -> Option<Contents> {
        let records = &self.store.records;
        let is_it = |record: &Record| record.digest == digest && record.size == size;
        let is_same = |&record: &u32| records.get(index(record)).is_some_and(is_it);
        let &record = self.known.find(self.random.hash_one(digest), is_same)?;
        Some(Contents { size, record })
    }

    fn new_record(&mut self, size: u64) -> Result<u32, SinkError> {
        let record = u32::try_from(self.store.records.len())
            .map_err(|_| SinkError::Write(io::ErrorKind::FileTooLarge.into()))?;
        self.store.records.push(Record {
            size,
            digest: Half::default(),
            tail: Tail::None,
            place: 0,
        });
        Ok(record)
    }

    /// Makes a record known by its digest.
    fn know(&mut self, record: u32, size: u64, digest: Half) -> Contents {
        if let Some(record) = self.store.records.get_mut(index(record)) {
            record.digest = digest;
        }
        if self.plan.shares {
            let Self { known, random, store, .. } = self;
            let digest_of = |of: u32| store.records.get(index(of)).map(|it| it.digest);
            let hash = |&of: &u32| random.hash_one(digest_of(of).unwrap_or_default());
            known.insert_unique(random.hash_one(digest), record, hash);
        }
        Contents { size, record }
    }
}

/// What each waiting entry counts at least.
const MINIMUM: usize = 4096;

impl ContentSink for Writer {
    type Content = Contents;

    fn store(&mut self, size: u64, contents: &mut dyn Read) -> Result<Contents, SinkError> {
        let mut hasher = blake3::Hasher::new();
        let mut segment = self.read_segment(contents, size).map_err(SinkError::Read)?;
        let mut left = size - len(&segment);
        hasher.update(&segment);
        let mut record = None;
        while left > 0 {
            let id = match record {
                Some(id) => id,
                None => *record.insert(self.new_record(size)?),
            };
            self.submit(id, false, segment).map_err(SinkError::Write)?;
            segment = self.read_segment(contents, left).map_err(SinkError::Read)?;
            left -= len(&segment);
            hasher.update(&segment);
        }
        // Known before the last segment is on its way: a tail cannot be taken back.
        let digest = half(&hasher);
        if let Some(known) = self.find(size, digest) {
            if record.is_some() {
                self.pending.push_back(Pending::Discard);
                if self.pool.is_none() {
                    self.write_next().map_err(SinkError::Write)?;
                }
            }
            return Ok(known);
        }
        let id = match record {
            Some(id) => id,
            None => self.new_record(size)?,
        };
        self.submit(id, true, segment).map_err(SinkError::Write)?;
        Ok(self.know(id, size, digest))
    }

    fn pause(&mut self) -> io::Result<()> {
        while self.write_next()? {}
        self.spare.release();
        Ok(())
    }
}

fn too_many() -> io::Error {
    io::Error::other("found more than 2^32 pieces of contents")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Inode, Stat};

    /// A table that has the same digest again and again takes ever longer.
    #[test]
    fn equal_files_that_may_not_share_contents_are_not_looked_for() {
        for (kernel, known) in [("5.15", 0), ("6.1", 1)] {
            let options = Options {
                compression: "lz4".parse().unwrap(),
                cluster_size: None,
                min_kernel: kernel.parse().unwrap(),
                self_check: SelfCheck::Full,
                threads: 1.try_into().unwrap(),
            };
            let mut writer = Writer::new(tempfile::tempfile().unwrap(), &options).unwrap();
            let stored: Vec<_> = (0..3).map(|_| writer.store(4, &mut &b"text"[..])).collect();
            assert_eq!(writer.known.len(), known);
            let is_shared = stored[1].as_ref().unwrap() == stored[2].as_ref().unwrap();
            assert_eq!(is_shared, known == 1);
        }
    }

    /// Whatever finds no room behind its inode gets a block, as a cluster only if that saves one.
    #[test]
    fn tails_without_room_are_plain_unless_that_takes_more_blocks() {
        let text: Vec<u8> = (0..9000u32).flat_map(|n| (n % 800).to_string().into_bytes()).collect();
        for (cluster, arena) in [("4K", 0), ("16K", 0), ("4K", 3000), ("64K", 3000)] {
            let options = Options {
                compression: "lz4".parse().unwrap(),
                cluster_size: Some(cluster.parse().unwrap()),
                min_kernel: "5.17".parse().unwrap(),
                self_check: SelfCheck::Full,
                threads: 1.try_into().unwrap(),
            };
            let mut writer = Writer::new(tempfile::tempfile().unwrap(), &options).unwrap();
            writer.arena = arena;
            let mut tree = Tree::new(Stat::directory());
            for length in (65..text.len()).step_by(977) {
                let bytes = &text[text.len() - length..];
                let content = Content::Regular(writer.store(len(bytes), &mut &*bytes).unwrap());
                let ino = tree.add(Inode { stat: Stat::directory(), content });
                assert!(tree.link(length.to_string().as_bytes(), ino));
            }
            while writer.write_next().unwrap() {}
            let store = &writer.store;
            assert!(store.arena.len() <= arena && (arena == 0 || !store.arena.is_empty()));
            for record in &store.records {
                let extents = store.place(record).extents.of(&store.extents);
                let in_blocks = match record.tail {
                    Tail::Inline(_) => extents.split_last().unwrap().1,
                    _ => extents,
                };
                assert!(in_blocks.iter().all(|extent| extent.stored < extent.length), "{record:?}");
            }
            writer.finish(&tree).unwrap();
        }
    }
}
