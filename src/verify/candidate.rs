//! A candidate: something a source offers as a signature of an image, not believed yet.

use std::collections::BTreeMap;

use crate::error::ExitCode;

/// What a source offers as a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A simple-signing payload with its annotations (cosign's tag scheme, L2, L3).
    Payload {
        /// Where it was found, for messages.
        origin: String,
        /// The signed bytes; their size and digest are what their descriptor says.
        payload: Vec<u8>,
        /// The annotations of its descriptor, the signature among them.
        annotations: BTreeMap<String, String>,
    },
    /// A sigstore bundle (cosign's newer format, B2).
    Bundle {
        /// Where it was found, for messages.
        origin: String,
        /// The JSON text; its size and digest are what its descriptor says.
        bundle: Vec<u8>,
    },
    /// Something that cannot be considered; it never hides a good candidate (bad-inputs rows 7, 13).
    Unusable {
        /// Where it was found, for messages.
        origin: String,
        /// What was found, and what was expected.
        problem: String,
        /// What the run ends with if no candidate is accepted.
        exit_code: ExitCode,
    },
}

impl Candidate {
    /// Where it was found, for messages.
    pub fn origin(&self) -> &str {
        match self {
            Self::Payload { origin, .. }
            | Self::Bundle { origin, .. }
            | Self::Unusable { origin, .. } => origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_says_where_it_was_found() {
        let origin = || "here".to_owned();
        for candidate in [
            Candidate::Payload {
                origin: origin(),
                payload: Vec::new(),
                annotations: BTreeMap::new(),
            },
            Candidate::Bundle { origin: origin(), bundle: Vec::new() },
            Candidate::Unusable {
                origin: origin(),
                problem: String::new(),
                exit_code: ExitCode::Limit,
            },
        ] {
            assert_eq!(candidate.origin(), "here");
        }
    }
}
