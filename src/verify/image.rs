//! The one maker of a verified image digest: from candidates and a policy.
//!
//! Any candidate will do, but all conditions hold for that same one (L8).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Candidate, Certified, Error, NamedKey, Policy, Reason, Rejection, Verified, envelope,
    simple_signing,
};
use crate::error::ExitCode;
use crate::oci::{Digest, Repository};

/// What a signature may cover, and under which name it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The index that the instance was chosen from, if there is one (D0 of P5).
    pub index: Option<Digest>,
    /// The image's manifest (D1 of P5).
    pub instance: Digest,
    /// The repository asked for; none for a transport that has no names.
    pub repository: Option<Repository>,
}

/// Which of the two a signature covers (P5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The index: [`super::select`] takes the instance from its bytes.
    Index,
    /// The image's manifest itself: nobody vouches for the index's choice of platform.
    Instance,
}

/// What the comparison of the signed name came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is the repository that it must be.
    Equal,
    /// The user accepts any name.
    NotWanted,
    /// The image was not asked for by a name.
    Nameless,
    /// The signature names none: bundles bind an image by its digest alone.
    Unnamed,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatory {
    /// The holder of a key.
    Key(NamedKey),
    /// The holder of a certificate.
    Certificate(Certified),
}

/// What an acceptable signature says, and who says it.
#[derive(Debug)]
pub(super) struct Vouched {
    pub signatory: Signatory,
    pub digest: Digest,
    pub signed: Signed,
    pub reference: String,
    pub identity: Comparison,
    pub annotations: BTreeMap<String, Value>,
    pub time: Option<Timestamp>,
}

/// An accepted signature.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The signed digest.
    pub digest: Verified<Digest>,
    /// What has this digest.
    pub signed: Signed,
    /// Whose signature it is.
    pub signatory: Signatory,
    /// Where the signature was found.
    pub origin: String,
    /// The name that was signed, as it is in the payload: print it escaped. Empty if the signature
    /// names none.
    pub signed_reference: String,
    /// What the comparison of this name came to.
    pub identity: Comparison,
    /// What else the publisher signed (`optional`).
    pub annotations: BTreeMap<String, Value>,
    /// When it was made, if a log or a timestamp authority that is believed says so.
    pub time: Option<Timestamp>,
    /// Whether it says which extension the image is.
    pub is_named: bool,
    /// The candidates that are not acceptable (row 14).
    pub rejected: Vec<Rejection>,
}

impl Accepted {
    /// What the user should know: of the other candidates (row 14), a line for each, and that a
    /// name was not signed.
    pub fn warnings(&self) -> Vec<String> {
        let unnamed = (self.identity == Comparison::Unnamed).then(|| {
            "the name is not signed: the signature is of this image's digest, whatever repository \
             it is in"
                .to_owned()
        });
        let ignored = self
            .rejected
            .iter()
            .map(|rejection| format!("a signature was ignored, another is good: {rejection}"));
        ignored.chain(unnamed).collect()
    }

    /// When it was made, if nobody can have it look younger: whoever has a signature by key can log
    /// it again, or have it stamped, and so with certificates that are valid for long.
    pub fn fixed_time(&self) -> Option<Timestamp> {
        let is_brief = matches!(&self.signatory, Signatory::Certificate(it) if it.is_brief);
        self.time.filter(|_| is_brief)
    }

    /// The key that made the signature, if one did.
    pub fn key(&self) -> Option<&NamedKey> {
        match &self.signatory {
            Signatory::Key(key) => Some(key),
            Signatory::Certificate(_) => None,
        }
    }
}

impl Claim {
    /// Which part of the claim a digest is, if any. A manifest asked for by itself is the instance.
    pub(super) fn signed(&self, digest: Digest) -> Option<Signed> {
        if self.index == Some(digest) {
            Some(Signed::Index)
        } else if self.instance == digest {
            Some(Signed::Instance)
        } else {
            None
        }
    }
}

/// Finds a candidate that is a signature of the image by the policy's keys for its name.
///
/// All candidates are looked at, so that the bad ones can be reported beside a good one. Of several
/// good ones, one that says which extension the image is comes before those that do not.
///
/// # Errors
///
/// [`Error::Unsigned`] if there are no candidates, [`Error::NoSignatureAccepted`] if none is good.
pub fn image(claim: &Claim, candidates: &[Candidate], policy: &Policy) -> Result<Accepted, Error> {
    if candidates.is_empty() {
        return Err(Error::Unsigned { image: claim.instance });
    }
    let demands = policy.demands();
    let mut accepted = Vec::new();
    let mut rejected = Vec::new();
    for candidate in candidates {
        let (origin, result) = match candidate {
            Candidate::Payload { origin, payload, annotations } => {
                (origin, simple_signing::check(payload, annotations, claim, policy))
            }
            Candidate::Bundle { origin, bundle } => {
                (origin, envelope::check(bundle, claim, policy))
            }
            Candidate::Unusable { origin, problem, exit_code } => {
                let (problem, exit_code) = (problem.clone(), *exit_code);
                (origin, Err(Reason::Unusable { problem, exit_code }))
            }
        };
        match result.and_then(|vouched| demands.check(&vouched).map(|()| vouched)) {
            Ok(vouched) => accepted.push((origin, demands.is_named(&vouched), vouched)),
            Err(reason) => rejected.push(Rejection { origin: origin.clone(), reason }),
        }
    }
    accepted.sort_by_key(|(_, is_named, _)| !is_named);
    let Some((origin, is_named, vouched)) = accepted.into_iter().next() else {
        return Err(Error::NoSignatureAccepted { image: claim.instance, rejections: rejected });
    };
    Ok(Accepted {
        digest: Verified::assertion(vouched.digest),
        signed: vouched.signed,
        signatory: vouched.signatory,
        origin: origin.clone(),
        signed_reference: vouched.reference,
        identity: vouched.identity,
        annotations: vouched.annotations,
        time: vouched.time,
        is_named,
        rejected,
    })
}

/// What a run ends with when all candidates fail: the most telling of the reasons
/// (top of bad-inputs.md). A source that could not be read is not "unsigned" (L1).
pub(super) fn exit_code(rejections: &[Rejection]) -> ExitCode {
    const ORDER: [ExitCode; 6] = [
        ExitCode::Identity,
        ExitCode::Network,
        ExitCode::Auth,
        ExitCode::Io,
        ExitCode::Limit,
        ExitCode::Integrity,
    ];
    ORDER
        .into_iter()
        .find(|code| rejections.iter().any(|rejection| rejection.reason.exit_code() == *code))
        .unwrap_or(ExitCode::Signature)
}
