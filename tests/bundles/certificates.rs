//! Certificates: each rejection is one mutation away from what is accepted.
use std::collections::BTreeMap;

use oci2sysext::verify::{Authorities, CertificateIdentity, Matcher, Signatory, TrustRoot};
use serde_json::{Value, json};

use super::pki::*;
use super::world::*;

/// Rows 27, 28 and 90: what a certificate may say, and when.
#[test]
fn certificates() {
    let pki = Pki::default();
    let day = 86400;
    let mutations: Vec<Mutation<'_, Certificates>> = vec![
        m(
            "row 27: the signer's had ended",
            |c: &mut Certificates| c.leaf = (SIGNED - 600, SIGNED - 1),
            "Certificate",
            4,
        ),
        m(
            "the signer's had not begun",
            |c: &mut Certificates| c.leaf = (SIGNED + 1, SIGNED + 600),
            "Certificate",
            4,
        ),
        m(
            "row 27: the intermediate had ended",
            |c: &mut Certificates| c.intermediate = (SIGNED - day, SIGNED - 1),
            "Certificate",
            4,
        ),
        m(
            "row 27: the root had ended",
            |c: &mut Certificates| c.root = (SIGNED - day, SIGNED - 1),
            "Certificate",
            4,
        ),
        m(
            "the root had not begun",
            |c: &mut Certificates| c.root = (SIGNED + 1, SIGNED + day),
            "Certificate",
            4,
        ),
        m("row 28: no SCT", |c: &mut Certificates| c.sct = None, "Certificate", 4),
        m(
            "row 28: an SCT of another certificate",
            |c: &mut Certificates| c.sct = Some(false),
            "Certificate",
            4,
        ),
        m("another use", |c: &mut Certificates| c.code_signing = false, "Certificate", 4),
        m("an authority's", |c: &mut Certificates| c.is_ca = true, "Certificate", 4),
        m("no name", |c: &mut Certificates| c.subjects = vec![], "Certificate", 4),
        m(
            "two names",
            |c: &mut Certificates| c.subjects = vec![email(SUBJECT), email("x@example.test")],
            "Certificate",
            4,
        ),
        m(
            "another kind of name",
            |c: &mut Certificates| {
                c.subjects = vec![rcgen::SanType::DnsName("example.test".try_into().unwrap())]
            },
            "Certificate",
            4,
        ),
        m(
            "row 28: another name",
            |c: &mut Certificates| c.subjects = vec![email("you@example.test")],
            "OtherSigner",
            5,
        ),
        m(
            "row 28: a name that begins alike",
            |c: &mut Certificates| c.subjects = vec![email("me@example.test.evil")],
            "OtherSigner",
            5,
        ),
        m(
            "row 28: a name that ends alike",
            |c: &mut Certificates| c.subjects = vec![email("some@example.test")],
            "OtherSigner",
            5,
        ),
        m(
            "another case of the name",
            |c: &mut Certificates| c.subjects = vec![email("ME@example.test")],
            "OtherSigner",
            5,
        ),
        m(
            "row 28: another issuer",
            |c: &mut Certificates| {
                c.issuer_v1.clear();
                c.issuer_v2 = vec![utf8("https://evil.test")];
            },
            "OtherSigner",
            5,
        ),
        m(
            "row 28: an issuer that begins alike",
            |c: &mut Certificates| {
                c.issuer_v1.clear();
                c.issuer_v2 = vec![utf8(&format!("{ISSUER}.evil"))];
            },
            "OtherSigner",
            5,
        ),
        m(
            "no issuer",
            |c: &mut Certificates| {
                c.issuer_v1.clear();
                c.issuer_v2.clear();
            },
            "Certificate",
            4,
        ),
        m(
            "an empty issuer",
            |c: &mut Certificates| {
                c.issuer_v1.clear();
                c.issuer_v2 = vec![utf8("")];
            },
            "OtherSigner",
            5,
        ),
        m(
            "two issuers that differ",
            |c: &mut Certificates| c.issuer_v1 = vec![b"https://evil.test".to_vec()],
            "Certificate",
            4,
        ),
        m(
            "an issuer twice",
            |c: &mut Certificates| c.issuer_v2.push(utf8(ISSUER)),
            "Certificate",
            4,
        ),
        m(
            "the older issuer twice",
            |c: &mut Certificates| c.issuer_v1.push(ISSUER.as_bytes().to_vec()),
            "Certificate",
            4,
        ),
        m(
            "an issuer that is no UTF8String",
            |c: &mut Certificates| {
                c.issuer_v1.clear();
                c.issuer_v2 = vec![ISSUER.as_bytes().to_vec()];
            },
            "Certificate",
            4,
        ),
        m(
            "an issuer with bytes behind",
            |c: &mut Certificates| c.issuer_v2[0].push(0),
            "Certificate",
            4,
        ),
    ];
    for (what, change, reason, exit) in mutations {
        let mut certificates = Certificates::default();
        change(&mut certificates);
        let chain = pki.chain(&certificates);
        let policy = certificate_policy(&pki.trusted_root(&chain));
        let bundle = certificate_bundle(&pki, &chain, &statement());
        assert_eq!(refusal(bundle_verdict(&bundle, &policy)), (reason.to_owned(), exit), "{what}");
        // An authority of one's own has no log of certificates; all else holds for it as well.
        let own = older_verdict(older(&pki, Some(&chain)), &own_policy(&pki, &chain));
        if what.contains("SCT") {
            own.unwrap();
        } else {
            assert_eq!(refusal(own), (reason.to_owned(), exit), "own authority: {what}");
        }
    }
}

/// Row 28: somebody without an e-mail address: a name of Fulcio's own kind, and nothing that looks like it.
#[test]
fn user_names() {
    // USER_NAME without its tag and length.
    const KIND: [u8; 10] = [0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 7];
    const NAME: &str = "me!example.test";
    let pki = Pki::default();
    let identity =
        |subject: Matcher| CertificateIdentity { subject, issuer: Matcher::exact(ISSUER).unwrap() };
    let verdicts = |certificates: &Certificates, subject: &Matcher| {
        let chain = pki.chain(certificates);
        let root = TrustRoot::from_json(pki.trusted_root(&chain).to_string().as_bytes()).unwrap();
        let bundle = certificate_bundle(&pki, &chain, &statement());
        let policy = policy_for(identity(subject.clone()), root, SIGNED + 3600);
        let own = policy_for(identity(subject.clone()), own_root(&pki, &chain), SIGNED + 3600);
        [bundle_verdict(&bundle, &policy), older_verdict(older(&pki, Some(&chain)), &own)]
    };
    let of = |subjects: Vec<rcgen::SanType>| Certificates { subjects, ..Certificates::default() };
    let raw = |names: Vec<u8>| Certificates { names: Some(names), ..Certificates::default() };
    let good = of(vec![other_name(&USER_NAME, NAME)]);
    let by_hand = raw(names_of(&KIND, &utf8(NAME)));
    let exact = Matcher::exact(NAME).unwrap();
    for subject in [&exact, &Matcher::pattern("[a-z]+!example\\.test").unwrap()] {
        for certificates in [&good, &by_hand] {
            for accepted in verdicts(certificates, subject) {
                let Signatory::Certificate(signer) = accepted.unwrap().signatory else { panic!() };
                assert_eq!(signer.subject, NAME);
            }
        }
    }

    // The policy of containers/image means addresses alone.
    let address = Matcher::email(NAME).unwrap();
    for (certificates, is_good) in [
        (of(vec![email(NAME)]), true),
        (of(vec![email("you!example.test")]), false),
        (of(vec![uri(NAME)]), false),
        (good.clone(), false),
    ] {
        for found in verdicts(&certificates, &address) {
            if is_good {
                found.unwrap();
            } else {
                assert_eq!(refusal(found), ("OtherSigner".to_owned(), 5));
            }
        }
    }

    let printable = [&[0x13, u8::try_from(NAME.len()).unwrap()], NAME.as_bytes()].concat();
    let more = [utf8(NAME), utf8(NAME)].concat();
    let mut long = utf8(NAME);
    // The length in two bytes, where one will do.
    long.splice(1..2, [0x81, u8::try_from(NAME.len()).unwrap()]);
    let mut behind = names_of(&KIND, &utf8(NAME));
    behind.push(0);
    let user = || other_name(&USER_NAME, NAME);
    for (what, certificates, reason, exit) in [
        ("another", of(vec![other_name(&USER_NAME, "you!example.test")]), "OtherSigner", 5),
        (
            "one that begins alike",
            of(vec![other_name(&USER_NAME, &format!("{NAME}.evil"))]),
            "OtherSigner",
            5,
        ),
        ("another case", of(vec![other_name(&USER_NAME, "ME!example.test")]), "OtherSigner", 5),
        ("an empty one", of(vec![other_name(&USER_NAME, "")]), "OtherSigner", 5),
        ("an address that reads alike", of(vec![email("me!example.test")]), "", 0),
        ("two", of(vec![user(), user()]), "Certificate", 4),
        ("with an address", of(vec![email(SUBJECT), user()]), "Certificate", 4),
        ("before an address", of(vec![user(), email(SUBJECT)]), "Certificate", 4),
        (
            "a principal name of another kind",
            of(vec![other_name(&[1, 3, 6, 1, 4, 1, 311, 20, 2, 3], NAME)]),
            "Certificate",
            4,
        ),
        (
            "of the issuer's kind",
            of(vec![other_name(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], NAME)]),
            "Certificate",
            4,
        ),
        ("no UTF8String", raw(names_of(&KIND, &printable)), "Certificate", 4),
        ("raw text", raw(names_of(&KIND, NAME.as_bytes())), "Certificate", 4),
        ("two texts in one", raw(names_of(&KIND, &more)), "Certificate", 4),
        ("a long length", raw(names_of(&KIND, &long)), "Certificate", 4),
        ("no UTF-8", raw(names_of(&KIND, &[0x0c, 2, 0xc3, 0x28])), "Certificate", 4),
        ("nothing", raw(names_of(&KIND, &[])), "Certificate", 4),
        ("bytes behind", raw(behind), "Certificate", 4),
    ] {
        for found in verdicts(&certificates, &exact) {
            if exit == 0 {
                // An identity is a text, of whichever kind: so cosign compares them.
                found.unwrap();
            } else {
                assert_eq!(refusal(found), (reason.to_owned(), exit), "{what}");
            }
        }
    }
}

/// Rows 27 to 30: what vouches for a certificate, and when it was used.
#[test]
fn roots_and_times() {
    let pki = Pki::default();
    let stranger = Pki::default();
    let chain = good_chain(&pki);
    let good = pki.trusted_root(&chain);
    let bundle = certificate_bundle(&pki, &chain, &statement());
    let window = |start: &str, end: &str| json!({ "start": start, "end": end });
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "another authority",
            |r: &mut Value| {
                r["certificateAuthorities"] =
                    stranger.trusted_root(&good_chain(&stranger))["certificateAuthorities"].clone()
            },
            "Certificate",
            4,
        ),
        m(
            "an authority that was none any more",
            |r: &mut Value| {
                r["certificateAuthorities"][0]["validFor"] =
                    window("2025-01-01T00:00:00Z", "2026-05-31T23:59:59Z")
            },
            "Certificate",
            4,
        ),
        m(
            "an authority that was none yet",
            |r: &mut Value| {
                r["certificateAuthorities"][0]["validFor"] =
                    json!({ "start": "2026-06-01T00:00:01Z" })
            },
            "Certificate",
            4,
        ),
        m(
            "another certificate log",
            |r: &mut Value| r["ctlogs"] = stranger.trusted_root(&chain)["ctlogs"].clone(),
            "Certificate",
            4,
        ),
        m("no certificate log", |r: &mut Value| r["ctlogs"] = json!([]), "Certificate", 4),
        m(
            "a certificate log that was none any more",
            |r: &mut Value| {
                r["ctlogs"][0]["publicKey"]["validFor"] =
                    window("2025-01-01T00:00:00Z", "2026-05-31T23:59:59Z")
            },
            "Certificate",
            4,
        ),
        m(
            "another log",
            |r: &mut Value| r["tlogs"] = stranger.trusted_root(&chain)["tlogs"].clone(),
            "Transparency",
            4,
        ),
        m("no log", |r: &mut Value| r["tlogs"] = json!([]), "Transparency", 4),
        m(
            "a log that was none any more",
            |r: &mut Value| {
                r["tlogs"][0]["publicKey"]["validFor"] =
                    window("2025-01-01T00:00:00Z", "2026-05-31T23:59:59Z")
            },
            "Transparency",
            4,
        ),
    ];
    for (what, change, reason, exit) in mutations {
        let mut root = good.clone();
        change(&mut root);
        assert_ne!(root, good, "{what}");
        let found = refusal(bundle_verdict(&bundle, &certificate_policy(&root)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }

    // Row 90: a clock before the signature.
    let root = || TrustRoot::from_json(good.to_string().as_bytes()).unwrap();
    let found = refusal(bundle_verdict(&bundle, &policy_of(root(), SIGNED - 1)));
    assert_eq!(found, ("Clock".to_owned(), 4));
    bundle_verdict(&bundle, &policy_of(root(), SIGNED)).unwrap();

    // A signature by key, where a certificate is demanded; and the other way round.
    let by_key = logged_bundle(&pki, &statement());
    let found = refusal(bundle_verdict(&by_key, &policy_of(root(), SIGNED)));
    assert_eq!(found, ("NoCertificate".to_owned(), 4));
    assert_eq!(refusal(bundle_verdict(&bundle, &key_policy(&pki, false))), ("NoKey".into(), 4));
    let found = refusal(older_verdict(older(&pki, None), &policy_of(root(), SIGNED)));
    assert_eq!(found, ("NoCertificate".to_owned(), 4));
}

/// Certificates in the older format: all that is annotated counts.
#[test]
fn certificates_in_the_older_format() {
    type Parts = (Vec<u8>, BTreeMap<String, String>);
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let good = older(&pki, Some(&chain));
    let set = |p: &mut Parts, name: &str, value: String| drop(p.1.insert(name.to_owned(), value));
    let signature = bytes(&json!(good.1[SIGNATURE]));
    let payload = good.0.clone();
    let other =
        pki.chain(&Certificates { leaf: (SIGNED - 301, SIGNED + 300), ..Default::default() });
    let mutations: Vec<Mutation<'_, Parts>> = vec![
        m("no certificate", |p: &mut Parts| drop(p.1.remove(CERTIFICATE)), "NoCertificate", 4),
        m(
            "an empty certificate",
            |p: &mut Parts| set(p, CERTIFICATE, String::new()),
            "Certificate",
            4,
        ),
        m(
            "two certificates",
            |p: &mut Parts| set(p, CERTIFICATE, pem(&chain.leaf).repeat(2)),
            "Certificate",
            4,
        ),
        m(
            "a key as certificate",
            |p: &mut Parts| set(p, CERTIFICATE, pki.signer.public_key_pem()),
            "Certificate",
            4,
        ),
        m(
            "text behind the certificate",
            |p: &mut Parts| set(p, CERTIFICATE, pem(&chain.leaf) + "x"),
            "Certificate",
            4,
        ),
        m(
            "another certificate of the key",
            |p: &mut Parts| set(p, CERTIFICATE, pem(&other.leaf)),
            "Certificate",
            4,
        ),
        m("no chain", |p: &mut Parts| drop(p.1.remove(CHAIN)), "Certificate", 4),
        m("a chain that is none", |p: &mut Parts| set(p, CHAIN, "x".to_owned()), "Certificate", 4),
        // The last of a chain is its root, and counts for nothing, as in cosign and skopeo.
        m(
            "a chain without its root",
            |p: &mut Parts| set(p, CHAIN, pem(&chain.intermediate)),
            "Certificate",
            4,
        ),
        m("a chain of another", |p: &mut Parts| set(p, CHAIN, pem(&chain.root)), "Certificate", 4),
        m(
            "17 certificates",
            |p: &mut Parts| set(p, CHAIN, pem(&chain.intermediate).repeat(18)),
            "Certificate",
            4,
        ),
        m("no entry", |p: &mut Parts| drop(p.1.remove(ENTRY)), "Transparency", 4),
        m(
            "row 20: an entry of another",
            |p: &mut Parts| {
                set(p, ENTRY, pki.annotation(&hashedrekord(b"x", &signature, &pem(&chain.leaf))))
            },
            "Certificate",
            4,
        ),
        m(
            "row 21: an entry of another certificate",
            |p: &mut Parts| {
                set(
                    p,
                    ENTRY,
                    pki.annotation(&hashedrekord(&payload, &signature, &pem(&other.leaf))),
                )
            },
            "Certificate",
            4,
        ),
        m(
            "row 21: an entry of another signature",
            |p: &mut Parts| {
                set(p, ENTRY, pki.annotation(&hashedrekord(&payload, b"x", &pem(&chain.leaf))))
            },
            "Certificate",
            4,
        ),
        m(
            "a timestamp that is none",
            |p: &mut Parts| set(p, "dev.sigstore.cosign/rfc3161timestamp", "{}".to_owned()),
            "Certificate",
            4,
        ),
        m(
            "another signature",
            |p: &mut Parts| set(p, SIGNATURE, base64(sign(&pki.other, &payload))),
            "Certificate",
            4,
        ),
        m("a payload bit", |p: &mut Parts| p.0[3] ^= 1, "Certificate", 4),
    ];
    for (what, change, reason, exit) in mutations {
        let mut parts = good.clone();
        change(&mut parts);
        assert_ne!(parts, good, "{what}");
        let found = refusal(older_verdict(parts, &own_policy(&pki, &chain)));
        assert_eq!(found, (reason.to_owned(), exit), "{what}");
    }
}

/// Row 30, and what else is no trust root.
#[test]
fn trust_roots() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let good = pki.trusted_root(&chain);
    let mutations: [(&str, fn(&mut Value)); 11] = [
        ("no media type", |r| drop(r.as_object_mut().unwrap().remove("mediaType"))),
        ("another media type", |r| r["mediaType"] = json!("application/json")),
        ("no authorities and no logs", |r| {
            r["certificateAuthorities"] = json!([]);
            r["tlogs"] = json!([]);
        }),
        ("an empty chain", |r| {
            r["certificateAuthorities"][0]["certChain"]["certificates"] = json!([])
        }),
        ("a broken certificate", |r| {
            r["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] =
                json!("AAAA")
        }),
        ("a window without a start", |r| {
            r["tlogs"][0]["publicKey"]["validFor"] = json!({ "end": "2030-01-01T00:00:00Z" })
        }),
        ("a window that ends before it starts", |r| {
            r["tlogs"][0]["publicKey"]["validFor"] =
                json!({ "start": "2030-01-01T00:00:00Z", "end": "2029-01-01T00:00:00Z" })
        }),
        ("a broken key", |r| r["tlogs"][0]["publicKey"]["rawBytes"] = json!("AAAA")),
        ("a log twice", |r| {
            let one = r["tlogs"][0].clone();
            r["tlogs"] = json!([one, one]);
        }),
        ("a short log ID", |r| r["tlogs"][0]["logId"]["keyId"] = json!("AAAA")),
        ("no object", |r| *r = json!([])),
    ];
    for (what, change) in mutations {
        let mut root = good.clone();
        change(&mut root);
        let root = TrustRoot::from_json(root.to_string().as_bytes());
        assert!(root.is_err(), "{what}: {root:?}");
    }
    let twice = good.to_string().replacen('{', "{\"tlogs\":[],", 1);
    assert!(TrustRoot::from_json(twice.as_bytes()).is_err());

    let own = |roots: String, intermediates: String| {
        TrustRoot::of(&Authorities {
            roots: roots.into_bytes(),
            intermediates: intermediates.into_bytes(),
            logs: vec![public(&pki.log)],
            ..Authorities::default()
        })
    };
    own(pem(&chain.root), pem(&chain.intermediate)).unwrap();
    for (roots, intermediates) in [
        (String::new(), String::new()),
        ("x".to_owned(), String::new()),
        (pki.root.public_key_pem(), String::new()),
        (pem(&chain.root), "x".to_owned()),
        (pem(&chain.root[1..]), String::new()),
    ] {
        assert!(own(roots, intermediates).is_err());
    }
    let moment =
        |second: u64| jiff::Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
    let root = TrustRoot::from_json(good.to_string().as_bytes()).unwrap();
    root.check_current(moment(SIGNED)).unwrap();
    // Both ends are included: the intermediate lasts five years.
    let end = SIGNED + 5 * 365 * 86400;
    root.check_current(moment(end)).unwrap();
    root.check_current(moment(end + 1)).unwrap_err();
    for (second, problem) in
        [(0, "clock"), (4_102_444_800, "clock"), (SIGNED + 6 * 365 * 86400, "ended")]
    {
        let error = root.check_current(moment(second)).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
