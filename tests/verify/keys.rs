//! Which keys are read, and what openssl signs with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci2sysext::verify::{Candidate, KeyError, Policy, PublicKey, SignedIdentity, image};

use super::{SIGNATURE, claim, good, key, testdata};

#[test]
fn good_keys_are_read() {
    let key = |name: &str| key(&testdata(&format!("signatures/keys/{name}.pub"))).key;
    for (name, kind) in [
        ("p256", "ECDSA P-256"),
        ("p256-crlf", "ECDSA P-256"),
        ("p384", "ECDSA P-384"),
        ("p521", "ECDSA P-521"),
        ("ed25519", "Ed25519"),
        ("rsa2048", "RSA 2048"),
        ("rsa2048-pkcs1", "RSA 2048"),
        ("rsa3072", "RSA 3072"),
        ("rsa4096", "RSA 4096"),
    ] {
        assert_eq!(key(name).key_type().to_string(), kind, "{name}");
    }
    assert_eq!(key("p256").fingerprint(), key("p256-crlf").fingerprint());
    assert_eq!(key("rsa2048").fingerprint(), key("rsa2048-pkcs1").fingerprint());
}

/// Row 18.
#[test]
fn other_keys_are_refused() {
    let mut count = 0;
    for entry in fs::read_dir(testdata("reject/signatures/keys")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let error = PublicKey::from_pem(&fs::read(&path).unwrap()).expect_err(&name);
        let expected = match &*name {
            "empty" | "white-space" => error == KeyError::Empty,
            "text" | "der" | "not-utf-8" => error == KeyError::NotPem,
            "certificate" | "pgp" | "label-case" | "label-escape" => {
                matches!(error, KeyError::OtherPem { .. })
            }
            "two-keys" | "same-key-twice" => error == KeyError::Several { count: 2 },
            "text-before" => error == KeyError::Surplus { place: "before" },
            "text-after" | "nul-after" => error == KeyError::Surplus { place: "after" },
            "no-end" | "other-end" | "one-line" | "headers" | "base64-url" | "base64-padding" => {
                matches!(error, KeyError::BrokenPem { .. })
            }
            "rsa-1024" => error == KeyError::RsaSize { bits: 1024 },
            "rsa-2040" => error == KeyError::RsaSize { bits: 2040 },
            "p224" | "secp256k1" | "brainpool" | "wrong-curve" | "rsa-pss" | "ed448" | "x25519"
            | "ml-dsa" => matches!(error, KeyError::Unsupported { .. }),
            _ if name.ends_with("private-key") => matches!(error, KeyError::Private { .. }),
            _ => matches!(error, KeyError::Structure { .. }),
        };
        assert!(expected, "{name}: {error:?}");
        let line = error.to_string();
        assert!(!line.contains(|c: char| c.is_control()), "{name}: {line:?}");
        count += 1;
    }
    assert!(count >= 45, "{count}");
}

fn openssl(directory: &Path, arguments: &str) -> Output {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Each kind of key with a fresh key of openssl's; by the hashes of L5 and by no others.
#[test]
fn openssl_signs_and_we_agree() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("not run: openssl_signs_and_we_agree (no openssl)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let payload = STANDARD.decode(good().payload).unwrap();
    fs::write(directory.path().join("payload"), &payload).unwrap();
    let sha = |hashes: &[&'static str]| hashes.iter().map(|h| format!("dgst -{h}")).collect();
    let raw: Vec<String> = vec!["pkeyutl -rawin".to_owned()];
    let ec = |curve| format!("EC -pkeyopt ec_paramgen_curve:{curve}");
    let pss = "dgst -sha256 -sigopt rsa_padding_mode:pss".to_owned();
    let cases: Vec<(String, Vec<String>, Vec<String>)> = vec![
        (ec("P-256"), sha(&["sha256"]), sha(&["sha1", "sha384", "sha512"])),
        (ec("P-384"), sha(&["sha384", "sha256"]), sha(&["sha1", "sha512"])),
        (ec("P-521"), sha(&["sha512", "sha256"]), sha(&["sha1", "sha384"])),
        ("ED25519".to_owned(), raw, Vec::new()),
        (
            "RSA -pkeyopt rsa_keygen_bits:2048".to_owned(),
            sha(&["sha256"]),
            [sha(&["sha1", "sha384", "sha512"]), vec![pss]].concat(),
        ),
        ("RSA -pkeyopt rsa_keygen_bits:3072".to_owned(), sha(&["sha256"]), Vec::new()),
    ];
    for (kind, accepted, refused) in cases {
        openssl(directory.path(), &format!("genpkey -algorithm {kind} -out private"));
        openssl(directory.path(), "pkey -in private -pubout -out public.pub");
        let key = key(&directory.path().join("public.pub"));
        let policy = Policy::new(key, Vec::new(), SignedIdentity::Asked);
        let wanted = accepted.iter().map(|how| (how, true));
        for (how, expected) in wanted.chain(refused.iter().map(|how| (how, false))) {
            let arguments = match how.strip_prefix("pkeyutl") {
                Some(rest) => format!("pkeyutl -sign -inkey private -in payload {rest}"),
                None => format!("{how} -sign private payload"),
            };
            let signature = STANDARD.encode(openssl(directory.path(), &arguments).stdout);
            let candidate = Candidate::Payload {
                origin: "openssl".to_owned(),
                payload: payload.clone(),
                annotations: BTreeMap::from([(SIGNATURE.to_owned(), signature)]),
            };
            let found = image(&claim(), &[candidate], &policy).is_ok();
            assert_eq!(found, expected, "{kind}, {how}");
        }
    }
}
