//! The cases of sigstore's conformance suite, through the program and its client protocol.

use std::fs;
use std::path::Path;

use super::common::command::{Outcome, Workdir, sha256};
use super::common::shared;

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn text(case: &Path, name: &str, default: &str) -> String {
    fs::read_to_string(case.join(name)).map_or(default.to_owned(), |text| text.trim().to_owned())
}

/// Every case, once with the file and once with its digest.
#[test]
fn every_case_gets_its_verdict() {
    let folder = shared!("cosign/conformance");
    let work = Workdir::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let case = entry.unwrap().path();
        if !case.is_dir() {
            continue;
        }
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let own = |file: &str, default: &str| {
            let path = case.join(file);
            if path.exists() { path } else { folder.join(default) }
        };
        let artifact = own("artifact", "a.txt");
        let digest = format!("sha256:{}", sha256(&fs::read(&artifact).unwrap()));
        let verdict = |artifact: &str| {
            let mut command = work.command();
            command.arg("verify-bundle").arg("--bundle").arg(case.join("bundle.sigstore.json"));
            command.arg("--trusted-root");
            command.arg(own("trusted_root.json", "../trust/trusted_root.json"));
            let key = case.join("key.pub");
            if key.exists() {
                command.arg("--key").arg(key);
            } else {
                command.arg("--certificate-identity").arg(text(&case, "identity", IDENTITY));
                command.arg("--certificate-oidc-issuer").arg(text(&case, "issuer", ISSUER));
            }
            Outcome::of(command.arg(artifact))
        };
        for artifact in [artifact.to_str().unwrap(), &digest] {
            let outcome = verdict(artifact);
            let good = !name.ends_with("_fail");
            assert_eq!(outcome.code == 0, good, "{name}: {outcome:#?}");
            assert!(good || matches!(outcome.code, 3 | 4), "{name}: {outcome:#?}");
        }
        count += 1;
    }
    assert!(count >= 34, "{count}");
}

/// What holds for somebody holds for nobody else (K4, row 28).
#[test]
fn a_good_bundle_is_refused_for_another_identity() {
    let folder = shared!("cosign/conformance");
    let work = Workdir::new();
    let run = |identity: [&str; 2], issuer: [&str; 2]| {
        let mut command = work.command();
        command.arg("verify-bundle").arg("--bundle");
        command.arg(folder.join("happy-path-v0.3/bundle.sigstore.json"));
        command.args(identity).args(issuer).arg(folder.join("a.txt"));
        Outcome::of(&mut command).code
    };
    let is = |text| ["--certificate-identity", text];
    let like = |text| ["--certificate-identity-regexp", text];
    let by = ["--certificate-oidc-issuer", ISSUER];
    let by_like = |text| ["--certificate-oidc-issuer-regexp", text];
    // The compiled-in trust root has the same authorities.
    assert_eq!(run(is(IDENTITY), by), 0);
    assert_eq!(run(like("https://github\\.com/sigstore-conformance/.+"), by), 0);
    assert_eq!(run(is(IDENTITY), by_like("https://token\\..+")), 0);
    for (identity, issuer) in [
        (is(&IDENTITY[..IDENTITY.len() - 1]), by),
        (like("https://github\\.com/sigstore-conformance"), by),
        (like("sigstore-conformance/.+"), by),
        (is(IDENTITY), ["--certificate-oidc-issuer", "https://token.actions.githubusercontent.co"]),
        (is(IDENTITY), by_like("token")),
        (is(ISSUER), by),
    ] {
        assert_eq!(run(identity, issuer), 5, "{identity:?} {issuer:?}");
    }
    for (identity, issuer) in
        [(is(""), by), (like(".*"), by), (is(IDENTITY), by_like("")), (like("("), by)]
    {
        assert_eq!(run(identity, issuer), 3, "{identity:?} {issuer:?}");
    }
}
