//! The self-check: an image, read back, is the tree that it was written from.

use std::fmt::Display;
use std::fs::File;

use super::hex;
use super::options::SelfCheck;
use super::reader::{Image, Located, Reader};
use super::store::Contents;
use crate::escape::Escaped;
use crate::image::Error;
use crate::limits::Limits;
use crate::tree::{Content, Ino, Stat, Tree, join};

/// What is known of contents that were stored.
pub trait Expected {
    /// Length in bytes.
    fn size(&self) -> u64;
    /// The first half of the BLAKE3 digest.
    fn digest(&self) -> [u8; 16];
}

impl Expected for Contents {
    fn size(&self) -> u64 {
        Contents::size(self)
    }

    fn digest(&self) -> [u8; 16] {
        *Contents::digest(self)
    }
}

/// Reads an image and compares every path and its metadata with the tree; its contents too, or
/// no more of them than where they are.
pub fn check<C: Expected>(file: &File, tree: &Tree<C>, self_check: SelfCheck) -> Result<(), Error> {
    let reader = Reader::open(file.try_clone()?)?;
    // What the tree holds is within the limits already; it is compared name by name.
    let unlimited = Limits {
        entries: u64::MAX,
        names: u64::MAX,
        depth: u64::MAX,
        layer_uncompressed: u64::MAX,
        ..Limits::default()
    };
    let image = reader.image(&unlimited)?;
    let mut comparison = Comparison {
        reader: &reader,
        image: &image,
        self_check,
        tree,
        counts: tree.link_counts(),
        partners: vec![None; tree.len()],
        taken: vec![false; image.tree.len()],
    };
    let mut pairs = vec![(Vec::new(), Tree::<C>::ROOT, Tree::<C>::ROOT)];
    let mut inodes = 0u64;
    while let Some((path, expected, found)) = pairs.pop() {
        if comparison.inode(&path, expected, found)? {
            inodes += 1;
            comparison.names(&path, expected, found, &mut pairs)?;
        }
    }
    reader.walk_packed()?;
    if reader.inodes() != inodes {
        return Err(mismatch(b"", "number of inodes", reader.inodes(), inodes));
    }
    Ok(())
}

struct Comparison<'a, C> {
    reader: &'a Reader,
    image: &'a Image,
    self_check: SelfCheck,
    tree: &'a Tree<C>,
    /// How many names each expected inode has.
    counts: Vec<u32>,
    /// The inode of the image for each expected one.
    partners: Vec<Option<Ino>>,
    /// Whether an inode of the image has a partner.
    taken: Vec<bool>,
}

impl<C: Expected> Comparison<'_, C> {
    /// Compares two inodes; false if they were compared under another name.
    fn inode(&mut self, path: &[u8], expected: Ino, found: Ino) -> Result<bool, Error> {
        let (Some(partner), Some(taken)) =
            (self.partners.get_mut(expected.index()), self.taken.get_mut(found.index()))
        else {
            return Ok(false);
        };
        if *partner == Some(found) {
            return Ok(false);
        }
        if partner.is_some() || *taken {
            return Err(mismatch(path, "hard link", "another inode", "the same one"));
        }
        (*partner, *taken) = (Some(found), true);
        let links = Image::expected_links(self.tree, &self.counts, expected);
        if self.image.links(found) != links {
            return Err(mismatch(path, "links", self.image.links(found), links));
        }
        let (expected, found) = (self.tree.inode(expected), self.image.tree.inode(found));
        stat(path, &expected.stat, &found.stat)?;
        match (&expected.content, &found.content) {
            (Content::Regular(expected), Content::Regular(found)) => {
                if found.size != expected.size() {
                    return Err(mismatch(path, "size", found.size, expected.size()));
                }
                match self.self_check {
                    SelfCheck::Structure => self.reader.contents(found)?.walk()?,
                    SelfCheck::Full => self.contents(path, found, &expected.digest())?,
                }
            }
            (Content::Symlink(expected), Content::Symlink(found)) if found != expected => {
                return Err(mismatch(path, "target", Escaped(found), Escaped(expected)));
            }
            (Content::CharDevice { rdev: expected }, Content::CharDevice { rdev: found })
            | (Content::BlockDevice { rdev: expected }, Content::BlockDevice { rdev: found })
                if found != expected =>
            {
                return Err(mismatch(path, "device number", found, expected));
            }
            (expected, found) if expected.file_type() != found.file_type() => {
                return Err(mismatch(path, "type", found.type_name(), expected.type_name()));
            }
            _ => {}
        }
        Ok(true)
    }

    /// Compares the bytes of a file by their digest.
    fn contents(&self, path: &[u8], found: &Located, expected: &[u8; 16]) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        self.reader.contents(found)?.decode(|bytes| {
            hasher.update(bytes);
        })?;
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        if digest != *expected {
            return Err(mismatch(path, "contents", hex(&digest), hex(expected)));
        }
        Ok(())
    }

    /// Compares the names of two directories, and lists what they name.
    fn names(
        &self,
        path: &[u8],
        expected: Ino,
        found: Ino,
        pairs: &mut Vec<(Vec<u8>, Ino, Ino)>,
    ) -> Result<(), Error> {
        let expected = self.tree.directory(expected);
        let found = self.image.tree.directory(found);
        let (Some(expected), Some(found)) = (expected, found) else { return Ok(()) };
        if let Some(extra) = found.keys().find(|name| !expected.contains_key(*name)) {
            return Err(mismatch(&join(path, extra), "path", "it in the image", "none"));
        }
        for (name, &ino) in expected {
            let path = join(path, name);
            let Some(&partner) = found.get(name) else {
                return Err(mismatch(&path, "path", "none in the image", "it"));
            };
            pairs.push((path, ino, partner));
        }
        Ok(())
    }
}

fn stat(path: &[u8], expected: &Stat, found: &Stat) -> Result<(), Error> {
    if found.mode != expected.mode {
        let octal = |mode| format!("{mode:o}");
        return Err(mismatch(path, "mode", octal(found.mode), octal(expected.mode)));
    }
    let owner = |stat: &Stat| format!("{}:{}", stat.uid, stat.gid);
    if owner(found) != owner(expected) {
        return Err(mismatch(path, "owner", owner(found), owner(expected)));
    }
    if found.mtime != expected.mtime {
        let time = |stat: &Stat| format!("{}.{:09}", stat.mtime.sec, stat.mtime.nsec);
        return Err(mismatch(path, "mtime", time(found), time(expected)));
    }
    if found.xattrs != expected.xattrs {
        let shown = |stat: &Stat| format!("{:?}", stat.xattrs);
        return Err(mismatch(path, "extended attributes", shown(found), shown(expected)));
    }
    Ok(())
}

fn mismatch(path: &[u8], what: &'static str, found: impl Display, expected: impl Display) -> Error {
    Error::Mismatch {
        path: format!("/{}", Escaped(path)),
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}
