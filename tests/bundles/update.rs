//! `trust update` from a repository of our own, signed by keys of our own, on loopback: what it
//! takes, and that it takes nothing else, and leaves what was there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use oci2sysext::error::Fault;
use oci2sysext::oci::Digest;
use oci2sysext::trust::{Locations, SignerOptions, TrustSources, Words, decide};
use oci2sysext::verify::{CertificateIdentity, Matcher};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};

use super::common::command::{Outcome, Workdir};
use super::common::faults::{Reply, Server};
use super::pki::{Certificates, ISSUER, Pki, SIGNED, SUBJECT, sign};
use super::world::{bundle_verdict, certificate_bundle, good_chain, statement};

const LATER: &str = "2099-01-01T00:00:00Z";
const BEFORE: &str = "2026-01-01T00:00:00Z";

/// A repository, and the program's place.
struct Place {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    server: Server,
    work: Workdir,
    key: KeyPair,
    /// What is fetched in the end.
    target: Vec<u8>,
    version: u64,
    /// When the root, the timestamp, the snapshot and the targets expire.
    expires: [&'static str; 4],
}

/// Canonical JSON, as far as it is needed here: sorted, and nothing to escape.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<_, _> = object.iter().collect();
            let one = |(key, value)| format!("{}:{}", json!(key), canonical(value));
            format!("{{{}}}", sorted.into_iter().map(one).collect::<Vec<_>>().join(","))
        }
        Value::Array(all) => {
            format!("[{}]", all.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn signed(value: &Value, keys: &[(&str, &KeyPair)]) -> Vec<u8> {
    let signature = |(id, key): &(&str, &KeyPair)| {
        let bytes = sign(key, canonical(value).as_bytes());
        json!({ "keyid": id, "sig": hex::encode(bytes) })
    };
    let signatures: Vec<_> = keys.iter().map(signature).collect();
    json!({ "signed": value, "signatures": signatures }).to_string().into_bytes()
}

fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

fn root(version: u64, expires: &str, key: &KeyPair) -> Value {
    let role = json!({ "keyids": ["k"], "threshold": 1 });
    json!({
        "_type": "root", "spec_version": "1.0", "version": version, "expires": expires,
        "consistent_snapshot": false,
        "keys": { "k": {
            "keytype": "ed25519", "scheme": "ed25519",
            "keyval": { "public": hex::encode(key.public_key_raw()) },
        }},
        "roles": { "root": role, "timestamp": role, "snapshot": role, "targets": role },
    })
}

impl Place {
    /// A repository with a good trust root, not yet fetched.
    fn new() -> Self {
        let files = Arc::new(Mutex::new(BTreeMap::<String, Vec<u8>>::new()));
        let published = Arc::clone(&files);
        let server = Server::http(move |request, _| {
            let files = published.lock().unwrap();
            files.get(&request.path).map_or_else(|| Reply::new(404, ""), |file| Reply::ok(&**file))
        });
        let pki = Pki::default();
        let target = pki.trusted_root(&good_chain(&pki)).to_string().into_bytes();
        let (work, key) = (Workdir::new(), new_key());
        let place = Self { files, server, work, key, target, version: 1, expires: [LATER; 4] };
        let first = signed(&root(1, LATER, &place.key), &[("k", &place.key)]);
        fs::write(place.work.path("root.json"), first).unwrap();
        place
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes);
    }

    /// Publishes all of it, signed by `key`.
    fn publish_by(&self, key: &KeyPair) {
        let version = self.version;
        let [_, timestamp, snapshot, targets] = self.expires;
        let head = |kind: &str, expires: &str| json!({ "_type": kind, "spec_version": "1.0", "version": version, "expires": expires });
        let keys = [("k", key)];
        let put = |name: &str, mut signed_part: Value, field: &str, value: Value| {
            signed_part[field] = value;
            let bytes = signed(&signed_part, &keys);
            let about = json!({
                "version": version, "length": bytes.len(),
                "hashes": { "sha256": Digest::of(&bytes).hex() },
            });
            self.put(&format!("/{name}.json"), bytes);
            about
        };
        let of_target = json!({
            "length": self.target.len(), "hashes": { "sha256": Digest::of(&self.target).hex() },
        });
        let of_targets = put(
            "targets",
            head("targets", targets),
            "targets",
            json!({ "trusted_root.json": of_target }),
        );
        let of_snapshot = put(
            "snapshot",
            head("snapshot", snapshot),
            "meta",
            json!({ "targets.json": of_targets }),
        );
        put(
            "timestamp",
            head("timestamp", timestamp),
            "meta",
            json!({ "snapshot.json": of_snapshot }),
        );
        self.put("/targets/trusted_root.json", self.target.clone());
    }

    fn publish(&self) {
        self.publish_by(&self.key);
    }

    fn file(&self) -> PathBuf {
        self.work.path("trust/trusted_root.json")
    }

    fn update(&self) -> Outcome {
        let mut command = self.work.command();
        command.args(["trust", "update", "--mirror", &format!("http://{}/", self.server.host())]);
        command.arg("--root").arg(self.work.path("root.json"));
        Outcome::of(command.arg("--trusted-root").arg(self.file()))
    }

    /// The good one is fetched.
    #[track_caller]
    fn updates(&self) {
        let outcome = self.update();
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert_eq!(fs::read(self.file()).unwrap(), self.target);
    }

    /// Nothing is fetched, and what was there stays.
    #[track_caller]
    fn refuses(&self, code: i32, reason: &str) {
        let before = fs::read(self.file()).ok();
        let outcome = self.update();
        assert_eq!(outcome.code, code, "{outcome:#?}");
        assert!(outcome.stderr.contains(reason), "{reason}: {outcome:#?}");
        assert!(outcome.stderr.contains("help: "), "{outcome:#?}");
        assert_eq!(fs::read(self.file()).ok(), before, "what was there has changed");
    }

    /// A later version of all, with another trust root.
    fn later(&mut self) {
        let pki = Pki::default();
        self.target = pki.trusted_root(&good_chain(&pki)).to_string().into_bytes();
        self.version += 1;
    }
}

#[test]
fn an_update_goes_forward_only() {
    let mut place = Place::new();
    place.publish();
    place.updates();
    place.updates();
    let old = place.files.lock().unwrap().clone();
    place.later();
    place.publish();
    place.updates();
    // Everything as it was once, and properly signed.
    *place.files.lock().unwrap() = old;
    place.refuses(3, "rollback");
    place.later();
    place.publish();
    place.updates();
}

#[test]
fn the_root_is_followed_version_by_version() {
    let mut place = Place::new();
    place.publish();
    place.updates();
    let (old, new) = (std::mem::replace(&mut place.key, new_key()), new_key());
    place.later();
    let second = root(2, LATER, &place.key);
    // The old one must have signed it, and so must the new one.
    for keys in [&[("k", &place.key)][..], &[("k", &old)], &[("k", &new)]] {
        place.put("/2.root.json", signed(&second, keys));
        place.publish();
        place.refuses(3, "root");
    }
    // A version cannot be left out.
    place.put("/2.root.json", signed(&root(3, LATER, &old), &[("k", &old)]));
    place.refuses(3, "version");
    // Both keys have one name here, so that the change is made in two steps.
    let mut both = second.clone();
    both["keys"]["old"] = root(1, LATER, &old)["keys"]["k"].clone();
    both["roles"]["root"]["keyids"] = json!(["k"]);
    let mut first = root(1, LATER, &old);
    first["keys"] = json!({ "old": first["keys"]["k"] });
    for role in ["root", "timestamp", "snapshot", "targets"] {
        first["roles"][role]["keyids"] = json!(["old"]);
    }
    let other = Place { key: place.key, ..Place::new() };
    fs::write(other.work.path("root.json"), signed(&first, &[("old", &old)])).unwrap();
    other.put("/2.root.json", signed(&both, &[("old", &old), ("k", &other.key)]));
    other.publish();
    other.updates();
    // What the old key signs counts no more.
    let mut late = Place { version: 2, ..other };
    late.publish_by(&old);
    late.refuses(3, "threshold");
    late.version = 3;
    late.publish();
    late.updates();
}

#[test]
fn what_is_wrong_is_refused() {
    for (role, at) in [("root", 0), ("timestamp", 1), ("snapshot", 2), ("targets", 3)] {
        let mut place = Place::new();
        place.publish();
        place.updates();
        place.later();
        place.expires[at] = BEFORE;
        let first = signed(&root(1, place.expires[0], &place.key), &[("k", &place.key)]);
        fs::write(place.work.path("root.json"), first).unwrap();
        place.publish();
        place.refuses(3, &format!("{role} metadata expired"));
    }
    let mut place = Place::new();
    place.publish();
    place.updates();
    place.later();
    // By somebody else.
    place.publish_by(&new_key());
    place.refuses(3, "threshold");
    // Another file than the one that was signed.
    place.publish();
    let mut changed = place.target.clone();
    *changed.last_mut().unwrap() = b' ';
    place.put("/targets/trusted_root.json", changed);
    place.refuses(3, "integrity");
    place.put("/targets/trusted_root.json", vec![b' '; place.target.len() + 1]);
    place.refuses(10, "exceeds");
    for name in ["timestamp", "snapshot", "targets"] {
        place.later();
        place.publish();
        place.put(&format!("/{name}.json"), b"{}".to_vec());
        place.refuses(3, "");
    }
    // Signed, but no trust root, or one that is over.
    for nonsense in [&b"nonsense"[..], b"{}", b"[]", b""] {
        place.later();
        place.target = nonsense.to_vec();
        place.publish();
        place.refuses(3, "trust root");
    }
}

#[test]
fn nobody_answers() {
    let place = Place::new();
    place.refuses(10, "timestamp.json");
    let mut command = place.work.command();
    command.args(["trust", "update", "--mirror", "http://127.0.0.1:1/", "--trusted-root"]);
    let outcome = Outcome::of(command.arg(place.file()));
    assert_eq!(outcome.code, 10, "{outcome:#?}");
    let mut command = place.work.command();
    command.args(["trust", "update", "--mirror", "not an address", "--trusted-root"]);
    let outcome = Outcome::of(command.arg(place.file()));
    assert_eq!(outcome.code, 10, "{outcome:#?}");
    assert!(!place.file().exists());
}

/// The root that is compiled in is none of anybody else's repository.
#[test]
fn the_compiled_in_root_accepts_no_other_repository() {
    let place = Place::new();
    place.publish();
    let mut command = place.work.command();
    command.args(["trust", "update", "--mirror", &format!("http://{}", place.server.host())]);
    let outcome = Outcome::of(command.arg("--trusted-root").arg(place.file()));
    assert_eq!(outcome.code, 3, "{outcome:#?}");
    assert!(outcome.stderr.contains("threshold"), "{outcome:#?}");
    assert!(!place.file().exists());
}

/// Conversions read what was fetched; where there is nothing, or all of it is over, the compiled-in
/// root counts. What cannot be read is an error.
#[test]
fn conversions_use_what_was_fetched() {
    let place = Place::new();
    let pki = Pki::default();
    let sources = TrustSources {
        keys_dir: place.work.path("none"),
        compiled_in: vec![],
        locations: Locations { trusted_root: Some(place.file()), ..Locations::default() },
        as_root: false,
    };
    let words = Words {
        signer: SignerOptions {
            identity: Some(CertificateIdentity {
                subject: Matcher::exact(SUBJECT).unwrap(),
                issuer: Matcher::exact(ISSUER).unwrap(),
            }),
            ..SignerOptions::default()
        },
        ..Words::default()
    };
    let bundle = certificate_bundle(&pki, &good_chain(&pki), &statement());
    let accepted = || {
        let decision = decide(&sources, &words, &"q.test/a:1".parse().unwrap());
        let decision = decision.map_err(|error| error.exit_code().number())?;
        let policy = decision.requirements().next().unwrap();
        Ok(bundle_verdict(&bundle, policy).is_ok())
    };
    fs::create_dir(place.file().parent().unwrap()).unwrap();
    let write = |text: &str| fs::write(place.file(), text).unwrap();
    assert_eq!(accepted(), Ok(false));
    write(&pki.trusted_root(&good_chain(&pki)).to_string());
    assert_eq!(accepted(), Ok(true));
    let over = Certificates { root: (SIGNED - 900, SIGNED + 900), ..Certificates::default() };
    write(&pki.trusted_root(&pki.chain(&over)).to_string());
    assert_eq!(accepted(), Ok(false));
    write("nonsense");
    assert_eq!(accepted(), Err(3));
}
