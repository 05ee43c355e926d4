//! A layer's tree while the transforms work on it, and the few ways in which they change it.

use std::collections::HashSet;
use std::io::Read;

use super::Error;
use super::rules::Rule;
use crate::layer::{Held, LayerTree, Stored, Whiteout};
use crate::report::{Action, Changes};
use crate::tree::{Content, Ino, Inode, Stat, Timestamp, Tree, components, is_within, join, split};

/// A layer's tree in the making of an extension.
#[derive(Debug)]
pub(super) struct Work<C> {
    /// The paths.
    pub tree: Tree<Stored<C>>,
    /// Directories that the layer does not describe.
    pub implied: HashSet<Ino>,
    /// What the layer deletes from the layers below it.
    pub whiteouts: Vec<Whiteout>,
    /// Directories whose entries were moved, and where to.
    pub moves: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What to do about a path that is to be moved to where there is another.
pub(super) enum Clash {
    /// The other stays, and the path is dropped.
    Drop(&'static str),
    /// The path takes the other's place.
    Replace(&'static str),
}

/// Asked about a path and its inode, and the other and its.
pub(super) type OnClash<'a, C> =
    dyn FnMut(&Tree<Stored<C>>, (&[u8], Ino), (&[u8], Ino)) -> Result<Clash, Error> + 'a;

impl<C> Work<C> {
    pub fn new(layer: LayerTree<C>) -> Self {
        let LayerTree { tree, whiteouts, implied } = layer;
        let implied = implied.iter().filter_map(|path| tree.lookup(path)).collect();
        Self { tree, implied, whiteouts, moves: Vec::new() }
    }

    /// The directory at `path`; it and its parents are made where the layer has none.
    pub fn ensure_directory(&mut self, path: &[u8]) -> Result<Ino, Error> {
        let mut ino = Tree::<Stored<C>>::ROOT;
        let mut at = Vec::new();
        for name in components(path) {
            at = join(&at, name);
            let existing = self.tree.directory(ino).and_then(|entries| entries.get(name));
            let next = if let Some(next) = existing {
                next
            } else {
                let content = Content::Directory(crate::tree::Directory::new());
                let next = self.tree.add(Inode { stat: Stat::directory(), content });
                self.implied.insert(next);
                self.tree.link(&at, next);
                next
            };
            let content = &self.tree.inode(next).content;
            if !matches!(content, Content::Directory(_)) {
                return Err(Error::NotDirectory { path: at, found: content.type_name() });
            }
            ino = next;
        }
        Ok(ino)
    }

    /// Adds a file of root's that the layer does not have, and notes by which rule and why.
    pub fn add_file(
        &mut self,
        path: &str,
        contents: impl Into<Held>,
        created: Timestamp,
        (rule, reason): (&'static str, String),
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let path = path.as_bytes();
        if self.tree.lookup(path).is_some() {
            return Err(Error::Taken { path: path.to_vec() });
        }
        let (parent, _) = split(path).unwrap_or_default();
        self.ensure_directory(parent)?;
        let stat = Stat { mode: 0o644, mtime: created, ..Stat::default() };
        let contents = Stored::Held(contents.into());
        let ino = self.tree.add(Inode { stat, content: Content::Regular(contents) });
        self.tree.link(path, ino);
        changes.note(path, Action::Added, rule, reason);
        Ok(())
    }

    /// Drops a path and all below it.
    pub fn drop_path(&mut self, path: &[u8], rule: Rule, changes: &mut Changes) {
        for below in self.tree.walk_at(path) {
            changes.note_dropped(&below.path, rule.id, rule.reason);
        }
        self.tree.remove(path);
    }

    /// Drops every path that a rule names, and all below it.
    pub fn drop_where(&mut self, rule: impl Fn(&[u8]) -> Option<Rule>, changes: &mut Changes) {
        let mut found: Vec<(Vec<u8>, Rule)> = Vec::new();
        for entry in self.tree.walk() {
            let inside = found.last().is_some_and(|(path, _)| is_within(&entry.path, path));
            if !inside && let Some(rule) = rule(&entry.path) {
                found.push((entry.path, rule));
            }
        }
        for (path, rule) in found {
            self.drop_path(&path, rule, changes);
        }
    }

    /// Moves a directory's entries to another place, directory into directory.
    pub fn move_directory(
        &mut self,
        from: &[u8],
        to: &[u8],
        rule: Rule,
        changes: &mut Changes,
        on_clash: &mut OnClash<'_, C>,
    ) -> Result<(), Error> {
        let Some(source) = self.tree.lookup(from) else { return Ok(()) };
        self.ensure_directory(to)?;
        let mut pending = vec![(from.to_vec(), source, to.to_vec())];
        while let Some((path, ino, target)) = pending.pop() {
            let Some(there) = self.tree.lookup(&target) else {
                self.tree.link(&target, ino);
                for below in self.tree.walk_at(&path) {
                    let rest = below.path.get(path.len()..).unwrap_or_default();
                    let to = [&target, rest].concat();
                    changes.note_moved(&below.path, &to, rule.id, rule.reason);
                }
                continue;
            };
            let (entries, there_is_directory) =
                (self.tree.directory(ino), self.tree.directory(there).is_some());
            if let Some(entries) = entries.filter(|_| there_is_directory) {
                // The walk is depth first, in order: the last one pushed is the next one.
                let first = pending.len();
                let below = entries.iter();
                pending
                    .extend(below.map(|(name, ino)| (join(&path, name), ino, join(&target, name))));
                pending.get_mut(first..).unwrap_or_default().reverse();
                if self.implied.contains(&there) {
                    changes.note_moved(&path, &target, rule.id, rule.reason);
                } else {
                    changes.note_merged(&path, &target, rule.id, rule.reason);
                }
                if !self.implied.contains(&ino) && self.implied.remove(&there) {
                    self.tree.inode_mut(there).stat = self.tree.inode(ino).stat.clone();
                }
                continue;
            }
            match on_clash(&self.tree, (&path, ino), (&target, there))? {
                Clash::Drop(reason) => changes.note_dropped(&path, rule.id, reason),
                Clash::Replace(reason) => {
                    changes.note_dropped(&target, rule.id, reason);
                    changes.note_moved(&path, &target, rule.id, rule.reason);
                    self.tree.link(&target, ino);
                }
            }
        }
        self.tree.remove(from);
        self.moves.push((from.to_vec(), to.to_vec()));
        Ok(())
    }

    /// Where a path of the layer is now.
    pub fn moved_path(&self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        for (from, to) in &self.moves {
            if is_within(&path, from) {
                path = [to, path.get(from.len()..).unwrap_or_default()].concat();
            }
        }
        path
    }
}

/// Where a symlink leads, by its text alone; never above the root.
pub(super) fn resolve(link: &[u8], target: &[u8]) -> Vec<u8> {
    let parent: &[u8] = split(link).map_or(b"", |(parent, _)| parent);
    let start: &[u8] = if target.starts_with(b"/") { b"" } else { parent };
    let mut path: Vec<&[u8]> = components(start).collect();
    for name in components(target) {
        match name {
            b"." => {}
            b".." => {
                path.pop();
            }
            _ => path.push(name),
        }
    }
    path.join(&b'/')
}

/// The contents of a file that were held back, if it is one and has no more than `max` bytes.
pub(super) fn read_held<C>(tree: &Tree<Stored<C>>, path: &[u8], max: u64) -> Option<Vec<u8>> {
    let Content::Regular(Stored::Held(held)) = &tree.inode(tree.lookup(path)?).content else {
        return None;
    };
    let mut bytes = Vec::new();
    let read = held.reader().take(max).read_to_end(&mut bytes);
    (held.size() <= max && read.is_ok()).then_some(bytes)
}
