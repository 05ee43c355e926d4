//! Where images come from: references, registries, layouts, archives. The only room with sockets.
//!
//! Everything it gives is untrusted, and bounded.

mod archive;
mod attached;
mod descriptor;
mod digest;
mod dir;
mod folder;
mod layout;
mod manifest;
pub(crate) mod name;
mod platform;
mod raw;
mod reference;
mod referrers;
mod registry;
mod remote;
mod resolve;
mod source;
mod spool;

pub use attached::candidates;
pub use descriptor::{Descriptor, LayerCompression, MediaType};
pub use digest::{Digest, InvalidDigest};
pub use layout::check_version;
pub use manifest::{ContainerConfig, Document, ImageConfig, ImageIndex, ImageManifest, RootFs};
pub use platform::Platform;
pub use raw::RawManifest;
pub use reference::{ImageName, Reference, Repository};
#[cfg(fuzzing)]
pub use registry::fuzz;
pub use registry::{
    Documents, Error as RegistryError, ManifestName, Registry, RegistryOptions, RetryPolicy,
    with_client,
};
pub use remote::Place;
pub use resolve::{Resolved, select};
pub use source::{Source, SourceOptions};
pub use spool::Spool;

use std::io;
use std::path::PathBuf;

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::verify;

/// What can go wrong with references, registries and documents.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user typed something that is no reference or platform (rows 33, 100).
    #[error("{problem}")]
    Usage {
        /// What was found, and what was expected.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// A document is not what the OCI specifications allow.
    #[error("{document}: {problem}")]
    Document {
        /// Which document, with its digest where there is one.
        document: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A layer is of a kind that cannot be used (row 41).
    #[error("layer {digest}: {problem}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// What was found, and what was expected.
        problem: String,
    },
    /// No image, or more than one, is for the platform that is wanted (row 35).
    #[error("found {found}, expected exactly one image for {wanted}")]
    NoPlatform {
        /// What is there.
        found: String,
        /// What is wanted.
        wanted: Box<Platform>,
    },
    /// The index says another platform than the image's own configuration (row 36).
    #[error("the image is for {found}, expected {expected} as its index says")]
    PlatformMismatch {
        /// What the configuration says.
        found: Box<Platform>,
        /// What the index says.
        expected: Box<Platform>,
    },
    /// Some bytes do not have the digest that was asked for.
    #[error("{what}: found digest {found}, expected {expected}")]
    DigestMismatch {
        /// Which bytes.
        what: &'static str,
        /// The digest of the bytes.
        found: Digest,
        /// The digest that was asked for.
        expected: Digest,
    },
    /// Some bytes are not as many as their descriptor says.
    #[error("{what} {digest}: found {found} bytes, expected {expected}")]
    SizeMismatch {
        /// Which bytes.
        what: &'static str,
        /// Their digest.
        digest: Digest,
        /// How many there are.
        found: u64,
        /// How many the descriptor says.
        expected: u64,
    },
    /// Something is larger than the limit for it.
    #[error("{what}: found {found}, expected at most {max}")]
    Limit {
        /// What is too large.
        what: String,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        max: u64,
        /// The name that `--limit` knows.
        limit: &'static str,
    },
    /// A local place has no such image (row 91).
    #[error("{place}: {problem}")]
    NoImage {
        /// The layout, archive or directory.
        place: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A local place lacks a part of the image that it has.
    #[error("{place}: found no {what} {digest}, expected all of the image")]
    Missing {
        /// The layout, archive or directory.
        place: String,
        /// Which part.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// A local place is no layout, archive or directory of the kind that was named, or hostile.
    #[error("{place}: {problem}")]
    Place {
        /// The layout, archive or directory.
        place: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A local file cannot be read or written.
    #[error("{}: {action}: {source}", Escaped(path.as_os_str().as_encoded_bytes()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk has less room than a layer needs (row 82).
    #[error(
        "{}: found {available} bytes of free space, expected {needed} for a layer",
        Escaped(path.as_os_str().as_encoded_bytes())
    )]
    NoSpace {
        /// The directory of the spool.
        path: PathBuf,
        /// Free bytes.
        available: u64,
        /// Bytes of the layer.
        needed: u64,
    },
    /// A layer's bytes are not what the verified manifest says.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// A registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage { .. } => ExitCode::Usage,
            Self::Document { .. }
            | Self::Layer { .. }
            | Self::NoPlatform { .. }
            | Self::Place { .. } => ExitCode::Malformed,
            Self::PlatformMismatch { .. } => ExitCode::Identity,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => ExitCode::Integrity,
            Self::Limit { .. } => ExitCode::Limit,
            Self::NoImage { .. }
            | Self::Missing { .. }
            | Self::Io { .. }
            | Self::NoSpace { .. } => ExitCode::Io,
            Self::Verify(error) => error.exit_code(),
            Self::Registry(error) => error.exit_code(),
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "oci.usage",
            Self::Document { .. } => "oci.document",
            Self::Layer { .. } => "oci.layer",
            Self::NoPlatform { .. } => "oci.no-platform",
            Self::PlatformMismatch { .. } => "oci.platform-mismatch",
            Self::DigestMismatch { .. } => "oci.digest-mismatch",
            Self::SizeMismatch { .. } => "oci.size-mismatch",
            Self::Limit { .. } => "oci.limit",
            Self::NoImage { .. } => "oci.no-image",
            Self::Missing { .. } => "oci.missing",
            Self::Place { .. } => "oci.place",
            Self::Io { .. } => "oci.io",
            Self::NoSpace { .. } => "oci.no-space",
            Self::Verify(error) => error.id(),
            Self::Registry(error) => error.id(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Usage { advice, .. } => return advice.clone(),
            Self::Limit { limit, .. } => {
                return format!("if you trust the image so far, allow more: --limit {limit}=N");
            }
            Self::Verify(error) => return error.advice(),
            Self::Registry(error) => return error.advice(),
            Self::Document { .. } => "ask the image's publisher to build it anew",
            Self::Layer { .. } => {
                "ask the image's publisher for layers that are plain tar, gzip or zstd and in the \
                 registry itself"
            }
            Self::NoPlatform { .. } => {
                "choose one of those that are there: --platform OS/ARCHITECTURE"
            }
            Self::PlatformMismatch { .. } => {
                "do not use it; ask the image's publisher to repair the index"
            }
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                "somebody, or a broken disk or network, changed the bytes: do not use them; \
                 copy the image anew, or from another place"
            }
            Self::NoImage { .. } => "name one of those that are there",
            Self::Missing { .. } | Self::Place { .. } => {
                "copy the image anew, e.g. with skopeo copy"
            }
            Self::Io { .. } => "look at the file, its permissions and the disk",
            Self::NoSpace { .. } => {
                "make room, or set TMPDIR to a directory on a larger file system"
            }
        }
        .to_owned()
    }
}
