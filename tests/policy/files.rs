//! Files that are one mistake away from a good one, each judged by skopeo, too (row 16).

use std::process::Command;

use serde_json::json;

use crate::common::command::Outcome;
use crate::common::need;
use crate::{Site, site};

/// What becomes of a file with a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// Both refuse it.
    Refused,
    /// Both take it, and it means the same.
    Taken,
    /// Both take it, and it means that the image is not accepted.
    Rejects,
    /// The program refuses what skopeo takes: skopeo ignores what it does not know there.
    RefusedByUs,
}

use File::{Refused, RefusedByUs, Rejects, Taken};

/// The good file in which `from` became `to`.
fn changed(good: &str, from: &str, to: &str) -> String {
    let bad = good.replacen(from, to, 1);
    assert_ne!(bad, good, "{from}");
    bad
}

/// Compares verdicts on an image that the good file accepts.
#[track_caller]
fn compare(expected: File, what: &str, ours: &Outcome, theirs: &Outcome) {
    let found = match (ours.code, theirs.code == 0) {
        (0, true) => Taken,
        (3, false) => Refused,
        (3, true) => RefusedByUs,
        (4 | 5, false) => Rejects,
        _ => panic!("{what}: {ours:#?}\n{theirs:#?}"),
    };
    assert_eq!(found, expected, "{what}: {ours:#?}\n{theirs:#?}");
    if expected == RefusedByUs || expected == Refused {
        let lines = ours.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(lines, 1, "{what}: {ours:#?}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn row_16_policy_json() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let key = site.first.public().display().to_string();
    let good = json!({
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {
                host: [{"type": "sigstoreSigned", "keyPath": key,
                    "signedIdentity": {"type": "matchRepository"}}],
                "gpg.example": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/gpg"}],
                "base.example": [{"type": "signedBaseLayer", "baseLayerIdentity":
                    {"type": "exactReference", "dockerReference": "docker.io/a:1"}}],
                "fulcio.example": [{"type": "sigstoreSigned", "rekorPublicKeyData": "YQ==",
                    "fulcio": {"caPath": "/ca", "oidcIssuer": "i", "subjectEmail": "s"}}],
                "pki.example": [{"type": "sigstoreSigned",
                    "pki": {"caRootsPath": "/ca", "subjectEmail": "s"},
                    "signedIdentity": {"type": "remapIdentity", "prefix": "a.example",
                        "signedPrefix": "b.example"}}],
                "keys.example": [{"type": "sigstoreSigned", "keyDatas": ["YQ=="],
                    "signedIdentity": {"type": "exactRepository", "dockerRepository": "b.example/c"}}],
            },
            "dir": {"/a/b": [{"type": "reject"}]},
            "oci": {"/c": [{"type": "insecureAcceptAnything"}]},
        },
    })
    .to_string();
    let reference = format!("{host}/t/plain:1");
    let registries_d = site.attachments();
    let judge = |expected: File, text: &str| {
        let file = site.file(text);
        let ours = site.ours(&file, &registries_d, &reference);
        compare(expected, text, &ours, &site.skopeo(&file, &registries_d, &reference));
    };
    judge(Taken, &good);
    let path = format!("\"keyPath\":\"{key}\"");
    let requirements = format!("\"{host}\":[{{");
    let cases: Vec<(File, &str, &str)> = vec![
        (Refused, "{\"default\"", "{\"defaults\""),
        (Refused, "\"default\":[{\"type\":\"reject\"}]", "\"default\":[]"),
        (Refused, "\"default\":[{\"type\":\"reject\"}]", "\"default\":null"),
        (Refused, "\"default\":[{\"type\":\"reject\"}]", "\"default\":{\"type\":\"reject\"}"),
        (Refused, "\"default\":[{\"type\":\"reject\"}]", "\"default\":[null]"),
        (Refused, "{\"default\"", "{\"default\":[{\"type\":\"reject\"}],\"default\""),
        (Refused, "{\"default\"", "{\"extra\":1,\"default\""),
        (Refused, "\"transports\"", "\"Transports\""),
        (Refused, "\"transports\":{", "\"transports\":{\"docker\":{},"),
        (Refused, "\"reject\"", "\"Reject\""),
        (Refused, "\"reject\"", "\"\""),
        (Refused, "{\"type\":\"reject\"}", "{}"),
        (Refused, "{\"type\":\"reject\"}", "{\"type\":\"reject\",\"type\":\"reject\"}"),
        (Refused, "{\"type\":\"reject\"}", "{\"type\":\"reject\",\"why\":\"x\"}"),
        (Refused, "{\"type\":\"reject\"}", "{\"Type\":\"reject\"}"),
        (Refused, "\"sigstoreSigned\"", "\"sigstoresigned\""),
        (Refused, &requirements, "\"x.example\":[],\"y\":[{"),
        (Refused, "\"keyPath\"", "\"keypath\""),
        (Refused, &path, "\"keyPath\":1"),
        (Refused, &path, "\"keyPath\":\"\""),
        (Refused, &path, "\"keyPath\":null"),
        (Refused, &path, "\"keyPaths\":[]"),
        (Refused, &path, "\"keyPaths\":\"x\""),
        (Refused, &path, "\"keyPaths\":[1]"),
        (Refused, &path, "\"keyData\":\"!\""),
        (Refused, &path, "\"keyData\":[\"YQ==\"]"),
        (Refused, &path, "\"keyDatas\":[]"),
        (Refused, &path, "\"keyPath\":\"/a\",\"keyPaths\":[\"/b\"]"),
        (Refused, &path, "\"keyPath\":\"/a\",\"keyData\":\"YQ==\""),
        (
            Refused,
            &path,
            "\"keyPath\":\"/a\",\"pki\":{\"caRootsPath\":\"/c\",\"subjectEmail\":\"s\"}",
        ),
        (Refused, "matchRepository", "matchrepository"),
        (Refused, "{\"type\":\"matchRepository\"}", "null"),
        (Refused, "{\"type\":\"matchRepository\"}", "{}"),
        (Refused, "{\"type\":\"matchRepository\"}", "\"matchRepository\""),
        (Refused, "{\"type\":\"matchRepository\"}", "{\"type\":\"matchRepository\",\"x\":1}"),
        (Refused, "{\"type\":\"matchRepository\"}", "{\"type\":\"exactReference\"}"),
        (Refused, "docker.io/a:1", "docker.io/a"),
        (Refused, "docker.io/a:1", "docker.io/A:1"),
        (Refused, "\"dockerRepository\":\"b.example/c\"", "\"dockerRepository\":\"\""),
        (Refused, "\"prefix\":\"a.example\"", "\"prefix\":\"a.example/\""),
        (Refused, "\"prefix\":\"a.example\"", "\"prefix\":\"a.example/b:1\""),
        (Refused, "\"signedPrefix\":\"b.example\"", "\"signedprefix\":\"b.example\""),
        (Refused, "\"GPGKeys\"", "\"GPG\""),
        (Refused, "\"keyType\":\"GPGKeys\",", ""),
        (Refused, "\"keyPath\":\"/gpg\"", "\"keyDatas\":[\"YQ==\"]"),
        (Refused, "\"rekorPublicKeyData\":\"YQ==\",", ""),
        (
            Refused,
            "\"rekorPublicKeyData\":\"YQ==\"",
            "\"rekorPublicKeyData\":\"YQ==\",\"rekorPublicKeyPath\":\"/r\"",
        ),
        (Refused, "\"rekorPublicKeyData\":\"YQ==\"", "\"rekorPublicKeyPaths\":[]"),
        (Refused, "\"oidcIssuer\":\"i\"", "\"oidcIssuer\":\"\""),
        (Refused, ",\"subjectEmail\":\"s\"},\"rekor", "},\"rekor"),
        (Refused, ",\"subjectEmail\":\"s\"},\"signed", "},\"signed"),
        (Refused, "\"caRootsPath\":\"/ca\"", "\"caRootsPath\":\"/ca\",\"caRootsData\":\"YQ==\""),
        (Refused, "\"caRootsPath\":\"/ca\"", "\"caPath\":\"/ca\""),
        (Refused, "\"/a/b\"", "\"a/b\""),
        (Refused, "\"/a/b\"", "\"/a/../b\""),
        (Refused, "\"/a/b\"", "\"/a/b/\""),
        (Refused, "\"/c\"", "\"/\""),
        (Refused, "\"/c\"", "\"c\""),
        (Taken, "\"/c\"", "\"\""),
        (Taken, "\"gpg.example\"", "\"any thing\""),
        (Taken, "\"dir\":", "\"no-transport\":"),
        (Taken, "\"transports\":", "\n\t\"transports\" : "),
        (Rejects, "\"matchRepository\"", "\"matchExact\""),
        (Rejects, "\"signedIdentity\":{\"type\":\"matchRepository\"},", ""),
    ];
    let refused = cases.iter().filter(|(expected, ..)| *expected == Refused).count();
    assert!(refused >= 50, "{refused}");
    for (expected, from, to) in &cases {
        judge(*expected, &changed(&good, from, to));
    }
    for (expected, text) in [
        (Refused, String::new()),
        (Refused, "[]".to_owned()),
        (Refused, format!("{good}{{}}")),
        (Refused, format!("{good},")),
        (Refused, good.trim_end_matches('}').to_owned()),
        (Taken, format!(" {good}\n")),
    ] {
        judge(expected, &text);
    }
}

#[test]
fn registries_d() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let mut good_key = crate::by_key(&site.first);
    good_key["signedIdentity"] = json!({"type": "matchRepository"});
    let policy = site.file(&json!({"default": [good_key]}).to_string());
    let reference = format!("{host}/t/plain:1");
    let good = format!(
        "default-docker:\n  lookaside-staging: file:///var/lib/x\ndocker:\n  \"{host}\":\n    \
         use-sigstore-attachments: true\n  other.example:\n    lookaside: https://x\n"
    );
    let judge = |expected: File, text: &str| {
        let directory = site.directory(text, "test.yaml");
        let ours = site.ours(&policy, &directory, &reference);
        compare(expected, text, &ours, &site.skopeo(&policy, &directory, &reference));
    };
    judge(Taken, &good);
    for (expected, from, to) in [
        (Rejects, "attachments: true", "attachments: false"),
        (Rejects, "attachments: true", "attachments:"),
        (Rejects, "docker:\n  \"", "docker:\n  \"x."),
        (Taken, "attachments: true", "attachments: True"),
        (Taken, "other.example:", "other.example: # a comment"),
        (Refused, "attachments: true", "attachments: \"true\""),
        (Refused, "attachments: true", "attachments: 1"),
        (Refused, "attachments: true", "attachments: [true]"),
        (Refused, "attachments: true", "attachments: tru"),
        (Refused, "attachments: true", "attachments: {}"),
        (Refused, "default-docker:\n  lookaside-staging: file:///var/lib/x", "default-docker: x"),
        (Refused, "lookaside: https://x", "lookaside: [https://x]"),
        (Refused, "lookaside: https://x", "lookaside: a\n    lookaside: b"),
        (Refused, "  other.example:", &format!("  \"{host}\":")),
        (Refused, "docker:\n  \"", "docker:\n - \""),
        (Refused, "    use-sigstore", "\tuse-sigstore"),
        // skopeo does not notice what it does not know.
        (RefusedByUs, "lookaside-staging", "lookaside-stagin"),
        (RefusedByUs, "default-docker:", "defaults:"),
        (RefusedByUs, "attachments: true", "attachments: yes"),
        (RefusedByUs, "other.example:", "other.example: &anchor"),
    ] {
        judge(expected, &changed(&good, from, to));
    }
    // A namespace that two files have.
    let directory = site.directory(&good, "test.yaml");
    std::fs::write(directory.join("more.yaml"), format!("docker: {{\"{host}\": {{}}}}")).unwrap();
    let ours = site.ours(&policy, &directory, &reference);
    compare(Refused, "twice", &ours, &site.skopeo(&policy, &directory, &reference));
}

/// What skopeo and the program say with a registries.conf.
fn with_conf(site: &Site, text: &str, reference: &str) -> (Outcome, Outcome) {
    let conf = site.file(text);
    let mut good = crate::by_key(&site.first);
    good["signedIdentity"] = json!({"type": "matchRepository"});
    let policy = site.file(&json!({"default": [good]}).to_string());
    let (registries_d, state) = (site.attachments(), tempfile::tempdir().unwrap());
    let mut ours = site.work.command();
    ours.args(["verify", "--tls-verify=false", "--policy"]).arg(&policy);
    ours.arg("--registries.d").arg(&registries_d).arg("--registries-conf").arg(&conf);
    let ours = Outcome::of(ours.arg("--state-dir").arg(state.path()).arg(reference));
    let out = tempfile::tempdir().unwrap();
    let mut theirs = Command::new(&site.skopeo);
    theirs.arg("--registries-conf").arg(&conf);
    theirs.arg("--policy").arg(&policy).arg("--registries.d").arg(&registries_d);
    theirs.args(["copy", "-q", "--src-tls-verify=false", &format!("docker://{reference}")]);
    (ours, Outcome::of(theirs.arg(format!("dir:{}", out.path().display()))))
}

#[test]
fn registries_conf() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let reference = format!("{host}/t/plain:1");
    let good = format!(
        "unqualified-search-registries = [\"docker.io\"]\n\
         [[registry]]\nprefix = \"{host}\"\nlocation = \"{host}\"\n\
         [[registry]]\nlocation = \"other.example\"\n\
         [[registry.mirror]]\nlocation = \"mirror.example\"\npull-from-mirror = \"tag-only\"\n"
    );
    let judge = |expected: File, text: &str| {
        let (ours, theirs) = with_conf(&site, text, &reference);
        compare(expected, text, &ours, &theirs);
    };
    judge(Taken, &good);
    let location = format!("location = \"{host}\"");
    for (expected, from, to) in [
        (Refused, &*location, &*format!("{location}\nblocked = true")),
        (Refused, &location, ""),
        (Refused, &location, "location = 1"),
        (Refused, &location, &format!("location = \"https://{host}\"")),
        (Refused, &location, &format!("{location}\nblocked = \"no\"")),
        (Refused, &location, &format!("{location}\n{location}")),
        (Refused, &location, &format!("{location}\npull-from-mirror = \"all\"")),
        (Refused, "location = \"mirror.example\"", ""),
        (Refused, "location = \"mirror.example\"", "location = \"\""),
        (Refused, "location = \"mirror.example\"", "location = \"http://mirror.example\""),
        (Refused, "\"tag-only\"", "\"tags\""),
        (Refused, "\"other.example\"", "\"other.example\"\nmirror-by-digest-only = true"),
        (Refused, "\"other.example\"", "\"other.example\"\nprefix = \"*.a.example/b\""),
        (Refused, "[[registry]]", "[registry]"),
        (Refused, "[[registry]]", "[[registry]"),
        (Refused, "unqualified-search", "short-name-mode = \"never\"\nunqualified-search"),
        (Taken, "\"other.example\"", "\"other.example\"\nblocked = true"),
        (Taken, "\"tag-only\"", "\"all\""),
        // skopeo does not notice what it does not know.
        (RefusedByUs, "\"other.example\"", "\"other.example\"\nblockd = true"),
        (RefusedByUs, "unqualified-search", "unqualified-serch"),
        (RefusedByUs, "[[registry.mirror]]", "[[registry.mirrors]]"),
    ] {
        judge(expected, &changed(&good, from, to));
    }
}
