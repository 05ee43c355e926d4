//! `fulcio` of policy.json: certificates of an instance of our own, with an entry of its log, good
//! and with one thing wrong.
//!
//! Where skopeo alone accepts: the program takes no certificate with several names.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::cases::Verdict::{self, Both, Neither, SkopeoAlone};
use super::cases::policy;
use super::instance::{
    Certificates, Chain, ISSUER, Pki, SIGNED, SUBJECT, USER_NAME, base64, email, hashedrekord,
    other_name, pem, sign, uri, utf8,
};
use crate::common::command::Outcome;
use crate::common::need;
use crate::common::sign::Signer;
use crate::{Site, site};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const ENTRY: &str = "dev.sigstore.cosign/bundle";
const DAY: u64 = 86400;

type Annotations = BTreeMap<String, String>;

/// What cosign annotates.
fn annotations(pki: &Pki, chain: &Chain, payload: &str) -> Annotations {
    let signature = sign(&pki.signer, payload.as_bytes());
    let body = hashedrekord(payload.as_bytes(), &signature, &pem(&chain.leaf));
    let all = [
        (SIGNATURE, base64(signature)),
        (CERTIFICATE, pem(&chain.leaf)),
        (CHAIN, pem(&chain.intermediate) + &pem(&chain.root)),
        (ENTRY, pki.annotation(&body)),
    ];
    all.map(|(name, text)| (name.to_owned(), text)).into()
}

/// What the policy demands.
fn requirement(pki: &Pki, chain: &Chain) -> Value {
    json!({
        "type": "sigstoreSigned",
        "fulcio": {
            "caData": base64(pem(&chain.root)), "oidcIssuer": ISSUER, "subjectEmail": SUBJECT,
        },
        "rekorPublicKeyData": base64(pki.log.public_key_pem()),
        "signedIdentity": { "type": "matchRepository" },
    })
}

impl Site {
    #[track_caller]
    fn judge_fulcio(&self, expected: Verdict, reference: &str, requirement: &Value) {
        let policy = policy(self.host(), &json!([requirement]));
        self.judge(expected, &policy, &self.attachments(), reference);
    }
}

#[test]
fn what_a_certificate_says() {
    type Change = fn(&mut Certificates);
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let pki = Pki::default();
    let cases: [(&str, Change, Verdict); 23] = [
        ("good", |_| {}, Both),
        ("no-sct", |c| c.sct = None, Both),
        ("older-issuer", |c| c.issuer_v2.clear(), Both),
        ("newer-issuer", |c| c.issuer_v1.clear(), Both),
        ("other-email", |c| c.subjects = vec![email("you@example.test")], Neither),
        ("other-case", |c| c.subjects = vec![email("ME@example.test")], Neither),
        ("no-name", |c| c.subjects = vec![], Neither),
        // Names of other kinds that read alike.
        ("uri", |c| c.subjects = vec![uri(SUBJECT)], Neither),
        ("user-name", |c| c.subjects = vec![other_name(&USER_NAME, SUBJECT)], Neither),
        ("two-emails", |c| c.subjects.push(email("you@example.test")), SkopeoAlone),
        ("email-and-uri", |c| c.subjects.push(uri("https://example.test")), SkopeoAlone),
        ("no-issuer", |c| (c.issuer_v1, c.issuer_v2) = (vec![], vec![]), Neither),
        ("other-issuer", |c| (c.issuer_v1, c.issuer_v2) = (vec![], vec![utf8("x")]), Neither),
        ("two-issuers", |c| c.issuer_v1 = vec![b"x".to_vec()], Neither),
        ("issuer-twice", |c| c.issuer_v2.push(utf8(ISSUER)), Neither),
        ("issuer-behind", |c| c.issuer_v2[0].push(0), Neither),
        ("other-use", |c| c.code_signing = false, Neither),
        // Every certificate of the chain must have been valid (CVE-2026-24122).
        ("leaf-ended", |c| c.leaf = (SIGNED - 600, SIGNED - 1), Neither),
        ("leaf-early", |c| c.leaf = (SIGNED + 1, SIGNED + 600), Neither),
        ("middle-ended", |c| c.intermediate = (SIGNED - DAY, SIGNED - 1), Neither),
        ("middle-early", |c| c.intermediate = (SIGNED + 1, SIGNED + DAY), Neither),
        ("root-ended", |c| c.root = (SIGNED - DAY, SIGNED - 1), Neither),
        ("root-early", |c| c.root = (SIGNED + 1, SIGNED + 3650 * DAY), Neither),
    ];
    for (name, change, expected) in cases {
        let mut certificates = Certificates::default();
        change(&mut certificates);
        let chain = pki.chain(&certificates);
        let signed = |text: &str| annotations(&pki, &chain, text);
        let reference = site.certified(&format!("fulcio-{name}"), signed);
        site.judge_fulcio(expected, &reference, &requirement(&pki, &chain));
    }
}

#[test]
fn what_is_beside_a_certificate() {
    type Change<'a> = &'a dyn Fn(&str, &mut Annotations);
    type Demand = fn(&mut Value, &Pki);
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let (pki, stranger) = (Pki::default(), Pki::default());
    let chain = pki.chain(&Certificates::default());
    let of_signer = Certificates { leaf: (SIGNED - 299, SIGNED + 300), ..Certificates::default() };
    let other = pki.chain(&of_signer);
    let entry = |pki: &Pki, text: &[u8], leaf: &[u8], by: &Annotations, time: u64| {
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::STANDARD.decode(&by[SIGNATURE]).unwrap();
        pki.annotation_at(&hashedrekord(text, &signature, &pem(leaf)), time)
    };
    let set = |a: &mut Annotations, name: &str, text: String| drop(a.insert(name.to_owned(), text));
    let cases: [(&str, Change<'_>, Verdict); 13] = [
        ("whole", &|_, _| {}, Both),
        ("no-entry", &|_, a| drop(a.remove(ENTRY)), Neither),
        // Row 20.
        (
            "entry-of-another",
            &|_, a| set(a, ENTRY, entry(&pki, b"x", &chain.leaf, a, SIGNED)),
            Neither,
        ),
        // Row 21.
        (
            "entry-of-another-certificate",
            &|text, a| set(a, ENTRY, entry(&pki, text.as_bytes(), &other.leaf, a, SIGNED)),
            Neither,
        ),
        (
            "entry-of-another-log",
            &|text, a| set(a, ENTRY, entry(&stranger, text.as_bytes(), &chain.leaf, a, SIGNED)),
            Neither,
        ),
        (
            "entry-too-late",
            &|text, a| set(a, ENTRY, entry(&pki, text.as_bytes(), &chain.leaf, a, SIGNED + 301)),
            Neither,
        ),
        (
            "entry-too-early",
            &|text, a| set(a, ENTRY, entry(&pki, text.as_bytes(), &chain.leaf, a, SIGNED - 301)),
            Neither,
        ),
        ("no-certificate", &|_, a| drop(a.remove(CERTIFICATE)), Neither),
        ("another-certificate", &|_, a| set(a, CERTIFICATE, pem(&other.leaf)), Neither),
        ("no-chain", &|_, a| drop(a.remove(CHAIN)), Neither),
        ("chain-of-another", &|_, a| set(a, CHAIN, pem(&chain.root).repeat(2)), Neither),
        (
            "another-signature",
            &|text, a| set(a, SIGNATURE, base64(sign(&pki.other, text.as_bytes()))),
            Neither,
        ),
        ("another-payload", &|_, a| set(a, SIGNATURE, base64(sign(&pki.signer, b"x"))), Neither),
    ];
    let mut good = String::new();
    for (name, change, expected) in cases {
        let reference = site.certified(&format!("fulcio-{name}"), |text| {
            let mut annotations = annotations(&pki, &chain, text);
            change(text, &mut annotations);
            annotations
        });
        site.judge_fulcio(expected, &reference, &requirement(&pki, &chain));
        if name == "whole" {
            good = reference;
        }
    }
    let demands: [(&str, Demand, Verdict); 8] = [
        ("as it is", |_, _| {}, Both),
        ("another e-mail", |r, _| r["fulcio"]["subjectEmail"] = json!("me@example.tes"), Neither),
        ("no e-mail", |r, _| r["fulcio"]["subjectEmail"] = json!(""), Neither),
        ("another issuer", |r, _| r["fulcio"]["oidcIssuer"] = json!("https://login"), Neither),
        ("no issuer", |r, _| r["fulcio"]["oidcIssuer"] = json!(""), Neither),
        (
            "another log",
            |r, stranger| {
                r["rekorPublicKeyData"] = json!(base64(stranger.log.public_key_pem()));
            },
            Neither,
        ),
        (
            "another authority",
            |r, stranger| {
                let root = stranger.chain(&Certificates::default()).root;
                r["fulcio"]["caData"] = json!(base64(pem(&root)));
            },
            Neither,
        ),
        ("no log", |r, _| drop(r.as_object_mut().unwrap().remove("rekorPublicKeyData")), Neither),
    ];
    for (what, change, expected) in demands {
        let mut requirement = requirement(&pki, &chain);
        change(&mut requirement, &stranger);
        println!("{what}");
        site.judge_fulcio(expected, &good, &requirement);
    }
}

/// A name of each kind by `--certificate-identity`: whom the program accepts, both cosigns do.
#[test]
fn cosign_accepts_whom_we_accept() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let cosigns = [Signer::Cosign2, Signer::Cosign3].map(Signer::program);
    let [Some(two), Some(three)] = cosigns else { crate::common::not_run!("no cosign") };
    let pki = Pki::default();
    let log = site.file(&pki.log.public_key_pem());
    let user = |text: &str| other_name(&USER_NAME, text);
    let principal = other_name(&[1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "me!example.test");
    let uri_text = "https://example.test/me";
    for (name, subjects, wanted, ours, theirs) in [
        ("email", vec![email(SUBJECT)], SUBJECT, true, true),
        ("uri", vec![uri(uri_text)], uri_text, true, true),
        ("user", vec![user("me!example.test")], "me!example.test", true, true),
        ("user-like-email", vec![user(SUBJECT)], SUBJECT, true, true),
        ("other-user", vec![user("you!example.test")], "me!example.test", false, false),
        ("longer-user", vec![user("me!example.test.evil")], "me!example.test", false, false),
        ("principal", vec![principal], "me!example.test", false, false),
        // Whatever a certificate of several names is for, it is not one identity (K4).
        ("user-and-email", vec![user("me!example.test"), email(SUBJECT)], SUBJECT, false, true),
    ] {
        let chain = pki.chain(&Certificates { subjects, ..Certificates::default() });
        let reference =
            site.certified(&format!("identity-{name}"), |text| annotations(&pki, &chain, text));
        let roots = site.file(&pem(&chain.root));
        let demands = |command: &mut Command| {
            command.args(["--certificate-identity", wanted, "--certificate-oidc-issuer", ISSUER]);
            command.arg("--ca-roots").arg(&roots);
        };
        let mut command = site.work.command();
        let state = tempfile::tempdir().unwrap();
        command.args(["verify", "--tls-verify=false", "--state-dir"]).arg(state.path());
        demands(&mut command);
        let found = Outcome::of(command.arg("--rekor-key").arg(&log).arg(&reference));
        assert_eq!(found.code == 0, ours, "{name}: {found:#?}");
        for cosign in [&two, &three] {
            let mut command = Command::new(cosign);
            command.env("SIGSTORE_REKOR_PUBLIC_KEY", &log);
            command.args(["verify", "--insecure-ignore-sct", "--allow-http-registry", "--offline"]);
            demands(&mut command);
            let found = Outcome::of(command.arg(&reference));
            assert_eq!(found.code == 0, theirs, "{name}: {found:#?}");
        }
    }
}
