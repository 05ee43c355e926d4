//! From the stored bytes of a layer to a tree: decompression and tar parsing, budgeted.
//!
//! Contents of files that are kept go straight into a [`ContentSink`]; nothing is extracted.

mod archive;
mod decompress;
mod error;
mod header;
mod name;
mod number;
mod pax;
mod scan;
mod sink;
mod source;
mod stream;
mod zstd;

pub use decompress::Compression;
pub use error::{Error, Flaw, Problem};
pub use scan::{ScanEnd, ScanEntry, ScanError, ScanKind, scan};
pub use sink::{ContentSink, SinkError};

use std::io::{self, Read};
use std::sync::Arc;

use crate::tree::Tree;

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

/// Contents that wait to be classified.
#[derive(Debug)]
pub struct Held {
    bytes: Box<[u8]>,
}

impl Held {
    /// Contents in memory.
    pub fn new(bytes: Box<[u8]>) -> Self {
        Self { bytes }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Reads the contents from the start.
    pub fn reader(&self) -> io::Result<impl Read + '_> {
        Ok(&*self.bytes)
    }
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
    /// Directories that no entry describes: an entry below them made them.
    pub implied: Vec<Vec<u8>>,
}

/// Bytes that are read, decompressed or hashed at a time.
const BUFFER: usize = 256 << 10;
