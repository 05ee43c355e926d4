//! What is fetched of bases whose manifests say what is where.

use std::fs;
use std::io::Read;

use serde_json::Value;

use crate::common::faults::noise;
use crate::common::layout::{Image, digest};
use crate::common::tarball::{Tarball, gzip};
use crate::common::{need, repository, tools};
use crate::ostree::{Export, Root};
use crate::{Shop, extension};

const BIG: usize = 1 << 20;
/// More than documents, headers, and the small layers.
const LITTLE: u64 = 60 << 10;

const CONTEXTS: &str = "usr/etc/selinux/targeted/contexts/files/file_contexts";
pub const GROUPS: &[&str] = &[
    "kernel-core",
    "filesystem,setup",
    "selinux-policy,selinux-policy-targeted",
    "fedora-release-common,fedora-repos",
    "firefox",
    "initramfs,rpmostree-unpackaged-content",
];

pub fn root() -> Root {
    root_with_sbin("usr/bin")
}

fn root_with_sbin(sbin: &str) -> Root {
    Root::new()
        .symlink("filesystem", "bin", "usr/bin")
        .symlink("filesystem", "sbin", sbin)
        .symlink("filesystem", "usr/sbin", "bin")
        .file("setup", "usr/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")
        .file("setup", "usr/etc/group", b"root:x:0:\n")
        .file("rpmostree-unpackaged-content", "usr/lib/passwd", b"daemon:x:2:2:::\n")
        .file("initramfs", "usr/lib/modules/6/initramfs.img", &noise(BIG - 1))
        .file("", "usr/share/remainder", b"of no package")
        .file("selinux-policy", "usr/etc/selinux/config", b"SELINUXTYPE=targeted\n")
        .file(
            "selinux-policy-targeted",
            CONTEXTS,
            b"/.*\tsystem_u:object_r:default_t:s0\n/usr(/.*)?\tsystem_u:object_r:usr_t:s0\n\
              /usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0\n",
        )
        .file("selinux-policy-targeted", &format!("{CONTEXTS}.subs_dist"), b"")
        .symlink("fedora-release-common", "usr/etc/os-release", "../usr/lib/os-release")
        .symlink("fedora-release-common", "usr/lib/os-release", "os.release.d/os-release-test")
        .file(
            "fedora-release-common",
            "usr/lib/os.release.d/os-release-test",
            b"ID=fedora\nVERSION_ID=43\n",
        )
        .file("kernel-core", "usr/lib/modules/6/vmlinuz", &noise(BIG))
        .file("firefox", "usr/lib/firefox/firefox", &noise(BIG + 1))
        .file("firefox", "usr/share/doc/firefox", b"documentation\n")
}

/// How often the registry was asked for the layer of a group.
pub fn fetches(shop: &Shop, export: &Export, group: usize) -> usize {
    let blob = digest(&gzip(&export.layers[group + 1].0));
    let log = shop.registry.log();
    let is_answer = |line: &&str| line.contains("\"GET /v2/") && line.contains(&blob);
    log.lines().filter(is_answer).count()
}

/// The extension that is made when every layer is read, as of any image.
pub fn plainly(shop: &Shop, name: &str, export: &Export, above: &[Vec<u8>]) -> Vec<u8> {
    let name = format!("plain-{name}");
    shop.push(&name, &export.image(above, false));
    shop.convert(&name, &["--no-cache"]).0
}

/// R29: the first layer, and the chunks with os-release and the policy; the second extension reads
/// nothing of the base. Both are what they are when all is read.
#[test]
fn of_an_ostree_base_only_what_is_needed_is_fetched() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    let (first, second) = ([extension(b"one")], [extension(b"another")]);
    let cache = shop.cache();
    shop.push("first", &export.image(&first, true));
    let (made, bytes) = shop.convert("first", &[&cache]);
    assert!(bytes < LITTLE, "{bytes}");
    let fetched: Vec<_> = (0..GROUPS.len()).map(|group| fetches(&shop, &export, group)).collect();
    assert_eq!(fetched, [0, 0, 1, 1, 0, 0], "layers, by how often they were asked for");
    assert!(made == plainly(&shop, "first", &export, &first));

    shop.push("second", &export.image(&second, true));
    let before: Vec<_> = (0..GROUPS.len()).map(|group| fetches(&shop, &export, group)).collect();
    let (made, _) = shop.convert("second", &[&cache]);
    let after: Vec<_> = (0..GROUPS.len()).map(|group| fetches(&shop, &export, group)).collect();
    assert_eq!(before, after);
    assert!(made == plainly(&shop, "second", &export, &second));
    assert!(before.iter().all(|&count| count > 0), "all was read for comparison");
}

/// A base that the real ostree-ext (0.15, `ostree container encapsulate --contentmeta`) exported, in
/// `testdata/base/encapsulated`, and layers above it.
pub struct Encapsulated {
    /// All layers, stored and not; without the base's labels and annotations.
    pub plain: Image,
    /// The same with them.
    pub image: Image,
    /// The base's own.
    pub layers: Vec<(Vec<u8>, Vec<u8>)>,
    pub config: Value,
    described: Vec<Value>,
}

pub fn encapsulated(above: &[Vec<u8>]) -> Encapsulated {
    let layout = repository("testdata/base/encapsulated");
    let document = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let index = fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let manifest = document(&index["manifests"][0]["digest"]);
    let config = document(&manifest["config"]["digest"]);
    let described = manifest["layers"].as_array().unwrap().clone();
    let mut layers = Vec::new();
    for layer in &described {
        let hex = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
        let stored = fs::read(layout.join("blobs/sha256").join(hex)).unwrap();
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut tar).unwrap();
        layers.push((stored, tar));
    }
    let above = above.iter().map(|tar| (gzip(tar), tar.clone()));
    let plain = Image::of_blobs(&layers.iter().cloned().chain(above).collect::<Vec<_>>());
    let mut image = plain.clone();
    image.config["config"] = config["config"].clone();
    for (index, layer) in described.iter().enumerate() {
        if let Some(annotations) = layer.get("annotations") {
            image.manifest["layers"][index]["annotations"] = annotations.clone();
        }
    }
    Encapsulated { plain, image, layers, config, described }
}

/// A layer above a base of ostree-ext's is converted without the chunks of others.
#[test]
fn a_base_that_ostree_ext_encapsulated_is_read_by_its_commit() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let Encapsulated { plain, image, described, .. } = encapsulated(&[extension(b"tool")]);
    shop.push("encapsulated", &image);
    let (made, _) = shop.convert("encapsulated", &["--no-cache"]);
    let log = shop.registry.log();
    let mut fetched = Vec::new();
    for layer in &described {
        let digest = layer["digest"].as_str().unwrap();
        if log.lines().any(|line| line.contains("\"GET /v2/") && line.contains(digest)) {
            fetched.push(layer["annotations"]["ostree.components"].as_str().unwrap_or("first"));
        }
    }
    assert_eq!(fetched, ["first", "selinux-policy-targeted", "fedora-release-common"]);
    shop.push("plain", &plain);
    let (expected, of_all) = shop.convert("plain", &["--no-cache"]);
    assert!(made == expected);

    // With tables of contents nothing tells of the commit, but the tables of all layers do.
    let skopeo = need!(tools::of(tools::FORKY, "skopeo"), "no skopeo 1.22");
    let from = format!("docker://{}/test/encapsulated:1.tool", shop.registry.address());
    shop.push_chunked(&skopeo, &from, "chunked");
    let (made, bytes) = shop.convert("chunked", &["--no-cache"]);
    assert!(made == expected && bytes < of_all / 2, "{bytes} of {of_all}");
}

/// What the policy alone would need is not fetched for the labels of another.
#[test]
fn another_policy_needs_no_layer_of_the_images() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    shop.push("other", &export.image(&[extension(b"tool")], true));
    shop.convert("other", &["--no-cache", "--selinux=none"]);
    assert_eq!(fetches(&shop, &export, 2), 0);
    assert!(fetches(&shop, &export, 3) > 0);
}

/// Who asks for accounts or the links of a merged `/usr` needs their chunks, too (R24, R26).
#[test]
fn more_is_fetched_for_who_needs_more() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    let above = [Tarball::minimal().dir("sbin").file("sbin/tool2", b"x").finish()];
    shop.push("merged", &export.image(&above, true));
    let (made, bytes) = shop.convert("merged", &["--no-cache"]);
    assert!(bytes < LITTLE, "{bytes}");
    assert_eq!([0, 1, 4, 5].map(|group| fetches(&shop, &export, group)), [0, 1, 0, 0]);
    assert!(made == plainly(&shop, "merged", &export, &above));

    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let state = Tarball::minimal().dir("var").dir("var/lib").dir("var/lib/tool").finish();
    let above = [state];
    shop.push("state", &export.image(&above, true));
    let (made, _) = shop.convert("state", &["--no-cache"]);
    assert_eq!([0, 1, 4, 5].map(|group| fetches(&shop, &export, group)), [0, 1, 0, 1]);
    assert!(made == plainly(&shop, "state", &export, &above));
}

/// `sbin` may lead to `usr/sbin`, which leads to `usr/bin`: both are looked for (R26).
#[test]
fn a_merged_sbin_is_followed_to_its_end() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root_with_sbin("usr/sbin").export(&ostree, GROUPS);
    let above = [Tarball::minimal().dir("sbin").file("sbin/tool2", b"x").finish()];
    shop.push("sbin", &export.image(&above, true));
    let (made, _) = shop.convert("sbin", &["--no-cache"]);
    assert!(shop.work.run(["dump", "tool.raw"]).stdout.contains("/usr/bin/tool2"));
    assert!(made == plainly(&shop, "sbin", &export, &above));
}

/// A file that the extension hides is looked for wherever it is: nothing else tells whether it is
/// of the same type (R16).
#[test]
fn what_the_extension_hides_is_found_in_its_chunk() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    for (contents, code) in [
        (Tarball::minimal().file("usr/share/doc/firefox", b"ours"), 0),
        (Tarball::minimal().symlink("usr/share/doc/firefox", "elsewhere"), 7),
    ] {
        let name = format!("hides-{code}");
        let above = [contents.finish()];
        shop.push(&name, &export.image(&above, true));
        shop.push(&format!("plain-{name}"), &export.image(&above, false));
        for name in [&name, &format!("plain-{name}")] {
            let outcome = shop.run(name, &["--no-cache"]);
            assert_eq!(outcome.code, code, "{outcome:#?}");
        }
    }
}

/// Layers above an ostree base are like any others: what they add, change and delete counts.
#[test]
fn derived_layers_change_an_ostree_base() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    let local = "etc/selinux/targeted/contexts/files/file_contexts.local";
    let above = [
        Tarball::new()
            .file(local, b"/usr/bin/tool\tsystem_u:object_r:local_t:s0\n")
            .file("usr/lib/.wh.os-release", b"")
            .file("etc/os-release", b"ID=derived\nVERSION_ID=7\n")
            .file("etc/passwd", b"root:x:0:0:::\nextra:x:5:5:::\n")
            .finish(),
        extension(b"tool"),
    ];
    shop.push("derived", &export.image(&above, true));
    let (made, bytes) = shop.convert("derived", &["--no-cache", "--layers=1"]);
    assert!(bytes < LITTLE, "{bytes}");
    assert!(made == plainly(&shop, "derived", &export, &above));
    let dump = shop.work.run(["dump", "tool.raw"]);
    assert!(dump.stdout.contains("local_t"), "{dump:#?}");
    let explained = shop.work.run(["explain", "tool.raw"]);
    assert!(explained.stdout.contains("derived"), "{explained:#?}");
}

/// A layer above that links to an object of the repository, which some layer has: all are read.
#[test]
fn a_hard_link_into_the_repository_is_followed() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    let object = &export.carriers["usr/lib/os.release.d/os-release-test"];
    let link = Tarball::new().file("etc/.wh.os-release", b"").hard_link("etc/os-release", object);
    let above = [link.finish(), extension(b"tool")];
    shop.push("linked", &export.image(&above, true));
    let (made, _) = shop.convert("linked", &["--no-cache", "--layers=1"]);
    assert!(made == plainly(&shop, "linked", &export, &above));
}

/// A label that names another commit, annotations that name other packages, an object that is not
/// what its name says, a last layer that is none: the same extension, at another price.
#[test]
fn what_is_said_wrongly_changes_the_price_only() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let export = root().export(&ostree, GROUPS);
    let above = [extension(b"tool")];
    let expected = plainly(&shop, "wrong", &export, &above);
    let wrong = |change: &dyn Fn(&mut Image)| {
        let mut image = export.image(&above, true);
        change(&mut image);
        image
    };
    let label = |name: &'static str, value: String| {
        wrong(&move |image: &mut Image| {
            image.config["config"]["Labels"][name] = value.clone().into();
        })
    };
    for (name, image) in [
        ("commit", label("ostree.commit", "0".repeat(64))),
        ("no-commit", label("ostree.commit", "main".to_owned())),
        ("last", label("ostree.final-diffid", digest(b"another"))),
        (
            "components",
            wrong(&|image: &mut Image| {
                for index in 1..=GROUPS.len() {
                    image.manifest["layers"][index]["annotations"] = serde_json::json!({
                        "ostree.components": if index == 1 { "selinux-policy,setup" } else { "x" },
                    });
                }
            }),
        ),
    ] {
        shop.push(name, &image);
        assert!(shop.convert(name, &["--no-cache", "--layers=1"]).0 == expected, "{name}");
    }
}
