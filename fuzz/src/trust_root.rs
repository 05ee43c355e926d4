//! `trusted_root.json`.
//!
//! What is accepted is a JSON object of that media type with an authority or a log.

use oci2sysext::verify::TrustRoot;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Ok(root) = TrustRoot::from_json(data) else { return };
    let value: Value = serde_json::from_slice(data).unwrap();
    let media_type = value["mediaType"].as_str().unwrap();
    assert!(media_type.starts_with("application/vnd.dev.sigstore.trustedroot"));
    let some = |name: &str| value[name].as_array().is_some_and(|list| !list.is_empty());
    assert!(some("certificateAuthorities") || some("tlogs"));
    for now in ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z"] {
        assert!(root.check_current(now.parse().unwrap()).is_err());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let log = r#"{"baseUrl":"https://log.test","hashAlgorithm":"SHA2_256","publicKey":{"rawBytes":"MCowBQYDK2VwAyEAt8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244=","keyDetails":"PKIX_ED25519","validFor":{"start":"2025-09-23T00:00:00Z"}},"logId":{"keyId":"zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A="}}"#;
    let root = |logs: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{logs}],"certificateAuthorities":[]}}"#
        )
        .into_bytes()
    };
    vec![root(log), root(&format!("{log},{log}")), root("")]
}
