//! A simple-signing payload with a certificate: cosign's first format, keyless (K1 to K5).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::certificate::{pem_certificate, pem_chain};
use super::keyless::{self, Signed};
use super::rekor::Entry;
use super::simple_signing::{BUNDLE, CERTIFICATE};
use super::{CertificateSigner, Certified, Reason, fields};
use crate::json;

const CHAIN: &str = "dev.sigstore.cosign/chain";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// Checks a signature of `payload` by what is annotated beside it.
pub(super) fn check(
    payload: &[u8],
    signature: &[u8],
    annotations: &BTreeMap<String, String>,
    signer: &CertificateSigner,
) -> Result<Certified, Reason> {
    let certificate = annotations.get(CERTIFICATE).ok_or(Reason::NoCertificate)?;
    let (entry, timestamp) = (annotations.get(BUNDLE), annotations.get(TIMESTAMP));
    let bundle = chain(annotations)
        .and_then(|chain| bundle(signature, certificate, chain, entry, timestamp))
        .map_err(|problem| Reason::Certificate { problem })?;
    let text = bundle.to_string().into_bytes();
    let broken = |problem| Reason::Certificate { problem };
    let bundle = Bundle::parse(&text).map_err(broken)?;
    let library = Bundle::library(&text).map_err(broken)?;
    keyless::check(&bundle, library, Signed::Bytes(payload), signer)
}

/// The certificates between the signer's and the root, DER, that are annotated. The last of the
/// annotation is the root: cosign and containers/image take no other certificate from its place.
pub(super) fn chain(annotations: &BTreeMap<String, String>) -> Result<Vec<Vec<u8>>, String> {
    let Some(chain) = annotations.get(CHAIN).filter(|chain| !chain.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut chain = pem_chain(chain.as_bytes())?;
    chain.pop();
    Ok(chain)
}

/// The same in the form of a bundle.
fn bundle(
    signature: &[u8],
    certificate: &str,
    chain: Vec<Vec<u8>>,
    entry: Option<&String>,
    timestamp: Option<&String>,
) -> Result<Value, String> {
    let mut certificates = vec![pem_certificate(certificate.as_bytes())?];
    certificates.extend(chain);
    let raw = |der: &Vec<u8>| json!({ "rawBytes": STANDARD.encode(der) });
    let certificates: Vec<_> = certificates.iter().map(raw).collect();
    let entries = entry.map(|text| Entry::from_annotation(text).and_then(entry_of)).transpose()?;
    let timestamps = timestamp.filter(|text| !text.is_empty());
    let timestamps = timestamps.map(|text| timestamp_of(text)).transpose()?;
    // The first version of bundles has promises, the second proofs.
    let version = if entries.is_some() { "0.1" } else { "0.2" };
    Ok(json!({
        "mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}"),
        "verificationMaterial": {
            "x509CertificateChain": { "certificates": certificates },
            "tlogEntries": entries.into_iter().collect::<Vec<_>>(),
            "timestampVerificationData": {
                "rfc3161Timestamps": timestamps.into_iter().collect::<Vec<_>>(),
            },
        },
        "messageSignature": { "signature": STANDARD.encode(signature) },
    }))
}

fn entry_of(entry: Entry) -> Result<Value, String> {
    let (kind, version) = entry.kind()?;
    Ok(json!({
        "logIndex": entry.index.to_string(),
        "logId": { "keyId": STANDARD.encode(&entry.log_id) },
        "kindVersion": { "kind": kind, "version": version },
        "integratedTime": entry.time.to_string(),
        "inclusionPromise": {
            "signedEntryTimestamp": STANDARD.encode(entry.promise.unwrap_or_default()),
        },
        "canonicalizedBody": STANDARD.encode(&entry.body),
    }))
}

fn timestamp_of(text: &str) -> Result<Value, String> {
    let root: Value = json::parse(text.as_bytes(), 4)?;
    let [stamp] = fields::exact_fields("rfc3161timestamp", &root, ["SignedRFC3161Timestamp"])?;
    let stamp = fields::string("SignedRFC3161Timestamp", stamp)?;
    Ok(json!({ "signedTimestamp": stamp }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    /// What is annotated arrives where bundles have it, whole.
    #[test]
    fn annotations_become_a_bundle() {
        let stamp = r#"{"SignedRFC3161Timestamp":"AQID"}"#.to_owned();
        let text = bundle(b"s", PEM, vec![vec![7]], None, Some(&stamp)).unwrap().to_string();
        let found = Bundle::parse(text.as_bytes()).unwrap();
        assert_eq!(found.timestamps, [[1, 2, 3]]);
        assert_eq!(found.signature(), b"s");
        let leaf = vec![0x30, 0];
        assert_eq!(
            found.material,
            super::super::bundle::Material::Certificate { leaf, beside: vec![vec![7]] }
        );
        // cosign leaves empty what it does not have.
        let text = bundle(b"s", PEM, Vec::new(), None, Some(&String::new())).unwrap().to_string();
        assert!(Bundle::parse(text.as_bytes()).unwrap().timestamps.is_empty());
        for bad in ["{}", "[]", "x", r#"{"SignedRFC3161Timestamp":7}"#] {
            assert!(bundle(b"s", PEM, Vec::new(), None, Some(&bad.to_owned())).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_of_a_chain_is_its_root() {
        let of = |count| {
            let annotations = BTreeMap::from([(CHAIN.to_owned(), PEM.repeat(count))]);
            chain(&annotations).unwrap().len()
        };
        assert_eq!([0, 1, 2, 3].map(of), [0, 0, 1, 2]);
        assert!(chain(&BTreeMap::new()).unwrap().is_empty());
    }
}
