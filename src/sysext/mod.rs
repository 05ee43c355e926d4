//! From a layer's tree to a system extension's: an ordered list of small transforms.

use crate::error::{ExitCode, Fault};
use crate::tree::Tree;

/// The tree of a system extension: cleaned, with its release file, labelled.
#[derive(Debug)]
pub struct Sysext<C> {
    tree: Tree<C>,
    name: String,
}

impl<C> Sysext<C> {
    /// The tree.
    pub fn tree(&self) -> &Tree<C> {
        &self.tree
    }

    /// The extension's name: that of its release file, and of its image without the suffix.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Why a layer cannot become a system extension.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is left below `usr` (row 64).
    #[error("the layer has no usr: found {found}, expected files below usr/")]
    NoUsr {
        /// What the layer has at its top level.
        found: String,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoUsr { .. } => ExitCode::Malformed,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NoUsr { .. } => "sysext.no-usr",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoUsr { .. } => "a system extension can only add to /usr: \
                                   check that the right layer was taken (--layers)"
                .to_owned(),
        }
    }
}
