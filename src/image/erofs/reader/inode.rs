//! An inode of an image.

use super::super::format::{
    EROFS_FEATURE_INCOMPAT_48BIT, EROFS_I_ALL, EROFS_I_DATALAYOUT_BIT, EROFS_I_DATALAYOUT_MASK,
    EROFS_I_SHORT, EROFS_I_VERSION_EXTENDED, EROFS_INODE_CHUNK_BASED, InodeCompact, InodeExtended,
};
use super::super::size;
use super::data::File;
use super::xattr::Cache;
use super::{Located, Reader, corrupt, limit, unsupported};
use crate::image::Error;
use crate::limits::Limits;
use crate::tree::{Content, Directory, Stat, Timestamp};

const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;

/// What an inode says.
#[derive(Clone, Debug)]
pub struct Inode {
    pub nid: u64,
    /// Type and permissions.
    pub mode: u16,
    pub size: u64,
    pub links: u32,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    /// `EROFS_INODE_*`
    pub layout: u16,
    /// Whether a directory has no entry for itself.
    pub dot_omitted: bool,
    /// First block, number of blocks, device number or chunk format.
    pub i_u: u32,
    /// Upper bits of the first block.
    pub upper: u16,
    /// Where the attributes start.
    pub xattrs: u64,
    /// Where they end.
    pub body: u64,
}

impl Inode {
    pub fn read(reader: &Reader, nid: u64, position: u64) -> Result<Self, Error> {
        let compact: InodeCompact = reader.structure(position)?;
        let format = compact.i_format.get();
        let layout = (format >> EROFS_I_DATALAYOUT_BIT) & EROFS_I_DATALAYOUT_MASK;
        // Directories: "." is left out. Others, compact: one link, and upper bits in its place.
        let short = format & EROFS_I_SHORT != 0;
        let known = if reader.has(EROFS_FEATURE_INCOMPAT_48BIT) { EROFS_I_SHORT } else { 0 };
        if format & !(EROFS_I_ALL | known) != 0 || layout > EROFS_INODE_CHUNK_BASED {
            return Err(unsupported(format!("found the format {format:#x} of inode {nid}")));
        }
        let icount = u64::from(compact.i_xattr_icount.get());
        let xattr_length = if icount == 0 { 0 } else { 12 + (icount - 1) * 4 };
        let is_directory = compact.i_mode.get() & S_IFMT == S_IFDIR;
        let inode = if format & EROFS_I_VERSION_EXTENDED == 0 {
            let wide = short && !is_directory;
            let nb = compact.i_nlink.get();
            Self {
                nid,
                mode: compact.i_mode.get(),
                size: u64::from(compact.i_size.get()),
                links: if wide { 1 } else { nb.into() },
                upper: if wide { nb } else { 0 },
                uid: u32::from(compact.i_uid.get()),
                gid: u32::from(compact.i_gid.get()),
                mtime: Timestamp {
                    sec: reader
                        .superblock
                        .epoch
                        .get()
                        .cast_signed()
                        .saturating_add(i64::from(compact.i_mtime.get())),
                    nsec: reader.superblock.fixed_nsec.get(),
                },
                layout,
                dot_omitted: short && is_directory,
                i_u: compact.i_u.get(),
                xattrs: position + 32,
                body: position + 32 + xattr_length,
            }
        } else {
            let extended: InodeExtended = reader.structure(position)?;
            Self {
                nid,
                mode: extended.i_mode.get(),
                size: extended.i_size.get(),
                links: extended.i_nlink.get(),
                upper: if reader.has(EROFS_FEATURE_INCOMPAT_48BIT) {
                    extended.i_reserved.get()
                } else {
                    0
                },
                uid: extended.i_uid.get(),
                gid: extended.i_gid.get(),
                mtime: Timestamp {
                    sec: extended.i_mtime.get().cast_signed(),
                    nsec: extended.i_mtime_nsec.get(),
                },
                layout,
                dot_omitted: short && is_directory,
                i_u: extended.i_u.get(),
                xattrs: position + 64,
                body: position + 64 + xattr_length,
            }
        };
        if inode.mtime.nsec >= 1_000_000_000 {
            return Err(corrupt(format!(
                "found {} ns in the time of inode {nid}",
                inode.mtime.nsec
            )));
        }
        if i64::try_from(inode.size).is_err() {
            return Err(corrupt(format!("found the size {} of inode {nid}", inode.size)));
        }
        Ok(inode)
    }

    /// The first block of flat contents.
    pub fn first_block(&self) -> u64 {
        u64::from(self.i_u) | u64::from(self.upper) << 32
    }

    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    pub fn type_name(&self) -> String {
        format!("inode of mode {:o}", self.mode)
    }

    pub fn stat(&self, reader: &Reader, cache: &mut Cache) -> Result<Stat, Error> {
        Ok(Stat {
            mode: self.mode & !S_IFMT,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            xattrs: cache.xattrs(reader, self)?,
        })
    }

    /// What the inode holds; a directory's entries are read later.
    pub fn content(&self, reader: &Reader, limits: &Limits) -> Result<Content<Located>, Error> {
        let rdev = u64::from(self.i_u);
        let content = match self.mode & S_IFMT {
            0o140_000 => Content::Socket,
            0o120_000 => Content::Symlink(self.target(reader, limits)?),
            0o100_000 => Content::Regular(Located { nid: self.nid, size: self.size, verity: None }),
            0o060_000 => Content::BlockDevice { rdev },
            0o040_000 => Content::Directory(Directory::new()),
            0o020_000 => Content::CharDevice { rdev },
            0o010_000 => Content::Fifo,
            _ => {
                return Err(corrupt(format!(
                    "found the mode {:o} of inode {}",
                    self.mode, self.nid
                )));
            }
        };
        Ok(content)
    }

    fn target(&self, reader: &Reader, limits: &Limits) -> Result<Box<[u8]>, Error> {
        if self.size > limits.symlink {
            return Err(limit("symlink", limits.symlink));
        }
        let mut target = vec![0; size(self.size)];
        File::new(reader, self.clone())?.fill(&mut target)?;
        if target.is_empty() || target.contains(&0) {
            return Err(corrupt(format!(
                "found an empty or broken target of the symlink {}",
                self.nid
            )));
        }
        Ok(target.into())
    }
}
