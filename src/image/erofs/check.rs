//! The self-check: an image, read back, is the tree that it was written from.

use std::fmt::Display;
use std::fs::File;

use super::reader::{Located, Node, Reader, Xattrs};
use super::store::{Contents, Half, half, index};
use super::{hex, wide};
use crate::escape::Escaped;
use crate::image::Error;
use crate::limits::Limits;
use crate::tree::{Content, Ino, Stat, Timestamp, Tree, join};

/// Reads an image and compares every path and its metadata with the tree; its contents too, if
/// there are digests of all records, or else no more of them than where they are.
///
/// Inode by inode: of the image no more is in memory than the tree has at one place.
pub fn check(file: &File, tree: &Tree<Contents>, digests: Option<&[Half]>) -> Result<(), Error> {
    let reader = Reader::open(file.try_clone()?)?;
    let mut comparison = Comparison {
        reader: &reader,
        xattrs: Xattrs::default(),
        limits: Limits::default(),
        digests,
        tree,
        counts: tree.link_counts(),
        partners: vec![NONE; tree.len()],
    };
    let root = reader.root(&mut comparison.xattrs)?;
    let top = Tree::<Contents>::ROOT;
    comparison.inode(top, &root)?;
    // Entries of a directory one after the other, then what is below them: inodes are stored in
    // that order, so each part of the image is read once.
    let mut directories = vec![(top, top)];
    while let Some((ino, parent)) = directories.pop() {
        let below = comparison.names(ino, parent)?;
        directories.extend(below.into_iter().rev().map(|below| (below, ino)));
    }
    reader.walk_packed()?;
    comparison.finish()
}

/// No inode of an image.
const NONE: u64 = u64::MAX;

struct Comparison<'a> {
    reader: &'a Reader,
    xattrs: Xattrs,
    limits: Limits,
    digests: Option<&'a [Half]>,
    tree: &'a Tree<Contents>,
    /// How many names each expected inode has.
    counts: Vec<u32>,
    /// For each expected inode, the number of that in the image, or none.
    partners: Vec<u64>,
}

impl Comparison<'_> {
    /// Compares the names of a directory, which is in `parent`, with those of its partner, and what
    /// they name; gives the directories below.
    fn names(&mut self, directory: Ino, parent: Ino) -> Result<Vec<Ino>, Error> {
        let tree = self.tree;
        let mut below = Vec::new();
        let mut expected = tree.directory(directory).into_iter().flatten();
        let (Some(nid), Some(above)) = (self.partner(directory), self.partner(parent)) else {
            return Ok(below);
        };
        let found = self.reader.node(nid, &mut self.xattrs, &self.limits)?;
        for entry in self.reader.entries(&found, above)? {
            let entry = entry?;
            let found = &*entry.name;
            let Some((name, ino)) = expected.next().filter(|(name, _)| *name <= found) else {
                return Err(self.wrong_name(directory, found, "it in the image", "none"));
            };
            if name != found {
                return Err(self.wrong_name(directory, name, "none in the image", "it"));
            }
            match self.partner(ino) {
                Some(partner) if partner == entry.nid => {}
                Some(_) => {
                    return Err(self.mismatch(ino, "hard link", "another inode", "the same one"));
                }
                None => {
                    let found = self.reader.node(entry.nid, &mut self.xattrs, &self.limits)?;
                    self.inode(ino, &found)?;
                    if matches!(found.content, Content::Directory(_)) {
                        below.push(ino);
                    }
                }
            }
            entry.expect_type(super::directory::file_type(&tree.inode(ino).content))?;
        }
        match expected.next() {
            None => Ok(below),
            Some((name, _)) => Err(self.wrong_name(directory, name, "none in the image", "it")),
        }
    }

    fn partner(&self, ino: Ino) -> Option<u64> {
        self.partners.get(ino.index()).copied().filter(|&partner| partner != NONE)
    }

    /// Compares two inodes, which become partners.
    fn inode(&mut self, ino: Ino, found: &Node) -> Result<(), Error> {
        if let Some(partner) = self.partners.get_mut(ino.index()) {
            *partner = found.nid();
        }
        let expected = self.tree.inode(ino);
        let links = self.links(ino);
        if found.links() != links {
            return Err(self.mismatch(ino, "links", found.links(), links));
        }
        self.stat(ino, &expected.stat, &found.stat)?;
        match (&expected.content, &found.content) {
            (Content::Regular(expected), Content::Regular(found)) => {
                if found.size != expected.size() {
                    return Err(self.mismatch(ino, "size", found.size, expected.size()));
                }
                match self.digests {
                    None => self.reader.contents(found)?.walk()?,
                    Some(digests) => {
                        let digest = digests.get(index(expected.record)).copied();
                        let digest = digest.unwrap_or_default();
                        self.contents(ino, found, digest)?;
                    }
                }
            }
            (Content::Symlink(expected), Content::Symlink(found)) if found != expected => {
                return Err(self.mismatch(ino, "target", Escaped(found), Escaped(expected)));
            }
            (Content::CharDevice { rdev: expected }, Content::CharDevice { rdev: found })
            | (Content::BlockDevice { rdev: expected }, Content::BlockDevice { rdev: found })
                if found != expected =>
            {
                return Err(self.mismatch(ino, "device number", found, expected));
            }
            (expected, found) if expected.file_type() != found.file_type() => {
                return Err(self.mismatch(ino, "type", found.type_name(), expected.type_name()));
            }
            _ => {}
        }
        Ok(())
    }

    /// The links that an inode of the tree has.
    fn links(&self, ino: Ino) -> u32 {
        match &self.tree.inode(ino).content {
            Content::Directory(entries) => {
                let is_directory = |ino: &Ino| self.tree.directory(*ino).is_some();
                let below = entries.inos().filter(is_directory).count();
                u32::try_from(below).unwrap_or(u32::MAX).saturating_add(2)
            }
            _ => self.counts.get(ino.index()).copied().unwrap_or(0),
        }
    }

    /// Fails unless each inode has a partner of its own, and the image no more of them.
    fn finish(mut self) -> Result<(), Error> {
        let mut partners = std::mem::take(&mut self.partners);
        partners.retain(|&partner| partner != NONE);
        partners.sort_unstable();
        let (root, compared) = (Tree::<Contents>::ROOT, wide(partners.len()));
        partners.dedup();
        if wide(partners.len()) != compared {
            return Err(self.mismatch(root, "inode", "one", "two that are no hard links"));
        }
        if self.reader.inodes() != compared {
            return Err(self.mismatch(root, "number of inodes", self.reader.inodes(), compared));
        }
        Ok(())
    }

    /// Compares the bytes of a file by their digest.
    fn contents(&self, ino: Ino, found: &Located, expected: Half) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        self.reader.contents(found)?.decode(|bytes| {
            hasher.update(bytes);
        })?;
        let digest = half(&hasher);
        if digest != expected {
            return Err(self.mismatch(ino, "contents", hex(&digest), hex(&expected)));
        }
        Ok(())
    }

    fn stat(&self, ino: Ino, expected: &Stat, found: &Stat) -> Result<(), Error> {
        if found.mode != expected.mode {
            let octal = |mode| format!("{mode:o}");
            return Err(self.mismatch(ino, "mode", octal(found.mode), octal(expected.mode)));
        }
        if (found.uid, found.gid) != (expected.uid, expected.gid) {
            let owner = |stat: &Stat| format!("{}:{}", stat.uid, stat.gid);
            return Err(self.mismatch(ino, "owner", owner(found), owner(expected)));
        }
        if found.mtime != expected.mtime {
            let time = |stat: &Stat| {
                let Timestamp { sec, nsec } = stat.mtime;
                format!("{sec}.{nsec:09}")
            };
            return Err(self.mismatch(ino, "mtime", time(found), time(expected)));
        }
        if found.xattrs != expected.xattrs {
            let shown = |stat: &Stat| format!("{:?}", stat.xattrs);
            return Err(self.mismatch(ino, "extended attributes", shown(found), shown(expected)));
        }
        Ok(())
    }

    fn wrong_name(
        &self,
        directory: Ino,
        name: &[u8],
        found: &'static str,
        expected: &'static str,
    ) -> Error {
        mismatch(&join(&self.tree.path_of(directory), name), "path", found, expected)
    }

    fn mismatch(
        &self,
        ino: Ino,
        what: &'static str,
        found: impl Display,
        expected: impl Display,
    ) -> Error {
        mismatch(&self.tree.path_of(ino), what, found, expected)
    }
}

fn mismatch(path: &[u8], what: &'static str, found: impl Display, expected: impl Display) -> Error {
    Error::Mismatch {
        path: format!("/{}", Escaped(path)),
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}
