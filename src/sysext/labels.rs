//! Labels, the last transform, so that no inode escapes it: `security.selinux` as the policy
//! says (R30 to R35). `usr/etc` and what is below it is labelled as `/etc` (R32).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Error;
use crate::escape::Escaped;
use crate::report::{Action, Changes};
use crate::selinux::{Lookup, PolicyFiles};
use crate::tree::{Ino, Tree, Xattrs, is_within};

/// The attribute that holds a label.
pub const XATTR: &[u8] = b"security.selinux";

/// Gives the label of an absolute path and the file type bits of its `st_mode`.
pub type Labeller<'a> = dyn Fn(&[u8], u16) -> Lookup<'a> + 'a;

/// A path whose label is not that of its inode's first name.
type Split<'l> = (Vec<u8>, Ino, Option<&'l [u8]>);

/// The label of each inode that has a name, if it gets one, by its number.
type Labels<'l> = Vec<Option<Option<&'l [u8]>>>;

/// So many sets of attributes are looked through for an equal one: where there are more, hardly any
/// two inodes have the same.
const SETS: usize = 10_000;

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
    let mut labels = vec![None; tree.len()];
    let mut splits = Vec::new();
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
                    match types.get_mut(name) {
                        Some(count) => *count += 1,
                        None => {
                            types.insert(name.to_vec(), 1);
                        }
                    }
                }
                Some(label)
            }
        };
        let Some(first) = labels.get_mut(entry.ino.index()) else { continue };
        let first = *first.get_or_insert(label);
        if first != label {
            let reason = format!(
                "a hard link no more: its label is {}, that of its other name {}",
                name(label),
                name(first)
            );
            changes.note(&entry.path, Action::Changed, "R35", reason);
            splits.push((entry.path, entry.ino, label));
        }
    }
    split_links(tree, splits, &mut labels);
    set_labels(tree, &labels);
    Ok(types)
}

/// Warns of types that the policy without the extension does not mention: unless the host loads
/// the extension's own module, their files are unlabelled there (R34).
pub fn warn_of_new_types(types: &Types, policy: &PolicyFiles, changes: &mut Changes) {
    let known: BTreeSet<&[u8]> = policy
        .specifications()
        .flat_map(|text| text.split(|&byte| byte == b'\n'))
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

/// Gives the paths whose label is not that of their inode's first name inodes of their own.
fn split_links<'l, C: Clone>(tree: &mut Tree<C>, splits: Vec<Split<'l>>, labels: &mut Labels<'l>) {
    let mut twins: HashMap<(Ino, Option<&[u8]>), Ino> = HashMap::new();
    for (path, ino, label) in splits {
        let twin = *twins.entry((ino, label)).or_insert_with(|| {
            let twin = tree.add(tree.inode(ino).clone());
            labels.push(Some(label));
            twin
        });
        tree.link(&path, twin);
    }
}

/// Sets the labels of inodes; inodes with equal attributes share them.
fn set_labels<C>(tree: &mut Tree<C>, labels: &Labels<'_>) {
    let mut plain: HashMap<&[u8], Xattrs> = HashMap::new();
    let mut others: HashSet<Xattrs> = HashSet::new();
    for (inode, &label) in tree.inodes_mut().zip(labels) {
        let Some(label) = label else { continue };
        let xattrs = &mut inode.stat.xattrs;
        match label {
            Some(label) if xattrs.is_empty() => {
                let make = || labelled(&Xattrs::default(), Some(label));
                *xattrs = plain.entry(label).or_insert_with(make).clone();
            }
            label => {
                let wanted = labelled(xattrs, label);
                if let Some(shared) = others.get(&wanted) {
                    *xattrs = shared.clone();
                } else {
                    if others.len() < SETS {
                        others.insert(wanted.clone());
                    }
                    *xattrs = wanted;
                }
            }
        }
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
