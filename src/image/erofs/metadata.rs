//! Everything of an image but contents: inodes, directories, attributes, and last the superblock.
//!
//! Laid out first, then written from front to back; nothing is changed afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::format::{
    EROFS_FEATURE_COMPAT_MTIME, EROFS_FEATURE_COMPAT_SB_CHKSUM, EROFS_FEATURE_INCOMPAT_COMPR_CFGS,
    EROFS_FEATURE_INCOMPAT_LZ4_0PADDING, EROFS_I_DATALAYOUT_BIT, EROFS_I_VERSION_EXTENDED,
    EROFS_INODE_COMPRESSED_COMPACT, EROFS_INODE_FLAT_INLINE, EROFS_INODE_FLAT_PLAIN,
    EROFS_ISLOTBITS, EROFS_SUPER_MAGIC_V1, EROFS_SUPER_OFFSET, InodeCompact, InodeExtended,
    Lz4Cfgs, MapHeader, SuperBlock, Z_EROFS_ADVISE_BIG_PCLUSTER_1, Z_EROFS_ADVISE_BIG_PCLUSTER_2,
    Z_EROFS_ADVISE_COMPACTED_2B, Z_EROFS_COMPRESSION_LZ4,
};
use super::layout::{Layout, Need};
use super::options::{Compression, Options};
use super::writer::{Contents, Record, Store, TAIL};
use super::{BLOCK, directory, index, len, size, xattr};
use crate::escape::Escaped;
use crate::image::Error;
use crate::tree::{Content, Ino, Inode, Stat, Timestamp, Tree};

/// The farthest match of LZ4.
const LZ4_DISTANCE_MAX: u16 = u16::MAX;

/// Writes the metadata of an image behind its data, which ends at block `start`.
pub fn write(
    file: &File,
    options: &Options,
    store: &Store,
    start: u32,
    tree: &Tree<Contents>,
) -> Result<(), Error> {
    let plan = Plan::new(options, store, start, tree)?;
    let mut area = Area::new(file, u64::from(start) * BLOCK);
    plan.write_area(&mut area)?;
    let (end, digest) = area.finish(store)?;
    let superblock = plan.superblock(end, digest)?;
    file.write_all_at(&superblock, 0)?;
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
struct Plan<'a> {
    options: &'a Options,
    store: &'a Store,
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
    start: u32,
    xattr_start: u32,
    shared_length: u64,
    end: u64,
}

impl<'a> Plan<'a> {
    fn new(
        options: &'a Options,
        store: &'a Store,
        start: u32,
        tree: &'a Tree<Contents>,
    ) -> Result<Self, Error> {
        let mut plan = Self {
            options,
            store,
            tree,
            epoch: Timestamp::default(),
            links: vec![0; tree.len()],
            parents: HashMap::new(),
            shared: xattr::Shared::default(),
            nids: vec![0; tree.len()],
            blocks: vec![0; tree.len()],
            order: Vec::new(),
            start,
            xattr_start: 0,
            shared_length: 0,
            end: 0,
        };
        plan.collect()?;
        plan.epoch = plan.commonest_time();
        plan.shared_length = plan.shared.number();
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
            for (name, &ino) in tree.directory(parent).into_iter().flatten() {
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
                return Err(unwritable(&self.path_of(ino), &problem));
            }
            self.shared.count(xattrs);
        }
        Ok(())
    }

    /// Adds links to an inode; how many there are then.
    fn links(&mut self, ino: Ino, more: u32) -> u32 {
        let Some(links) = self.links.get_mut(ino.index()) else { return 0 };
        *links = links.saturating_add(more);
        *links
    }

    /// The time that most inodes have; they need no place for it.
    fn commonest_time(&self) -> Timestamp {
        let mut counts: HashMap<Timestamp, u32> = HashMap::new();
        for &ino in &self.order {
            *counts.entry(self.tree.inode(ino).stat.mtime).or_default() += 1;
        }
        let commonest =
            counts.into_iter().max_by_key(|&(time, count)| (count, std::cmp::Reverse(time)));
        commonest.map(|(time, _)| time).unwrap_or_default()
    }

    fn place(&mut self) -> Result<(), Error> {
        let mut layout = Layout::new();
        for &ino in &self.order {
            let shape = self.shape(ino)?;
            let place = layout.place(shape.need()) >> EROFS_ISLOTBITS;
            let nid = u32::try_from(place).map_err(|_| too_large())?;
            if let Some(slot) = self.nids.get_mut(ino.index()) {
                *slot = nid;
            }
        }
        let nids = &self.nids;
        self.order.sort_unstable_by_key(|ino| nids.get(ino.index()));
        self.xattr_start = block_after(u64::from(self.start) * BLOCK + layout.end())?;
        let mut next = block_after(u64::from(self.xattr_start) * BLOCK + self.shared_length)?;
        for &ino in &self.order {
            let blocks = self.shape(ino)?.blocks;
            if let Some(slot) = self.blocks.get_mut(ino.index()) {
                *slot = next;
            }
            let blocks = u32::try_from(blocks).map_err(|_| too_large())?;
            next = next.checked_add(blocks).ok_or_else(too_large)?;
        }
        self.end = u64::from(next) * BLOCK;
        Ok(())
    }

    fn nid(&self, ino: Ino) -> u64 {
        self.nids.get(ino.index()).copied().map_or(0, u64::from)
    }

    fn record(&self, ino: Ino, contents: &Contents) -> Result<&'a Record, Error> {
        let problem = "found contents that this image does not have";
        self.store.record(contents).ok_or_else(|| unwritable(&self.path_of(ino), problem))
    }

    fn shape(&self, ino: Ino) -> Result<Shape, Error> {
        let Inode { stat, content } = self.tree.inode(ino);
        let xattrs = self.shared.length(&stat.xattrs);
        if xattrs > 12 + 4 * u64::from(u16::MAX - 1) {
            let problem = "found more than 256 KiB of extended attributes";
            return Err(unwritable(&self.path_of(ino), problem));
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
        match content {
            Content::Directory(entries) => {
                shape.size = directory::length(directory::names(entries));
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
                if record.extents.1 > 0 {
                    shape.layout = EROFS_INODE_COMPRESSED_COMPACT;
                } else if record.tail.1 > 0 {
                    shape.layout = EROFS_INODE_FLAT_INLINE;
                    shape.tail = u64::try_from(record.tail.1).unwrap_or(u64::MAX);
                }
            }
            Content::CharDevice { .. }
            | Content::BlockDevice { .. }
            | Content::Fifo
            | Content::Socket => {}
        }
        let links = self.links.get(ino.index()).copied().unwrap_or(0);
        shape.extended = stat.mtime != self.epoch
            || stat.uid > u32::from(u16::MAX)
            || stat.gid > u32::from(u16::MAX)
            || links > u32::from(u16::MAX)
            || shape.size > u64::from(u32::MAX);
        if shape.layout == EROFS_INODE_COMPRESSED_COMPACT {
            let behind = shape.need().free;
            let start = behind.next_multiple_of(8) + 8;
            shape.indexes = start + index::length(start, shape.size) - behind;
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
        area.pad_to(u64::from(self.xattr_start) * BLOCK)?;
        area.write(&self.shared.bytes())?;
        for &ino in &self.order {
            let shape = self.shape(ino)?;
            if shape.blocks > 0 {
                area.pad_to(self.blocks.get(ino.index()).copied().map_or(0, u64::from) * BLOCK)?;
                let bytes = self.own_bytes(ino);
                area.write(bytes.get(..size(shape.size - shape.tail)).unwrap_or(&bytes))?;
            }
        }
        area.pad_to(self.end)
    }

    /// The bytes of a directory or symlink.
    fn own_bytes(&self, ino: Ino) -> Vec<u8> {
        match &self.tree.inode(ino).content {
            Content::Symlink(target) => target.to_vec(),
            Content::Directory(entries) => {
                let parent = self.parents.get(&ino).copied().unwrap_or(ino);
                directory::bytes(directory::names(entries).map(|name| {
                    let ino = match name {
                        b"." => ino,
                        b".." => parent,
                        name => entries.get(name).copied().unwrap_or(ino),
                    };
                    let file_type = directory::file_type(&self.tree.inode(ino).content);
                    (name, self.nid(ino), file_type)
                }))
            }
            _ => Vec::new(),
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
                    unwritable(&self.path_of(ino), &problem)
                })?,
            Content::Regular(contents) => {
                let found = &**record.insert(self.record(ino, contents)?);
                match shape.layout {
                    EROFS_INODE_COMPRESSED_COMPACT => found.blocks,
                    _ if found.blocks > 0 => found.start,
                    _ => 0,
                }
            }
        };
        self.write_header(out, ino, &shape, stat, content.file_type(), i_u);
        self.shared.write(out, &stat.xattrs);
        match record {
            Some(record) if shape.layout == EROFS_INODE_COMPRESSED_COMPACT => {
                self.write_indexes(out, record);
            }
            Some(record) => {
                let (start, length) = record.tail;
                let arena = &self.store.arena;
                out.extend_from_slice(arena.get(start..start + length).unwrap_or_default());
            }
            None if shape.tail > 0 => {
                let bytes = self.own_bytes(ino);
                let tail = bytes.get(size(shape.size - shape.tail)..);
                out.extend_from_slice(tail.unwrap_or_default());
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
                i_mtime: U32::ZERO,
                i_u: U32::new(i_u),
                i_ino,
                i_uid: narrow(stat.uid),
                i_gid: narrow(stat.gid),
                i_reserved: U32::ZERO,
            };
            out.extend_from_slice(inode.as_bytes());
        }
    }

    fn write_indexes(&self, out: &mut Vec<u8>, record: &Record) {
        let big = self.big_clusters();
        let mut h_advise = Z_EROFS_ADVISE_COMPACTED_2B;
        if big {
            h_advise |= Z_EROFS_ADVISE_BIG_PCLUSTER_1 | Z_EROFS_ADVISE_BIG_PCLUSTER_2;
        }
        let header = MapHeader {
            h_fragmentoff_lo: U16::ZERO,
            h_idata_size: U16::ZERO,
            h_advise: U16::new(h_advise),
            h_algorithmtype: Z_EROFS_COMPRESSION_LZ4,
            h_clusterbits: 0,
        };
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend_from_slice(header.as_bytes());
        // An inode starts at a multiple of 32, so its own length tells the alignment.
        let start = len(out);
        let (first, count) = record.extents;
        let extents = self.store.extents.get(first..first + count).unwrap_or_default();
        index::write(out, start, record.size, extents, record.start, big);
    }

    fn big_clusters(&self) -> bool {
        self.options.compression != Compression::None && self.options.cluster_size.blocks() > 1
    }

    fn superblock(&self, end: u64, digest: [u8; 16]) -> Result<Vec<u8>, Error> {
        let mut uuid = digest;
        // Version 8 of RFC 9562, §5.8: any bits, but for those that say so.
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
        *version = (*version & 0x0f) | 0x80;
        *variant = (*variant & 0x3f) | 0x80;
        let (mut feature_incompat, mut algorithms) = (0, 0);
        if self.options.compression != Compression::None {
            feature_incompat |= EROFS_FEATURE_INCOMPAT_LZ4_0PADDING;
            algorithms = LZ4_DISTANCE_MAX;
        }
        if self.big_clusters() {
            feature_incompat |= EROFS_FEATURE_INCOMPAT_COMPR_CFGS;
            algorithms = 1 << Z_EROFS_COMPRESSION_LZ4;
        }
        let age = self.options.epoch.checked_sub(self.epoch.sec);
        let mut superblock = SuperBlock {
            magic: U32::new(EROFS_SUPER_MAGIC_V1),
            feature_compat: U32::new(EROFS_FEATURE_COMPAT_SB_CHKSUM | EROFS_FEATURE_COMPAT_MTIME),
            blkszbits: u8::try_from(BLOCK.ilog2()).unwrap_or(0),
            root_nid: U16::new(
                u16::try_from(self.nid(Tree::<Contents>::ROOT)).map_err(|_| too_large())?,
            ),
            inos: U64::new(u64::try_from(self.order.len()).unwrap_or(u64::MAX)),
            epoch: U64::new(self.epoch.sec.cast_unsigned()),
            fixed_nsec: U32::new(self.epoch.nsec),
            blocks: U32::new(u32::try_from(end / BLOCK).map_err(|_| too_large())?),
            meta_blkaddr: U32::new(self.start),
            xattr_blkaddr: U32::new(if self.shared_length > 0 { self.xattr_start } else { 0 }),
            uuid,
            feature_incompat: U32::new(feature_incompat),
            available_compr_algs: U16::new(algorithms),
            build_time: U32::new(age.and_then(|age| u32::try_from(age).ok()).unwrap_or(0)),
            ..SuperBlock::new_zeroed()
        };
        let block = |superblock: &SuperBlock| {
            let mut block = vec![0; EROFS_SUPER_OFFSET];
            block.extend_from_slice(superblock.as_bytes());
            if self.big_clusters() {
                let configuration = Lz4Cfgs {
                    max_distance: U16::new(LZ4_DISTANCE_MAX),
                    max_pclusterblks: U16::new(self.options.cluster_size.blocks()),
                    reserved: [0; 10],
                };
                block.extend_from_slice(&14u16.to_le_bytes());
                block.extend_from_slice(configuration.as_bytes());
            }
            block.resize(size(BLOCK), 0);
            block
        };
        let unsigned = block(&superblock);
        // The kernel's crc32c does not invert the result.
        let checksum = !crc32c::crc32c(unsigned.get(EROFS_SUPER_OFFSET..).unwrap_or_default());
        superblock.checksum = U32::new(checksum);
        Ok(block(&superblock))
    }

    /// A path of an inode, for messages.
    fn path_of(&self, ino: Ino) -> Vec<u8> {
        let found = self.tree.walk().find(|entry| entry.ino == ino);
        found.map(|entry| entry.path).unwrap_or_default()
    }
}

/// Puts the last part of a block behind the inode, if there is one and it leaves `beside` bytes.
fn inline_tail(shape: &mut Shape, beside: u64) {
    let tail = shape.size % BLOCK;
    if tail > 0 && tail <= TAIL && tail + beside <= BLOCK {
        shape.layout = EROFS_INODE_FLAT_INLINE;
        shape.tail = tail;
    }
    shape.blocks = (shape.size - shape.tail).div_ceil(BLOCK);
}

fn block_after(position: u64) -> Result<u32, Error> {
    u32::try_from(position.div_ceil(BLOCK)).map_err(|_| too_large())
}

fn too_large() -> Error {
    Error::Io(io::ErrorKind::FileTooLarge.into())
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
    fn finish(mut self, store: &Store) -> Result<(u64, [u8; 16]), Error> {
        self.flush()?;
        for record in &store.records {
            self.hasher.update(&record.digest);
        }
        let mut digest = [0; 16];
        self.hasher.finalize_xof().fill(&mut digest);
        Ok((self.position, digest))
    }
}
