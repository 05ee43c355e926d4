//! What a signature must say besides the image: any of several will do, but one says all of it (L8).
use std::collections::BTreeMap;

use jiff::Timestamp;
use oci2sysext::error::Fault;
use oci2sysext::oci::Repository;
use oci2sysext::verify::{
    Accepted, Candidate, Demands, Error, Logs, Policy, SignedIdentity, SignedName, image,
};
use serde_json::{Value, json};

use super::pki::*;
use super::world::*;

/// A signature of `q.test/a` with this tag and these annotations, in the log since `time`.
fn signature(pki: &Pki, origin: &str, tag: &str, optional: Value, time: Option<u64>) -> Candidate {
    let mut payload = payload();
    payload["critical"]["identity"]["docker-reference"] = json!(format!("q.test/a{tag}"));
    payload["optional"] = optional;
    let payload = serde_json::to_vec(&payload).unwrap();
    let signature = sign(&pki.signer, &payload);
    let mut annotations = BTreeMap::new();
    if let Some(time) = time {
        let body = hashedrekord(&payload, &signature, &pki.signer.public_key_pem());
        annotations.insert(ENTRY.to_owned(), pki.annotation_at(&body, time));
    }
    annotations.insert(SIGNATURE.to_owned(), base64(signature));
    Candidate::Payload { origin: origin.to_owned(), payload, annotations }
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
}

fn verdict(policy: Policy, demands: &Demands, offered: &[Candidate]) -> Result<Accepted, Error> {
    image(&claim(), offered, &policy.with_demands(demands.clone()))
}

fn by_key(pki: &Pki) -> Policy {
    Policy::new(named(&pki.signer), Vec::new(), SignedIdentity::Asked)
}

/// Whoever has a signature by key, or by a certificate that is valid for long, can have it logged again
/// later: only that of a certificate for one signature is as young as it looks (row 38).
#[test]
fn row_38_only_a_brief_certificate_fixes_the_time() {
    let pki = Pki::default();
    let by_key = logged_bundle(&pki, &statement());
    let by_key = bundle_verdict(&by_key, &key_policy(&pki, true)).unwrap();
    assert_eq!((by_key.time, by_key.fixed_time()), (Some(at(SIGNED)), None));
    for (leaf, is_fixed) in [
        ((SIGNED - 300, SIGNED + 300), true),
        ((SIGNED, SIGNED + 3600), true),
        ((SIGNED, SIGNED + 3601), false),
        ((SIGNED - 300, SIGNED + 365 * 86400), false),
    ] {
        let chain = pki.chain(&Certificates { leaf, ..Certificates::default() });
        let accepted = older_verdict(older(&pki, Some(&chain)), &own_policy(&pki, &chain)).unwrap();
        assert_eq!(accepted.time, Some(at(SIGNED)));
        assert_eq!(accepted.fixed_time(), accepted.time.filter(|_| is_fixed), "{leaf:?}");
    }
}

#[test]
fn an_old_signature_hides_no_young_one() {
    let pki = Pki::default();
    let logged = || by_key(&pki).with_transparency(Logs::of_keys(public(&pki.log), Vec::new()));
    let old = || signature(&pki, "old", "", Value::Null, Some(SIGNED - 10));
    let young = || signature(&pki, "young", "", Value::Null, Some(SIGNED));
    let demands = Demands { earliest: Some(at(SIGNED)), ..Demands::default() };
    for offered in [[old(), young()], [young(), old()]] {
        let accepted = verdict(logged(), &demands, &offered).unwrap();
        assert_eq!((&*accepted.origin, accepted.time), ("young", Some(at(SIGNED))));
        assert_eq!(accepted.rejected.len(), 1);
    }
    assert_eq!(refusal(verdict(logged(), &demands, &[old()])), ("TooOld".to_owned(), 5));
    // What no log is demanded of has no time that could be believed.
    assert_eq!(refusal(verdict(by_key(&pki), &demands, &[young()])), ("NoTime".to_owned(), 5));
    let error = verdict(logged(), &demands, &[old()]).unwrap_err();
    assert!(error.id() == "verify.too-old" && error.advice().contains("--max-age"), "{error}");
}

/// Row 37, with several signatures of one image.
#[test]
fn a_signature_under_another_name_hides_no_right_one() {
    let pki = Pki::default();
    let with_tag = |tag| signature(&pki, tag, tag, Value::Null, None);
    let with_name = |name| signature(&pki, name, "", json!({ "name": name }), None);
    let unnamed = || signature(&pki, "unnamed", "", Value::Null, None);
    let demands = |tag: Option<&str>| Demands {
        extension: Some("iwd".to_owned()),
        tag: tag.map(str::to_owned),
        ..Demands::default()
    };
    let asked = demands(Some("41.iwd"));
    for (demands, offered, origin, is_named) in [
        (&asked, vec![with_tag(":41.gdb"), with_tag(":41.iwd")], ":41.iwd", true),
        (&asked, vec![unnamed(), with_tag(":41.iwd")], ":41.iwd", true),
        (&asked, vec![unnamed(), with_name("iwd")], "iwd", true),
        (&asked, vec![with_name("gdb"), unnamed()], "unnamed", false),
        (&asked, vec![with_tag(":42.iwd")], ":42.iwd", true),
        // A tag that names no extension says nothing, unless it is the one asked for.
        (&asked, vec![with_tag(":latest")], ":latest", false),
        (&demands(Some("latest")), vec![with_tag(":latest")], ":latest", true),
        // Asked for by digest: a tag is one of many.
        (&demands(None), vec![with_tag(":41.gdb")], ":41.gdb", false),
        (&demands(None), vec![with_name("iwd")], "iwd", true),
        // `--rename`
        (&Demands { extension: None, ..asked.clone() }, vec![with_name("gdb")], "gdb", true),
    ] {
        let accepted = verdict(by_key(&pki), demands, &offered).unwrap();
        assert_eq!((&*accepted.origin, accepted.is_named), (origin, is_named));
    }
    let name_of_number = signature(&pki, "", "", json!({ "name": 7 }), None);
    assert!(!verdict(by_key(&pki), &asked, &[name_of_number]).unwrap().is_named);
    for offered in [with_tag(":41.gdb"), with_name("gdb"), with_name("IWD"), with_name("")] {
        let result = verdict(by_key(&pki), &asked, &[offered]);
        assert_eq!(result.as_ref().unwrap_err().id(), "verify.other-extension");
        assert_eq!(refusal(result), ("OtherExtension".to_owned(), 5));
    }
    assert!(verdict(by_key(&pki), &demands(None), &[with_name("gdb")]).is_err());
}

/// Names that only a policy.json demands (containers-policy.json(5), `signedIdentity`).
#[test]
fn names_that_policies_demand() {
    use SignedIdentity::{Any, Exactly, Nameless, Repository as Named, TagOrDigestIn};
    let pki = Pki::default();
    let here = oci2sysext::oci::Digest::of(b"instance");
    let elsewhere = oci2sysext::oci::Digest::of(b"other");
    let (here, elsewhere) = (format!("@{here}"), format!("@{elsewhere}"));
    let repository = |path: &str| Repository { host: "q.test".to_owned(), path: path.to_owned() };
    let exactly = |tag: &str| Exactly(SignedName::parse(&format!("q.test/a{tag}")).unwrap());
    for (identity, tag, is_good) in [
        (Any, "", true),
        (Any, "/b:t", true),
        (Named(repository("a")), "", true),
        (Named(repository("a")), ":t", true),
        (Named(repository("a")), &here, true),
        (Named(repository("a")), &elsewhere, false),
        (Named(repository("a")), "/b", false),
        (Named(repository("b")), "", false),
        (TagOrDigestIn(repository("a")), "", false),
        (TagOrDigestIn(repository("a")), ":t", true),
        (TagOrDigestIn(repository("a")), &here, true),
        (TagOrDigestIn(repository("a")), &elsewhere, false),
        (TagOrDigestIn(repository("b")), ":t", false),
        (exactly(":t"), ":t", true),
        (exactly(":t"), ":u", false),
        (exactly(":t"), "", false),
        (exactly(":t"), "/b:t", false),
        (exactly(&here), &here, true),
        (exactly(&elsewhere), &elsewhere, false),
        (Nameless, "", false),
        (Nameless, ":t", false),
        (SignedIdentity::Asked, ":t", true),
        (SignedIdentity::Asked, &elsewhere, false),
        (SignedIdentity::Asked, "/b", false),
    ] {
        let what = format!("{identity:?} {tag}");
        let policy = Policy::new(named(&pki.signer), Vec::new(), identity);
        let offered = [signature(&pki, "", tag, Value::Null, None)];
        match verdict(policy, &Demands::default(), &offered) {
            Ok(_) => assert!(is_good, "{what}"),
            found => {
                assert!(!is_good, "{what}: {found:?}");
                assert_eq!(refusal(found), ("OtherName".to_owned(), 5), "{what}");
            }
        }
    }
}

/// Two signatures that each say half do not add up.
#[test]
fn one_signature_says_all_of_it() {
    let pki = Pki::default();
    let named = signature(&pki, "named", "", json!({ "name": "iwd" }), None);
    let versioned = signature(&pki, "versioned", "", json!({ "version": "1" }), None);
    let both = signature(&pki, "both", "", json!({ "name": "iwd", "version": "1" }), None);
    let wanted = [("name", "iwd"), ("version", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let demands = Demands { annotations: BTreeMap::from(wanted), ..Demands::default() };
    let halves = verdict(by_key(&pki), &demands, &[named.clone(), versioned.clone()]);
    assert_eq!(refusal(halves), ("Annotation".to_owned(), 4));
    let accepted = verdict(by_key(&pki), &demands, &[named, versioned, both]).unwrap();
    assert_eq!((&*accepted.origin, accepted.rejected.len()), ("both", 2));
}
