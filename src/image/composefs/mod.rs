//! composefs: an image that holds metadata only, and a store that holds the contents.
//!
//! The image is bit for bit what C `mkcomposefs` writes for the same tree. It cannot be a `.raw`
//! (R17): `mount.composefs -o basedir=OBJECTS` mounts it where systemd-sysext looks.

mod objects;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use composefs::erofs::format::FormatVersion;
use composefs::erofs::reader::erofs_to_filesystem;
use composefs::erofs::writer::{ValidatedFileSystem, mkfs_erofs_versioned};
use composefs::fsverity::{FsVerityHashValue, Sha256HashValue, compute_verity};
use composefs::tree::{self as cfs, RegularFile};

pub use objects::{Contents, Objects, Stored, Verity};

use super::erofs::Reader;
use super::{Error, Staged};
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::tree::{self, Content, Directory, Ino, Inode, Stat, Tree};

/// The longest value of an extended attribute that EROFS can hold; the `composefs` crate narrows
/// a longer one silently.
const XATTR_VALUE_MAX: usize = 65_535;

/// The longest file name.
const NAME_MAX: usize = 255;

/// The longest name of an extended attribute, as the kernel has it.
const XATTR_NAME_MAX: usize = 255;

/// The longest target of a symlink (`PATH_MAX` and its NUL), as `mkcomposefs` has it.
const SYMLINK_MAX: usize = 4095;

/// The most that `mkcomposefs` keeps inside the image (`LCFS_INLINE_CONTENT_MAX`).
const INLINE_MAX: usize = 5000;

/// What makes a directory hide all that is below it in lower layers.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// The same in an image, where overlayfs shows it without the second `overlay.`.
const OPAQUE_ESCAPED: &[u8] = b"trusted.overlay.overlay.opaque";

/// A written composefs image.
#[derive(Debug)]
pub struct Image {
    /// The image, read back and checked.
    pub staged: Staged,
    /// Its fs-verity digest, what `mount.composefs -o digest=` takes.
    pub digest: String,
    /// Whether the kernel checks the image, which `digest=` asks for.
    pub verity: Verity,
}

/// Writes the image of a tree to an empty file, and reads it back.
pub fn write(tree: &Tree<Contents>, mut file: File) -> Result<Image, Error> {
    let bytes = encode(tree, default_version(tree))?;
    file.write_all(&bytes)?;
    let mut written = Vec::with_capacity(bytes.len());
    file.rewind()?;
    file.read_to_end(&mut written)?;
    check(tree, &written)?;
    check_opaque(tree, &file)?;
    let digest = compute_verity::<Sha256HashValue>(&written).to_hex();
    let (file, verity) = protect(file)?;
    Ok(Image { staged: Staged::checked(file)?, digest, verity })
}

/// Exchanges a file that can be written for the same one with fs-verity, if there is any here.
fn protect(file: File) -> Result<(File, Verity), Error> {
    let Ok(read_only) = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return Ok((file, Verity::Unsupported));
    };
    drop(file);
    let verity = objects::enable_verity(&read_only)?;
    Ok((read_only, verity))
}

/// The version that `mkcomposefs` writes unless told otherwise: 1 if the tree has a whiteout,
/// else 0.
pub fn default_version<C>(tree: &Tree<C>) -> FormatVersion {
    let whiteout = |inode: &Inode<C>| matches!(inode.content, Content::CharDevice { rdev: 0 });
    if tree.walk().any(|entry| whiteout(entry.inode)) {
        FormatVersion::V1
    } else {
        FormatVersion::V0
    }
}

/// The bytes of a tree's image.
///
/// # Errors
/// The tree has what composefs cannot hold: a name, target, attribute or inline file that is too
/// long, a hard-linked whiteout.
pub fn encode<H: FsVerityHashValue>(
    tree: &Tree<Contents<H>>,
    version: FormatVersion,
) -> Result<Box<[u8]>, Error> {
    let filesystem = filesystem(tree)?;
    let valid =
        ValidatedFileSystem::new(filesystem).map_err(|error| unwritable(&[], error.to_string()))?;
    Ok(mkfs_erofs_versioned(&valid, version))
}

/// Reads an image with the `composefs` crate's reader and compares it with the tree.
fn check(tree: &Tree<Contents>, image: &[u8]) -> Result<(), Error> {
    let corrupt = |problem| Error::Corrupt { problem };
    let read = erofs_to_filesystem::<Sha256HashValue>(image)
        .map_err(|error| corrupt(format!("{error:#}")))?;
    let text = |filesystem: &cfs::FileSystem<Sha256HashValue>| {
        let mut text = Vec::new();
        composefs::dumpfile::write_dumpfile(&mut text, filesystem)
            .map_err(|error| corrupt(format!("{error:#}")))?;
        Ok::<_, Error>(text)
    };
    let mut readable = tree.clone();
    for ino in tree.walk().map(|entry| entry.ino) {
        readable.inode_mut(ino).stat.xattrs.remove(OPAQUE);
    }
    let (found, expected) = (text(&read)?, text(&filesystem(&readable)?)?);
    if found == expected {
        return Ok(());
    }
    let mut lines = found.split(|&b| b == b'\n').zip(expected.split(|&b| b == b'\n'));
    let (found, expected) = lines.find(|(a, b)| a != b).unwrap_or_default();
    Err(Error::Mismatch {
        path: "/".to_owned(),
        what: "the line",
        found: Escaped(found).to_string(),
        expected: Escaped(expected).to_string(),
    })
}

/// Compares the opaque directories, which the crate's reader leaves out, by our own EROFS reader.
fn check_opaque(tree: &Tree<Contents>, file: &File) -> Result<(), Error> {
    let expected = having(tree, OPAQUE);
    if expected.is_empty() {
        return Ok(());
    }
    // What the tree holds is within the limits already.
    let limits =
        Limits { entries: u64::MAX, names: u64::MAX, depth: u64::MAX, ..Limits::default() };
    let read = Reader::open(file.try_clone()?)?.image(&limits)?;
    let found = having(&read.tree, OPAQUE_ESCAPED);
    match expected.symmetric_difference(&found).next() {
        None => Ok(()),
        Some(path) => Err(Error::Mismatch {
            path: format!("/{}", Escaped(path)),
            what: "the attribute trusted.overlay.opaque",
            found: found.contains(path).to_string(),
            expected: expected.contains(path).to_string(),
        }),
    }
}

/// The paths that have an attribute of this name with the value that makes directories opaque.
fn having<C>(tree: &Tree<C>, name: &[u8]) -> BTreeSet<Vec<u8>> {
    let walk = tree.walk().filter(|entry| entry.inode.stat.xattrs.get(name) == Some(b"y"));
    walk.map(|entry| entry.path).collect()
}

/// The tree in the crate's own types.
fn filesystem<H: FsVerityHashValue>(tree: &Tree<Contents<H>>) -> Result<cfs::FileSystem<H>, Error> {
    let root = stat(&[], &tree.inode(Tree::<Contents<H>>::ROOT).stat)?;
    let mut filesystem = cfs::FileSystem::new(root);
    let mut done = Converted::from([(Tree::<Contents<H>>::ROOT, None)]);
    let mut top = Vec::new();
    if let Some(directory) = tree.directory(Tree::<Contents<H>>::ROOT) {
        top = entries(tree, &[], directory, &mut filesystem, &mut done)?;
    }
    for (name, inode) in top {
        filesystem.root.insert(OsStr::from_bytes(name), inode);
    }
    Ok(filesystem)
}

/// The inodes that were converted; a directory's number is there so that it is found if it has
/// two names.
type Converted = HashMap<Ino, Option<composefs::generic_tree::LeafId>>;

/// A name and what it names.
type Named<'a, H> = (&'a [u8], cfs::Inode<H>);

/// The entries of a directory; as deep as the tree, which `Limits::depth` bounds.
fn entries<'a, H: FsVerityHashValue>(
    tree: &'a Tree<Contents<H>>,
    path: &[u8],
    directory: &'a Directory,
    filesystem: &mut cfs::FileSystem<H>,
    done: &mut Converted,
) -> Result<Vec<Named<'a, H>>, Error> {
    let mut converted = Vec::new();
    for (name, ino) in directory {
        let path = tree::join(path, name);
        check_name(&path, name)?;
        let inode = tree.inode(ino);
        let entry = if let Content::Directory(below) = &inode.content {
            if done.insert(ino, None).is_some() {
                return Err(unwritable(&path, "found a directory with two names, expected one"));
            }
            let mut directory = cfs::Directory::new(stat(&path, &inode.stat)?);
            for (name, inode) in entries(tree, &path, below, filesystem, done)? {
                directory.insert(OsStr::from_bytes(name), inode);
            }
            cfs::Inode::Directory(Box::new(directory))
        } else if let Some(&Some(leaf)) = done.get(&ino) {
            cfs::Inode::leaf(leaf)
        } else {
            let content = leaf_content(&path, &inode.content)?;
            let leaf = filesystem.push_leaf(stat(&path, &inode.stat)?, content);
            done.insert(ino, Some(leaf));
            cfs::Inode::leaf(leaf)
        };
        converted.push((name, entry));
    }
    Ok(converted)
}

/// A name that the kernel could look up.
fn check_name(path: &[u8], name: &[u8]) -> Result<(), Error> {
    let reserved = matches!(name, b"" | b"." | b"..");
    if reserved || name.len() > NAME_MAX || name.iter().any(|b| matches!(b, b'/' | 0)) {
        let problem = format!("found the name \"{}\", expected a file name", Escaped(name));
        return Err(unwritable(path, problem));
    }
    Ok(())
}

fn leaf_content<H: FsVerityHashValue>(
    path: &[u8],
    content: &Content<Contents<H>>,
) -> Result<cfs::LeafContent<H>, Error> {
    use composefs::generic_tree::LeafContent;
    let too_long = |what: &str, found: usize, expected: usize| {
        unwritable(path, format!("found {what} of {found} bytes, expected at most {expected}"))
    };
    Ok(match content {
        Content::Regular(contents) => LeafContent::Regular(match &contents.stored {
            Stored::Inline(bytes) if bytes.len() > INLINE_MAX => {
                return Err(too_long("inline contents", bytes.len(), INLINE_MAX));
            }
            Stored::Inline(bytes) => RegularFile::Inline(bytes.to_vec().into()),
            Stored::Object(digest) => RegularFile::External(digest.clone(), contents.size),
            Stored::Unverified(digest) => {
                RegularFile::ExternalNoVerity(digest.clone(), contents.size)
            }
            Stored::Nowhere => RegularFile::Sparse(contents.size),
        }),
        Content::Symlink(target) if target.len() > SYMLINK_MAX => {
            return Err(too_long("a symlink", target.len(), SYMLINK_MAX));
        }
        Content::Symlink(target) => LeafContent::Symlink(OsStr::from_bytes(target).into()),
        Content::CharDevice { rdev } => LeafContent::CharacterDevice(*rdev),
        Content::BlockDevice { rdev } => LeafContent::BlockDevice(*rdev),
        Content::Fifo => LeafContent::Fifo,
        Content::Socket | Content::Directory(_) => LeafContent::Socket,
    })
}

fn stat(path: &[u8], stat: &Stat) -> Result<cfs::Stat, Error> {
    let mut xattrs = std::collections::BTreeMap::new();
    for (name, value) in stat.xattrs.iter() {
        if name.len() > XATTR_NAME_MAX || value.len() > XATTR_VALUE_MAX {
            return Err(unwritable(
                path,
                format!(
                    "found an extended attribute with a name of {} and a value of {} bytes, \
                     expected at most {XATTR_NAME_MAX} and {XATTR_VALUE_MAX}",
                    name.len(),
                    value.len()
                ),
            ));
        }
        xattrs.insert(OsStr::from_bytes(name).into(), value.into());
    }
    Ok(cfs::Stat {
        st_mode: u32::from(stat.mode),
        st_uid: stat.uid,
        st_gid: stat.gid,
        st_mtim_sec: stat.mtime.sec,
        st_mtim_nsec: stat.mtime.nsec,
        xattrs,
    })
}

fn unwritable(path: &[u8], problem: impl Into<String>) -> Error {
    Error::Unwritable { path: format!("/{}", Escaped(path)), problem: problem.into() }
}
