//! Everything of an image but contents: inodes, directories, attributes, and last the superblock.
//!
//! Laid out first, then written from front to back; nothing is changed afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::compress::INLINE;
use super::contents::{Bodies, Body};
use super::format::{
    EROFS_I_DATALAYOUT_BIT, EROFS_I_VERSION_EXTENDED, EROFS_INODE_FLAT_INLINE,
    EROFS_INODE_FLAT_PLAIN, EROFS_ISLOTBITS, EROFS_NAME_LEN, InodeCompact, InodeExtended,
};
use super::layout::{Layout, Need};
use super::options::Options;
use super::store::{Contents, Half, Record, Store, half};
use super::superblock::Facts;
use super::{BLOCK, directory, len, size, too_large, wide, xattr};
use crate::escape::Escaped;
use crate::image::Error;
use crate::tree::{Content, Ino, Inode, Stat, Timestamp, Tree, join};

/// Writes the metadata of an image behind its data, which ends at block `start`.
pub fn write(
    file: &File,
    options: &Options,
    store: &Store,
    start: u32,
    tree: &Tree<Contents>,
) -> Result<(), Error> {
    let plan = Places::new(options, store, start, tree)?;
    let mut area = Area::new(file, u64::from(start) * BLOCK);
    plan.write_area(&mut area)?;
    let (end, digest) = area.finish(store)?;
    let facts = Facts {
        bodies: plan.bodies,
        root: u16::try_from(plan.nid(Tree::<Contents>::ROOT)).map_err(|_| too_large())?,
        packed: plan.packed.into(),
        inodes: wide(plan.order.len()),
        epoch: plan.epoch,
        blocks: u32::try_from(end / BLOCK).map_err(|_| too_large())?,
        meta_block: plan.start,
        xattr_block: if plan.shared.all() > 0 { plan.xattr_start } else { 0 },
        identity: digest,
    };
    file.write_all_at(&facts.block(), 0)?;
    file.set_len(end)?;
    Ok(())
}

/// How an inode is stored, as far as its own facts tell.
#[derive(Clone, Copy, Debug)]
struct Shape {
    extended: bool,
    layout: u16,
    size: u64,
    /// Bytes of attributes.
    xattrs: u64,
    /// Bytes of compression indexes and what aligns them.
    indexes: u64,
    /// Bytes of the inline tail.
    tail: u64,
    /// Blocks in the metadata area.
    blocks: u64,
}

impl Shape {
    fn need(&self) -> Need {
        let inode = if self.extended { 64 } else { 32 };
        Need { free: inode + self.xattrs + self.indexes, tail: self.tail }
    }
}

/// Where everything is.
struct Places<'a> {
    bodies: Bodies<'a>,
    tree: &'a Tree<Contents>,
    /// The time of compact inodes.
    epoch: Timestamp,
    links: Vec<u32>,
    parents: HashMap<Ino, Ino>,
    shared: xattr::Shared<'a>,
    /// Numbers on disk by `Ino`; 0 for inodes that no directory names.
    nids: Vec<u32>,
    /// First blocks of directories and symlinks by `Ino`.
    blocks: Vec<u32>,
    /// Inodes in the order of their places.
    order: Vec<Ino>,
    /// Number of the packed inode, or 0.
    packed: u32,
    start: u32,
    xattr_start: u32,
    end: u64,
}

impl<'a> Places<'a> {
    fn new(
        options: &'a Options,
        store: &'a Store,
        start: u32,
        tree: &'a Tree<Contents>,
    ) -> Result<Self, Error> {
        let mut plan = Self {
            bodies: Bodies { plan: options.plan(), store },
            tree,
            epoch: Timestamp::default(),
            links: vec![0; tree.len()],
            parents: HashMap::new(),
            shared: xattr::Shared::default(),
            nids: vec![0; tree.len()],
            blocks: vec![0; tree.len()],
            order: Vec::new(),
            packed: 0,
            start,
            xattr_start: 0,
            end: 0,
        };
        plan.collect()?;
        plan.epoch = plan.common_time();
        plan.place()?;
        Ok(plan)
    }

    /// Finds all inodes: entries of a directory one after the other, then what is below them.
    fn collect(&mut self) -> Result<(), Error> {
        let tree = self.tree;
        self.order.push(Tree::<Contents>::ROOT);
        self.links(Tree::<Contents>::ROOT, 2);
        self.parents.insert(Tree::<Contents>::ROOT, Tree::<Contents>::ROOT);
        let mut below = vec![Tree::<Contents>::ROOT];
        while let Some(parent) = below.pop() {
            let mut directories = Vec::new();
            for (name, ino) in tree.directory(parent).into_iter().flatten() {
                if name.len() > EROFS_NAME_LEN {
                    let path = join(&tree.path_of(parent), name);
                    let problem =
                        format!("found a name of {} bytes, expected at most 255", name.len());
                    return Err(unwritable(&path, &problem));
                }
                if tree.directory(ino).is_some() {
                    if self.parents.insert(ino, parent).is_some() {
                        return Err(unwritable(name, "found a directory under two names"));
                    }
                    self.links(ino, 2);
                    self.links(parent, 1);
                    directories.push(ino);
                    self.order.push(ino);
                } else if self.links(ino, 1) == 1 {
                    self.order.push(ino);
                }
            }
            below.extend(directories.into_iter().rev());
        }
        for &ino in &self.order {
            let xattrs = &tree.inode(ino).stat.xattrs;
            if let Some(problem) = xattr::problem(xattrs) {
                return Err(unwritable(&self.tree.path_of(ino), &problem));
            }
        }
        self.shared =
            xattr::Shared::new(&self.order.iter().map(|&ino| &tree.inode(ino).stat.xattrs));
        Ok(())
    }

    /// Adds links to an inode; how many there are then.
    fn links(&mut self, ino: Ino, more: u32) -> u32 {
        let Some(links) = self.links.get_mut(ino.index()) else { return 0 };
        *links = links.saturating_add(more);
        *links
    }

    /// The time that needs the fewest inodes to have one of their own.
    fn common_time(&self) -> Timestamp {
        let times = self.order.iter().map(|&ino| self.tree.inode(ino).stat.mtime);
        if !self.bodies.plan.extents {
            return commonest(times).unwrap_or_default();
        }
        // Kernels that know encoded extents add the seconds of a compact inode to it.
        let nsec = commonest(times.clone().map(|time| time.nsec)).unwrap_or(0);
        let seconds = times.filter(|time| time.nsec == nsec).map(|time| time.sec);
        Timestamp { sec: seconds.min().unwrap_or(0), nsec }
    }

    /// The seconds of a compact inode; none if its time needs an extended one.
    fn short_time(&self, mtime: Timestamp) -> Option<u32> {
        if mtime.nsec != self.epoch.nsec {
            return None;
        }
        let later = u32::try_from(mtime.sec.checked_sub(self.epoch.sec)?).ok()?;
        (later == 0 || self.bodies.plan.extents).then_some(later)
    }

    fn place(&mut self) -> Result<(), Error> {
        let mut layout = Layout::new();
        for &ino in &self.order {
            let shape = self.shape(ino)?;
            let place = layout.place(shape.need()) >> EROFS_ISLOTBITS;
            let nid = u32::try_from(place).map_err(|_| too_large())?;
            let blocks = u32::try_from(shape.blocks).map_err(|_| too_large())?;
            if let (Some(slot), Some(length)) =
                (self.nids.get_mut(ino.index()), self.blocks.get_mut(ino.index()))
            {
                (*slot, *length) = (nid, blocks);
            }
        }
        if self.bodies.store.packed_size() > 0 {
            let inode = len_of::<InodeExtended>();
            let free = inode + self.bodies.of_packed(inode).indexes;
            let place = layout.append(Need { free, tail: 0 }) >> EROFS_ISLOTBITS;
            self.packed = u32::try_from(place).map_err(|_| too_large())?;
        }
        let nids = &self.nids;
        self.order.sort_unstable_by_key(|ino| nids.get(ino.index()));
        self.xattr_start = block_after(u64::from(self.start) * BLOCK + layout.end())?;
        let mut next = block_after(u64::from(self.xattr_start) * BLOCK + self.shared.all())?;
        for ino in &self.order {
            // How many it has gives way to which is its first.
            let Some(blocks) = self.blocks.get_mut(ino.index()) else { continue };
            let first = next;
            next = next.checked_add(std::mem::replace(blocks, first)).ok_or_else(too_large)?;
        }
        self.end = u64::from(next) * BLOCK;
        Ok(())
    }

    fn nid(&self, ino: Ino) -> u64 {
        self.nids.get(ino.index()).copied().map_or(0, u64::from)
    }

    fn record(&self, ino: Ino, contents: &Contents) -> Result<&'a Record, Error> {
        let problem = "found contents that this image does not have";
        self.bodies
            .store
            .record(contents)
            .ok_or_else(|| unwritable(&self.tree.path_of(ino), problem))
    }

    fn shape(&self, ino: Ino) -> Result<Shape, Error> {
        let Inode { stat, content } = self.tree.inode(ino);
        let xattrs = self.shared.length(&stat.xattrs);
        if xattrs > 12 + 4 * u64::from(u16::MAX - 1) {
            let problem = "found more than 256 KiB of extended attributes";
            return Err(unwritable(&self.tree.path_of(ino), problem));
        }
        let mut shape = Shape {
            extended: false,
            layout: EROFS_INODE_FLAT_PLAIN,
            size: 0,
            xattrs,
            indexes: 0,
            tail: 0,
            blocks: 0,
        };
        let mut body = None;
        match content {
            Content::Directory(entries) => {
                shape.size =
                    directory::length(directory::entries(entries, ino, ino).map(|(name, _)| name));
                inline_tail(&mut shape, 0);
            }
            Content::Symlink(target) => {
                shape.size = len(target);
                // The kernel's quick way for symlinks wants all of it in one block.
                inline_tail(&mut shape, 64 + xattrs);
            }
            Content::Regular(contents) => {
                let record = self.record(ino, contents)?;
                shape.size = record.size;
                body = Some(record);
            }
            Content::CharDevice { .. }
            | Content::BlockDevice { .. }
            | Content::Fifo
            | Content::Socket => {}
        }
        let links = self.links.get(ino.index()).copied().unwrap_or(0);
        shape.extended = self.short_time(stat.mtime).is_none()
            || stat.uid > u32::from(u16::MAX)
            || stat.gid > u32::from(u16::MAX)
            || links > u32::from(u16::MAX)
            || shape.size > u64::from(u32::MAX);
        if let Some(record) = body {
            let Body { layout, indexes, tail } = self.bodies.of(record, shape.need().free);
            (shape.layout, shape.indexes, shape.tail) = (layout, indexes, tail);
        }
        Ok(shape)
    }

    fn write_area(&self, area: &mut Area<'_>) -> Result<(), Error> {
        let meta = u64::from(self.start) * BLOCK;
        let mut bytes = Vec::new();
        for &ino in &self.order {
            area.pad_to(meta + (self.nid(ino) << EROFS_ISLOTBITS))?;
            bytes.clear();
            self.write_inode(&mut bytes, ino)?;
            area.write(&bytes)?;
        }
        if self.packed > 0 {
            area.pad_to(meta + (u64::from(self.packed) << EROFS_ISLOTBITS))?;
            bytes.clear();
            self.write_packed(&mut bytes);
            area.write(&bytes)?;
        }
        area.pad_to(u64::from(self.xattr_start) * BLOCK)?;
        area.write(&self.shared.bytes())?;
        for &ino in &self.order {
            if !matches!(self.tree.inode(ino).content, Content::Directory(_) | Content::Symlink(_))
            {
                continue;
            }
            let shape = self.shape(ino)?;
            if shape.blocks > 0 {
                area.pad_to(self.blocks.get(ino.index()).copied().map_or(0, u64::from) * BLOCK)?;
                // The last may stand behind the inode.
                for block in self.own_blocks(ino).take(size(shape.blocks)) {
                    area.write(&block)?;
                }
            }
        }
        area.pad_to(self.end)
    }

    /// The packed inode, which no directory names.
    fn write_packed(&self, out: &mut Vec<u8>) {
        let Body { layout, .. } = self.bodies.of_packed(len_of::<InodeExtended>());
        let inode = InodeExtended {
            i_format: U16::new(EROFS_I_VERSION_EXTENDED | (layout << EROFS_I_DATALAYOUT_BIT)),
            i_xattr_icount: U16::ZERO,
            i_mode: U16::new(0o100_000),
            i_reserved: U16::ZERO,
            i_size: U64::new(self.bodies.store.packed_size()),
            i_u: U32::new(self.bodies.packed_blocks()),
            i_ino: U32::new(self.packed),
            i_uid: U32::ZERO,
            i_gid: U32::ZERO,
            i_mtime: U64::new(self.epoch.sec.cast_unsigned()),
            i_mtime_nsec: U32::new(self.epoch.nsec),
            i_nlink: U32::new(1),
            i_reserved2: [0; 16],
        };
        out.extend_from_slice(inode.as_bytes());
        self.bodies.write_packed(out);
    }

    /// The blocks of a directory or symlink.
    fn own_blocks(&self, ino: Ino) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        match &self.tree.inode(ino).content {
            Content::Symlink(target) => Box::new(target.chunks(size(BLOCK)).map(<[u8]>::to_vec)),
            Content::Directory(entries) => {
                let parent = self.parents.get(&ino).copied().unwrap_or(ino);
                let entries = directory::entries(entries, ino, parent).map(|(name, ino)| {
                    let file_type = directory::file_type(&self.tree.inode(ino).content);
                    (name, self.nid(ino), file_type)
                });
                Box::new(directory::blocks(entries))
            }
            _ => Box::new(std::iter::empty()),
        }
    }

    fn write_inode(&self, out: &mut Vec<u8>, ino: Ino) -> Result<(), Error> {
        let Inode { stat, content } = self.tree.inode(ino);
        let shape = self.shape(ino)?;
        let own_block = self.blocks.get(ino.index()).copied().unwrap_or(0);
        let mut record = None;
        let i_u = match content {
            Content::Directory(_) | Content::Symlink(_) if shape.blocks > 0 => own_block,
            Content::Directory(_) | Content::Symlink(_) | Content::Fifo | Content::Socket => 0,
            Content::CharDevice { rdev } | Content::BlockDevice { rdev } => u32::try_from(*rdev)
                .map_err(|_| {
                    let problem =
                        format!("found the device number {rdev}, expected at most 32 bits");
                    unwritable(&self.tree.path_of(ino), &problem)
                })?,
            Content::Regular(contents) => {
                let found = *record.insert(self.record(ino, contents)?);
                self.bodies.i_u(found, shape.layout)
            }
        };
        self.write_header(out, ino, &shape, stat, content.file_type(), i_u);
        self.shared.write(out, &stat.xattrs);
        match record {
            Some(record) => self.bodies.write(out, record),
            None if shape.tail > 0 => {
                out.extend(self.own_blocks(ino).last().unwrap_or_default());
            }
            None => {}
        }
        Ok(())
    }

    fn write_header(
        &self,
        out: &mut Vec<u8>,
        ino: Ino,
        shape: &Shape,
        stat: &Stat,
        file_type: u16,
        i_u: u32,
    ) {
        let version = if shape.extended { EROFS_I_VERSION_EXTENDED } else { 0 };
        let i_format = U16::new(version | (shape.layout << EROFS_I_DATALAYOUT_BIT));
        let icount = shape.xattrs.checked_sub(12).map_or(0, |more| 1 + more / 4);
        let i_xattr_icount = U16::new(u16::try_from(icount).unwrap_or(u16::MAX));
        let i_mode = U16::new(file_type | stat.mode);
        let links = self.links.get(ino.index()).copied().unwrap_or(0);
        let i_ino = U32::new(self.nids.get(ino.index()).copied().unwrap_or(0));
        if shape.extended {
            let inode = InodeExtended {
                i_format,
                i_xattr_icount,
                i_mode,
                i_reserved: U16::ZERO,
                i_size: U64::new(shape.size),
                i_u: U32::new(i_u),
                i_ino,
                i_uid: U32::new(stat.uid),
                i_gid: U32::new(stat.gid),
                i_mtime: U64::new(stat.mtime.sec.cast_unsigned()),
                i_mtime_nsec: U32::new(stat.mtime.nsec),
                i_nlink: U32::new(links),
                i_reserved2: [0; 16],
            };
            out.extend_from_slice(inode.as_bytes());
        } else {
            let narrow = |n: u32| U16::new(u16::try_from(n).unwrap_or(u16::MAX));
            let inode = InodeCompact {
                i_format,
                i_xattr_icount,
                i_mode,
                i_nlink: narrow(links),
                i_size: U32::new(u32::try_from(shape.size).unwrap_or(u32::MAX)),
                i_mtime: U32::new(self.short_time(stat.mtime).unwrap_or(0)),
                i_u: U32::new(i_u),
                i_ino,
                i_uid: narrow(stat.uid),
                i_gid: narrow(stat.gid),
                i_reserved: U32::ZERO,
            };
            out.extend_from_slice(inode.as_bytes());
        }
    }
}

/// What occurs most often; of several, the least.
fn commonest<T: Copy + Ord + std::hash::Hash>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: HashMap<T, u32> = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|&(item, count)| (count, std::cmp::Reverse(item)));
    most.map(|(item, _)| item)
}

/// Puts the last part of a block behind the inode, if there is one and it leaves `beside` bytes.
fn inline_tail(shape: &mut Shape, beside: u64) {
    let tail = shape.size % BLOCK;
    if tail > 0 && tail <= wide(INLINE) && tail + beside <= BLOCK {
        shape.layout = EROFS_INODE_FLAT_INLINE;
        shape.tail = tail;
    }
    shape.blocks = (shape.size - shape.tail).div_ceil(BLOCK);
}

/// The length of a structure.
fn len_of<T>() -> u64 {
    wide(size_of::<T>())
}

fn block_after(position: u64) -> Result<u32, Error> {
    u32::try_from(position.div_ceil(BLOCK)).map_err(|_| too_large())
}

fn unwritable(path: &[u8], problem: &str) -> Error {
    Error::Unwritable { path: Escaped(path).to_string(), problem: problem.to_owned() }
}

/// The metadata area, written from front to back.
struct Area<'a> {
    file: &'a File,
    /// Where `buffer` goes.
    position: u64,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
}

impl<'a> Area<'a> {
    const BUFFER: usize = 1 << 20;

    fn new(file: &'a File, position: u64) -> Self {
        Self { file, position, buffer: Vec::new(), hasher: blake3::Hasher::new() }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= Self::BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn pad_to(&mut self, position: u64) -> Result<(), Error> {
        let now = self.position + len(&self.buffer);
        let missing = position.checked_sub(now).ok_or_else(|| {
            Error::Io(io::Error::other("parts of the metadata are longer than was planned"))
        })?;
        self.buffer.resize(self.buffer.len() + size(missing), 0);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.buffer, self.position)?;
        self.hasher.update(&self.buffer);
        self.position += len(&self.buffer);
        self.buffer.clear();
        Ok(())
    }

    /// Ends the area; gives its end, and a digest of it and of all contents.
    fn finish(mut self, store: &Store) -> Result<(u64, Half), Error> {
        self.flush()?;
        for record in &store.records {
            self.hasher.update(&record.digest);
        }
        Ok((self.position, half(&self.hasher)))
    }
}
