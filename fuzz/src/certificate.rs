//! What is annotated beside a signature: certificates and log entries.
//!
//! Input: a certificate (DER), a chain (PEM), a log entry and a timestamp, with a byte 0xff between.
//!
//! Whatever it is, nobody has signed the payload: nothing is accepted, by certificate or by key.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci2sysext::oci::Digest;
use oci2sysext::verify::{
    Authorities, Candidate, CertificateIdentity, CertificateSigner, Claim, Logs, Matcher, NamedKey,
    Policy, PublicKey, SignedIdentity, TrustRoot, image,
};
use serde_json::Value;

use super::testdata;

static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let any = || Matcher::pattern(".+").unwrap();
    let identity = CertificateIdentity { subject: any(), issuer: any() };
    let (root, now) = (TrustRoot::public_good().unwrap(), "2026-06-01T00:00:00Z".parse().unwrap());
    let signer = CertificateSigner { identity, root, now };
    let vector = &testdata::files("signatures/good", "key-p256.json")[0];
    let vector: Value = serde_json::from_slice(vector).unwrap();
    let key = testdata::files("signatures/keys", "p256.pub").remove(0);
    let key = NamedKey { name: "key".to_owned(), key: PublicKey::from_pem(&key).unwrap() };
    assert!(vector.is_object());
    vec![
        Policy::keyless(signer, SignedIdentity::Any),
        Policy::new(key.clone(), Vec::new(), SignedIdentity::Any)
            .with_transparency(Logs::of_keys(key.key, Vec::new())),
    ]
});

pub fn run(data: &[u8]) {
    let vector = &testdata::files("signatures/good", "key-p256.json")[0];
    let vector: Value = serde_json::from_slice(vector).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let payload = BASE64_STANDARD.decode(text(&vector["payload"])).unwrap();
    let mut parts = data.splitn(4, |&byte| byte == 0xff);
    let mut part = || parts.next().unwrap_or_default();
    let certificate = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        BASE64_STANDARD.encode(part())
    );
    let mut lossy = || String::from_utf8_lossy(part()).into_owned();
    let signature = "dev.cosignproject.cosign/signature";
    let annotations = BTreeMap::from([
        (signature.to_owned(), text(&vector["annotations"][signature])),
        ("dev.sigstore.cosign/certificate".to_owned(), certificate),
        ("dev.sigstore.cosign/chain".to_owned(), lossy()),
        ("dev.sigstore.cosign/bundle".to_owned(), lossy()),
        ("dev.sigstore.cosign/rfc3161timestamp".to_owned(), lossy()),
    ]);
    let candidate = Candidate::Payload { origin: "fuzz".to_owned(), payload, annotations };
    let claim = Claim { index: None, instance: Digest::of(b"instance"), repository: None };
    for policy in POLICIES.iter() {
        assert!(image(&claim, std::slice::from_ref(&candidate), policy).is_err());
    }
    // As an authority it may be one, and does no harm as none.
    let _ = TrustRoot::of(&Authorities { roots: data.to_vec(), ..Authorities::default() });
}

pub fn seeds() -> Vec<Vec<u8>> {
    let entry = r#"{"SignedEntryTimestamp":"AAAA","Payload":{"body":"eyJhcGlWZXJzaW9uIjoiMC4wLjEiLCJraW5kIjoiaGFzaGVkcmVrb3JkIiwic3BlYyI6e319","integratedTime":1,"logIndex":1,"logID":"00"}}"#;
    let timestamp = r#"{"SignedRFC3161Timestamp":"MAA="}"#;
    let der = b"\x30\x82\x01\x00\x30\x81\xa0\xa0\x03\x02\x01\x02";
    let chain = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    vec![
        [&der[..], chain, entry.as_bytes(), timestamp.as_bytes()].join(&0xff),
        [&der[..], b"", entry.as_bytes()].join(&0xff),
        chain.to_vec(),
    ]
}
