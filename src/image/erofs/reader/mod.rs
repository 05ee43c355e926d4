//! Reads EROFS images, of ours and of `mkfs.erofs`, and believes nothing that they say.

mod algorithms;
mod data;
mod directory;
mod encoded;
mod inode;
mod lclusters;
mod needs;
mod xattr;

pub use data::File;
pub use directory::Entry;
pub use needs::Needs;
pub use xattr::Cache as Xattrs;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::{FromBytes, IntoBytes};

use self::algorithms::Algorithms;
use self::inode::Inode;
use super::format::{
    EROFS_FEATURE_COMPAT_SB_CHKSUM, EROFS_FEATURE_INCOMPAT_48BIT,
    EROFS_FEATURE_INCOMPAT_CHUNKED_FILE, EROFS_FEATURE_INCOMPAT_COMPR_CFGS,
    EROFS_FEATURE_INCOMPAT_COMPR_HEAD2, EROFS_FEATURE_INCOMPAT_FRAGMENTS,
    EROFS_FEATURE_INCOMPAT_LZ4_0PADDING, EROFS_FEATURE_INCOMPAT_ZTAILPACKING, EROFS_ISLOTBITS,
    EROFS_SB_EXTSLOT_SIZE, EROFS_SUPER_MAGIC_V1, EROFS_SUPER_OFFSET, SuperBlock,
};
use super::{BLOCK, len, size, wide};
use crate::image::Error;
use crate::limits::Limits;
use crate::tree::{self, Content, Directory, Stat, Tree};

/// Feature flags of images that can be read.
const KNOWN_FEATURES: u32 = EROFS_FEATURE_INCOMPAT_LZ4_0PADDING
    | EROFS_FEATURE_INCOMPAT_COMPR_CFGS
    | EROFS_FEATURE_INCOMPAT_CHUNKED_FILE
    | EROFS_FEATURE_INCOMPAT_COMPR_HEAD2
    | EROFS_FEATURE_INCOMPAT_ZTAILPACKING
    | EROFS_FEATURE_INCOMPAT_FRAGMENTS
    | EROFS_FEATURE_INCOMPAT_48BIT;

/// An image that is being read.
#[derive(Debug)]
pub struct Reader {
    file: std::fs::File,
    superblock: SuperBlock,
    algorithms: Algorithms,
    /// Bytes of the file system.
    length: u64,
    /// Parts of the metadata that were read: from where, and the bytes. Inodes that fit where
    /// others left room are far from their neighbours, so it is not just one.
    windows: RefCell<Vec<(u64, Vec<u8>)>>,
    /// How far the packed inode was read.
    packed: RefCell<Option<data::State>>,
    /// How many bytes may still be decompressed, and how many there were.
    budget: Cell<(u64, u64)>,
}

/// Bytes of metadata that are read at a time.
const WINDOW: u64 = 8 << 10;

/// How many such parts are kept; each has one place.
const WINDOWS: usize = 128;

/// What a look at one index counts, in bytes that are decompressed meanwhile.
const STEP: u64 = 64;

/// The contents of a regular file of an image.
#[derive(Clone, Debug)]
pub struct Located {
    /// Number of the inode.
    pub(super) nid: u64,
    /// Length in bytes.
    pub(super) size: u64,
    /// Their fs-verity digest, once somebody has asked for it.
    pub(super) verity: Option<[u8; 32]>,
}

impl Located {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// All paths of an image.
#[derive(Debug)]
pub struct Image {
    /// The paths.
    pub tree: Tree<Located>,
}

/// An inode that was read.
#[derive(Debug)]
pub struct Node {
    inode: Inode,
    /// Its metadata.
    pub stat: Stat,
    /// What it holds; of a directory, nothing yet.
    pub content: Content<Located>,
}

impl Node {
    /// Its number.
    pub fn nid(&self) -> u64 {
        self.inode.nid
    }

    /// How many links it says that it has.
    pub fn links(&self) -> u32 {
        self.inode.links
    }
}

impl Reader {
    /// Reads the superblock.
    pub fn open(file: std::fs::File) -> Result<Self, Error> {
        let file_length = file.metadata()?.len();
        let mut first = vec![0; size(BLOCK)];
        file.read_exact_at(&mut first, 0).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => corrupt(format!(
                "found {file_length} bytes, expected a superblock in the first {BLOCK}"
            )),
            _ => Error::Io(error),
        })?;
        let behind = first.get(EROFS_SUPER_OFFSET..).unwrap_or_default();
        let (superblock, _) = SuperBlock::read_from_prefix(behind)
            .map_err(|_| corrupt("found no room for a superblock".to_owned()))?;
        let magic = superblock.magic.get();
        if magic != EROFS_SUPER_MAGIC_V1 {
            return Err(corrupt(format!(
                "found the magic number {magic:#010x}, expected {EROFS_SUPER_MAGIC_V1:#010x} of EROFS"
            )));
        }
        let features = superblock.feature_incompat.get();
        if features & !KNOWN_FEATURES != 0 || superblock.extra_devices.get() != 0 {
            return Err(unsupported(format!(
                "found feature flags {features:#x} and {} other devices, expected none but {:#x}",
                superblock.extra_devices, KNOWN_FEATURES
            )));
        }
        if superblock.blkszbits != 12 || superblock.dirblkbits != 0 {
            return Err(unsupported(format!(
                "found blocks of 2^{} bytes, expected 2^12",
                superblock.blkszbits
            )));
        }
        if superblock.feature_compat.get() & EROFS_FEATURE_COMPAT_SB_CHKSUM != 0 {
            let field = first.get_mut(EROFS_SUPER_OFFSET + 4..EROFS_SUPER_OFFSET + 8);
            field.unwrap_or_default().fill(0);
            let computed = !crc32c::crc32c(first.get(EROFS_SUPER_OFFSET..).unwrap_or_default());
            let found = superblock.checksum.get();
            if found != computed {
                return Err(corrupt(format!(
                    "found the superblock's checksum {found:#010x}, expected {computed:#010x}"
                )));
            }
        }
        let upper = if is_wide(&superblock) { superblock.root_nid.get() } else { 0 };
        let blocks = u64::from(superblock.blocks.get()) | u64::from(upper) << 32;
        let length = blocks * BLOCK;
        if length > file_length {
            return Err(corrupt(format!(
                "found {file_length} bytes, expected {length} as the superblock says"
            )));
        }
        if superblock_end(&superblock) > BLOCK {
            return Err(corrupt(format!(
                "found a superblock of {} more than 128 bytes, expected it in the first {BLOCK}",
                u64::from(superblock.sb_extslots) * EROFS_SB_EXTSLOT_SIZE
            )));
        }
        Ok(Self {
            algorithms: Algorithms::read(&file, &superblock, length)?,
            file,
            superblock,
            length,
            windows: RefCell::new(vec![(0, Vec::new()); WINDOWS]),
            packed: RefCell::default(),
            budget: Cell::new((u64::MAX, u64::MAX)),
        })
    }

    /// How many bytes the file system has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many inodes the superblock says that there are.
    pub fn inodes(&self) -> u64 {
        self.superblock.inos.get()
    }

    /// Reads all paths. From here on no more is decompressed than the limits allow: in a small
    /// image, many files may need the same large cluster, again and again.
    pub fn image(&self, limits: &Limits) -> Result<Image, Error> {
        self.budget.set((limits.layer_uncompressed, limits.layer_uncompressed));
        let mut xattrs = Xattrs::default();
        let root = self.root(&mut xattrs)?;
        let mut image = Image { tree: Tree::new(root.stat) };
        let mut known = HashMap::from([(root.inode.nid, Tree::<Located>::ROOT)]);
        let mut budget = limits.names;
        let mut below = vec![(Tree::<Located>::ROOT, root.inode.nid, root.inode, 0)];
        while let Some((parent, parent_nid, inode, depth)) = below.pop() {
            if depth > limits.depth {
                return Err(limit("depth", limits.depth));
            }
            let nid = inode.nid;
            let mut entries = Directory::new();
            let mut directories = Vec::new();
            for entry in directory::entries(self, &inode, parent_nid)? {
                let entry = entry?;
                let mut count = |bytes: u64| -> Result<(), Error> {
                    budget =
                        budget.checked_sub(bytes).ok_or_else(|| limit("names", limits.names))?;
                    Ok(())
                };
                count(len(&entry.name))?;
                if let Some(&ino) = known.get(&entry.nid) {
                    if image.tree.directory(ino).is_some() {
                        return Err(corrupt(format!(
                            "found two names of the directory {}",
                            entry.nid
                        )));
                    }
                    entry
                        .expect_type(super::directory::file_type(&image.tree.inode(ino).content))?;
                    entries.insert(&entry.name, ino);
                    continue;
                }
                if u64::try_from(image.tree.len()).unwrap_or(u64::MAX) > limits.entries {
                    return Err(limit("entries", limits.entries));
                }
                let Node { inode, stat, content } = self.node(entry.nid, &mut xattrs, limits)?;
                count(xattrs.read())?;
                if let Content::Symlink(target) = &content {
                    count(len(target))?;
                }
                entry.expect_type(super::directory::file_type(&content))?;
                let ino = image.tree.add(tree::Inode { stat, content });
                known.insert(entry.nid, ino);
                entries.insert(&entry.name, ino);
                if inode.is_directory() {
                    directories.push((ino, nid, inode, depth + 1));
                }
            }
            // In the order in which their entries are stored, so that what is kept serves them all.
            below.extend(directories.into_iter().rev());
            if let Some(directory) = image.tree.directory_mut(parent) {
                *directory = entries;
            }
        }
        Ok(image)
    }

    /// The root directory.
    pub(super) fn root(&self, xattrs: &mut Xattrs) -> Result<Node, Error> {
        let nid = if is_wide(&self.superblock) {
            self.superblock.rootnid_8b.get()
        } else {
            u64::from(self.superblock.root_nid.get())
        };
        let root = self.node(nid, xattrs, &Limits::default())?;
        if !root.inode.is_directory() {
            return Err(corrupt(format!("found a root that is a {}", root.inode.type_name())));
        }
        Ok(root)
    }

    /// An inode by its number.
    pub(super) fn node(
        &self,
        nid: u64,
        xattrs: &mut Xattrs,
        limits: &Limits,
    ) -> Result<Node, Error> {
        let inode = self.inode(nid)?;
        let stat = inode.stat(self, xattrs)?;
        let content = inode.content(self, limits)?;
        Ok(Node { inode, stat, content })
    }

    /// The entries of a directory, in ascending order, `.` and `..` not among them.
    pub(super) fn entries(
        &self,
        directory: &Node,
        parent: u64,
    ) -> Result<impl Iterator<Item = Result<Entry, Error>> + use<'_>, Error> {
        directory::entries(self, &directory.inode, parent)
    }

    /// The contents of a file.
    pub fn contents(&self, located: &Located) -> Result<File<'_>, Error> {
        File::new(self, self.inode(located.nid)?)
    }

    /// Walks the packed inode, if there is one: all of it must be somewhere.
    pub(super) fn walk_packed(&self) -> Result<(), Error> {
        match self.superblock.packed_nid.get() {
            0 => Ok(()),
            nid => File::new(self, self.inode(nid)?)?.walk(),
        }
    }

    /// Counts bytes that are decompressed, or steps as long.
    fn spend(&self, bytes: u64) -> Result<(), Error> {
        let (left, all) = self.budget.get();
        let left = left.checked_sub(bytes).ok_or_else(|| limit("layer-uncompressed", all))?;
        self.budget.set((left, all));
        Ok(())
    }

    fn inode(&self, nid: u64) -> Result<Inode, Error> {
        let meta = u64::from(self.superblock.meta_blkaddr.get()) * BLOCK;
        let position = nid
            .checked_mul(1 << EROFS_ISLOTBITS)
            .and_then(|offset| offset.checked_add(meta))
            .filter(|&position| position >= superblock_end(&self.superblock))
            .ok_or_else(|| corrupt(format!("found the inode number {nid}")))?;
        Inode::read(self, nid, position)
    }

    /// Fills `bytes` from a place of the image.
    fn read_at(&self, bytes: &mut [u8], position: u64) -> Result<(), Error> {
        self.expect(position, len(bytes))?;
        Ok(self.file.read_exact_at(bytes, position)?)
    }

    /// Fails unless a place is in the image.
    fn expect(&self, position: u64, length: u64) -> Result<(), Error> {
        if position.checked_add(length).is_some_and(|end| end <= self.length) {
            return Ok(());
        }
        Err(corrupt(format!(
            "found a reference to {length} bytes at {position}, expected at most {} in all",
            self.length
        )))
    }

    /// Fills `bytes` from the metadata, of which a part is kept.
    fn metadata(&self, bytes: &mut [u8], position: u64) -> Result<(), Error> {
        let number = position / WINDOW;
        let first = number * WINDOW;
        let from = size(position - first);
        let mut windows = self.windows.borrow_mut();
        let Some((start, kept)) = windows.get_mut(size(number) % WINDOWS) else {
            return self.read_at(bytes, position);
        };
        if *start != first || kept.is_empty() {
            kept.clear();
            let room = self.length.saturating_sub(first).min(WINDOW);
            let mut window = std::mem::take(kept);
            window.resize(size(room), 0);
            self.read_at(&mut window, first)?;
            (*start, *kept) = (first, window);
        }
        match kept.get(from..from.saturating_add(bytes.len())) {
            Some(found) => bytes.copy_from_slice(found),
            None => self.read_at(bytes, position)?,
        }
        Ok(())
    }

    /// Reads a structure of the metadata.
    fn structure<T: FromBytes + IntoBytes>(&self, position: u64) -> Result<T, Error> {
        let mut structure = T::new_zeroed();
        self.metadata(structure.as_mut_bytes(), position)?;
        Ok(structure)
    }

    fn has(&self, feature: u32) -> bool {
        self.superblock.feature_incompat.get() & feature != 0
    }
}

/// Whether the superblock has the later meaning, which it has only with a wide root number.
fn is_wide(superblock: &SuperBlock) -> bool {
    superblock.feature_incompat.get() & EROFS_FEATURE_INCOMPAT_48BIT != 0
        && superblock.rootnid_8b.get() != 0
}

/// Where the superblock ends.
fn superblock_end(superblock: &SuperBlock) -> u64 {
    let fixed = wide(EROFS_SUPER_OFFSET + size_of::<SuperBlock>());
    fixed + u64::from(superblock.sb_extslots) * EROFS_SB_EXTSLOT_SIZE
}

/// Fails if data that are not behind their inode are in the first block, which is the
/// superblock's. Kernels would read them, but nobody writes them there.
fn expect_data(position: u64, nid: u64) -> Result<(), Error> {
    if position >= BLOCK {
        return Ok(());
    }
    Err(corrupt(format!(
        "found data of inode {nid} at {position}, expected them behind the superblock's block"
    )))
}

/// Something that cannot be in an image.
fn corrupt(problem: String) -> Error {
    Error::Corrupt { problem }
}

/// Something that this reader does not know.
fn unsupported(problem: String) -> Error {
    Error::Unsupported { problem }
}

fn limit(name: &'static str, limit: u64) -> Error {
    Error::Limit { name, limit }
}
