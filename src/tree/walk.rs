//! A walk over every path of a tree, in order.

use std::collections::btree_map;

use super::{Ino, Inode, Name, Tree, join};

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
    root: bool,
    stack: Vec<(Vec<u8>, btree_map::Iter<'a, Name, Ino>)>,
}

impl<'a, C> Walk<'a, C> {
    pub(super) fn new(tree: &'a Tree<C>) -> Self {
        Self { tree, root: true, stack: Vec::new() }
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
        if std::mem::take(&mut self.root) {
            return Some(self.enter(Vec::new(), Tree::<C>::ROOT));
        }
        loop {
            let (parent, entries) = self.stack.last_mut()?;
            if let Some((name, &ino)) = entries.next() {
                let path = join(parent, name);
                return Some(self.enter(path, ino));
            }
            self.stack.pop();
        }
    }
}
