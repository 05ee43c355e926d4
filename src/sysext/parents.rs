//! Directories that the base has too get the base's mode, owner and time, because the topmost
//! one's win in an overlay (R15, row 67); nothing has another type than in the base (R16).

use super::rules;
use super::work::Work;
use super::{Error, SysextOptions};
use crate::base::{Base, BaseKind, BasePath};
use crate::escape::Escaped;
use crate::report::{Action, Changes};
use crate::tree::{Content, Stat};

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    work.ensure_directory(rules::RELEASE_DIRECTORY)?;
    let mut wanted = Vec::new();
    for entry in work.tree.walk() {
        let content = &entry.inode.content;
        // The only devices left are our own whiteouts, which hide whatever the base has.
        if matches!(content, Content::CharDevice { .. }) {
            continue;
        }
        let of_base = base.path(&entry.path);
        if let Some(of_base) = of_base.filter(|of_base| !same_type(content, &of_base.kind)) {
            return Err(Error::TypeConflict {
                path: entry.path,
                found: content.type_name(),
                base: describe(&of_base.kind),
            });
        }
        let is_merged = |kind| matches!(content, Content::Directory(_)) && same_type(content, kind);
        let hidden = base.hidden_by(&entry.path);
        if let Some(BasePath { kind, .. }) = hidden.filter(|hidden| !is_merged(&hidden.kind)) {
            // Of etc of an ostree base some who tell of it leave out where links lead (Unread).
            let is_same = of_base.is_some() && is_same_link(content, kind);
            if options.deny.shadow && !is_same {
                return Err(Error::Shadow { path: entry.path, what: describe(kind) });
            }
            changes.note(
                &entry.path,
                Action::Kept,
                "row 66",
                "the base has it too: the host's is hidden",
            );
        }
        if matches!(content, Content::Directory(_)) {
            let implied = work.implied.contains(&entry.ino);
            let of_base = hidden.filter(|hidden| is_merged(&hidden.kind));
            if implied || of_base.is_some() {
                wanted.push((entry.path, entry.ino, implied, of_base));
            }
        }
    }
    for (path, ino, implied, of_base) in wanted {
        let stat = &mut work.tree.inode_mut(ino).stat;
        match of_base {
            Some(BasePath { stat: of_base, kind }) => {
                let mut of_base = of_base.clone();
                if *kind == BaseKind::ImpliedDirectory {
                    of_base.mtime = if implied { options.created } else { stat.mtime };
                }
                if !implied && let Some(difference) = difference(stat, &of_base) {
                    changes.note(&path, Action::Changed, "R15", difference);
                }
                (stat.mode, stat.uid, stat.gid) = (of_base.mode, of_base.uid, of_base.gid);
                stat.mtime = of_base.mtime;
                if implied {
                    changes.note(&path, Action::Added, "R15", "a parent directory, as in the base");
                }
            }
            None if implied => {
                (stat.mode, stat.uid, stat.gid) = (0o755, 0, 0);
                stat.mtime = options.created;
                changes.note(&path, Action::Added, "R15", "a parent directory");
            }
            None => {}
        }
    }
    Ok(())
}

fn same_type<C>(content: &Content<C>, base: &BaseKind) -> bool {
    matches!(
        (content, base),
        (Content::Directory(_), BaseKind::Directory | BaseKind::ImpliedDirectory)
            | (Content::Symlink(_), BaseKind::Symlink(_))
            | (Content::Regular(_), BaseKind::Regular)
    )
}

fn is_same_link<C>(content: &Content<C>, base: &BaseKind) -> bool {
    matches!((content, base), (Content::Symlink(one), BaseKind::Symlink(other)) if **one == **other)
}

fn describe(kind: &BaseKind) -> String {
    match kind {
        BaseKind::Directory | BaseKind::ImpliedDirectory => "directory".to_owned(),
        BaseKind::Symlink(target) => format!("symlink to {}", Escaped(target)),
        BaseKind::Regular => "regular file".to_owned(),
        BaseKind::Special => "device, fifo or socket".to_owned(),
        BaseKind::Unread => "file or symlink".to_owned(),
    }
}

/// What of a directory is not as in the base, in words.
fn difference(stat: &Stat, base: &Stat) -> Option<String> {
    let mut found = Vec::new();
    if stat.mode != base.mode {
        found.push(format!("mode {:04o} instead of {:04o}", base.mode, stat.mode));
    }
    if (stat.uid, stat.gid) != (base.uid, base.gid) {
        found.push(format!("owner {}:{} instead of {}:{}", base.uid, base.gid, stat.uid, stat.gid));
    }
    if stat.mtime != base.mtime {
        found.push("its time".to_owned());
    }
    (!found.is_empty()).then(|| format!("as in the base: {}", found.join(", ")))
}
