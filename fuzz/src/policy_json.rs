//! policy.json.
//!
//! - What is accepted has requirements for every scope and by default, and none of them is empty.
//! - With a second `default`, an unknown key or another text behind it, it is refused.
//! - A refusal is one line of printable text.

use oci2sysext::trust::{PolicyFile, Requirement, Signer};

pub fn run(data: &[u8]) {
    let file = match PolicyFile::parse(data) {
        Ok(file) => file,
        Err(line) => {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            return;
        }
    };
    let of_scopes = file.transports.values().flat_map(|scopes| scopes.values());
    for requirements in of_scopes.chain([&file.default]) {
        assert!(!requirements.is_empty());
        for requirement in requirements {
            if let Requirement::Sigstore(signed) = requirement {
                match &signed.signer {
                    Signer::Keys(keys) => assert!(!keys.is_empty()),
                    Signer::Fulcio { oidc_issuer, subject_email, .. } => {
                        assert!(!oidc_issuer.is_empty() && !subject_email.is_empty());
                        assert!(!signed.rekor_keys.is_empty());
                    }
                    Signer::Pki { subject_email, subject_hostname, .. } => {
                        assert!(subject_email.is_some() || subject_hostname.is_some());
                    }
                }
            }
        }
    }
    let text = std::str::from_utf8(data).unwrap().trim();
    let inner = text.strip_prefix('{').unwrap();
    for changed in [
        format!("{{\"unknown\":1,{inner}"),
        format!("{{\"default\":[{{\"type\":\"reject\"}}],{inner}"),
        format!("{text}{{}}"),
    ] {
        assert!(PolicyFile::parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"q.io/a":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"matchRepository"}}]}}}"#,
        r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/g"]}],"transports":{"dir":{"/a":[{"type":"reject"}]}}}"#,
        r#"{"default":[{"type":"sigstoreSigned","fulcio":{"caData":"YQ==","oidcIssuer":"i","subjectEmail":"s"},"rekorPublicKeyDatas":["YQ=="],"signedIdentity":{"type":"remapIdentity","prefix":"a.b","signedPrefix":"c.d/e"}}]}"#,
        r#"{"default":[{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","caIntermediatesData":"YQ==","subjectHostname":"h"},"signedIdentity":{"type":"exactReference","dockerReference":"q.io/a:1"}}]}"#,
        r#"{"default":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"exactRepository","dockerRepository":"a"}}]}"#,
    ])
}
