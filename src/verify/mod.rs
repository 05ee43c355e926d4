//! The only origin of trust: from bytes and a [`Policy`] to [`Verified`] values.
//!
//! Pure: no I/O and no clock. What has not been through here cannot reach the layers, because
//! their readers ask for a `Verified` value, and only this room can make one.

mod blob;
mod candidate;
mod document;
mod verified;

pub use blob::{Blob, BlobHasher, Origin};
pub use candidate::Candidate;
pub use document::{LayerDescriptor, Unverified, config, image_manifest, layers};
pub use verified::Verified;

use crate::error::{ExitCode, Fault};
use crate::oci::Digest;

/// Why something is not verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Some bytes do not have the digest that a verified document gives.
    #[error("{what}: found digest {found}, expected {expected}")]
    DigestMismatch {
        /// Which bytes.
        what: &'static str,
        /// The digest of the bytes.
        found: Digest,
        /// The digest in the document.
        expected: Digest,
    },
    /// Some bytes are not as many as a verified document says.
    #[error("{what} {digest}: found {found} bytes, expected {expected}")]
    SizeMismatch {
        /// Which bytes.
        what: &'static str,
        /// Their digest in the document.
        digest: Digest,
        /// How many there are, counted up to one past `expected`.
        found: u64,
        /// How many the document says.
        expected: u64,
    },
    /// Manifest and configuration do not agree on the number of layers.
    #[error(
        "the image configuration has {found} diff_ids, expected one for each of {expected} layers"
    )]
    LayerCount {
        /// diff_ids in the configuration.
        found: usize,
        /// Layers in the manifest.
        expected: usize,
    },
    /// A verified document cannot be read.
    #[error("{what} {digest}: {problem}")]
    Document {
        /// Which document.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// What was found, and what was expected.
        problem: String,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::LayerCount { .. } => {
                ExitCode::Integrity
            }
            Self::Document { .. } => ExitCode::Malformed,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "verify.digest-mismatch",
            Self::SizeMismatch { .. } => "verify.size-mismatch",
            Self::LayerCount { .. } => "verify.layer-count",
            Self::Document { .. } => "verify.document",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                "the registry, or something between here and there, changed the bytes: \
                 do not use them; try again, or another registry"
            }
            Self::LayerCount { .. } | Self::Document { .. } => {
                "ask the image's publisher to build it anew"
            }
        }
        .to_owned()
    }
}
