//! What is left is looked at for what no extension may have: devices (row 60) and attributes
//! that change how the host sees other files (archive rule 10); and for what somebody should
//! know of: set-uid, set-gid and file capabilities (row 61).

use super::work::Work;
use super::{Error, SysextOptions};
use crate::report::{Action, Changes};
use crate::tree::{Content, Ino};

pub(super) fn run<C>(
    work: &mut Work<C>,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    let mut stripped: Vec<(Ino, &'static [u8])> = Vec::new();
    for entry in work.tree.walk() {
        let (path, stat) = (&entry.path, &entry.inode.stat);
        let content = &entry.inode.content;
        match content {
            Content::Directory(_) | Content::Regular(_) | Content::Symlink(_) => {}
            _ => return Err(Error::Special { path: entry.path, found: content.type_name() }),
        }
        for (name, _) in stat.xattrs.iter() {
            if is_refused(name) {
                return Err(Error::Xattr { path: entry.path, name: name.to_vec() });
            }
            if name == b"security.selinux" {
                stripped.push((entry.ino, b"security.selinux"));
                changes.note(path, Action::Changed, "R33", "a label from the build is not used");
            } else if name == b"security.ima" {
                stripped.push((entry.ino, b"security.ima"));
                changes.note(path, Action::Changed, "row 61", "an IMA signature is left out");
            }
        }
        let is_file = matches!(content, Content::Regular(_));
        let privilege = [
            (is_file && stat.mode & 0o4000 != 0, "the set-uid bit"),
            (is_file && stat.mode & 0o2000 != 0, "the set-gid bit"),
            (stat.xattrs.get(b"security.capability").is_some(), "file capabilities"),
        ];
        for what in privilege.iter().filter(|(found, _)| *found).map(|(_, what)| *what) {
            if options.deny_setuid {
                return Err(Error::Privileged { path: entry.path, what });
            }
            changes.note(path, Action::Kept, "row 61", format!("it has {what}"));
        }
    }
    for (ino, name) in stripped {
        work.tree.inode_mut(ino).stat.xattrs.remove(name);
    }
    Ok(())
}

fn is_refused(name: &[u8]) -> bool {
    [&b"trusted."[..], b"user.overlay.", b"system.posix_acl_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
