//! Certificates of one's own authority without a log (`pki` of policy.json), in the room itself;
//! `tests/policy/pki.rs` asks skopeo, too.

use jiff::Timestamp;
use oci2sysext::verify::{Accepted, Error, PkiSigner, PkiSubject, Policy, SignedIdentity};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose as Usage, IsCa,
    KeyUsagePurpose,
};

use super::pki::{Certificates, Chain, Pki, SIGNED, SUBJECT, email, pem};
use super::world::*;

type Change = fn(&mut CertificateParams, &mut CertificateParams);

const HOST: &str = "build.example.test";

fn certificates() -> Certificates {
    let host = rcgen::SanType::DnsName(HOST.try_into().unwrap());
    Certificates {
        subjects: vec![email("other@example.test"), email(SUBJECT), host],
        issuer_v1: vec![],
        issuer_v2: vec![],
        sct: None,
        ..Certificates::default()
    }
}

/// By e-mail address, host name or both, at a time.
fn policy(chain: &Chain, subject: (Option<&str>, Option<&str>), now: u64) -> Policy {
    let now = Timestamp::from_second(i64::try_from(now).unwrap()).unwrap();
    let subject = PkiSubject::new(subject.0, subject.1).unwrap();
    let roots = pem(&chain.root);
    let signer = PkiSigner::new(roots.as_bytes(), b"", subject, now).unwrap();
    Policy::pki(signer, SignedIdentity::Asked)
}

fn judged(pki: &Pki, chain: &Chain, policy: &Policy) -> Result<Accepted, Error> {
    older_verdict(older(pki, Some(chain)), policy)
}

#[test]
fn the_bearer_is_who_the_policy_says() {
    let pki = Pki::default();
    let chain = pki.chain(&certificates());
    let both = (Some(SUBJECT), Some(HOST));
    for subject in
        [both, (Some(SUBJECT), None), (None, Some(HOST)), (Some("other@example.test"), None)]
    {
        let accepted = judged(&pki, &chain, &policy(&chain, subject, SIGNED)).unwrap();
        assert_eq!(accepted.time, None, "nothing proves a time");
        let signatory = format!("{:?}", accepted.signatory);
        for name in [SUBJECT, "other@example.test", HOST, "CN=root"] {
            assert!(signatory.contains(name), "{signatory}");
        }
    }
    for subject in [
        (Some("third@example.test"), None),
        (Some(HOST), None),
        (None, Some("example.test")),
        (Some(SUBJECT), Some("x.example.test")),
        (Some("third@example.test"), Some(HOST)),
    ] {
        let verdict = judged(&pki, &chain, &policy(&chain, subject, SIGNED));
        assert_eq!(refusal(verdict), ("OtherSigner".to_owned(), 5), "{subject:?}");
    }
}

/// The second before and after each certificate counts.
#[test]
fn all_of_the_chain_is_valid_now() {
    let pki = Pki::default();
    let subject = (Some(SUBJECT), None);
    let good = certificates();
    let chain = pki.chain(&good);
    for (now, expected) in [
        (good.leaf.0, true),
        (good.leaf.1, true),
        (good.leaf.0 - 1, false),
        (good.leaf.1 + 1, false),
    ] {
        let verdict = judged(&pki, &chain, &policy(&chain, subject, now));
        assert_eq!(verdict.is_ok(), expected, "{now}: {verdict:?}");
    }
    for certificates in [
        Certificates { root: (SIGNED + 1, SIGNED + 900), ..certificates() },
        Certificates { intermediate: (SIGNED - 900, SIGNED - 1), ..certificates() },
        Certificates { intermediate: (SIGNED + 1, SIGNED + 900), ..certificates() },
        Certificates { code_signing: false, ..certificates() },
        Certificates { is_ca: true, ..certificates() },
        Certificates { subjects: vec![], ..certificates() },
    ] {
        let chain = pki.chain(&certificates);
        let verdict = judged(&pki, &chain, &policy(&chain, subject, SIGNED));
        assert_eq!(refusal(verdict), ("Certificate".to_owned(), 4), "{certificates:?}");
    }
    // An authority that is over is noticed before any signature.
    let over = pki.chain(&Certificates { root: (SIGNED - 900, SIGNED - 1), ..certificates() });
    let now = Timestamp::from_second(i64::try_from(SIGNED).unwrap()).unwrap();
    let who = PkiSubject::new(Some(SUBJECT), None).unwrap();
    let roots = pem(&over.root);
    assert!(PkiSigner::new(roots.as_bytes(), b"", who.clone(), now).is_err());
    assert!(PkiSigner::new(b"", b"", who.clone(), now).is_err());
    let early = Timestamp::from_second(1_500_000_000).unwrap();
    assert!(PkiSigner::new(pem(&chain.root).as_bytes(), b"", who, early).is_err());
}

#[test]
fn the_signature_is_by_the_certificate() {
    let pki = Pki::default();
    let chain = pki.chain(&certificates());
    let policy = policy(&chain, (Some(SUBJECT), None), SIGNED);
    let other = Pki::default();
    let (payload, mut annotations) = older(&pki, Some(&chain));
    let signature = super::pki::base64(super::pki::sign(&other.signer, &payload));
    annotations.insert(SIGNATURE.to_owned(), signature);
    let verdict = older_verdict((payload, annotations), &policy);
    assert_eq!(refusal(verdict), ("Certificate".to_owned(), 4));
    let (payload, mut annotations) = older(&pki, Some(&chain));
    annotations.remove(CERTIFICATE).unwrap();
    let verdict = older_verdict((payload, annotations), &policy);
    assert_eq!(refusal(verdict), ("NoCertificate".to_owned(), 4));
    let strangers = other.chain(&certificates());
    let verdict = judged(&other, &strangers, &policy);
    assert_eq!(refusal(verdict), ("Certificate".to_owned(), 4));
}

/// What skopeo and cosign ask of an authority's certificate, and webpki does not; by certificate of
/// a log's signer, too.
#[test]
fn authorities_are_authorities() {
    let pki = Pki::default();
    let good: [Change; 7] = [
        |_, _| {},
        |root, _| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
        |_, middle| middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
        |root, _| root.key_usages.clear(),
        |_, middle| middle.key_usages.clear(),
        |root, _| root.extended_key_usages = vec![Usage::CodeSigning],
        |root, middle| {
            root.extended_key_usages = vec![Usage::Any];
            middle.extended_key_usages = vec![Usage::CodeSigning, Usage::ServerAuth];
        },
    ];
    let bad: [Change; 11] = [
        |root, _| root.is_ca = IsCa::NoCa,
        |root, _| root.is_ca = IsCa::ExplicitNoCa,
        |_, middle| middle.is_ca = IsCa::NoCa,
        |_, middle| middle.is_ca = IsCa::ExplicitNoCa,
        |root, _| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
        |root, _| root.key_usages = vec![KeyUsagePurpose::CrlSign],
        |_, middle| middle.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        |root, _| root.extended_key_usages = vec![Usage::ServerAuth],
        |_, middle| middle.extended_key_usages = vec![Usage::ServerAuth],
        |root, _| root.custom_extensions.push(critical()),
        |_, middle| middle.custom_extensions.push(critical()),
    ];
    let good = good.iter().map(|change| (change, true));
    for (index, (change, expected)) in good.chain(bad.iter().map(|c| (c, false))).enumerate() {
        let certificates = Certificates { change: *change, ..certificates() };
        let chain = pki.chain(&certificates);
        let verdict = judged(&pki, &chain, &policy(&chain, (Some(SUBJECT), None), SIGNED));
        assert_eq!(verdict.is_ok(), expected, "{index}: {verdict:?}");
        let chain = pki.chain(&Certificates { change: *change, ..Certificates::default() });
        let verdict = older_verdict(older(&pki, Some(&chain)), &own_policy(&pki, &chain));
        assert_eq!(verdict.is_ok(), expected, "{index}: {verdict:?}");
    }
}

fn critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

/// As many as are allowed beside the signer's, and one more.
#[test]
fn a_chain_has_an_end() {
    let pki = Pki::default();
    let chain = pki.chain(&certificates());
    for (count, expected) in [(1, true), (16, true), (17, false)] {
        let (payload, mut annotations) = older(&pki, Some(&chain));
        let text = pem(&chain.intermediate).repeat(count) + &pem(&chain.root);
        annotations.insert(CHAIN.to_owned(), text);
        let policy = policy(&chain, (Some(SUBJECT), None), SIGNED);
        let verdict = older_verdict((payload, annotations), &policy);
        assert_eq!(verdict.is_ok(), expected, "{count}: {verdict:?}");
    }
}

/// containers/image reads no bundles, so none is accepted on its policy's word.
#[test]
fn no_bundle_counts() {
    let pki = Pki::default();
    let chain = pki.chain(&certificates());
    let bundle = certificate_bundle(&pki, &chain, &statement());
    let verdict = bundle_verdict(&bundle, &policy(&chain, (Some(SUBJECT), None), SIGNED));
    assert_eq!(refusal(verdict), ("Bundle".to_owned(), 4));
}
