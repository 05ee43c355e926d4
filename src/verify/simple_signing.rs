//! A simple-signing payload: cosign's first format, one JSON text and a signature of its bytes
//! (containers-signature(5), L3 to L6).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::identity::SignedName;
use super::image::{Claim, Comparison, Signatory, Vouched};
use super::rekor::{Content, Demand, Entry, Logged};
use super::{
    Keys, Logs, NamedKey, Policy, PublicKey, Reason, SignedIdentity, Signer, certified, fields, pki,
};
use crate::json;
use crate::oci::Digest;

/// Where cosign puts the signature; the other annotations are not needed for a key.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Where cosign puts a certificate. The prose of its specification says
/// `dev.cosignproject.cosign/certificate`, which no program reads.
pub(super) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CERTIFICATE_IN_PROSE: &str = "dev.cosignproject.cosign/certificate";
/// Where cosign puts what a transparency log says.
pub(super) const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TYPE: &str = "cosign container image signature";
/// As deep as a payload may nest (L6); cosign's own is three deep.
const MAX_DEPTH: usize = 8;

/// Checks every condition on this one candidate.
pub(super) fn check(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    claim: &Claim,
    policy: &Policy,
) -> Result<Vouched, Reason> {
    let signature = annotations.get(SIGNATURE).ok_or(Reason::NoSignature)?;
    let signature = decode(signature)?;
    let (signatory, time) = match policy.signer() {
        Signer::Keys(keys) => {
            let key = check_key(payload, &signature, annotations, keys)?;
            let time = match policy.transparency() {
                Some(logs) => check_logged(payload, &signature, annotations, &key.key, logs)
                    .map_err(|problem| Reason::Transparency { problem })?,
                None => None,
            };
            (Signatory::Key(key.clone()), time)
        }
        Signer::Certificate(signer) => {
            let certified = certified::check(payload, &signature, annotations, signer)?;
            let time = certified.time;
            (Signatory::Certificate(certified), time)
        }
        Signer::Pki(signer) => {
            let certified = pki::check(payload, &signature, annotations, signer)?;
            (Signatory::Certificate(certified), None)
        }
    };
    // Only now is the payload looked into (L6).
    let Payload { digest, reference, optional } =
        Payload::parse(payload).map_err(|problem| Reason::Payload { problem })?;
    let signed = claim.signed(digest).ok_or(Reason::OtherImage { found: digest })?;
    let identity = compare(&reference, digest, claim, policy)?;
    Ok(Vouched { signatory, digest, signed, reference, identity, annotations: optional, time })
}

/// The key that made a signature. A certificate beside it is never looked into: it counts for
/// keyless trust only, and its key is not one of ours unless it is configured, and then it is not
/// needed (L9).
fn check_key<'k>(
    payload: &[u8],
    signature: &[u8],
    annotations: &BTreeMap<String, String>,
    keys: &'k Keys,
) -> Result<&'k NamedKey, Reason> {
    keys.iter().find(|key| key.key.is_signed(payload, signature)).ok_or_else(|| Reason::OtherKey {
        keys: keys.iter().count(),
        certificate: [CERTIFICATE, CERTIFICATE_IN_PROSE]
            .iter()
            .any(|name| annotations.contains_key(*name)),
    })
}

/// Checks that a log has the signature (L7); gives the time that it says.
fn check_logged(
    payload: &[u8],
    signature: &[u8],
    annotations: &BTreeMap<String, String>,
    key: &PublicKey,
    logs: &Logs,
) -> Result<Option<Timestamp>, String> {
    let text = annotations.get(BUNDLE);
    let text = text.ok_or_else(|| format!("found no annotation {BUNDLE}, expected a log entry"))?;
    let entries = [Entry::from_annotation(text)?];
    let (known, times) = logs.verify(&entries, Demand::Promise)?;
    let logged = Logged { signature, key: key.spki(), content: Content::Message(payload) };
    known.into_iter().try_for_each(|entry| entry.is_about(&logged))?;
    Ok(times.into_iter().min())
}

/// Standard base64 with padding. Go's decoder skips line ends, so such signatures exist (L4).
fn decode(text: &str) -> Result<Vec<u8>, Reason> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    STANDARD.decode(bytes).map_err(|error| Reason::Base64 { problem: error.to_string() })
}

/// What a payload says.
#[derive(Debug, PartialEq)]
struct Payload {
    digest: Digest,
    reference: String,
    optional: BTreeMap<String, Value>,
}

impl Payload {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let root = json::parse(bytes, MAX_DEPTH)?;
        let [critical, optional] =
            fields::exact_fields("payload", &root, ["critical", "optional"])?;
        let [kind, image, identity] =
            fields::exact_fields("critical", critical, ["type", "image", "identity"])?;
        let kind = fields::string("critical.type", kind)?;
        if kind != TYPE {
            return Err(format!("critical.type: found {kind:?}, expected {TYPE:?}"));
        }
        let [digest] = fields::exact_fields("critical.image", image, ["docker-manifest-digest"])?;
        let digest = fields::string("docker-manifest-digest", digest)?
            .parse()
            .map_err(|error| format!("docker-manifest-digest: {error}"))?;
        let [reference] =
            fields::exact_fields("critical.identity", identity, ["docker-reference"])?;
        let reference = fields::string("docker-reference", reference)?.to_owned();
        let optional = match optional {
            Value::Null => BTreeMap::new(),
            other => fields::object("optional", other)?.clone().into_iter().collect(),
        };
        Ok(Self { digest, reference, optional })
    }
}

/// Compares the signed name with the one that the policy demands.
fn compare(
    reference: &str,
    digest: Digest,
    claim: &Claim,
    policy: &Policy,
) -> Result<Comparison, Reason> {
    let asked = claim.repository.as_ref();
    let expected = match (policy.identity(), asked) {
        (SignedIdentity::Any, _) => return Ok(Comparison::NotWanted),
        (SignedIdentity::Asked, None) => return Ok(Comparison::Nameless),
        (SignedIdentity::Repository(repository) | SignedIdentity::TagOrDigestIn(repository), _)
        | (SignedIdentity::Asked, Some(repository)) => repository.to_string(),
        (SignedIdentity::Exactly(name), _) => name.to_string(),
        (SignedIdentity::Nameless, _) => "the name asked for".to_owned(),
    };
    let other = |problem: String| Reason::OtherName {
        found: reference.to_owned(),
        problem,
        expected: expected.clone(),
    };
    let name = SignedName::parse(reference).map_err(other)?;
    let problem = match (policy.identity(), asked) {
        (SignedIdentity::Nameless, _) => Some("the image was asked for without a name"),
        (SignedIdentity::Exactly(exactly), _) => (name != *exactly).then_some("another name"),
        (SignedIdentity::TagOrDigestIn(_), _) if name.is_name_only() => {
            Some("without tag and digest")
        }
        (SignedIdentity::Repository(repository) | SignedIdentity::TagOrDigestIn(repository), _)
        | (SignedIdentity::Asked, Some(repository)) => {
            (!name.is_in(repository)).then_some("another repository")
        }
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(other(problem.to_owned()));
    }
    if name.digest.is_some_and(|named| named != digest) {
        return Err(other("with the digest of another image".to_owned()));
    }
    Ok(Comparison::Equal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn good() -> String {
        let digest = Digest::of(b"");
        format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"q.io/a\"}},\"image\":\
             {{\"docker-manifest-digest\":\"{digest}\"}},\"type\":\"{TYPE}\"}},\"optional\":null}}"
        )
    }

    #[test]
    fn line_ends_are_all_that_base64_may_hold_besides() {
        assert_eq!(decode("TU\r\nVF\nAA==\r\n").unwrap(), b"MEE\0");
        for bad in ["TUV F", "TUVF\t", "TUVFAA", "TUVFAA=", "TUVFAB==", "TU-_", "TUVF=", "é"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        // Nothing is no signature, but that is for the key to say.
        assert_eq!(decode("").unwrap(), b"");
    }

    proptest! {
        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Payload::parse(&bytes);
        }

        /// A changed bit is refused, or changes what the payload says: nothing is ignored.
        #[test]
        fn every_bit_of_a_payload_counts(bit in 0..good().len() * 8) {
            let original = Payload::parse(good().as_bytes()).unwrap();
            let mut changed = good().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(parsed) = Payload::parse(&changed) {
                prop_assert_ne!(parsed, original);
            }
        }

        #[test]
        fn no_signature_panics(text in "\\PC{0,60}") {
            let _ = decode(&text);
        }
    }
}
