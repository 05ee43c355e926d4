//! What a layer deletes from the layers below it (row 59a): dropped and reported, or turned into
//! what overlayfs understands and so hides files of the host (R14), or refused.

use super::rules::{self, Rule};
use super::work::Work;
use super::{Error, SysextOptions, Whiteouts};
use crate::base::Base;
use crate::report::{Action, Changes};
use crate::tree::{Content, Inode, Stat, is_within, split};

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    for whiteout in std::mem::take(&mut work.whiteouts) {
        let path = work.moved_path(&whiteout.path);
        if whiteout.deletes_own && base.path(&path).is_none() {
            // A step of the build cleaned up after another.
            continue;
        }
        let what = if whiteout.opaque { "all that the base has in it" } else { "the base's path" };
        if let Some(rule) = irrelevant(&whiteout.path, &path, options) {
            let reason = format!("the layer deletes {what}; {}", rule.reason);
            changes.note(&whiteout.path, Action::Dropped, rule.id, reason);
            continue;
        }
        match options.whiteouts {
            Whiteouts::Refuse => return Err(Error::Whiteout { path: whiteout.path }),
            Whiteouts::Drop => {
                let reason = format!("the layer deletes {what}, which stays visible");
                changes.note(&whiteout.path, Action::Dropped, "row 59a", reason);
            }
            Whiteouts::Keep => keep(work, &path, whiteout.opaque, options, changes)?,
        }
    }
    Ok(())
}

/// Why a deletion would be of no use: no extension has the path anyway. What was deleted from
/// `etc` is not in `usr/etc` either.
fn irrelevant(original: &[u8], path: &[u8], options: &SysextOptions<'_>) -> Option<Rule> {
    let outside = || {
        let inside = is_within(path, b"usr") && !is_within(original, b"etc");
        (!inside).then_some(Rule { id: "R25", reason: "it is outside usr" })
    };
    // systemd refuses an extension that has anything there (R6).
    let os_release = is_within(path, rules::OS_RELEASE)
        .then_some(Rule { id: "R6", reason: "no extension may have it" });
    os_release
        .or_else(|| rules::etc_state(path))
        .or_else(|| rules::package_database(path))
        .or_else(|| rules::cache(path).filter(|_| !options.keep_caches))
        .or_else(outside)
}

fn keep<C>(
    work: &mut Work<C>,
    path: &[u8],
    opaque: bool,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    let existing = work.tree.lookup(path);
    let is_directory = existing.is_some_and(|ino| work.tree.directory(ino).is_some());
    if is_within(rules::OS_RELEASE, path) && (opaque || is_directory || existing.is_none()) {
        return Err(Error::NoRelease { path: path.to_vec() });
    }
    if options.deny.shadow && (opaque || is_directory || existing.is_none()) {
        let there = if opaque || is_directory { "in it" } else { "there" };
        let what = format!("whatever is {there}");
        return Err(Error::Shadow { path: path.to_vec(), what });
    }
    if opaque || is_directory {
        // A directory that was deleted and made anew shows nothing of the base's.
        let ino = work.ensure_directory(path)?;
        work.tree.inode_mut(ino).stat.xattrs.insert(b"trusted.overlay.opaque", b"y");
        changes.note(path, Action::Added, "R14", "opaque: hides what the host has in it");
    } else if existing.is_none() {
        let (parent, _) = split(path).unwrap_or_default();
        work.ensure_directory(parent)?;
        let content = Content::CharDevice { rdev: 0 };
        let ino = work
            .tree
            .add(Inode { stat: Stat { mtime: options.created, ..Stat::default() }, content });
        work.tree.link(path, ino);
        changes.note(path, Action::Added, "R14", "an overlay whiteout: hides the host's path");
    }
    Ok(())
}
