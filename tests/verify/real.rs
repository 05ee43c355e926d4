//! Real signatures that others made, with the verdicts of OpenSSL and of containers/image.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci2sysext::error::Fault;
use oci2sysext::oci::{Digest, Reference};
use oci2sysext::trust::{TrustSources, Words, decide};
use oci2sysext::verify::{
    Candidate, Claim, Error, Policy, Reason, SignedIdentity, Unverified, image,
};
use serde::Deserialize;

use super::common::{need, shared, tools};
use super::{SIGNATURE, code, key, reason, repository};

#[derive(Deserialize)]
struct Info {
    manifest_digest: Option<Digest>,
    payload_digest: Digest,
    payload_claims: Digest,
    openssl: String,
}

#[derive(Deserialize)]
struct SignatureLayer {
    annotations: BTreeMap<String, String>,
}

#[test]
fn triples_get_the_verdict_of_openssl() {
    let folder = shared!("cosign/triples");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let read = |file: &str| fs::read(path.join(file)).unwrap();
        let info: Info = serde_json::from_slice(&read("info.json")).unwrap();
        let payload = read("payload");
        assert_eq!(Digest::of(&payload), info.payload_digest, "{name}");
        let SignatureLayer { annotations } =
            serde_json::from_slice(&read("sig-layer-descriptor.json")).unwrap();
        let signature = STANDARD.decode(annotations[SIGNATURE].replace(['\r', '\n'], "")).unwrap();
        assert_eq!(signature, read("signature.der"), "{name}");

        // Where there is no key, the signature is by a certificate, and no key accepts it.
        let own_key = path.join("key.pub");
        let (key_file, by_key) = if own_key.exists() {
            (own_key, info.openssl == "Verified OK")
        } else {
            (folder.join("ci-cosign-valid-1/key.pub"), false)
        };
        let instance = info.manifest_digest.unwrap_or(info.payload_claims);
        let claim = Claim { index: None, instance, repository: None };
        let candidate = Candidate::Payload { origin: name.clone(), payload, annotations };
        let policy = Policy::new(key(&key_file), Vec::new(), SignedIdentity::Asked);
        let verdict = image(&claim, std::slice::from_ref(&candidate), &policy);
        if by_key && instance == info.payload_claims {
            let accepted = verdict.expect(&name);
            // The name counts, too: its own, and not another's.
            for (asked, expected) in
                [(&*accepted.signed_reference, None), ("example.com/other", Some(5))]
            {
                let claim = Claim { repository: Some(repository(asked)), ..claim.clone() };
                let verdict = image(&claim, std::slice::from_ref(&candidate), &policy);
                assert_eq!(verdict.err().as_ref().map(code), expected, "{name}: {asked}");
            }
        } else {
            let error = verdict.expect_err(&name);
            assert_eq!(code(&error), 4, "{name}");
            let other_image = matches!(reason(&error), Reason::OtherImage { .. });
            assert_eq!(other_image, by_key, "{name}: {error}");
        }
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

/// A `signature-N` file of the dir transport.
#[derive(Deserialize)]
struct SignatureFile {
    payload: String,
    annotations: BTreeMap<String, String>,
}

fn signature_files(directory: &Path) -> Vec<Candidate> {
    const MAGIC: &[u8] = b"\0sigstore-json\n";
    (1..=100)
        .map(|number| directory.join(format!("signature-{number}")))
        .take_while(|path| path.exists())
        .map(|path| {
            let mut bytes = fs::read(&path).unwrap();
            if !bytes.starts_with(MAGIC) {
                // A symlink of the original, whose target is now a text.
                bytes = fs::read(directory.join(str::from_utf8(&bytes).unwrap().trim())).unwrap();
            }
            let json = bytes.strip_prefix(MAGIC).unwrap();
            let SignatureFile { payload, annotations } = serde_json::from_slice(json).unwrap();
            let payload = STANDARD.decode(payload).unwrap();
            Candidate::Payload { origin: path.display().to_string(), payload, annotations }
        })
        .collect()
}

/// A row's fixture and its signatures, changed as the row says.
fn fixture_of<'r>(folder: &Path, row: &'r str) -> (&'r str, Vec<Candidate>) {
    let (fixture, change) = row.split_once(" (").unwrap_or((row, ""));
    let mut candidates = signature_files(&folder.join(fixture));
    for candidate in &mut candidates {
        let Candidate::Payload { annotations, .. } = candidate else { unreachable!() };
        if change.starts_with("signature annotation removed") {
            annotations.remove(SIGNATURE).unwrap();
        } else if change.starts_with("signature = ") {
            annotations.insert(SIGNATURE.to_owned(), STANDARD.encode("invalid signature"));
        } else if change.starts_with("bundle annotation removed") {
            annotations.remove("dev.sigstore.cosign/bundle").unwrap();
        } else if change.starts_with("SET=") {
            let entry = annotations.get_mut("dev.sigstore.cosign/bundle").unwrap();
            let mut value: serde_json::Value = serde_json::from_str(entry).unwrap();
            value["SignedEntryTimestamp"] = STANDARD.encode("this is not a valid SET").into();
            *entry = value.to_string();
        } else {
            assert_eq!(change, "", "an unknown change");
        }
    }
    (fixture, candidates)
}

/// The rows of the table that have a key, no Rekor key, and matchRepository.
#[test]
fn cases_of_containers_image_get_its_verdict() {
    let folder = shared!("cosign/containers-image");
    let table = fs::read_to_string(folder.join("CASES.tsv")).unwrap();
    let mut count = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[fixture, asked, keys, "-", "matchRepository", expected, ..] = &columns[..] else {
            continue;
        };
        let (fixture, candidates) = fixture_of(&folder, fixture);
        // The rows without a name change this fixture; Docker Hub needs no host there.
        let (asked, _tag) = asked.split_once(":latest").unwrap_or((asked, ""));
        let (asked, _tag) = asked.split_once(":notlatest").unwrap_or((asked, ""));
        let asked = match asked {
            "-" => "192.168.64.2:5000/cosign-signed-single-sample",
            "testing/manifest" => "docker.io/testing/manifest",
            other => other,
        };
        let manifest = fs::read(folder.join(fixture).join("manifest.json")).unwrap();
        let claim = Claim {
            index: None,
            instance: Digest::of(&manifest),
            repository: Some(repository(asked)),
        };
        let keys = keys.split_once(' ').map_or(keys, |(keys, _)| keys);
        let mut keys: Vec<_> = keys.split(',').map(|name| key(&folder.join(name))).collect();
        for _ in 0..2 {
            keys.reverse();
            let (first, others) = keys.split_first().unwrap();
            let policy = Policy::new(first.clone(), others.to_vec(), SignedIdentity::Asked);
            let verdict = image(&claim, &candidates, &policy);
            assert_eq!(verdict.is_ok(), expected == "ACCEPT", "{line}: {verdict:?}");
            match verdict {
                Err(Error::Unsigned { .. }) => assert_eq!(fixture, "dir-img-unsigned"),
                Err(error) => assert_eq!(code(&error) == 5, line.contains("identity"), "{line}"),
                Ok(accepted) => assert_eq!(accepted.key().unwrap().name, "cosign.pub"),
            }
        }
        count += 1;
    }
    assert_eq!(count, 7);
}

/// The key that is compiled in is the real one.
#[test]
fn the_compiled_in_key_is_the_real_one() {
    const NAME: &str = "quay.io-travier-fedora-sysexts.pub";
    let folder = shared!("keys");
    let ours = key(&Path::new(env!("CARGO_MANIFEST_DIR")).join(NAME)).key;
    assert_eq!(ours.fingerprint(), key(&folder.join(NAME)).key.fingerprint());
}

/// Strictness must not refuse what registries really hold.
#[test]
fn real_manifests_are_read() {
    let data = shared!("");
    let mut count = 0;
    let fixtures = fs::read_dir(data.join("cosign/containers-image")).unwrap();
    let layout = fs::read_dir(data.join("images/mc-layout/blobs/sha256")).unwrap();
    for entry in fixtures.chain(layout) {
        let path = entry.unwrap().path();
        let path = if path.is_dir() { path.join("manifest.json") } else { path };
        if fs::metadata(&path).unwrap().len() > 64 << 10 {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if bytes.starts_with(b"{") && bytes.windows(9).any(|window| window == b"\"layers\":") {
            let digest = Unverified::skip_signature(Digest::of(&bytes));
            let manifest = digest.image_manifest(&bytes);
            assert!(manifest.is_ok(), "{}: {manifest:?}", path.display());
            count += 1;
        }
    }
    assert!(count >= 4, "{count}");
}

/// Where docker-registry keeps the bytes of a digest.
fn stored(storage: &Path, digest: &Digest) -> Vec<u8> {
    let hex = digest.hex();
    let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    fs::read(storage.join(path)).unwrap()
}

/// The candidates behind the `.sig` tag of an image, from a registry's storage.
fn stored_candidates(storage: &Path, repository: &str, tag: &str) -> (Digest, Vec<Candidate>) {
    let link = |tag: &str| -> Option<Digest> {
        let tags = format!("docker/registry/v2/repositories/{repository}/_manifests/tags");
        let link = fs::read_to_string(storage.join(tags).join(tag).join("current/link")).ok()?;
        Some(link.parse().unwrap())
    };
    let digest = link(tag).unwrap();
    let Some(signatures) = link(&format!("sha256-{}.sig", digest.hex())) else {
        return (digest, Vec::new());
    };
    let manifest = Unverified::skip_signature(signatures)
        .image_manifest(&stored(storage, &signatures))
        .unwrap();
    let candidates = manifest.layers.iter().map(|layer| Candidate::Payload {
        origin: layer.digest.to_string(),
        payload: stored(storage, &layer.digest),
        annotations: layer.annotations.clone(),
    });
    (digest, candidates.collect())
}

/// The signature of the sample image counts under its name, and by its key.
#[test]
fn a_registry_holds_a_signed_and_an_unsigned_image() {
    let folder = shared!("images");
    let storage = folder.join("registry-storage");
    let path = "travier/fedora-kinoite/sysexts";
    let verdict = |host: &str, tag: &str, key_file: &Path, identity: &SignedIdentity| {
        let (instance, candidates) = stored_candidates(&storage, path, tag);
        let repository = Some(repository(&format!("{host}/{path}")));
        let claim = Claim { index: None, instance, repository };
        let policy = Policy::new(key(key_file), Vec::new(), identity.clone());
        image(&claim, &candidates, &policy).map_err(|error| code(&error))
    };
    let (ours, other) =
        (folder.join("e2e-signing-key.pub"), folder.join("../keys/quay.io-travier-containers.pub"));
    let signed = SignedIdentity::Repository(repository(&format!("127.0.0.1:15099/{path}")));
    let (asked, any) = (SignedIdentity::Asked, SignedIdentity::Any);
    let here = "127.0.0.1:15099";
    assert!(verdict(here, "41.mc", &ours, &asked).is_ok());
    assert_eq!(verdict(here, "41.mc", &other, &asked).err(), Some(4));
    assert_eq!(verdict(here, "unsigned", &ours, &any).err(), Some(4));
    assert_eq!(verdict("127.0.0.1:15098", "41.mc", &ours, &asked).err(), Some(5));
    assert!(verdict("127.0.0.1:15098", "41.mc", &ours, &signed).is_ok());
    assert!(verdict("127.0.0.1:15098", "41.mc", &ours, &any).is_ok());
}

/// What a policy file says of an image, as the program asks it.
fn by_policy(
    reference: &str,
    requirement: &serde_json::Value,
    instance: Digest,
    candidates: &[Candidate],
) -> Result<(), u8> {
    let directory = tempfile::tempdir().unwrap();
    let (policy, registries_d) = (directory.path().join("policy.json"), directory.path());
    fs::write(&policy, serde_json::json!({ "default": [requirement] }).to_string()).unwrap();
    fs::write(registries_d.join("all.yaml"), "default-docker: {use-sigstore-attachments: true}\n")
        .unwrap();
    let words = Words {
        policy: Some(policy),
        registries_d: Some(registries_d.to_owned()),
        ..Words::default()
    };
    let sources = TrustSources { as_root: false, ..TrustSources::default() };
    let reference = reference.parse().unwrap();
    let decision =
        decide(&sources, &words, &reference).map_err(|error| error.exit_code().number())?;
    assert!(!decision.index && decision.attachments);
    let repository = match reference {
        Reference::Registry { repository, .. } => repository,
        other => panic!("{other:?}"),
    };
    let claim = Claim { index: None, instance, repository: Some(repository) };
    for requirement in decision.requirements() {
        image(&claim, candidates, requirement).map_err(|error| code(&error))?;
    }
    Ok(())
}

/// Every row of the table that has a key, as a requirement of a policy, with every kind of
/// `signedIdentity`.
#[test]
fn rows_of_containers_image_with_every_identity() {
    let folder = shared!("cosign/containers-image");
    let table = fs::read_to_string(folder.join("CASES.tsv")).unwrap();
    let (mut rows, mut verdicts) = (0, 0);
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[row, asked, keys, rekor, rule, expected, ..] = &columns[..] else {
            panic!("{line}");
        };
        rows += 1;
        let (fixture, candidates) = fixture_of(&folder, row);
        let signed = match fixture {
            "dir-img-cosign-key-rekor-valid" => "192.168.64.2:5000/cosign-signed/key-1",
            "dir-img-cosign-fulcio-rekor-valid" => "192.168.64.2:5000/cosign-signed/fulcio-rekor-1",
            _ => "192.168.64.2:5000/cosign-signed-single-sample",
        };
        let asked = match asked {
            "-" => format!("{signed}:latest"),
            other if other.starts_with("testing/") => format!("docker.io/{other}"),
            other => format!("{other}:latest"),
        };
        let manifest = fs::read(folder.join(fixture).join("manifest.json")).unwrap();
        let instance = Digest::of(&manifest);
        let fulcio = fulcio(&folder, keys);
        let keys = keys.split_once(' ').map_or(keys, |(keys, _)| keys);
        let paths: Vec<_> = keys.split(',').map(|name| folder.join(name)).collect();
        let verdict = |identity: serde_json::Value| {
            let mut requirement = serde_json::json!({
                "type": "sigstoreSigned", "signedIdentity": identity,
            });
            match &fulcio {
                Some(fulcio) => requirement["fulcio"] = fulcio.clone(),
                None => requirement["keyPaths"] = serde_json::json!(paths),
            }
            if rekor != "-" {
                let rekor = rekor.split_once(' ').map_or(rekor, |(rekor, _)| rekor);
                let paths: Vec<_> = rekor.split(',').map(|name| folder.join(name)).collect();
                requirement["rekorPublicKeyPaths"] = serde_json::json!(paths);
            }
            by_policy(&asked, &requirement, instance, &candidates)
        };
        let of_row = verdict(serde_json::json!({ "type": rule }));
        if rekor != "-" {
            assert_eq!(of_row.is_ok(), expected == "ACCEPT", "{line}: {of_row:?}");
            continue;
        }
        assert_eq!(of_row.is_ok(), expected == "ACCEPT", "{line}: {of_row:?}");
        // cosign signs the repository and no tag: what compares more than that accepts nothing.
        let is_good = row == "dir-img-cosign-valid";
        let exact = serde_json::json!({ "type": "exactRepository", "dockerRepository": signed });
        assert_eq!(verdict(exact).is_ok(), is_good, "{line}");
        let is_asked = asked.starts_with(signed);
        let repository = verdict(serde_json::json!({ "type": "matchRepository" }));
        assert_eq!(repository.is_ok(), is_good && is_asked, "{line}");
        for more in [
            serde_json::json!({ "type": "matchExact" }),
            serde_json::json!({ "type": "matchRepoDigestOrExact" }),
            serde_json::json!({ "type": "exactReference",
                "dockerReference": format!("{signed}:latest") }),
            serde_json::json!({ "type": "exactRepository", "dockerRepository": "example.com/a" }),
            serde_json::json!({ "type": "remapIdentity", "prefix": "docker.io",
                "signedPrefix": "192.168.64.2:5000" }),
        ] {
            assert!(verdict(more.clone()).is_err(), "{line} {more}");
            verdicts += 1;
        }
    }
    assert_eq!((rows, verdicts), (14, 40));
}

/// `FILE issuer=URL email=ADDRESS` of the table, as a policy says it.
fn fulcio(folder: &Path, text: &str) -> Option<serde_json::Value> {
    let (file, rest) = text.split_once(" issuer=")?;
    let (issuer, email) = rest.split_once(" email=")?;
    Some(serde_json::json!({
        "caPath": folder.join(file), "oidcIssuer": issuer, "subjectEmail": email,
    }))
}

/// The row of a certificate, one thing wrong at a time.
#[test]
fn the_fulcio_row_with_one_thing_wrong() {
    let folder = shared!("cosign/containers-image");
    let fixture = folder.join("dir-img-cosign-fulcio-rekor-valid");
    let candidates = signature_files(&fixture);
    let manifest = fs::read(fixture.join("manifest.json")).unwrap();
    let good = serde_json::json!({
        "type": "sigstoreSigned",
        "fulcio": {
            "caPath": folder.join("fulcio_v1.crt.pem"),
            "oidcIssuer": "https://github.com/login/oauth",
            "subjectEmail": "mitr@redhat.com",
        },
        "rekorPublicKeyPath": folder.join("rekor.pub"),
        "signedIdentity": { "type": "matchRepository" },
    });
    let asked = "192.168.64.2:5000/cosign-signed/fulcio-rekor-1:latest";
    let verdict = |requirement: &serde_json::Value, candidates: &[Candidate]| {
        by_policy(asked, requirement, Digest::of(&manifest), candidates)
    };
    assert_eq!(verdict(&good, &candidates), Ok(()));
    for (field, value, code) in [
        ("/fulcio/subjectEmail", serde_json::json!("other@redhat.com"), 5),
        ("/fulcio/oidcIssuer", serde_json::json!("https://github.com/login"), 5),
        ("/fulcio/caPath", serde_json::json!(folder.join("rekor.pub")), 3),
        ("/rekorPublicKeyPath", serde_json::json!(folder.join("cosign.pub")), 4),
        ("/signedIdentity/type", serde_json::json!("matchExact"), 5),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(field).unwrap() = value;
        assert_eq!(verdict(&bad, &candidates), Err(code), "{field}");
    }
    for name in ["certificate", "bundle"] {
        let mut candidates = signature_files(&fixture);
        for candidate in &mut candidates {
            let Candidate::Payload { annotations, .. } = candidate else { unreachable!() };
            annotations.remove(&format!("dev.sigstore.cosign/{name}")).unwrap();
        }
        assert_eq!(verdict(&good, &candidates), Err(4), "{name}");
    }
}

/// Whether skopeo takes a fixture by a requirement: it has no blobs, which are asked for last.
fn skopeo_accepts(skopeo: &Path, fixture: &Path, requirement: &serde_json::Value) -> bool {
    let work = tempfile::tempdir().unwrap();
    let policy = serde_json::json!({
        "default": [{ "type": "reject" }],
        "transports": { "dir": { "": [requirement] } },
    });
    fs::write(work.path().join("policy.json"), policy.to_string()).unwrap();
    let mut command = std::process::Command::new(skopeo);
    command.arg("--policy").arg(work.path().join("policy.json")).args(["copy", "-q"]);
    command.arg(format!("dir:{}", fixture.display()));
    let output = command.arg(format!("dir:{}", work.path().join("out").display())).output();
    let text = String::from_utf8(output.unwrap().stderr).unwrap();
    let rejected = text.contains("Source image rejected");
    assert!(rejected || text.contains("reading blob"), "{text}");
    !rejected
}

/// Keys and certificates with a log, as containers/image's own fixtures have them: both accept the
/// good ones and nothing else.
#[test]
fn skopeo_says_the_same_of_logs_and_certificates() {
    let folder = shared!("cosign/containers-image");
    let skopeo = need!(tools::of(tools::FORKY, "skopeo"), "no skopeo");
    let file = |name: &str| serde_json::json!(folder.join(name));
    let fulcio = |issuer: &str, email: &str, log: &str| {
        serde_json::json!({
            "fulcio": {
                "caPath": file("fulcio_v1.crt.pem"), "oidcIssuer": issuer, "subjectEmail": email,
            },
            "rekorPublicKeyPath": file(log),
        })
    };
    let key = |key: &str, log: &str| serde_json::json!({ "keyPath": file(key), "rekorPublicKeyPath": file(log) });
    let (issuer, email) = ("https://github.com/login/oauth", "mitr@redhat.com");
    for (name, requirement, expected) in [
        ("fulcio-rekor", fulcio(issuer, email, "rekor.pub"), true),
        ("fulcio-rekor", fulcio(issuer, "x@redhat.com", "rekor.pub"), false),
        ("fulcio-rekor", fulcio(issuer, "MITR@redhat.com", "rekor.pub"), false),
        ("fulcio-rekor", fulcio("https://github.com/login", email, "rekor.pub"), false),
        ("fulcio-rekor", fulcio(issuer, email, "cosign.pub"), false),
        ("fulcio-rekor", key("cosign.pub", "rekor.pub"), false),
        ("key-rekor", key("cosign2.pub", "rekor.pub"), true),
        ("key-rekor", key("cosign.pub", "rekor.pub"), false),
        ("key-rekor", key("cosign2.pub", "cosign.pub"), false),
        ("key-rekor", fulcio(issuer, email, "rekor.pub"), false),
    ] {
        let repository = match name {
            "key-rekor" => "192.168.64.2:5000/cosign-signed/key-1",
            _ => "192.168.64.2:5000/cosign-signed/fulcio-rekor-1",
        };
        let mut requirement = requirement.clone();
        requirement["type"] = serde_json::json!("sigstoreSigned");
        requirement["signedIdentity"] =
            serde_json::json!({ "type": "exactRepository", "dockerRepository": repository });
        let fixture = folder.join(format!("dir-img-cosign-{name}-valid"));
        let manifest = fs::read(fixture.join("manifest.json")).unwrap();
        let candidates = signature_files(&fixture);
        let asked = format!("{repository}:latest");
        let ours = by_policy(&asked, &requirement, Digest::of(&manifest), &candidates);
        assert_eq!(ours.is_ok(), expected, "{requirement}: {ours:?}");
        let theirs = skopeo_accepts(&skopeo, &fixture, &requirement);
        assert_eq!(theirs, expected, "{requirement}");
    }
}
