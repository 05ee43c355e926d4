//! The main job on a real signed image, against the same job done with standard tools.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::command::Workdir;
use common::mount::Mounted;
use common::reference::Reference;
use common::registry::{Options, Registry};
use common::{listing, need, not_run, shared, tools};

/// The port that the image's signature names.
const PORT: u16 = 15099;
const SYSEXTS: &str = "travier/fedora-kinoite/sysexts";

/// The registry with the shared images, one at a time on the port that they were signed for.
struct SharedRegistry {
    registry: Registry,
    _port: MutexGuard<'static, ()>,
}

impl SharedRegistry {
    fn start(storage: PathBuf, port: u16) -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let options = Options { port, storage: Some(storage), ..Options::default() };
        Some(Self { registry: Registry::start(&options)?, _port: turn })
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/{SYSEXTS}:{tag}", self.registry.address())
    }
}

fn key() -> Option<PathBuf> {
    common::data::path("images/e2e-signing-key.pub")
}

/// The image is what GNU tar, setfiles and mkfs.erofs make of the layer, path by path.
#[test]
fn an_image_equals_the_reference_pipeline() {
    let storage = shared!("images/registry-storage");
    let key = need!(key(), "no shared data");
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let mkfs = need!(tools::newest("mkfs.erofs"), "no mkfs.erofs");
    let fsck = need!(tools::newest("fsck.erofs"), "no fsck.erofs");
    need!(tools::system("setfiles").and(tools::system("jq")), "no setfiles or jq");
    need!(tools::newest("skopeo"), "no skopeo");
    let shared = need!(SharedRegistry::start(storage, PORT), "no docker-registry");
    let reference = shared.image("41.mc");

    let work = Workdir::new();
    for compress in ["none", "lz4", "lz4hc"] {
        let image = work.out("mc.raw");
        let outcome = work.converts([&reference, "--key"].into_iter().map(String::from).chain([
            key.display().to_string(),
            "--tls-verify=false".to_owned(),
            "--force".to_owned(),
            // The pipeline adds nothing for the host.
            "--repairs=none".to_owned(),
            format!("--compress={compress}"),
        ]));
        assert!(image.is_file(), "./mc.raw is the default\n{outcome:#?}");
        tools::run(&fsck, [&image]);
        if let Some(old) = tools::system("fsck.erofs") {
            tools::run(&old, [&image]);
        }
        let mounted = Mounted::erofs(&image);
        let release = mounted.path().join("usr/lib/extension-release.d/extension-release.mc");
        let release = fs::read_to_string(release).unwrap();
        let expected = Reference::new(&format!("docker://{reference}"), "mc", &release, &mkfs);
        let expected = Mounted::erofs(&expected.image());
        let difference =
            listing::difference(&listing::of(&expected.path()), &listing::of(&mounted.path()));
        assert!(difference.is_empty(), "--compress={compress}: - reference, + ours\n{difference}");

        let mut lines: Vec<_> = release.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["ARCHITECTURE=x86-64", "ID=fedora", "VERSION_ID=43"]);
    }
}

/// The signature names port 15099: at another it is of another image, unless the user says so.
#[test]
fn a_moved_repository_is_refused_unless_named() {
    let storage = shared!("images/registry-storage");
    let key = need!(key(), "no shared data").display().to_string();
    let shared = need!(SharedRegistry::start(storage, 0), "no docker-registry");
    let image = shared.image("41.mc");
    let work = Workdir::new();
    let common = [image.as_str(), "--tls-verify=false", "--key", key.as_str()];
    work.refuses(5, common);
    let signed = format!("127.0.0.1:{PORT}/{SYSEXTS}");
    for identity in [signed.as_str(), "any"] {
        work.converts(common.into_iter().chain(["--force", "--signed-identity", identity]));
        assert!(work.out("mc.raw").is_file());
    }
    let other = format!("127.0.0.1:{PORT}/other/repository");
    work.refuses(5, common.into_iter().chain(["--force", "--signed-identity", &other]));
}

/// Another key, no signature, no key at all, no such tag.
#[test]
fn what_is_not_signed_by_the_key_is_refused() {
    let storage = shared!("images/registry-storage");
    let key = need!(key(), "no shared data").display().to_string();
    let other = need!(common::data::path("keys"), "no shared data");
    let other = fs::read_dir(other).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    let other = other.display().to_string();
    let shared = need!(SharedRegistry::start(storage, PORT), "no docker-registry");
    let work = Workdir::new();
    let plain = "--tls-verify=false";
    work.refuses(4, [&shared.image("41.mc"), plain, "--key", &other]);
    work.refuses(4, [&shared.image("unsigned"), plain, "--key", &key]);
    work.refuses(3, [&shared.image("41.mc"), plain]);
    work.refuses(10, [&shared.image("41.nothing"), plain, "--key", &key]);
    work.refuses(2, [&shared.image("41.mc"), plain, "--key", &key, "--insecure-skip-signature"]);
    // One good key among several is enough.
    work.converts([&shared.image("41.mc"), plain, "--key", &other, "--key", &key]);
    work.refuses(12, [&shared.image("41.mc"), plain, "--key", &key]);
}

/// The one way round the signature converts, and says each time that it does.
#[test]
fn skipping_the_signature_warns_and_is_recorded() {
    let storage = shared!("images/registry-storage");
    let shared = need!(SharedRegistry::start(storage, PORT), "no docker-registry");
    let work = Workdir::new();
    let image = shared.image("41.mc");
    let outcome =
        work.converts([&image, "--tls-verify=false", "--insecure-skip-signature", "--json"]);
    assert!(outcome.stderr.to_lowercase().contains("signature"), "{outcome:#?}");
    assert!(outcome.json().is_object());
}

/// The report says where each byte came from.
#[test]
fn the_report_names_source_digests_and_changes() {
    let storage = shared!("images/registry-storage");
    let key = need!(key(), "no shared data").display().to_string();
    let shared = need!(SharedRegistry::start(storage, PORT), "no docker-registry");
    let work = Workdir::new();
    let image = shared.image("41.mc");
    let report = work.path("report.json").display().to_string();
    let outcome =
        work.converts([&image, "--tls-verify=false", "--key", &key, "--json", "--report", &report]);
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(outcome.json(), written);
    let text = written.to_string();
    for needle in [
        image.as_str(),
        "sha256:9fa2cc574093e860565bbd096196d1b4a42fd1fa119bac8bd2b604012aea198a",
        "sha256:016073b4b6468dfda62d9ecbd0587ce05dc291ed7b7433437a043ee1c54c5a49",
        "sha256:e26adc76477fd597a6fd43a5dcc44e1ededc3b4d6cebf2ce35cd5f482b566220",
        "etc/ld.so.cache",
        "usr/etc/mc/mc.ext",
        "foo",
    ] {
        assert!(text.contains(needle), "{needle} is not in {written:#}");
    }
}
