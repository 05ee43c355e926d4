//! Looking through a lower layer: its entries one after the other, without a tree.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use super::archive::{Archive, Kind, Member};
use super::decompress::{Compression, Uncompressed};
use super::name::{Mark, mark};
use super::stream::Stream;
use super::{BUFFER, Error, Problem, Spent};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::Stat;
use crate::verify::{self, Blob, CopyHasher, LayerCopy, LayerDescriptor, Verified};

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

/// An archive that is there in another form, from which its bytes are put together.
pub trait Assembled {
    /// The bytes of the archive, from the first on.
    ///
    /// # Errors
    /// Something of it cannot be opened.
    fn open<'a>(&'a self, limits: &'a Limits) -> io::Result<Box<dyn Read + 'a>>;
}

/// Takes an archive for the uncompressed bytes of a layer, if all of them have its `diff_id`, and the
/// layer's own stored bytes would not be refused for what their descriptor says.
///
/// # Errors
/// It has other bytes, cannot be read, or the layer is above a limit.
pub fn verify_copy<A: Assembled>(
    archive: A,
    layer: &Verified<LayerDescriptor>,
    limits: &Limits,
) -> Result<Verified<LayerCopy<A>>, Problem> {
    let compression = Compression::of(&layer.descriptor)?;
    let (found, maximum) = (layer.descriptor.size, limits.layer_size);
    if found > maximum {
        let (limit, unit) = ("layer-size", "stored bytes");
        return Err(Problem::Limit { limit, path: None, found, unit, maximum });
    }
    let mut hasher = CopyHasher::new(layer);
    let mut bytes = uncompressed(&archive, limits)?;
    let (mut buffer, mut length) = (vec![0; BUFFER], 0_u64);
    loop {
        let count = bytes.read(&mut buffer).map_err(Problem::from_io)?;
        if count == 0 {
            break;
        }
        length = length.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        compression.check_ratio(found, length, limits.ratio)?;
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    drop(bytes);
    hasher.finish(archive).map_err(|error| match error {
        verify::Error::DigestMismatch { found, expected, .. } => {
            Problem::DiffId { found, expected }
        }
        other => Problem::Read(io::Error::other(other)),
    })
}

/// The same as [`scan`], of a copy of a layer. It is hashed anew, and read to its end.
///
/// # Errors
/// As for [`scan`]; the copy was changed since it was verified.
pub fn scan_copy<A: Assembled, E>(
    copy: &Verified<LayerCopy<A>>,
    limits: &Limits,
    visit: &mut Visitor<'_, E>,
) -> Result<ScanEnd, ScanError<E>> {
    let LayerCopy { layer, archive } = &**copy;
    let in_layer = |problem: Problem| ScanError::Layer(problem.in_layer(layer.descriptor.digest));
    let bytes = uncompressed(archive, limits).map_err(in_layer)?;
    let bytes = Hashed { bytes, hasher: Sha256::new() };
    let bytes = BufReader::with_capacity(BUFFER, bytes);
    let mut archive = Archive::new(bytes, limits, false, Spent::default());
    let end = walk(&mut archive, visit).map_err(|failure| match failure {
        Failure::Visitor(error) => ScanError::Visitor(error),
        Failure::Archive(problem) => in_layer(problem),
    })?;
    let mut bytes = archive.into_inner();
    let rest = io::copy(&mut bytes, &mut io::sink()).map_err(Problem::from_io);
    rest.map_err(in_layer)?;
    let found = Digest::from_bytes(bytes.into_inner().hasher.finalize().into());
    if found == layer.diff_id { Ok(end) } else { Err(in_layer(Problem::Changed { found })) }
}

/// The bytes of an archive, limited.
fn uncompressed<'a, A: Assembled>(
    archive: &'a A,
    limits: &'a Limits,
) -> Result<Uncompressed<Box<dyn Read + 'a>>, Problem> {
    let bytes = archive.open(limits).map_err(Problem::from_io)?;
    Uncompressed::new(bytes, Compression::None, limits, Spent::default())
}

/// Bytes that are hashed on their way.
struct Hashed<R> {
    bytes: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
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
