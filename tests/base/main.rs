//! What reading a base costs, counted in bytes from a registry; and that what it costs changes
//! nothing of what comes out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "a test")]

#[path = "../common/mod.rs"]
mod common;

mod cache;
mod commits;
mod layouts;
mod ostree;
mod price;
mod repository;
mod storage;
mod tables;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::command::{Outcome, Workdir};
use common::faults::noise;
use common::layout::{Image, Layout};
use common::meter::Meter;
use common::registry::{Options, Registry};
use common::tarball::{Tarball, gzip};
use common::tools;

/// A registry whose bytes are counted.
struct Shop {
    registry: Registry,
    meter: Meter,
    work: Workdir,
}

impl Shop {
    fn open() -> Option<Self> {
        tools::newest("skopeo")?;
        let registry = Registry::start(&Options::default())?;
        let meter = Meter::new(registry.address());
        Some(Self { registry, meter, work: Workdir::new() })
    }

    /// Puts an image into the registry.
    fn push(&self, name: &str, image: &Image) {
        let mut layout = Layout::new();
        layout.add_image(image);
        let skopeo = tools::newest("skopeo").unwrap();
        self.registry.push(&skopeo, &layout.reference(), &format!("test/{name}:1.tool"));
    }

    /// Copies an image into the registry, its layers with tables of contents; where it is then.
    fn push_chunked(&self, skopeo: &Path, from: &str, name: &str) -> String {
        let to = format!("docker://{}/test/{name}:1.tool", self.registry.address());
        let mut copy = Command::new(skopeo);
        copy.args(["copy", "-q", "--dest-compress-format=zstd:chunked"]);
        copy.arg("--dest-force-compress-format");
        copy.args(self.registry.skopeo_flags("src-")).args(self.registry.skopeo_flags("dest-"));
        tools::check(copy.args([from, &to]));
        to
    }

    /// Converts an image; the bytes of the extension, and how many came from the registry.
    fn convert(&self, name: &str, more: &[&str]) -> (Vec<u8>, u64) {
        self.meter.take();
        let outcome = self.run(name, more);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        (fs::read(self.work.out("tool.raw")).unwrap(), self.meter.take())
    }

    fn run(&self, name: &str, more: &[&str]) -> Outcome {
        let mut command = self.work.command();
        command.arg(format!("{}/test/{name}:1.tool", self.meter.address()));
        command.args(["--tls-verify=false", "--insecure-skip-signature", "--force", "-v"]);
        command.arg(self.work.state()).args(more);
        Outcome::of(&mut command)
    }

    /// The argument that gives a run a cache of this test's own.
    fn cache(&self) -> String {
        format!("--cache-dir={}", self.work.path("cache").display())
    }
}

/// A base as several steps of a Containerfile make it: `size` bytes that do not compress above an
/// os-release and a policy, which a later layer customises.
fn base(size: usize) -> Vec<Vec<u8>> {
    let contexts = b"/usr/bin(/.*)?\tsystem_u:object_r:local_bin_t:s0\n";
    let directory = "etc/selinux/targeted/contexts/files";
    vec![
        Tarball::base().file("usr/lib/first", &noise(size)).finish(),
        Tarball::new().file("usr/lib/second", &noise(size)).finish(),
        Tarball::new().file(&format!("{directory}/file_contexts.local"), contexts).finish(),
    ]
}

fn extension(contents: &[u8]) -> Vec<u8> {
    Tarball::new().dir("usr").dir("usr/bin").file("usr/bin/tool", contents).finish()
}

fn image(layers: &[Vec<u8>]) -> Image {
    let layers: Vec<_> = layers.iter().map(|tar| (gzip(tar), tar.clone())).collect();
    Image::of_blobs(&layers)
}

/// An image of `base` and an extension.
fn over(base: &[Vec<u8>], contents: &[u8]) -> Image {
    image(&[base, &[extension(contents)]].concat())
}
