//! What the whole base has at some paths, for whoever wants to know what an extension hides.
//!
//! Every layer is read for that. It is for the report alone, and no byte of an image depends on it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Sources;
use super::layers::{Layers, Listings};
use super::ostree;
use super::record::TEXT_FILES;
use super::view::{Kind, Seen, View};
use super::wants::Wants;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::{Stat, join};

/// A path that the base has.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// Its metadata.
    pub stat: Stat,
    /// What it is.
    pub kind: HiddenKind,
}

/// What a path of the base is.
#[derive(Clone, Debug)]
pub enum HiddenKind {
    /// A directory.
    Directory,
    /// A file.
    Regular {
        /// Length in bytes.
        size: u64,
        /// The digest of its contents; none where a table of contents says nothing.
        digest: Option<Digest>,
        /// Its contents, where they were asked for.
        contents: Option<Arc<[u8]>>,
    },
    /// A symlink, with its target as written.
    Symlink(Arc<[u8]>),
    /// Anything else.
    Other,
}

/// The whole base, to be looked at.
#[derive(Debug)]
pub struct Audit<'a, L> {
    listings: Listings<'a, L>,
    layers: usize,
    is_ostree: bool,
    limits: &'a Limits,
}

impl<'a, L: Layers> Audit<'a, L> {
    /// A base of as many layers, and whether [ostree or bootc deploys it](super::Base::is_ostree).
    pub fn new(
        layers: &'a mut L,
        count: usize,
        is_ostree: bool,
        sources: Sources<'a>,
        limits: &'a Limits,
    ) -> Self {
        Self { listings: Listings::new(layers, sources, limits), layers: count, is_ostree, limits }
    }

    /// What hosts have of the base at these paths, and all that they have of it below `covers`.
    ///
    /// # Errors
    /// What the layers' source and reader say.
    pub fn look(
        &mut self,
        paths: &BTreeSet<Vec<u8>>,
        covers: &Covers,
    ) -> Result<BTreeMap<Vec<u8>, Hidden>, L::Error> {
        let is_ostree = self.is_ostree;
        let also = |path: &[u8]| covers.have(&on_hosts(path, is_ostree));
        let all = |_: &[u8]| true;
        let mut wants = Wants::new(false, &also, &all);
        for place in paths.iter().flat_map(|path| self.places(path)) {
            wants.path(place);
        }
        let view = self.view(wants)?;
        let covered =
            view.paths().map(|path| on_hosts(path, is_ostree)).filter(|path| covers.have(path));
        let paths = covered.map(Cow::into_owned).chain(paths.iter().cloned()).collect();
        Ok(self.hidden(&view, &paths))
    }

    /// The contents of such files, as far as they are no more than limits allow of text.
    ///
    /// # Errors
    /// What the layers' source and reader say.
    pub fn contents(
        &mut self,
        files: &BTreeMap<Vec<u8>, u64>,
    ) -> Result<BTreeMap<Vec<u8>, Hidden>, L::Error> {
        let (none, all) = (|_: &[u8]| false, |_: &[u8]| true);
        let mut wants = Wants::new(false, &none, &all);
        let mut left = self.limits.text_file.saturating_mul(TEXT_FILES);
        let mut paths = BTreeSet::new();
        for (path, &size) in files.iter().filter(|(_, size)| **size <= self.limits.text_file) {
            let Some(rest) = left.checked_sub(size) else { break };
            left = rest;
            for place in self.places(path) {
                wants.contents(place);
            }
            paths.insert(path.clone());
        }
        let view = self.view(wants)?;
        let lacking = view.lacking();
        if lacking.is_empty() {
            return Ok(self.hidden(&view, &paths));
        }
        for (index, paths) in lacking {
            self.listings.lend_contents(index, &paths)?;
        }
        let view = self.view(view.into_wants())?;
        Ok(self.hidden(&view, &paths))
    }

    fn view<'w>(&mut self, wants: Wants<'w>) -> Result<View<'w>, L::Error>
    where
        'a: 'w,
    {
        let mut view = View::limited(wants, self.limits);
        for index in (0..self.layers).rev() {
            view.add(self.listings.get(index)?, index)?;
        }
        Ok(view)
    }

    /// Where layers may have a path of the host; the first that they have counts.
    fn places<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = &'p [u8]> + use<'p, L> {
        let in_layers = ostree::in_layers(path).filter(|_| self.is_ostree);
        [Some(path), in_layers].into_iter().flatten()
    }

    fn hidden(&self, view: &View<'_>, paths: &BTreeSet<Vec<u8>>) -> BTreeMap<Vec<u8>, Hidden> {
        let mut found = BTreeMap::new();
        for path in paths {
            let of_base = self.places(path).find_map(|place| match view.look(place) {
                Seen::Node(node) => Some((node.stat.clone(), &node.kind)),
                Seen::ImpliedDirectory => Some((Stat::directory(), &Kind::Directory)),
                Seen::Absent | Seen::Unknown => None,
            });
            let Some((stat, kind)) = of_base else { continue };
            let kind = match kind {
                Kind::Directory => HiddenKind::Directory,
                Kind::Regular { size, digest, contents, .. } => {
                    HiddenKind::Regular { size: *size, digest: *digest, contents: contents.clone() }
                }
                Kind::Symlink(target) => HiddenKind::Symlink(target.clone()),
                Kind::Special | Kind::Elsewhere | Kind::Object(_) => HiddenKind::Other,
            };
            found.insert(path.clone(), Hidden { stat, kind });
        }
        found
    }
}

/// Directories below which an extension shows nothing of the base, none of them in another: each
/// path with the `/` behind it.
#[derive(Debug, Default)]
pub struct Covers(BTreeSet<Vec<u8>>);

impl<'p> FromIterator<&'p Vec<u8>> for Covers {
    fn from_iter<I: IntoIterator<Item = &'p Vec<u8>>>(paths: I) -> Self {
        let mut covers = Self::default();
        // In this order each comes after all that it is in.
        for path in paths.into_iter().map(|path| join(path, b"")).collect::<BTreeSet<_>>() {
            if !covers.have(&path) {
                covers.0.insert(path);
            }
        }
        covers
    }
}

impl Covers {
    /// Whether a path is below one of them.
    pub fn have(&self, path: &[u8]) -> bool {
        // In their order all between a cover and a path below it is below it, too: none is nearer.
        let before = (Bound::Unbounded, Bound::Included(path));
        let last = self.0.range::<[u8], _>(before).next_back();
        last.is_some_and(|cover| path.starts_with(cover))
    }
}

/// Where hosts have what the layers have at a path.
fn on_hosts(path: &[u8], is_ostree: bool) -> Cow<'_, [u8]> {
    if is_ostree { ostree::on_hosts(path) } else { path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every ancestor of every path was looked for, at each of its ancestors.
    #[test]
    fn what_is_below_a_cover_is_found_by_one_look() {
        let paths = ["a", "a/b/c", "a.d/e", "a-b", "x/y"].map(|path| path.as_bytes().to_vec());
        let covers: Covers = paths.iter().collect();
        assert_eq!(covers.0.len(), 4);
        for path in ["a/x", "a/b", "a/b/c", "a/b/c/d", "a.d/e/f", "a-b/c", "x/y/z", "a/\u{7f}/x"] {
            assert!(covers.have(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "a.d", "a.d/e", "a.d/f", "a-b", "a-b.c", "b", "x", "x/y", "x/yz/a"] {
            assert!(!covers.have(path.as_bytes()), "{path}");
        }
    }
}
