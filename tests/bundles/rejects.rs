//! Bundles by key: each rejection is one mutation away from what is accepted.
use std::collections::BTreeMap;

use oci2sysext::oci::Digest;
use oci2sysext::verify::{Comparison, Demands, SignedIdentity};
use serde_json::{Value, json};

use super::pki::*;
use super::world::*;

#[test]
fn the_good_ones_are_accepted() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let root = pki.trusted_root(&chain);
    let logged = logged_bundle(&pki, &statement());
    let by_certificate = certificate_bundle(&pki, &chain, &statement());
    for (bundle, policy) in [
        (&logged, key_policy(&pki, false)),
        (&logged, key_policy(&pki, true)),
        (&by_certificate, certificate_policy(&root)),
    ] {
        let accepted = bundle_verdict(bundle, &policy).unwrap();
        assert_eq!(*accepted.digest, Digest::of(b"instance"));
        assert_eq!(accepted.identity, Comparison::Unnamed);
        assert!(accepted.warnings().concat().contains("the name is not signed"));
    }
    for (parts, policy) in [
        (older(&pki, None), key_policy(&pki, true)),
        (older(&pki, Some(&chain)), certificate_policy(&root)),
        (older(&pki, Some(&chain)), own_policy(&pki, &chain)),
    ] {
        let accepted = older_verdict(parts, &policy).unwrap();
        assert_eq!(accepted.identity, Comparison::Equal);
        assert!(accepted.warnings().is_empty());
    }
    let workload = Certificates { subjects: vec![uri("https://ci.test/x")], ..Default::default() };
    let chain = pki.chain(&workload);
    let bundle = certificate_bundle(&pki, &chain, &statement());
    let (reason, exit) =
        refusal(bundle_verdict(&bundle, &certificate_policy(&pki.trusted_root(&chain))));
    assert_eq!((&*reason, exit), ("OtherSigner", 5));
}

/// Rows 22 to 25: what a bundle by the configured key may be.
#[test]
fn bundles_by_key() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let certificate = json!({ "rawBytes": base64(&chain.leaf) });
    let envelope = |b: &mut Value, name: &str, value: Value| b["dsseEnvelope"][name] = value;
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "row 23: no signature",
            |b: &mut Value| envelope(b, "signatures", json!([])),
            "Bundle",
            4,
        ),
        m(
            "row 23: two signatures",
            |b: &mut Value| {
                let one = b["dsseEnvelope"]["signatures"][0].clone();
                envelope(b, "signatures", json!([one, one]));
            },
            "Bundle",
            4,
        ),
        m(
            "row 23: payload type",
            |b: &mut Value| envelope(b, "payloadType", json!("text/plain")),
            "Bundle",
            4,
        ),
        m(
            "payload type, another case",
            |b: &mut Value| replace(&mut b["dsseEnvelope"]["payloadType"], "in-toto", "In-toto"),
            "Bundle",
            4,
        ),
        m(
            "a payload bit",
            |b: &mut Value| rebase(&mut b["dsseEnvelope"]["payload"], |p| p[9] ^= 1),
            "OtherKey",
            4,
        ),
        m(
            "a payload byte more",
            |b: &mut Value| rebase(&mut b["dsseEnvelope"]["payload"], |p| p.push(b' ')),
            "OtherKey",
            4,
        ),
        m(
            "a signature bit",
            |b: &mut Value| rebase(&mut b["dsseEnvelope"]["signatures"][0]["sig"], |s| s[20] ^= 1),
            "OtherKey",
            4,
        ),
        m(
            "an empty signature",
            |b: &mut Value| b["dsseEnvelope"]["signatures"][0]["sig"] = json!(""),
            "OtherKey",
            4,
        ),
        m(
            "an array in place of an object",
            |b: &mut Value| b["verificationMaterial"]["publicKey"] = json!(["hint"]),
            "Bundle",
            4,
        ),
        m(
            "no padding",
            |b: &mut Value| replace(&mut b["dsseEnvelope"]["signatures"][0]["sig"], "M", "-"),
            "Bundle",
            4,
        ),
        m("an unknown key", |b: &mut Value| b["other"] = json!(1), "Bundle", 4),
        m(
            "an unknown key inside",
            |b: &mut Value| b["dsseEnvelope"]["other"] = json!(1),
            "Bundle",
            4,
        ),
        m("another case", |b: &mut Value| b["MediaType"] = b["mediaType"].clone(), "Bundle", 4),
        m(
            "no media type",
            |b: &mut Value| {
                b.as_object_mut().unwrap().remove("mediaType");
            },
            "Bundle",
            4,
        ),
        m(
            "version 0.1",
            |b: &mut Value| {
                b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1")
            },
            "Bundle",
            4,
        ),
        m(
            "version 0.2",
            |b: &mut Value| {
                b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2")
            },
            "Bundle",
            4,
        ),
        m(
            "version 0.4",
            |b: &mut Value| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.4+json"),
            "Bundle",
            4,
        ),
        m(
            "no material",
            |b: &mut Value| {
                b["verificationMaterial"].as_object_mut().unwrap().remove("publicKey");
            },
            "Bundle",
            4,
        ),
        m(
            "key and certificate",
            |b: &mut Value| b["verificationMaterial"]["certificate"] = certificate.clone(),
            "Bundle",
            4,
        ),
        m(
            "row 25: a certificate",
            |b: &mut Value| {
                let material = b["verificationMaterial"].as_object_mut().unwrap();
                material.remove("publicKey");
                material.insert("certificate".to_owned(), certificate.clone());
            },
            "NoKey",
            4,
        ),
        m(
            "a chain in version 0.3",
            |b: &mut Value| {
                let material = b["verificationMaterial"].as_object_mut().unwrap();
                material.remove("publicKey");
                material.insert(
                    "x509CertificateChain".to_owned(),
                    json!({ "certificates": [certificate] }),
                );
            },
            "Bundle",
            4,
        ),
        m(
            "a message instead of an envelope",
            |b: &mut Value| {
                let signature = b["dsseEnvelope"]["signatures"][0]["sig"].clone();
                b.as_object_mut().unwrap().remove("dsseEnvelope");
                b["messageSignature"] = json!({ "signature": signature });
            },
            "Bundle",
            4,
        ),
        m(
            "both contents",
            |b: &mut Value| b["messageSignature"] = json!({ "signature": "" }),
            "Bundle",
            4,
        ),
        m(
            "neither content",
            |b: &mut Value| {
                b.as_object_mut().unwrap().remove("dsseEnvelope");
            },
            "Bundle",
            4,
        ),
        m("a null envelope", |b: &mut Value| b["dsseEnvelope"] = Value::Null, "Bundle", 4),
        m(
            "33 timestamps",
            |b: &mut Value| {
                b["verificationMaterial"]["timestampVerificationData"] =
                    json!({ "rfc3161Timestamps": vec![json!({ "signedTimestamp": "" }); 33] })
            },
            "Bundle",
            4,
        ),
        m("an index below zero", |b: &mut Value| entry(b)["logIndex"] = json!("-1"), "Bundle", 4),
        m(
            "an index with a zero in front",
            |b: &mut Value| entry(b)["logIndex"] = json!("01"),
            "Bundle",
            4,
        ),
        m(
            "a hash of 31 bytes",
            |b: &mut Value| entry(b)["inclusionProof"]["rootHash"] = json!(base64([0; 31])),
            "Bundle",
            4,
        ),
    ];
    let good = logged_bundle(&pki, &statement());
    for (what, change, reason, exit) in mutations {
        let mut bundle = good.clone();
        change(&mut bundle);
        assert_ne!(bundle, good, "{what}");
        let found = refusal(bundle_verdict(&bundle, &key_policy(&pki, false)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
    let text = serde_json::to_string(&good).unwrap();
    for (what, text) in [
        ("a key twice", text.replacen('{', "{\"mediaType\":\"\",", 1)),
        ("bytes behind", format!("{text}{{}}")),
        ("not UTF-8", text.replacen("mediaType", "mediaType\u{fffd}", 1)),
        ("nothing", String::new()),
    ] {
        let candidate = oci2sysext::verify::Candidate::Bundle {
            origin: "test".to_owned(),
            bundle: text.into_bytes(),
        };
        let found = refusal(verdict(candidate, &key_policy(&pki, false)));
        assert_eq!(found, ("Bundle".to_owned(), 4), "{what}");
    }
    let other =
        oci2sysext::verify::Policy::new(named(&pki.other), Vec::new(), SignedIdentity::Asked);
    assert_eq!(refusal(bundle_verdict(&good, &other)), ("OtherKey".to_owned(), 4));
}

/// Rows 22 and 24: what the configured key may have said.
#[test]
fn statements() {
    let pki = Pki::default();
    let subject = |s: &mut Value, value: Value| s["subject"] = value;
    let sha256 = Digest::of(b"instance").hex();
    let other = Digest::of(b"other").hex();
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "row 22: bill of materials",
            |s: &mut Value| s["predicateType"] = json!("https://spdx.dev/Document"),
            "Payload",
            4,
        ),
        m(
            "row 22: provenance",
            |s: &mut Value| s["predicateType"] = json!("https://slsa.dev/provenance/v1"),
            "Payload",
            4,
        ),
        m(
            "a predicate type that begins alike",
            |s: &mut Value| s["predicateType"] = json!("https://sigstore.dev/cosign/sign/v10"),
            "Payload",
            4,
        ),
        m(
            "no predicate type",
            |s: &mut Value| {
                s.as_object_mut().unwrap().remove("predicateType");
            },
            "Payload",
            4,
        ),
        m(
            "a predicate with contents",
            |s: &mut Value| s["predicate"] = json!({ "a": 1 }),
            "Payload",
            4,
        ),
        m("a predicate that is none", |s: &mut Value| s["predicate"] = json!([]), "Payload", 4),
        m(
            "the older type",
            |s: &mut Value| s["_type"] = json!("https://in-toto.io/Statement/v0.1"),
            "Payload",
            4,
        ),
        m(
            "no type",
            |s: &mut Value| {
                s.as_object_mut().unwrap().remove("_type");
            },
            "Payload",
            4,
        ),
        m("an unknown field", |s: &mut Value| s["x"] = json!(1), "Payload", 4),
        m(
            "row 24: only sha512",
            |s: &mut Value| subject(s, json!([{ "digest": { "sha512": "00".repeat(64) } }])),
            "Payload",
            4,
        ),
        m(
            "row 24: another image",
            |s: &mut Value| subject(s, json!([{ "digest": { "sha256": other } }])),
            "OtherImage",
            4,
        ),
        m(
            "an uppercase digest",
            |s: &mut Value| subject(s, json!([{ "digest": { "sha256": sha256.to_uppercase() } }])),
            "Payload",
            4,
        ),
        m(
            "a short digest",
            |s: &mut Value| subject(s, json!([{ "digest": { "sha256": &sha256[1..] } }])),
            "Payload",
            4,
        ),
        m(
            "another name of the digest",
            |s: &mut Value| subject(s, json!([{ "digest": { "SHA256": sha256 } }])),
            "Payload",
            4,
        ),
        m("no digest", |s: &mut Value| subject(s, json!([{ "name": "x" }])), "Payload", 4),
        m("no subject", |s: &mut Value| subject(s, json!([])), "Payload", 4),
        m(
            "a subject that is none",
            |s: &mut Value| subject(s, json!({ "digest": { "sha256": sha256 } })),
            "Payload",
            4,
        ),
        m(
            "an unknown field of a subject",
            |s: &mut Value| s["subject"][0]["x"] = json!(1),
            "Payload",
            4,
        ),
        m(
            "1025 subjects",
            |s: &mut Value| {
                subject(s, json!(vec![json!({ "digest": { "sha256": sha256 } }); 1025]))
            },
            "Payload",
            4,
        ),
        m(
            "33 digests",
            |s: &mut Value| {
                for number in 0..33 {
                    s["subject"][0]["digest"][format!("x{number}")] = json!("00");
                }
            },
            "Payload",
            4,
        ),
    ];
    for (what, change, reason, exit) in mutations {
        let mut statement = statement();
        change(&mut statement);
        let bundle = logged_bundle(&pki, &statement);
        let found = refusal(bundle_verdict(&bundle, &key_policy(&pki, false)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
    // cosign before 3.0.3 has no predicate; any of several subjects will do; the index, too.
    let changes: [fn(&mut Value); 3] = [
        |s| {
            s.as_object_mut().unwrap().remove("predicate");
        },
        |s| s["subject"] = json!([{ "digest": { "sha512": "00" } }, s["subject"][0]]),
        |s| s["subject"] = json!([{ "digest": { "sha256": Digest::of(b"index").hex() } }]),
    ];
    for change in changes {
        let mut statement = statement();
        change(&mut statement);
        bundle_verdict(&logged_bundle(&pki, &statement), &key_policy(&pki, false)).unwrap();
    }
}

/// A demanded name is in no bundle; demanded annotations are.
#[test]
fn names_and_annotations_of_bundles() {
    let pki = Pki::default();
    let mut statement = statement();
    statement["subject"][0]["annotations"] = json!({ "name": "iwd" });
    let bundle = logged_bundle(&pki, &statement);
    let policy = |identity: &str| {
        let identity = identity.parse().unwrap();
        oci2sysext::verify::Policy::new(named(&pki.signer), Vec::new(), identity)
    };
    assert_eq!(refusal(bundle_verdict(&bundle, &policy("q.test/a"))), ("Nameless".into(), 5));
    let any = bundle_verdict(&bundle, &policy("any")).unwrap();
    assert!(any.identity == Comparison::NotWanted && any.warnings().is_empty());
    let demand = |value: &str| {
        let annotations = BTreeMap::from([("name".to_owned(), value.to_owned())]);
        policy("any").with_demands(Demands { annotations, ..Demands::default() })
    };
    bundle_verdict(&bundle, &demand("iwd")).unwrap();
    assert_eq!(refusal(bundle_verdict(&bundle, &demand("x"))), ("Annotation".into(), 4));
}
