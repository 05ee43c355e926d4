//! Verdicts on signatures: vectors made by openssl, real signatures, and mutations of good ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic, too")]

mod common;

#[path = "verify/keys.rs"]
mod keys;
#[path = "verify/mutations.rs"]
mod mutations;
#[path = "verify/real.rs"]
mod real;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{Digest, Repository};
use oci2sysext::verify::{
    Candidate, Claim, Comparison, Demands, Error, NamedKey, Policy, PublicKey, Reason, Signed,
    SignedIdentity, image,
};
use serde::Deserialize;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A file of `testdata/signatures/good` or `testdata/reject/signatures`.
#[derive(Deserialize)]
struct Vector {
    why: String,
    key: String,
    payload: String,
    annotations: BTreeMap<String, String>,
    reason: Option<String>,
    exit: u8,
}

impl Vector {
    fn candidate(&self) -> Candidate {
        Candidate::Payload {
            origin: "vector".to_owned(),
            payload: STANDARD.decode(&self.payload).unwrap(),
            annotations: self.annotations.clone(),
        }
    }

    fn policy(&self) -> Policy {
        let key = key(&testdata(&format!("signatures/keys/{}.pub", self.key)));
        Policy::new(key, Vec::new(), SignedIdentity::Asked)
    }
}

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

fn vector(directory: &str, name: &str) -> Vector {
    let path = testdata(directory).join(format!("{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The vectors of a directory, by name.
fn vectors(directory: &str) -> Vec<(String, Vector)> {
    let mut names: Vec<String> = fs::read_dir(testdata(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), vector(directory, &name))).collect()
}

fn good() -> Vector {
    vector("signatures/good", "key-p256")
}

fn key(path: &Path) -> NamedKey {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let key = PublicKey::from_pem(&fs::read(path).unwrap()).expect(&name);
    NamedKey { name, key }
}

fn repository(text: &str) -> Repository {
    match text.parse().unwrap() {
        SignedIdentity::Repository(repository) => repository,
        other => panic!("{other:?}"),
    }
}

/// What all vectors are asked for.
fn claim() -> Claim {
    Claim {
        index: Some(Digest::of(b"index")),
        instance: Digest::of(b"instance"),
        repository: Some(repository("registry.example:5000/sysexts/hello")),
    }
}

fn code(error: &Error) -> u8 {
    #[expect(clippy::as_conversions, reason = "repr(u8)")]
    let code = error.exit_code() as u8;
    code
}

/// The reason of the only rejection.
fn reason(error: &Error) -> &Reason {
    match error {
        Error::NoSignatureAccepted { rejections, .. } if rejections.len() == 1 => {
            &rejections[0].reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_vectors_are_accepted() {
    let vectors = vectors("signatures/good");
    assert!(vectors.len() >= 20, "{}", vectors.len());
    for (name, vector) in vectors {
        let accepted = image(&claim(), &[vector.candidate()], &vector.policy())
            .unwrap_or_else(|error| panic!("{name} ({}): {error}", vector.why));
        let signed = if name == "payload-index" { Signed::Index } else { Signed::Instance };
        assert_eq!(accepted.signed, signed, "{name}");
        let bytes: &[u8] = if signed == Signed::Index { b"index" } else { b"instance" };
        assert_eq!(*accepted.digest, Digest::of(bytes), "{name}");
        assert_eq!(accepted.identity, Comparison::Equal, "{name}");
        assert_eq!(accepted.key().unwrap().name, format!("{}.pub", vector.key), "{name}");
        assert!(accepted.rejected.is_empty() && accepted.warnings().is_empty(), "{name}");
        assert!(accepted.signed_reference.starts_with("registry.example:5000/"), "{name}");
    }
}

/// Rows 3 to 6, 8 to 12, 33.
#[test]
fn each_mutation_is_rejected_for_its_reason() {
    let vectors = vectors("reject/signatures");
    assert!(vectors.len() >= 80, "{}", vectors.len());
    for (name, vector) in vectors {
        let result = image(&claim(), &[vector.candidate()], &vector.policy());
        let error = result.map(|_| ()).expect_err(&format!("{name}: {}", vector.why));
        let found = format!("{:?}", reason(&error));
        let variant = found.split([' ', '{']).next().map(str::to_owned);
        assert_eq!(variant, vector.reason, "{name} ({}): {error}", vector.why);
        assert_eq!(code(&error), vector.exit, "{name} ({}): {error}", vector.why);
        let line = error.to_string();
        assert!(!line.contains(|c: char| c.is_control()) && line.len() < 1000, "{name}: {line:?}");
    }
}

/// Row 14: whatever is wrong with one, a good one beside it counts, before or after.
#[test]
fn a_bad_candidate_never_hides_a_good_one() {
    let good = good();
    for (name, vector) in vectors("reject/signatures") {
        if vector.key != good.key {
            continue;
        }
        let mut candidates = vec![vector.candidate(), good.candidate()];
        for _ in 0..2 {
            let accepted = image(&claim(), &candidates, &good.policy()).expect(&name);
            assert_eq!(accepted.rejected.len(), 1, "{name}");
            assert_eq!(accepted.warnings().len(), 1, "{name}");
            candidates.reverse();
        }
    }
}

#[test]
fn conditions_hold_for_one_and_the_same_candidate() {
    // One is for this digest under another name, one is under this name for another digest.
    let bad = |name| vector("reject/signatures", name).candidate();
    let candidates = [bad("name-other-repository"), bad("digest-other-image")];
    assert_eq!(code(&image(&claim(), &candidates, &good().policy()).unwrap_err()), 5);
    // Another key's signature of the payload, and the payload without one.
    let candidates = [bad("signature-other-key"), bad("annotation-missing")];
    assert_eq!(code(&image(&claim(), &candidates, &good().policy()).unwrap_err()), 4);
}

#[test]
fn the_most_telling_reason_gives_the_exit_code() {
    let unusable = |exit_code| Candidate::Unusable {
        origin: "registry".to_owned(),
        problem: "found\nnothing".to_owned(),
        exit_code,
    };
    let bad = |name| vector("reject/signatures", name).candidate();
    let verdict = |candidates: &[&Candidate]| {
        let candidates: Vec<_> = candidates.iter().copied().cloned().collect();
        let error = image(&claim(), &candidates, &good().policy()).unwrap_err();
        assert!(!error.to_string().contains('\n'));
        code(&error)
    };
    let (network, limit) = (unusable(ExitCode::Network), unusable(ExitCode::Limit));
    let (integrity, auth) = (unusable(ExitCode::Integrity), unusable(ExitCode::Auth));
    let (malformed, name) = (unusable(ExitCode::Malformed), bad("name-other-repository"));
    let other = bad("signature-other-key");
    assert_eq!(verdict(&[]), 4);
    assert_eq!(verdict(&[&malformed, &other]), 4);
    assert_eq!(verdict(&[&other, &integrity]), 6);
    assert_eq!(verdict(&[&integrity, &limit, &other]), 9);
    assert_eq!(verdict(&[&auth, &limit]), 11);
    assert_eq!(verdict(&[&limit, &integrity, &network]), 10);
    assert_eq!(verdict(&[&network, &name, &limit]), 5);
    let accepted = image(&claim(), &[network, integrity, good().candidate()], &good().policy());
    assert_eq!(accepted.unwrap().rejected.len(), 2);
}

#[test]
fn row_1_no_signature() {
    let error = image(&claim(), &[], &good().policy()).unwrap_err();
    assert_eq!((code(&error), error.id()), (4, "verify.unsigned"));
    assert!(error.advice().contains("--insecure-skip-signature"));
}

#[test]
fn any_of_several_keys_will_do() {
    let accepted = |names: &[&str]| {
        let mut keys =
            names.iter().map(|name| key(&testdata(&format!("signatures/keys/{name}.pub"))));
        let policy = Policy::new(keys.next().unwrap(), keys.collect(), SignedIdentity::Asked);
        image(&claim(), &[good().candidate()], &policy)
    };
    for names in [["p256", "other", "p521"], ["other", "p256", "rsa2048"]] {
        assert_eq!(accepted(&names).unwrap().key().unwrap().name, "p256.pub");
    }
    let error = accepted(&["other", "p384"]).unwrap_err();
    assert!(error.to_string().contains("any of the 2 configured keys"), "{error}");
}

#[test]
fn the_policy_says_which_name_must_be_signed() {
    let (good, other) = (good(), vector("reject/signatures", "name-other-repository"));
    let verdict = |vector: &Vector, asked: Option<&str>, identity: SignedIdentity| {
        let claim = Claim { repository: asked.map(repository), ..claim() };
        let key = key(&testdata("signatures/keys/p256.pub"));
        image(&claim, &[vector.candidate()], &Policy::new(key, Vec::new(), identity))
            .map(|accepted| accepted.identity)
            .map_err(|error| code(&error))
    };
    let (here, mirror) = ("registry.example:5000/sysexts/hello", "mirror.example/hello");
    let named = |text| SignedIdentity::Repository(repository(text));
    for (vector, asked, identity, expected) in [
        (&good, Some(here), SignedIdentity::Asked, Ok(Comparison::Equal)),
        (&good, Some(mirror), SignedIdentity::Asked, Err(5)),
        (&good, Some(mirror), SignedIdentity::Any, Ok(Comparison::NotWanted)),
        (&good, Some(mirror), named(here), Ok(Comparison::Equal)),
        (&good, Some(here), named(mirror), Err(5)),
        (&good, None, SignedIdentity::Asked, Ok(Comparison::Nameless)),
        (&good, None, named(here), Ok(Comparison::Equal)),
        (&good, None, named(mirror), Err(5)),
        (&other, None, SignedIdentity::Asked, Ok(Comparison::Nameless)),
        (&other, Some(here), SignedIdentity::Any, Ok(Comparison::NotWanted)),
    ] {
        assert_eq!(verdict(vector, asked, identity.clone()), expected, "{asked:?} {identity:?}");
    }
}

#[test]
fn demanded_annotations_must_be_signed() {
    let vector = vector("signatures/good", "payload-annotations");
    let verdict = |name: &str, value: &str| {
        let annotations = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let policy = vector.policy().with_demands(Demands { annotations, ..Demands::default() });
        image(&claim(), &[vector.candidate()], &policy).map_err(|error| reason(&error).clone())
    };
    assert_eq!(verdict("name", "hello").unwrap().annotations["version"], "1");
    for (name, value) in [("name", "other"), ("Name", "hello"), ("missing", "")] {
        assert!(matches!(verdict(name, value), Err(Reason::Annotation { .. })), "{name}");
    }
}
