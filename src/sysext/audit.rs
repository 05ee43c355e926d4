//! What is left is looked at for what no extension may have, also where the layer's reader could
//! not know that it would stay (rows 59, 60, archive rule 10); and for what somebody should know
//! of: set-uid, set-gid and file capabilities (row 61).

use super::work::Work;
use super::{Error, SysextOptions};
use crate::layer::check_kept;
use crate::report::{Action, Changes, PRIVILEGED};
use crate::tree::Content;

pub(super) fn run<C>(
    work: &Work<C>,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    for entry in work.tree.walk() {
        if let Err(flaw) = check_kept(entry.inode) {
            return Err(Error::Unfit { path: entry.path, flaw });
        }
        let stat = &entry.inode.stat;
        let is_file = matches!(entry.inode.content, Content::Regular(_));
        let privilege = [
            (is_file && stat.mode & 0o4000 != 0, "the set-uid bit"),
            (is_file && stat.mode & 0o2000 != 0, "the set-gid bit"),
            (stat.xattrs.get(b"security.capability").is_some(), "file capabilities"),
        ];
        let found: Vec<_> =
            privilege.iter().filter(|(found, _)| *found).map(|(_, what)| *what).collect();
        let Some(&what) = found.first() else { continue };
        if options.deny_setuid {
            return Err(Error::Privileged { path: entry.path, what });
        }
        changes.note(&entry.path, Action::Kept, PRIVILEGED, format!("it has {}", found.join(", ")));
    }
    Ok(())
}
