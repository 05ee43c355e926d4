//! Bundles by key.
//!
//! Input: a bundle, or a statement.
//!
//! - No bundle is accepted by keys whose private halves nobody has, nor by certificate.
//! - A statement that a key which signs anything has signed is accepted for an image only if
//!   `serde_json` alone sees in it the type, the predicate's type and the digest; and for another
//!   image, by another key or where a log must have it, not at all.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci2sysext::oci::Digest;
use oci2sysext::verify::{
    Artifact, Candidate, CertificateIdentity, CertificateSigner, Claim, Logs, Matcher, NamedKey,
    Policy, PublicKey, Signed, SignedIdentity, TrustRoot, artifact, image,
};
use serde_json::{Value, json};

use super::public_key::pem;
use super::testdata;

/// `SubjectPublicKeyInfo` of an Ed25519 key, without the key (RFC 8410).
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

static SIGNER: LazyLock<(Ed25519KeyPair, NamedKey)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let der = [ED25519, pair.public_key().as_ref()].concat();
    (pair, named(PublicKey::from_pem(&pem(&der)).unwrap()))
});

static STRANGER: LazyLock<NamedKey> = LazyLock::new(|| {
    let keys = testdata::files("signatures/keys", ".pub");
    named(PublicKey::from_pem(&keys[0]).unwrap())
});

/// Anybody's certificate of sigstore's public instance.
static CERTIFICATE: LazyLock<Policy> = LazyLock::new(|| {
    let identity = CertificateIdentity {
        subject: Matcher::pattern(".+").unwrap(),
        issuer: Matcher::pattern(".+").unwrap(),
    };
    let (root, now) = (TrustRoot::public_good().unwrap(), "2026-06-01T00:00:00Z".parse().unwrap());
    Policy::keyless(CertificateSigner { identity, root, now }, SignedIdentity::Asked)
});

fn named(key: PublicKey) -> NamedKey {
    NamedKey { name: "key".to_owned(), key }
}

fn claim() -> Claim {
    Claim { index: Some(Digest::of(b"index")), instance: Digest::of(b"instance"), repository: None }
}

fn policy(key: &NamedKey) -> Policy {
    Policy::new(key.clone(), Vec::new(), SignedIdentity::Asked)
}

fn candidate(bundle: Vec<u8>) -> [Candidate; 1] {
    [Candidate::Bundle { origin: "fuzz".to_owned(), bundle }]
}

fn signed(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    let signature = SIGNER.0.sign(&[head.as_bytes(), payload].concat());
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "" } },
        "dsseEnvelope": {
            "payload": BASE64_STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": BASE64_STANDARD.encode(signature) }],
        },
    });
    serde_json::to_vec(&bundle).unwrap()
}

pub fn run(data: &[u8]) {
    assert!(image(&claim(), &candidate(data.to_vec()), &policy(&STRANGER)).is_err());
    assert!(image(&claim(), &candidate(data.to_vec()), &CERTIFICATE).is_err());
    for file in [Artifact::Bytes(b"fuzz"), Artifact::Digest(Digest::of(b"fuzz"))] {
        assert!(artifact(data, file, &policy(&STRANGER)).is_err());
        assert!(artifact(data, file, &CERTIFICATE).is_err());
    }

    let bundle = candidate(signed(data));
    assert!(image(&claim(), &bundle, &policy(&STRANGER)).is_err());
    let logged = policy(&SIGNER.1).with_transparency(Logs::of_keys(SIGNER.1.key.clone(), vec![]));
    assert!(image(&claim(), &bundle, &logged).is_err());
    let Ok(accepted) = image(&claim(), &bundle, &policy(&SIGNER.1)) else { return };
    let statement: Value = serde_json::from_slice(data).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://sigstore.dev/cosign/sign/v1");
    let bytes: &[u8] = if accepted.signed == Signed::Index { b"index" } else { b"instance" };
    assert_eq!(*accepted.digest, Digest::of(bytes));
    let hex = accepted.digest.hex();
    let subjects = statement["subject"].as_array().unwrap();
    assert!(subjects.iter().any(|subject| subject["digest"]["sha256"] == hex));
    let other = Claim { index: None, instance: Digest::of(b"other"), repository: None };
    assert!(image(&other, &bundle, &policy(&SIGNER.1)).is_err());
}

pub fn seeds() -> Vec<Vec<u8>> {
    let statement = |kind: &str, digest: Value| {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": digest }],
            "predicateType": kind,
            "predicate": {},
        });
        serde_json::to_vec(&statement).unwrap()
    };
    let signature = "https://sigstore.dev/cosign/sign/v1";
    let good = statement(signature, json!({ "sha256": Digest::of(b"instance").hex() }));
    let mut logged: Value = serde_json::from_slice(&signed(&good)).unwrap();
    logged["verificationMaterial"]["tlogEntries"] = json!([{
        "logIndex": "1",
        "logId": { "keyId": BASE64_STANDARD.encode([0; 32]) },
        "kindVersion": { "kind": "dsse", "version": "0.0.1" },
        "integratedTime": "1780272000",
        "inclusionPromise": { "signedEntryTimestamp": "AAAA" },
        "inclusionProof": {
            "logIndex": "1",
            "rootHash": BASE64_STANDARD.encode([0; 32]),
            "treeSize": "2",
            "hashes": [BASE64_STANDARD.encode([0; 32])],
            "checkpoint": { "envelope": "log.test\n2\nAAAA\n\n\u{2014} log.test AAAAAAAA\n" },
        },
        "canonicalizedBody": BASE64_STANDARD.encode(r#"{"apiVersion":"0.0.1","kind":"dsse"}"#),
    }]);
    vec![
        good.clone(),
        statement(signature, json!({ "sha512": "00" })),
        statement("https://spdx.dev/Document", json!({ "sha256": Digest::of(b"index").hex() })),
        signed(&good),
        serde_json::to_vec(&logged).unwrap(),
    ]
}
