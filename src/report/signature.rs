//! What signatures came to: on whose word an image was converted, and what was found of the others.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Source, Warning};
use crate::error::Fault;
use crate::escape::Escaped;
use crate::oci::Digest;
use crate::trust::TrustOrigin;
use crate::verify::{self, Accepted, Candidate, Certified, Comparison, Signatory, Signed};

/// On whose word an image was converted.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Signature {
    /// Somebody who is trusted has signed it.
    Verified {
        /// Who has signed it.
        #[serde(flatten)]
        signer: Box<Signer>,
        /// Where the key is from.
        trust: String,
        /// What was signed: the manifest or the index.
        signed: &'static str,
        /// The name that was signed.
        identity: String,
        /// Whether that name was compared with the one asked for.
        identity_compared: bool,
        /// Who else has signed it, where a policy demands several.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        also_signed_by: Vec<Signer>,
    },
    /// Nobody was asked (`--insecure-skip-signature`).
    Skipped,
}

/// Who has signed an image: the holder of a key or of a certificate.
#[derive(Debug, Serialize)]
pub struct Signer {
    /// The key's name: its file, or where else it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The sha256 of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whose certificate it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

impl Signer {
    fn of(accepted: &Accepted) -> Self {
        let key = accepted.key();
        Self {
            key: key.map(|key| key.name.clone()),
            fingerprint: key.map(|key| key.key.fingerprint().to_string()),
            certificate: match &accepted.signatory {
                Signatory::Key(_) => None,
                Signatory::Certificate(certified) => Some(Certificate::of(certified)),
            },
        }
    }

    /// Who it is, in few words.
    pub fn name(&self) -> &str {
        let holder = self.certificate.as_ref().map(|certificate| &certificate.subject);
        self.key.as_ref().or(holder).map_or("", String::as_str)
    }
}

/// Whose certificate a signature is by.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// The holder: an e-mail address, a URI or a user name.
    pub subject: String,
    /// Who vouched for the holder.
    pub issuer: String,
    /// When it was signed, RFC 3339, if that is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Certificate {
    /// The certificate of an accepted signature.
    pub fn of(certified: &Certified) -> Self {
        Self {
            subject: Escaped(certified.subject.as_bytes()).to_string(),
            issuer: Escaped(certified.issuer.as_bytes()).to_string(),
            time: certified.time.map(|time| time.to_string()),
        }
    }
}

impl Signature {
    /// Accepted signatures, one for each requirement of `trust`.
    pub fn verified(accepted: &[Accepted], trust: &TrustOrigin) -> Self {
        let Some((first, others)) = accepted.split_first() else { return Self::Skipped };
        Self::Verified {
            signer: Box::new(Signer::of(first)),
            trust: trust.to_string(),
            signed: signed_part(first.signed),
            identity: Escaped(first.signed_reference.as_bytes()).to_string(),
            identity_compared: accepted.iter().all(|one| one.identity == Comparison::Equal),
            also_signed_by: others.iter().map(Signer::of).collect(),
        }
    }
}

fn signed_part(signed: Signed) -> &'static str {
    match signed {
        Signed::Index => "index",
        Signed::Instance => "manifest",
    }
}

/// A signature that was found, and what a requirement says of it.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Where it was found.
    pub origin: String,
    /// Which of the policy's requirements, the first being 1.
    pub requirement: usize,
    /// Whether it satisfies the requirement.
    pub accepted: bool,
    /// Who has signed, if it is accepted.
    #[serde(flatten)]
    pub signer: Option<Signer>,
    /// What was signed: the manifest or the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<&'static str>,
    /// The name that was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What else was signed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, serde_json::Value>,
    /// Why it is not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The exit code that it would give alone.
    pub exit_code: u8,
}

impl Finding {
    /// What a requirement says of a candidate.
    pub fn new(
        requirement: usize,
        candidate: &Candidate,
        verdict: &Result<Accepted, verify::Error>,
    ) -> Self {
        let mut finding = Self {
            origin: Escaped(candidate.origin().as_bytes()).to_string(),
            requirement,
            accepted: verdict.is_ok(),
            signer: None,
            signed: None,
            identity: None,
            annotations: BTreeMap::new(),
            reason: None,
            exit_code: 0,
        };
        match verdict {
            Ok(accepted) => {
                finding.signer = Some(Signer::of(accepted));
                finding.signed = Some(signed_part(accepted.signed));
                let identity = Escaped(accepted.signed_reference.as_bytes()).to_string();
                finding.identity = Some(identity);
                finding.annotations.clone_from(&accepted.annotations);
            }
            Err(error) => {
                finding.exit_code = error.exit_code().number();
                finding.reason = Some(match error {
                    verify::Error::NoSignatureAccepted { rejections, .. } => {
                        let reasons = rejections.iter().map(|one| one.reason.to_string());
                        reasons.collect::<Vec<_>>().join("; ")
                    }
                    other => other.to_string(),
                });
            }
        }
        finding
    }
}

/// The signatures of an image, as `oci2sysext verify --json` prints them.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// The program and its version.
    pub tool: &'static str,
    /// Whether the image is accepted.
    pub accepted: bool,
    /// The image that was asked for, as far as it was found.
    pub source: Option<Source>,
    /// What is signed, by which later steps may name the image.
    pub digest: Option<Digest>,
    /// The image by that digest.
    pub pinned: Option<String>,
    /// On whose word.
    pub signature: Option<Signature>,
    /// Every signature that was found, by each requirement.
    pub signatures: Vec<Finding>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// Why it is not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<serde_json::Value>,
}
