//! A walk over every path of a tree, in order.

use super::directory::Iter;
use super::{Ino, Inode, Tree, join};

/// One path of a tree and the inode it names.
#[derive(Clone, Debug)]
pub struct Entry<'a, C> {
    /// The path, relative to the root; empty for the root.
    pub path: Vec<u8>,
    /// The inode's number.
    pub ino: Ino,
    /// The inode.
    pub inode: &'a Inode<C>,
}

/// Yields a directory before its entries, and entries in order of their names.
#[derive(Debug)]
pub struct Walk<'a, C> {
    tree: &'a Tree<C>,
    /// Where it starts, until it has.
    start: Option<(Vec<u8>, Ino)>,
    stack: Vec<(Vec<u8>, Iter<'a>)>,
}

impl<'a, C> Walk<'a, C> {
    pub(super) fn new(tree: &'a Tree<C>, start: Option<(Vec<u8>, Ino)>) -> Self {
        Self { tree, start, stack: Vec::new() }
    }

    fn enter(&mut self, path: Vec<u8>, ino: Ino) -> Entry<'a, C> {
        if let Some(directory) = self.tree.directory(ino) {
            self.stack.push((path.clone(), directory.iter()));
        }
        Entry { path, ino, inode: self.tree.inode(ino) }
    }
}

impl<'a, C> Iterator for Walk<'a, C> {
    type Item = Entry<'a, C>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((path, ino)) = self.start.take() {
            return Some(self.enter(path, ino));
        }
        loop {
            let (parent, entries) = self.stack.last_mut()?;
            if let Some((name, ino)) = entries.next() {
                let path = join(parent, name);
                return Some(self.enter(path, ino));
            }
            self.stack.pop();
        }
    }
}
