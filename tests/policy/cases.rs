//! Verdicts of whole policies, each judged by skopeo, too.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::{need, tools};
use crate::{Site, site};

/// Who accepts an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Both,
    Neither,
    /// skopeo accepts what the program does not, on purpose.
    SkopeoAlone,
    /// The program accepts what skopeo does not: a signature by P-384 or P-521 with the hash of the
    /// curve, as cosign 3 and openssl make it. skopeo knows SHA-256 alone (L5).
    ProgramAlone,
}

use Verdict::{Both, Neither, SkopeoAlone};

/// A policy that says `requirements` of one scope, and rejects everything else.
pub fn policy(scope: &str, requirements: &Value) -> String {
    json!({
        "default": [{ "type": "reject" }],
        "transports": { "docker": { scope: requirements } },
    })
    .to_string()
}

impl Site {
    /// Asks both, and compares.
    #[track_caller]
    pub fn judge(&self, expected: Verdict, policy: &str, registries_d: &Path, reference: &str) {
        let file = self.file(policy);
        let ours = self.ours(&file, registries_d, reference);
        let theirs = self.skopeo(&file, registries_d, reference);
        let found = match (ours.code == 0, theirs.code == 0) {
            (true, true) => Both,
            (false, false) => Neither,
            (false, true) => SkopeoAlone,
            (true, false) => Verdict::ProgramAlone,
        };
        assert_eq!(found, expected, "{policy}\n{reference}: {ours:#?}\n{theirs:#?}");
        assert!(matches!(ours.code, 0 | 3 | 4 | 5), "{policy}\n{reference}: {ours:#?}");
    }
}

/// Repositories that are accepted.
type Accepted<'a> = &'a [&'a str];

/// Each kind of `signedIdentity`, with each kind of signed name, by tag and by digest.
#[test]
fn signed_identities() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let repositories =
        ["plain", "tagged", "by-digest", "vendor", "vendor-tag", "unsigned", "other"];
    // By tag, and by digest.
    let cases: Vec<(Option<Value>, Accepted, Accepted)> = vec![
        (None, &["tagged"], &["tagged", "by-digest"]),
        (Some(json!({"type": "matchExact"})), &["tagged"], &["by-digest"]),
        (Some(json!({"type": "matchRepoDigestOrExact"})), &["tagged"], &["tagged", "by-digest"]),
        (
            Some(json!({"type": "matchRepository"})),
            &["plain", "tagged", "by-digest"],
            &["plain", "tagged", "by-digest"],
        ),
        (
            Some(json!({"type": "exactReference",
                "dockerReference": format!("{host}/t/tagged:1")})),
            &["tagged"],
            &["tagged"],
        ),
        (
            Some(json!({"type": "exactReference",
                "dockerReference": format!("{host}/t/tagged:2")})),
            &[],
            &[],
        ),
        (
            Some(json!({"type": "exactReference",
                "dockerReference": format!("{host}/t/by-digest@{}", site.image)})),
            &["by-digest"],
            &["by-digest"],
        ),
        (
            Some(json!({"type": "exactRepository",
                "dockerRepository": "vendor.example/v/vendor"})),
            &["vendor"],
            &["vendor"],
        ),
        (
            Some(json!({"type": "exactRepository",
                "dockerRepository": format!("{host}/t/tagged:ignored")})),
            &["tagged"],
            &["tagged"],
        ),
        (
            Some(
                json!({"type": "remapIdentity", "prefix": host, "signedPrefix": "vendor.example"}),
            ),
            &["vendor-tag"],
            &["vendor-tag"],
        ),
        (
            Some(json!({"type": "remapIdentity", "prefix": format!("{host}/t"),
                "signedPrefix": "vendor.example/t"})),
            &["vendor-tag"],
            &["vendor-tag"],
        ),
        (
            Some(json!({"type": "remapIdentity", "prefix": format!("{host}/t/vend"),
                "signedPrefix": "vendor.example/t/vend"})),
            &["tagged"],
            &["tagged", "by-digest"],
        ),
        (
            Some(json!({"type": "remapIdentity", "prefix": "quay.io",
                "signedPrefix": "vendor.example"})),
            &["tagged"],
            &["tagged", "by-digest"],
        ),
    ];
    let registries_d = site.attachments();
    let mut count = 0;
    for (identity, by_tag, by_digest) in &cases {
        for repository in repositories {
            let mut requirement = crate::by_key(&site.first);
            if let Some(identity) = identity {
                requirement["signedIdentity"] = identity.clone();
            }
            let policy = policy(host, &json!([requirement]));
            let tag = format!("{host}/t/{repository}:1");
            let digest = format!("{host}/t/{repository}@{}", site.image);
            for (reference, accepted) in [(tag, by_tag), (digest, by_digest)] {
                let expected = if accepted.contains(&repository) { Both } else { Neither };
                site.judge(expected, &policy, &registries_d, &reference);
                count += 1;
            }
        }
    }
    assert!(count >= 100, "{count}");
}

/// Row 15 and the ways to give keys: any key of a requirement, every requirement.
#[test]
fn row_15_keys_and_requirements() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let read = |key: &crate::Key| std::fs::read(key.public()).unwrap();
    let base64 = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let (first, second) = (site.first.public(), site.second.public());
    let (first_data, second_data) = (base64(&read(&site.first)), base64(&read(&site.second)));
    let matching = json!({"type": "matchRepository"});
    let with = |source: Value| {
        let mut requirement = json!({"type": "sigstoreSigned", "signedIdentity": matching});
        for (name, value) in source.as_object().unwrap() {
            requirement[name] = value.clone();
        }
        requirement
    };
    let by_first = with(json!({"keyPath": first}));
    let by_second = with(json!({"keyPath": second}));
    let anything = json!({"type": "insecureAcceptAnything"});
    let reject = json!({"type": "reject"});
    let cases: Vec<(Value, &str, Verdict)> = vec![
        (json!([by_first]), "plain", Both),
        (json!([by_second]), "plain", Neither),
        (json!([with(json!({"keyPaths": [second, first]}))]), "plain", Both),
        (json!([with(json!({"keyPaths": [second]}))]), "plain", Neither),
        (json!([with(json!({"keyData": first_data}))]), "plain", Both),
        (json!([with(json!({"keyData": second_data}))]), "plain", Neither),
        (json!([with(json!({"keyDatas": [second_data, first_data]}))]), "plain", Both),
        // Row 15: two keys are demanded.
        (json!([by_first, by_second]), "two", Both),
        (json!([by_second, by_first]), "two", Both),
        (json!([by_first, by_second]), "plain", Neither),
        (json!([by_first, by_second]), "other", Neither),
        (json!([by_first, by_first]), "plain", Both),
        (json!([by_first, anything]), "plain", Both),
        (json!([anything, by_first]), "plain", Both),
        (json!([anything, by_second]), "plain", Neither),
        (json!([by_first, reject]), "plain", Neither),
        (json!([reject]), "plain", Neither),
        // Row 17: that nothing is demanded is no reason to trust.
        (json!([anything]), "plain", SkopeoAlone),
        (json!([anything, anything]), "unsigned", SkopeoAlone),
        // A key that cannot be read is not passed over (P6); skopeo fails as well.
        (json!([with(json!({"keyPaths": [first, "/nonexistent"]}))]), "plain", Neither),
        (json!([with(json!({"keyPath": "/nonexistent"}))]), "plain", Neither),
        (json!([with(json!({"keyData": "bm9uc2Vuc2U="}))]), "plain", Neither),
        (json!([with(json!({"keyData": ""}))]), "plain", Neither),
        (json!([with(json!({"keyPath": site.first.private()}))]), "plain", Neither),
        // GPG is not supported where it is demanded.
        (
            json!([by_first, {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/gpg"}]),
            "plain",
            Neither,
        ),
        (
            json!([by_first, {"type": "signedBaseLayer",
                "baseLayerIdentity": {"type": "matchExact"}}]),
            "plain",
            Neither,
        ),
        // Nobody has recorded these signatures.
        (json!([with(json!({"keyPath": first, "rekorPublicKeyPath": second}))]), "plain", Neither),
        (
            json!([with(json!({"rekorPublicKeyPath": second, "fulcio":
                {"caPath": first, "oidcIssuer": "i", "subjectEmail": "s"}}))]),
            "plain",
            Neither,
        ),
        (
            json!([with(json!({"pki": {"caRootsPath": first, "subjectEmail": "s"}}))]),
            "plain",
            Neither,
        ),
    ];
    let registries_d = site.attachments();
    for (requirements, repository, expected) in &cases {
        let policy = policy(host, requirements);
        let reference = format!("{host}/t/{repository}:1");
        site.judge(*expected, &policy, &registries_d, &reference);
    }
    let code = |requirements: Value, repository: &str| {
        let policy = site.file(&policy(host, &requirements));
        site.ours(&policy, &registries_d, &format!("{host}/t/{repository}:1")).code
    };
    assert_eq!(code(json!([by_first, by_second]), "plain"), 4);
    assert_eq!(code(json!([reject]), "plain"), 3);
    assert_eq!(
        code(json!([with(json!({"keyPath": first, "rekorPublicKeyPath": second}))]), "plain"),
        4
    );
    assert_eq!(code(json!([crate::by_key(&site.first)]), "plain"), 5);
    let two = site.file(&policy(host, &json!([by_first, by_second])));
    let outcome = site.ours(&two, &registries_d, &format!("{host}/t/two:1"));
    assert!(outcome.stderr.contains("requirement 2: "), "{outcome:#?}");
}

/// The most specific scope decides alone.
#[test]
fn scopes() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let name = host.split(':').next().unwrap();
    let mut good = crate::by_key(&site.first);
    good["signedIdentity"] = json!({"type": "matchRepository"});
    let (good, reject) = (json!([good]), json!([{"type": "reject"}]));
    let wildcard = format!("*.{}", name.split_once('.').unwrap().1);
    let (tag, digest) = (format!("{host}/t/plain:1"), format!("{host}/t/plain@{}", site.image));
    let (repository, namespace) = (format!("{host}/t/plain"), format!("{host}/t"));
    let registries_d = site.attachments();
    // From the most specific: a reference is decided by the first.
    let order = [tag.as_str(), &repository, &namespace, host, &wildcard, ""];
    for (at, scope) in order.iter().enumerate() {
        let mut scopes = json!({ *scope: good });
        site.judge(Both, &with_scopes(&scopes, &reject), &registries_d, &tag);
        // What is less specific does not count.
        for other in order.iter().skip(at + 1) {
            scopes[*other] = reject.clone();
        }
        site.judge(Both, &with_scopes(&scopes, &reject), &registries_d, &tag);
        scopes[*scope] = reject.clone();
        for other in order.iter().skip(at + 1) {
            scopes[*other] = good.clone();
        }
        site.judge(Neither, &with_scopes(&scopes, &good), &registries_d, &tag);
    }
    for (scope, reference, expected) in [
        (&*digest, &digest, Both),
        (&*tag, &digest, Neither),
        (&*digest, &tag, Neither),
        (name, &tag, Neither),
        (&*format!("{host}/t/plai"), &tag, Neither),
        (&*format!("{host}/"), &tag, Neither),
        (&*format!("{host}/t/plain:2"), &tag, Neither),
        (&*format!("*.{name}"), &tag, Neither),
        ("*", &tag, Neither),
    ] {
        let scopes = json!({ scope: good });
        site.judge(expected, &with_scopes(&scopes, &reject), &registries_d, reference);
    }
    // The default, and another transport's scopes.
    let default = json!({"default": good}).to_string();
    site.judge(Both, &default, &registries_d, &tag);
    let other = json!({"default": good, "transports": {"dir": {"": reject}}}).to_string();
    site.judge(Both, &other, &registries_d, &tag);
}

fn with_scopes(scopes: &Value, default: &Value) -> String {
    json!({ "default": default, "transports": { "docker": scopes } }).to_string()
}

/// registries.d says whether there is anything to look at.
#[test]
fn attachments() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let mut good = crate::by_key(&site.first);
    good["signedIdentity"] = json!({"type": "matchRepository"});
    let policy = policy(host, &json!([good]));
    let reference = format!("{host}/t/plain:1");
    let yes = "use-sigstore-attachments: true";
    for (text, expected) in [
        (String::new(), Neither),
        (format!("docker: {{\"{host}\": {{{yes}}}}}"), Both),
        (format!("docker: {{\"{host}/t\": {{{yes}}}}}"), Both),
        (format!("docker: {{\"{host}/t/plain\": {{{yes}}}}}"), Both),
        (format!("docker: {{\"{host}/t/plain:1\": {{{yes}}}}}"), Both),
        (format!("docker: {{\"*.0.0.1\": {{{yes}}}}}"), Both),
        (format!("docker: {{\"{host}/t/other\": {{{yes}}}}}"), Neither),
        (format!("docker: {{\"{host}\": {{use-sigstore-attachments: false}}}}"), Neither),
        (
            format!(
                "docker:\n  \"{host}\": {{{yes}}}\n  \"{host}/t\": \
                 {{use-sigstore-attachments: false}}"
            ),
            Neither,
        ),
        (
            format!(
                "default-docker: {{use-sigstore-attachments: false}}\n\
                 docker:\n  \"{host}/t\": {{{yes}}}"
            ),
            Both,
        ),
        // The most specific namespace decides alone, as the manual has it; skopeo goes on to
        // look where it says nothing.
        (
            format!(
                "default-docker: {{{yes}}}\ndocker: {{\"{host}\": {{lookaside: 'file:///x'}}}}"
            ),
            SkopeoAlone,
        ),
    ] {
        let registries_d = site.directory(&text, "test.yaml");
        site.judge(expected, &policy, &registries_d, &reference);
        if expected == Neither {
            let outcome = site.ours(&site.file(&policy), &registries_d, &reference);
            assert_eq!(outcome.code, 4);
            assert!(outcome.stderr.contains("use-sigstore-attachments"), "{outcome:#?}");
        }
    }
}

/// P5: where a policy decides, the image itself must be signed; a signature of the index will do
/// elsewhere.
#[test]
fn an_index_that_is_signed_alone() {
    use crate::common::layout::Layout;
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let host = site.host();
    let mut layout = Layout::new();
    let mut image = crate::image_of("2026-01-01T00:00:00Z", &json!({}));
    let platform = oci2sysext::oci::Platform::host();
    image.config["architecture"] = json!(platform.architecture);
    let instance = layout.add_image(&image);
    let length = std::fs::metadata(layout.blob(&instance)).unwrap().len();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": instance, "size": length,
        "platform": { "os": "linux", "architecture": platform.architecture },
    }]});
    let signed = layout.add_document(&index.to_string(), media_type, "index");
    let directory = layout.reference().trim_start_matches("oci:").to_owned();
    tools::shell(
        "jq '.manifests |= map(select(.annotations.kind == \"index\"))' \"$1/index.json\" >\"$1/new\"
         mv \"$1/new\" \"$1/index.json\"",
        [&directory],
    );
    let mut copy = std::process::Command::new(&site.skopeo);
    copy.args(["copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false"]);
    tools::check(copy.arg(layout.reference()).arg(format!("docker://{host}/t/index:1")));
    let sign = |digest: &str| {
        let payload = crate::payload(&format!("{host}/t/index"), digest, &Value::Null);
        let signature = site.first.sign(payload.as_bytes());
        site.sign("t/index", digest, &[(payload, signature)]);
    };
    sign(&signed);
    let mut good = crate::by_key(&site.first);
    good["signedIdentity"] = json!({"type": "matchRepository"});
    let policy = policy(host, &json!([good]));
    let (registries_d, reference) = (site.attachments(), format!("{host}/t/index:1"));
    let key = site.first.public().display().to_string();
    let by_key = || {
        let work = crate::Workdir::new();
        work.run(["verify", "--tls-verify=false", "--key", &key, &reference])
    };
    site.judge(Neither, &policy, &registries_d, &reference);
    let outcome = site.ours(&site.file(&policy), &registries_d, &reference);
    assert!(outcome.stderr.contains("cosign sign --recursive"), "{outcome:#?}");
    assert!(by_key().stdout.contains(&signed));
    sign(&instance);
    site.judge(Both, &policy, &registries_d, &reference);
    let outcome = site.ours(&site.file(&policy), &registries_d, &reference);
    assert_eq!(outcome.stdout.trim(), format!("{host}/t/index@{instance}"));
}
