//! What is left is looked at for what no extension may have, also where the layer's reader could
//! not know that it would stay (rows 59, 60, archive rule 10); and for what somebody should know
//! of: set-uid, set-gid and file capabilities (row 61).

use super::work::Work;
use super::{Error, SysextOptions};
use crate::layer::check_kept;
use crate::report::{Action, Changes, PRIVILEGED};
use crate::tree::{Content, Inode};

const CAPABILITIES: &str = "file capabilities";

pub(super) fn run<C>(
    work: &Work<C>,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    for entry in work.tree.walk() {
        if let Err(flaw) = check_kept(entry.inode) {
            return Err(Error::Unfit { path: entry.path, flaw });
        }
        let found = privileges(entry.inode);
        let Some(&what) = found.first() else { continue };
        if options.deny.setuid {
            return Err(Error::Privileged { path: entry.path, what, deny: "setuid" });
        }
        if let Some(&what) = found.iter().find(|&&what| what == CAPABILITIES)
            && options.deny.capabilities
        {
            return Err(Error::Privileged { path: entry.path, what, deny: "caps" });
        }
        changes.note(&entry.path, Action::Kept, PRIVILEGED, format!("it has {}", found.join(", ")));
    }
    Ok(())
}

/// What of an inode gives whoever runs it more rights, in words.
pub(crate) fn privileges<C>(inode: &Inode<C>) -> Vec<&'static str> {
    let stat = &inode.stat;
    let is_file = matches!(inode.content, Content::Regular(_));
    let privileges = [
        (is_file && stat.mode & 0o4000 != 0, "the set-uid bit"),
        (is_file && stat.mode & 0o2000 != 0, "the set-gid bit"),
        (stat.xattrs.get(b"security.capability").is_some(), CAPABILITIES),
    ];
    privileges.into_iter().filter(|(found, _)| *found).map(|(_, what)| what).collect()
}
