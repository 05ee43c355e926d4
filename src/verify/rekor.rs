//! Transparency logs: proofs that a log took a signature, and that its entry is about this one
//! (L7, B7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use sigstore_merkle::{hash_leaf, verify_inclusion_proof};
use sigstore_verify::crypto::Checkpoint;
use sigstore_verify::types::{Sha256Hash, TimeRange};

use super::trust_root::log_id;
use super::{PublicKey, fields, key};
use crate::json;

/// As many entries as a bundle may have (B7).
const MAX_ENTRIES: usize = 32;
const MAX_DEPTH: usize = 16;

/// The logs that are believed, at least one by their shape.
#[derive(Clone, Debug)]
pub struct Logs {
    first: Log,
    others: Vec<Log>,
}

/// A log.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub key: PublicKey,
    /// How entries name it.
    pub id: Vec<u8>,
    /// Its host, which its checkpoints name; none where only a key is configured.
    pub host: Option<String>,
    /// When its key was in use.
    pub window: Option<TimeRange>,
}

/// An entry of a log, as a signature carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub log_id: Vec<u8>,
    pub index: u64,
    /// Seconds since 1970; only a promise makes it believable.
    pub time: i64,
    /// The signed entry timestamp (SET).
    pub promise: Option<Vec<u8>>,
    pub proof: Option<Proof>,
    pub body: Vec<u8>,
    /// What the bundle says the body is.
    pub kind: Option<(String, String)>,
}

/// A proof that an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub index: u64,
    pub size: u64,
    pub root: [u8; 32],
    pub hashes: Vec<[u8; 32]>,
    pub checkpoint: String,
}

/// How a log must have vouched for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// By its promise, as the older formats carry it.
    Promise,
    /// By a proof; a promise that is there must be right as well.
    Proof,
}

/// What an entry must be about: all three (CVE-2026-22703).
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged<'a> {
    pub signature: &'a [u8],
    /// The key's `SubjectPublicKeyInfo`, DER.
    pub key: &'a [u8],
    pub content: Content<'a>,
}

/// What was signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// A message.
    Message(&'a [u8]),
    /// A message of which only the SHA-256 is known.
    Digest(&'a [u8; 32]),
    /// An envelope: its payload, and the encoding that was signed.
    Envelope { payload: &'a [u8], pae: &'a [u8] },
}

impl Logs {
    /// The logs, if there are any.
    pub(super) fn new(logs: Vec<Log>) -> Option<Self> {
        let mut logs = logs.into_iter();
        let first = logs.next()?;
        Some(Self { first, others: logs.collect() })
    }

    /// Logs of which only the keys are known (`--rekor-key`).
    pub fn of_keys(first: PublicKey, others: Vec<PublicKey>) -> Self {
        let log = |key: PublicKey| Log { id: log_id(&key), key, host: None, window: None };
        Self { first: log(first), others: others.into_iter().map(log).collect() }
    }

    fn find(&self, id: &[u8]) -> Option<&Log> {
        std::iter::once(&self.first).chain(&self.others).find(|log| log.id == id)
    }

    pub(super) fn knows(&self, id: &[u8]) -> bool {
        self.find(id).is_some()
    }

    /// Checks the entries of logs that are known, of which there must be one; gives them, and the
    /// times that are proven by them.
    ///
    /// An entry of a log that is not known proves nothing, and does no harm (B7).
    pub(super) fn verify<'e>(
        &self,
        entries: &'e [Entry],
        demand: Demand,
    ) -> Result<(Vec<&'e Entry>, Vec<Timestamp>), String> {
        if entries.len() > MAX_ENTRIES {
            return Err(format!("found {} entries, expected at most {MAX_ENTRIES}", entries.len()));
        }
        let (mut known, mut times) = (Vec::new(), Vec::new());
        for (number, entry) in entries.iter().enumerate() {
            let same = |other: &Entry| other.log_id == entry.log_id && other.index == entry.index;
            if entries.iter().skip(number + 1).any(same) {
                return Err(format!("found the entry {} twice", entry.index));
            }
            let Some(log) = self.find(&entry.log_id) else { continue };
            times.extend(log.verify(entry, demand)?);
            known.push(entry);
        }
        // A key alone is not enough there: the log's own name goes into the log's id.
        let by_key_alone = self.first.host.is_none();
        if known.is_empty() && by_key_alone && entries.iter().any(|e| e.is_v2() == Ok(true)) {
            return Err("found an entry of Rekor's version 2, whose logs are not known by a key \
                        alone, expected --trusted-root FILE in place of --rekor-key"
                .to_owned());
        }
        if known.is_empty() {
            return Err(format!(
                "found no entry of a log that is configured among {}, expected one",
                entries.len()
            ));
        }
        Ok((known, times))
    }
}

impl Log {
    /// Checks what the log says of an entry; gives the time, if it says one.
    fn verify(&self, entry: &Entry, demand: Demand) -> Result<Option<Timestamp>, String> {
        let is_v2 = entry.is_v2()?;
        let mut time = None;
        if let Some(promise) = &entry.promise {
            if is_v2 {
                return Err("found a promise for an entry of version 2, expected none".to_owned());
            }
            time = Some(self.verify_promise(entry, promise)?);
        } else if demand == Demand::Promise {
            return Err("found no signed entry timestamp, expected one".to_owned());
        }
        match (&entry.proof, demand) {
            (Some(proof), _) => self.verify_proof(entry, proof, is_v2)?,
            (None, Demand::Proof) => return Err("found no inclusion proof, expected one".into()),
            (None, Demand::Promise) => {}
        }
        Ok(time)
    }

    /// The signature is of the canonical JSON of these four (RFC 8785), in this order; none of them
    /// needs an escape.
    fn verify_promise(&self, entry: &Entry, promise: &[u8]) -> Result<Timestamp, String> {
        let message = format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
            STANDARD.encode(&entry.body),
            entry.time,
            hex(&entry.log_id),
            entry.index
        );
        if !self.key.is_signed(message.as_bytes(), promise) {
            return Err("the signed entry timestamp is not by the log".to_owned());
        }
        let time = Timestamp::from_second(entry.time).map_err(|error| error.to_string())?;
        match self.window {
            Some(window) if !window.contains(time) => {
                Err(format!("found the time {time}, at which the log's key was not in use"))
            }
            _ => Ok(time),
        }
    }

    fn verify_proof(&self, entry: &Entry, proof: &Proof, is_v2: bool) -> Result<(), String> {
        let checkpoint = Checkpoint::from_text(&proof.checkpoint)
            .map_err(|error| format!("checkpoint: {error}"))?;
        if !is_canonical(&proof.checkpoint, &checkpoint) {
            return Err("checkpoint: found more than one way to read it, expected one".to_owned());
        }
        let root = checkpoint.root_hash();
        // Version 2 means the entry's own index and the checkpoint's size and root.
        let index = if is_v2 { entry.index } else { proof.index };
        if !is_v2 && (root.as_bytes() != &proof.root || checkpoint.tree_size() != proof.size) {
            return Err("the checkpoint is of another tree than the proof".to_owned());
        }
        if is_v2 && self.host.as_deref().is_some_and(|host| host != checkpoint.origin()) {
            return Err(format!("the checkpoint is of another log ({:?})", checkpoint.origin()));
        }
        let signed = checkpoint.signatures().iter().any(|signature| {
            let hint = self.id.get(..4).is_some_and(|hint| hint == signature.key_id.as_bytes());
            // Version 1 appends the number of its tree.
            let rest = checkpoint.origin().strip_prefix(&signature.name);
            let named =
                rest.is_some_and(|rest| rest.is_empty() || !is_v2 && rest.starts_with(" - "));
            let signature = signature.signature.as_bytes();
            hint && named && self.key.is_signed(checkpoint.signed_data(), signature)
        });
        if !signed {
            return Err("the checkpoint is not signed by the log".to_owned());
        }
        let hashes: Vec<_> = proof.hashes.iter().map(|hash| Sha256Hash::new(*hash)).collect();
        let leaf = hash_leaf(&entry.body);
        verify_inclusion_proof(&leaf, index, checkpoint.tree_size(), &hashes, root)
            .map_err(|error| format!("inclusion proof: {error}"))
    }
}

impl Entry {
    /// Reads cosign's annotation `dev.sigstore.cosign/bundle` (L7).
    pub fn from_annotation(text: &str) -> Result<Self, String> {
        let root: Value = json::parse(text.as_bytes(), MAX_DEPTH)?;
        let [promise, payload] =
            fields::exact_fields("bundle", &root, ["SignedEntryTimestamp", "Payload"])?;
        let names = ["body", "integratedTime", "logIndex", "logID"];
        let [body, time, index, id] = fields::exact_fields("Payload", payload, names)?;
        let number = |name: &str, value: &Value| {
            value.as_i64().ok_or_else(|| format!("{name}: expected a whole number"))
        };
        let time = number("integratedTime", time)?;
        let index = number("logIndex", index)?;
        Ok(Self {
            log_id: unhex("logID", fields::string("logID", id)?)?,
            index: u64::try_from(index).map_err(|_| "logIndex: found a negative number")?,
            time,
            promise: Some(base64("SignedEntryTimestamp", promise)?),
            proof: None,
            body: base64("body", body)?,
            kind: None,
        })
    }

    /// Whether it is of a log of Rekor's version 2.
    pub fn is_v2(&self) -> Result<bool, String> {
        let (kind, version) = self.kind()?;
        Ok(kind == "hashedrekord" && version == "0.0.2")
    }

    /// Kind and version.
    pub fn kind(&self) -> Result<(String, String), String> {
        self.parse().map(|(kind, _)| kind)
    }

    /// Kind and version, and the rest of the body.
    fn parse(&self) -> Result<((String, String), Value), String> {
        let root: Value = json::parse(&self.body, MAX_DEPTH)?;
        let names = ["apiVersion", "kind", "spec"];
        let [version, kind, spec] = fields::exact_fields("entry", &root, names)?;
        let kind = fields::string("kind", kind)?.to_owned();
        let version = fields::string("apiVersion", version)?.to_owned();
        let found = (kind, version);
        if self.kind.as_ref().is_some_and(|said| *said != found) {
            return Err("the entry is of another kind than its bundle says".to_owned());
        }
        Ok((found, spec.clone()))
    }

    /// Checks that the entry is about this signature, this key and this content: all three, in one
    /// place, with no way out between them (CVE-2022-36056, CVE-2026-22703).
    pub fn is_about(&self, logged: &Logged<'_>) -> Result<(), String> {
        let ((kind, version), spec) = self.parse()?;
        let found = match (&*kind, &*version) {
            ("hashedrekord", "0.0.1") => hashedrekord_v1(&spec)?,
            ("hashedrekord", "0.0.2") => hashedrekord_v2(&spec)?,
            ("dsse", "0.0.1") => dsse_v1(&spec)?,
            _ => {
                return Err(format!(
                    "found an entry of kind {kind:?} {version:?}, expected hashedrekord or dsse"
                ));
            }
        };
        let expected = match (&*kind, logged.content) {
            ("dsse", Content::Envelope { payload, .. }) => found.algorithm.digest(payload),
            ("dsse", _) => return Err("found an entry of an envelope".to_owned()),
            (_, Content::Message(message)) => found.algorithm.digest(message),
            (_, Content::Digest(digest)) if found.algorithm == Algorithm::Sha256 => digest.to_vec(),
            (_, Content::Digest(_)) => return Err("found another digest than sha256".to_owned()),
            (_, Content::Envelope { pae, .. }) => found.algorithm.digest(pae),
        };
        let same = [
            ("signature", found.signature == logged.signature),
            ("key", found.key == logged.key),
            ("content", found.digest == expected),
        ];
        let others: Vec<_> = same.iter().filter(|(_, same)| !same).map(|(what, _)| *what).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(format!("the entry is about another {}", others.join(" and another ")))
    }
}

/// Whether a checkpoint's text is the one that says what was read, and nothing else (C2SP signed
/// note): the library trims lines, and leaves out what follows another empty one.
fn is_canonical(text: &str, checkpoint: &Checkpoint) -> bool {
    let body = checkpoint.to_signed_note_body();
    let lines: Vec<String> = checkpoint
        .signatures()
        .iter()
        .map(|signature| {
            let bytes = [&signature.key_id.as_bytes()[..], signature.signature.as_bytes()].concat();
            format!("\u{2014} {} {}", signature.name, STANDARD.encode(bytes))
        })
        .collect();
    let whole = format!("{body}\n{}\n", lines.join("\n"));
    checkpoint.signed_data() == body.as_bytes() && text == whole
}

/// What an entry is about.
struct About {
    algorithm: Algorithm,
    digest: Vec<u8>,
    signature: Vec<u8>,
    key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn of(value: &Value) -> Result<Self, String> {
        match fields::string("algorithm", value)? {
            "sha256" | "SHA2_256" => Ok(Self::Sha256),
            "sha384" | "SHA2_384" => Ok(Self::Sha384),
            "sha512" | "SHA2_512" => Ok(Self::Sha512),
            other => Err(format!("algorithm: found {other:?}, expected sha256, sha384 or sha512")),
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

fn hashedrekord_v1(spec: &Value) -> Result<About, String> {
    let [data, signature] = fields::exact_fields("spec", spec, ["data", "signature"])?;
    let [hash] = fields::exact_fields("data", data, ["hash"])?;
    let [algorithm, value] = fields::exact_fields("hash", hash, ["algorithm", "value"])?;
    let [content, key] = fields::exact_fields("signature", signature, ["content", "publicKey"])?;
    let [key] = fields::exact_fields("publicKey", key, ["content"])?;
    Ok(About {
        algorithm: Algorithm::of(algorithm)?,
        digest: unhex("value", fields::string("value", value)?)?,
        signature: base64("content", content)?,
        key: pem("publicKey", key)?,
    })
}

fn hashedrekord_v2(spec: &Value) -> Result<About, String> {
    let [spec] = fields::exact_fields("spec", spec, ["hashedRekordV002"])?;
    let [data, signature] = fields::exact_fields("hashedRekordV002", spec, ["data", "signature"])?;
    let [algorithm, digest] = fields::exact_fields("data", data, ["algorithm", "digest"])?;
    let [content, verifier] =
        fields::exact_fields("signature", signature, ["content", "verifier"])?;
    let [_, key] = fields::exact_fields("verifier", verifier, ["keyDetails", "publicKey"])?;
    let [key] = fields::exact_fields("publicKey", key, ["rawBytes"])?;
    Ok(About {
        algorithm: Algorithm::of(algorithm)?,
        digest: base64("digest", digest)?,
        signature: base64("content", content)?,
        key: base64("rawBytes", key)?,
    })
}

fn dsse_v1(spec: &Value) -> Result<About, String> {
    let names = ["envelopeHash", "payloadHash", "signatures"];
    // The envelope's hash is of the JSON that the signer sent, which nobody can make again.
    let [_, payload, signatures] = fields::exact_fields("spec", spec, names)?;
    let [algorithm, value] = fields::exact_fields("payloadHash", payload, ["algorithm", "value"])?;
    let [signature] = signatures.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err("signatures: expected exactly one".to_owned());
    };
    let [signature, verifier] =
        fields::exact_fields("signature", signature, ["signature", "verifier"])?;
    Ok(About {
        algorithm: Algorithm::of(algorithm)?,
        digest: unhex("value", fields::string("value", value)?)?,
        signature: base64("signature", signature)?,
        key: pem("verifier", verifier)?,
    })
}

/// Standard base64 with padding.
fn base64(what: &str, value: &Value) -> Result<Vec<u8>, String> {
    let text = fields::string(what, value)?;
    STANDARD.decode(text).map_err(|error| format!("{what}: no base64: {error}"))
}

/// The bytes of a PEM block with nothing around it, in base64.
fn pem(what: &str, value: &Value) -> Result<Vec<u8>, String> {
    let pem = base64(what, value)?;
    key::pem_block(&pem).map(|(_, der)| der).map_err(|error| format!("{what}: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The bytes of some lowercase hexadecimal digits.
fn unhex(what: &str, text: &str) -> Result<Vec<u8>, String> {
    let broken = || format!("{what}: expected pairs of lowercase hexadecimal digits");
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(broken());
    }
    pairs
        .iter()
        .map(|pair| {
            let digits = std::str::from_utf8(pair).map_err(|_| broken())?;
            u8::from_str_radix(digits, 16).map_err(|_| broken())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The log with an Ed25519 key that nobody has.
    fn log() -> Log {
        let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", &[9; 32][..]].concat();
        let key = PublicKey::from_spki(&spki).unwrap();
        Log { id: log_id(&key), key, host: Some("log.test".to_owned()), window: None }
    }

    proptest! {
        #[test]
        fn no_annotation_panics(text in r#"[\[\]{}",:a-zA-Z0-9]{0,60}"#) {
            let _ = Entry::from_annotation(&text);
        }

        #[test]
        fn no_entry_panics(
            body in r#"[\[\]{}",:a-z0-9.]{0,60}"#,
            checkpoint in "(log\\.test( - 1)?\n[0-9]{1,20}\n[A-Za-z0-9+/]{43}=\n\n\u{2014} log\\.test [A-Za-z0-9+/]{8}\n|\\PC{0,40})",
            index: u64,
            size: u64,
            time: i64,
            hashes: Vec<[u8; 32]>,
            v2: bool,
        ) {
            let log = log();
            let version = if v2 { "0.0.2" } else { "0.0.1" };
            let known = format!(r#"{{"apiVersion":"{version}","kind":"hashedrekord","spec":{{}}}}"#);
            for body in [body, known] {
                let proof = Proof { index, size, root: [0; 32], hashes: hashes.clone(), checkpoint: checkpoint.clone() };
                let entry = Entry {
                    log_id: log.id.clone(),
                    index,
                    time,
                    promise: (!v2).then(|| vec![0; 64]),
                    proof: Some(proof),
                    body: body.into_bytes(),
                    kind: None,
                };
                let content = Content::Message(b"x");
                let logged = Logged { signature: b"x", key: b"x", content };
                prop_assert!(entry.is_about(&logged).is_err());
                prop_assert!(log.verify(&entry, Demand::Proof).is_err());
            }
        }
    }
}
