//! Signatures: payload and annotations, with fixed keys.
//!
//! Input: the payload and the signature's annotation, with a byte 0xff between them.
//!
//! - By the keys of `testdata/signatures`, whose private halves nobody has, only those payloads are
//!   accepted, byte for byte, that they signed and that are good.
//! - What a key that signs anything has signed is accepted only if `serde_json` alone sees in it
//!   what was claimed: the type, the digest and, by name, the repository.
//! - The same is refused for another image, for another repository, and by another key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci2sysext::oci::{Digest, Repository};
use oci2sysext::verify::{
    Candidate, Claim, NamedKey, Policy, PublicKey, Signed, SignedIdentity, image,
};
use serde_json::Value;

use super::public_key::pem;
use super::testdata;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// `SubjectPublicKeyInfo` of an Ed25519 key, without the key (RFC 8410).
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

static GOOD: LazyLock<Vec<(Vec<u8>, String)>> = LazyLock::new(|| {
    let vectors = testdata::files("signatures/good", ".json");
    vectors
        .iter()
        .map(|vector| {
            let vector: Value = serde_json::from_slice(vector).unwrap();
            let payload = BASE64_STANDARD.decode(vector["payload"].as_str().unwrap()).unwrap();
            (payload, vector["annotations"][SIGNATURE].as_str().unwrap().to_owned())
        })
        .collect()
});

static KEYS: LazyLock<Vec<NamedKey>> = LazyLock::new(|| {
    let keys = testdata::files("signatures/keys", ".pub");
    keys.iter().map(|key| named(PublicKey::from_pem(key).unwrap())).collect()
});

static SIGNER: LazyLock<(Ed25519KeyPair, NamedKey)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let der = [ED25519, pair.public_key().as_ref()].concat();
    (pair, named(PublicKey::from_pem(&pem(&der)).unwrap()))
});

fn named(key: PublicKey) -> NamedKey {
    NamedKey { name: "key".to_owned(), key }
}

fn claim() -> Claim {
    Claim {
        index: Some(Digest::of(b"index")),
        instance: Digest::of(b"instance"),
        repository: Some(Repository {
            host: "registry.example:5000".to_owned(),
            path: "sysexts/hello".to_owned(),
        }),
    }
}

fn candidate(payload: &[u8], signature: String) -> [Candidate; 1] {
    [Candidate::Payload {
        origin: "fuzz".to_owned(),
        payload: payload.to_vec(),
        annotations: BTreeMap::from([(SIGNATURE.to_owned(), signature)]),
    }]
}

pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0xff);
    let payload = parts.next().unwrap_or_default();
    let signature = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (first, others) = KEYS.split_first().unwrap();
    let policy = Policy::new(first.clone(), others.to_vec(), SignedIdentity::Asked);
    if image(&claim(), &candidate(payload, signature), &policy).is_ok() {
        let known: BTreeSet<&[u8]> = GOOD.iter().map(|(payload, _)| payload.as_slice()).collect();
        assert!(known.contains(payload));
    }

    let (pair, key) = &*SIGNER;
    let signed = candidate(payload, BASE64_STANDARD.encode(pair.sign(payload)));
    assert!(image(&claim(), &signed, &policy).is_err());
    let policy = Policy::new(key.clone(), Vec::new(), SignedIdentity::Asked);
    let Ok(accepted) = image(&claim(), &signed, &policy) else { return };
    let value: Value = serde_json::from_slice(payload).unwrap();
    let critical = &value["critical"];
    assert_eq!(critical["type"], "cosign container image signature");
    let bytes: &[u8] = if accepted.signed == Signed::Index { b"index" } else { b"instance" };
    assert_eq!(*accepted.digest, Digest::of(bytes));
    assert_eq!(critical["image"]["docker-manifest-digest"], accepted.digest.to_string());
    let name = critical["identity"]["docker-reference"].as_str().unwrap();
    assert_eq!(name, accepted.signed_reference);
    let rest = name.strip_prefix("registry.example:5000/sysexts/hello").unwrap();
    assert!(rest.is_empty() || rest.starts_with([':', '@']), "{name:?}");

    let other = Claim { index: None, instance: Digest::of(b"other"), ..claim() };
    assert!(image(&other, &signed, &policy).is_err());
    let other =
        Repository { host: "registry.example".to_owned(), path: "sysexts/hello".to_owned() };
    assert!(image(&Claim { repository: Some(other), ..claim() }, &signed, &policy).is_err());
}

pub fn seeds() -> Vec<Vec<u8>> {
    GOOD.iter()
        .map(|(payload, signature)| [payload, signature.as_bytes()].join(&0xff))
        .chain(testdata::files("reject/signatures", ".json").iter().map(|vector| {
            let vector: Value = serde_json::from_slice(vector).unwrap();
            BASE64_STANDARD.decode(vector["payload"].as_str().unwrap()).unwrap()
        }))
        .collect()
}
