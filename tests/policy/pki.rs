//! `pki` of policy.json: certificates of authorities of our own, good and with one thing wrong.
//!
//! Where skopeo alone accepts: the program demands that a certificate says that it is for code
//! signing, takes no authority for a signer, and no empty text for one that is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose as Usage,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType,
    SignatureAlgorithm, SigningKey, date_time_ymd,
};
use serde_json::{Value, json};

use super::cases::Verdict::{self, Both, Neither, ProgramAlone, SkopeoAlone};
use super::cases::policy;
use crate::common::sign::Signer;
use crate::common::{need, tools};
use crate::{Site, payload, site};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const EMAIL: &str = "me@example.test";
const HOST: &str = "build.example.test";
const DAY: u64 = 86400;

/// The public key of somebody else, P-256, DER.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0[self.0.len() - 65..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// What the certificates of a chain say.
struct Chain {
    root: CertificateParams,
    intermediate: CertificateParams,
    leaf: CertificateParams,
}

/// A chain, PEM, and the signer's key.
struct Made {
    root: String,
    intermediate: String,
    leaf: String,
    key: KeyPair,
}

fn days(from: i64, to: i64, params: &mut CertificateParams) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let moment = |days: i64| {
        let second = now.checked_add_signed(days * i64::try_from(DAY).unwrap()).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(second)
    };
    (params.not_before, params.not_after) = (moment(from), moment(to));
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    days(-1, 30, &mut params);
    params
}

impl Chain {
    fn new() -> Self {
        let authority = |name| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let mut leaf = params("leaf");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![Usage::CodeSigning];
        leaf.subject_alt_names = vec![email(EMAIL), dns(HOST)];
        Self { root: authority("root"), intermediate: authority("intermediate"), leaf }
    }

    /// Makes the certificates; the signer's of `public`, if that is given.
    fn make(&self, key: KeyPair, public: Option<&Point>) -> Made {
        let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
        let root = self.root.self_signed(&keys[0]).unwrap();
        let issuer = Issuer::from_params(&self.root, &keys[0]);
        let intermediate = self.intermediate.signed_by(&keys[1], &issuer).unwrap();
        let issuer = Issuer::from_params(&self.intermediate, &keys[1]);
        let leaf = match public {
            Some(public) => self.leaf.signed_by(public, &issuer).unwrap(),
            None => self.leaf.signed_by(&key, &issuer).unwrap(),
        };
        Made { root: root.pem(), intermediate: intermediate.pem(), leaf: leaf.pem(), key }
    }
}

impl Made {
    fn good() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut Chain)) -> Self {
        let mut chain = Chain::new();
        change(&mut chain);
        chain.make(KeyPair::generate().unwrap(), None)
    }

    /// What cosign annotates.
    fn annotations(&self, payload: &str) -> BTreeMap<String, String> {
        let signature = STANDARD.encode(self.key.sign(payload.as_bytes()).unwrap());
        BTreeMap::from([
            (SIGNATURE.to_owned(), signature),
            (CERTIFICATE.to_owned(), self.leaf.clone()),
            (CHAIN.to_owned(), self.intermediate.clone() + &self.root),
        ])
    }
}

fn email(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

fn data(pem: &str) -> String {
    STANDARD.encode(pem)
}

type Annotations = BTreeMap<String, String>;

/// A case: its name, the certificates, what is changed of the annotations, what is demanded of
/// the certificate besides the root, and who accepts.
type Case = (&'static str, Made, Box<dyn Fn(&Made, &mut Annotations)>, Value, Verdict);

fn case(name: &'static str, made: Made, subject: Value, expected: Verdict) -> Case {
    (name, made, Box::new(|_, _| {}), subject, expected)
}

fn annotated(
    name: &'static str,
    change: impl Fn(&Made, &mut Annotations) + 'static,
    subject: Value,
    expected: Verdict,
) -> Case {
    (name, Made::good(), Box::new(change), subject, expected)
}

impl Site {
    /// An image of its own, signed so.
    pub fn certified(&self, name: &str, annotations: impl Fn(&str) -> Annotations) -> String {
        let repository = format!("t/pki-{name}");
        self.copy("t/unsigned:1", &format!("{repository}:1"));
        let text = payload(&format!("{}/{repository}", self.host()), &self.image, &Value::Null);
        let annotations = annotations(&text);
        self.sign_with(&repository, &self.image, &[(text, annotations)]);
        format!("{}/{repository}:1", self.host())
    }

    #[track_caller]
    fn judge_pki(&self, expected: Verdict, reference: &str, pki: &Value) {
        let requirement = json!({
            "type": "sigstoreSigned", "pki": pki, "signedIdentity": {"type": "matchRepository"},
        });
        let policy = policy(self.host(), &json!([requirement]));
        self.judge(expected, &policy, &self.attachments(), reference);
    }
}

#[test]
fn subjects() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let made = Made::with(|chain| {
        chain.leaf.subject_alt_names = vec![
            email(EMAIL),
            email("other@example.test"),
            dns(HOST),
            dns("*.wild.example.test"),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
        ];
    });
    let reference = site.certified("subjects", |payload| made.annotations(payload));
    for (subject, expected) in [
        (json!({"subjectEmail": EMAIL}), Both),
        (json!({"subjectEmail": "other@example.test"}), Both),
        (json!({"subjectEmail": "third@example.test"}), Neither),
        (json!({"subjectEmail": "ME@example.test"}), Neither),
        (json!({"subjectEmail": "e@example.test"}), Neither),
        (json!({"subjectEmail": HOST}), Neither),
        (json!({"subjectEmail": "*"}), Neither),
        (json!({"subjectHostname": HOST}), Both),
        (json!({"subjectHostname": "BUILD.example.test"}), Both),
        (json!({"subjectHostname": "a.wild.example.test"}), Both),
        (json!({"subjectHostname": "a.b.wild.example.test"}), Neither),
        (json!({"subjectHostname": "wild.example.test"}), Neither),
        (json!({"subjectHostname": "*.wild.example.test"}), SkopeoAlone),
        (json!({"subjectHostname": "other.example.test"}), Neither),
        (json!({"subjectHostname": "example.test"}), Neither),
        (json!({"subjectHostname": "a.build.example.test"}), Neither),
        (json!({"subjectHostname": "192.0.2.1"}), Both),
        (json!({"subjectHostname": "192.0.2.2"}), Neither),
        (json!({"subjectHostname": EMAIL}), Neither),
        (json!({"subjectEmail": EMAIL, "subjectHostname": HOST}), Both),
        (json!({"subjectEmail": EMAIL, "subjectHostname": "x.example.test"}), Neither),
        (json!({"subjectEmail": "x@example.test", "subjectHostname": HOST}), Neither),
        // A policy that demands nobody is no policy.
        (json!({}), Neither),
        (json!({"subjectEmail": ""}), Neither),
        (json!({"subjectHostname": ""}), Neither),
        (json!({"subjectEmail": "", "subjectHostname": HOST}), SkopeoAlone),
    ] {
        let mut pki = subject.clone();
        pki["caRootsData"] = json!(data(&made.root));
        site.judge_pki(expected, &reference, &pki);
    }
    let code = |pki: Value| {
        let requirement = json!({
            "type": "sigstoreSigned", "pki": pki, "signedIdentity": {"type": "matchRepository"},
        });
        let file = site.file(&policy(site.host(), &json!([requirement])));
        site.ours(&file, &site.attachments(), &reference).code
    };
    let roots = data(&made.root);
    assert_eq!(code(json!({"caRootsData": roots, "subjectEmail": "x@example.test"})), 5);
    assert_eq!(code(json!({"caRootsData": roots, "subjectHostname": "a b"})), 3);
}

#[test]
fn authorities() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let made = Made::good();
    let other = Made::good();
    let whole = site.certified("whole", |payload| made.annotations(payload));
    let bare = site.certified("bare", |payload| {
        let mut annotations = made.annotations(payload);
        annotations.remove(CHAIN).unwrap();
        annotations
    });
    let (root, intermediate) = (data(&made.root), data(&made.intermediate));
    let two = data(&(other.root.clone() + &made.root));
    let file = |text: &str| json!(site.file(text));
    for (reference, pki, expected) in [
        (&whole, json!({"caRootsData": root}), Both),
        (&whole, json!({"caRootsPath": file(&made.root)}), Both),
        (&whole, json!({"caRootsData": two}), Both),
        (&whole, json!({"caRootsData": data(&other.root)}), Neither),
        (&whole, json!({"caRootsData": root, "caIntermediatesData": intermediate}), Both),
        (&whole, json!({"caRootsData": root, "caIntermediatesData": data(&other.root)}), Both),
        (&bare, json!({"caRootsData": root}), Neither),
        (&bare, json!({"caRootsData": root, "caIntermediatesData": intermediate}), Both),
        (
            &bare,
            json!({"caRootsData": root, "caIntermediatesPath": file(&made.intermediate)}),
            Both,
        ),
        (&bare, json!({"caRootsData": root, "caIntermediatesData": root}), Neither),
        // An authority that is trusted needs none above it.
        (&bare, json!({"caRootsData": intermediate}), Both),
        // The signer's own certificate is not an authority's.
        (&bare, json!({"caRootsData": data(&made.leaf)}), SkopeoAlone),
        (&whole, json!({"caRootsData": root, "caIntermediatesData": "bm9uc2Vuc2U="}), Neither),
        (&whole, json!({"caRootsData": "bm9uc2Vuc2U="}), Neither),
        (&whole, json!({"caRootsData": ""}), Neither),
        (&whole, json!({"caRootsPath": "/nonexistent"}), Neither),
        (&whole, json!({"caRootsPath": file(&made.root), "caRootsData": root}), Neither),
        (&whole, json!({"caIntermediatesData": intermediate}), Neither),
        (&whole, json!({}), Neither),
    ] {
        let mut pki = pki.clone();
        pki["subjectEmail"] = json!(EMAIL);
        site.judge_pki(expected, reference, &pki);
    }
    // A log beside it is not known there; a key or another kind of certificate neither.
    let pki = json!({"caRootsData": root, "subjectEmail": EMAIL});
    for beside in [
        json!({"rekorPublicKeyPath": site.first.public()}),
        json!({"keyPath": site.first.public()}),
        json!({"fulcio": {"caData": root, "oidcIssuer": "i", "subjectEmail": EMAIL}}),
    ] {
        let mut requirement = json!({
            "type": "sigstoreSigned", "pki": pki, "signedIdentity": {"type": "matchRepository"},
        });
        for (name, value) in beside.as_object().unwrap() {
            requirement[name] = value.clone();
        }
        let policy = policy(site.host(), &json!([requirement]));
        site.judge(Neither, &policy, &site.attachments(), &whole);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table is as long as its cases")]
fn one_thing_wrong() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let mail = || json!({"subjectEmail": EMAIL});
    let usages = |usages: &'static [Usage]| {
        Made::with(move |chain| chain.leaf.extended_key_usages = usages.to_vec())
    };
    let of_key = |key: KeyPair| Chain::new().make(key, None);
    let permitted = |domain: &'static str| {
        Made::with(move |chain| {
            chain.root.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
                excluded_subtrees: vec![],
            });
        })
    };
    let cases = vec![
        case("good", Made::good(), mail(), Both),
        case(
            "p384",
            of_key(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()),
            mail(),
            ProgramAlone,
        ),
        case("ed25519", of_key(KeyPair::generate_for(&PKCS_ED25519).unwrap()), mail(), Both),
        // Every certificate of the chain must be valid now (CVE-2026-24122).
        case("leaf-ended", Made::with(|c| days(-9, -1, &mut c.leaf)), mail(), Neither),
        case("leaf-early", Made::with(|c| days(1, 9, &mut c.leaf)), mail(), Neither),
        case("middle-ended", Made::with(|c| days(-9, -1, &mut c.intermediate)), mail(), Neither),
        case("middle-early", Made::with(|c| days(1, 9, &mut c.intermediate)), mail(), Neither),
        case("root-ended", Made::with(|c| days(-9, -1, &mut c.root)), mail(), Neither),
        case("root-early", Made::with(|c| days(1, 9, &mut c.root)), mail(), Neither),
        case("server", usages(&[Usage::ServerAuth]), mail(), Neither),
        case("both-usages", usages(&[Usage::ServerAuth, Usage::CodeSigning]), mail(), Both),
        case("any-usage", usages(&[Usage::Any]), mail(), SkopeoAlone),
        case("no-usage", usages(&[]), mail(), SkopeoAlone),
        case(
            "middle-server",
            Made::with(|c| c.intermediate.extended_key_usages = vec![Usage::ServerAuth]),
            mail(),
            Neither,
        ),
        case(
            "middle-code",
            Made::with(|c| c.intermediate.extended_key_usages = vec![Usage::CodeSigning]),
            mail(),
            Both,
        ),
        case(
            "root-server",
            Made::with(|c| c.root.extended_key_usages = vec![Usage::ServerAuth]),
            mail(),
            Neither,
        ),
        case(
            "root-code",
            Made::with(|c| c.root.extended_key_usages = vec![Usage::CodeSigning]),
            mail(),
            Both,
        ),
        case("middle-no-ca", Made::with(|c| c.intermediate.is_ca = IsCa::NoCa), mail(), Neither),
        case(
            "middle-says-no-ca",
            Made::with(|c| c.intermediate.is_ca = IsCa::ExplicitNoCa),
            mail(),
            Neither,
        ),
        case("root-no-ca", Made::with(|c| c.root.is_ca = IsCa::NoCa), mail(), Neither),
        case("root-says-no-ca", Made::with(|c| c.root.is_ca = IsCa::ExplicitNoCa), mail(), Neither),
        case(
            "root-length",
            Made::with(|c| c.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
            mail(),
            Neither,
        ),
        case(
            "root-length-enough",
            Made::with(|c| c.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
            mail(),
            Both,
        ),
        case(
            "middle-length-enough",
            Made::with(|c| c.intermediate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
            mail(),
            Both,
        ),
        case(
            "middle-key-usage",
            Made::with(|c| c.intermediate.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
            mail(),
            Neither,
        ),
        case(
            "root-key-usage",
            Made::with(|c| c.root.key_usages = vec![KeyUsagePurpose::CrlSign]),
            mail(),
            Neither,
        ),
        case(
            "leaf-authority",
            Made::with(|c| c.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            mail(),
            SkopeoAlone,
        ),
        case(
            "leaf-critical",
            Made::with(|c| c.leaf.custom_extensions.push(critical())),
            mail(),
            Neither,
        ),
        case(
            "middle-critical",
            Made::with(|c| c.intermediate.custom_extensions.push(critical())),
            mail(),
            Neither,
        ),
        case(
            "root-critical",
            Made::with(|c| c.root.custom_extensions.push(critical())),
            mail(),
            Neither,
        ),
        case("permitted", permitted("example.test"), mail(), Both),
        case("not-permitted", permitted("example.org"), mail(), Neither),
        case("no-name", Made::with(|c| c.leaf.subject_alt_names.clear()), mail(), Neither),
        annotated("no-leaf", |_, a| drop(a.remove(CERTIFICATE)), mail(), Neither),
        annotated("no-signature", |_, a| drop(a.remove(SIGNATURE)), mail(), Neither),
        annotated("no-chain", |_, a| drop(a.remove(CHAIN)), mail(), Neither),
        // The last of a chain is its root, and counts for nothing.
        annotated(
            "chain-without-root",
            |made, a| drop(a.insert(CHAIN.to_owned(), made.intermediate.clone())),
            mail(),
            Neither,
        ),
        annotated(
            "chain-backwards",
            |made, a| drop(a.insert(CHAIN.to_owned(), made.root.clone() + &made.intermediate)),
            mail(),
            Neither,
        ),
        annotated(
            "chain-nonsense",
            |_, a| drop(a.insert(CHAIN.to_owned(), "nonsense".to_owned())),
            mail(),
            Neither,
        ),
        annotated(
            "leaf-in-prose",
            |_, a| {
                let leaf = a.remove(CERTIFICATE).unwrap();
                a.insert("dev.cosignproject.cosign/certificate".to_owned(), leaf);
            },
            mail(),
            Neither,
        ),
        annotated(
            "two-leaves",
            |made, a| drop(a.insert(CERTIFICATE.to_owned(), made.leaf.repeat(2))),
            mail(),
            Neither,
        ),
        annotated(
            "another-leaf",
            |_, a| drop(a.insert(CERTIFICATE.to_owned(), Made::good().leaf)),
            mail(),
            Neither,
        ),
        annotated(
            "another-key",
            |_, a| {
                let signature = Made::good().annotations("x").remove(SIGNATURE).unwrap();
                a.insert(SIGNATURE.to_owned(), signature);
            },
            mail(),
            Neither,
        ),
    ];
    for (name, made, change, subject, expected) in &cases {
        let reference = site.certified(name, |payload| {
            let mut annotations = made.annotations(payload);
            change(made, &mut annotations);
            annotations
        });
        let mut pki = subject.clone();
        pki["caRootsData"] = json!(data(&made.root));
        println!("{name}");
        site.judge_pki(*expected, &reference, &pki);
    }
    assert!(cases.len() >= 40, "{}", cases.len());
}

/// A real signer: cosign 2 with a certificate of an authority of one's own.
#[test]
fn signed_by_cosign() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let cosign = need!(Signer::Cosign2.program(), "no cosign 2");
    let key = Signer::Cosign2.new_key().unwrap();
    let public = fs::read_to_string(key.public()).unwrap();
    let base64: String = public.lines().filter(|line| !line.starts_with("---")).collect();
    let public = Point(STANDARD.decode(base64).unwrap());
    let made = Chain::new().make(KeyPair::generate().unwrap(), Some(&public));
    let file = |text: &str| site.file(text);
    site.copy("t/unsigned:1", "t/pki-cosign:1");
    let mut command = Command::new(cosign);
    command.env("COSIGN_PASSWORD", "").args(["sign", "--tlog-upload=false", "-y", "--key"]);
    command.arg(key.private()).arg("--certificate").arg(file(&made.leaf));
    command.arg("--certificate-chain").arg(file(&(made.intermediate.clone() + &made.root)));
    tools::check(command.arg(format!("{}/t/pki-cosign@{}", site.host(), site.image)));
    let reference = format!("{}/t/pki-cosign:1", site.host());
    let roots: &Path = &file(&made.root);
    for (email, expected) in [(EMAIL, Both), ("x@example.test", Neither)] {
        let pki = json!({"caRootsPath": roots, "subjectEmail": email});
        site.judge_pki(expected, &reference, &pki);
    }
}
