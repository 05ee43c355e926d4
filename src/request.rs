//! What the user means: the command line's words, checked against each other, with the defaults
//! filled in.

use crate::error::{ExitCode, Fault};

/// A command line that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    /// What was found, and what was expected.
    pub problem: String,
    /// What to do.
    pub advice: String,
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn id(&self) -> &'static str {
        "usage"
    }

    fn advice(&self) -> String {
        self.advice.clone()
    }
}
