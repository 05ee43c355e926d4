//! Digests.
//!
//! - What is accepted is printed as it was written: there is one way to write a digest.
//! - It is `sha256:` and 64 lowercase hexadecimal digits, by another description of the same.

use oci2sysext::oci::Digest;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let is_digest = text.len() == 71
        && text.starts_with("sha256:")
        && text.bytes().skip(7).all(|byte| b"0123456789abcdef".contains(&byte));
    let digest = text.parse::<Digest>();
    assert_eq!(digest.is_ok(), is_digest);
    if let Ok(digest) = digest {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let good = Digest::of(b"").to_string();
    vec![good.to_uppercase().into(), good.replace("256", "512").into(), good.into()]
}
