//! Only `usr` is kept: everything else at the top level is dropped and reported (R25), and of
//! `usr` the package databases (R18), the caches there can be only one of (R19), and os-release
//! (R6, row 65). Directories that become empty stay.

use super::Error;
use super::rules::{self, Rule};
use super::work::Work;
use crate::escape::Escaped;
use crate::report::Changes;
use crate::tree::{Content, Tree};

/// Whether there is a `usr` at all (row 64).
pub(super) fn require_usr<C>(work: &Work<C>) -> Result<(), Error> {
    let tree = &work.tree;
    if tree.lookup(b"usr").is_some_and(|usr| tree.directory(usr).is_some()) {
        return Ok(());
    }
    let root = tree.directory(Tree::<C>::ROOT).into_iter().flatten();
    let names: Vec<String> = root.take(8).map(|(name, _)| Escaped(name).to_string()).collect();
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(Error::NoUsr { found })
}

/// Drops what only a whole host can have, and everything but `usr`.
pub(super) fn run<C>(work: &mut Work<C>, keep_caches: bool, changes: &mut Changes) {
    work.drop_where(
        |path| {
            let caches = || rules::cache(path).filter(|_| !keep_caches);
            rules::package_database(path).or_else(caches)
        },
        changes,
    );
    let rule = Rule { id: "R6", reason: "systemd refuses an extension that has it" };
    work.drop_path(rules::OS_RELEASE, rule, changes);
    outside_usr(work, changes);
    let only_directories =
        work.tree.walk().all(|entry| matches!(entry.inode.content, Content::Directory(_)));
    if only_directories {
        changes.warn("R25", "nothing but directories is left of the layer: check that the right layer was taken (--layers)");
    }
}

fn outside_usr<C>(work: &mut Work<C>, changes: &mut Changes) {
    let top: Vec<_> = work
        .tree
        .directory(Tree::<C>::ROOT)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.to_vec())
        .filter(|name| name != b"usr")
        .collect();
    for name in top {
        let is_directory =
            work.tree.lookup(&name).is_some_and(|ino| work.tree.directory(ino).is_some());
        let reason = match &*name {
            b"opt" => "outside usr; it would hide the host's opt",
            b"var" => "outside usr; the host has its own var",
            b"bin" | b"lib" | b"lib64" | b"sbin" if is_directory => {
                "outside usr, and no symlink into usr in the base"
            }
            _ => "outside usr",
        };
        work.drop_path(&name, Rule { id: "R25", reason }, changes);
    }
}
