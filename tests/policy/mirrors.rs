//! Mirrors serve bytes; the name that must be signed stays the one that was asked for.

use serde_json::{Value, json};

use crate::common::command::{Outcome, Workdir};
use crate::common::need;
use crate::common::registry::{Options, PASSWORD, Registry, USER};
use crate::{Site, image_of, site};

const NAME: &str = "registry.example/up/tool";

/// A registry with the image of [`NAME`] under `copy`, signed under the name that it has upstream.
fn mirror_of(site: &Site, repository: &str) -> String {
    let digest =
        site.push(&format!("{repository}:1"), &image_of("2026-01-01T00:00:00Z", &json!({})));
    let payload = crate::payload(NAME, &digest, &Value::Null);
    site.sign(repository, &digest, &[(payload.clone(), site.first.sign(payload.as_bytes()))]);
    digest
}

fn verify(site: &Site, conf: &str, words: &[&str]) -> Outcome {
    let work = Workdir::new();
    let conf = site.file(conf).display().to_string();
    let key = site.first.public().display().to_string();
    let start = ["verify", "--key", &key, "--registries-conf", &conf];
    work.run(start.iter().chain(words))
}

#[test]
fn a_mirror_serves_under_the_name_asked_for() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let digest = mirror_of(&site, "mirror/tool");
    let by_tag = format!("{NAME}:1");
    let by_digest = format!("{NAME}@{digest}");
    let registry = "[[registry]]\nprefix = 'registry.example/up'\n";
    let here = format!("location = '{host}/mirror'\n");
    let nowhere = "location = '127.0.0.1:1/x'\n";
    let mirrors = |rules: &str| format!("{registry}{nowhere}[[registry.mirror]]\n{here}{rules}");
    for (conf, reference, code) in [
        (mirrors(""), &by_tag, 0),
        (mirrors(""), &by_digest, 0),
        (mirrors("pull-from-mirror = 'digest-only'"), &by_tag, 10),
        (mirrors("pull-from-mirror = 'digest-only'"), &by_digest, 0),
        (mirrors("pull-from-mirror = 'tag-only'"), &by_tag, 0),
        (mirrors("pull-from-mirror = 'tag-only'"), &by_digest, 10),
        // The place itself is elsewhere.
        (format!("{registry}{here}"), &by_tag, 0),
        // A mirror that does not answer, then one that does, then the place itself.
        (
            format!("{registry}{nowhere}[[registry.mirror]]\n{nowhere}[[registry.mirror]]\n{here}"),
            &by_tag,
            0,
        ),
        (format!("{registry}{here}[[registry.mirror]]\n{nowhere}"), &by_tag, 0),
        (format!("{registry}{nowhere}blocked = true\n[[registry.mirror]]\n{here}"), &by_tag, 3),
        (format!("{registry}location = 'no name'"), &by_tag, 3),
    ] {
        let outcome = verify(&site, &conf, &["--tls-verify=false", reference]);
        assert_eq!(outcome.code, code, "{conf}\n{reference}: {outcome:#?}");
        if code == 0 {
            assert!(outcome.stdout.starts_with(&by_digest), "{outcome:#?}");
        }
    }
    // Under its own name there, it is another image.
    let there = format!("{host}/mirror/tool:1");
    assert_eq!(verify(&site, "", &["--tls-verify=false", &there]).code, 5);
}

/// `insecure = true` is a wish that the command line must confirm.
#[test]
fn insecure_counts_with_the_flag_only() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    mirror_of(&site, "insecure/tool");
    let host = site.host();
    let conf = format!(
        "[[registry]]\nprefix = 'registry.example/up'\nlocation = '{host}/insecure'\ninsecure = true"
    );
    let reference = format!("{NAME}:1");
    let outcome = verify(&site, &conf, &[&reference]);
    assert_eq!(outcome.code, 10, "{outcome:#?}");
    assert!(outcome.stderr.contains("--tls-verify=false"), "{outcome:#?}");
    assert_eq!(verify(&site, &conf, &["--tls-verify=false", &reference]).code, 0);
}

/// Credentials are the physical host's: those for the name asked for go nowhere else.
#[test]
fn credentials_are_for_the_host_that_is_asked() {
    use base64::Engine as _;
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let options = Options { basic: true, ..Options::default() };
    let private = need!(Registry::start(&options), "no docker-registry or htpasswd");
    let digest = mirror_of(&site, "private/tool");
    for name in ["tool:1", &format!("tool:{}.sig", digest.replace(':', "-"))] {
        let mut copy = std::process::Command::new(&site.skopeo);
        copy.args(["copy", "-q", "--preserve-digests", "--src-tls-verify=false"]);
        copy.args(private.skopeo_flags("dest-"));
        copy.arg(format!("docker://{}/private/{name}", site.host()));
        crate::tools::check(copy.arg(format!("docker://{}/up/{name}", private.address())));
    }
    let conf = format!(
        "[[registry]]\nprefix = 'registry.example'\nlocation = '127.0.0.1:1'\n\
         [[registry.mirror]]\nlocation = '{}'",
        private.address()
    );
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let reference = format!("{NAME}:1");
    for (of, code) in [(private.address(), 0), ("registry.example", 10)] {
        let file = site.file(&json!({ "auths": { of: { "auth": auth } } }).to_string());
        let authfile = format!("--authfile={}", file.display());
        let outcome = verify(&site, &conf, &["--tls-verify=false", &authfile, &reference]);
        assert_eq!(outcome.code, code, "{of}: {outcome:#?}");
    }
}
