//! Real signers: cosign 2 and 3 by key, in both formats, in a registry and in layouts; and what
//! cosign itself says of what we accept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::common::command::{Outcome, Workdir, sha256};
use super::common::registry::{Options, Registry};
use super::common::sign::{Key, Signer};
use super::common::{self, need, tools};
use super::world::{bytes, statement};

/// A registry with the sample image, and cosign 3.
struct Place {
    registry: Registry,
    cosign: PathBuf,
    skopeo: PathBuf,
    key: Key,
    work: Workdir,
    source: String,
    _sample: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        let cosign = Signer::Cosign3.program()?;
        let skopeo = tools::newest("skopeo")?;
        let registry = Registry::start(&Options::default())?;
        let sample = tempfile::tempdir().unwrap();
        let source = common::sample_image(sample.path());
        let key = Signer::Cosign3.new_key()?;
        let work = Workdir::new();
        Some(Self { registry, cosign, skopeo, key, work, source, _sample: sample })
    }

    /// The image under `name`; its reference by digest.
    fn push(&self, name: &str) -> String {
        self.registry.push(&self.skopeo, &self.source, &format!("{name}:1"));
        let digest = self.registry.digest(&self.skopeo, &format!("{name}:1"));
        format!("{}/{name}@{digest}", self.registry.address())
    }

    /// Signs as a bundle.
    fn sign(&self, reference: &str, annotations: &[&str]) {
        let mut command = Command::new(&self.cosign);
        command.env("COSIGN_PASSWORD", "").args(["sign", "-y", "--key"]).arg(self.key.private());
        command.args(["--use-signing-config=false", "--tlog-upload=false"]);
        for annotation in annotations {
            command.args(["-a", annotation]);
        }
        tools::check(command.arg(reference));
    }

    fn verify(&self, image: &str, key: &Path, more: &[&str]) -> Outcome {
        let mut command = self.work.command();
        command.args([
            image,
            "--tls-verify=false",
            "-o",
            "x.raw",
            "--force",
            "--rename",
            "--any-host",
        ]);
        command.args(["--selinux", "none", "--key"]).arg(key).args(more);
        Outcome::of(&mut command)
    }

    /// Whether cosign 3 accepts it by this key.
    fn cosign_accepts(&self, reference: &str, key: &Path) -> bool {
        let mut command = Command::new(&self.cosign);
        command.args(["verify", "--insecure-ignore-tlog=true", "--key"]).arg(key).arg(reference);
        Outcome::of(&mut command).code == 0
    }

    /// Puts a bundle beside an image by hand: where the registry keeps no list, in the tag for it.
    fn attach(&self, reference: &str, bundles: &[Vec<u8>]) {
        let (name, digest) = reference.split_once('@').unwrap();
        let name = name.strip_prefix(&format!("{}/", self.registry.address())).unwrap();
        let layout = tempfile::tempdir().unwrap();
        let blobs = layout.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let blob = |bytes: &[u8], media_type: &str| {
            fs::write(blobs.join(sha256(bytes)), bytes).unwrap();
            json!({
                "mediaType": media_type,
                "size": bytes.len(),
                "digest": format!("sha256:{}", sha256(bytes)),
            })
        };
        let mut entries = Vec::new();
        for bundle in bundles {
            const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
            let size = fs::metadata(self.manifest_of(name, digest)).unwrap().len();
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": BUNDLE,
                "config": blob(b"{}", "application/vnd.oci.empty.v1+json"),
                "layers": [blob(bundle, BUNDLE)],
                "subject": {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "size": size,
                    "digest": digest,
                },
            });
            let manifest = serde_json::to_vec(&manifest).unwrap();
            entries.push(blob(&manifest, "application/vnd.oci.image.manifest.v1+json"));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
        });
        let index = serde_json::to_vec(&index).unwrap();
        let top = json!({
            "schemaVersion": 2,
            "manifests": [blob(&index, "application/vnd.oci.image.index.v1+json")],
        });
        fs::write(layout.path().join("index.json"), top.to_string()).unwrap();
        fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let tag = format!("{name}:{}", digest.replace(':', "-"));
        let mut command = Command::new(&self.skopeo);
        command.args(["copy", "-q", "--all", "--preserve-digests"]);
        command.args(self.registry.skopeo_flags("dest-"));
        command.arg(format!("oci:{}", layout.path().display()));
        tools::check(command.arg(format!("docker://{}/{tag}", self.registry.address())));
    }

    /// A file with the manifest of an image.
    fn manifest_of(&self, name: &str, digest: &str) -> PathBuf {
        let file = self.work.path("manifest.json");
        let mut command = Command::new(&self.skopeo);
        command.args(["inspect", "--raw"]).args(self.registry.skopeo_flags(""));
        command.arg(format!("docker://{}/{name}@{digest}", self.registry.address()));
        fs::write(&file, tools::check(&mut command)).unwrap();
        file
    }

    /// A bundle of any statement, which cosign would not make.
    fn bundle(key: &Key, statement: &Value) -> Vec<u8> {
        let payload = serde_json::to_vec(statement).unwrap();
        let kind = "application/vnd.in-toto+json";
        let signature = key.sign(&super::pki::pae(kind, &payload));
        serde_json::to_vec(&json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "" } },
            "dsseEnvelope": {
                "payload": super::pki::base64(payload),
                "payloadType": kind,
                "signatures": [{ "sig": signature }],
            },
        }))
        .unwrap()
    }
}

/// Both formats of both versions, each alone and together, with the right key and with another.
#[test]
fn what_cosign_signs_is_accepted_in_both_formats() {
    let place = need!(Place::new(), "no cosign 3, docker-registry or skopeo");
    let stranger = Signer::Cosign3.new_key().unwrap();

    let newer = place.push("test/newer");
    place.sign(&newer, &["name=sample"]);
    for name in ["test/older2", "test/older3"] {
        let signer = if name.ends_with('2') { Signer::Cosign2 } else { Signer::Cosign3 };
        if signer.program().is_some() {
            let tag = format!("{name}:1");
            signer.push_signed(&place.registry, &place.key, &place.source, &tag);
        }
    }
    let both = place.push("test/both");
    place.sign(&both, &[]);
    Signer::Cosign3.push_signed(&place.registry, &place.key, &place.source, "test/both:1");
    for name in ["test/newer", "test/older2", "test/older3", "test/both"] {
        let image = format!("{}/{name}:1", place.registry.address());
        let outcome = place.verify(&image, &place.key.public(), &["--json"]);
        assert_eq!(outcome.code, 0, "{name}: {outcome:#?}");
        // The older format names the repository; where there is one, it counts.
        let named = outcome.json()["signature"]["identity_compared"].as_bool().unwrap();
        assert_eq!(named, name != "test/newer", "{name}");
        assert_eq!(outcome.stderr.contains("the name is not signed"), !named, "{outcome:#?}");
        let outcome = place.verify(&image, &stranger.public(), &[]);
        assert_eq!(outcome.code, 4, "{name}: {outcome:#?}");
    }
    // Nobody can demand a name that is not signed.
    let image = format!("{}/test/newer:1", place.registry.address());
    let demanded = format!("{}/test/newer", place.registry.address());
    let outcome = place.verify(&image, &place.key.public(), &["--signed-identity", &demanded]);
    assert_eq!(outcome.code, 5, "{outcome:#?}");
    let unsigned = place.push("test/unsigned");
    assert_eq!(place.verify(&unsigned, &place.key.public(), &[]).code, 4);
}

/// As oras, skopeo and tar copy it: with the bundle in the layout.
#[test]
fn a_layout_keeps_its_bundles() {
    let place = need!(Place::new(), "no cosign 3, docker-registry or skopeo");
    let oras = need!(tools::newest("oras"), "no oras");
    let image = place.push("test/copied");
    place.sign(&image, &[]);
    let layout = place.work.path("layout");
    let mut command = Command::new(oras);
    command.args(["copy", "-r", "--from-plain-http", "--to-oci-layout"]);
    command.arg(format!("{}/test/copied:1", place.registry.address()));
    tools::check(command.arg(format!("{}:1", layout.display())));
    let archive = place.work.path("layout.tar");
    tools::shell("tar -cf \"$2\" -C \"$1\" .", [&layout, &archive]);
    // skopeo copies image and list under their tags, into one layout.
    let copied = place.work.path("copied");
    let digest = image.split_once('@').unwrap().1.replace(':', "-");
    for tag in ["1", &digest] {
        let mut command = Command::new(&place.skopeo);
        command.args(["copy", "-q", "--all", "--preserve-digests"]);
        command.args(place.registry.skopeo_flags("src-"));
        command.arg(format!("docker://{}/test/copied:{tag}", place.registry.address()));
        tools::check(command.arg(format!("oci:{}:{tag}", copied.display())));
    }
    let stranger = Signer::Cosign3.new_key().unwrap();
    for image in [
        format!("oci:{}:1", layout.display()),
        format!("oci:{}", layout.display()),
        format!("oci-archive:{}:1", archive.display()),
        format!("oci-archive:{}", archive.display()),
        format!("oci:{}:1", copied.display()),
        format!("oci:{}", copied.display()),
    ] {
        let outcome = place.verify(&image, &place.key.public(), &[]);
        assert_eq!(outcome.code, 0, "{image}: {outcome:#?}");
        assert_eq!(place.verify(&image, &stranger.public(), &[]).code, 4, "{image}");
    }
}

/// What is changed in a document.
type Change = fn(&mut Value);

/// One table for both: what we accept, cosign 3 accepts. Not the other way round: it does not ask
/// what a statement says of its subject (row 22).
#[test]
fn cosign_accepts_what_we_accept() {
    let place = need!(Place::new(), "no cosign 3, docker-registry or skopeo");
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let stranger = Signer::OpenSsl.new_key().unwrap();
    let good = |reference: &str| {
        let mut good = statement();
        let digest = reference.rsplit_once(':').unwrap().1;
        good["subject"][0]["digest"]["sha256"] = json!(digest);
        good
    };
    let statements: [(&str, Change, bool); 6] = [
        ("good", |_| {}, true),
        ("nopredicate", |s| drop(s.as_object_mut().unwrap().remove("predicate")), true),
        ("sbom", |s| s["predicateType"] = json!("https://spdx.dev/Document"), false),
        ("provenance", |s| s["predicateType"] = json!("https://slsa.dev/provenance/v1"), false),
        ("otherimage", |s| s["subject"][0]["digest"]["sha256"] = json!("00".repeat(32)), false),
        ("sha512", |s| s["subject"][0]["digest"] = json!({ "sha512": "00".repeat(64) }), false),
    ];
    let mut accepted = 0;
    let mut judge = |name: &str, reference: &str, expected: bool| {
        let ours = place.verify(reference, &key.public(), &[]);
        assert_eq!(ours.code, if expected { 0 } else { 4 }, "{name}: {ours:#?}");
        let theirs = place.cosign_accepts(reference, &key.public());
        assert!(!expected || theirs, "{name}: cosign refuses it");
        accepted += usize::from(theirs);
    };
    for (name, change, expected) in statements {
        let reference = place.push(&format!("judge/{name}"));
        let mut statement = good(&reference);
        change(&mut statement);
        place.attach(&reference, &[Place::bundle(&key, &statement)]);
        judge(name, &reference, expected);
    }
    let envelopes: [(&str, Change, bool); 6] = [
        (
            "bit",
            |b| {
                let mut payload = bytes(&b["dsseEnvelope"]["payload"]);
                payload[9] ^= 1;
                b["dsseEnvelope"]["payload"] = json!(super::pki::base64(payload));
            },
            false,
        ),
        ("nosignature", |b| b["dsseEnvelope"]["signatures"] = json!([]), false),
        (
            "twosignatures",
            |b| {
                let one = b["dsseEnvelope"]["signatures"][0].clone();
                b["dsseEnvelope"]["signatures"] = json!([one, one]);
            },
            false,
        ),
        ("payloadtype", |b| b["dsseEnvelope"]["payloadType"] = json!("text/plain"), false),
        (
            "version",
            |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.9+json"),
            false,
        ),
        ("keyid", |b| b["dsseEnvelope"]["signatures"][0]["keyid"] = json!(""), true),
    ];
    for (name, change, expected) in envelopes {
        let reference = place.push(&format!("judge/{name}"));
        let bundle = Place::bundle(&key, &good(&reference));
        let mut bundle: Value = serde_json::from_slice(&bundle).unwrap();
        change(&mut bundle);
        place.attach(&reference, &[serde_json::to_vec(&bundle).unwrap()]);
        judge(name, &reference, expected);
    }
    // Row 14: one by somebody else beside a good one.
    let reference = place.push("judge/beside");
    let statement = good(&reference);
    place.attach(
        &reference,
        &[Place::bundle(&stranger, &statement), Place::bundle(&key, &statement)],
    );
    judge("beside", &reference, true);
    let reference = place.push("judge/stranger");
    place.attach(&reference, &[Place::bundle(&stranger, &good(&reference))]);
    judge("stranger", &reference, false);
    assert!(accepted >= 4, "{accepted}");
}
