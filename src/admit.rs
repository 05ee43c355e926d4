//! Admission: on whose word an image may be converted.
//!
//! The door between [`crate::oci`] and the corridor: [`crate::trust`] says whose word counts,
//! the source what is offered, and [`crate::verify`] decides.

use crate::error::{Fault, Result};
use crate::oci::{self, ImageManifest, Reference, Resolved, Source};
use crate::report;
use crate::request::{Request, Trust};
use crate::trust::{self, TrustOrigin, TrustSources};
use crate::verify::{self, Candidate, Claim, Policy, Signed, Unverified, Verified};

/// Whose word counts, and where that is said; none if nobody is asked.
pub fn trusted(request: &Request) -> Result<Option<(Policy, TrustOrigin)>> {
    match &request.trust {
        Trust::Nobody => Ok(None),
        Trust::Signature { keys, identity, signer } => {
            if let Some(policy) = signer.policy(identity)? {
                return Ok(Some((policy, TrustOrigin::Certificate)));
            }
            let (sources, identity) = (TrustSources::default(), identity.clone());
            let (policy, origin) = trust::policy(&sources, keys, identity, &request.reference)?;
            let policy = match signer.transparency(sources.as_root)? {
                Some(logs) => policy.with_transparency(logs),
                None => policy,
            };
            Ok(Some((policy, origin)))
        }
    }
}

/// The manifest, on whose word it may be converted.
pub fn admit(
    request: &Request,
    trust: Option<(Policy, TrustOrigin)>,
    source: &mut Source,
    resolved: &Resolved,
) -> Result<(Verified<ImageManifest>, report::Signature)> {
    let Some((policy, origin)) = trust else {
        tracing::warn!("the signature is not checked: nobody vouches for this image");
        let unverified = Unverified::skip_signature(resolved.manifest.digest);
        let manifest = unverified.image_manifest(&resolved.manifest.bytes)?;
        return Ok((manifest, report::Signature::Skipped));
    };
    let claim = Claim {
        index: resolved.index.as_ref().map(|index| index.digest),
        instance: resolved.manifest.digest,
        repository: match &request.reference {
            Reference::Registry { repository, .. } => Some(repository.clone()),
            _ => None,
        },
    };
    let candidates = candidates(source, &claim)?;
    let accepted = verify::image(&claim, &candidates, &policy)?;
    for warning in accepted.warnings() {
        tracing::warn!("{warning}");
    }
    let manifest = match (accepted.signed, &resolved.index, &resolved.entry) {
        (Signed::Index, Some(index), Some(entry)) => {
            let instance = verify::select(&accepted.digest, &index.bytes, entry)?;
            verify::image_manifest(&instance, &resolved.manifest.bytes)?
        }
        _ => verify::image_manifest(&accepted.digest, &resolved.manifest.bytes)?,
    };
    let signature = report::Signature::verified(&accepted, &origin);
    Ok((manifest, signature))
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
