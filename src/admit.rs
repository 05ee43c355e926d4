//! Admission: on whose word an image may be converted.
//!
//! The door between [`crate::oci`] and the corridor: [`crate::trust`] says whose word counts,
//! the source what is offered, and [`crate::verify`] decides. A conversion and `oci2sysext verify`
//! go through the same [`Examination`]. [`binding`] is about what a signature does not say: the
//! tag and the time.

pub mod binding;
mod error;

pub use binding::{Bound, Precautions};
pub use error::Error;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::error::{Fault, Result};
use crate::oci::{self, ImageManifest, Reference, Resolved, Source};
use crate::report;
use crate::request::{Trust, Wanted};
use crate::trust::{self, Decision, TrustSources};
use crate::verify::{self, Candidate, Claim, Policy, Signed, Unverified, Verified};

/// Whose word counts, and where that is said; none if nobody is asked.
pub fn trusted(wanted: &Wanted) -> Result<Option<Decision>> {
    match &wanted.trust {
        Trust::Nobody => Ok(None),
        Trust::Signature(words) => {
            let sources = TrustSources::default();
            let decision = trust::decide(&sources, words, &wanted.reference)?;
            if words.identity != verify::SignedIdentity::Asked && !decision.index {
                tracing::warn!(
                    "--signed-identity does not count: {} says which name must be signed",
                    decision.origin
                );
            }
            Ok(Some(decision))
        }
    }
}

/// Opens the place that the image is fetched from: its own, or a mirror.
pub fn open(wanted: &Wanted) -> Result<Source> {
    let sources = TrustSources::default();
    let conf = wanted.registries_conf.as_deref();
    let mut options = wanted.source.clone();
    options.places = trust::places(&sources, conf, &wanted.reference)?;
    Ok(Source::open(&wanted.reference, &options)?)
}

/// What is offered as signatures of an image, collected once, and whose word counts.
#[derive(Debug)]
pub struct Examination<'r> {
    wanted: &'r Wanted,
    resolved: &'r Resolved,
    decision: Option<Decision>,
    claim: Claim,
    candidates: Vec<Candidate>,
}

/// An image that may be converted.
#[derive(Debug)]
pub struct Admitted {
    /// Its manifest.
    pub manifest: Verified<ImageManifest>,
    /// On whose word.
    pub signature: report::Signature,
    digest: oci::Digest,
    /// What somebody has signed: the index or the manifest; none if nobody was asked.
    pub signed: Option<oci::Digest>,
    /// The names that were signed.
    names: Vec<String>,
    /// What else was signed, by each requirement's signature.
    annotations: Vec<BTreeMap<String, Value>>,
    /// When it was signed, as somebody says whom the policy trusts with it.
    signed_at: Option<Timestamp>,
}

impl Admitted {
    /// The digest of the manifest.
    pub fn manifest_digest(&self) -> oci::Digest {
        self.digest
    }
}

impl<'r> Examination<'r> {
    /// Collects what `source` offers.
    pub fn new(
        wanted: &'r Wanted,
        decision: Option<Decision>,
        source: &mut Source,
        resolved: &'r Resolved,
    ) -> Result<Self> {
        let wants_index = decision.as_ref().is_some_and(|decision| decision.index);
        let claim = Claim {
            index: resolved.index.as_ref().filter(|_| wants_index).map(|index| index.digest),
            instance: resolved.manifest.digest,
            repository: match &wanted.reference {
                Reference::Registry { repository, .. } => Some(repository.clone()),
                _ => None,
            },
        };
        let candidates = match &decision {
            Some(decision) if decision.attachments => candidates(source, &claim)?,
            _ => Vec::new(),
        };
        Ok(Self { wanted, resolved, decision, claim, candidates })
    }

    /// Each signature, and what each requirement says of it.
    pub fn findings(&self) -> Vec<report::Finding> {
        let policies: Vec<_> = self.decision.iter().flat_map(Decision::requirements).collect();
        let each = |candidate| policies.iter().map(move |policy| (candidate, *policy));
        let found = self.candidates.iter().flat_map(each).enumerate();
        found
            .map(|(index, (candidate, policy))| {
                let requirement = index.checked_rem(policies.len()).unwrap_or_default() + 1;
                let verdict = verify::image(&self.claim, std::slice::from_ref(candidate), policy);
                report::Finding::new(requirement, candidate, &verdict)
            })
            .collect()
    }

    /// Admits the image if every requirement is satisfied (row 15), all by the same digest.
    pub fn admit(self) -> Result<Admitted> {
        let Some(decision) = &self.decision else {
            tracing::warn!("the signature is not checked: nobody vouches for this image");
            let unverified = Unverified::skip_signature(self.resolved.manifest.digest);
            let manifest = unverified.image_manifest(&self.resolved.manifest.bytes)?;
            return Ok(Admitted {
                manifest,
                digest: self.resolved.manifest.digest,
                signature: report::Signature::Skipped,
                signed: None,
                names: Vec::new(),
                annotations: Vec::new(),
                signed_at: None,
            });
        };
        if !decision.attachments {
            let reference = self.wanted.reference.to_string();
            return Err(Error::NotLookedAt { reference, origin: decision.origin.clone() }.into());
        }
        let mut accepted = Vec::new();
        for policy in decision.requirements() {
            accepted.push(self.satisfied(policy, accepted.is_empty())?);
        }
        let mut all = accepted.iter();
        let Some(first) = all.next() else { return Err(Error::NoRequirement.into()) };
        // Several requirements are a policy's, which wants the image itself signed (P5): all of
        // them are about the same digest.
        if let Some(other) = all.find(|other| *other.digest != *first.digest) {
            let digests = [*first.digest, *other.digest];
            return Err(Error::DifferentDigests { digests }.into());
        }
        let manifest = match (first.signed, &self.resolved.index, &self.resolved.entry) {
            (Signed::Index, Some(index), Some(entry)) => {
                let instance = verify::select(&first.digest, &index.bytes, entry)?;
                verify::image_manifest(&instance, &self.resolved.manifest.bytes)?
            }
            _ => verify::image_manifest(&first.digest, &self.resolved.manifest.bytes)?,
        };
        Ok(Admitted {
            manifest,
            digest: self.resolved.manifest.digest,
            signature: report::Signature::verified(&accepted, &decision.origin),
            signed: Some(*first.digest),
            names: accepted.iter().map(|accepted| accepted.signed_reference.clone()).collect(),
            // One that has no time, or an old one, is not made younger by another.
            signed_at: accepted
                .iter()
                .map(|accepted| accepted.time)
                .collect::<Option<Vec<_>>>()
                .and_then(|times| times.into_iter().min()),
            annotations: accepted.into_iter().map(|accepted| accepted.annotations).collect(),
        })
    }

    fn satisfied(&self, policy: &Policy, warn: bool) -> Result<verify::Accepted> {
        let accepted = verify::image(&self.claim, &self.candidates, policy)?;
        for warning in accepted.warnings().iter().filter(|_| warn) {
            tracing::warn!("{warning}");
        }
        Ok(accepted)
    }
}

/// What is offered as signatures of the image or of its index. A place that does not answer
/// hides no good signature in the other, and is not taken for one without signatures (L1).
fn candidates(source: &mut Source, claim: &Claim) -> Result<Vec<Candidate>, oci::Error> {
    let mut candidates = Vec::new();
    let mut failed = None;
    for digest in std::iter::once(claim.instance).chain(claim.index) {
        match source.signatures(&digest) {
            Ok(found) => candidates.extend(found),
            Err(error) => failed = Some((digest, error)),
        }
    }
    match failed {
        Some((_, error)) if candidates.is_empty() => return Err(error),
        Some((digest, error)) => candidates.push(Candidate::Unusable {
            origin: format!("signatures of {digest}"),
            problem: error.to_string(),
            exit_code: error.exit_code(),
        }),
        None => {}
    }
    Ok(candidates)
}
