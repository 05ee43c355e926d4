//! The label of a path, as libselinux would give it, from the text of a policy's file contexts.
//!
//! No SELinux is needed on this host, and none is asked (R33).

use crate::error::{ExitCode, Fault};

/// The texts of a policy that say how files are labelled (R30).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// `SELINUXTYPE` of `etc/selinux/config`, such as `targeted`.
    pub policy_type: String,
    /// `file_contexts`
    pub file_contexts: Vec<u8>,
    /// `file_contexts.homedirs`
    pub homedirs: Option<Vec<u8>>,
    /// `file_contexts.local`
    pub local: Option<Vec<u8>>,
    /// `file_contexts.subs`
    pub subs: Option<Vec<u8>>,
    /// `file_contexts.subs_dist`
    pub subs_dist: Option<Vec<u8>>,
}

/// What is wrong with a policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line of a policy file is not understood (row 70).
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file's name.
        file: &'static str,
        /// The line's number, from 1.
        line: usize,
        /// What was found, and what was expected.
        problem: String,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Line { .. } => ExitCode::Malformed,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Line { .. } => "selinux.line",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Line { .. } => "ask the base image's publisher to repair its policy, \
                 or label with another: --selinux host|DIR|none"
                .to_owned(),
        }
    }
}
