//! A sigstore instance of our own: an authority, a certificate log and a transparency log, whose
//! keys the tests hold, so that each thing can be wrong alone.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci2sysext::oci::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey,
    date_time_ymd,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// When all was signed, in seconds since 1970 (2026-06-01).
pub const SIGNED: u64 = 1_780_272_000;
/// Who signed.
pub const SUBJECT: &str = "me@example.test";
/// Who vouched for that.
pub const ISSUER: &str = "https://login.example.test";
const ISSUER_V1: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 1];
const ISSUER_V2: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
const NAMES: [u64; 4] = [2, 5, 29, 17];
/// What Fulcio calls the name of somebody who has no e-mail address.
pub const USER_NAME: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 7];
const SCTS: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

/// Keys of everybody.
#[derive(Debug)]
pub struct Pki {
    pub root: KeyPair,
    pub intermediate: KeyPair,
    pub signer: KeyPair,
    pub certificate_log: KeyPair,
    pub log: KeyPair,
    pub other: KeyPair,
}

/// What certificates say; each field can be made wrong.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// From when to when the root's, the intermediate's and the signer's are valid.
    pub root: (u64, u64),
    pub intermediate: (u64, u64),
    pub leaf: (u64, u64),
    pub subjects: Vec<SanType>,
    /// In place of these: the alternative names as DER.
    pub names: Option<Vec<u8>>,
    /// Issuers, raw and as DER.
    pub issuer_v1: Vec<Vec<u8>>,
    pub issuer_v2: Vec<Vec<u8>>,
    pub code_signing: bool,
    pub is_ca: bool,
    /// Whether the certificate log has it, and whether what it says is right.
    pub sct: Option<bool>,
    /// Changes the root's and the intermediate's otherwise.
    pub change: fn(&mut CertificateParams, &mut CertificateParams),
}

/// DER.
#[derive(Clone, Debug)]
pub struct Chain {
    pub root: Vec<u8>,
    pub intermediate: Vec<u8>,
    pub leaf: Vec<u8>,
}

impl Default for Certificates {
    fn default() -> Self {
        let year = 365 * 86400;
        Self {
            root: (SIGNED - year, SIGNED + 9 * year),
            intermediate: (SIGNED - year, SIGNED + 5 * year),
            leaf: (SIGNED - 300, SIGNED + 300),
            subjects: vec![email(SUBJECT)],
            names: None,
            issuer_v1: vec![ISSUER.as_bytes().to_vec()],
            issuer_v2: vec![utf8(ISSUER)],
            code_signing: true,
            is_ca: false,
            sct: Some(true),
            change: |_, _| {},
        }
    }
}

pub fn email(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A name of a kind of its own.
pub fn other_name(kind: &[u64], text: &str) -> SanType {
    SanType::OtherName((kind.to_vec(), text.into()))
}

/// Alternative names, DER: one of a kind of its own, with `value` in place of what it holds.
pub fn names_of(kind: &[u8], value: &[u8]) -> Vec<u8> {
    let tlv = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    tlv(0x30, &tlv(0xa0, &[tlv(0x06, kind), tlv(0xa0, value)].concat()))
}

/// A text as a DER `UTF8String`.
pub fn utf8(text: &str) -> Vec<u8> {
    [&[0x0c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(der))
}

/// `SubjectPublicKeyInfo`, DER.
pub fn spki(key: &KeyPair) -> Vec<u8> {
    key.subject_public_key_info()
}

pub fn sign(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(message).unwrap()
}

fn params(name: &str, (from, to): (u64, u64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let moment = |second| date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
    (params.not_before, params.not_after) = (moment(from), moment(to));
    params.serial_number = Some(SerialNumber::from(7));
    params
}

fn authority(name: &str, valid: (u64, u64)) -> CertificateParams {
    let mut params = params(name, valid);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Default for Pki {
    fn default() -> Self {
        let key = || KeyPair::generate().unwrap();
        Self {
            root: key(),
            intermediate: key(),
            signer: key(),
            certificate_log: key(),
            log: key(),
            other: key(),
        }
    }
}

impl Pki {
    pub fn chain(&self, certificates: &Certificates) -> Chain {
        let mut root = authority("root", certificates.root);
        let mut intermediate = authority("intermediate", certificates.intermediate);
        (certificates.change)(&mut root, &mut intermediate);
        let root_der = root.self_signed(&self.root).unwrap().der().to_vec();
        let by_root = Issuer::from_params(&root, &self.root);
        let intermediate_der =
            intermediate.signed_by(&self.intermediate, &by_root).unwrap().der().to_vec();
        let by_intermediate = Issuer::from_params(&intermediate, &self.intermediate);

        let mut leaf = params("leaf", certificates.leaf);
        match &certificates.names {
            Some(names) => {
                let names = CustomExtension::from_oid_content(&NAMES, names.clone());
                leaf.custom_extensions.push(names);
            }
            None => leaf.subject_alt_names.clone_from(&certificates.subjects),
        }
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if certificates.is_ca {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        leaf.extended_key_usages = vec![if certificates.code_signing {
            ExtendedKeyUsagePurpose::CodeSigning
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        for (oid, values) in
            [(ISSUER_V1, &certificates.issuer_v1), (ISSUER_V2, &certificates.issuer_v2)]
        {
            for value in values {
                leaf.custom_extensions.push(CustomExtension::from_oid_content(&oid, value.clone()));
            }
        }
        let made = |leaf: &CertificateParams| {
            leaf.signed_by(&self.signer, &by_intermediate).unwrap().der().to_vec()
        };
        if let Some(right) = certificates.sct {
            let precertificate = Certificate::from_der(&made(&leaf)).unwrap();
            let mut tbs = precertificate.tbs_certificate.to_der().unwrap();
            if !right {
                tbs.push(0);
            }
            let sct = self.sct(&tbs);
            leaf.custom_extensions.push(CustomExtension::from_oid_content(&SCTS, sct));
        }
        Chain { root: root_der, intermediate: intermediate_der, leaf: made(&leaf) }
    }

    /// A list of one signed certificate timestamp, DER (RFC 6962).
    fn sct(&self, tbs: &[u8]) -> Vec<u8> {
        let u16 = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let time = (SIGNED * 1000).to_be_bytes();
        let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
        let issuer = Sha256::digest(spki(&self.intermediate));
        let signed = [&[0, 0][..], &time, &[0, 1], &issuer, &length[1..], tbs, &[0, 0]].concat();
        let signature = sign(&self.certificate_log, &signed);
        let id = Sha256::digest(spki(&self.certificate_log));
        let sct = [&[0][..], &id, &time, &[0, 0, 4, 3], &u16(signature.len()), &signature].concat();
        let list = [&u16(sct.len() + 2)[..], &u16(sct.len()), &sct].concat();
        [&[4, u8::try_from(list.len()).unwrap()][..], &list].concat()
    }

    pub fn log_id(&self) -> Vec<u8> {
        Sha256::digest(spki(&self.log)).to_vec()
    }

    /// A `trusted_root.json` that has all of it.
    pub fn trusted_root(&self, chain: &Chain) -> Value {
        let window = json!({ "start": "2025-01-01T00:00:00Z" });
        let log = |key: &KeyPair, host: &str| {
            json!({
                "baseUrl": format!("https://{host}"),
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": base64(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": window,
                },
                "logId": { "keyId": base64(Sha256::digest(spki(key))) },
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log, "log.test")],
            "certificateAuthorities": [{
                "uri": "https://ca.test",
                "certChain": { "certificates": [
                    { "rawBytes": base64(&chain.intermediate) },
                    { "rawBytes": base64(&chain.root) },
                ]},
                "validFor": window,
            }],
            "ctlogs": [log(&self.certificate_log, "ct.test")],
        })
    }

    /// What the log says of an entry with this body: a promise, and a proof that it is the second
    /// of two.
    pub fn entry(&self, body: &Value) -> Value {
        // Version 1 appends the number of its tree.
        let is_v2 = body["apiVersion"] == "0.0.2";
        self.entry_under(body, if is_v2 { "log.test" } else { "log.test - 42" })
    }

    /// The same, with a checkpoint of this origin that `log.test` signs.
    pub fn entry_under(&self, body: &Value, origin: &str) -> Value {
        let kind = json!({ "kind": body["kind"], "version": body["apiVersion"] });
        let is_v2 = body["apiVersion"] == "0.0.2";
        let body = serde_json::to_vec(body).unwrap();
        let first: [u8; 32] = Sha256::digest(b"\0the first").into();
        let leaf = Sha256::digest([b"\0", &body[..]].concat());
        let root = Sha256::digest([&[1][..], &first, &leaf].concat());
        let note = format!("{origin}\n2\n{}\n", base64(root));
        let signed = [&self.log_id()[..4], &sign(&self.log, note.as_bytes())].concat();
        let mut entry = json!({
            "logIndex": "1",
            "logId": { "keyId": base64(self.log_id()) },
            "kindVersion": kind,
            "canonicalizedBody": base64(&body),
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": base64(root),
                "treeSize": "2",
                "hashes": [base64(first)],
                "checkpoint": { "envelope": format!("{note}\n\u{2014} log.test {}\n", base64(signed)) },
            },
        });
        if !is_v2 {
            entry["integratedTime"] = json!(SIGNED.to_string());
            entry["inclusionPromise"] =
                json!({ "signedEntryTimestamp": base64(self.promise(&body, SIGNED)) });
        }
        entry
    }

    /// The log's promise to take a body.
    pub fn promise(&self, body: &[u8], time: u64) -> Vec<u8> {
        let id = Digest::of(&spki(&self.log)).hex();
        let message = format!(
            "{{\"body\":\"{}\",\"integratedTime\":{time},\"logID\":\"{id}\",\"logIndex\":1}}",
            base64(body)
        );
        sign(&self.log, message.as_bytes())
    }

    /// cosign's annotation with what the log says of a body.
    pub fn annotation(&self, body: &Value) -> String {
        self.annotation_at(body, SIGNED)
    }

    pub fn annotation_at(&self, body: &Value, time: u64) -> String {
        let body = serde_json::to_vec(body).unwrap();
        let id = Digest::of(&spki(&self.log)).hex();
        json!({
            "SignedEntryTimestamp": base64(self.promise(&body, time)),
            "Payload": {
                "body": base64(&body), "integratedTime": time, "logIndex": 1, "logID": id,
            },
        })
        .to_string()
    }
}

/// The body of an entry about a signature of a message; `verifier` is PEM.
pub fn hashedrekord(message: &[u8], signature: &[u8], verifier: &str) -> Value {
    let hash = Digest::of(message).hex();
    json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": hash } },
            "signature": {
                "content": base64(signature),
                "publicKey": { "content": base64(verifier) },
            },
        },
    })
}

/// The body of an entry about a signature of an envelope; `verifier` is PEM.
pub fn dsse(payload: &[u8], signature: &[u8], verifier: &str) -> Value {
    let hash = Digest::of(payload).hex();
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": "00".repeat(32) },
            "payloadHash": { "algorithm": "sha256", "value": hash },
            "signatures": [{ "signature": base64(signature), "verifier": base64(verifier) }],
        },
    })
}

/// The body of an entry of version 2, about a signature of `message`.
pub fn hashedrekord_v2(message: &[u8], signature: &[u8], verifier: &Value) -> Value {
    json!({
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": { "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": base64(Sha256::digest(message)) },
            "signature": { "content": base64(signature), "verifier": verifier },
        }},
    })
}

/// What the signature of an envelope is of (DSSE).
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
