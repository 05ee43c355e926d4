//! Labels, the last transform, so that no inode escapes it: `security.selinux` as the policy
//! says (R30 to R35). `usr/etc` and what is below it is labelled as `/etc` (R32).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Error;
use crate::escape::Escaped;
use crate::report::{Action, Changes};
use crate::selinux::Lookup;
use crate::tree::{Ino, Tree, Xattrs, is_within};

/// The attribute that holds a label.
pub const XATTR: &[u8] = b"security.selinux";

/// Gives the label of an absolute path and the file type bits of its `st_mode`.
pub type Labeller<'a> = dyn Fn(&[u8], u16) -> Lookup<'a> + 'a;

/// How many paths have each type.
pub type Types = BTreeMap<Vec<u8>, u64>;

/// Labels every path. A path without a label is an error (R35, row 95); one that the policy says
/// to leave alone is reported. Hard links whose names have different labels become two inodes,
/// because an inode has but one. Returns the types that were used.
pub fn apply<C: Clone>(
    tree: &mut Tree<C>,
    lookup: &Labeller<'_>,
    changes: &mut Changes,
) -> Result<Types, Error> {
    let mut labels = Vec::new();
    let mut types = Types::new();
    for entry in tree.walk() {
        let path = absolute(&entry.path);
        let label = match lookup(&path, entry.inode.content.file_type()) {
            Lookup::NoMatch => return Err(Error::NoLabel { path }),
            Lookup::None => {
                changes.note(
                    &entry.path,
                    Action::Kept,
                    "R35",
                    "the policy says <<none>>: no label",
                );
                None
            }
            Lookup::Label(label) if label.contains(&0) => {
                return Err(Error::Label { path: entry.path, label: label.to_vec() });
            }
            Lookup::Label(label) => {
                if let Some(name) = type_of(label) {
                    *types.entry(name.to_vec()).or_default() += 1;
                }
                Some(label)
            }
        };
        labels.push((entry.path, entry.ino, label));
    }
    Labels::new(tree).set(labels, changes);
    Ok(types)
}

/// Warns of types that the policy without the extension does not mention: unless the host loads
/// the extension's own module, their files are unlabelled there (R34).
pub fn warn_of_new_types(types: &Types, file_contexts: &[u8], changes: &mut Changes) {
    let known: BTreeSet<&[u8]> = file_contexts
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.rsplit(u8::is_ascii_whitespace).find(|word| !word.is_empty()))
        .filter_map(type_of)
        .collect();
    for (name, count) in types.iter().filter(|(name, _)| !known.contains(&name[..])) {
        changes.warn(
            "R34",
            format!(
                "{count} paths have the type {}, which the base's policy does not mention: they are unlabelled until the host's policy has it (semodule -i MODULE, then semodule -B)",
                Escaped(name)
            ),
        );
    }
}

/// The path by which the policy is asked.
fn absolute(path: &[u8]) -> Vec<u8> {
    let path = if is_within(path, b"usr/etc") { path.get(4..).unwrap_or_default() } else { path };
    [b"/", path].concat()
}

fn type_of(label: &[u8]) -> Option<&[u8]> {
    label.split(|&byte| byte == b':').nth(2)
}

/// A path, its inode, and its label if it gets one.
type PathLabel<'a> = (Vec<u8>, Ino, Option<&'a [u8]>);

/// Sets labels, with one shared value for inodes whose attributes are equal.
struct Labels<'t, C> {
    tree: &'t mut Tree<C>,
    shared: HashMap<Xattrs, Xattrs>,
    plain: HashMap<Vec<u8>, Xattrs>,
}

impl<'t, C: Clone> Labels<'t, C> {
    fn new(tree: &'t mut Tree<C>) -> Self {
        Self { tree, shared: HashMap::new(), plain: HashMap::new() }
    }

    fn set(&mut self, labels: Vec<PathLabel<'_>>, changes: &mut Changes) {
        // Under which label an inode of several names is to be found.
        let mut by_label: HashMap<(Ino, Option<&[u8]>), Ino> = HashMap::new();
        let mut first: HashMap<Ino, Option<&[u8]>> = HashMap::new();
        for (path, ino, label) in labels {
            match first.get(&ino) {
                None => {
                    first.insert(ino, label);
                    by_label.insert((ino, label), ino);
                    self.set_one(ino, label);
                }
                Some(other) if *other == label => {}
                Some(other) => {
                    let reason = format!(
                        "a hard link no more: its label is {}, that of its other name {}",
                        name(label),
                        name(*other)
                    );
                    changes.note(&path, Action::Changed, "R35", reason);
                    let twin = if let Some(twin) = by_label.get(&(ino, label)) {
                        *twin
                    } else {
                        let twin = self.tree.add(self.tree.inode(ino).clone());
                        by_label.insert((ino, label), twin);
                        self.set_one(twin, label);
                        twin
                    };
                    self.tree.link(&path, twin);
                }
            }
        }
    }

    fn set_one(&mut self, ino: Ino, label: Option<&[u8]>) {
        let own = &self.tree.inode(ino).stat.xattrs;
        let xattrs = match (own.is_empty(), label) {
            (true, None) => return,
            (true, Some(label)) => {
                let make = || labelled(own, Some(label));
                self.plain.entry(label.to_vec()).or_insert_with(make).clone()
            }
            (false, label) => {
                let xattrs = labelled(own, label);
                self.shared.entry(xattrs.clone()).or_insert(xattrs).clone()
            }
        };
        self.tree.inode_mut(ino).stat.xattrs = xattrs;
    }
}

/// Attributes with a label, ended by NUL as libselinux writes it.
fn labelled(xattrs: &Xattrs, label: Option<&[u8]>) -> Xattrs {
    let mut xattrs = xattrs.clone();
    match label {
        Some(label) => xattrs.insert(XATTR, &[label, b"\0"].concat()),
        None => {
            xattrs.remove(XATTR);
        }
    }
    xattrs
}

fn name(label: Option<&[u8]>) -> String {
    label.map_or_else(|| "none".to_owned(), |label| Escaped(label).to_string())
}
