//! Signatures of files: what `verify-bundle` verifies, each rejection one mutation away from a good
//! one.
use oci2sysext::oci::Digest;
use oci2sysext::verify::{
    Artifact, ArtifactProof, Error, Logs, Policy, Reason, SignedIdentity, artifact,
};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::pki::*;
use super::world::*;

const FILE: &[u8] = b"instance";

/// A bundle whose signature is of the file itself.
fn message(key: &KeyPair, material: &Value) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": base64(Digest::of(FILE).as_bytes()) },
            "signature": base64(sign(key, FILE)),
        },
    })
}

/// The same, by key and in a log.
pub fn logged_message(pki: &Pki) -> Value {
    let mut bundle = message(&pki.signer, &json!({ "publicKey": {} }));
    let signature = bytes(&bundle["messageSignature"]["signature"]);
    let body = hashedrekord(FILE, &signature, &pki.signer.public_key_pem());
    bundle["verificationMaterial"]["tlogEntries"] = json!([pki.entry(&body)]);
    bundle
}

fn verdict(bundle: &Value, file: Artifact<'_>, policy: &Policy) -> Result<ArtifactProof, Error> {
    artifact(&serde_json::to_vec(bundle).unwrap(), file, policy)
}

/// Once with the file, and once with its digest.
fn refusals(bundle: &Value, policy: &Policy) -> [Reason; 2] {
    [Artifact::Bytes(FILE), Artifact::Digest(Digest::of(FILE))].map(|file| {
        match verdict(bundle, file, policy).unwrap_err() {
            Error::NoSignatureAccepted { rejections, image } if rejections.len() == 1 => {
                assert_eq!(image, Digest::of(FILE));
                rejections[0].reason.clone()
            }
            other => panic!("{other}"),
        }
    })
}

fn accepts(bundle: &Value, policy: &Policy) {
    for file in [Artifact::Bytes(FILE), Artifact::Digest(Digest::of(FILE))] {
        assert_eq!(verdict(bundle, file, policy).unwrap().digest, Digest::of(FILE));
    }
}

fn name(reason: &Reason) -> String {
    format!("{reason:?}").split([' ', '{']).next().unwrap().to_owned()
}

#[test]
fn a_signature_of_a_file_by_key() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let by_key = key_policy(&pki, false);
    let good = message(&pki.signer, &json!({ "publicKey": {} }));
    accepts(&good, &by_key);
    let mut silent = good.clone();
    silent["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
    accepts(&silent, &by_key);
    let said = |b: &mut Value, field: &str, value: Value| {
        b["messageSignature"]["messageDigest"][field] = value;
    };
    let mutations: Vec<Mutation<'_, Value>> = vec![
        m(
            "the right digest by another name",
            |b: &mut Value| said(b, "algorithm", json!("SHA2_512")),
            "OtherFile",
            4,
        ),
        m(
            "another digest",
            |b: &mut Value| said(b, "digest", json!(base64(Digest::of(b"x").as_bytes()))),
            "OtherFile",
            4,
        ),
        m("no digest", |b: &mut Value| said(b, "digest", json!("")), "OtherFile", 4),
        m(
            "by another key",
            |b: &mut Value| {
                b["messageSignature"]["signature"] = json!(base64(sign(&pki.other, FILE)));
            },
            "OtherKey",
            4,
        ),
        m(
            "of another file",
            |b: &mut Value| {
                b["messageSignature"]["signature"] = json!(base64(sign(&pki.signer, b"x")));
            },
            "OtherKey",
            4,
        ),
        // Its key is the configured one, and the signature is right.
        m(
            "by certificate",
            |b: &mut Value| {
                let raw = json!({ "rawBytes": base64(&chain.leaf) });
                b["verificationMaterial"] = json!({ "certificate": raw });
            },
            "NoKey",
            4,
        ),
    ];
    for (what, change, reason, _) in mutations {
        let mut bundle = good.clone();
        change(&mut bundle);
        assert_ne!(bundle, good, "{what}");
        for found in refusals(&bundle, &by_key) {
            assert_eq!(name(&found), reason, "{what}");
        }
    }
    let other = verdict(&good, Artifact::Bytes(b"x"), &by_key);
    let Err(Error::NoSignatureAccepted { image, .. }) = other else { panic!("{other:?}") };
    assert_eq!(image, Digest::of(b"x"));
    assert!(verdict(&good, Artifact::Digest(Digest::of(b"x")), &by_key).is_err());
}

/// Ed25519 signs the file, and P-521 another digest of it: the SHA-256 alone proves nothing.
#[test]
fn a_key_that_signs_no_sha256_needs_the_file() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P521_SHA512] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let policy = Policy::new(named(&key), Vec::new(), SignedIdentity::Asked);
        let good = message(&key, &json!({ "publicKey": {} }));
        verdict(&good, Artifact::Bytes(FILE), &policy).unwrap();
        assert!(verdict(&good, Artifact::Digest(Digest::of(FILE)), &policy).is_err());
    }
}

/// A log must have this signature of this file by this key; by another digest of it only where the
/// file is there.
#[test]
fn a_signature_of_a_file_in_a_log() {
    let pki = Pki::default();
    let policy = Policy::new(named(&pki.signer), Vec::new(), SignedIdentity::Asked)
        .with_transparency(Logs::of_keys(public(&pki.log), Vec::new()));
    let logged = |change: &dyn Fn(&mut Value)| {
        let mut bundle = message(&pki.signer, &json!({ "publicKey": {} }));
        let signature = bytes(&bundle["messageSignature"]["signature"]);
        let mut body = hashedrekord(FILE, &signature, &pki.signer.public_key_pem());
        change(&mut body);
        bundle["verificationMaterial"]["tlogEntries"] = json!([pki.entry(&body)]);
        bundle
    };
    accepts(&logged(&|_| {}), &policy);
    let hash = |body: &mut Value, algorithm: &str, value: String| {
        body["spec"]["data"]["hash"] = json!({ "algorithm": algorithm, "value": value });
    };
    let sha512 = || {
        use sha2::Digest as _;
        hex::encode(sha2::Sha512::digest(FILE))
    };
    let longer = logged(&|body| hash(body, "sha512", sha512()));
    verdict(&longer, Artifact::Bytes(FILE), &policy).unwrap();
    let [.., by_digest] = {
        let found = verdict(&longer, Artifact::Digest(Digest::of(FILE)), &policy);
        [found.unwrap_err().to_string()]
    };
    assert!(by_digest.contains("another digest than sha256"), "{by_digest}");
    let key = |body: &mut Value| {
        body["spec"]["signature"]["publicKey"]["content"] =
            json!(base64(pki.other.public_key_pem()));
    };
    let signature =
        |body: &mut Value| body["spec"]["signature"]["content"] = json!(base64(b"signature"));
    for (what, bundle) in [
        ("content", logged(&|body| hash(body, "sha256", Digest::of(b"x").hex()))),
        ("key", logged(&key)),
        ("signature", logged(&signature)),
        ("no entry", message(&pki.signer, &json!({ "publicKey": {} }))),
    ] {
        for found in refusals(&bundle, &policy) {
            assert_eq!(name(&found), "Transparency", "{what}");
            assert!(what == "no entry" || found.to_string().contains(what), "{found}");
        }
    }
}

/// A statement may say anything of a file, as long as it is of this one.
#[test]
fn a_statement_about_a_file() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let key = json!({ "publicKey": {} });
    let by_key = key_policy(&pki, false);
    let mut provenance = statement();
    provenance["predicateType"] = json!("https://slsa.dev/provenance/v1");
    provenance["predicate"] = json!({ "x": 1 });
    for statement in [&statement(), &provenance] {
        accepts(&bundle(&pki.signer, statement, PAYLOAD_TYPE, &key), &by_key);
        accepts(&logged_bundle(&pki, statement), &key_policy(&pki, true));
        let certified = certificate_bundle(&pki, &chain, statement);
        accepts(&certified, &certificate_policy(&pki.trusted_root(&chain)));
    }
    let mut elsewhere = statement();
    elsewhere["subject"][0]["digest"]["sha256"] = json!(Digest::of(b"other").hex());
    let mut second = elsewhere.clone();
    second["subject"].as_array_mut().unwrap().push(statement()["subject"][0].clone());
    accepts(&bundle(&pki.signer, &second, PAYLOAD_TYPE, &key), &by_key);
    for (bundle, reason) in [
        (bundle(&pki.signer, &elsewhere, PAYLOAD_TYPE, &key), "OtherFile"),
        (bundle(&pki.signer, &statement(), "application/json", &key), "Bundle"),
        (bundle(&pki.signer, &json!({}), PAYLOAD_TYPE, &key), "Payload"),
        (bundle(&pki.other, &statement(), PAYLOAD_TYPE, &key), "OtherKey"),
        (certificate_bundle(&pki, &chain, &statement()), "NoKey"),
    ] {
        for found in refusals(&bundle, &by_key) {
            assert_eq!(name(&found), reason, "{bundle}");
        }
    }
}
