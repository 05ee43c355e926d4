//! The list of the layers that a storage has.
//!
//! Input: `layers.json`.
//!
//! - An ID leads nowhere but to what it names.

use oci2sysext::base::storage;

pub fn run(data: &[u8]) {
    let Ok(found) = storage::parse(data) else { return };
    for (_, id) in found {
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    super::testdata::texts(&[
        &format!(
            r#"[{{"id":"{hex}","parent":"{hex}","created":"2026-01-01T00:00:00Z",
            "compressed-diff-digest":"sha256:{hex}","compressed-size":3,
            "diff-digest":"sha256:{hex}","diff-size":9,"compression":2,"uidset":[0]}}]"#
        ),
        &format!(r#"[{{"id":"{hex}"}},{{"id":"{hex}","diff-digest":"sha512:00"}}]"#),
        "[]",
    ])
}
