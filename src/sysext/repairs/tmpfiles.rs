//! Lines of tmpfiles.d(5).

use super::quote;
use super::users::Names;
use crate::tree::Stat;

/// A directory with its mode and owner.
pub(super) fn directory(path: &[u8], stat: &Stat, names: &Names) -> String {
    let owner = |id, names: &std::collections::BTreeMap<u32, String>| match names.get(&id) {
        _ if id == 0 => "root".to_owned(),
        Some(name) => name.clone(),
        None => id.to_string(),
    };
    let (user, group) = (owner(stat.uid, &names.users), owner(stat.gid, &names.groups));
    format!("d /{} {:04o} {user} {group}", quote::tmpfiles(path), stat.mode)
}

/// A copy of a file that the host does not have, with the mode of `source`.
pub(super) fn copy(path: &[u8], source: &[u8], stat: &Stat, names: &Names) -> String {
    // The source's own ids are those of the build: on the host the names count.
    let owner = |id, names: &std::collections::BTreeMap<u32, String>| match names.get(&id) {
        _ if id == 0 => "-".to_owned(),
        Some(name) => format!(":{name}"),
        None => "-".to_owned(),
    };
    let (user, group) = (owner(stat.uid, &names.users), owner(stat.gid, &names.groups));
    let (path, source) = (quote::tmpfiles(path), quote::tmpfiles(source));
    format!("C /{path} - {user} {group} - /{source}")
}

/// A link that the host does not have.
pub(super) fn link(path: &[u8], target: &[u8]) -> String {
    format!("L /{} - - - - {}", quote::tmpfiles(path), quote::tmpfiles(target))
}

/// The text of a file of such lines.
pub(super) fn text(lines: &[String]) -> Vec<u8> {
    let mut text = lines.join("\n");
    text.push('\n');
    text.into_bytes()
}
