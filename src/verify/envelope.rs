//! An image's signature in a bundle: cosign's newer format, an in-toto statement in an envelope
//! (B3 to B7).

use jiff::Timestamp;

use super::bundle::{Bundle, Content, Material, Version};
use super::image::{Claim, Comparison, Signatory, Vouched};
use super::keyless::{self, Signed};
use super::policy::SignedIdentity;
use super::rekor::{self, Demand, Logged, Logs};
use super::signer::{Keys, Signer};
use super::statement::{Expected, PAYLOAD_TYPE, Statement};
use super::{NamedKey, Policy, Reason};
use crate::oci::Digest;

/// containers/image, whose word `pki` is, reads no bundles.
pub(super) const NOT_IN_BUNDLES: &str =
    "found a bundle, expected the older format: a policy's pki counts there alone";

/// Checks every condition on this one bundle.
pub(super) fn check(bytes: &[u8], claim: &Claim, policy: &Policy) -> Result<Vouched, Reason> {
    let broken = |problem: &str| Reason::Bundle { problem: problem.to_owned() };
    let bundle = Bundle::parse(bytes).map_err(|problem| Reason::Bundle { problem })?;
    let Content::Envelope { payload_type, payload, .. } = &bundle.content else {
        return Err(broken("found a messageSignature, expected a dsseEnvelope"));
    };
    if bundle.version != Version::V3 {
        return Err(broken("found a bundle before version 0.3, expected 0.3"));
    }
    if payload_type != PAYLOAD_TYPE {
        return Err(Reason::Bundle {
            problem: format!("payloadType: found {payload_type:?}, expected {PAYLOAD_TYPE:?}"),
        });
    }
    let (signatory, time) = match policy.signer() {
        Signer::Keys(keys) => {
            let key = check_key(&bundle, keys)?;
            let time = match policy.transparency() {
                Some(logs) => {
                    let pae = bundle.pae().unwrap_or_default();
                    let content = rekor::Content::Envelope { payload, pae: &pae };
                    check_logged(&bundle, key, content, logs)?
                }
                None => None,
            };
            (Signatory::Key(key.clone()), time)
        }
        Signer::Certificate(signer) => {
            let library = Bundle::library(bytes).map_err(|problem| Reason::Bundle { problem })?;
            // The library wants to know of which subject; whether it is the image is seen below.
            let digest = subject(payload, claim).unwrap_or(claim.instance);
            let what = Signed::Digest(digest);
            let certified = keyless::check(&bundle, library, what, signer)?;
            let time = certified.time;
            (Signatory::Certificate(certified), time)
        }
        Signer::Pki(_) => return Err(broken(NOT_IN_BUNDLES)),
    };
    // Only now is the payload believed.
    let statement = Statement::parse(payload, Expected::Signature)
        .map_err(|problem| Reason::Payload { problem })?;
    let found = statement.subjects.iter().find_map(|subject| {
        let digest = subject.digest?;
        Some((digest, claim.signed(digest)?, subject))
    });
    let Some((digest, signed, subject)) = found else {
        return Err(match statement.subjects.iter().find_map(|subject| subject.digest) {
            Some(found) => Reason::OtherImage { found },
            None => Reason::Payload { problem: "found no sha256 of a subject".to_owned() },
        });
    };
    // It names no repository: nobody who demands a name can be content with it.
    let identity = match policy.identity() {
        SignedIdentity::Asked => Comparison::Unnamed,
        SignedIdentity::Any => Comparison::NotWanted,
        SignedIdentity::Repository(_)
        | SignedIdentity::TagOrDigestIn(_)
        | SignedIdentity::Exactly(_)
        | SignedIdentity::Nameless => return Err(Reason::Nameless),
    };
    Ok(Vouched {
        signatory,
        digest,
        signed,
        reference: String::new(),
        identity,
        annotations: subject.annotations.clone(),
        time,
    })
}

/// The key that made a bundle's signature of an envelope.
pub(super) fn check_key<'k>(bundle: &Bundle, keys: &'k Keys) -> Result<&'k NamedKey, Reason> {
    if bundle.material != Material::Key {
        return Err(Reason::NoKey);
    }
    let pae = bundle.pae().unwrap_or_default();
    keys.iter()
        .find(|key| key.key.is_signed(&pae, bundle.signature()))
        .ok_or_else(|| Reason::OtherKey { keys: keys.iter().count(), certificate: false })
}

/// Checks that a log has a bundle's signature of `content` by `key` (B7); gives the time that it
/// says, which a log of version 2 does not.
pub(super) fn check_logged(
    bundle: &Bundle,
    key: &NamedKey,
    content: rekor::Content<'_>,
    logs: &Logs,
) -> Result<Option<Timestamp>, Reason> {
    let logged = Logged { signature: bundle.signature(), key: key.key.spki(), content };
    let demand = if bundle.version == Version::V1 { Demand::Promise } else { Demand::Proof };
    let (entries, times) =
        logs.verify(&bundle.entries, demand).map_err(|problem| Reason::Transparency { problem })?;
    for entry in entries {
        entry.is_about(&logged).map_err(|problem| Reason::Transparency { problem })?;
    }
    Ok(times.into_iter().min())
}

/// The subject of a statement that is part of the claim, else its first.
fn subject(payload: &[u8], claim: &Claim) -> Option<Digest> {
    let statement = Statement::parse(payload, Expected::Anything).ok()?;
    let digests = || statement.subjects.iter().filter_map(|subject| subject.digest);
    digests().find(|digest| claim.signed(*digest).is_some()).or_else(|| digests().next())
}
