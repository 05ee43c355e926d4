//! The lower layers merged into one view, as far as somebody asked for it: the topmost layer that
//! has a path decides, and what an upper layer deletes or replaces hides what is below (R30).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Error, policy};
use crate::layer::{self, ScanEntry, ScanError, ScanKind, scan};
use crate::limits::Limits;
use crate::tree::{Stat, split};
use crate::verify::{Blob, Verified};

/// A hard link to a hard link to … in one layer; more is left unresolved.
const LINK_ROUNDS: usize = 8;

/// How many files of the largest size may be kept.
const TEXT_FILES: u64 = 4;

/// What is to be known of the lower layers.
#[derive(Clone)]
pub(super) struct Wants<'a> {
    /// Paths whose metadata is wanted, and all their ancestors.
    paths: BTreeSet<Vec<u8>>,
    /// Paths whose contents are wanted too.
    contents: BTreeSet<Vec<u8>>,
    /// Whether all that makes up a policy is wanted, whatever its type is called.
    policy: bool,
    /// Tells of more paths whose metadata is wanted, as of all their ancestors.
    also: &'a dyn Fn(&[u8]) -> bool,
}

impl<'a> Wants<'a> {
    /// Asks for the metadata of the paths that `also` names, and for the policy or not.
    pub fn new(policy: bool, also: &'a dyn Fn(&[u8]) -> bool) -> Self {
        Self { paths: BTreeSet::new(), contents: BTreeSet::new(), policy, also }
    }

    /// Asks for the metadata of a path.
    pub fn path(&mut self, path: &[u8]) {
        let mut path = path;
        while self.paths.insert(path.to_vec()) {
            match split(path) {
                Some((parent, _)) => path = parent,
                None => break,
            }
        }
    }

    /// Asks for the contents of a path.
    pub fn contents(&mut self, path: &[u8]) {
        self.path(path);
        self.contents.insert(path.to_vec());
    }

    fn has(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
            || (self.policy && policy::is_near_policy(path))
            || (self.also)(path)
    }

    fn has_contents(&self, path: &[u8]) -> bool {
        self.contents.contains(path) || (self.policy && policy::is_policy_file(path))
    }
}

/// A path of the lower layers.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub stat: Stat,
    pub kind: Kind,
    layer: usize,
}

/// What a path of the lower layers is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Directory,
    Symlink(Vec<u8>),
    /// With its contents, where they were asked for.
    Regular(Option<Arc<[u8]>>),
    Special,
    /// A hard link to a path that its own layer does not have.
    Elsewhere(Vec<u8>),
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
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Directories that only their entries tell of, and the layer of those.
    implied: HashMap<Vec<u8>, usize>,
    deleted: HashSet<Vec<u8>>,
    opaque: HashSet<Vec<u8>>,
    /// Bytes of all contents together.
    text: u64,
}

impl<'a> View<'a> {
    /// Reads the layers from the top down. Every one of them: what none has so far, such as
    /// `file_contexts.local`, may be in the lowest.
    pub fn read<E: From<Error> + From<layer::Error>>(
        wants: Wants<'a>,
        layers: usize,
        limits: &Limits,
        blob: &mut dyn FnMut(usize) -> Result<Verified<Blob>, E>,
    ) -> Result<Self, E> {
        let mut view = Self {
            wants,
            nodes: BTreeMap::new(),
            implied: HashMap::new(),
            deleted: HashSet::new(),
            opaque: HashSet::new(),
            text: 0,
        };
        for index in (0..layers).rev() {
            let blob = blob(index)?;
            view.add_layer(&blob, index, limits).map_err(|error| match error {
                ScanError::Layer(error) => E::from(error),
                ScanError::Visitor(error) => E::from(error),
            })?;
        }
        Ok(view)
    }

    /// What is at a path; symlinks are not followed.
    pub fn look(&self, path: &[u8]) -> Seen<'_> {
        let mut at = path;
        for _ in 0..LINK_ROUNDS {
            match self.nodes.get(at) {
                Some(Node { kind: Kind::Elsewhere(target), .. }) => at = target,
                Some(node) => return Seen::Node(node),
                None if self.implied.contains_key(at) => return Seen::ImpliedDirectory,
                None if self.wants.has(at) => return Seen::Absent,
                None => return Seen::Unknown,
            }
        }
        Seen::Absent
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

    fn add_layer(
        &mut self,
        blob: &Verified<Blob>,
        index: usize,
        limits: &Limits,
    ) -> Result<(), ScanError<Error>> {
        let mut layer = Layer { index, ..Layer::default() };
        scan(blob, limits, &mut |entry, contents| {
            self.visit(entry, contents, &mut layer, limits)?;
            Ok(ControlFlow::Continue(()))
        })?;
        for _ in 0..LINK_ROUNDS {
            if layer.links.is_empty() {
                break;
            }
            self.follow_links(blob, &mut layer, limits)?;
        }
        // A link into a lower layer: whoever wants the path wants its target there.
        for (path, target) in layer.links.into_iter().chain(layer.foreign) {
            if self.wants.has_contents(&path) {
                self.wants.contents(&target);
            } else {
                self.wants.path(&target);
            }
            if let Some(node) = self.nodes.get_mut(&path) {
                node.kind = Kind::Elsewhere(target);
            }
        }
        self.deleted.extend(layer.deleted);
        self.opaque.extend(layer.opaque);
        Ok(())
    }

    fn visit(
        &mut self,
        entry: &ScanEntry<'_>,
        contents: &mut dyn Read,
        layer: &mut Layer,
        limits: &Limits,
    ) -> Result<(), Error> {
        let path = entry.path;
        match entry.kind {
            ScanKind::Whiteout if self.wants.has(path) => layer.deleted.push(path.to_vec()),
            ScanKind::Opaque if self.wants.has(path) => layer.opaque.push(path.to_vec()),
            ScanKind::Whiteout | ScanKind::Opaque => {}
            _ => {
                self.imply_parents(path, layer.index);
                if !self.wants.has(path) || !self.is_free(path, layer.index) {
                    return Ok(());
                }
                let is_directory = matches!(entry.kind, ScanKind::Directory);
                if !is_directory
                    && self.implied.get(path).is_some_and(|&upper| upper != layer.index)
                {
                    // An upper layer made it a directory, of which this hides what is below.
                    layer.opaque.push(path.to_vec());
                    return Ok(());
                }
                layer.links.remove(path);
                let wanted = self.wants.has_contents(path);
                let kind = match entry.kind {
                    ScanKind::Directory => Kind::Directory,
                    ScanKind::Symlink(target) => Kind::Symlink(target.to_vec()),
                    ScanKind::Regular { size } if wanted => Kind::Regular(Some(read_text(
                        path,
                        size,
                        contents,
                        limits,
                        &mut self.text,
                    )?)),
                    ScanKind::Regular { .. } => Kind::Regular(None),
                    ScanKind::HardLink(target) => {
                        layer.links.insert(path.to_vec(), target.to_vec());
                        Kind::Regular(None)
                    }
                    _ => Kind::Special,
                };
                let node = Node { stat: entry.stat.clone(), kind, layer: layer.index };
                self.nodes.insert(path.to_vec(), node);
            }
        }
        Ok(())
    }

    /// Finds the targets of hard links in a second look at their layer: on an ostree base every
    /// file is a link to an object of the repository, which may come before or after it (R29).
    fn follow_links(
        &mut self,
        blob: &Verified<Blob>,
        layer: &mut Layer,
        limits: &Limits,
    ) -> Result<(), ScanError<Error>> {
        let mut by_target: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, target) in std::mem::take(&mut layer.links) {
            by_target.entry(target).or_default().push(path);
        }
        let mut found: BTreeMap<Vec<u8>, Target> = BTreeMap::new();
        let mut text = self.text;
        scan(blob, limits, &mut |entry, contents| {
            let Some(paths) = by_target.get(entry.path) else {
                return Ok(ControlFlow::Continue(()));
            };
            let wanted = paths.iter().any(|path| self.wants.has_contents(path));
            let kind = match entry.kind {
                ScanKind::Whiteout | ScanKind::Opaque => return Ok(ControlFlow::Continue(())),
                ScanKind::Directory => Ok(Kind::Directory),
                ScanKind::Symlink(target) => Ok(Kind::Symlink(target.to_vec())),
                ScanKind::Regular { size } if wanted => Ok(Kind::Regular(Some(read_text(
                    entry.path, size, contents, limits, &mut text,
                )?))),
                ScanKind::Regular { .. } => Ok(Kind::Regular(None)),
                ScanKind::HardLink(target) => Err(target.to_vec()),
                ScanKind::Special => Ok(Kind::Special),
            };
            found.insert(entry.path.to_vec(), (entry.stat.clone(), kind));
            Ok(ControlFlow::Continue(()))
        })?;
        self.text = text;
        for (target, paths) in by_target {
            for path in paths {
                match found.get(&target) {
                    Some((stat, Ok(kind))) => {
                        let (stat, kind) = (stat.clone(), kind.clone());
                        self.nodes.insert(path, Node { stat, kind, layer: layer.index });
                    }
                    Some((_, Err(next))) => {
                        layer.links.insert(path, next.clone());
                    }
                    None => layer.foreign.push((path, target.clone())),
                }
            }
        }
        Ok(())
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

    fn imply_parents(&mut self, path: &[u8], layer: usize) {
        let mut at = path;
        while let Some((parent, _)) = split(at) {
            if self.nodes.contains_key(parent) || self.implied.contains_key(parent) {
                return;
            }
            if self.wants.has(parent) && self.is_free(parent, layer) {
                self.implied.insert(parent.to_vec(), layer);
            }
            at = parent;
        }
    }
}

/// What a hard link leads to: an inode, or another hard link.
type Target = (Stat, Result<Kind, Vec<u8>>);

/// What is noted of a layer while it is read.
#[derive(Debug, Default)]
struct Layer {
    index: usize,
    /// Hard links, and the paths that they lead to.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Those that lead to nothing in this layer.
    foreign: Vec<(Vec<u8>, Vec<u8>)>,
    deleted: Vec<Vec<u8>>,
    opaque: Vec<Vec<u8>>,
}

/// Contents of a file, counted in `total`: a layer may have any number of policies.
fn read_text(
    path: &[u8],
    size: u64,
    contents: &mut dyn Read,
    limits: &Limits,
    total: &mut u64,
) -> Result<Arc<[u8]>, Error> {
    let maximum = limits.text_file;
    if size > maximum {
        return Err(Error::TooLarge { path: path.to_vec(), size, maximum });
    }
    *total = total.saturating_add(size);
    let maximum = maximum.saturating_mul(TEXT_FILES);
    if *total > maximum {
        return Err(Error::TooMuch { path: path.to_vec(), size: *total, maximum });
    }
    let mut bytes = Vec::new();
    contents
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::Read { path: path.to_vec(), error })?;
    Ok(bytes.into())
}
