//! A layer that brings a policy of its own: the host must load it, or the types that only it
//! knows are unlabelled there (R34).

use super::work::Work;
use crate::escape::Escaped;
use crate::report::Changes;
use crate::tree::{Content, is_within};

/// Looks for policy modules and rewritten policies before anything of the layer is dropped.
pub(super) fn survey<C>(work: &Work<C>, changes: &mut Changes) {
    let mut rewritten = None;
    for entry in work.tree.walk() {
        if !matches!(entry.inode.content, Content::Regular(_)) {
            continue;
        }
        if is_module(&entry.path) {
            let path = Escaped(&entry.path);
            changes.warn(
                "R34",
                format!("the extension brings the policy module /{path}: after merging, load it on the host with semodule -i /{path}, and again after every update of the host's policy"),
            );
        } else if rewritten.is_none() && is_policy(&entry.path) {
            rewritten = Some(entry.path);
        }
    }
    if let Some(path) = rewritten {
        changes.warn(
            "R34",
            format!("the layer changes the SELinux policy ({}), which is not in the image: load the extension's policy modules on the host (semodule -i MODULE), or rebuild its policy (semodule -B)", Escaped(&path)),
        );
    }
}

fn is_module(path: &[u8]) -> bool {
    is_within(path, b"usr/share/selinux")
        && [&b".pp"[..], b".pp.bz2", b".cil", b".cil.bz2"].iter().any(|end| path.ends_with(end))
        || is_within(path, b"usr") && path.ends_with(b".pp")
}

/// A file of a compiled policy, `selinux/TYPE/…`, or of the store that it is compiled from.
fn is_policy(path: &[u8]) -> bool {
    let of_type = |root: &[u8]| path.strip_prefix(root).is_some_and(|rest| rest.contains(&b'/'));
    of_type(b"etc/selinux/") || of_type(b"usr/etc/selinux/") || of_type(b"var/lib/selinux/")
}
