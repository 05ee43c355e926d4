//! What the whole base has at some paths, for whoever wants to know what an extension hides.
//!
//! Every layer is read for that. It is for the report alone, and no byte of an image depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Cache;
use super::layers::{Layers, Listings};
use super::record::TEXT_FILES;
use super::view::{Kind, Seen, View, Wants};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::Stat;

/// A path that the base has, which is no directory.
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
    Symlink(Vec<u8>),
    /// Anything else.
    Other,
}

/// The whole base, to be looked at.
#[derive(Debug)]
pub struct Audit<'a, L> {
    listings: Listings<'a, L>,
    layers: usize,
    limits: &'a Limits,
}

impl<'a, L: Layers> Audit<'a, L> {
    /// A base of as many layers.
    pub fn new(
        layers: &'a mut L,
        count: usize,
        cache: Option<&'a Cache>,
        limits: &'a Limits,
    ) -> Self {
        Self { listings: Listings::new(layers, cache, limits), layers: count, limits }
    }

    /// What the base has at these paths, directories left out.
    ///
    /// # Errors
    /// What the layers' source and reader say.
    pub fn look(
        &mut self,
        paths: &BTreeSet<Vec<u8>>,
    ) -> Result<BTreeMap<Vec<u8>, Hidden>, L::Error> {
        let (none, all) = (|_: &[u8]| false, |_: &[u8]| true);
        let mut wants = Wants::new(false, &none, &all);
        for path in paths {
            wants.path(path);
        }
        Ok(hidden(&self.view(wants)?, paths))
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
            wants.contents(path);
            paths.insert(path.clone());
        }
        let view = self.view(wants)?;
        let lacking = view.lacking();
        if lacking.is_empty() {
            return Ok(hidden(&view, &paths));
        }
        for (index, paths) in lacking {
            self.listings.lend_contents(index, &paths)?;
        }
        Ok(hidden(&self.view(view.into_wants())?, &paths))
    }

    fn view<'w>(&mut self, wants: Wants<'w>) -> Result<View<'w>, L::Error>
    where
        'a: 'w,
    {
        let mut view = View::new(wants, self.limits);
        for index in (0..self.layers).rev() {
            view.add(self.listings.get(index)?, index)?;
        }
        Ok(view)
    }
}

fn hidden(view: &View<'_>, paths: &BTreeSet<Vec<u8>>) -> BTreeMap<Vec<u8>, Hidden> {
    let mut found = BTreeMap::new();
    for path in paths {
        let Seen::Node(node) = view.look(path) else { continue };
        let kind = match &node.kind {
            Kind::Directory => continue,
            Kind::Regular { size, digest, contents, .. } => {
                HiddenKind::Regular { size: *size, digest: *digest, contents: contents.clone() }
            }
            Kind::Symlink(target) => HiddenKind::Symlink(target.clone()),
            Kind::Special | Kind::Elsewhere | Kind::Object(_) => HiddenKind::Other,
        };
        found.insert(path.clone(), Hidden { stat: node.stat.clone(), kind });
    }
    found
}
