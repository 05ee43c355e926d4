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
mod stack;
mod stream;
mod zstd;

pub use build::check_kept;
pub use decompress::Compression;
pub use error::{Error, Flaw, Problem};
pub use hold::{Held, HeldWriter};
pub(crate) use name::{Mark, mark};
pub use scan::{
    Assembled, ScanEnd, ScanEntry, ScanError, ScanKind, Visitor, scan, scan_copy, verify_copy,
};
pub use sink::{ContentSink, SinkError};

use std::fmt;
use std::io::{BufReader, Read};

use archive::Archive;
use build::{Builder, Built};
use decompress::Uncompressed;
use hold::Holder;
use stack::Stack;
use stream::Stream;

use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::Tree;
use crate::verify::{Blob, LayerDescriptor, Verified};

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
    /// In the sink, which gave this for it.
    Sunk(C),
    /// Waiting to be classified.
    Held(Held),
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
    /// Whether a lower layer of the extension itself has what it deletes: then the base may have
    /// nothing there.
    pub deletes_own: bool,
}

impl Whiteout {
    /// One that deletes something of the base, as far as anybody knows.
    pub fn new(path: Vec<u8>, opaque: bool) -> Self {
        Self { path, opaque, deletes_own: false }
    }
}

/// A layer, or several merged, as a tree: every path they have, those that will be dropped included.
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

/// What the layers of an extension have used up of the limits, which are for all of them together.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    stored: u64,
    uncompressed: u64,
    entries: u64,
    /// Bytes of names, targets and extended attributes.
    names: u64,
}

/// Whether the layers of an extension are within the limits, by what their image says of them.
///
/// # Errors
/// They have more stored bytes together than one layer may have (exit code 9).
pub fn check_sizes<'l>(
    layers: impl IntoIterator<Item = &'l LayerDescriptor>,
    limits: &Limits,
) -> Result<(), Error> {
    let mut found = 0u64;
    for layer in layers {
        found = found.saturating_add(layer.descriptor.size);
        // One that is too large alone is refused where it is fetched.
        if found > limits.layer_size && found > layer.descriptor.size {
            let unit = "stored bytes of the extension's layers together";
            let maximum = limits.layer_size;
            let problem = Problem::Limit { limit: "layer-size", path: None, found, unit, maximum };
            return Err(problem.in_layer(layer.descriptor.digest));
        }
    }
    Ok(())
}

/// What stands for layers, one upon the other: the `ChainID` of the OCI image specification, which
/// of one layer is its `diff_id`. None for no layer.
pub fn chain_id<'l>(layers: impl IntoIterator<Item = &'l LayerDescriptor>) -> Option<Digest> {
    let diff_ids = layers.into_iter().map(|layer| layer.diff_id);
    diff_ids.reduce(|below, diff_id| Digest::of(format!("{below} {diff_id}").as_bytes()))
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
    let mut holder = Holder::new();
    let mut builder = Builder::new(options, sink, &mut holder, None);
    let mut passes = || -> Result<(), Problem> {
        read_whole(&mut builder, blob, options, Spent::default())?;
        if builder.is_incomplete() {
            read_part(blob, options, |archive| builder.fetch(archive))?;
        }
        Ok(())
    };
    passes().map_err(|problem| problem.in_layer(blob.layer.descriptor.digest))?;
    let Built { tree, whiteouts, implied, .. } = builder.finish();
    Ok(LayerTree { tree, whiteouts, implied: implied.into_values().collect() })
}

/// Reads the layers of an extension, the lowest first, merged as the OCI image specification has
/// it: what the extension of one layer is that the same build makes without a cut.
///
/// The limits hold for all of them together. Of several layers the sink gets contents only when
/// all were read: those that stay, in the order of the paths.
///
/// # Errors
/// As for [`read`].
pub fn read_all<S: ContentSink>(
    blobs: &[Verified<Blob>],
    options: &LayerOptions<'_>,
    sink: &mut S,
) -> Result<LayerTree<S::Content>, Error> {
    if let [blob] = blobs {
        return read(blob, options, sink);
    }
    let waits = |path: &[u8]| match (options.fate)(path) {
        Fate::Keep => Fate::Hold,
        other => other,
    };
    let waiting = LayerOptions { fate: &waits, ..*options };
    let digests: Vec<_> = blobs.iter().map(|blob| blob.layer.descriptor.digest).collect();
    let (mut stack, mut holder, mut spent) = (Stack::new(), Holder::new(), Spent::default());
    for (index, (blob, digest)) in blobs.iter().zip(&digests).enumerate() {
        let mut builder = Builder::new(&waiting, sink, &mut holder, Some(stack.tree()));
        spent = read_whole(&mut builder, blob, &waiting, spent)
            .map_err(|problem| problem.in_layer(*digest))?;
        spent.stored = spent.stored.saturating_add(blob.layer.descriptor.size);
        let layer = builder.finish();
        stack.put(layer, index);
    }
    let wanted = stack.settle(&digests, options)?;
    for (index, wanted) in wanted {
        let Some((blob, digest)) = blobs.get(index).zip(digests.get(index)) else { continue };
        read_part(blob, options, |archive| stack.fetch(archive, wanted, &mut holder))
            .map_err(|problem| problem.in_layer(*digest))?;
    }
    stack.sink(&digests, options, sink)
}

/// Gives a builder all of a layer; what is used up of the limits then.
fn read_whole<S: ContentSink>(
    builder: &mut Builder<'_, '_, S>,
    blob: &Verified<Blob>,
    options: &LayerOptions<'_>,
    spent: Spent,
) -> Result<Spent, Problem> {
    let mut archive = open(blob, options, spent)?;
    let result = builder.read(&mut archive);
    let spent = archive.spent();
    let stream = archive.into_inner();
    match result {
        Ok(()) => stream.finish(blob)?,
        Err(problem) => return Err(stream.explain(blob, problem)),
    }
    Ok(spent)
}

/// Reads a layer again, as far as somebody wants.
fn read_part(
    blob: &Verified<Blob>,
    options: &LayerOptions<'_>,
    fetch: impl FnOnce(&mut Archive<'_, Stream>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut archive = open(blob, options, Spent::default())?;
    let result = fetch(&mut archive);
    let stream = archive.into_inner();
    match result {
        Ok(()) => stream.abandon(blob),
        Err(problem) => Err(stream.explain(blob, problem)),
    }
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
        let spent = Spent::default();
        let bytes = Uncompressed::new(stored, compression, options.limits, spent)?;
        let bytes = BufReader::with_capacity(BUFFER, bytes);
        Ok(Archive::new(bytes, options.limits, options.keep_ima, spent))
    };
    let mut holder = Holder::new();
    let mut builder = Builder::new(options, sink, &mut holder, None);
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
    Uncompressed::new(stored, compression, limits, Spent::default())
}

fn open<'a>(
    blob: &Verified<Blob>,
    options: &LayerOptions<'a>,
    spent: Spent,
) -> Result<Archive<'a, Stream>, Problem> {
    let stream = Stream::open(blob, options.limits, spent)?;
    Ok(Archive::new(stream, options.limits, options.keep_ima, spent))
}
