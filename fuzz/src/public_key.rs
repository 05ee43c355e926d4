//! PEM public keys.
//!
//! - What is accepted is one PEM block with the label PUBLIC KEY or RSA PUBLIC KEY.
//! - The bytes of a PUBLIC KEY are what the `spki` crate takes for one, and the fingerprint is
//!   their sha256; wrapped anew in PEM they are the same key.
//! - With a word before or behind it, or twice, it is refused.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci2sysext::oci::Digest;
use oci2sysext::verify::PublicKey;
use spki::SubjectPublicKeyInfoRef;

pub fn run(data: &[u8]) {
    let Ok(key) = PublicKey::from_pem(data) else { return };
    let text = std::str::from_utf8(data).unwrap().trim();
    for other in [format!("x{text}"), format!("{text}x"), format!("{text}\n{text}")] {
        assert!(PublicKey::from_pem(other.as_bytes()).is_err(), "{other:?}");
    }
    let label = text.split("-----").nth(1).unwrap();
    if label == "BEGIN RSA PUBLIC KEY" {
        return;
    }
    assert_eq!(label, "BEGIN PUBLIC KEY");
    let body: String =
        text.split("-----").nth(2).unwrap().chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = BASE64_STANDARD.decode(body).unwrap();
    SubjectPublicKeyInfoRef::try_from(der.as_slice()).unwrap();
    assert_eq!(key.fingerprint(), Digest::of(&der));
    assert_eq!(PublicKey::from_pem(&pem(&der)).unwrap(), key);
}

/// The PEM block of a `SubjectPublicKeyInfo`.
pub fn pem(der: &[u8]) -> Vec<u8> {
    let body = BASE64_STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into()
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::files("signatures/keys", "")
}
