//! Good signatures of each kind, in parts, and the verdict on what they are put together to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{Digest, Repository};
use oci2sysext::verify::{
    Accepted, Authorities, Candidate, CertificateIdentity, CertificateSigner, Claim, Error, Logs,
    Matcher, NamedKey, Policy, PublicKey, SignedIdentity, TrustRoot, image,
};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::pki::{
    Certificates, Chain, ISSUER, Pki, SIGNED, SUBJECT, base64, dsse, hashedrekord, pae, pem, sign,
};

pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
pub const CHAIN: &str = "dev.sigstore.cosign/chain";
pub const ENTRY: &str = "dev.sigstore.cosign/bundle";
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What is signed in all of them.
pub fn claim() -> Claim {
    Claim {
        index: Some(Digest::of(b"index")),
        instance: Digest::of(b"instance"),
        repository: Some(Repository { host: "q.test".to_owned(), path: "a".to_owned() }),
    }
}

pub fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": Digest::of(b"instance").hex() } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

pub fn payload() -> Value {
    json!({
        "critical": {
            "identity": { "docker-reference": "q.test/a" },
            "image": { "docker-manifest-digest": Digest::of(b"instance").to_string() },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
}

pub fn public(key: &KeyPair) -> PublicKey {
    PublicKey::from_pem(key.public_key_pem().as_bytes()).unwrap()
}

pub fn named(key: &KeyPair) -> NamedKey {
    NamedKey { name: "key".to_owned(), key: public(key) }
}

/// By key; with a log where `logged`.
pub fn key_policy(pki: &Pki, logged: bool) -> Policy {
    let policy = Policy::new(named(&pki.signer), Vec::new(), SignedIdentity::Asked);
    if logged {
        policy.with_transparency(Logs::of_keys(public(&pki.log), Vec::new()))
    } else {
        policy
    }
}

/// By certificate, an hour after the signature.
pub fn certificate_policy(root: &Value) -> Policy {
    let root = TrustRoot::from_json(root.to_string().as_bytes()).unwrap();
    policy_of(root, SIGNED + 3600)
}

pub fn policy_of(root: TrustRoot, now: u64) -> Policy {
    let identity = CertificateIdentity {
        subject: Matcher::exact(SUBJECT).unwrap(),
        issuer: Matcher::exact(ISSUER).unwrap(),
    };
    policy_for(identity, root, now)
}

pub fn policy_for(identity: CertificateIdentity, root: TrustRoot, now: u64) -> Policy {
    let now = Timestamp::from_second(i64::try_from(now).unwrap()).unwrap();
    Policy::keyless(CertificateSigner { identity, root, now }, SignedIdentity::Asked)
}

/// An authority of one's own, with a log.
pub fn own_policy(pki: &Pki, chain: &Chain) -> Policy {
    policy_of(own_root(pki, chain), SIGNED + 3600)
}

pub fn own_root(pki: &Pki, chain: &Chain) -> TrustRoot {
    let parts = Authorities {
        roots: pem(&chain.root).into_bytes(),
        logs: vec![public(&pki.log)],
        ..Authorities::default()
    };
    TrustRoot::of(&parts).unwrap()
}

/// A bundle by `key` with this statement; `material` says whose it is.
pub fn bundle(key: &KeyPair, statement: &Value, payload_type: &str, material: &Value) -> Value {
    let payload = serde_json::to_vec(statement).unwrap();
    let signature = sign(key, &pae(payload_type, &payload));
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": base64(payload),
            "payloadType": payload_type,
            "signatures": [{ "sig": base64(signature) }],
        },
    })
}

pub fn bytes(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Signed with a key, and in a log.
pub fn logged_bundle(pki: &Pki, statement: &Value) -> Value {
    let mut bundle = bundle(&pki.signer, statement, PAYLOAD_TYPE, &json!({ "publicKey": {} }));
    let envelope = &bundle["dsseEnvelope"];
    let (payload, signature) =
        (bytes(&envelope["payload"]), bytes(&envelope["signatures"][0]["sig"]));
    let body = dsse(&payload, &signature, &pki.signer.public_key_pem());
    bundle["verificationMaterial"]["tlogEntries"] = json!([pki.entry(&body)]);
    bundle
}

/// Signed with a certificate, and in a log.
pub fn certificate_bundle(pki: &Pki, chain: &Chain, statement: &Value) -> Value {
    let material = json!({ "certificate": { "rawBytes": base64(&chain.leaf) } });
    let mut bundle = bundle(&pki.signer, statement, PAYLOAD_TYPE, &material);
    let envelope = &bundle["dsseEnvelope"];
    let (payload, signature) =
        (bytes(&envelope["payload"]), bytes(&envelope["signatures"][0]["sig"]));
    let body = dsse(&payload, &signature, &pem(&chain.leaf));
    bundle["verificationMaterial"]["tlogEntries"] = json!([pki.entry(&body)]);
    bundle
}

/// The older format: payload and annotations, with a log entry; by certificate if there is a chain.
pub fn older(pki: &Pki, chain: Option<&Chain>) -> (Vec<u8>, BTreeMap<String, String>) {
    let payload = serde_json::to_vec(&payload()).unwrap();
    let signature = sign(&pki.signer, &payload);
    let verifier = chain.map_or(pki.signer.public_key_pem(), |chain| pem(&chain.leaf));
    let body = hashedrekord(&payload, &signature, &verifier);
    let mut annotations = BTreeMap::from([
        (SIGNATURE.to_owned(), base64(signature)),
        (ENTRY.to_owned(), pki.annotation(&body)),
    ]);
    if let Some(chain) = chain {
        annotations.insert(CERTIFICATE.to_owned(), pem(&chain.leaf));
        annotations.insert(CHAIN.to_owned(), pem(&chain.intermediate) + &pem(&chain.root));
    }
    (payload, annotations)
}

pub fn verdict(candidate: Candidate, policy: &Policy) -> Result<Accepted, Error> {
    image(&claim(), &[candidate], policy)
}

pub fn bundle_verdict(bundle: &Value, policy: &Policy) -> Result<Accepted, Error> {
    let bundle = serde_json::to_vec(bundle).unwrap();
    verdict(Candidate::Bundle { origin: "test".to_owned(), bundle }, policy)
}

pub fn older_verdict(
    (payload, annotations): (Vec<u8>, BTreeMap<String, String>),
    policy: &Policy,
) -> Result<Accepted, Error> {
    verdict(Candidate::Payload { origin: "test".to_owned(), payload, annotations }, policy)
}

/// The reason's variant and the exit code of a refusal.
pub fn refusal(result: Result<Accepted, Error>) -> (String, u8) {
    let error = result.map(|_| ()).expect_err("a refusal");
    let Error::NoSignatureAccepted { rejections, .. } = &error else { panic!("{error}") };
    let reason = format!("{:?}", rejections[0].reason);
    let line = error.to_string();
    assert!(!line.contains(|c: char| c.is_control()) && line.len() < 1500, "{line:?}");
    let code: ExitCode = error.exit_code();
    (reason.split([' ', '{']).next().unwrap().to_owned(), code.number())
}

/// Good certificates of an instance.
pub fn good_chain(pki: &Pki) -> Chain {
    pki.chain(&Certificates::default())
}

/// A mutation: what it is, what it does, and the refusal that it must get.
pub type Mutation<'a, T> = (&'a str, Box<dyn Fn(&mut T) + 'a>, &'a str, u8);

pub fn m<'a, T>(
    what: &'a str,
    change: impl Fn(&mut T) + 'a,
    reason: &'a str,
    exit: u8,
) -> Mutation<'a, T> {
    (what, Box::new(change), reason, exit)
}

/// Changes base64 text by what its bytes become.
pub fn rebase(value: &mut Value, change: impl Fn(&mut Vec<u8>)) {
    let mut found = bytes(value);
    change(&mut found);
    *value = json!(base64(found));
}

pub fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

pub fn checkpoint(bundle: &mut Value) -> &mut Value {
    &mut entry(bundle)["inclusionProof"]["checkpoint"]["envelope"]
}

pub fn replace(value: &mut Value, from: &str, to: &str) {
    let text = value.as_str().unwrap();
    assert!(text.contains(from), "{text:?} has no {from:?}");
    *value = json!(text.replacen(from, to, 1));
}
