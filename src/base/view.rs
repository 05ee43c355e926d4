//! The lower layers merged into one view, as far as somebody asked for it: the topmost layer that
//! has a path decides, and what an upper layer deletes or replaces hides what is below (R30).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::links::{Cover, LayerLinks, Links, Target};
use super::listing::Listing;
use super::record::{Entry, EntryKind, Record, Regular, TEXT_FILES};
use super::wants::Wants;
use super::{Error, ostree};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::{Stat, is_within, split};

/// A path of the lower layers.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub stat: Stat,
    pub kind: Kind,
    /// The one that decides what is at the path; what a hard link leads to may be in another.
    layer: usize,
}

/// What a path of the lower layers is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Directory,
    Symlink(Arc<[u8]>),
    Regular {
        /// Length in bytes.
        size: u64,
        /// The digest of its contents; none where a table of contents says nothing.
        digest: Option<Digest>,
        /// Where they were asked for and its layer's listing has them.
        contents: Option<Arc<[u8]>>,
        /// The layer that has it, and the path by which.
        at: (usize, Arc<[u8]>),
    },
    Special,
    /// A hard link whose file is yet to be found, or is nowhere.
    Elsewhere,
    /// A file or symlink of an ostree commit, and the path of its object, which is in some layer.
    Object(Vec<u8>),
}

/// What the view says of a path.
#[derive(Debug)]
pub(super) enum Seen<'v> {
    /// The path is there.
    Node(&'v Node),
    /// A directory that no layer describes, but has something in.
    ImpliedDirectory,
    /// No layer has it.
    Absent,
    /// Nobody asked for it.
    Unknown,
}

/// The lower layers, merged.
pub(super) struct View<'a> {
    wants: Wants<'a>,
    limits: &'a Limits,
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Directories that only their entries tell of, and the layer of those.
    implied: HashMap<Vec<u8>, usize>,
    deleted: HashSet<Vec<u8>>,
    opaque: HashSet<Vec<u8>>,
    /// Hard links that lead to paths of layers that are yet to come, by these paths: the topmost
    /// that has one decides, whatever is above the layers with the links.
    links: Links,
    /// Bytes of all contents together.
    text: u64,
    /// How many more paths there may be, and bytes of their names, targets and attributes.
    left: (u64, u64),
}

impl<'a> View<'a> {
    /// Before any layer was added.
    pub fn new(wants: Wants<'a>, limits: &'a Limits) -> Self {
        Self {
            wants,
            limits,
            nodes: BTreeMap::new(),
            implied: HashMap::new(),
            deleted: HashSet::new(),
            opaque: HashSet::new(),
            links: Links::new(),
            text: 0,
            left: (u64::MAX, u64::MAX),
        }
    }

    /// The same, of as many layers as there may be no more paths than limits allow of one. Not for
    /// views of an ostree commit, which has others than the layers.
    pub fn limited(wants: Wants<'a>, limits: &'a Limits) -> Self {
        Self { left: (limits.entries, limits.names), ..Self::new(wants, limits) }
    }

    /// Adds the next layer: they come from the top down.
    pub fn add(&mut self, listing: &Listing, index: usize) -> Result<(), Error> {
        self.add_with_files(listing, index, &[])
    }

    /// Adds the next layer, and files of an ostree commit that belong to it.
    pub fn add_with_files(
        &mut self,
        listing: &Listing,
        index: usize,
        files: &[ostree::File],
    ) -> Result<(), Error> {
        let mut layer = Layer { index, ..Layer::default() };
        let limits = self.limits;
        listing.walk(limits, &mut |record| match record {
            Record::Entry(entry) => self.visit(entry, &mut layer),
            Record::Contents { path, bytes } => self.fill(&path, &bytes, index),
        })?;
        self.follow_links(listing, std::mem::take(&mut layer.links), index)?;
        for ostree::File { path, object } in files {
            let kind = Kind::Object(object.clone());
            let links = self.links.remove(path).unwrap_or_default();
            self.resolve(&links, &Stat::default(), &kind);
            if self.takes(path, false, &mut layer)? && !self.nodes.contains_key(path) {
                let node = Node { stat: Stat::default(), kind, layer: index };
                self.nodes.insert(path.clone(), node);
            }
        }
        self.deleted.extend(layer.deleted);
        self.opaque.extend(layer.opaque);
        Ok(())
    }

    /// What is at a path; symlinks are not followed.
    pub fn look(&self, path: &[u8]) -> Seen<'_> {
        match self.nodes.get(path) {
            Some(node) => Seen::Node(node),
            None if self.implied.contains_key(path) => Seen::ImpliedDirectory,
            None if self.wants.has(path) => Seen::Absent,
            None => Seen::Unknown,
        }
    }

    /// The paths that are there, of those that were asked for.
    pub fn paths(&self) -> impl Iterator<Item = &Vec<u8>> {
        let implied = self.implied.keys().filter(|path| !self.nodes.contains_key(*path));
        self.nodes.keys().chain(implied)
    }

    /// What was asked for, to ask for more.
    pub fn into_wants(self) -> Wants<'a> {
        self.wants
    }

    /// Whether a path of an ostree commit is asked for.
    pub fn wants(&self, path: &[u8]) -> bool {
        self.wants.has(path) || self.links.contains_key(path)
    }

    /// Whether the contents of a path are asked for.
    pub fn wants_contents(&self, path: &[u8]) -> bool {
        self.wants.has_contents(path)
    }

    /// Whether hard links lead to anything below a directory of lower layers.
    pub fn leads_to(&self, directory: &[u8]) -> bool {
        self.links.keys().any(|target| is_within(target, directory))
    }

    /// The files whose contents are wanted, of layers whose listings lack some of them: by layer,
    /// then by the path that the layer has them by.
    pub fn lacking(&self) -> BTreeMap<usize, BTreeSet<Vec<u8>>> {
        let mut wanted = BTreeMap::<_, BTreeSet<_>>::new();
        let mut lacking = BTreeSet::new();
        for (path, node) in &self.nodes {
            if let Kind::Regular { contents, at: (layer, at), .. } = &node.kind
                && self.wants.has_contents(path)
            {
                wanted.entry(*layer).or_default().insert(at.to_vec());
                if contents.is_none() {
                    lacking.insert(*layer);
                }
            }
        }
        wanted.retain(|layer, _| lacking.contains(layer));
        wanted
    }

    /// The objects that are yet to be found: by their paths, those that lead to them.
    pub fn objects(&self) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
        let mut objects = BTreeMap::<_, Vec<_>>::new();
        for (path, node) in &self.nodes {
            if let Kind::Object(object) = &node.kind
                && self.wants.has_type(path)
            {
                objects.entry(object.clone()).or_default().push(path.clone());
            }
        }
        objects
    }

    /// Finds those objects that a layer has.
    pub fn find_objects(&mut self, listing: &Listing, index: usize) -> Result<(), Error> {
        let objects = self.objects();
        let mut found = self.look_up(listing, &objects, index)?;
        for (object, paths) in objects {
            let Some(Target::Inode(stat, kind)) = found.remove(&object) else { continue };
            if matches!(kind, Kind::Regular { .. } | Kind::Symlink(_)) {
                self.resolve(&paths, &stat, &kind);
            }
        }
        Ok(())
    }

    fn visit(&mut self, entry: Entry, layer: &mut Layer) -> Result<(), Error> {
        let Entry { path, stat, kind } = entry;
        match kind {
            EntryKind::Whiteout if self.wants.has(&path) => {
                self.spend(&path, 0)?;
                layer.deleted.push(path);
            }
            EntryKind::Opaque if self.wants.has(&path) => {
                self.spend(&path, 0)?;
                layer.opaque.push(path);
            }
            EntryKind::Whiteout | EntryKind::Opaque => {}
            _ => {
                if !self.takes(&path, matches!(kind, EntryKind::Directory), layer)? {
                    return Ok(());
                }
                let target = match &kind {
                    EntryKind::Symlink(target) | EntryKind::HardLink(target) => target.len(),
                    _ => 0,
                };
                let attributes = stat.xattrs.iter().map(|(name, value)| name.len() + value.len());
                self.spend(&path, attributes.sum::<usize>() + target)?;
                layer.links.remove(&path);
                let kind = match kind {
                    EntryKind::Directory => Kind::Directory,
                    EntryKind::Symlink(target) => Kind::Symlink(target.into()),
                    EntryKind::Regular(file) => {
                        let wanted = self.wants.has_contents(&path);
                        self.regular(&path, file, wanted, layer.index)?
                    }
                    EntryKind::HardLink(target) => {
                        layer.links.insert(path.clone(), target);
                        Kind::Elsewhere
                    }
                    _ => Kind::Special,
                };
                self.nodes.insert(path, Node { stat, kind, layer: layer.index });
            }
        }
        Ok(())
    }

    /// Whether a path that a layer has is wanted, and is seen.
    fn takes(&mut self, path: &[u8], is_directory: bool, layer: &mut Layer) -> Result<bool, Error> {
        self.imply_parents(path, layer.index)?;
        let is_upper_directory =
            |node: &Node| node.layer != layer.index && matches!(node.kind, Kind::Directory);
        if !is_directory && self.nodes.get(path).is_some_and(is_upper_directory) {
            // An upper layer made it a directory anew.
            self.spend(path, 0)?;
            layer.opaque.push(path.to_vec());
            return Ok(false);
        }
        if !self.wants.has(path) || !self.is_free(path, layer.index) {
            return Ok(false);
        }
        if !is_directory && self.implied.get(path).is_some_and(|&upper| upper != layer.index) {
            // An upper layer made it a directory, of which this hides what is below.
            self.spend(path, 0)?;
            layer.opaque.push(path.to_vec());
            return Ok(false);
        }
        Ok(true)
    }

    /// Counts a path, and `more` bytes that are kept with it.
    fn spend(&mut self, path: &[u8], more: usize) -> Result<(), Error> {
        let (entries, names) = self.left;
        let bytes = u64::try_from(path.len().saturating_add(more)).unwrap_or(u64::MAX);
        let excess = |maximum, unit, limit| Error::TooManyHidden {
            path: path.to_vec(),
            maximum,
            unit,
            limit,
        };
        let entries = entries.checked_sub(1);
        let names = names.checked_sub(bytes);
        self.left = (
            entries.ok_or_else(|| excess(self.limits.entries, "paths", "entries"))?,
            names.ok_or_else(|| excess(self.limits.names, "bytes of names", "names"))?,
        );
        Ok(())
    }

    /// A file, with its contents if they are wanted and known.
    fn regular(
        &mut self,
        path: &[u8],
        file: Regular,
        wanted: bool,
        layer: usize,
    ) -> Result<Kind, Error> {
        let Regular { size, digest, contents } = file;
        let maximum = self.limits.text_file;
        if wanted && size > maximum {
            return Err(Error::TooLarge { path: path.to_vec(), size, maximum });
        }
        let contents = contents.filter(|_| wanted);
        let contents = contents.map(|bytes| self.keep(path, &bytes)).transpose()?;
        Ok(Kind::Regular { size, digest, contents, at: (layer, path.into()) })
    }

    /// Contents of a file, counted: there may be any number of policies.
    fn keep(&mut self, path: &[u8], bytes: &[u8]) -> Result<Arc<[u8]>, Error> {
        self.text = self.text.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let maximum = self.limits.text_file.saturating_mul(TEXT_FILES);
        if self.text > maximum {
            return Err(Error::TooMuch { path: path.to_vec(), size: self.text, maximum });
        }
        Ok(bytes.into())
    }

    /// Takes contents that a listing has behind its entries.
    fn fill(&mut self, path: &[u8], bytes: &[u8], index: usize) -> Result<(), Error> {
        let is_lacking = |node: &Node| {
            matches!(&node.kind, Kind::Regular { contents: None, at: (layer, at), .. }
                if *layer == index && **at == *path)
        };
        if self.wants.has_contents(path) && self.nodes.get(path).is_some_and(is_lacking) {
            let text = self.keep(path, bytes)?;
            if let Some(Node { kind: Kind::Regular { contents, .. }, .. }) =
                self.nodes.get_mut(path)
            {
                *contents = Some(text);
            }
        }
        Ok(())
    }

    /// Finds the files that hard links lead to, those of a layer and those of layers above it that
    /// are not found yet, in more looks at it: on an ostree base every file is a link to an object
    /// of the repository, which may come before or after it (R29).
    fn follow_links(
        &mut self,
        listing: &Listing,
        own: BTreeMap<Vec<u8>, Vec<u8>>,
        index: usize,
    ) -> Result<(), Error> {
        let mut links = std::mem::take(&mut self.links);
        for (path, target) in own {
            links.entry(target).or_default().push(path);
        }
        while !links.is_empty() {
            let mut found = self.look_up(listing, &links, index)?;
            let mut next = Links::new();
            for (target, paths) in links {
                match found.remove(&target) {
                    Some(Target::Inode(stat, kind)) => self.resolve(&paths, &stat, &kind),
                    Some(Target::Link) => _ = next.insert(target, paths),
                    Some(Target::Nothing) => {}
                    None => self.links.entry(target).or_default().extend(paths),
                }
            }
            links = Links::new();
            if !next.is_empty() {
                // No link is at the end of links: this round is the last.
                let layer = LayerLinks::of(listing, self.limits)?;
                let ends = layer.follow(next.keys().map(Vec::as_slice));
                for (target, paths) in &next {
                    if let Some(Some(end)) = ends.get(&target[..]) {
                        links.entry(end.to_vec()).or_default().extend(paths.iter().cloned());
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells of links, or paths of a commit, what they lead to.
    fn resolve(&mut self, paths: &[Vec<u8>], stat: &Stat, kind: &Kind) {
        for path in paths {
            if let Some(node) = self.nodes.get_mut(path) {
                (node.stat, node.kind) = (stat.clone(), kind.clone());
            }
        }
    }

    /// What a layer says of some paths, for whom they are.
    fn look_up(
        &mut self,
        listing: &Listing,
        targets: &Links,
        index: usize,
    ) -> Result<BTreeMap<Vec<u8>, Target>, Error> {
        let (mut found, mut cover) = (BTreeMap::<_, Target>::new(), Cover::new(targets));
        let limits = self.limits;
        listing.walk::<Error>(limits, &mut |record| {
            let (path, stat, kind) = match record {
                Record::Entry(Entry { path, stat, kind }) => (path, stat, kind),
                Record::Contents { path, bytes } => {
                    if let Some(Target::Inode(_, Kind::Regular { contents: text @ None, .. })) =
                        found.get_mut(&path)
                        && self.wants_any_contents(targets.get(&path))
                    {
                        *text = Some(self.keep(&path, &bytes)?);
                    }
                    return Ok(());
                }
            };
            cover.add(&path, &kind);
            let Some(paths) = targets.get(&path) else { return Ok(()) };
            let target = match kind {
                EntryKind::Whiteout | EntryKind::Opaque => return Ok(()),
                EntryKind::Directory => Target::Nothing,
                EntryKind::Symlink(to) => Target::Inode(stat, Kind::Symlink(to.into())),
                EntryKind::Regular(file) => {
                    let wanted = self.wants_any_contents(Some(paths));
                    Target::Inode(stat, self.regular(&path, file, wanted, index)?)
                }
                EntryKind::HardLink(_) => Target::Link,
                EntryKind::Special => Target::Inode(stat, Kind::Special),
            };
            found.insert(path, target);
            Ok(())
        })?;
        for target in targets.keys().filter(|target| cover.hides(target)) {
            found.entry(target.clone()).or_insert(Target::Nothing);
        }
        Ok(found)
    }

    fn wants_any_contents(&self, paths: Option<&Vec<Vec<u8>>>) -> bool {
        paths.into_iter().flatten().any(|path| self.wants.has_contents(path))
    }

    /// Whether no upper layer has the path, or hides it.
    fn is_free(&self, path: &[u8], layer: usize) -> bool {
        let decided = |node: &Node| node.layer != layer;
        if self.nodes.get(path).is_some_and(decided) || self.deleted.contains(path) {
            return false;
        }
        let mut at = path;
        while let Some((parent, _)) = split(at) {
            let replaced = self
                .nodes
                .get(parent)
                .is_some_and(|node| decided(node) && !matches!(node.kind, Kind::Directory));
            if replaced || self.deleted.contains(parent) || self.opaque.contains(parent) {
                return false;
            }
            at = parent;
        }
        true
    }

    fn imply_parents(&mut self, path: &[u8], layer: usize) -> Result<(), Error> {
        let (mut at, mut parents) = (path, Vec::new());
        while let Some((parent, _)) = split(at) {
            if self.nodes.contains_key(parent) || self.implied.contains_key(parent) {
                break;
            }
            parents.push(parent);
            at = parent;
        }
        // From the top: below what is hidden all is, and nobody looks again at what is above.
        let mut above: Option<&[u8]> = None;
        for parent in parents.into_iter().rev() {
            let is_free = match above {
                None => self.is_free(parent, layer),
                Some(above) => !self.opaque.contains(above) && !self.deleted.contains(parent),
            };
            if !is_free {
                break;
            }
            if self.wants.has(parent) {
                self.spend(parent, 0)?;
                self.implied.insert(parent.to_vec(), layer);
            }
            above = Some(parent);
        }
        Ok(())
    }
}

/// What is noted of a layer while it is read.
#[derive(Debug, Default)]
struct Layer {
    index: usize,
    /// Hard links, and the paths that they lead to.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
    deleted: Vec<Vec<u8>>,
    opaque: Vec<Vec<u8>>,
}

#[cfg(test)]
mod tests;
