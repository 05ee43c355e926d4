//! A signer's certificate: whose it is, and which authority vouched for it when (K2, K4).

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use sigstore_verify::crypto::WEBPKI_VERIFICATION_ALGS;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::time::Time;

use super::trust_root::Authority;
use super::{PublicKey, key};

/// Where Fulcio writes the `OpenID` Connect issuer: as raw text, and as DER.
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// The name of somebody who has no e-mail address, as Fulcio writes it for private providers.
const USER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
/// What an authority's certificate may demand that we see to; webpki to the last.
const KNOWN: [ObjectIdentifier; 4] =
    [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, NAME_CONSTRAINTS];
/// As long as a certificate for one signature is valid.
const BRIEF: Duration = Duration::from_secs(3600);
/// As many certificates as a chain may have beside it.
const MAX_CHAIN: usize = 16;

/// What a certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The subject alternative name.
    pub subject: String,
    /// Whether that is an e-mail address.
    pub is_email: bool,
    /// Who vouched for it.
    pub issuer: String,
    pub key: PublicKey,
    /// Whether the certificate is for one signature, as Fulcio's are, which end after ten minutes.
    pub is_brief: bool,
}

impl Holder {
    /// Reads a certificate. One name, one issuer, nothing said twice: whatever else another reader
    /// could take for the identity is refused (K4).
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (extensions, key) = signing_certificate(der)?;
        let names = names(&extensions)?;
        let is_email = matches!(names.as_slice(), [GeneralName::Rfc822Name(_)]);
        let subject = match names.as_slice() {
            [GeneralName::Rfc822Name(name) | GeneralName::UniformResourceIdentifier(name)] => {
                name.to_string()
            }
            [GeneralName::OtherName(name)] if name.type_id == USER_NAME => {
                let text = name.value.decode_as::<Utf8StringRef<'_>>();
                text.map_err(|error| format!("the user name: {error}"))?.as_str().to_owned()
            }
            [_] => {
                return Err(
                    "found a name of another kind, expected an e-mail address, a URI or a \
                            user name (1.3.6.1.4.1.57264.1.7)"
                        .to_owned(),
                );
            }
            names => return Err(format!("found {} alternative names, expected one", names.len())),
        };
        let v1 = value(&extensions, ISSUER_V1).map(issuer_v1).transpose()?;
        let v2 = value(&extensions, ISSUER_V2).map(issuer_v2).transpose()?;
        let issuer = match (v1, v2) {
            (Some(v1), Some(v2)) if v1 != v2 => {
                return Err(format!("found two issuers, {v1:?} and {v2:?}, expected one"));
            }
            (_, Some(issuer)) | (Some(issuer), None) => issuer.to_owned(),
            (None, None) => return Err("found no issuer (1.3.6.1.4.1.57264.1.8)".into()),
        };
        Ok(Self { subject, is_email, issuer, key, is_brief: lifetime(der)? <= BRIEF })
    }
}

/// What a certificate of an own authority says of its bearer, who may have several names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub emails: Vec<String>,
    /// The e-mail addresses and host names, for messages.
    pub names: String,
    pub key: PublicKey,
}

impl Bearer {
    /// Reads a certificate.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (extensions, key) = signing_certificate(der)?;
        let (mut emails, mut all) = (Vec::new(), Vec::new());
        for name in names(&extensions)? {
            match name {
                GeneralName::Rfc822Name(name) => {
                    emails.push(name.to_string());
                    all.push(name.to_string());
                }
                GeneralName::DnsName(name) => all.push(name.to_string()),
                _ => {}
            }
        }
        Ok(Self { emails, names: all.join(", "), key })
    }
}

/// The extensions, none of them twice, and the key of a certificate that is for signing code.
fn signing_certificate(der: &[u8]) -> Result<(Vec<Extension>, PublicKey), String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let certificate = certificate.tbs_certificate;
    let extensions = certificate.extensions.unwrap_or_default();
    for (index, extension) in extensions.iter().enumerate() {
        if extensions.iter().skip(index + 1).any(|other| other.extn_id == extension.extn_id) {
            return Err(format!("found the extension {} twice", extension.extn_id));
        }
    }
    let usage = value(&extensions, EXTENDED_KEY_USAGE).ok_or("found no extended key usage")?;
    let usage = ExtendedKeyUsage::from_der(usage).map_err(|error| error.to_string())?;
    if !usage.0.contains(&CODE_SIGNING) {
        return Err("found a certificate for other uses, expected one for code signing".into());
    }
    let spki = certificate.subject_public_key_info;
    let spki = spki.to_der().map_err(|error| error.to_string())?;
    let key = PublicKey::from_spki(&spki).map_err(|error| error.to_string())?;
    Ok((extensions, key))
}

/// How long a certificate is valid.
fn lifetime(der: &[u8]) -> Result<Duration, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let validity = certificate.tbs_certificate.validity;
    let seconds = |time: Time| time.to_unix_duration();
    Ok(seconds(validity.not_after).saturating_sub(seconds(validity.not_before)))
}

fn value(extensions: &[Extension], oid: ObjectIdentifier) -> Option<&[u8]> {
    let found = extensions.iter().find(|extension| extension.extn_id == oid);
    found.map(|extension| extension.extn_value.as_bytes())
}

fn names(extensions: &[Extension]) -> Result<Vec<GeneralName>, String> {
    let names = value(extensions, SUBJECT_ALT_NAME).ok_or("found no subject alternative name")?;
    SubjectAltName::from_der(names).map(|names| names.0).map_err(|error| error.to_string())
}

fn issuer_v2(der: &[u8]) -> Result<&str, String> {
    let text = Utf8StringRef::from_der(der);
    text.map(|text| text.as_str()).map_err(|error| format!("the issuer: {error}"))
}

/// Raw text, by the specification; private authorities have been seen to write DER (cosign's
/// documentation does).
fn issuer_v1(bytes: &[u8]) -> Result<&str, String> {
    match Utf8StringRef::from_der(bytes) {
        Ok(text) => Ok(text.as_str()),
        Err(_) => std::str::from_utf8(bytes).map_err(|_| "the issuer is not UTF-8".to_owned()),
    }
}

/// From when to when a certificate is valid, both included.
pub(super) fn validity(certificate: &Certificate) -> Result<(Timestamp, Timestamp), String> {
    let validity = &certificate.tbs_certificate.validity;
    let moment = |time: &x509_cert::time::Time| {
        Timestamp::try_from(time.to_system_time()).map_err(|error| error.to_string())
    };
    Ok((moment(&validity.not_before)?, moment(&validity.not_after)?))
}

/// Checks that one of the authorities vouched for a certificate, and that every certificate of the
/// path, from the signer's to the root, was valid at `time` (K2, CVE-2026-24122); gives the name of
/// the root.
pub(super) fn check_chain(
    leaf: &[u8],
    beside: &[Vec<u8>],
    authorities: &[Authority],
    time: Timestamp,
) -> Result<String, String> {
    if beside.len() > MAX_CHAIN {
        return Err(format!("found {} certificates, expected at most {MAX_CHAIN}", beside.len()));
    }
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
    let mut problem = "no authority was one then".to_owned();
    for authority in authorities {
        if authority.window.is_some_and(|window| !window.contains(time)) {
            continue;
        }
        let anchor = Certificate::from_der(&authority.anchor).map_err(|error| error.to_string())?;
        let was_valid = validity(&anchor)?;
        if !(was_valid.0..=was_valid.1).contains(&time) {
            continue;
        }
        match check_path(&leaf, beside, authority, &anchor, time) {
            Ok(()) => return Ok(anchor.tbs_certificate.subject.to_string()),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// Checks the path to one authority.
fn check_path(
    leaf: &EndEntityCert<'_>,
    beside: &[Vec<u8>],
    authority: &Authority,
    root: &Certificate,
    time: Timestamp,
) -> Result<(), String> {
    let second = u64::try_from(time.as_second()).map_err(|_| "found a time before 1970")?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(second));
    let anchor = anchor_from_trusted_cert(&authority.anchor).map_err(|e| e.to_string())?;
    // Those that are known first.
    let intermediates: Vec<CertificateDer<'_>> = authority
        .intermediates
        .iter()
        .cloned()
        .chain(beside.iter().map(|der| CertificateDer::from(der.as_slice())))
        .collect();
    // The signer's own says so (`signing_certificate`); authorities may leave it open (RFC 5280).
    let usage = KeyUsage::required_if_present(CODE_SIGNING.as_bytes());
    let path = leaf
        .verify_for_usage(
            WEBPKI_VERIFICATION_ALGS,
            std::slice::from_ref(&anchor),
            &intermediates,
            at,
            usage,
            None,
            None,
        )
        .map_err(|error| error.to_string())?;
    let mut below: u8 = 0;
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let certificate = Certificate::from_der(&der).map_err(|error| error.to_string())?;
        check_authority(&certificate, below)?;
        below = below.saturating_add(1);
    }
    check_authority(root, below)
}

/// Checks that a certificate is an authority's, with at most `below` others under it: webpki asks
/// nothing of a root, and leaves out what a key is for; Go, and so skopeo and cosign, do not.
fn check_authority(certificate: &Certificate, below: u8) -> Result<(), String> {
    let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
    let problem = |problem: &str| {
        let name = &certificate.tbs_certificate.subject;
        Err(format!("the certificate of {:?} {problem}", name.to_string()))
    };
    let constraints = value(extensions, BASIC_CONSTRAINTS).map(BasicConstraints::from_der);
    match constraints.transpose().map_err(|error| error.to_string())? {
        Some(BasicConstraints { ca: true, path_len_constraint }) => {
            if path_len_constraint.is_some_and(|most| most < below) {
                return problem("has more authorities below it than it allows");
            }
        }
        _ => return problem("is not an authority's"),
    }
    let usage = value(extensions, KEY_USAGE).map(x509_cert::ext::pkix::KeyUsage::from_der);
    if usage.transpose().map_err(|error| error.to_string())?.is_some_and(|u| !u.key_cert_sign()) {
        return problem("is not for signing certificates");
    }
    let usage = value(extensions, EXTENDED_KEY_USAGE).map(ExtendedKeyUsage::from_der);
    if let Some(usage) = usage.transpose().map_err(|error| error.to_string())?
        && !usage.0.iter().any(|usage| [CODE_SIGNING, ANY_USAGE].contains(usage))
    {
        return problem("is for other uses than code signing");
    }
    let unknown =
        |extension: &&Extension| extension.critical && !KNOWN.contains(&extension.extn_id);
    match extensions.iter().find(unknown) {
        Some(extension) => problem(&format!("demands {}", extension.extn_id)),
        None => Ok(()),
    }
}

/// The certificates of a PEM text, DER; nothing but white space may be around them.
pub(super) fn pem_chain(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(pem).map_err(|_| "found no PEM, expected certificates")?;
    let mut chain = Vec::new();
    for block in text.trim_ascii().split_inclusive(END) {
        chain.push(pem_certificate(block.as_bytes())?);
    }
    Ok(chain)
}

/// The one certificate of a PEM text, DER.
pub(super) fn pem_certificate(pem: &[u8]) -> Result<Vec<u8>, String> {
    match key::pem_block(pem) {
        Ok(("CERTIFICATE", der)) => Ok(der),
        Ok(_) => Err("found PEM of something else, expected a certificate".to_owned()),
        Err(error) => Err(format!("no certificate: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::TrustRoot;
    use super::*;

    proptest! {
        #[test]
        fn no_certificate_panics(bytes: Vec<u8>, at: usize, byte: u8) {
            let root = TrustRoot::public_good().unwrap();
            let mut real = root.authorities[0].anchor.to_vec();
            let at = at % real.len();
            real[at] = byte;
            let now = Timestamp::from_second(1_700_000_000).unwrap();
            for der in [&bytes, &real] {
                let _ = (Holder::of(der), Bearer::of(der));
                let beside = [der.clone()];
                prop_assert!(check_chain(der, &beside, &root.authorities, now).is_err());
                let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
                prop_assert_eq!(&pem_chain(pem.repeat(2).as_bytes()).unwrap()[1], der);
            }
        }

        #[test]
        fn no_pem_panics(text in "(-----(BEGIN|END) CERTIFICATE-----|[A-Z=\\n -]{0,8}){0,6}") {
            let _ = (pem_chain(text.as_bytes()), pem_certificate(text.as_bytes()));
        }
    }
}
