//! Policy modules that the layer brings: once the host has loaded one, its file contexts are part
//! of the host's policy, so the extension's labels follow them too (R34).

use super::work::read_held;
use crate::escape::Escaped;
use crate::layer::Stored;
use crate::limits::Limits;
use crate::report::{Action, Changes};
use crate::selinux::module::{Language, Merged, Module};
use crate::selinux::{self, PolicyFiles};
use crate::tree::{Content, Tree, components, is_within};

/// Where packages leave their modules, for one type of policy or for all.
const DIRECTORY: &[u8] = b"usr/share/selinux";

/// Types of policies that have directories of their own there.
const TYPES: [&[u8]; 4] = [b"targeted", b"mls", b"minimum", b"default"];

/// Modules that are read; Debian's whole policy has 400.
const MAX_MODULES: usize = 1000;

/// Bytes of all modules together, decompressed; Debian's whole policy has 72 MiB.
const MAX_BYTES: u64 = 128 << 20;

/// Whether a path is a module's by its name.
pub(super) fn is_module(path: &[u8]) -> bool {
    is_within(path, DIRECTORY) && language(path).is_some()
}

fn language(path: &[u8]) -> Option<Language> {
    let path = path.strip_suffix(b".bz2").unwrap_or(path);
    if path.ends_with(b".pp") {
        Some(Language::Package)
    } else {
        path.ends_with(b".cil").then_some(Language::Cil)
    }
}

/// The paths of the modules that are for this type of policy, or for any.
pub(super) fn paths<C>(tree: &Tree<Stored<C>>, policy_type: Option<&str>) -> Vec<Vec<u8>> {
    tree.walk()
        .filter(|entry| matches!(entry.inode.content, Content::Regular(_)))
        .map(|entry| entry.path)
        .filter(|path| is_module(path) && is_of_type(path, policy_type))
        .collect()
}

fn is_of_type(path: &[u8], policy_type: Option<&str>) -> bool {
    let of = components(path).find(|name| TYPES.contains(name));
    of.is_none() || policy_type.is_none() || of == policy_type.map(str::as_bytes)
}

/// Adds the file contexts of the layer's modules to a policy, as loading them would, and tells how
/// many modules have any; none if none has. A module that cannot be used is warned of.
///
/// # Errors
/// If the policy itself is not understood.
pub fn add_contexts<C>(
    policy: &mut PolicyFiles,
    tree: &Tree<Stored<C>>,
    limits: &Limits,
    changes: &mut Changes,
) -> Result<Option<usize>, selinux::Error> {
    let paths = paths(tree, Some(&policy.policy_type));
    if paths.is_empty() {
        return Ok(None);
    }
    let mut merged = Merged::of(policy)?;
    let (mut added, mut used, mut left) = (0_usize, 0, MAX_BYTES);
    for (index, path) in paths.iter().enumerate() {
        let result = if index < MAX_MODULES {
            read(tree, path, limits, &mut left)
        } else {
            Err("there are more modules than are read".to_owned())
        };
        let result = result.and_then(|module| {
            let new = merged.add(&module).map_err(|e| e.to_string())?;
            Ok((module.len(), new))
        });
        match result {
            Ok((0, _)) => {}
            Ok((all, new)) => {
                let reason = format!(
                    "its file contexts are used for the labels: {all}, of which the policy lacks {new}"
                );
                changes.note(path, Action::Kept, "R34", reason);
                added = added.saturating_add(new);
                used += 1;
            }
            Err(problem) => {
                let path = Escaped(path);
                changes.warn(
                    "R34",
                    format!("the file contexts of the policy module /{path} are not used for the labels: {problem}"),
                );
            }
        }
    }
    if added > 0 {
        policy.file_contexts = merged.file_contexts();
    }
    Ok((used > 0).then_some(used))
}

/// Reads one module; `left` is how many bytes all together may still have.
fn read<C>(
    tree: &Tree<Stored<C>>,
    path: &[u8],
    limits: &Limits,
    left: &mut u64,
) -> Result<Module, String> {
    let max = limits.text_file;
    let bytes = read_held(tree, path, max)
        .ok_or_else(|| format!("it cannot be read, or has more than {max} bytes"))?;
    let language = language(path).unwrap_or(Language::Package);
    Module::read(&bytes, language, left).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_those_of_the_hosts_policy() {
        assert!(is_module(b"usr/share/selinux/packages/demo.pp.bz2"));
        assert!(!is_module(b"usr/share/puppet/modules/demo.pp"));
        let of = |path: &str| is_of_type(path.as_bytes(), Some("targeted"));
        assert!(of("usr/share/selinux/packages/demo.pp"));
        assert!(of("usr/share/selinux/packages/targeted/demo.pp"));
        assert!(!of("usr/share/selinux/packages/mls/demo.pp"));
        assert!(is_of_type(b"usr/share/selinux/packages/mls/demo.pp", None));
    }
}
