//! From the stored bytes of a layer to a tree: decompression and tar parsing, budgeted.
//!
//! Contents of files that are kept go straight into a [`ContentSink`]; nothing is extracted.
//!
//! Headers are taken apart by the `tar` crate's structures, everything else of the format is read
//! here: that crate (like `tar-core`) gives some ambiguous archives a meaning, and each of them
//! must be refused (see [`Flaw`]).

mod archive;
mod build;
mod decompress;
mod error;
mod header;
mod hold;
mod name;
mod number;
mod pax;
mod scan;
mod sink;
mod source;
mod stream;
mod zstd;

pub use build::check_kept;
pub use decompress::Compression;
pub use error::{Error, Flaw, Problem};
pub use hold::Held;
pub(crate) use name::{Mark, mark};
pub use scan::{ScanEnd, ScanEntry, ScanError, ScanKind, Visitor, scan};
pub use sink::{ContentSink, SinkError};

use std::fmt;
use std::io::{BufReader, Read};
use std::sync::Arc;

use archive::Archive;
use build::Builder;
use decompress::Uncompressed;
use stream::Stream;

use crate::limits::Limits;
use crate::tree::Tree;
use crate::verify::{Blob, Verified};

/// What is to become of a path of the layer, as told by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its contents go to the sink.
    Keep,
    /// Its contents wait in memory or a spool until somebody has classified it.
    Hold,
    /// Its contents are not wanted; its metadata stays in the tree for the report.
    Drop,
}

/// Where the contents of a regular file of a layer are.
#[derive(Clone, Debug)]
pub enum Stored<C> {
    /// In the sink.
    Sunk {
        /// Length in bytes.
        size: u64,
        /// What the sink gave.
        content: C,
    },
    /// Waiting to be classified.
    Held(Arc<Held>),
    /// Gone.
    Dropped {
        /// Length in bytes.
        size: u64,
    },
}

/// A path that a layer deletes from the layers below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whiteout {
    /// The path that is deleted; for an opaque directory, the directory.
    pub path: Vec<u8>,
    /// Whether it deletes all that lower layers have in the directory (`.wh..wh..opq`).
    pub opaque: bool,
}

/// A layer as a tree: every path it has, those that will be dropped included.
#[derive(Debug)]
pub struct LayerTree<C> {
    /// The paths.
    pub tree: Tree<Stored<C>>,
    /// What it deletes, in the order of the archive.
    pub whiteouts: Vec<Whiteout>,
    /// Directories that no entry describes: an entry below them made them. The empty path is
    /// the root.
    pub implied: Vec<Vec<u8>>,
}

/// Bytes that are read, decompressed or hashed at a time.
const BUFFER: usize = 256 << 10;

/// How an extension layer is read.
#[derive(Clone, Copy)]
pub struct LayerOptions<'a> {
    /// How much is accepted.
    pub limits: &'a Limits,
    /// What is to become of a path (components joined by `/`, empty for the root).
    pub fate: &'a dyn Fn(&[u8]) -> Fate,
    /// Whether `security.ima` stays.
    pub keep_ima: bool,
}

impl fmt::Debug for LayerOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerOptions")
            .field("limits", self.limits)
            .field("keep_ima", &self.keep_ima)
            .finish_non_exhaustive()
    }
}

/// Reads an extension layer: every byte is decompressed, hashed and parsed before it returns.
///
/// The sink gets the contents of files of which any name is [`Fate::Keep`], in the order of the
/// archive; those whose first name is to be dropped come last, from a second pass over the blob.
/// What the sink has taken counts only if this returns `Ok`.
///
/// A hard link's own metadata are ignored: the first entry of a file describes it.
///
/// # Errors
/// Malformed or hostile content (exit code 7), above a limit (9), not the bytes that were
/// verified or not their `diff_id` (6), local input or output (12).
pub fn read<S: ContentSink>(
    blob: &Verified<Blob>,
    options: &LayerOptions<'_>,
    sink: &mut S,
) -> Result<LayerTree<S::Content>, Error> {
    let mut builder = Builder::new(options, sink);
    let mut passes = || -> Result<(), Problem> {
        let mut archive = open(blob, options)?;
        let result = builder.read(&mut archive);
        let stream = archive.into_inner();
        match result {
            Ok(()) => stream.finish(blob)?,
            Err(problem) => return Err(stream.explain(blob, problem)),
        }
        if builder.is_incomplete() {
            let mut archive = open(blob, options)?;
            let result = builder.fetch(&mut archive);
            let stream = archive.into_inner();
            match result {
                Ok(()) => stream.abandon(blob)?,
                Err(problem) => return Err(stream.explain(blob, problem)),
            }
        }
        Ok(())
    };
    passes().map_err(|problem| problem.in_layer(blob.layer.descriptor.digest))?;
    Ok(builder.finish())
}

/// Reads any bytes as [`read`] would, without digests, and says only how many inodes there are:
/// for fuzzing, and for looking at a layer that nobody vouches for.
pub fn examine<S: ContentSink>(
    stored: &[u8],
    compression: Compression,
    options: &LayerOptions<'_>,
    sink: &mut S,
) -> Result<usize, Problem> {
    let open = || -> Result<_, Problem> {
        let bytes = Uncompressed::new(stored, compression, options.limits)?;
        let bytes = BufReader::with_capacity(BUFFER, bytes);
        Ok(Archive::new(bytes, options.limits, options.keep_ima))
    };
    let mut builder = Builder::new(options, sink);
    builder.read(&mut open()?)?;
    if builder.is_incomplete() {
        builder.fetch(&mut open()?)?;
    }
    Ok(builder.finish().tree.len())
}

/// Decompresses any bytes within the limits, without digests.
pub fn decompress<R: Read>(
    stored: R,
    compression: Compression,
    limits: &Limits,
) -> Result<impl Read + use<R>, Problem> {
    Uncompressed::new(stored, compression, limits)
}

fn open<'a>(
    blob: &Verified<Blob>,
    options: &LayerOptions<'a>,
) -> Result<Archive<'a, Stream>, Problem> {
    Ok(Archive::new(Stream::open(blob, options.limits)?, options.limits, options.keep_ima))
}
