//! A file system in memory, as plain data: an arena of inodes, and directories that name them.
//!
//! `C` says how the contents of a regular file are stored. A hard link is one [`Ino`] under
//! several names. Directories are sorted by name bytes, so every walk has the same order.

mod directory;
mod dump;
mod inode;
mod walk;

pub use directory::Directory;
pub use dump::{DumpContent, dump};
pub use inode::{Content, Ino, Inode, Stat, Timestamp, Xattrs};
pub use walk::{Entry, Walk};

/// A file system: its inodes and which of them is the root directory.
#[derive(Clone, Debug)]
pub struct Tree<C> {
    inodes: Vec<Inode<C>>,
}

impl<C> Tree<C> {
    /// The root directory of every tree.
    pub const ROOT: Ino = Ino(0);

    /// A tree that holds an empty root directory.
    pub fn new(root: Stat) -> Self {
        Self { inodes: vec![Inode { stat: root, content: Content::Directory(Directory::new()) }] }
    }

    /// Adds an inode that no directory names yet.
    ///
    /// # Panics
    /// At 2³² inodes, far above any limit that a caller sets.
    pub fn add(&mut self, inode: Inode<C>) -> Ino {
        let ino = u32::try_from(self.inodes.len()).expect("fewer than 2³² inodes");
        self.inodes.push(inode);
        Ino(ino)
    }

    /// The inode of a number that this tree gave.
    #[expect(clippy::indexing_slicing, reason = "a tree never forgets a number that it gave")]
    pub fn inode(&self, ino: Ino) -> &Inode<C> {
        &self.inodes[ino.index()]
    }

    /// The inode of a number that this tree gave.
    #[expect(clippy::indexing_slicing, reason = "a tree never forgets a number that it gave")]
    pub fn inode_mut(&mut self, ino: Ino) -> &mut Inode<C> {
        &mut self.inodes[ino.index()]
    }

    /// All inodes by their numbers, those that no directory names any more included.
    pub fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode<C>> {
        self.inodes.iter_mut()
    }

    /// How many inodes there are, those that no directory names any more included.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Always false: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The entries of a directory, if `ino` is one.
    pub fn directory(&self, ino: Ino) -> Option<&Directory> {
        match &self.inode(ino).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The entries of a directory, if `ino` is one.
    pub fn directory_mut(&mut self, ino: Ino) -> Option<&mut Directory> {
        match &mut self.inode_mut(ino).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The inode that a path names. Paths are relative to the root, components joined by `/`;
    /// the empty path is the root. Symlinks are not followed.
    pub fn lookup(&self, path: &[u8]) -> Option<Ino> {
        components(path).try_fold(Self::ROOT, |ino, name| self.directory(ino)?.get(name))
    }

    /// The entries of the directory that a path names; none if it names no directory.
    pub fn entries(&self, path: &[u8]) -> impl Iterator<Item = (&[u8], Ino)> {
        let directory = self.lookup(path).and_then(|ino| self.directory(ino));
        directory.into_iter().flatten()
    }

    /// Removes a path and returns the inode it named. The root cannot be removed.
    pub fn remove(&mut self, path: &[u8]) -> Option<Ino> {
        let (parent, name) = split(path)?;
        let parent = self.lookup(parent)?;
        self.directory_mut(parent)?.remove(name)
    }

    /// Names an inode, replacing what had that name; false if the parent is not a directory of
    /// this tree. The root cannot be replaced.
    pub fn link(&mut self, path: &[u8], ino: Ino) -> bool {
        let Some((parent, name)) = split(path) else { return false };
        let Some(parent) = self.lookup(parent) else { return false };
        let Some(directory) = self.directory_mut(parent) else { return false };
        directory.insert(name, ino);
        true
    }

    /// Every path of the tree, a directory before its entries, entries in order of their names.
    pub fn walk(&self) -> Walk<'_, C> {
        Walk::new(self, Some((Vec::new(), Self::ROOT)))
    }

    /// A path and every path below it, in the same order; none if there is no such path.
    pub fn walk_at(&self, path: &[u8]) -> Walk<'_, C> {
        Walk::new(self, self.lookup(path).map(|ino| (path.to_vec(), ino)))
    }

    /// The first path of an inode, for messages; the empty one if it has none.
    pub fn path_of(&self, ino: Ino) -> Vec<u8> {
        self.walk().find(|entry| entry.ino == ino).map(|entry| entry.path).unwrap_or_default()
    }

    /// The tree with other contents, and without the inodes that no directory names. Files that
    /// `contents` gives nothing for are left out.
    pub fn map_named<D>(self, mut contents: impl FnMut(C) -> Option<D>) -> Tree<D> {
        const UNNAMED: u32 = u32::MAX;
        // Where each inode goes, or just that it is named.
        let mut moved = vec![UNNAMED; self.inodes.len()];
        for entry in self.walk() {
            if let Some(moved) = moved.get_mut(entry.ino.index()) {
                *moved = 0;
            }
        }
        let mut next = 0;
        let mut map = |(old, Inode { stat, content }): (usize, Inode<C>)| {
            let moved = moved.get_mut(old).filter(|moved| **moved != UNNAMED)?;
            // Until it is known to stay.
            *moved = UNNAMED;
            let content = match content {
                Content::Regular(stored) => Content::Regular(contents(stored)?),
                Content::Directory(entries) => Content::Directory(entries),
                Content::Symlink(target) => Content::Symlink(target),
                Content::CharDevice { rdev } => Content::CharDevice { rdev },
                Content::BlockDevice { rdev } => Content::BlockDevice { rdev },
                Content::Fifo => Content::Fifo,
                Content::Socket => Content::Socket,
            };
            *moved = next;
            next += 1;
            Some(Inode { stat, content })
        };
        // An inode takes the place of the one it was: there may be a million.
        let mut inodes: Vec<_> = self.inodes.into_iter().enumerate().filter_map(&mut map).collect();
        for Inode { content, .. } in &mut inodes {
            if let Content::Directory(entries) = content {
                entries.retain(|_, ino| {
                    ino.0 = moved.get(ino.index()).copied().unwrap_or(UNNAMED);
                    ino.0 != UNNAMED
                });
            }
        }
        Tree { inodes }
    }

    /// How many names each inode has; directories count once.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.inodes.len()];
        for entry in self.walk() {
            if let Some(count) = counts.get_mut(entry.ino.index()) {
                *count += 1;
            }
        }
        counts
    }
}

/// The components of a path; empty ones are skipped.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty())
}

/// The parent and the last component of a path; none for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => Some((path.get(..slash)?, path.get(slash + 1..)?)),
        None if path.is_empty() => None,
        None => Some((&[], path)),
    }
}

/// A path and a name below it, joined.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// Whether `path` is `ancestor` or lies below it.
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor.is_empty()
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_joined_and_compared_by_component() {
        assert_eq!(split(b"usr/bin/x"), Some((&b"usr/bin"[..], &b"x"[..])));
        assert_eq!(split(b"usr"), Some((&b""[..], &b"usr"[..])));
        assert_eq!(split(b""), None);
        assert_eq!(join(b"", b"usr"), b"usr");
        assert!(is_within(b"usr/lib", b"usr") && is_within(b"usr", b"usr") && is_within(b"x", b""));
        assert!(!is_within(b"usrlocal", b"usr"));
    }

    #[test]
    fn a_hard_link_is_one_inode_under_two_names() {
        let mut tree: Tree<()> = Tree::new(Stat::directory());
        let file = tree.add(Inode { stat: Stat::default(), content: Content::Regular(()) });
        assert!(tree.link(b"b", file) && tree.link(b"a", file));
        assert!(!tree.link(b"a/x", file) && !tree.link(b"", file));
        assert_eq!(tree.link_counts(), [1, 2]);
        let paths: Vec<_> = tree.walk().map(|entry| entry.path).collect();
        assert_eq!(paths, [&b""[..], b"a", b"b"]);
        assert_eq!(tree.remove(b"a"), Some(file));
        assert_eq!(tree.lookup(b"a"), None);
    }

    #[test]
    fn what_nothing_names_is_left_out_when_contents_change() {
        let mut tree: Tree<u8> = Tree::new(Stat::directory());
        let mut add = |path: &[u8], content| {
            let ino = tree.add(Inode { stat: Stat::default(), content });
            assert!(tree.link(path, ino));
        };
        add(b"gone", Content::Directory(Directory::new()));
        add(b"gone/x", Content::Regular(1));
        add(b"a", Content::Regular(2));
        add(b"b", Content::Directory(Directory::new()));
        add(b"b/c", Content::Fifo);
        let a = tree.lookup(b"a").unwrap();
        assert!(tree.link(b"b/a", a));
        tree.remove(b"gone");
        let tree = tree.map_named(|content| {
            assert_ne!(content, 1);
            Some(u32::from(content))
        });
        assert_eq!(tree.len(), 4);
        let paths: Vec<_> = tree.walk().map(|entry| entry.path).collect();
        assert_eq!(paths, [&b""[..], b"a", b"b", b"b/a", b"b/c"]);
        let a = tree.lookup(b"a").unwrap();
        assert_eq!(tree.lookup(b"b/a"), Some(a));
        assert!(matches!(tree.inode(a).content, Content::Regular(2)));
    }
}
