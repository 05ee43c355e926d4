//! Links through `/etc/alternatives` (R23): an extension has no such directory, so each link in
//! `usr` goes to where the chain ends in the layer, or in the base where the layer has no link.

use std::collections::BTreeSet;

use super::Repair;
use crate::base::{Base, BaseKind};
use crate::escape::Escaped;
use crate::report::{Action, Changes};
use crate::sysext::SysextOptions;
use crate::sysext::work::{Work, resolve};
use crate::tree::{Content, is_within, join};

/// Where alternatives are, in the order in which they are looked up.
const DIRECTORIES: [&[u8]; 2] = [b"etc/alternatives", b"usr/etc/alternatives"];

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) {
    let mut used = BTreeSet::new();
    let mut ends = Vec::new();
    for entry in work.tree.walk() {
        let Content::Symlink(target) = &entry.inode.content else { continue };
        if !is_within(&entry.path, b"usr") || is_within(&entry.path, b"usr/etc") {
            continue;
        }
        let first = resolve(&entry.path, target);
        let Some(name) = first.strip_prefix(b"etc/alternatives/") else { continue };
        used.insert(name.to_vec());
        ends.push((entry.path.clone(), entry.ino, first.clone(), end(work, base, first)));
    }
    for (path, ino, first, end) in ends {
        let wanted = options.repairs.has(Repair::Alternatives);
        let (link, of) = (Escaped(&path), Escaped(&first));
        match end {
            Err(_) | Ok(_) if !wanted => changes.warn(
                "R23",
                format!("{link} leads to /{of}, which is not in the image: it dangles unless the host has it"),
            ),
            Err(problem) => changes.warn(
                "R23",
                format!("{link} leads to /{of}, {problem}: it dangles unless the host has it"),
            ),
            Ok(end) => {
                let reason = format!("now leads to /{}: /{of} is the host's", Escaped(&end));
                changes.note(&path, Action::Changed, "R23", reason);
                // Its other names lead there too: a link counts from nowhere but the root.
                let target = [b"/", &end[..]].concat();
                work.tree.inode_mut(ino).content = Content::Symlink(target.into());
            }
        }
    }
    if options.repairs.has(Repair::Alternatives) {
        unused(work, base, &used, changes);
    }
}

/// Choices for links that the layer does not have: the base's links, and so the host's to choose.
fn unused<C>(work: &Work<C>, base: &Base, used: &BTreeSet<Vec<u8>>, changes: &mut Changes) {
    for directory in DIRECTORIES {
        for (name, _) in work.tree.entries(directory).filter(|(name, _)| !used.contains(*name)) {
            let path = join(directory, name);
            if base.path(&path).is_none() {
                let name = Escaped(name);
                changes.warn("R23", format!("{} is a choice for a link that is not in the layer: make it on the host (alternatives --set {name} PATH)", Escaped(&path)));
            }
        }
    }
}

/// Where a chain of links through the directory of alternatives ends.
fn end<C>(work: &Work<C>, base: &Base, first: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let mut at = first;
    for _ in 0..MAX_LINKS {
        let Some(name) = at.strip_prefix(b"etc/alternatives/") else {
            // What the layer has at the end may be a link through the directory again.
            let next = work.tree.lookup(&at).map(|ino| &work.tree.inode(ino).content);
            if let Some(Content::Symlink(target)) = next
                && is_within(&resolve(&at, target), b"etc/alternatives")
            {
                at = resolve(&at, target);
                continue;
            }
            return if leads_to_usr(base, &at) { Ok(at) } else { Err("which leads outside usr") };
        };
        let name = name.to_vec();
        let of_layer = DIRECTORIES.iter().find_map(|directory| {
            let path = join(directory, &name);
            match &work.tree.inode(work.tree.lookup(&path)?).content {
                Content::Symlink(target) => Some(resolve(&at, target)),
                _ => None,
            }
        });
        let of_base = || {
            DIRECTORIES.iter().find_map(|directory| {
                match &base.path(&join(directory, &name))?.kind {
                    BaseKind::Symlink(target) => Some(resolve(&at, target)),
                    _ => None,
                }
            })
        };
        let Some(next) = of_layer.or_else(of_base) else {
            return Err("which neither the layer nor the base has");
        };
        at = next;
    }
    Err("which leads in a circle")
}

/// Whether a path is below `usr`, or in a directory that the base has as a link there (R26).
fn leads_to_usr(base: &Base, path: &[u8]) -> bool {
    let top = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    let is_merged = || match base.path(top).map(|of_base| &of_base.kind) {
        Some(BaseKind::Symlink(target)) => is_within(&resolve(top, target), b"usr"),
        _ => false,
    };
    path.contains(&b'/') && (top == b"usr" || is_merged())
}
