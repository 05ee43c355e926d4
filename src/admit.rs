//! Admission: on whose word an image may be converted.
//!
//! The door between [`crate::oci`] and the corridor: [`crate::trust`] says whose word counts,
//! the source what is offered, and [`crate::verify`] decides. A conversion and `oci2sysext verify`
//! go through the same [`Examination`]. [`binding`] is about what a signature does not say: the
//! tag and the time.

pub mod binding;
mod error;

pub use binding::Bound;
pub use error::Error;

use binding::Precautions;
use jiff::Timestamp;

use crate::error::{Fault, Result};
use crate::oci::{self, ImageConfig, ImageManifest, Platform, Reference, Resolved, Source};
use crate::report;
use crate::request::{Trust, Wanted};
use crate::trust::{self, Decision, TrustSources};
use crate::verify::{
    self, Candidate, Claim, LayerDescriptor, Policy, Signed, Unverified, Verified,
};

/// An image that was found, and whose word would count.
#[derive(Debug)]
pub struct Found<'r> {
    wanted: &'r Wanted,
    /// None: nobody is asked.
    decision: Option<Decision>,
    precautions: Precautions<'r>,
    source: Source,
    resolved: Resolved,
}

/// What is offered as signatures of an image, collected once, and whose word counts.
#[derive(Debug)]
pub struct Examination<'r> {
    found: Found<'r>,
    claim: Claim,
    candidates: Vec<Candidate>,
}

/// An image that may be converted.
#[derive(Debug)]
pub struct Admitted<'r> {
    /// Where its layers come from.
    pub source: Source,
    /// What the reference stands for.
    pub resolved: Resolved,
    /// On whose word.
    pub signature: report::Signature,
    /// What somebody has signed: the index or the manifest; none if nobody was asked.
    pub signed: Option<oci::Digest>,
    /// The image's manifest.
    pub manifest: Verified<ImageManifest>,
    /// The image's configuration.
    pub config: Verified<ImageConfig>,
    /// What its layers must be, the lowest first.
    pub layers: Vec<Verified<LayerDescriptor>>,
    /// That it is the image that was meant.
    pub bound: Bound<'r>,
}

/// What the signatures came to.
#[derive(Debug)]
struct Verdict {
    manifest: Verified<ImageManifest>,
    signature: report::Signature,
    signed: Option<oci::Digest>,
    /// Whether a signature says which extension the image is.
    is_named: bool,
    /// When it was signed, as somebody says whom the policy trusts with it, and nobody can renew.
    signed_at: Option<Timestamp>,
}

impl<'r> Found<'r> {
    /// Reads what is configured, then asks for the image: its own place, or a mirror.
    pub fn find(wanted: &'r Wanted) -> Result<Self> {
        let decision = decide(wanted)?;
        let precautions = Precautions::new(wanted)?;
        let mut source = open(wanted, &wanted.reference, true)?;
        let resolved = source.resolve(&wanted.platform.clone().unwrap_or_else(Platform::host))?;
        Ok(Self { wanted, decision, precautions, source, resolved })
    }

    /// What the reference stands for.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Collects what is offered as signatures.
    pub fn examine(mut self) -> Result<Examination<'r>> {
        self.precautions.check_resolved(&self.resolved)?;
        let wants_index = self.decision.as_ref().is_some_and(|decision| decision.index);
        let index = self.resolved.index.as_ref().filter(|_| wants_index);
        let claim = Claim {
            index: index.map(|index| index.digest),
            instance: self.resolved.manifest.digest,
            repository: match &self.wanted.reference {
                Reference::Registry { repository, .. } => Some(repository.clone()),
                _ => None,
            },
        };
        let candidates = match &self.decision {
            Some(decision) if decision.attachments => candidates(&mut self.source, &claim)?,
            _ => Vec::new(),
        };
        Ok(Examination { found: self, claim, candidates })
    }
}

impl<'r> Examination<'r> {
    /// Each signature, and what each requirement says of it.
    pub fn findings(&self) -> Vec<report::Finding> {
        let mut findings = Vec::new();
        for candidate in &self.candidates {
            let policies = self.found.decision.iter().flat_map(Decision::requirements);
            for (requirement, policy) in (1..).zip(policies) {
                let verdict = verify::image(&self.claim, std::slice::from_ref(candidate), policy);
                findings.push(report::Finding::new(requirement, candidate, &verdict));
            }
        }
        findings
    }

    /// Admits the image if every requirement is satisfied (row 15), all by the same digest, and
    /// its documents say that it is the one that was meant.
    pub fn admit(self) -> Result<Admitted<'r>> {
        let verdict = self.judge()?;
        let Found { wanted, precautions, mut source, resolved, .. } = self.found;
        let config = verify::config(&verdict.manifest, &source.config(&verdict.manifest.config)?)?;
        resolved.check_platform(&config, wanted.platform.as_ref())?;
        let layers = verify::layers(&verdict.manifest, &config)?;
        let bound =
            precautions.check_image(resolved.manifest.digest, &verdict, &config, &layers)?;
        let Verdict { manifest, signature, signed, .. } = verdict;
        Ok(Admitted { source, resolved, signature, signed, manifest, config, layers, bound })
    }

    fn judge(&self) -> Result<Verdict> {
        let Found { wanted, decision, resolved, .. } = &self.found;
        let Some(decision) = decision else {
            tracing::warn!("the signature is not checked: nobody vouches for this image");
            let unverified = Unverified::skip_signature(resolved.manifest.digest);
            return Ok(Verdict {
                manifest: unverified.image_manifest(&resolved.manifest.bytes)?,
                signature: report::Signature::Skipped,
                signed: None,
                is_named: false,
                signed_at: None,
            });
        };
        if !decision.attachments {
            let reference = wanted.reference.to_string();
            return Err(Error::NotLookedAt { reference, origin: decision.origin.clone() }.into());
        }
        let mut accepted = Vec::new();
        for policy in decision.requirements() {
            accepted.push(self.satisfied(policy, decision, accepted.is_empty())?);
        }
        let mut all = accepted.iter();
        let Some(first) = all.next() else { return Err(Error::NoRequirement.into()) };
        // Several requirements are a policy's, which wants the image itself signed (P5): all of
        // them are about the same digest.
        if let Some(other) = all.find(|other| *other.digest != *first.digest) {
            let digests = [*first.digest, *other.digest];
            return Err(Error::DifferentDigests { digests }.into());
        }
        let manifest = match (first.signed, &resolved.index, &resolved.entry) {
            (Signed::Index, Some(index), Some(entry)) => {
                let instance = verify::select(&first.digest, &index.bytes, entry)?;
                verify::image_manifest(&instance, &resolved.manifest.bytes)?
            }
            _ => verify::image_manifest(&first.digest, &resolved.manifest.bytes)?,
        };
        // One that has no time, or an old one, is not made younger by another.
        let times = accepted.iter().map(verify::Accepted::fixed_time).collect::<Option<Vec<_>>>();
        Ok(Verdict {
            manifest,
            signature: report::Signature::verified(&accepted, &decision.origin),
            signed: Some(*first.digest),
            is_named: accepted.iter().any(|accepted| accepted.is_named),
            signed_at: times.and_then(|times| times.into_iter().min()),
        })
    }

    fn satisfied(
        &self,
        policy: &Policy,
        decision: &Decision,
        warn: bool,
    ) -> Result<verify::Accepted> {
        let accepted = verify::image(&self.claim, &self.candidates, policy)
            .map_err(|error| self.unsigned(error, decision))?;
        for warning in accepted.warnings().iter().filter(|_| warn) {
            tracing::warn!("{warning}");
        }
        Ok(accepted)
    }

    /// A policy that finds no signature may look past one of the index.
    fn unsigned(&self, error: verify::Error, decision: &Decision) -> crate::error::Error {
        match (&error, &self.found.resolved.index) {
            (verify::Error::Unsigned { image }, Some(index)) if !decision.index => {
                let (image, index, origin) = (*image, index.digest, decision.origin.clone());
                Error::UnsignedInstance { image, index, origin }.into()
            }
            _ => error.into(),
        }
    }
}

/// The place of an image, the wanted one or one that it names: asked in the same way, at the
/// mirrors that are configured for it. `--tls-verify=false` and `--cert-dir` are for hosts that the
/// user named (`by_user`).
pub fn open(wanted: &Wanted, reference: &Reference, by_user: bool) -> Result<Source> {
    let conf = wanted.registries_conf.as_deref();
    let mut options = wanted.source.clone();
    if !by_user {
        options.registry.tls_verify = true;
        options.registry.cert_dir = None;
    }
    options.places = trust::places(&TrustSources::default(), conf, reference)?;
    Ok(Source::open(reference, &options)?)
}

/// Whose word counts, and where that is said; none if nobody is asked.
fn decide(wanted: &Wanted) -> Result<Option<Decision>> {
    let Trust::Signature(words) = &wanted.trust else { return Ok(None) };
    let decision = trust::decide(&TrustSources::default(), words, &wanted.reference)?;
    if words.identity != verify::SignedIdentity::Asked && !decision.index {
        tracing::warn!(
            "--signed-identity does not count: {} says which name must be signed",
            decision.origin
        );
    }
    Ok(Some(decision))
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
