//! The end of the corridor: a staged image gets its name, whole or not at all.

use crate::error::{ExitCode, Fault};

/// Why an image cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a file of that name already (row 94).
    #[error("{path} exists already, expected a free name")]
    Exists {
        /// The path.
        path: std::path::PathBuf,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Exists { .. } => ExitCode::Io,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "publish.exists",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Exists { .. } => {
                "replace it with --force, or choose another place with -o".to_owned()
            }
        }
    }
}
