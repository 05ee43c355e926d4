//! What a later release repairs is told as a warning for now, one for each finding: units that
//! the build enabled (R22), links into `/etc/alternatives` (R23), accounts that no sysusers.d
//! file makes and ids that the base lacks (R24), and what should come from tmpfiles.d (R25).

use std::collections::{BTreeMap, BTreeSet};

use super::rules;
use super::work::{Work, read_held, resolve, subtree};
use crate::base::{Base, accounts};
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::report::Changes;
use crate::tree::{Content, is_within, split};

/// Looks at the layer before anything of it is dropped.
pub(super) fn survey<C>(work: &Work<C>, base: &Base, limits: &Limits, changes: &mut Changes) {
    units_and_alternatives(work, changes);
    for (file, what) in [("passwd", "user"), ("group", "group")] {
        new_accounts(work, base, file, what, limits, changes);
    }
    var(work, base, limits, changes);
}

/// Looks at the owners of what is left.
pub(super) fn owners<C>(work: &Work<C>, base: &Base, changes: &mut Changes) {
    let mut users: BTreeMap<u32, (u64, Vec<u8>)> = BTreeMap::new();
    let mut groups = users.clone();
    for entry in work.tree.walk() {
        let stat = &entry.inode.stat;
        for (owners, id) in [(&mut users, stat.uid), (&mut groups, stat.gid)] {
            owners.entry(id).or_insert_with(|| (0, entry.path.clone())).0 += 1;
        }
    }
    let accounts = base.accounts();
    for (owners, known, what) in
        [(users, &accounts.users, "user"), (groups, &accounts.groups, "group")]
    {
        for (id, (count, path)) in owners {
            if id != 0 && !known.values().any(|known| *known == id) {
                let others = if count > 1 {
                    format!(" and {} more paths belong", count - 1)
                } else {
                    " belongs".to_owned()
                };
                let path = Escaped(&path);
                changes.warn(
                    "R24",
                    format!("{path}{others} to {what} {id}, which the base does not have"),
                );
            }
        }
    }
}

fn units_and_alternatives<C>(work: &Work<C>, changes: &mut Changes) {
    for entry in work.tree.walk() {
        let Content::Symlink(target) = &entry.inode.content else { continue };
        let path = &entry.path;
        if let Some((directory, unit)) = enablement(path) {
            changes.warn(
                "R22",
                format!(
                    "{} is enabled by {}, which is not in the image: start it on the host",
                    Escaped(unit),
                    Escaped(directory)
                ),
            );
        }
        let end = resolve(path, target);
        let dangles = is_within(path, b"usr") && is_within(&end, b"etc/alternatives");
        if dangles {
            changes.warn(
                "R23",
                format!(
                    "{} leads to /{}, which is not in the image: it dangles unless the host has it",
                    Escaped(path),
                    Escaped(&end)
                ),
            );
        }
    }
}

/// The directory and the unit of a link that enables a unit.
fn enablement(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let below = rules::below_etc(path)?;
    let (directory, unit) = split(path)?;
    let enables = directory.ends_with(b".wants") || directory.ends_with(b".requires");
    (below.starts_with(b"systemd/") && enables).then_some((directory, unit))
}

fn new_accounts<C>(
    work: &Work<C>,
    base: &Base,
    file: &str,
    what: &str,
    limits: &Limits,
    changes: &mut Changes,
) {
    let known = if what == "user" { &base.accounts().users } else { &base.accounts().groups };
    let covered = sysusers(work, limits);
    for directory in accounts::DIRECTORIES {
        let path = format!("{directory}/{file}");
        let Some(text) = read_held(&work.tree, path.as_bytes(), limits.text_file) else { continue };
        for (name, id) in accounts::parse(&text) {
            if !known.contains_key(&name) && !covered.contains(&name) {
                let name = Escaped(&name);
                changes.warn(
                    "R24",
                    format!(
                        "{path} adds the {what} {name} ({id}), which no sysusers.d file of the layer makes: the host will not have it"
                    ),
                );
            }
        }
    }
}

/// The names that sysusers.d files of the layer make: `u` and `g` lines, and the groups of `m`.
fn sysusers<C>(work: &Work<C>, limits: &Limits) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    for path in subtree(&work.tree, rules::SYSUSERS) {
        let Some(text) = read_held(&work.tree, &path, limits.text_file) else { continue };
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = words(line);
            let Some(kind) = words.next() else { continue };
            let (name, group) = (words.next(), words.next());
            match kind.first() {
                Some(b'u' | b'g') => names.extend(name.map(<[u8]>::to_vec)),
                Some(b'm') => names.extend(name.into_iter().chain(group).map(<[u8]>::to_vec)),
                _ => {}
            }
        }
    }
    names
}

/// Words of a line of tmpfiles.d or sysusers.d, without their quotes.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.map(|word| word.strip_prefix(b"\"").and_then(|w| w.strip_suffix(b"\"")).unwrap_or(word))
}

/// The paths that tmpfiles.d files of the layer name, without the slash in front.
fn tmpfiles<C>(work: &Work<C>, limits: &Limits) -> BTreeSet<Vec<u8>> {
    let mut paths = BTreeSet::new();
    for path in subtree(&work.tree, rules::TMPFILES) {
        let Some(text) = read_held(&work.tree, &path, limits.text_file) else { continue };
        let named = text.split(|&byte| byte == b'\n').filter_map(|line| words(line).nth(1));
        paths.extend(named.filter(|path| path.starts_with(b"/")).map(|path| resolve(b"", path)));
    }
    paths
}

/// One warning for each directory of `var` that the layer fills, or makes and leaves empty; not
/// for what the build left there, and not for what the layer's own tmpfiles.d makes.
fn var<C>(work: &Work<C>, base: &Base, limits: &Limits, changes: &mut Changes) {
    let made = tmpfiles(work, limits);
    let is_made = |path: &[u8]| {
        let mut at = Some(path);
        std::iter::from_fn(|| {
            let path = at?;
            at = split(path).map(|(parent, _)| parent);
            Some(path)
        })
        .any(|path| made.contains(path))
    };
    let mut filled: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for path in subtree(&work.tree, b"var") {
        let known = base.path(&path).is_some()
            || rules::package_database(&path).is_some()
            || rules::left_by_a_build(&path)
            || is_made(&path);
        let Some(ino) = work.tree.lookup(&path).filter(|_| !known) else { continue };
        match work.tree.directory(ino) {
            Some(entries) if entries.is_empty() => {
                filled.insert(path, 0);
            }
            Some(_) => {}
            None => {
                let (parent, _) = split(&path).unwrap_or_default();
                *filled.entry(parent.to_vec()).or_default() += 1;
            }
        }
    }
    for (path, count) in filled {
        let path = Escaped(&path);
        let what = match count {
            0 => "an empty directory".to_owned(),
            1 => "a directory with one file".to_owned(),
            _ => format!("a directory with {count} files"),
        };
        changes.warn(
            "R25",
            format!("{path}, {what}, is not in the image: the host needs a tmpfiles.d line for it"),
        );
    }
}
