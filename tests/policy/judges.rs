//! One table for all judges of the older format: the program by `--key` and by a policy, cosign 2 and
//! 3, and skopeo. What the program accepts by key, both cosigns accept; by a policy, skopeo.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use super::cases::policy;
use crate::common::command::Outcome;
use crate::common::need;
use crate::common::sign::Signer;
use crate::{Annotated, Site, by_key, site};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A judge, as a row names it.
const KEY: char = 'k';
const POLICY: char = 'p';
const COSIGN_2: char = '2';
const COSIGN_3: char = '3';
const SKOPEO: char = 's';

/// What the program accepts and a judge does not: cosign cannot read what stands beside a good
/// signature by key, and what the program does not need (L9).
const EXCEPTIONS: [&str; 2] = ["certificate-nonsense", "entry-nonsense"];

/// What a row changes before it is signed, and after.
enum Change<'a> {
    Payload(Box<dyn Fn(&mut Value) + 'a>),
    /// The payload as text.
    Text(Box<dyn Fn(String) -> String + 'a>),
    Signed(Box<dyn Fn(&mut Annotated) + 'a>),
}

use Change::{Payload, Signed, Text};

fn payload(change: impl Fn(&mut Value) + 'static) -> Change<'static> {
    Payload(Box::new(change))
}

fn text(change: impl Fn(String) -> String + 'static) -> Change<'static> {
    Text(Box::new(change))
}

fn signed<'a>(change: impl Fn(&mut Annotated) + 'a) -> Change<'a> {
    Signed(Box::new(change))
}

fn signature(change: impl Fn(&str) -> String + 'static) -> Change<'static> {
    signed(move |(_, annotations)| {
        let found = annotations.get_mut(SIGNATURE).unwrap();
        *found = change(found);
    })
}

/// Rows: what is changed, and who accepts it.
fn rows(site: &Site) -> Vec<(&'static str, Change<'_>, &'static str)> {
    let name = |value: Value| {
        payload(move |p| p["critical"]["identity"]["docker-reference"] = value.clone())
    };
    let digest = |value: Value| {
        payload(move |p| p["critical"]["image"]["docker-manifest-digest"] = value.clone())
    };
    let own = format!("{}/judges/own", site.host());
    vec![
        ("good", payload(|_| {}), "kp23s"),
        (
            "optional-missing",
            payload(|p| drop(p.as_object_mut().unwrap().remove("optional"))),
            "23",
        ),
        ("optional-object", payload(|p| p["optional"] = json!({ "a": { "b": [1] } })), "kp23s"),
        ("optional-text", payload(|p| p["optional"] = json!("text")), ""),
        ("name-tag", name(json!(format!("{own}:1"))), "kp23s"),
        ("name-digest", name(json!(format!("{own}@{}", site.image))), "kp23s"),
        ("name-other-digest", name(json!(format!("{own}@sha256:{}", "0".repeat(64)))), "23s"),
        ("name-other", name(json!(format!("{own}-other"))), "23"),
        ("name-other-host", name(json!("quay.io/judges/own")), "23"),
        ("name-none", name(json!("")), "23"),
        ("name-upper", name(json!(own.to_uppercase())), "23"),
        ("name-number", name(json!(1)), ""),
        ("digest-other", digest(json!(format!("sha256:{}", "0".repeat(64)))), ""),
        ("digest-upper", digest(json!(site.image.to_uppercase())), ""),
        ("digest-bare", digest(json!(site.image.trim_start_matches("sha256:"))), ""),
        ("digest-null", digest(Value::Null), ""),
        (
            "type-other",
            payload(|p| p["critical"]["type"] = json!("atomic container signature")),
            "23",
        ),
        (
            "type-missing",
            payload(|p| drop(p["critical"].as_object_mut().unwrap().remove("type"))),
            "23",
        ),
        ("critical-more", payload(|p| p["critical"]["more"] = json!(1)), "23"),
        ("critical-in-image", payload(|p| p["critical"]["image"]["more"] = json!(1)), "23"),
        ("top-more", payload(|p| p["more"] = json!(1)), "23"),
        ("text-spaces", text(|t| t.replace("\":", "\" : ")), "kp23s"),
        ("text-line-end", text(|t| t + "\n"), "kp23s"),
        ("text-trailing", text(|t| t + "{}"), ""),
        (
            "text-twice",
            text(|t| t.replacen("{\"critical\":", "{\"optional\":{},\"critical\":", 1)),
            "23",
        ),
        ("text-upper-key", text(|t| t.replacen("\"critical\"", "\"Critical\"", 1)), "23"),
        ("text-mark", text(|t| format!("\u{feff}{t}")), ""),
        ("signature-line-end", signature(|s| format!("{s}\n")), "kp23s"),
        ("signature-space", signature(|s| format!("{s} ")), ""),
        ("signature-padding", signature(|s| s.trim_end_matches('=').to_owned() + "===="), ""),
        ("signature-url", signature(|s| s.replace('+', "-").replace('/', "_") + "-"), ""),
        ("signature-empty", signature(|_| String::new()), ""),
        ("signature-none", signed(|(_, annotations)| annotations.clear()), ""),
        (
            "signature-stranger",
            signed(|(payload, annotations)| {
                let theirs = site.second.sign(payload.as_bytes());
                annotations.insert(SIGNATURE.to_owned(), theirs);
            }),
            "",
        ),
        ("payload-bit", signed(|(payload, _)| *payload = payload.replacen("null", "nulL", 1)), ""),
        (
            "annotation-more",
            signed(|(_, annotations)| drop(annotations.insert("more".to_owned(), "1".to_owned()))),
            "kp23s",
        ),
        (
            "certificate-nonsense",
            signed(|(_, annotations)| {
                annotations.insert("dev.sigstore.cosign/certificate".to_owned(), "x".to_owned());
            }),
            "kps",
        ),
        (
            "entry-nonsense",
            signed(|(_, annotations)| {
                annotations.insert("dev.sigstore.cosign/bundle".to_owned(), "x".to_owned());
            }),
            "kps",
        ),
    ]
}

#[test]
fn all_judges_of_one_table() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let cosigns = [(COSIGN_2, Signer::Cosign2), (COSIGN_3, Signer::Cosign3)];
    let cosigns = cosigns.map(|(judge, signer)| Some((judge, signer.program()?)));
    let [Some(two), Some(three)] = cosigns else { crate::common::not_run!("no cosign") };
    let mut requirement = by_key(&site.first);
    requirement["signedIdentity"] = json!({ "type": "matchRepository" });
    let policy = site.file(&policy(site.host(), &json!([requirement])));
    let registries_d = site.attachments();
    let mut wrong = Vec::new();
    for (row, change, expected) in rows(&site) {
        // The name that is signed is its own, or made of its own.
        let repository =
            if row.starts_with("name-") { "judges/own" } else { &format!("judges/{row}") };
        site.copy("t/unsigned:1", &format!("{repository}:1"));
        let mut text =
            crate::payload(&format!("{}/{repository}", site.host()), &site.image, &Value::Null);
        match &change {
            Payload(change) => {
                let mut value = serde_json::from_str(&text).unwrap();
                change(&mut value);
                text = value.to_string();
            }
            Text(change) => text = change(text),
            Signed(_) => {}
        }
        let mut annotated = (text.clone(), BTreeMap::new());
        annotated.1.insert(SIGNATURE.to_owned(), site.first.sign(text.as_bytes()));
        if let Signed(change) = &change {
            change(&mut annotated);
        }
        site.sign_with(repository, &site.image, &[annotated]);

        let reference = format!("{}/{repository}:1", site.host());
        let mut verdicts = BTreeSet::new();
        let mut by_key = site.work.command();
        let state = tempfile::tempdir().unwrap();
        by_key.args(["verify", "--tls-verify=false", "--key"]).arg(site.first.public());
        by_key.arg("--state-dir").arg(state.path()).arg(&reference);
        let by_key = Outcome::of(&mut by_key);
        assert!(matches!(by_key.code, 0 | 4 | 5), "{row}: {by_key:#?}");
        let mut note = |judge, outcome: &Outcome| {
            if outcome.code == 0 {
                verdicts.insert(judge);
            }
        };
        note(KEY, &by_key);
        note(POLICY, &site.ours(&policy, &registries_d, &reference));
        note(SKOPEO, &site.skopeo(&policy, &registries_d, &reference));
        for (judge, cosign) in [&two, &three] {
            let mut command = Command::new(cosign);
            command.args(["verify", "--insecure-ignore-tlog=true", "--allow-http-registry"]);
            command.arg("--key").arg(site.first.public()).arg(&reference);
            note(*judge, &Outcome::of(&mut command));
        }
        let has = |judge| verdicts.contains(&judge);
        let is_subset =
            (!has(KEY) || has(COSIGN_2) && has(COSIGN_3)) && (!has(POLICY) || has(SKOPEO));
        if is_subset == EXCEPTIONS.contains(&row) {
            wrong.push(format!("{row}: accepted by the program alone"));
        }
        if verdicts != expected.chars().collect() {
            wrong.push(format!("{row}: {}", verdicts.iter().collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
