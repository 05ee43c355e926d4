//! What the layer has in `var` (R25): an extension cannot have it, so the host makes the
//! directories and links with tmpfiles.d, and copies the files from `usr/share/factory` where it
//! has none. What is the build's own is left out.

use std::collections::BTreeMap;

use super::tmpfiles::{self, Lines};
use super::users::Names;
use super::{Repair, packaged};
use crate::base::Base;
use crate::escape::Escaped;
use crate::layer::check_kept;
use crate::report::Changes;
use crate::sysext::rules;
use crate::sysext::work::Work;
use crate::sysext::{Error, SysextOptions};
use crate::tree::{Content, Entry, join, split};

/// Where the files of `var` wait to be copied.
const FACTORY: &[u8] = b"usr/share/factory";

/// The type of Debian's policy, which has a boolean where Fedora's allows.
const DEBIANS: &str = "default";

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    names: &Names,
    changes: &mut Changes,
) -> Result<(), Error> {
    if !options.repairs.has(Repair::State) {
        tell(work, base, options, changes);
        return Ok(());
    }
    let made = packaged::paths(work, &options.limits);
    let (mut lines, mut left_out) = (Lines::default(), Vec::new());
    // Their paths, each with a NUL behind it: there may be a million.
    let mut files = Vec::new();
    for Entry { path, ino, inode } in work.tree.walk_at(b"var") {
        let is_directory = matches!(inode.content, Content::Directory(_));
        if let Some(rule) = rules::var_state(&path, is_directory) {
            left_out.push((path, rule));
            continue;
        }
        let is_hosts = is_directory && rules::is_of_every_var(&path);
        if is_hosts || base.path(&path).is_some() || made.contains(&path) {
            continue;
        }
        match &inode.content {
            // Those that no entry describes are made with what is in them.
            Content::Directory(_) if work.implied.contains(&ino) => {}
            Content::Directory(_) => {
                lines.push(&path, &tmpfiles::directory(&path, &inode.stat, names))?;
            }
            Content::Symlink(target) => {
                lines.push(&path, &tmpfiles::link(&path, target))?;
            }
            Content::Regular(_) => {
                if let Err(flaw) = check_kept(inode) {
                    changes.warn("R25", format!("{} is left out: {flaw}", Escaped(&path)));
                    continue;
                }
                let source = join(FACTORY, &path);
                lines.push(&path, &tmpfiles::copy(&path, &source, &inode.stat, names))?;
                files.extend_from_slice(&path);
                files.push(0);
            }
            _ => {
                let what = inode.content.type_name();
                changes.warn("R25", format!("{} is left out: it is a {what}", Escaped(&path)));
            }
        }
    }
    for (path, rule) in left_out {
        work.drop_path(&path, rule, changes);
    }
    if !files.is_empty() && base.policy().is_some_and(|policy| policy.policy_type == DEBIANS) {
        changes.warn("R25", "Debian's SELinux policy, when it is enforced, lets systemd-tmpfiles copy no files to /var/lib: on such a host, setsebool -P systemd_tmpfiles_manage_all on".to_owned());
    }
    for path in files.split(|&byte| byte == 0).filter(|path| !path.is_empty()) {
        move_file(work, path, changes)?;
    }
    if lines.count > 0 {
        let path = format!("usr/lib/tmpfiles.d/{}-sysext-var.conf", options.name);
        let why = format!(
            "makes {} paths that the layer has in /var, where the host has none",
            lines.count
        );
        let text = lines.finish(&path)?;
        work.add_file(&path, text, options.created, ("R25", why), changes)?;
    }
    Ok(())
}

/// Moves a file to where the host copies it from. The directories there are root's, and no more
/// open than those that the file was in.
fn move_file<C>(work: &mut Work<C>, path: &[u8], changes: &mut Changes) -> Result<(), Error> {
    let source = join(FACTORY, path);
    if work.tree.lookup(&source).is_some() {
        return Err(Error::Taken { path: source });
    }
    let (parent, _) = split(path).unwrap_or_default();
    let mut of_var = parent;
    let mut modes = Vec::new();
    while !of_var.is_empty() {
        if let Some(directory) = work.tree.lookup(of_var)
            && !work.implied.contains(&directory)
        {
            let stat = work.tree.inode(directory).stat.clone();
            modes.push((join(FACTORY, of_var), stat.mode & 0o755, stat.mtime));
        }
        of_var = split(of_var).map_or(&b""[..], |(parent, _)| parent);
    }
    work.ensure_directory(&join(FACTORY, parent))?;
    for (directory, mode, mtime) in modes {
        if let Some(directory) = work.tree.lookup(&directory)
            && work.implied.remove(&directory)
        {
            let stat = &mut work.tree.inode_mut(directory).stat;
            (stat.mode, stat.mtime) = (mode, mtime);
        }
    }
    if let Some(ino) = work.tree.remove(path) {
        work.tree.link(&source, ino);
    }
    changes.note_moved(path, &source, "R25", "the host copies it to /var where it has none");
    Ok(())
}

/// With `--repairs none`: one warning for each directory of `var` that the layer fills, or makes
/// and leaves empty; not for what the build left there, and not for what the layer's own
/// tmpfiles.d makes.
fn tell<C>(work: &Work<C>, base: &Base, options: &SysextOptions<'_>, changes: &mut Changes) {
    let made = packaged::paths(work, &options.limits);
    let mut filled: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for Entry { path, ino, .. } in work.tree.walk_at(b"var") {
        let known = base.path(&path).is_some()
            || rules::package_database(&path).is_some()
            || rules::left_by_a_build(&path)
            || packaged::covers(&made, &path);
        if known {
            continue;
        }
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
