//! Lines of tmpfiles.d(5).

use std::io::{self, Write};

use super::quote;
use super::users::Names;
use crate::layer::{Held, HeldWriter, SinkError};
use crate::sysext::Error;
use crate::tree::Stat;

/// The lines of a file: there may be a million.
#[derive(Default)]
pub(super) struct Lines {
    text: HeldWriter,
    pub count: u64,
}

impl Lines {
    /// Adds the line for a path.
    pub fn push(&mut self, path: &[u8], line: &str) -> Result<(), Error> {
        self.count += 1;
        writeln!(self.text, "{line}").map_err(|error| unwritten(path, error))
    }

    pub fn finish(self, path: &str) -> Result<Held, Error> {
        self.text.finish().map_err(|error| unwritten(path.as_bytes(), error))
    }
}

fn unwritten(path: &[u8], error: io::Error) -> Error {
    Error::Store { path: path.to_vec(), source: SinkError::Write(error) }
}

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
