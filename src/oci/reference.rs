//! A reference: which image the user means, in the words of containers-transports(5).

use super::Digest;

/// Which image the user means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `docker://HOST/PATH[:TAG][@DIGEST]`, and what has no transport prefix.
    Registry {
        /// Host and path.
        repository: Repository,
        /// The tag, if one was given.
        tag: Option<String>,
        /// The digest, if one was given.
        digest: Option<Digest>,
    },
    /// `oci:PATH[:REF]`
    Layout {
        /// The directory.
        path: std::path::PathBuf,
        /// The value of `org.opencontainers.image.ref.name`.
        name: Option<String>,
    },
    /// `oci-archive:PATH[:REF]`
    Archive {
        /// The tar file.
        path: std::path::PathBuf,
        /// The value of `org.opencontainers.image.ref.name`.
        name: Option<String>,
    },
    /// `dir:PATH`
    Dir {
        /// The directory.
        path: std::path::PathBuf,
    },
}

/// A repository in a registry: `quay.io/travier/fedora-kinoite/sysexts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Host name or address, with the port where one is given.
    pub host: String,
    /// Path components, joined by `/`.
    pub path: String,
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}
