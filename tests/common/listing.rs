//! A directory tree as lines of text, so that two trees can be compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::command::sha256;

/// One line for each path: type, mode, owner, time, contents, attributes, hard links.
pub type Listing = BTreeMap<String, String>;

const TAKES_ALL: &str = "a string takes all that is written";

/// Lists a tree; paths are relative to `root`, which is `.` itself.
pub fn of(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let mut first_names = BTreeMap::new();
    add(root, root, &mut listing, &mut first_names);
    listing
}

/// Says how two listings differ, one line for each path; empty if they do not.
pub fn difference(left: &Listing, right: &Listing) -> String {
    let mut text = String::new();
    let mut say = |sign, path: &str, line: &str| {
        writeln!(text, "{sign} {path}: {line}").expect(TAKES_ALL);
    };
    for (path, line) in left {
        match right.get(path) {
            None => say('-', path, line),
            Some(other) if other != line => {
                say('-', path, line);
                say('+', path, other);
            }
            Some(_) => {}
        }
    }
    for (path, line) in right.iter().filter(|(path, _)| !left.contains_key(*path)) {
        say('+', path, line);
    }
    text
}

fn add(root: &Path, path: &Path, listing: &mut Listing, first: &mut BTreeMap<(u64, u64), String>) {
    let metadata = fs::symlink_metadata(path).expect("metadata");
    let kind = metadata.file_type();
    let relative = path.strip_prefix(root).expect("a path below the root");
    let mut name = relative.as_os_str().as_bytes().escape_ascii().to_string();
    if name.is_empty() {
        name.push('.');
    }
    let mut line = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
    write!(line, " {}.{:09}", metadata.mtime(), metadata.mtime_nsec()).expect(TAKES_ALL);
    if kind.is_file() {
        let contents = fs::read(path).expect("a readable file");
        write!(line, " {} bytes {}", contents.len(), sha256(&contents)).expect(TAKES_ALL);
    } else if kind.is_symlink() {
        let target = fs::read_link(path).expect("a target");
        write!(line, " -> {}", target.as_os_str().as_bytes().escape_ascii()).expect(TAKES_ALL);
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " {:x}", metadata.rdev()).expect(TAKES_ALL);
    }
    for (attribute, value) in xattrs(path) {
        write!(line, " {attribute}={}", value.escape_ascii()).expect(TAKES_ALL);
    }
    if !kind.is_dir() && metadata.nlink() > 1 {
        let id = (metadata.dev(), metadata.ino());
        let name = first.entry(id).or_insert_with(|| name.clone());
        write!(line, " {} links of {name}", metadata.nlink()).expect(TAKES_ALL);
    }
    listing.insert(name, line);
    if kind.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path)
            .expect("a readable directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        entries.sort();
        for entry in entries {
            add(root, &entry, listing, first);
        }
    }
}

/// The extended attributes of a path, by name.
pub fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    names.truncate(length);
    let mut all = BTreeMap::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value).expect("an attribute's value");
        value.truncate(length);
        all.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    all
}
