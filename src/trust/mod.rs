//! Where trust comes from: keys on the command line, in directories, compiled in.
//!
//! Reads files and flags, and gives [`crate::verify`] a policy that cannot be empty.

use crate::error::{ExitCode, Fault};

/// Why there is no usable trust.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says whose signature to expect (row 93).
    #[error("no key is configured for {reference}, expected at least one")]
    NoTrust {
        /// The image that was asked for.
        reference: String,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoTrust { .. } => ExitCode::Trust,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NoTrust { .. } => "trust.none",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoTrust { .. } => "give the publisher's public key with --key FILE, or put it \
                                     into /etc/oci2sysext/keys/"
                .to_owned(),
        }
    }
}
