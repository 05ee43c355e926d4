//! Real signatures with log entries and certificates, with the verdicts that containers/image has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{Digest, Repository};
use oci2sysext::verify::{
    Authorities, Candidate, CertificateIdentity, CertificateSigner, Claim, Error, Logs, Matcher,
    NamedKey, Policy, PublicKey, SignedIdentity, TrustRoot, image,
};
use serde::Deserialize;

use super::common::shared;
use super::world::{ENTRY, SIGNATURE};

/// `signature-1` of containers' directory transport.
fn signature(fixture: &Path) -> (Vec<u8>, BTreeMap<String, String>) {
    #[derive(Deserialize)]
    struct File {
        payload: String,
        annotations: BTreeMap<String, String>,
    }
    let bytes = fs::read(fixture.join("signature-1")).unwrap();
    let document = bytes.strip_prefix(b"\0sigstore-json\n").unwrap();
    let file: File = serde_json::from_slice(document).unwrap();
    (STANDARD.decode(file.payload).unwrap(), file.annotations)
}

fn key(path: &Path) -> NamedKey {
    let key = PublicKey::from_pem(&fs::read(path).unwrap()).unwrap();
    NamedKey { name: "key".to_owned(), key }
}

fn claim(fixture: &Path, path: &str) -> Claim {
    let manifest = fs::read(fixture.join("manifest.json")).unwrap();
    Claim {
        index: None,
        instance: Digest::of(&manifest),
        repository: Some(Repository {
            host: "192.168.64.2:5000".to_owned(),
            path: path.to_owned(),
        }),
    }
}

fn certificate_policy(folder: &Path, email: &str, issuer: &str, now: Timestamp) -> Policy {
    let parts = Authorities {
        roots: fs::read(folder.join("fulcio_v1.crt.pem")).unwrap(),
        logs: vec![key(&folder.join("rekor.pub")).key],
        ..Authorities::default()
    };
    let identity = CertificateIdentity {
        subject: Matcher::exact(email).unwrap(),
        issuer: Matcher::exact(issuer).unwrap(),
    };
    let root = TrustRoot::of(&parts).unwrap();
    Policy::keyless(CertificateSigner { identity, root, now }, SignedIdentity::Asked)
}

/// The rows of the table that have a Rekor key.
#[test]
fn cases_of_containers_image_with_a_log_get_its_verdict() {
    let folder = shared!("cosign/containers-image");
    let table = fs::read_to_string(folder.join("CASES.tsv")).unwrap();
    let mut count = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[fixture, asked, keys, logs, "matchRepository", expected, ..] = &columns[..] else {
            continue;
        };
        if logs == "-" {
            continue;
        }
        let (fixture, change) = fixture.split_once(" (").unwrap_or((fixture, ""));
        let fixture = folder.join(fixture);
        let (payload, mut annotations) = signature(&fixture);
        match change {
            "" => {}
            "bundle annotation removed)" => drop(annotations.remove(ENTRY).unwrap()),
            change if change.starts_with("SET=") => {
                let mut entry: serde_json::Value =
                    serde_json::from_str(&annotations[ENTRY]).unwrap();
                entry["SignedEntryTimestamp"] = STANDARD.encode("this is not a valid SET").into();
                annotations.insert(ENTRY.to_owned(), entry.to_string());
            }
            other => panic!("an unknown change: {other}"),
        }
        let path =
            if asked == "-" { "cosign-signed/key-1" } else { asked.split_once('/').unwrap().1 };
        let files = |list: &str| -> Vec<NamedKey> {
            let list = list.split_once(' ').map_or(list, |(list, _)| list);
            list.split(',').map(|name| key(&folder.join(name))).collect()
        };
        let policies = if let Some((_, identity)) = keys.split_once(" issuer=") {
            let (issuer, email) = identity.split_once(" email=").unwrap();
            vec![certificate_policy(&folder, email, issuer, Timestamp::now())]
        } else {
            let (mut keys, mut logs) = (files(keys), files(logs));
            let mut policies = Vec::new();
            for _ in 0..2 {
                keys.reverse();
                logs.reverse();
                let mut log = logs.iter().map(|named| named.key.clone());
                let logs = Logs::of_keys(log.next().unwrap(), log.collect());
                let policy =
                    Policy::new(keys[0].clone(), keys[1..].to_vec(), SignedIdentity::Asked);
                policies.push(policy.with_transparency(logs));
            }
            policies
        };
        for policy in &policies {
            let candidate = Candidate::Payload {
                origin: "fixture".to_owned(),
                payload: payload.clone(),
                annotations: annotations.clone(),
            };
            let verdict = image(&claim(&fixture, path), &[candidate], policy);
            assert_eq!(verdict.is_ok(), expected == "ACCEPT", "{line}: {verdict:?}");
            if let Err(error) = verdict {
                assert_eq!(error.exit_code(), ExitCode::Signature, "{line}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 6);
}

/// One thing wrong with a real signature by certificate at a time.
#[test]
fn a_real_signature_by_certificate_is_held_to_its_policy() {
    let folder = shared!("cosign/containers-image");
    let fixture = folder.join("dir-img-cosign-fulcio-rekor-valid");
    let (email, issuer) = ("mitr@redhat.com", "https://github.com/login/oauth");
    let now = Timestamp::now();
    let verdict = |policy: &Policy, change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let (payload, mut annotations) = signature(&fixture);
        change(&mut annotations);
        let candidate = Candidate::Payload { origin: "fixture".to_owned(), payload, annotations };
        image(&claim(&fixture, "cosign-signed/fulcio-rekor-1"), &[candidate], policy)
            .map(|accepted| format!("{:?}", accepted.signatory))
            .map_err(|error: Error| error.exit_code().number())
    };
    let same = |_: &mut BTreeMap<String, String>| {};
    let good = certificate_policy(&folder, email, issuer, now);
    let who = verdict(&good, &same).unwrap();
    // The time is the log's, twenty-odd seconds after the certificate was made.
    assert!(who.contains(email) && who.contains("2023-01-20T20:51:33Z"), "{who}");
    for (email, issuer) in
        [("mitr@redhat.co", issuer), ("itr@redhat.com", issuer), (email, "https://github.com/")]
    {
        let policy = certificate_policy(&folder, email, issuer, now);
        assert_eq!(verdict(&policy, &same), Err(5), "{email} {issuer}");
    }
    let before = Timestamp::from_second(1_674_247_892).unwrap();
    assert_eq!(verdict(&certificate_policy(&folder, email, issuer, before), &same), Err(4));
    for name in [ENTRY, SIGNATURE, "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain"] {
        assert_eq!(verdict(&good, &|annotations| drop(annotations.remove(name))), Err(4), "{name}");
    }
    // sigstore's own root vouches for it as well, with its log of certificates.
    let identity = CertificateIdentity {
        subject: Matcher::exact(email).unwrap(),
        issuer: Matcher::exact(issuer).unwrap(),
    };
    let root = TrustRoot::public_good().unwrap();
    root.check_current(now).unwrap();
    let public = Policy::keyless(CertificateSigner { identity, root, now }, SignedIdentity::Asked);
    verdict(&public, &same).unwrap();
}
