//! Several layers of one extension, read as the one layer that the same build makes where it
//! makes only one (R28): the lowest first, each over what those below it have come to.
//!
//! How a build is cut into layers must not change a byte of the image. So contents wait until all
//! layers are read, and those that an upper layer deletes or replaces never reach the sink; the
//! others go there in the order of the paths, in which builders write a layer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;

use super::archive::Archive;
use super::build::{Built, Deleted, check_kept};
use super::hold::Holder;
use super::{ContentSink, Error, Fate, Flaw, LayerOptions, LayerTree, Problem, Stored, Whiteout};
use crate::oci::Digest;
use crate::tree::{Content, Directory, Ino, Inode, Stat, Tree, components};

/// The layers so far, merged.
pub(super) struct Stack<C> {
    tree: Tree<Stored<C>>,
    /// Directories that no layer describes.
    implied: HashSet<Ino>,
    /// Which entry describes each inode.
    origins: Vec<Origin>,
    whiteouts: Vec<Whiteout>,
}

/// An entry of one of the layers.
#[derive(Clone, Copy, Default)]
struct Origin {
    layer: usize,
    offset: u64,
}

/// Contents to be fetched from a layer, by their place in it.
pub(super) type Wanted = BTreeMap<u64, Ino>;

impl<C: Clone> Stack<C> {
    pub(super) fn new() -> Self {
        Self {
            tree: Tree::new(Stat::directory()),
            implied: HashSet::from([Tree::<Stored<C>>::ROOT]),
            origins: vec![Origin::default()],
            whiteouts: Vec::new(),
        }
    }

    /// What an upper layer is read above.
    pub(super) fn tree(&self) -> &Tree<Stored<C>> {
        &self.tree
    }

    /// Puts a layer, which was read above this, on top (OCI image-spec, layer, "Applying
    /// Changesets").
    pub(super) fn put(&mut self, layer: Built<C>, index: usize) {
        let Built { tree: upper, whiteouts, implied, offsets, foreign } = layer;
        let mut moved: HashMap<Ino, Ino> = foreign
            .iter()
            .filter_map(|(target, &(ino, _))| Some((ino, self.tree.lookup(target)?)))
            .collect();
        // They delete nothing of their own layer.
        for whiteout in whiteouts {
            self.delete(whiteout);
        }
        let origin = |ino: Ino| {
            let offset = offsets.get(ino.index()).copied().unwrap_or_default();
            Origin { layer: index, offset }
        };
        let root = Tree::<Stored<C>>::ROOT;
        let mut pending = vec![(root, root)];
        while let Some((from, to)) = pending.pop() {
            if !implied.contains_key(&from) {
                self.tree.inode_mut(to).stat = upper.inode(from).stat.clone();
                self.implied.remove(&to);
                if let Some(of_directory) = self.origins.get_mut(to.index()) {
                    *of_directory = origin(from);
                }
            }
            for (name, ino) in upper.directory(from).into_iter().flatten() {
                let next = if upper.directory(ino).is_some() {
                    let there = self.tree.directory(to).and_then(|entries| entries.get(name));
                    let there = there.filter(|&it| self.tree.directory(it).is_some());
                    let next = there.unwrap_or_else(|| self.add_directory(origin(ino)));
                    pending.push((ino, next));
                    next
                } else {
                    *moved.entry(ino).or_insert_with(|| {
                        self.origins.push(origin(ino));
                        self.tree.add(upper.inode(ino).clone())
                    })
                };
                if let Some(entries) = self.tree.directory_mut(to) {
                    entries.insert(name, next);
                }
            }
        }
    }

    fn add_directory(&mut self, origin: Origin) -> Ino {
        let content = Content::Directory(Directory::new());
        let ino = self.tree.add(Inode { stat: Stat::directory(), content });
        self.origins.push(origin);
        self.implied.insert(ino);
        ino
    }

    fn delete(&mut self, mut whiteout: Whiteout) {
        whiteout.deletes_own = if whiteout.opaque {
            let directory = self.tree.lookup(&whiteout.path);
            let entries = directory.and_then(|ino| self.tree.directory_mut(ino));
            entries.is_some_and(|entries| {
                let had_some = !entries.is_empty();
                *entries = Directory::new();
                had_some
            })
        } else {
            self.tree.remove(&whiteout.path).is_some()
        };
        self.whiteouts.push(whiteout);
    }

    /// What must be true of everything that stays; and, by layer, the contents that were dropped
    /// under one name and are kept under another (R27).
    pub(super) fn settle(
        &self,
        layers: &[Digest],
        options: &LayerOptions<'_>,
    ) -> Result<BTreeMap<usize, Wanted>, Error> {
        let mut wanted: BTreeMap<usize, Wanted> = BTreeMap::new();
        for entry in self.tree.walk() {
            let fate = (options.fate)(&entry.path);
            if fate == Fate::Keep {
                check_kept(entry.inode)
                    .map_err(|flaw| self.flaw(entry.ino, &entry.path, flaw, layers))?;
            }
            let is_dropped =
                matches!(entry.inode.content, Content::Regular(Stored::Dropped { .. }));
            if is_dropped && fate != Fate::Drop {
                let Origin { layer, offset } = self.origin(entry.ino);
                wanted.entry(layer).or_default().insert(offset, entry.ino);
            }
        }
        Ok(wanted)
    }

    /// Reads a layer again, up to the last of the contents that are wanted of it.
    pub(super) fn fetch<R: BufRead>(
        &mut self,
        archive: &mut Archive<'_, R>,
        mut wanted: Wanted,
        holder: &mut Holder,
    ) -> Result<(), Problem> {
        while !wanted.is_empty() {
            let Some(member) = archive.next()? else { break };
            if let Some(ino) = wanted.remove(&member.offset) {
                let mut body = archive.body();
                let held = holder.hold(member.size, &mut body);
                if let Some(problem) = body.failure() {
                    return Err(problem);
                }
                let held = held.map_err(super::hold::HoldError::into_problem)?;
                self.tree.inode_mut(ino).content = Content::Regular(Stored::Held(held));
            }
        }
        Ok(())
    }

    /// Puts what is kept into the sink, in the order of the paths. What is dropped under its first
    /// name comes last: in one layer it is found by that name, and fetched when all else is read.
    pub(super) fn sink<S: ContentSink<Content = C>>(
        mut self,
        layers: &[Digest],
        options: &LayerOptions<'_>,
        sink: &mut S,
    ) -> Result<LayerTree<C>, Error> {
        let (mut kept, mut last): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        let mut seen = vec![false; self.tree.len()];
        let (mut late, mut kept_late) = (HashSet::new(), HashSet::new());
        for entry in self.tree.walk() {
            if !matches!(entry.inode.content, Content::Regular(_)) {
                continue;
            }
            let fate = (options.fate)(&entry.path);
            let was_seen = seen.get_mut(entry.ino.index());
            if !was_seen.is_some_and(|seen| std::mem::replace(seen, true)) && fate == Fate::Drop {
                late.insert(entry.ino);
                last.push(entry.ino);
            } else if fate == Fate::Keep && late.contains(&entry.ino) {
                kept_late.insert(entry.ino);
            } else if fate == Fate::Keep {
                kept.push(entry.ino);
            }
        }
        last.retain(|ino| kept_late.contains(ino));
        for ino in kept.into_iter().chain(last) {
            // Another name of the same file has gone before.
            let Content::Regular(Stored::Held(held)) = &self.tree.inode(ino).content else {
                continue;
            };
            let content = held.store(sink).map_err(|error| {
                let path = self.tree.path_of(ino);
                Problem::of_held(error, &path).in_layer(self.layer(ino, layers))
            })?;
            self.tree.inode_mut(ino).content = Content::Regular(Stored::Sunk(content));
        }
        Ok(self.finish())
    }

    fn finish(self) -> LayerTree<C> {
        let Self { tree, implied, whiteouts, .. } = self;
        let implied = tree.walk().filter(|entry| implied.contains(&entry.ino));
        let implied = implied.map(|entry| entry.path).collect();
        let whiteouts = of_the_base(&tree, &whiteouts);
        LayerTree { tree, whiteouts, implied }
    }

    fn origin(&self, ino: Ino) -> Origin {
        self.origins.get(ino.index()).copied().unwrap_or_default()
    }

    fn layer(&self, ino: Ino, layers: &[Digest]) -> Digest {
        let layer = layers.get(self.origin(ino).layer);
        layer.copied().unwrap_or_else(|| Digest::of(b""))
    }

    fn flaw(&self, ino: Ino, path: &[u8], flaw: Flaw, layers: &[Digest]) -> Error {
        let path = (!path.is_empty()).then(|| path.into());
        let problem = Problem::Archive { offset: self.origin(ino).offset, path, flaw };
        problem.in_layer(self.layer(ino, layers))
    }
}

/// What the layers delete of the base, each once: nothing that is deleted with a directory, and
/// nothing that the extension has again, which hides the base's.
fn of_the_base<C>(tree: &Tree<Stored<C>>, whiteouts: &[Whiteout]) -> Vec<Whiteout> {
    let deleted = Deleted::new(whiteouts);
    let mut left: BTreeMap<(&[u8], bool), bool> = BTreeMap::new();
    for Whiteout { path, opaque, deletes_own } in whiteouts {
        let twice = *opaque && deleted.paths.contains(path.as_slice());
        if !twice && !deleted.hides_above(path) && !is_covered(tree, path) {
            // One that deletes nothing of the extension's own can only be about the base.
            let only_own = left.entry((path, *opaque)).or_insert(true);
            *only_own &= *deletes_own;
        }
    }
    let left = left.into_iter().map(|((path, opaque), deletes_own)| Whiteout {
        path: path.to_vec(),
        opaque,
        deletes_own,
    });
    left.collect()
}

/// Whether a tree has something at a path, or above it, that is no directory.
pub(super) fn is_covered<C>(tree: &Tree<C>, path: &[u8]) -> bool {
    let mut ino = Tree::<C>::ROOT;
    for name in components(path) {
        let Some(entries) = tree.directory(ino) else { return true };
        let Some(next) = entries.get(name) else { return false };
        ino = next;
    }
    tree.directory(ino).is_none()
}
