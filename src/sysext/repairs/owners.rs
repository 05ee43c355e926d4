//! Files of owners that the base lacks and nobody declares (R24).

use std::collections::{BTreeMap, BTreeSet};

use super::packaged;
use crate::base::Base;
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::report::Changes;
use crate::sysext::rules;
use crate::sysext::work::{Work, read_held};

/// Ids that sysusers.d files of the extension pin.
#[derive(Default)]
struct Pinned {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Pinned {
    fn read<C>(work: &Work<C>, limits: &Limits) -> Self {
        let mut pinned = Self::default();
        for path in packaged::files(work, rules::SYSUSERS) {
            let Some(text) = read_held(&work.tree, &path, limits.text_file) else { continue };
            for line in String::from_utf8_lossy(&text).lines() {
                let mut words = line.split_whitespace();
                let (kind, _, ids) = (words.next(), words.next(), words.next());
                let (Some(kind), Some(ids)) = (kind, ids) else { continue };
                let (user, group) = ids.split_once(':').unwrap_or((ids, ids));
                if kind.starts_with('u') {
                    pinned.users.extend(user.parse::<u32>());
                    pinned.groups.extend(group.parse::<u32>());
                }
                if kind.starts_with('g') {
                    pinned.groups.extend(ids.parse::<u32>());
                }
            }
        }
        pinned
    }
}

/// Looks at the owners of what is left.
pub(in crate::sysext) fn run<C>(
    work: &Work<C>,
    base: &Base,
    limits: &Limits,
    changes: &mut Changes,
) {
    let mut users: BTreeMap<u32, (u64, Vec<u8>)> = BTreeMap::new();
    let mut groups = users.clone();
    for entry in work.tree.walk() {
        let stat = &entry.inode.stat;
        for (owners, id) in [(&mut users, stat.uid), (&mut groups, stat.gid)] {
            owners.entry(id).or_insert_with(|| (0, entry.path.clone())).0 += 1;
        }
    }
    let (accounts, pinned) = (base.accounts(), Pinned::read(work, limits));
    for (owners, known, pinned, what) in [
        (users, &accounts.users, &pinned.users, "user"),
        (groups, &accounts.groups, &pinned.groups, "group"),
    ] {
        for (id, (count, path)) in owners {
            if id != 0 && !known.values().any(|known| *known == id) && !pinned.contains(&id) {
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
