//! `oci2sysext verify` as a gate: what it says, what it writes, and how it ends.

use std::fs;

use serde_json::{Value, json};

use crate::common::command::{Outcome, Workdir, snapshot};
use crate::common::need;
use crate::common::registry::{Options, Registry};
use crate::common::sign::Signer;
use crate::{Site, image_of, site};

/// Runs `verify` with and without `--json`, which must be of one mind; the exit code.
fn gate(site: &Site, words: &[&str]) -> i32 {
    let work = Workdir::new();
    let words: Vec<_> = ["verify", "--tls-verify=false"].iter().chain(words).collect();
    let outcome = work.run(&words);
    let json = work.run(words.into_iter().chain(&["--json"]));
    assert_eq!(outcome.code, json.code, "{} {json:#?}", site.host());
    let report = json.json();
    assert_eq!(report["accepted"], json!(json.code == 0), "{report:#}");
    let code = report.pointer("/error/exit_code").cloned().unwrap_or(json!(0));
    assert_eq!(code, json!(json.code), "{report:#}");
    assert!(outcome.code != 0 || !outcome.stdout.is_empty(), "{outcome:#?}");
    assert!(outcome.code == 0 || outcome.stdout.is_empty(), "{outcome:#?}");
    assert!(outcome.stderr.lines().count() >= 2, "{outcome:#?}");
    outcome.code
}

/// What a conversion and a verification of a signed image end with, by a policy.
#[track_caller]
fn by_policy(site: &Site, policy: &str) -> i32 {
    let policy = site.file(policy).display().to_string();
    let signed = format!("{}/t/plain:1", site.host());
    let code = gate(site, &["--policy", &policy, &signed]);
    Workdir::new().refuses(code, ["--tls-verify=false", "--policy", &policy, &signed]);
    code
}

#[test]
fn row_16_a_policy_with_a_mistake() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    for policy in [
        r#"{"default":[]}"#,
        r#"{"default":[{"type":"somethingElse"}]}"#,
        r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#,
        r#"{"default":[{"type":"insecureAcceptAnything","type":"reject"}]}"#,
    ] {
        assert_eq!(by_policy(&site, policy), 3, "{policy}");
    }
}

#[test]
fn row_17_a_policy_that_accepts_anything() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    assert_eq!(by_policy(&site, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#), 3);
}

#[test]
fn row_93_nobody_is_trusted() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let signed = format!("{}/t/plain:1", site.host());
    assert_eq!(gate(&site, &[&signed]), 3);
    Workdir::new().refuses(3, ["--tls-verify=false", &signed]);
}

#[test]
fn row_100_a_short_name() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let key = site.first.public().display().to_string();
    // An alias makes no short name a long one.
    let conf = "unqualified-search-registries = ['quay.io']\n[aliases]\n'plain' = 'quay.io/plain'";
    let conf = site.file(conf).display().to_string();
    for name in ["plain", "plain:1", "t/plain:1", "library/plain"] {
        let words = ["--key", &*key, "--registries-conf", &conf, name];
        assert_eq!(gate(&site, &words), 2, "{name}");
        Workdir::new().refuses(2, words);
    }
}

/// The ends that a gate must tell apart.
#[test]
fn each_end_has_its_code() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let (key, stranger) = (site.first.public(), site.second.public());
    let (key, stranger) = (key.display().to_string(), stranger.display().to_string());
    let at = |name: &str| format!("{host}/t/{name}");
    let signed = at("plain:1");
    let reject = site.file(r#"{"default":[{"type":"reject"}]}"#).display().to_string();
    for (what, code, words) in [
        ("good", 0, vec!["--key", &*key, &signed]),
        ("row 1", 4, vec!["--key", &key, &at("unsigned:1")]),
        ("row 3", 4, vec!["--key", &stranger, &signed]),
        ("row 5", 5, vec!["--key", &key, &at("vendor:1")]),
        ("row 5", 5, vec!["--key", &key, "--signed-identity", "quay.io/a/b", &signed]),
        ("any name", 0, vec!["--key", &key, "--signed-identity", "any", &at("vendor:1")]),
        ("rejected", 3, vec!["--policy", &reject, &signed]),
        ("no policy", 3, vec!["--policy", "/nonexistent", &signed]),
        ("row 18", 3, vec!["--key", "/nonexistent", &signed]),
        ("row 91", 10, vec!["--key", &key, &at("missing:1")]),
        ("row 91", 10, vec!["--key", &key, &at("plain:2")]),
        ("refused", 10, vec!["--key", &key, "127.0.0.1:1/t/plain:1"]),
        ("row 91", 12, vec!["--key", &key, "oci:/nonexistent"]),
    ] {
        assert_eq!(gate(&site, &words), code, "{what}: {words:?}");
    }
}

/// 11: a registry that wants credentials.
#[test]
fn a_password_is_asked_for() {
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let options = Options { basic: true, ..Options::default() };
    let registry = need!(Registry::start(&options), "no docker-registry or htpasswd");
    let work = Workdir::new();
    let reference = format!("{}/a:1", registry.address());
    let key = key.public().display().to_string();
    let words = ["verify", "--tls-verify=false", "--key", &key, &reference];
    assert_eq!(work.run(words).code, 11);
}

/// Every signature is listed, and why it counts or not; no layer is fetched.
#[test]
fn every_signature_is_accounted_for() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let name = "verify/many";
    let image = image_of("2026-01-01T00:00:00Z", &json!({}));
    let digest = site.push(&format!("{name}:1"), &image);
    let good = crate::payload(&format!("{host}/{name}"), &digest, &json!({ "by": "first" }));
    let foreign = crate::payload("quay.io/another/one", &digest, &Value::Null);
    let other = crate::payload(&format!("{host}/{name}"), &crate::digest(b"other"), &Value::Null);
    let by = |key: &crate::Key, payload: &str| (payload.to_owned(), key.sign(payload.as_bytes()));
    site.sign(
        name,
        &digest,
        &[
            by(&site.second, &good),
            by(&site.first, &foreign),
            by(&site.first, &other),
            (good.clone(), "!".to_owned()),
            by(&site.first, &good),
        ],
    );
    let work = Workdir::new();
    let key = site.first.public().display().to_string();
    let reference = format!("{host}/{name}:1");
    let file = work.path("digest");
    let before = snapshot(&work.path("out"));
    let words = ["verify", "--tls-verify=false", "--json", "--key", &key];
    let file_words = ["--output-manifest-digest", file.to_str().unwrap(), &reference];
    let outcome = work.run(words.iter().chain(&file_words));
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let report = outcome.json();
    let found: Vec<_> = report["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["accepted"].as_bool().unwrap(), one["exit_code"].as_u64().unwrap()))
        .collect();
    assert_eq!(found, [(false, 4), (false, 5), (false, 4), (false, 4), (true, 0)], "{report:#}");
    assert_eq!(report["signatures"][4]["annotations"], json!({ "by": "first" }));
    assert_eq!(report["digest"], json!(digest));
    assert_eq!(fs::read_to_string(&file).unwrap(), digest);
    assert_eq!(before, snapshot(&work.path("out")));
    let log = site.registry.log();
    for layer in image.manifest["layers"].as_array().unwrap() {
        let blob = format!("GET /v2/{name}/blobs/{}", layer["digest"].as_str().unwrap());
        assert!(!log.contains(&blob), "a layer was fetched: {blob}");
    }
    // The line on standard output is a reference for later steps.
    let pinned = work.run(["verify", "--tls-verify=false", "-q", "--key", &key, &reference]);
    assert_eq!(pinned.stdout, format!("{host}/{name}@{digest}\n"));
    let again = ["--tls-verify=false", "--key", &key, pinned.stdout.trim(), "-o", "many.raw"];
    work.converts(again);

    // Without the good one: 5, and nothing is written.
    fs::remove_file(&file).unwrap();
    let mut command = work.command();
    command.args(words).args(file_words).args(["-a", "by=second", "--state-dir"]);
    let refused = Outcome::of(command.arg(work.path("state")));
    assert_eq!(refused.code, 5, "{refused:#?}");
    assert!(!file.exists());
}

/// Local copies have scopes of their own, and no name to compare with. skopeo does not read the
/// signatures of layouts: here the program accepts more, by what the policy names exactly.
#[test]
fn a_policy_for_local_copies() {
    use crate::common::layout::{Image, Layout, REPOSITORY};
    use crate::common::tarball::Tarball;
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    let reference = layout.reference();
    let path = reference.trim_start_matches("oci:").to_owned();
    let parent = std::path::Path::new(&path).parent().unwrap().display().to_string();
    let work = Workdir::new();
    let requirement = |identity: Value| json!([{ "type": "sigstoreSigned", "keyPath": key.public(), "signedIdentity": identity }]);
    let exact = requirement(json!({ "type": "exactRepository", "dockerRepository": REPOSITORY }));
    let other = json!({ "type": "exactRepository", "dockerRepository": "registry.example/other" });
    let reject = json!([{ "type": "reject" }]);
    for (transport, scope, requirements, code) in [
        ("oci", path.as_str(), &exact, 0),
        ("oci", &parent, &exact, 0),
        ("oci", "", &exact, 0),
        ("oci", "/nonexistent", &exact, 3),
        ("dir", &path, &exact, 3),
        ("docker", "", &exact, 3),
        ("oci", &path, &requirement(other), 5),
        ("oci", &path, &requirement(json!({ "type": "matchRepository" })), 5),
        ("oci", &path, &requirement(json!({ "type": "matchRepoDigestOrExact" })), 5),
        ("oci", &path, &reject, 3),
    ] {
        let policy = work.path("policy.json");
        let scopes = json!({ transport: { scope: requirements } });
        fs::write(&policy, json!({ "default": reject, "transports": scopes }).to_string()).unwrap();
        let policy = policy.display().to_string();
        let outcome = work.run(["verify", "--policy", &policy, &reference]);
        assert_eq!(outcome.code, code, "{transport}:{scope} {requirements}: {outcome:#?}");
        if code == 0 {
            work.converts(["--policy", &policy, &reference, "-o", "a.raw", "--force"]);
        }
    }
}
