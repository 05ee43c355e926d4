//! What the layer's own sysusers.d and tmpfiles.d files make already.

use std::collections::BTreeSet;

use crate::limits::Limits;
use crate::sysext::rules;
use crate::sysext::work::{Work, read_held, resolve};
use crate::tree::{join, split};

/// Names that sysusers.d files make: `u` and `g` lines, and both names of `m`.
pub(super) fn accounts<C>(work: &Work<C>, limits: &Limits) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    for line in lines(work, rules::SYSUSERS, limits) {
        let mut words = words(&line);
        let Some(kind) = words.next() else { continue };
        let (name, group) = (words.next(), words.next());
        match kind.first() {
            Some(b'u' | b'g') => names.extend(name.map(<[u8]>::to_vec)),
            Some(b'm') => names.extend(name.into_iter().chain(group).map(<[u8]>::to_vec)),
            _ => {}
        }
    }
    names
}

/// Paths that tmpfiles.d files name, without the slash in front.
pub(super) fn paths<C>(work: &Work<C>, limits: &Limits) -> BTreeSet<Vec<u8>> {
    lines(work, rules::TMPFILES, limits)
        .iter()
        .filter_map(|line| words(line).nth(1))
        .filter(|path| path.starts_with(b"/"))
        .map(|path| resolve(b"", path))
        .collect()
}

/// Whether the paths hold one or something it is below.
pub(super) fn covers(paths: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    let mut at = Some(path);
    while let Some(path) = at {
        if paths.contains(path) {
            return true;
        }
        at = split(path).map(|(parent, _)| parent);
    }
    false
}

/// The files of such a directory; systemd looks at none further below.
pub(super) fn files<C>(work: &Work<C>, directory: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let entries = work.tree.entries(directory).filter(|(name, _)| name.ends_with(b".conf"));
    entries.map(|(name, _)| join(directory, name)).collect::<Vec<_>>().into_iter()
}

fn lines<C>(work: &Work<C>, directory: &[u8], limits: &Limits) -> Vec<Vec<u8>> {
    let texts =
        files(work, directory).filter_map(|path| read_held(&work.tree, &path, limits.text_file));
    texts
        .flat_map(|text| text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .filter(|line| !line.trim_ascii_start().starts_with(b"#"))
        .collect()
}

/// Words of a line, without their quotes.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.map(|word| word.strip_prefix(b"\"").and_then(|w| w.strip_suffix(b"\"")).unwrap_or(word))
}
