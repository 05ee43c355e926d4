//! A sigstore bundle: a signature with all that is needed to verify it, in one JSON text (B3, B4).
//!
//! Read strictly: protojson as its specification has it, each key once, in its own case, and none
//! that is not known.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sigstore_verify::types::{self, pae};

use super::rekor::{Entry, Proof};
use crate::json;

const MAX_DEPTH: usize = 16;
/// As many signed timestamps as a bundle may have.
const MAX_TIMESTAMPS: usize = 32;

/// A bundle, read and not believed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bundle {
    pub version: Version,
    pub material: Material,
    pub content: Content,
    pub entries: Vec<Entry>,
    /// Timestamps by authorities (RFC 3161), DER.
    pub timestamps: Vec<Vec<u8>>,
}

/// The versions of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    V2,
    V3,
}

/// Who is said to have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Material {
    /// The holder of a key; which one is only a hint, and not kept.
    Key,
    /// The holder of a certificate, DER; others may come with it.
    Certificate { leaf: Vec<u8>, beside: Vec<Vec<u8>> },
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Something outside of the bundle.
    Message { signature: Vec<u8>, digest: Option<MessageDigest> },
    /// An envelope (DSSE), with its one signature.
    Envelope { payload_type: String, payload: Vec<u8>, signature: Vec<u8> },
}

/// What a bundle says of the message that it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageDigest {
    pub algorithm: String,
    pub digest: Vec<u8>,
}

impl Bundle {
    /// Reads a bundle; gives what sigstore's own types make of the same text as well, where it has a
    /// certificate.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = json::parse(bytes, MAX_DEPTH)?;
        check_arrays(&value)?;
        let document = Document::deserialize(value).map_err(|error| error.to_string())?;
        let version = match &*document.media_type {
            "application/vnd.dev.sigstore.bundle+json;version=0.1" => Version::V1,
            "application/vnd.dev.sigstore.bundle+json;version=0.2" => Version::V2,
            "application/vnd.dev.sigstore.bundle+json;version=0.3"
            | "application/vnd.dev.sigstore.bundle.v0.3+json" => Version::V3,
            other => {
                let start: String = other.chars().take(80).collect();
                return Err(format!("mediaType: found {start:?}, expected a bundle 0.1 to 0.3"));
            }
        };
        let MaterialDocument {
            certificate,
            x509_certificate_chain,
            public_key,
            tlog_entries,
            timestamp_verification_data,
        } = document.verification_material;
        let material = match (certificate, x509_certificate_chain, public_key) {
            (Some(leaf), None, None) => {
                Material::Certificate { leaf: leaf.raw_bytes.0, beside: Vec::new() }
            }
            (None, Some(_), None) if version == Version::V3 => {
                return Err("found a chain of certificates, expected one certificate".to_owned());
            }
            (None, Some(chain), None) => {
                let mut chain = chain.certificates.into_iter().map(|c| c.raw_bytes.0);
                let leaf = chain.next().ok_or("found no certificate in the chain")?;
                Material::Certificate { leaf, beside: chain.collect() }
            }
            (None, None, Some(_)) => Material::Key,
            _ => return Err("verificationMaterial: expected one certificate or publicKey".into()),
        };
        let content = match (document.message_signature, document.dsse_envelope) {
            (Some(message), None) => Content::Message {
                signature: message.signature.0,
                digest: message.message_digest.map(|digest| MessageDigest {
                    algorithm: digest.algorithm,
                    digest: digest.digest.0,
                }),
            },
            (None, Some(envelope)) => {
                let found = envelope.signatures.len();
                let mut signatures = envelope.signatures.into_iter();
                let (Some(signature), None) = (signatures.next(), signatures.next()) else {
                    return Err(format!("found {found} signatures, expected exactly one"));
                };
                Content::Envelope {
                    payload_type: envelope.payload_type,
                    payload: envelope.payload.0,
                    signature: signature.sig.0,
                }
            }
            _ => return Err("expected one of messageSignature and dsseEnvelope".to_owned()),
        };
        let entries = tlog_entries.unwrap_or_default();
        let entries = entries.into_iter().map(EntryDocument::read).collect::<Result<_, _>>()?;
        let timestamps = timestamp_verification_data.and_then(|data| data.rfc3161_timestamps);
        let timestamps: Vec<_> =
            timestamps.into_iter().flatten().map(|stamp| stamp.signed_timestamp.0).collect();
        if timestamps.len() > MAX_TIMESTAMPS {
            return Err(format!("found {} timestamps, expected at most 32", timestamps.len()));
        }
        Ok(Self { version, material, content, entries, timestamps })
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        match &self.content {
            Content::Message { signature, .. } | Content::Envelope { signature, .. } => signature,
        }
    }

    /// What an envelope's signature is of; none if something else is signed.
    pub fn pae(&self) -> Option<Vec<u8>> {
        match &self.content {
            Content::Envelope { payload_type, payload, .. } => Some(pae(payload_type, payload)),
            Content::Message { .. } => None,
        }
    }

    /// The same as the library reads it, for what is left to it.
    pub fn library(bytes: &[u8]) -> Result<types::Bundle, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        types::Bundle::from_json(text).map_err(|error| error.to_string())
    }
}

/// Checks that arrays are where the format has them: serde takes one for an object as well, field by
/// field, and no other reader does.
fn check_arrays(value: &Value) -> Result<(), String> {
    const ARRAYS: [&str; 5] =
        ["certificates", "tlogEntries", "rfc3161Timestamps", "hashes", "signatures"];
    let Some(object) = value.as_object() else {
        return Err("expected an object".to_owned());
    };
    for (key, value) in object {
        match value {
            Value::Array(values) if ARRAYS.contains(&&**key) => {
                for value in values.iter().filter(|value| !value.is_string()) {
                    check_arrays(value)?;
                }
            }
            Value::Array(_) => return Err(format!("{key}: found an array")),
            Value::Object(_) => check_arrays(value)?,
            _ => {}
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    media_type: String,
    verification_material: MaterialDocument,
    message_signature: Option<MessageDocument>,
    dsse_envelope: Option<EnvelopeDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MaterialDocument {
    certificate: Option<CertificateDocument>,
    x509_certificate_chain: Option<ChainDocument>,
    public_key: Option<KeyDocument>,
    tlog_entries: Option<Vec<EntryDocument>>,
    timestamp_verification_data: Option<TimestampsDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CertificateDocument {
    raw_bytes: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainDocument {
    certificates: Vec<CertificateDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyDocument {
    #[serde(rename = "hint")]
    _hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageDocument {
    message_digest: Option<DigestDocument>,
    signature: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestDocument {
    algorithm: String,
    digest: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnvelopeDocument {
    payload: Bytes,
    payload_type: String,
    signatures: Vec<SignatureDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureDocument {
    sig: Bytes,
    #[serde(rename = "keyid")]
    _keyid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TimestampsDocument {
    rfc3161_timestamps: Option<Vec<TimestampDocument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TimestampDocument {
    signed_timestamp: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntryDocument {
    log_index: Option<Int>,
    log_id: LogDocument,
    kind_version: KindDocument,
    integrated_time: Option<Int>,
    inclusion_promise: Option<PromiseDocument>,
    inclusion_proof: Option<ProofDocument>,
    canonicalized_body: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogDocument {
    key_id: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindDocument {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PromiseDocument {
    signed_entry_timestamp: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProofDocument {
    log_index: Option<Int>,
    root_hash: Bytes,
    tree_size: Int,
    hashes: Option<Vec<Bytes>>,
    checkpoint: Option<CheckpointDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointDocument {
    envelope: String,
}

impl EntryDocument {
    fn read(self) -> Result<Entry, String> {
        let index = |found: Option<Int>, what: &str| {
            let found = found.map_or(0, |number| number.0);
            u64::try_from(found)
                .map_err(|_| format!("{what}: found {found}, expected no less than 0"))
        };
        let proof = self.inclusion_proof.map(|proof| -> Result<Proof, String> {
            let hash = |bytes: Bytes| {
                let found = bytes.0.len();
                <[u8; 32]>::try_from(bytes.0)
                    .map_err(|_| format!("found a hash of {found} bytes, expected 32"))
            };
            Ok(Proof {
                index: index(proof.log_index, "logIndex")?,
                size: index(Some(proof.tree_size), "treeSize")?,
                root: hash(proof.root_hash)?,
                hashes: proof.hashes.into_iter().flatten().map(hash).collect::<Result<_, _>>()?,
                checkpoint: proof.checkpoint.map(|it| it.envelope).unwrap_or_default(),
            })
        });
        Ok(Entry {
            log_id: self.log_id.key_id.0,
            index: index(self.log_index, "logIndex")?,
            time: self.integrated_time.map_or(0, |number| number.0),
            promise: self.inclusion_promise.map(|promise| promise.signed_entry_timestamp.0),
            proof: proof.transpose()?,
            body: self.canonicalized_body.0,
            kind: Some((self.kind_version.kind, self.kind_version.version)),
        })
    }
}

/// Bytes in standard base64 with padding; Go's decoder skips line ends, so there are such (L4).
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A whole number, as protojson writes it (in a string) or not.
struct Int(i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(i64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Self(number)),
            Form::Text(text) => {
                let is_plain = text == "0" || !text.trim_start_matches('-').starts_with(['0', '+']);
                text.parse()
                    .ok()
                    .filter(|_| is_plain)
                    .map(Self)
                    .ok_or_else(|| serde::de::Error::custom("expected a whole number"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{"logIndex":"1",
        "logId":{"keyId":"AAAA"},"kindVersion":{"kind":"dsse","version":"0.0.1"},
        "integratedTime":"1","inclusionPromise":{"signedEntryTimestamp":"AAAA"},
        "inclusionProof":{"logIndex":"1","treeSize":"2","hashes":[],
        "rootHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","checkpoint":{"envelope":"x"}},
        "canonicalizedBody":"AAAA"}]},"dsseEnvelope":{"payload":"AA\nAA","payloadType":"x",
        "signatures":[{"sig":"AAAA","keyid":""}]}}"#;

    #[test]
    fn a_bundle_is_read() {
        let bundle = Bundle::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((bundle.version, bundle.material), (Version::V3, Material::Key));
        assert_eq!(bundle.entries.len(), 1);
    }

    #[test]
    fn a_bundle_has_at_most_32_timestamps() {
        for (count, is_good) in [(0, true), (1, true), (32, true), (33, false)] {
            let stamps = vec![r#"{"signedTimestamp":"AAAA"}"#; count].join(",");
            let stamps =
                format!(r#""timestampVerificationData":{{"rfc3161Timestamps":[{stamps}]}}"#);
            let bundle = GOOD.replacen(r#""publicKey""#, &format!(r#"{stamps},"publicKey""#), 1);
            match Bundle::parse(bundle.as_bytes()) {
                Ok(bundle) => assert!(is_good && bundle.timestamps == vec![[0, 0, 0]; count]),
                Err(error) => assert!(!is_good && error.contains("33 timestamps"), "{error}"),
            }
        }
    }

    /// Texts are where hashes are, objects where objects are, and arrays nowhere else.
    #[test]
    fn arrays_are_where_the_format_has_them() {
        let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let hashes = |hashes: &str| GOOD.replacen(r#""hashes":[]"#, hashes, 1);
        let good = hashes(&format!(r#""hashes":["{hash}"]"#));
        let bundle = Bundle::parse(good.as_bytes()).unwrap();
        assert_eq!(bundle.entries[0].proof.as_ref().unwrap().hashes, [[0; 32]]);
        for bad in [
            hashes(r#""hashes":[{}]"#),
            hashes(&format!(r#""hashes":[["{hash}"]]"#)),
            GOOD.replacen(r#"{"hint":"x"}"#, r#"["x"]"#, 1),
            GOOD.replacen(r#"[{"sig":"AAAA","keyid":""}]"#, r#"[["AAAA",""]]"#, 1),
            format!("[{GOOD}]"),
        ] {
            assert_ne!(bad, GOOD);
            assert!(Bundle::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bundle_panics(at in 0..GOOD.len(), byte in 0x20..0x7f_u8, bytes: Vec<u8>) {
            let mut changed = GOOD.as_bytes().to_vec();
            changed[at] = byte;
            for bytes in [changed, bytes] {
                let _ = (Bundle::parse(&bytes), Bundle::library(&bytes));
            }
        }
    }
}
