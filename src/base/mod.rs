//! The base image, as far as an extension needs to know it: os-release, SELinux policy, and
//! the metadata of directories and links that both have.

use std::collections::BTreeMap;

use crate::error::{ExitCode, Fault};
use crate::selinux::PolicyFiles;
use crate::tree::Stat;

/// What an extension needs to know of its base.
#[derive(Debug)]
pub struct Base {
    /// The variables of os-release, unquoted; none where the base has no such file.
    pub os_release: Option<BTreeMap<String, String>>,
    /// The SELinux policy of all layers together, the extension's own included (R30).
    pub policy: Option<PolicyFiles>,
    /// Paths of the base, as far as the extension has them too.
    pub paths: BTreeMap<Vec<u8>, BasePath>,
}

/// One path of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePath {
    /// Its metadata.
    pub stat: Stat,
    /// Its type.
    pub kind: BaseKind,
}

/// The type of a path of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseKind {
    /// A directory.
    Directory,
    /// A symlink, with its target as written.
    Symlink(Vec<u8>),
    /// A regular file.
    Regular,
    /// A device, fifo or socket.
    Special,
}

/// What is wrong with a base.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base has no os-release, and nobody said which hosts the extension is for (row 96).
    #[error(
        "the base image has no os-release: found none in {layers} lower layers, expected etc/os-release or usr/lib/os-release"
    )]
    NoOsRelease {
        /// How many layers were read.
        layers: usize,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoOsRelease { .. } => ExitCode::Malformed,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NoOsRelease { .. } => "base.no-os-release",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoOsRelease { .. } => {
                "say which hosts it is for: --id ID --version-id VERSION, or --any-host".to_owned()
            }
        }
    }
}
