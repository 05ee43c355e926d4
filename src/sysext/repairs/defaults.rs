//! Defaults of `etc` (R21): they are in `usr/etc`, which nothing copies to the host's `/etc`, so
//! tmpfiles.d does, file by file, where the host has none. What is in R20 is gone by now.

use super::tmpfiles::{self, Lines};
use super::users::Names;
use super::{Repair, packaged};
use crate::base::Base;
use crate::report::Changes;
use crate::sysext::work::Work;
use crate::sysext::{Error, SysextOptions};
use crate::tree::{Content, Entry, split};

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    names: &Names,
    changes: &mut Changes,
) -> Result<(), Error> {
    let made = packaged::paths(work, &options.limits);
    let (mut lines, mut count) = (Lines::default(), 0u64);
    for Entry { path: source, ino, inode } in work.tree.walk_at(b"usr/etc").skip(1) {
        let path = source.strip_prefix(b"usr/").unwrap_or(&source);
        if made.contains(path) {
            continue;
        }
        // A directory that is the base's stays as the host has it.
        let of_base = base.path(path).is_some() || base.path(&source).is_some();
        match &inode.content {
            Content::Directory(_) if of_base || work.implied.contains(&ino) => {}
            Content::Directory(entries) if is_of_units(path, entries.is_empty()) => {}
            Content::Directory(_) => {
                lines.push(path, &tmpfiles::directory(path, &inode.stat, names))?;
            }
            Content::Symlink(target) => {
                lines.push(path, &tmpfiles::link(path, target))?;
                count += 1;
            }
            Content::Regular(_) => {
                lines.push(path, &tmpfiles::copy(path, &source, &inode.stat, names))?;
                count += 1;
            }
            _ => {}
        }
    }
    if !options.repairs.has(Repair::Etc) {
        if count > 0 {
            changes.warn(
                "R21",
                format!(
                    "{count} defaults are in /usr/etc only: the host copies none of them to /etc"
                ),
            );
        }
        return Ok(());
    }
    if lines.count > 0 {
        let path = format!("usr/lib/tmpfiles.d/{}-sysext-etc.conf", options.name);
        let why = format!("copies {count} defaults from /usr/etc to /etc, where the host has none");
        let text = lines.finish(&path)?;
        work.add_file(&path, text, options.created, ("R21", why), changes)?;
    }
    Ok(())
}

/// Whether a directory is systemd's own, or one below that only held what enables units.
fn is_of_units(path: &[u8], is_empty: bool) -> bool {
    let is_own =
        |path: &[u8]| matches!(path, b"etc/systemd" | b"etc/systemd/system" | b"etc/systemd/user");
    is_own(path) || (is_empty && split(path).is_some_and(|(parent, _)| is_own(parent)))
}
