//! Where images come from: references, registries, layouts, archives. The only room with sockets.
//!
//! Everything it gives is untrusted, and bounded.

mod attached;
mod descriptor;
mod digest;
mod manifest;
mod platform;
mod raw;
mod reference;
mod registry;

pub use attached::candidates;
pub use descriptor::{Descriptor, MediaType};
pub use digest::{Digest, InvalidDigest};
pub use manifest::{ImageConfig, ImageIndex, ImageManifest};
pub use platform::Platform;
pub use raw::RawManifest;
pub use reference::{Reference, Repository};
pub use registry::{Error as RegistryError, ManifestName, Registry, RegistryOptions, RetryPolicy};

use crate::error::{ExitCode, Fault};

/// What can go wrong with references, registries and documents.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A document is not what the OCI specifications allow.
    #[error("{document}: {problem}")]
    Document {
        /// Which document, with its digest where there is one.
        document: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Document { .. } => ExitCode::Malformed,
            Self::Registry(e) => e.exit_code(),
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Document { .. } => "oci.document",
            Self::Registry(e) => e.id(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Document { .. } => "ask the image's publisher to build it anew".to_owned(),
            Self::Registry(e) => e.advice(),
        }
    }
}
