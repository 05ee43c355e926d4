//! Looking through a lower layer: its entries one after the other, without a tree.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;

use super::archive::{Archive, Kind, Member};
use super::name::{Mark, mark};
use super::stream::Stream;
use super::{Error, Problem, Spent};
use crate::limits::Limits;
use crate::tree::Stat;
use crate::verify::{Blob, Verified};

/// One entry of a layer that is looked through.
#[derive(Debug)]
pub struct ScanEntry<'a> {
    /// Its path: components joined by `/`, empty for the root. For a whiteout the path that is
    /// deleted, for an opaque marker the directory.
    pub path: &'a [u8],
    /// What it is.
    pub kind: ScanKind<'a>,
    /// Its metadata; of a hard link, what the link's own header says.
    pub stat: Stat,
}

/// What an entry of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanKind<'a> {
    /// A directory.
    Directory,
    /// A regular file.
    Regular {
        /// Length of its contents in bytes.
        size: u64,
    },
    /// A symlink, with its target as written.
    Symlink(&'a [u8]),
    /// A hard link, with the path of its target, normalised as `path` is.
    HardLink(&'a [u8]),
    /// A device or fifo.
    Special,
    /// It deletes `path` from the layers below.
    Whiteout,
    /// It deletes all that lower layers have in the directory `path`.
    Opaque,
}

/// How looking through a layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// The visitor saw every entry, and the layer has the right `diff_id`.
    Complete,
    /// The visitor had seen enough.
    Stopped,
}

/// Why looking through a layer failed.
#[derive(Debug)]
pub enum ScanError<E> {
    /// The layer cannot be read. It wins over an error of the visitor that came of it.
    Layer(Error),
    /// The visitor failed.
    Visitor(E),
}

/// Gets each entry of a layer and a reader of its contents; says whether to go on.
pub type Visitor<'v, E> =
    dyn FnMut(&ScanEntry<'_>, &mut dyn Read) -> Result<ControlFlow<()>, E> + 'v;

/// Shows every entry of a layer to `visit`, in the order of the archive, with a reader of its
/// contents (empty unless [`ScanKind::Regular`]; need not be read to its end).
///
/// Only framing and budgets are checked, and the entries: one with a bad name is passed over
/// without being shown, since real bases have such and nobody asked for it. Nothing that the
/// visitor saw counts before this returns `Ok`: the `diff_id` is compared at the layer's end, and
/// where [`ControlFlow::Break`] came first, at least that a local file was not changed meanwhile.
///
/// # Errors
/// [`ScanError::Layer`] if the layer is malformed (exit code 7), above a limit (9), not what was
/// verified (6) or unreadable (12); [`ScanError::Visitor`] if `visit` failed.
pub fn scan<E>(
    blob: &Verified<Blob>,
    limits: &Limits,
    visit: &mut Visitor<'_, E>,
) -> Result<ScanEnd, ScanError<E>> {
    let in_layer =
        |problem: Problem| ScanError::Layer(problem.in_layer(blob.layer.descriptor.digest));
    let spent = Spent::default();
    let stream = Stream::open(blob, limits, spent).map_err(in_layer)?;
    let mut archive = Archive::new(stream, limits, false, spent);
    match walk(&mut archive, visit) {
        Ok(ScanEnd::Complete) => {
            let stream = archive.into_inner();
            stream.finish(blob).map_err(in_layer)?;
            Ok(ScanEnd::Complete)
        }
        Ok(ScanEnd::Stopped) => {
            let stream = archive.into_inner();
            stream.abandon(blob).map_err(in_layer)?;
            Ok(ScanEnd::Stopped)
        }
        Err(Failure::Visitor(error)) => Err(ScanError::Visitor(error)),
        Err(Failure::Archive(problem)) => {
            let stream = archive.into_inner();
            Err(in_layer(stream.explain(blob, problem)))
        }
    }
}

enum Failure<E> {
    Archive(Problem),
    Visitor(E),
}

fn walk<R: BufRead, E>(
    archive: &mut Archive<'_, R>,
    visit: &mut Visitor<'_, E>,
) -> Result<ScanEnd, Failure<E>> {
    loop {
        let member = match archive.next() {
            Ok(Some(member)) => member,
            Ok(None) => return Ok(ScanEnd::Complete),
            Err(Problem::Archive { flaw, .. }) if flaw.is_about_names() => continue,
            Err(problem) => return Err(Failure::Archive(problem)),
        };
        let Member { path, kind, stat, size, .. } = member;
        let mark = match mark(&path) {
            Ok(mark) => mark,
            Err(flaw) if flaw.is_about_names() => continue,
            Err(flaw) => return Err(Failure::Archive(archive.flaw(flaw))),
        };
        let entry = match &mark {
            Some(Mark::Aufs) => continue,
            Some(Mark::Whiteout(whiteout)) => {
                let kind = if whiteout.opaque { ScanKind::Opaque } else { ScanKind::Whiteout };
                ScanEntry { path: &whiteout.path, kind, stat }
            }
            None => {
                let kind = match &kind {
                    Kind::Directory => ScanKind::Directory,
                    Kind::Regular => ScanKind::Regular { size },
                    Kind::Symlink(target) => ScanKind::Symlink(target),
                    Kind::HardLink(target) => ScanKind::HardLink(target),
                    Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                        ScanKind::Special
                    }
                };
                ScanEntry { path: &path, kind, stat }
            }
        };
        let mut body = archive.body();
        let verdict = if mark.is_some() {
            visit(&entry, &mut std::io::empty())
        } else {
            visit(&entry, &mut body)
        };
        if let Some(problem) = body.failure() {
            return Err(Failure::Archive(problem));
        }
        match verdict {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(ScanEnd::Stopped),
            Err(error) => return Err(Failure::Visitor(error)),
        }
    }
}
