//! Signatures by certificate: the holder's short-lived key, an authority that says whose it was, and
//! logs and timestamps that say when (K1 to K5).
//!
//! `sigstore-verify` checks all that it can; what it leaves out, or does with the machine's clock,
//! is checked here first.

use jiff::Timestamp;
use sigstore_verify::VerificationPolicy;
use sigstore_verify::types::{self, Artifact, Sha256Hash};

use super::bundle::{Bundle, Material, Version};
use super::certificate::{Holder, check_chain};
use super::rekor::Demand;
use super::{CertificateSigner, Reason};
use crate::oci::Digest;

/// Who signed by certificate, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certified {
    /// The holder: an e-mail address, a URI or a user name; of `pki`, all the addresses and names.
    pub subject: String,
    /// The `OpenID` Connect provider that vouched for the holder; else the own authority.
    pub issuer: String,
    /// The earliest time at which the signature was seen; none if nothing proves one, which only
    /// `pki` of containers-policy.json(5) does without.
    pub time: Option<Timestamp>,
    /// Whether the certificate was valid so shortly that nobody can have had the signature logged
    /// again much later.
    pub is_brief: bool,
}

/// What was signed by certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signed<'a> {
    Bytes(&'a [u8]),
    Digest(Digest),
}

/// Checks the signature of a bundle and everything about its certificate.
pub(super) fn check(
    bundle: &Bundle,
    library: types::Bundle,
    what: Signed<'_>,
    signer: &CertificateSigner,
) -> Result<Certified, Reason> {
    let Material::Certificate { leaf, beside } = &bundle.material else {
        return Err(Reason::NoCertificate);
    };
    let root = &signer.root;
    let broken = |problem: String| Reason::Certificate { problem };
    let mut library = library;

    // The logs first: they say when (K1).
    let mut times = Vec::new();
    if root.signature_log {
        let unlogged = |problem: String| Reason::Transparency { problem };
        let logs = root.logs().ok_or_else(|| unlogged("no log is configured".to_owned()))?;
        let demand = if bundle.version == Version::V1 { Demand::Promise } else { Demand::Proof };
        times = logs.verify(&bundle.entries, demand).map_err(unlogged)?.1;
        let entries = &mut library.verification_material.tlog_entries;
        entries.retain(|entry| logs.knows(entry.log_id.key_id.as_bytes()));
    } else {
        library.verification_material.tlog_entries.clear();
    }
    check_clock(&times, signer.now)?;

    let holder = Holder::of(leaf).map_err(broken)?;
    let mut policy = VerificationPolicy::any_identity();
    if !root.signature_log {
        policy = policy.skip_tlog_unsafe();
    }
    if !root.certificate_log {
        // Without a log of certificates there is nothing about them that is not checked below; and
        // the library demands of authorities that they name the use, which RFC 5280 does not.
        policy = policy.skip_certificate_chain();
    }
    let artifact = match what {
        Signed::Bytes(bytes) => Artifact::from_blob(bytes),
        Signed::Digest(digest) => Artifact::from_digest(Sha256Hash::new(*digest.as_bytes())),
    };
    let result = root
        .verifier()
        .verify(artifact, &library, &policy)
        .map_err(|error| broken(error.to_string()))?;
    if root.certificate_log && !(result.certificate_verified() && result.sct_verified()) {
        return Err(broken("the certificate was not looked at".to_owned()));
    }
    times.extend(result.verified_timestamps());
    let time = times.iter().min().copied();
    let time = time.ok_or_else(|| broken("found no time of signing that is proven".to_owned()))?;
    check_clock(&times, signer.now)?;
    for time in &times {
        check_chain(leaf, beside, &root.authorities, *time)
            .map_err(|problem| broken(format!("the certificate at {time}: {problem}")))?;
    }

    // Last, so that it is said only of somebody who did sign.
    let wanted = &signer.identity;
    if !wanted.subject.matches_holder(&holder) || !wanted.issuer.matches(&holder.issuer) {
        return Err(Reason::OtherSigner {
            subject: holder.subject,
            issuer: holder.issuer,
            expected: format!("{} by {}", wanted.subject, wanted.issuer),
        });
    }
    let Holder { subject, issuer, is_brief, .. } = holder;
    Ok(Certified { subject, issuer, time: Some(time), is_brief })
}

/// Nothing was signed after now: then it is the clock that is wrong (row 90).
fn check_clock(times: &[Timestamp], now: Timestamp) -> Result<(), Reason> {
    match times.iter().max() {
        Some(&signed) if signed > now => Err(Reason::Clock { signed, now }),
        _ => Ok(()),
    }
}
