//! The label of a path, as libselinux would give it, from the text of a policy's file contexts.
//!
//! No SELinux is needed on this host, and none is asked (R33). Where releases of libselinux
//! differ, the newest (3.11) decides (R31).

mod engine;
#[cfg(feature = "libselinux")]
pub mod libselinux;
pub mod module;
mod parse;
mod pattern;
mod slow;
mod substitutions;

use crate::error::{ExitCode, Fault};

pub use engine::FileContexts;

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

impl PolicyFiles {
    /// The texts that give labels.
    pub fn specifications(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.file_contexts), self.homedirs.as_ref(), self.local.as_ref()]
            .into_iter()
            .flatten()
            .map(Vec::as_slice)
    }
}

/// What a policy says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// This security context, without a final NUL.
    Label(&'a [u8]),
    /// `<<none>>`: the path is deliberately left without a label.
    None,
    /// No specification matches.
    NoMatch,
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
    /// A policy has more of something than is accepted.
    #[error("{file}: found {found} {unit}, expected at most {limit}")]
    TooBig {
        /// The file's name.
        file: &'static str,
        /// How many there are, as far as they were counted.
        found: usize,
        /// Of what.
        unit: &'static str,
        /// How many are accepted.
        limit: usize,
    },
    /// Matching paths against the patterns costs more than is accepted.
    #[error(
        "file_contexts: found patterns that take too long to match, expected at most {limit} steps \
         or {bytes} bytes of states"
    )]
    TooSlow {
        /// Steps of PCRE2 and matching patterns that are accepted.
        limit: u64,
        /// Bytes of states that are accepted.
        bytes: usize,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Line { .. } => ExitCode::Malformed,
            Self::TooBig { .. } | Self::TooSlow { .. } => ExitCode::Limit,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Line { .. } => "selinux.line",
            Self::TooBig { .. } => "selinux.too-big",
            Self::TooSlow { .. } => "selinux.too-slow",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Line { .. } => "ask the base image's publisher to repair its policy, \
                 or label with another: --selinux host|DIR|none"
                .to_owned(),
            Self::TooBig { .. } | Self::TooSlow { .. } => {
                "no real policy is like this: label with another: --selinux host|DIR|none"
                    .to_owned()
            }
        }
    }
}
