//! What can be wrong with a layer, one variant for each fact.

use std::fmt;
use std::io;

use super::SinkError;
use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::oci::Digest;

/// A layer that cannot be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer}: {problem}")]
pub struct Error {
    /// The digest of its stored bytes.
    pub layer: Digest,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The descriptor is not one of a layer that we read (row 41, archive rule 4).
    #[error("{problem}")]
    Descriptor {
        /// What was found, and what was expected.
        problem: String,
    },
    /// The stored bytes do not decompress (rows 42, 44).
    #[error("{format}: {found}, expected {expected}")]
    Compressed {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The archive breaks a rule.
    #[error("{}at byte {offset} of the archive: {flaw}", entry_prefix(path.as_deref()))]
    Archive {
        /// Where the header of the entry starts.
        offset: u64,
        /// The path of the entry, where one could be read.
        path: Option<Box<[u8]>>,
        /// The broken rule.
        flaw: Flaw,
    },
    /// More of something than is accepted.
    #[error(
        "{}found {found} {unit}, expected at most {maximum} (limit {limit})",
        entry_prefix(path.as_deref())
    )]
    Limit {
        /// The limit's name, for `--limit`.
        limit: &'static str,
        /// The path of the entry, if it is about one.
        path: Option<Box<[u8]>>,
        /// How much there is, or how much had been counted when reading stopped.
        found: u64,
        /// What is counted.
        unit: &'static str,
        /// How much is accepted.
        maximum: u64,
    },
    /// The stored bytes are not those that were verified: somebody changed the file since.
    #[error(
        "the file was changed while it was read: found digest {found}, expected the layer's own"
    )]
    Changed {
        /// The digest of what was read.
        found: Digest,
    },
    /// The file is shorter than what was verified.
    #[error("the file was cut while it was read: found {found} bytes, expected {expected}")]
    Cut {
        /// How many there are.
        found: u64,
        /// How many the descriptor says.
        expected: u64,
    },
    /// The uncompressed bytes do not have the digest that the image configuration says (row 40).
    #[error("found uncompressed digest {found}, expected the diff_id {expected}")]
    DiffId {
        /// The digest of the uncompressed bytes.
        found: Digest,
        /// The `diff_id`.
        expected: Digest,
    },
    /// The stored bytes cannot be read.
    #[error("cannot read its bytes: {0}")]
    Read(#[source] io::Error),
    /// Contents cannot be kept until they are classified.
    #[error("cannot keep contents in a temporary file: {0}")]
    Hold(#[source] io::Error),
    /// Contents cannot be stored.
    #[error("{}: {error}", Shown(path))]
    Sink {
        /// The file whose contents they are.
        path: Box<[u8]>,
        /// Why.
        #[source]
        error: SinkError,
    },
}

/// The rule of the archive format, or of ours, that an entry breaks.
///
/// Wherever two parsers give an archive two meanings, it is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Flaw {
    #[error("the archive ends inside {within}, expected {missing} bytes more")]
    Truncated { within: &'static str, missing: u64 },
    #[error("the archive ends without its end marker, expected two blocks of zeros")]
    NoEndMarker,
    #[error("found a lone block of zeros, expected two as the end marker")]
    LoneZeroBlock,
    #[error("found data after the end marker, expected nothing but zeros")]
    AfterEnd,
    #[error("found an extended header with no entry after it")]
    DanglingExtension,
    #[error("found header checksum {found}, expected {expected}")]
    Checksum { found: u64, expected: u64 },
    #[error("found magic \"{}\", expected ustar, GNU or none", Shown(.found))]
    Magic { found: [u8; 8] },
    #[error("found a name with a prefix over 130 bytes in a star header, where some read times")]
    StarPrefix,
    #[error("found \"{}\" as {field}, expected {expected}", Shown(found))]
    Number { field: &'static str, found: Box<[u8]>, expected: &'static str },
    #[error("found type flag \"{}\", expected one of 0 1 2 3 4 5 6 x g L K", Shown(&[*.found]))]
    Type { found: u8 },
    #[error("found a sparse file ({dialect}), expected all contents to be in the archive")]
    Sparse { dialect: &'static str },
    #[error("found a {kind} with {size} bytes of contents, expected none")]
    Contents { kind: &'static str, size: u64 },
    #[error("found a malformed extended header record \"{}\", expected LENGTH KEY=VALUE", Shown(.found))]
    PaxRecord { found: Box<[u8]> },
    #[error("found two extended header records {}, expected one", Shown(.key))]
    PaxDuplicate { key: Box<[u8]> },
    #[error("found an empty extended header record {}, expected a value", Shown(.key))]
    PaxEmpty { key: Box<[u8]> },
    #[error("found {} in a global extended header, expected it with each entry", Shown(.key))]
    PaxGlobal { key: Box<[u8]> },
    #[error(
        "found size {pax} in the extended header and {header} in the header, expected them to agree"
    )]
    PaxSize { pax: u64, header: u64 },
    #[error("found two {what} for one entry, expected one")]
    TwoExtensions { what: &'static str },
    #[error("found a GNU long name and a PAX header for one entry, expected one of them")]
    MixedExtensions,
    #[error("found no {what}, expected one")]
    EmptyName { what: &'static str },
    #[error("found a NUL byte in the {what}")]
    NulInName { what: &'static str },
    #[error("found \"..\" in the {what} \"{}\", expected it to stay inside", Shown(.name))]
    DotDot { what: &'static str, name: Box<[u8]> },
    #[error("found the absolute {what} \"{}\", expected a relative one", Shown(.name))]
    Absolute { what: &'static str, name: Box<[u8]> },
    #[error("found a {kind} that names the root directory, expected a directory")]
    NotRoot { kind: &'static str },
    #[error("found a slash at the end of the name of a {kind}, expected it only for directories")]
    TrailingSlash { kind: &'static str },
    #[error("found a whiteout of \"{}\", expected a file name after .wh.", Shown(.name))]
    Whiteout { name: Box<[u8]> },
    #[error("found \"{}\" as a directory, expected .wh. only in front of a last name", Shown(.name))]
    WhiteoutDirectory { name: Box<[u8]> },
    #[error("its parent \"{}\" is a {kind}, expected a directory", Shown(.parent))]
    Parent { parent: Box<[u8]>, kind: &'static str },
    #[error("found a second entry of that name, a {second} after a {first}, expected one entry")]
    Duplicate { first: &'static str, second: &'static str },
    #[error(
        "found a hard link to \"{}\", expected the path of an earlier file of this layer \
         (links into the base cannot be in an extension)", Shown(.target)
    )]
    LinkMissing { target: Box<[u8]> },
    #[error("found a hard link to itself, expected the path of an earlier file")]
    LinkSelf,
    #[error("found a hard link to the directory \"{}\", expected a file", Shown(.target))]
    LinkDirectory { target: Box<[u8]> },
    #[error("found a {kind}, expected a file, directory or link")]
    Special { kind: &'static str },
    #[error("found a character device 0:0, which hides a path of the host in an overlay")]
    OverlayWhiteout,
    #[error("found extended attribute {}, expected only user.* and security.*", Shown(.name))]
    Xattr { name: Box<[u8]> },
    #[error("found the extended attribute name \"{}\", expected 1 to 255 bytes", Shown(.name))]
    XattrName { name: Box<[u8]> },
}

impl Flaw {
    /// Whether it is about the names of one entry alone, so that a reader who does not need
    /// that entry may pass over it.
    pub(super) fn is_about_names(&self) -> bool {
        matches!(
            self,
            Self::EmptyName { .. }
                | Self::NulInName { .. }
                | Self::DotDot { .. }
                | Self::Absolute { .. }
                | Self::NotRoot { .. }
                | Self::TrailingSlash { .. }
                | Self::Whiteout { .. }
                | Self::WhiteoutDirectory { .. }
        )
    }
}

impl Problem {
    /// The problem that an I/O error of the pipeline carries; others are of the stored file.
    pub(super) fn from_io(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Read)
    }

    /// Why contents that were held did not get into the sink.
    pub(super) fn of_held(error: SinkError, path: &[u8]) -> Self {
        match error {
            SinkError::Read(error) => Self::Hold(error),
            error @ SinkError::Write(_) => Self::Sink { path: path.into(), error },
        }
    }

    pub(super) fn in_layer(self, layer: Digest) -> Error {
        Error { layer, problem: self }
    }
}

impl From<Problem> for io::Error {
    fn from(problem: Problem) -> Self {
        Self::other(problem)
    }
}

impl Fault for Problem {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Descriptor { .. } | Self::Compressed { .. } | Self::Archive { .. } => {
                ExitCode::Malformed
            }
            Self::Limit { .. } => ExitCode::Limit,
            Self::Changed { .. } | Self::Cut { .. } | Self::DiffId { .. } => ExitCode::Integrity,
            Self::Read(_) | Self::Hold(_) | Self::Sink { .. } => ExitCode::Io,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Descriptor { .. } => "layer.descriptor",
            Self::Compressed { .. } => "layer.compression",
            Self::Archive { .. } => "layer.archive",
            Self::Limit { .. } => "layer.limit",
            Self::Changed { .. } => "layer.changed",
            Self::Cut { .. } => "layer.cut",
            Self::DiffId { .. } => "layer.diff-id",
            Self::Read(_) => "layer.read",
            Self::Hold(_) => "layer.hold",
            Self::Sink { .. } => "layer.sink",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Descriptor { .. } | Self::Compressed { .. } | Self::Archive { .. } => {
                "ask the image's publisher to build it anew".to_owned()
            }
            Self::Limit { limit, .. } => {
                format!("if you trust the image that far, allow more with --limit {limit}=N")
            }
            Self::Changed { .. } | Self::Cut { .. } => {
                "make sure that nothing writes to the image while it is read, and try again"
                    .to_owned()
            }
            Self::DiffId { .. } => "the image's own documents contradict each other: \
                                    ask its publisher to build it anew"
                .to_owned(),
            Self::Read(_) => "check the disk that the image is on, and try again".to_owned(),
            Self::Hold(_) => "make room in $TMPDIR (else /var/tmp), or set TMPDIR".to_owned(),
            Self::Sink { .. } => "make room, or choose another place with -o".to_owned(),
        }
    }
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        self.problem.exit_code()
    }

    fn id(&self) -> &'static str {
        self.problem.id()
    }

    fn advice(&self) -> String {
        self.problem.advice()
    }
}

fn entry_prefix(path: Option<&[u8]>) -> String {
    path.map_or_else(String::new, |path| format!("\"{}\": ", Shown(path)))
}

/// A name as a message shows it: escaped, and cut where it is so long that nobody would read it.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_at_checked(255) {
            Some((start, rest)) if !rest.is_empty() => write!(f, "{}...", Escaped(start)),
            _ => fmt::Display::fmt(&Escaped(self.0), f),
        }
    }
}
