//! containers' policy.json, registries.d and registries.conf: the same files for the program and
//! for skopeo, the same images in a real registry, and what each says of them.
//!
//! Whatever the program accepts by a policy, skopeo accepts; where skopeo accepts more, a case
//! says so, and why.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic, too")]

mod common;

#[path = "policy/binding.rs"]
mod binding;
#[path = "policy/cases.rs"]
mod cases;
#[path = "policy/files.rs"]
mod files;
#[path = "policy/fulcio.rs"]
mod fulcio;
#[allow(dead_code, reason = "the tests of bundles need more of it")]
#[path = "bundles/pki.rs"]
mod instance;
#[path = "policy/judges.rs"]
mod judges;
#[path = "policy/mirrors.rs"]
mod mirrors;
#[path = "policy/pki.rs"]
mod pki;
#[path = "policy/verify.rs"]
mod verify;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use common::command::{Outcome, Workdir, sha256};
use common::layout::{Image, Layout, digest};
use common::registry::{Options, Registry};
use common::sign::{Key, Signer};
use common::tarball::Tarball;
use common::tools;
use serde_json::{Value, json};

/// A payload, and what is annotated beside it.
type Annotated = (String, BTreeMap<String, String>);

/// A registry with signed images, and two keys.
struct Site {
    registry: Registry,
    skopeo: PathBuf,
    work: Workdir,
    first: Key,
    second: Key,
    /// The digest of the image that all repositories but `t/index` have.
    image: String,
}

/// One for all tests that run at the same time: what they push is under names of their own.
fn site() -> Option<Arc<Site>> {
    static SITE: Mutex<Weak<Site>> = Mutex::new(Weak::new());
    let mut site = SITE.lock().unwrap_or_else(PoisonError::into_inner);
    site.upgrade().or_else(|| {
        let started = Arc::new(Site::start()?);
        *site = Arc::downgrade(&started);
        Some(started)
    })
}

impl Site {
    fn start() -> Option<Self> {
        // Debian's own has sigstore signatures disabled.
        let skopeo = tools::of(tools::FORKY, "skopeo")?;
        let registry = Registry::start(&Options::default())?;
        let (first, second) = (Signer::OpenSsl.new_key()?, Signer::OpenSsl.new_key()?);
        let image = String::new();
        let mut site = Self { registry, skopeo, work: Workdir::new(), first, second, image };
        let host = site.host().to_owned();
        site.image = site.push("t/unsigned:1", &image_of("2026-01-01T00:00:00Z", &json!({})));
        for repository in ["plain", "tagged", "by-digest", "two", "vendor", "vendor-tag", "other"] {
            let repository = format!("t/{repository}");
            site.copy("t/unsigned:1", &format!("{repository}:1"));
            let name = match &*repository {
                "t/tagged" => format!("{host}/{repository}:1"),
                "t/by-digest" => format!("{host}/{repository}@{}", site.image),
                "t/vendor" => "vendor.example/v/vendor".to_owned(),
                "t/vendor-tag" => "vendor.example/t/vendor-tag:1".to_owned(),
                _ => format!("{host}/{repository}"),
            };
            let payload = payload(&name, &site.image, &Value::Null);
            let mut signatures = vec![(payload.clone(), site.first.sign(payload.as_bytes()))];
            match &*repository {
                "t/two" => {
                    signatures.push((payload.clone(), site.second.sign(payload.as_bytes())));
                }
                "t/other" => {
                    signatures = vec![(payload.clone(), site.second.sign(payload.as_bytes()))];
                }
                _ => {}
            }
            site.sign(&repository, &site.image, &signatures);
        }
        Some(site)
    }

    fn host(&self) -> &str {
        self.registry.address()
    }

    /// Pushes an image to `name` (`repository:tag`); its digest.
    fn push(&self, name: &str, image: &Image) -> String {
        let mut layout = Layout::new();
        let digest = layout.add_image(image);
        self.registry.push(&self.skopeo, &layout.reference(), name);
        digest
    }

    fn copy(&self, from: &str, to: &str) {
        let from = format!("docker://{}/{from}", self.host());
        let mut command = Command::new(&self.skopeo);
        command.args(["copy", "-q", "--preserve-digests", "--all", "--src-tls-verify=false"]);
        command.args(["--dest-tls-verify=false", &from]);
        tools::check(command.arg(format!("docker://{}/{to}", self.host())));
    }

    /// Puts signatures, payloads and what their annotations say, beside what has `digest`.
    fn sign(&self, repository: &str, digest: &str, signatures: &[(String, String)]) {
        let annotated = |(payload, signature): &(String, String)| {
            let name = "dev.cosignproject.cosign/signature".to_owned();
            (payload.clone(), BTreeMap::from([(name, signature.clone())]))
        };
        let signatures: Vec<_> = signatures.iter().map(annotated).collect();
        self.sign_with(repository, digest, &signatures);
    }

    /// The same with all the annotations.
    fn sign_with(&self, repository: &str, digest: &str, signatures: &[Annotated]) {
        let image = signature_image(signatures);
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let source = format!("dir:{}", image.path().display());
        self.registry.push(&self.skopeo, &source, &format!("{repository}:{tag}"));
    }

    /// Pushes an image and a good signature of it, as cosign makes it.
    fn push_signed(&self, repository: &str, tag: &str, image: &Image, optional: &Value) -> String {
        let digest = self.push(&format!("{repository}:{tag}"), image);
        let payload = payload(&format!("{}/{repository}", self.host()), &digest, optional);
        let signature = self.first.sign(payload.as_bytes());
        self.sign(repository, &digest, &[(payload, signature)]);
        digest
    }

    /// A file in the work directory, for the program and for skopeo.
    fn file(&self, text: &str) -> PathBuf {
        let path = self.work.path(&sha256(text.as_bytes()));
        put(&path, text);
        path
    }

    /// A directory in which one file is `text`.
    fn directory(&self, text: &str, name: &str) -> PathBuf {
        let path = self.work.path(&format!("{}.d", sha256(text.as_bytes())));
        fs::create_dir_all(&path).unwrap();
        put(&path.join(name), text);
        path
    }

    /// registries.d that looks for signatures everywhere.
    fn attachments(&self) -> PathBuf {
        self.directory("default-docker: {use-sigstore-attachments: true}\n", "all.yaml")
    }

    /// What the program says of an image by a policy.
    fn ours(&self, policy: &Path, registries_d: &Path, reference: &str) -> Outcome {
        let state = tempfile::tempdir().unwrap();
        let mut command = self.work.command();
        command.args(["verify", "--tls-verify=false", "--policy"]).arg(policy);
        command.arg("--registries.d").arg(registries_d).arg("--state-dir").arg(state.path());
        Outcome::of(command.arg(reference))
    }

    /// Whether skopeo copies an image by a policy.
    fn skopeo(&self, policy: &Path, registries_d: &Path, reference: &str) -> Outcome {
        let out = tempfile::tempdir().unwrap();
        let mut command = Command::new(&self.skopeo);
        command.arg("--policy").arg(policy).arg("--registries.d").arg(registries_d);
        command.args(["copy", "-q", "--src-tls-verify=false", &format!("docker://{reference}")]);
        Outcome::of(command.arg(format!("dir:{}", out.path().display())))
    }
}

/// Writes a file whole: another test may be reading the same.
fn put(path: &Path, text: &str) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.persist(path).unwrap();
}

/// The requirement of a signature by a key file.
fn by_key(key: &Key) -> Value {
    json!({ "type": "sigstoreSigned", "keyPath": key.public() })
}

/// An image built at `created`, with labels.
fn image_of(created: &str, labels: &Value) -> Image {
    let mut image = Image::new(&Tarball::minimal().finish());
    image.config["created"] = json!(created);
    image.config["config"] = json!({ "Labels": labels });
    image
}

/// What cosign signs.
fn payload(name: &str, digest: &str, optional: &Value) -> String {
    json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": optional,
    })
    .to_string()
}

/// An image of signatures, as containers' directory transport keeps images.
fn signature_image(signatures: &[Annotated]) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(image.path().join(name), bytes).unwrap();
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for (payload, annotations) in signatures {
        write(&sha256(payload.as_bytes()), payload.as_bytes());
        diff_ids.push(json!(digest(payload.as_bytes())));
        layers.push(json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "size": payload.len(),
            "digest": digest(payload.as_bytes()),
            "annotations": annotations,
        }));
    }
    let config = json!({
        "architecture": "", "os": "", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    write(&sha256(config.as_bytes()), config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": config.len(),
            "digest": digest(config.as_bytes()),
        },
        "layers": layers,
    });
    write("manifest.json", manifest.to_string().as_bytes());
    write("version", b"Directory Transport Version: 1.1\n");
    image
}
