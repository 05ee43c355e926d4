//! Hard links to paths of lower layers, and what a layer hides of these.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use super::Error;
use super::listing::Listing;
use super::record::{Entry, EntryKind, Record};
use super::view::Kind;
use crate::limits::Limits;
use crate::tree::{Stat, is_within, split};

/// Hard links, by the paths that they lead to.
pub(super) type Links = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// What a layer says of a path that a hard link leads to.
pub(super) enum Target {
    /// A file.
    Inode(Stat, Kind),
    /// Another hard link.
    Link,
    /// No file is there, whatever lower layers have.
    Nothing,
}

/// All hard links of one layer.
pub(super) struct LayerLinks {
    targets: HashMap<Vec<u8>, Vec<u8>>,
}

impl LayerLinks {
    pub fn of(listing: &Listing, limits: &Limits) -> Result<Self, Error> {
        let mut targets = HashMap::new();
        listing.walk::<Error>(limits, &mut |record| {
            if let Record::Entry(Entry { path, kind, .. }) = record {
                match kind {
                    EntryKind::HardLink(target) => _ = targets.insert(path, target),
                    EntryKind::Whiteout | EntryKind::Opaque => {}
                    _ => _ = targets.remove(&path),
                }
            }
            Ok(())
        })?;
        Ok(Self { targets })
    }

    /// Where each path leads in the end, be it itself; nowhere where links go in a circle.
    pub fn follow<'l>(
        &'l self,
        paths: impl Iterator<Item = &'l [u8]>,
    ) -> HashMap<&'l [u8], Option<&'l [u8]>> {
        let mut ends = HashMap::new();
        for path in paths {
            let (mut at, mut way) = (path, Vec::new());
            let end = loop {
                if let Some(&end) = ends.get(at) {
                    break end;
                }
                way.push(at);
                let Some(target) = self.targets.get(at) else { break Some(at) };
                // Until it is known: who comes here again goes in a circle.
                ends.insert(at, None);
                at = target;
            };
            ends.extend(way.into_iter().map(|at| (at, end)));
        }
        ends
    }
}

/// What one layer hides of the paths that links lead to.
pub(super) struct Cover<'l> {
    links: &'l Links,
    /// An entry before, of whose ancestors no more is to be noted.
    last: Option<Vec<u8>>,
    /// Paths that it deletes, or has as directories.
    paths: HashSet<Vec<u8>>,
    /// Paths below which nothing is seen of lower layers.
    tops: HashSet<Vec<u8>>,
}

impl<'l> Cover<'l> {
    pub fn new(links: &'l Links) -> Self {
        Self { links, last: None, paths: HashSet::new(), tops: HashSet::new() }
    }

    /// Takes an entry of the layer.
    pub fn add(&mut self, path: &[u8], kind: &EntryKind) {
        if matches!(kind, EntryKind::Whiteout | EntryKind::Opaque) {
            self.add_path(path);
        }
        if !matches!(kind, EntryKind::Whiteout) {
            // Whatever has anything in it is a directory.
            let mut at = path;
            while let Some((parent, _)) = split(at) {
                if self.last.as_ref().is_some_and(|last| is_within(last, parent)) {
                    break;
                }
                self.add_path(parent);
                at = parent;
            }
            self.last = split(path).map(|(parent, _)| parent.to_vec());
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
