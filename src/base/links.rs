//! Hard links to paths of lower layers, and what a layer hides of these.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::record::EntryKind;
use super::view::Kind;
use crate::tree::{Stat, split};

/// Hard links, by the paths that they lead to.
pub(super) type Links = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// What a layer says of a path that a hard link leads to.
pub(super) enum Target {
    /// A file.
    Inode(Stat, Kind),
    /// Another hard link.
    Link(Vec<u8>),
    /// No file is there, whatever lower layers have.
    Nothing,
}

/// What one layer hides of the paths that links lead to.
pub(super) struct Cover<'l> {
    links: &'l Links,
    /// Paths that it deletes, or has as directories.
    paths: HashSet<Vec<u8>>,
    /// Paths below which nothing is seen of lower layers.
    tops: HashSet<Vec<u8>>,
}

impl<'l> Cover<'l> {
    pub fn new(links: &'l Links) -> Self {
        Self { links, paths: HashSet::new(), tops: HashSet::new() }
    }

    /// Takes an entry of the layer.
    pub fn add(&mut self, path: &[u8], kind: &EntryKind) {
        if matches!(kind, EntryKind::Whiteout) {
            self.add_path(path);
        } else {
            // Whatever has anything in it is a directory.
            let mut at = path;
            while let Some((parent, _)) = split(at) {
                self.add_path(parent);
                at = parent;
            }
        }
        if !matches!(kind, EntryKind::Directory) {
            let below = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
            let from = (Bound::Included(&below[..]), Bound::Unbounded);
            let next = self.links.range::<[u8], _>(from).next();
            if next.is_some_and(|(target, _)| target.starts_with(&below)) {
                self.tops.insert(path.to_vec());
            }
        }
    }

    fn add_path(&mut self, path: &[u8]) {
        if self.links.contains_key(path) {
            self.paths.insert(path.to_vec());
        }
    }

    /// Whether lower layers' files are hidden at a path; what the layer itself has there is not.
    pub fn hides(&self, path: &[u8]) -> bool {
        let mut at = path;
        while let Some((parent, _)) = split(at) {
            if self.tops.contains(parent) {
                return true;
            }
            at = parent;
        }
        self.paths.contains(path)
    }
}
