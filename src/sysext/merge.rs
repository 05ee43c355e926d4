//! Top-level `lib`, `lib64`, `bin` and `sbin` go below `usr` where the base has the merged-usr
//! symlinks, and `usr/sbin` into `usr/bin` where the base's `usr/sbin` is a symlink to it (R26).
//!
//! A symlink that moves keeps its text: whatever unpacks the layer over the base follows the same
//! directory symlinks, and leaves the text alone.

use std::io::Read;

use super::Error;
use super::rules::Rule;
use super::work::{Clash, Work, resolve};
use crate::base::{Base, BaseKind};
use crate::layer::{ContentSink, Stored};
use crate::report::Changes;
use crate::tree::{Content, Ino, Tree, join};

const MERGED: &[&[u8]] = &[b"bin", b"lib", b"lib64", b"sbin", b"usr/sbin"];

/// Moves what belongs elsewhere. A name that is there already must be a link to the path, a link
/// from it, or an equal file.
pub(super) fn run<S: ContentSink>(
    work: &mut Work<S::Content>,
    base: &Base,
    sink: &mut S,
    changes: &mut Changes,
) -> Result<(), Error> {
    let rule = Rule { id: "R26", reason: "the base has a symlink here" };
    let merges: Vec<(Vec<u8>, Vec<u8>)> = MERGED
        .iter()
        .filter_map(|&from| Some((from.to_vec(), target_in_usr(base, from)?)))
        .collect();
    for (from, to) in &merges {
        if work.tree.lookup(from).is_none_or(|ino| work.tree.directory(ino).is_none()) {
            continue;
        }
        let mut on_clash =
            |tree: &Tree<Stored<S::Content>>, path: (&[u8], Ino), there: (&[u8], Ino)| {
                clash(tree, &merges, path, there, sink)
            };
        work.move_directory(from, to, rule, changes, &mut on_clash)?;
    }
    Ok(())
}

/// Where the base's symlink at `from` leads, if that is another path below `usr`.
fn target_in_usr(base: &Base, from: &[u8]) -> Option<Vec<u8>> {
    let BaseKind::Symlink(target) = &base.path(from)?.kind else { return None };
    let to = resolve(from, target);
    (to.starts_with(b"usr/") && to != from).then_some(to)
}

fn clash<S: ContentSink>(
    tree: &Tree<Stored<S::Content>>,
    merges: &[(Vec<u8>, Vec<u8>)],
    (path, ino): (&[u8], Ino),
    (target, there): (&[u8], Ino),
    sink: &mut S,
) -> Result<Clash, Error> {
    let (inode, other) = (tree.inode(ino), tree.inode(there));
    // A link's text counts from where it was written, or from where it will be.
    let leads_to_target = |link: &[u8], text: &[u8]| {
        [resolve(link, text), resolve(target, text)].iter().any(|end| merged(merges, end) == target)
    };
    if ino == there {
        return Ok(Clash::Drop("a hard link to what is there already"));
    }
    match (&inode.content, &other.content) {
        (Content::Symlink(x), Content::Symlink(y)) if x == y => {
            return Ok(Clash::Drop("an equal symlink is there already"));
        }
        (Content::Symlink(text), _) if leads_to_target(path, text) => {
            return Ok(Clash::Drop("a symlink to what is there already"));
        }
        (_, Content::Symlink(text)) if leads_to_target(target, text) => {
            return Ok(Clash::Replace("a symlink to what takes its place"));
        }
        (Content::Regular(x), Content::Regular(y)) => {
            let (stat, wanted) = (&inode.stat, &other.stat);
            let equal = (stat.mode, stat.uid, stat.gid, &stat.xattrs)
                == (wanted.mode, wanted.uid, wanted.gid, &wanted.xattrs);
            if equal && equal_contents(x, y, path, sink)? {
                return Ok(Clash::Drop("an equal file is there already"));
            }
        }
        _ => {}
    }
    Err(Error::Clash {
        path: path.to_vec(),
        found: inode.content.type_name(),
        target: target.to_vec(),
        there: other.content.type_name(),
    })
}

/// Where a path is after all merges.
fn merged(merges: &[(Vec<u8>, Vec<u8>)], path: &[u8]) -> Vec<u8> {
    merges.iter().fold(path.to_vec(), |path, (from, to)| {
        match path.strip_prefix(&from[..]).and_then(|rest| rest.strip_prefix(b"/")) {
            Some(rest) => join(to, rest),
            None => path,
        }
    })
}

fn equal_contents<S: ContentSink>(
    a: &Stored<S::Content>,
    b: &Stored<S::Content>,
    path: &[u8],
    sink: &mut S,
) -> Result<bool, Error> {
    let store_error = |source| Error::Store { path: path.to_vec(), source };
    let read_error = |error| store_error(crate::layer::SinkError::Read(error));
    Ok(match (a, b) {
        (Stored::Held(a), Stored::Held(b)) => {
            a.size() == b.size()
                && equal_readers(&mut a.reader(), &mut b.reader()).map_err(read_error)?
        }
        (Stored::Sunk(a), Stored::Sunk(b)) => a == b,
        // Stored bytes cannot be read back; storing equal ones again gives an equal value.
        (Stored::Held(held), Stored::Sunk(content))
        | (Stored::Sunk(content), Stored::Held(held)) => {
            held.store(sink).map_err(store_error)? == *content
        }
        (Stored::Dropped { .. }, _) | (_, Stored::Dropped { .. }) => {
            return Err(Error::ContentsDropped { path: path.to_vec() });
        }
    })
}

fn equal_readers(a: &mut dyn Read, b: &mut dyn Read) -> std::io::Result<bool> {
    let mut buffers = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let filled = (fill(a, &mut buffers.0)?, fill(b, &mut buffers.1)?);
        if buffers.0.get(..filled.0) != buffers.1.get(..filled.1) {
            return Ok(false);
        }
        if filled.0 < buffers.0.len() {
            return Ok(true);
        }
    }
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
