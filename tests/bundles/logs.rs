//! Log entries: each rejection is one mutation away from what is accepted.
use std::collections::BTreeMap;

use oci2sysext::oci::Digest;
use oci2sysext::verify::{Policy, SignedIdentity, TrustRoot};
use serde_json::{Value, json};

use super::pki::*;
use super::world::*;

/// Rows 19 to 21 for bundles (B7).
#[test]
fn log_entries_of_bundles_by_key() {
    let pki = Pki::default();
    let stranger = Pki::default();
    let good = logged_bundle(&pki, &statement());
    let another = logged_bundle(&pki, &json!({ "x": 1 }));
    let by_other = {
        let payload = bytes(&good["dsseEnvelope"]["payload"]);
        let signature = bytes(&good["dsseEnvelope"]["signatures"][0]["sig"]);
        move |payload_of: &[u8], signature_of: &[u8], key: String| {
            let payload = if payload_of.is_empty() { &payload } else { payload_of };
            let signature = if signature_of.is_empty() { &signature } else { signature_of };
            dsse(payload, signature, &key)
        }
    };
    let own = pki.signer.public_key_pem();
    let proof = |b: &mut Value, name: &str, value: Value| entry(b)["inclusionProof"][name] = value;
    let body = |b: &mut Value, body: &Value| *entry(b) = pki.entry(body);
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "row 19: no entry",
            |b: &mut Value| b["verificationMaterial"]["tlogEntries"] = json!([]),
            "Transparency",
            4,
        ),
        m(
            "row 19: no list",
            |b: &mut Value| {
                b["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries");
            },
            "Transparency",
            4,
        ),
        m(
            "an entry of an unknown log",
            |b: &mut Value| *entry(b) = stranger.entry(&by_other(&[], &[], own.clone())),
            "Transparency",
            4,
        ),
        m(
            "an entry of an unknown log under our log's name",
            |b: &mut Value| {
                *entry(b) = stranger.entry(&by_other(&[], &[], own.clone()));
                entry(b)["logId"]["keyId"] = json!(base64(pki.log_id()));
            },
            "Transparency",
            4,
        ),
        m(
            "row 20: somebody else's entry",
            |b: &mut Value| *entry(b) = entry(&mut another.clone()).clone(),
            "Transparency",
            4,
        ),
        m(
            "row 21: another signature",
            |b: &mut Value| body(b, &by_other(&[], b"x", own.clone())),
            "Transparency",
            4,
        ),
        m(
            "row 21: another key",
            |b: &mut Value| body(b, &by_other(&[], &[], pki.other.public_key_pem())),
            "Transparency",
            4,
        ),
        m(
            "row 20: another payload",
            |b: &mut Value| body(b, &by_other(b"x", &[], own.clone())),
            "Transparency",
            4,
        ),
        m(
            "text behind the key",
            |b: &mut Value| body(b, &by_other(&[], &[], format!("{own}x"))),
            "Transparency",
            4,
        ),
        m(
            "two keys",
            |b: &mut Value| body(b, &by_other(&[], &[], format!("{own}{own}"))),
            "Transparency",
            4,
        ),
        m(
            "an entry twice",
            |b: &mut Value| {
                let one = entry(b).clone();
                b["verificationMaterial"]["tlogEntries"] = json!([one, one]);
            },
            "Transparency",
            4,
        ),
        m(
            "33 entries",
            |b: &mut Value| {
                let one = entry(b).clone();
                b["verificationMaterial"]["tlogEntries"] = json!(vec![one; 33]);
            },
            "Transparency",
            4,
        ),
        m(
            "a promise bit",
            |b: &mut Value| {
                rebase(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"], |s| s[15] ^= 1)
            },
            "Transparency",
            4,
        ),
        m(
            "another time",
            |b: &mut Value| entry(b)["integratedTime"] = json!((SIGNED + 1).to_string()),
            "Transparency",
            4,
        ),
        m("another index", |b: &mut Value| entry(b)["logIndex"] = json!("2"), "Transparency", 4),
        m(
            "another kind than the body's",
            |b: &mut Value| entry(b)["kindVersion"]["kind"] = json!("hashedrekord"),
            "Transparency",
            4,
        ),
        m(
            "another version than the body's",
            |b: &mut Value| entry(b)["kindVersion"]["version"] = json!("0.0.2"),
            "Transparency",
            4,
        ),
        m(
            "no proof",
            |b: &mut Value| {
                entry(b).as_object_mut().unwrap().remove("inclusionProof");
            },
            "Transparency",
            4,
        ),
        m(
            "no checkpoint",
            |b: &mut Value| {
                entry(b)["inclusionProof"].as_object_mut().unwrap().remove("checkpoint");
            },
            "Transparency",
            4,
        ),
        m(
            "another root",
            |b: &mut Value| rebase(&mut entry(b)["inclusionProof"]["rootHash"], |h| h[0] ^= 1),
            "Transparency",
            4,
        ),
        m(
            "another hash",
            |b: &mut Value| rebase(&mut entry(b)["inclusionProof"]["hashes"][0], |h| h[0] ^= 1),
            "Transparency",
            4,
        ),
        m(
            "a hash more",
            |b: &mut Value| {
                let one = entry(b)["inclusionProof"]["hashes"][0].clone();
                proof(b, "hashes", json!([one, one]));
            },
            "Transparency",
            4,
        ),
        m("no hash", |b: &mut Value| proof(b, "hashes", json!([])), "Transparency", 4),
        m("another size", |b: &mut Value| proof(b, "treeSize", json!("3")), "Transparency", 4),
        m(
            "another place in the tree",
            |b: &mut Value| proof(b, "logIndex", json!("0")),
            "Transparency",
            4,
        ),
        m(
            "a place beyond the tree",
            |b: &mut Value| proof(b, "logIndex", json!("2")),
            "Transparency",
            4,
        ),
        m(
            "a checkpoint of another size",
            |b: &mut Value| replace(checkpoint(b), "\n2\n", "\n3\n"),
            "Transparency",
            4,
        ),
        m(
            "a checkpoint of another log",
            |b: &mut Value| replace(checkpoint(b), "log.test - 42", "log.test - 43"),
            "Transparency",
            4,
        ),
        m(
            "a checkpoint signed under another name",
            |b: &mut Value| replace(checkpoint(b), "\u{2014} log.test", "\u{2014} evil.test"),
            "Transparency",
            4,
        ),
        m(
            "a checkpoint without a signature",
            |b: &mut Value| {
                let text =
                    checkpoint(b).as_str().unwrap().split('\u{2014}').next().unwrap().to_owned();
                *checkpoint(b) = json!(text);
            },
            "Transparency",
            4,
        ),
        m(
            "a checkpoint with spaces",
            |b: &mut Value| replace(checkpoint(b), "\n2\n", "\n2 \n"),
            "Transparency",
            4,
        ),
        m(
            "a checkpoint with more behind",
            |b: &mut Value| {
                let text = format!("{}\n\nx", checkpoint(b).as_str().unwrap());
                *checkpoint(b) = json!(text);
            },
            "Transparency",
            4,
        ),
        m(
            "a body byte more",
            |b: &mut Value| rebase(&mut entry(b)["canonicalizedBody"], |c| c.push(b' ')),
            "Transparency",
            4,
        ),
        m(
            "an unknown kind",
            |b: &mut Value| body(b, &json!({ "apiVersion": "0.0.1", "kind": "rpm", "spec": {} })),
            "Transparency",
            4,
        ),
        m(
            "an unknown field in the body",
            |b: &mut Value| {
                let mut known = by_other(&[], &[], own.clone());
                known["spec"]["x"] = json!(1);
                body(b, &known);
            },
            "Transparency",
            4,
        ),
        m(
            "another digest algorithm",
            |b: &mut Value| {
                let mut known = by_other(&[], &[], own.clone());
                known["spec"]["payloadHash"]["algorithm"] = json!("md5");
                body(b, &known);
            },
            "Transparency",
            4,
        ),
        m(
            "two signatures in the body",
            |b: &mut Value| {
                let mut known = by_other(&[], &[], own.clone());
                let one = known["spec"]["signatures"][0].clone();
                known["spec"]["signatures"] = json!([one, one]);
                body(b, &known);
            },
            "Transparency",
            4,
        ),
    ];
    for (what, change, reason, exit) in mutations {
        let mut bundle = good.clone();
        change(&mut bundle);
        assert_ne!(bundle, good, "{what}");
        let found = refusal(bundle_verdict(&bundle, &key_policy(&pki, true)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
    // An entry of a log that nobody knows does no harm beside one that counts.
    let mut both = good.clone();
    let unknown = stranger.entry(&by_other(&[], &[], own));
    both["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().insert(0, unknown);
    bundle_verdict(&both, &key_policy(&pki, true)).unwrap();
}

/// Rows 19 to 21 for the older format (L7, CVE-2026-22703).
#[test]
fn log_entries_of_the_older_format() {
    type Parts = (Vec<u8>, BTreeMap<String, String>);
    let pki = Pki::default();
    let good = older(&pki, None);
    let signature = bytes(&json!(good.1[SIGNATURE]));
    let own = pki.signer.public_key_pem();
    let with = |p: &mut Parts, body: &Value| {
        p.1.insert(ENTRY.to_owned(), pki.annotation(body));
    };
    let change = |p: &mut Parts, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&p.1[ENTRY]).unwrap();
        change(&mut value);
        p.1.insert(ENTRY.to_owned(), value.to_string());
    };
    let payload = good.0.clone();
    let mutations: Vec<Mutation<'_, Parts>> = vec![
        m(
            "row 19",
            |p: &mut Parts| {
                p.1.remove(ENTRY);
            },
            "Transparency",
            4,
        ),
        m(
            "row 20: somebody else's entry",
            |p: &mut Parts| {
                with(p, &hashedrekord(b"x", &sign(&pki.other, b"x"), &pki.other.public_key_pem()))
            },
            "Transparency",
            4,
        ),
        m(
            "row 21: another signature",
            |p: &mut Parts| with(p, &hashedrekord(&payload, &sign(&pki.signer, b"x"), &own)),
            "Transparency",
            4,
        ),
        m(
            "row 21: another key",
            |p: &mut Parts| {
                with(p, &hashedrekord(&payload, &signature, &pki.other.public_key_pem()))
            },
            "Transparency",
            4,
        ),
        m(
            "row 20: another payload",
            |p: &mut Parts| with(p, &hashedrekord(b"x", &signature, &own)),
            "Transparency",
            4,
        ),
        m(
            "a key with text behind",
            |p: &mut Parts| with(p, &hashedrekord(&payload, &signature, &format!("{own}x"))),
            "Transparency",
            4,
        ),
        m(
            "an envelope's entry",
            |p: &mut Parts| with(p, &dsse(&payload, &signature, &own)),
            "Transparency",
            4,
        ),
        m(
            "a promise bit",
            |p: &mut Parts| change(p, &|v| rebase(&mut v["SignedEntryTimestamp"], |s| s[15] ^= 1)),
            "Transparency",
            4,
        ),
        m(
            "a promise by another",
            |p: &mut Parts| {
                change(p, &|v| v["SignedEntryTimestamp"] = json!(base64(sign(&pki.other, b"x"))))
            },
            "Transparency",
            4,
        ),
        m(
            "another time",
            |p: &mut Parts| change(p, &|v| v["Payload"]["integratedTime"] = json!(SIGNED + 1)),
            "Transparency",
            4,
        ),
        m(
            "another index",
            |p: &mut Parts| change(p, &|v| v["Payload"]["logIndex"] = json!(2)),
            "Transparency",
            4,
        ),
        m(
            "another log",
            |p: &mut Parts| change(p, &|v| v["Payload"]["logID"] = json!("00".repeat(32))),
            "Transparency",
            4,
        ),
        m(
            "an uppercase log",
            |p: &mut Parts| {
                change(p, &|v| {
                    v["Payload"]["logID"] =
                        json!(v["Payload"]["logID"].as_str().unwrap().to_uppercase())
                })
            },
            "Transparency",
            4,
        ),
        m("an unknown field", |p: &mut Parts| change(p, &|v| v["x"] = json!(1)), "Transparency", 4),
        m(
            "another case",
            |p: &mut Parts| change(p, &|v| v["payload"] = v["Payload"].clone()),
            "Transparency",
            4,
        ),
        m(
            "no promise",
            |p: &mut Parts| {
                change(p, &|v| {
                    v.as_object_mut().unwrap().remove("SignedEntryTimestamp");
                })
            },
            "Transparency",
            4,
        ),
        m(
            "an index in a text",
            |p: &mut Parts| change(p, &|v| v["Payload"]["logIndex"] = json!("1")),
            "Transparency",
            4,
        ),
        m(
            "no JSON",
            |p: &mut Parts| {
                p.1.insert(ENTRY.to_owned(), String::new());
            },
            "Transparency",
            4,
        ),
        m("another payload bit", |p: &mut Parts| p.0[3] ^= 1, "OtherKey", 4),
    ];
    for (what, change, reason, exit) in mutations {
        let mut parts = good.clone();
        change(&mut parts);
        assert_ne!(parts, good, "{what}");
        let found = refusal(older_verdict(parts, &key_policy(&pki, true)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
}

/// What a log has of a signature by certificate; row 29.
#[test]
fn log_entries_of_bundles_by_certificate() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let policy = certificate_policy(&pki.trusted_root(&chain));
    let good = certificate_bundle(&pki, &chain, &statement());
    let payload = bytes(&good["dsseEnvelope"]["payload"]);
    let signature = bytes(&good["dsseEnvelope"]["signatures"][0]["sig"]);
    let other_leaf =
        pki.chain(&Certificates { leaf: (SIGNED - 301, SIGNED + 300), ..Default::default() });
    let leaf = pem(&chain.leaf);
    let body = |b: &mut Value, body: &Value| *entry(b) = pki.entry(body);
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "row 29: version 2 without a timestamp",
            |b: &mut Value| {
                let verifier = json!({
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "x509Certificate": { "rawBytes": base64(&chain.leaf) },
                });
                body(b, &hashedrekord_v2(&pae(PAYLOAD_TYPE, &payload), &signature, &verifier));
            },
            "Certificate",
            4,
        ),
        m(
            "a proof without a promise proves no time",
            |b: &mut Value| {
                entry(b).as_object_mut().unwrap().remove("inclusionPromise");
            },
            "Certificate",
            4,
        ),
        m(
            "no entry",
            |b: &mut Value| b["verificationMaterial"]["tlogEntries"] = json!([]),
            "Transparency",
            4,
        ),
        m(
            "no proof",
            |b: &mut Value| {
                entry(b).as_object_mut().unwrap().remove("inclusionProof");
            },
            "Transparency",
            4,
        ),
        m(
            "another time",
            |b: &mut Value| entry(b)["integratedTime"] = json!((SIGNED - 1).to_string()),
            "Transparency",
            4,
        ),
        m(
            "another certificate",
            |b: &mut Value| body(b, &dsse(&payload, &signature, &pem(&other_leaf.leaf))),
            "Certificate",
            4,
        ),
        m(
            "the key instead of the certificate",
            |b: &mut Value| body(b, &dsse(&payload, &signature, &pki.signer.public_key_pem())),
            "Certificate",
            4,
        ),
        m(
            "another payload",
            |b: &mut Value| body(b, &dsse(b"x", &signature, &leaf)),
            "Certificate",
            4,
        ),
        m(
            "another signature",
            |b: &mut Value| body(b, &dsse(&payload, b"x", &leaf)),
            "Certificate",
            4,
        ),
        m(
            "a message's entry",
            |b: &mut Value| body(b, &hashedrekord(&payload, &signature, &leaf)),
            "Certificate",
            4,
        ),
        m(
            "a timestamp that is none",
            |b: &mut Value| {
                b["verificationMaterial"]["timestampVerificationData"] =
                    json!({ "rfc3161Timestamps": [{ "signedTimestamp": "MAA=" }] })
            },
            "Certificate",
            4,
        ),
        m(
            "another certificate in the bundle",
            |b: &mut Value| {
                b["verificationMaterial"]["certificate"]["rawBytes"] =
                    json!(base64(&other_leaf.leaf))
            },
            "Certificate",
            4,
        ),
        m(
            "a certificate with bytes behind",
            |b: &mut Value| {
                rebase(&mut b["verificationMaterial"]["certificate"]["rawBytes"], |c| c.push(0))
            },
            "Certificate",
            4,
        ),
        m(
            "a certificate bit",
            |b: &mut Value| {
                rebase(&mut b["verificationMaterial"]["certificate"]["rawBytes"], |c| c[60] ^= 1)
            },
            "Certificate",
            4,
        ),
        m(
            "a payload bit",
            |b: &mut Value| rebase(&mut b["dsseEnvelope"]["payload"], |p| p[2] ^= 1),
            "Certificate",
            4,
        ),
        m(
            "a signature bit",
            |b: &mut Value| rebase(&mut b["dsseEnvelope"]["signatures"][0]["sig"], |s| s[20] ^= 1),
            "Certificate",
            4,
        ),
    ];
    for (what, change, reason, exit) in mutations {
        let mut bundle = good.clone();
        change(&mut bundle);
        assert_ne!(bundle, good, "{what}");
        let found = refusal(bundle_verdict(&bundle, &policy));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
    // What a certificate signed is held to the same statement as what a key did.
    let mut provenance = statement();
    provenance["predicateType"] = json!("https://slsa.dev/provenance/v1");
    let mut elsewhere = statement();
    elsewhere["subject"][0]["digest"]["sha256"] = json!(Digest::of(b"other").hex());
    for (statement, reason) in [(provenance, "Payload"), (elsewhere, "OtherImage")] {
        let bundle = certificate_bundle(&pki, &chain, &statement);
        assert_eq!(refusal(bundle_verdict(&bundle, &policy)), (reason.to_owned(), 4));
    }
}

/// Entries of logs that nobody configured prove nothing and do no harm, up to 32 in all (B7).
#[test]
fn entries_of_unknown_logs_do_no_harm() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let by_certificate = certificate_policy(&pki.trusted_root(&chain));
    let certified = certificate_bundle(&pki, &chain, &statement());
    let by_key = key_policy(&pki, true);
    let with = |good: &Value, before: u64, after: u64| {
        let unknown = |number: u64| {
            let mut entry = good["verificationMaterial"]["tlogEntries"][0].clone();
            entry["logId"]["keyId"] = json!(base64([9; 32]));
            entry["logIndex"] = json!(number.to_string());
            entry
        };
        let known = good["verificationMaterial"]["tlogEntries"][0].clone();
        let before = (0..before).map(unknown);
        let entries = before.chain([known]).chain((100..100 + after).map(unknown));
        let mut bundle = good.clone();
        bundle["verificationMaterial"]["tlogEntries"] = json!(entries.collect::<Vec<_>>());
        bundle
    };
    for (good, policy) in
        [(&certified, &by_certificate), (&logged_bundle(&pki, &statement()), &by_key)]
    {
        for (before, after) in [(1, 0), (0, 1), (15, 16)] {
            bundle_verdict(&with(good, before, after), policy).unwrap();
        }
        let error = bundle_verdict(&with(good, 16, 16), policy).unwrap_err().to_string();
        assert!(error.contains("found 33 entries"), "{error}");
        // An entry may be of another log with the same number, and of the same log with another.
        let mut twice = with(good, 1, 1);
        twice["verificationMaterial"]["tlogEntries"][0]["logIndex"] = json!("100");
        let error = bundle_verdict(&twice, policy).unwrap_err().to_string();
        assert!(error.contains("the entry 100 twice"), "{error}");
        let mut alike = with(good, 1, 0);
        alike["verificationMaterial"]["tlogEntries"][0]["logIndex"] = json!("1");
        bundle_verdict(&alike, policy).unwrap();
    }
    let mut unknown = with(&certified, 1, 0);
    unknown["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().pop();
    assert_eq!(refusal(bundle_verdict(&unknown, &by_certificate)), ("Transparency".into(), 4));
}

/// A log signs for itself: its name, with the number of a tree behind it in version 1, and nothing
/// that merely begins so.
#[test]
fn checkpoints_of_another_origin() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let good = logged_bundle(&pki, &statement());
    let payload = bytes(&good["dsseEnvelope"]["payload"]);
    let signature = bytes(&good["dsseEnvelope"]["signatures"][0]["sig"]);
    let verifier = json!({
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "publicKey": { "rawBytes": base64(spki(&pki.signer)) },
    });
    let v1 = dsse(&payload, &signature, &pki.signer.public_key_pem());
    let v2 = hashedrekord_v2(&pae(PAYLOAD_TYPE, &payload), &signature, &verifier);
    let root = TrustRoot::from_json(pki.trusted_root(&chain).to_string().as_bytes()).unwrap();
    let by_root = Policy::new(named(&pki.signer), Vec::new(), SignedIdentity::Asked)
        .with_transparency(root.logs().unwrap().clone());
    for (body, origin, is_good) in [
        (&v1, "log.test", true),
        (&v1, "log.test - 42", true),
        (&v1, "log.testing - 42", false),
        (&v1, "log.test-42", false),
        (&v1, "log.test.evil", false),
        (&v1, "log.tes", false),
        (&v1, "other.test - 42", false),
        (&v2, "log.test", true),
        (&v2, "log.test - 42", false),
        (&v2, "log.testing", false),
        (&v2, "other.test", false),
    ] {
        let mut bundle = good.clone();
        *entry(&mut bundle) = pki.entry_under(body, origin);
        for policy in [&by_root, &key_policy(&pki, true)] {
            match bundle_verdict(&bundle, policy) {
                Ok(_) => assert!(is_good, "{origin}"),
                found => {
                    assert!(!is_good, "{origin}: {found:?}");
                    assert_eq!(refusal(found), ("Transparency".to_owned(), 4), "{origin}");
                }
            }
        }
    }
}

/// Version 2 of the log, where no time is needed: by key.
#[test]
fn entries_of_version_2_by_key() {
    let pki = Pki::default();
    let mut good = logged_bundle(&pki, &statement());
    let payload = bytes(&good["dsseEnvelope"]["payload"]);
    let signature = bytes(&good["dsseEnvelope"]["signatures"][0]["sig"]);
    let body = |key: &rcgen::KeyPair, message: &[u8]| {
        let verifier = json!({
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "publicKey": { "rawBytes": base64(spki(key)) },
        });
        hashedrekord_v2(&pae(PAYLOAD_TYPE, message), &signature, &verifier)
    };
    *entry(&mut good) = pki.entry(&body(&pki.signer, &payload));
    bundle_verdict(&good, &key_policy(&pki, true)).unwrap();
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "another key",
            |b: &mut Value| *entry(b) = pki.entry(&body(&pki.other, &payload)),
            "Transparency",
            4,
        ),
        m(
            "another payload",
            |b: &mut Value| *entry(b) = pki.entry(&body(&pki.signer, b"x")),
            "Transparency",
            4,
        ),
        m(
            "a promise",
            |b: &mut Value| {
                entry(b)["inclusionPromise"] = json!({ "signedEntryTimestamp": "AAAA" });
            },
            "Transparency",
            4,
        ),
        m("another index", |b: &mut Value| entry(b)["logIndex"] = json!("0"), "Transparency", 4),
        m(
            "a checkpoint signed under another name",
            |b: &mut Value| replace(checkpoint(b), "\u{2014} log.test", "\u{2014} log.tes"),
            "Transparency",
            4,
        ),
    ];
    // Such a log's id is not that of its key alone: only a trust root knows it.
    let mut unknown = good.clone();
    entry(&mut unknown)["logId"]["keyId"] = json!(base64([7; 32]));
    let error = bundle_verdict(&unknown, &key_policy(&pki, true)).unwrap_err().to_string();
    assert!(error.contains("--trusted-root FILE in place of --rekor-key"), "{error}");
    for (what, change, reason, exit) in mutations {
        let mut bundle = good.clone();
        change(&mut bundle);
        let found = refusal(bundle_verdict(&bundle, &key_policy(&pki, true)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
}
