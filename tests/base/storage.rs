//! Bases whose layers are in a storage of this host, as skopeo puts them there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::command::Outcome;
use crate::common::faults::noise;
use crate::common::layout::{Layout, digest};
use crate::common::tarball::{Tarball, gzip};
use crate::common::{need, not_run, tools};
use crate::{Shop, base, extension, image, over};

const SIZE: usize = 1 << 20;
/// More than documents, headers and the extension.
const LITTLE: u64 = 20 << 10;

/// What puts layers into storages.
enum Filler {
    /// This system's skopeo.
    Old(PathBuf),
    /// The newest. To unpack layers it starts itself anew, for which it must be in a root of its own.
    New,
}

impl Filler {
    fn all() -> Vec<Self> {
        let old = tools::system("skopeo").map(Self::Old);
        let new = tools::of(tools::FORKY, "skopeo").map(|_| Self::New);
        old.into_iter().chain(new).collect()
    }

    /// Copies an image into a new storage; mounts that are made for that go with it.
    fn fill(&self, driver: &str, storage: &Path, layers: &[Vec<u8>]) {
        let mut layout = Layout::new();
        layout.add_image(&image(layers));
        let run = tempfile::tempdir().unwrap();
        let (storage, run) = (storage.display(), run.path().display());
        let to = format!("containers-storage:[{driver}@{storage}+{run}/run]localhost/base:1");
        let copy = ["copy", "-q", "--insecure-policy", &layout.reference(), &to];
        let mut command = Command::new("unshare");
        command.arg("-m");
        match self {
            Self::Old(skopeo) => command.arg(skopeo),
            Self::New => {
                let root = fs::canonicalize(tools::root().join(tools::FORKY).join("root"));
                command.args(["bash", "-euc", ROOTED, "bash"]).arg(root.unwrap());
                command.arg(format!("{run}/root"))
            }
        };
        tools::check(command.args(copy));
    }
}

const ROOTED: &str = r#"
    from=$1 root=$2
    shift 2
    mkdir "$root"
    mount -t tmpfs none "$root"
    cd "$root"
    mkdir -p usr proc dev tmp etc var/tmp run
    ln -s usr/lib64 usr/lib usr/bin .
    mount --bind "$from/usr" usr
    for place in proc dev tmp var/tmp; do mount --rbind "/$place" "$place"; done
    exec chroot . /usr/bin/skopeo "$@"
"#;

/// What is put in the place of a file.
type Change<'c> = &'c dyn Fn(&Path);

/// A storage with these layers, which is beside the program's directories.
fn storage(shop: &Shop, filler: &Filler, driver: &str, layers: &[Vec<u8>]) -> (PathBuf, String) {
    let path = shop.work.path(&format!("storage-{driver}"));
    let _ = fs::remove_dir_all(&path);
    filler.fill(driver, &path, layers);
    let argument = format!("--containers-storage={}", path.display());
    (path, argument)
}

/// How many warnings there are, but for the one that nobody vouches for the image.
fn warnings(outcome: &Outcome) -> usize {
    outcome.stderr.matches("WARN").count() - 1
}

/// How often the registry was asked for a layer.
fn fetches(shop: &Shop, tar: &[u8]) -> usize {
    let blob = digest(&gzip(tar));
    let log = shop.registry.log();
    log.lines().filter(|line| line.contains("\"GET /v2/") && line.contains(&blob)).count()
}

/// A layer with whatever archives have: names that are no text, long ones, links, attributes, empty
/// files, whiteouts, and a file that nobody may read.
fn varied() -> Vec<u8> {
    let long = format!("usr/share/{}/{}", "d".repeat(100), "f".repeat(120));
    Tarball::new()
        .dir("./usr/")
        .file("usr/share/empty", b"")
        .entry("usr/share/x", tar::EntryType::Regular, "", b"not text", |header| {
            header.as_mut_bytes()[10] = 0xff;
        })
        .pax_record("path", &long)
        .file("short", &noise(700))
        .pax_record("SCHILY.xattr.user.x", "value")
        .file("usr/share/attribute", b"has one")
        .hard_link("usr/share/linked", "usr/share/attribute")
        .symlink("usr/share/link", "linked")
        .entry("usr/share/secret", tar::EntryType::Regular, "", b"secret", |header| {
            header.set_mode(0);
        })
        .file("usr/share/.wh.deleted", b"")
        .file("usr/share/opaque/.wh..wh..opq", b"")
        .file("usr/share/\u{e9}\"\\<&>", b"is escaped")
        .finish()
}

/// The layers of the base are read from the storage, and none is fetched; the extension is the same,
/// and so is what is kept of each layer.
#[test]
fn of_a_base_in_a_storage_nothing_is_fetched() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    if !rustix::process::geteuid().is_root() {
        not_run!("storages are filled by root");
    }
    let mut base = base(SIZE);
    base.insert(1, varied());
    shop.push("first", &over(&base, b"one"));
    let kept = |name: &str| {
        let mut files: Vec<_> = fs::read_dir(shop.work.path(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let cache = |name: &str| format!("--cache-dir={}", shop.work.path(name).display());
    let (expected, bytes) = shop.convert("first", &["--no-local-base", &cache("fetched")]);
    assert!(bytes > 2 * SIZE as u64, "{bytes}");
    let fillers = Filler::all();
    assert!(!fillers.is_empty());
    for (number, filler) in fillers.iter().enumerate() {
        for driver in ["overlay", "vfs"] {
            let (_, argument) = storage(&shop, filler, driver, &base);
            let before: Vec<_> = base.iter().map(|layer| fetches(&shop, layer)).collect();
            let name = format!("read-{number}-{driver}");
            let (made, bytes) = shop.convert("first", &[&argument, &cache(&name)]);
            assert!(bytes < LITTLE, "{driver}: {bytes}");
            let after: Vec<_> = base.iter().map(|layer| fetches(&shop, layer)).collect();
            assert_eq!(before, after);
            assert!(made == expected && kept(&name) == kept("fetched"), "{driver}");
            // What is kept comes first: nothing is said of the storage.
            let outcome = shop.run("first", &[&argument, &cache(&name)]);
            assert!(!outcome.stderr.contains("is read from"), "{outcome:#?}");
            let outcome = shop.run("first", &[&argument, "--no-cache"]);
            assert_eq!(outcome.stderr.matches("of the base is read from").count(), 4);
            assert_eq!(warnings(&outcome), 0, "{outcome:#?}");
        }
    }
    let (_, bytes) = shop.convert("first", &["--no-local-base", "--no-cache"]);
    assert!(bytes > 2 * SIZE as u64, "{bytes}");
}

/// What is asked of layers a second time, and audits, are answered by the storage, too.
#[test]
fn whatever_is_asked_of_a_layer_is_in_its_storage() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    if !rustix::process::geteuid().is_root() {
        not_run!("storages are filled by root");
    }
    // Nobody could foresee where os-release is; the extension hides a library of the base.
    let base = vec![
        Tarball::new()
            .symlink("usr/lib/os-release", "../share/release/this")
            .file("usr/share/release/this", b"ID=other\nVERSION_ID=2\n")
            .file("usr/lib/libtool.so.1", b"old")
            .finish(),
        Tarball::new().file("usr/lib/large", &noise(SIZE)).finish(),
    ];
    let above = Tarball::minimal().file("usr/lib/libtool.so.1", b"new").finish();
    shop.push("asked", &image(&[base.as_slice(), &[above]].concat()));
    let (_, argument) = storage(&shop, &Filler::all().remove(0), "overlay", &base);
    let report = |more: &[&str]| {
        shop.meter.take();
        let always = ["--selinux=none", "--audit-base", "--no-cache", "--json"];
        let outcome = shop.run("asked", &[&always, more].concat());
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let image = fs::read(shop.work.out("tool.raw")).unwrap();
        (image, outcome.stdout, shop.meter.take())
    };
    let (expected, told, bytes) = report(&["--no-local-base"]);
    assert!(bytes > SIZE as u64 && told.contains("libtool.so.1"));
    let (made, tells, bytes) = report(&[&argument]);
    assert!(bytes < LITTLE && made == expected && tells == told, "{bytes}: {tells}");
}

/// Whatever was done to a file of a layer, or to what tells of it: the layer is fetched, a warning
/// says so once, nothing waits, and the extension is the same.
#[test]
fn a_storage_that_was_changed_changes_the_price_only() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    if !rustix::process::geteuid().is_root() {
        not_run!("storages are filled by root");
    }
    let base = base(SIZE);
    shop.push("changed", &over(&base, b"tool"));
    let (expected, _) = shop.convert("changed", &["--no-local-base", "--no-cache"]);
    let (path, argument) = storage(&shop, &Filler::all().remove(0), "overlay", &base);
    let find = |name: &str| {
        let found = tools::run(
            Path::new("/usr/bin/find"),
            [path.to_str().unwrap(), "-path", &format!("*{name}")],
        );
        PathBuf::from(found.lines().next().unwrap())
    };
    let file = find("/diff/usr/lib/second");
    let id = file.strip_prefix(path.join("overlay")).unwrap().components().next().unwrap();
    let id = id.as_os_str().to_str().unwrap().to_owned();
    let tar_split = path.join("overlay-layers").join(format!("{id}.tar-split.gz"));
    let list = path.join("overlay-layers/layers.json");
    let directory = path.join("overlay").join(&id).join("diff/usr/lib");
    let fifo = |path: &Path| _ = tools::run(Path::new("/usr/bin/mkfifo"), [path]);
    let device = |path: &Path| {
        _ = tools::run(Path::new("/bin/mknod"), [path.to_str().unwrap(), "c", "1", "5"]);
    };
    let original = fs::read(&file).unwrap();
    let list_text = fs::read_to_string(&list).unwrap();
    let changes: &[(&str, &Path, Change<'_>)] = &[
        ("contents", &file, &|path| {
            let mut bytes = original.clone();
            bytes[SIZE / 2] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("longer", &file, &|path| fs::write(path, noise(SIZE + 1)).unwrap()),
        ("shorter", &file, &|path| fs::write(path, noise(10)).unwrap()),
        ("huge", &file, &|path| fs::File::create(path).unwrap().set_len(1 << 42).unwrap()),
        ("gone", &file, &|_| {}),
        ("fifo", &file, &fifo),
        ("device", &file, &device),
        ("directory", &file, &|path| fs::create_dir(path).unwrap()),
        ("symlink", &file, &|path| {
            let elsewhere = shop.work.path("elsewhere");
            fs::write(&elsewhere, &original).unwrap();
            symlink(elsewhere, path).unwrap();
        }),
        ("directory is a symlink", &directory, &|path| {
            let elsewhere = shop.work.path("elsewhere-lib");
            fs::create_dir_all(&elsewhere).unwrap();
            fs::write(elsewhere.join("second"), &original).unwrap();
            symlink(elsewhere, path).unwrap();
        }),
        ("tar-split cut", &tar_split, &|path| fs::write(path, gzip(b"{\"type\":2")).unwrap()),
        ("tar-split empty", &tar_split, &|path| fs::write(path, b"").unwrap()),
        ("tar-split of nothing", &tar_split, &|path| fs::write(path, gzip(b"")).unwrap()),
        ("tar-split endless", &tar_split, &|path| {
            fs::write(path, gzip(&vec![b'['; 600 << 20])).unwrap();
        }),
        ("tar-split leads upwards", &tar_split, &|path| {
            let line = br#"{"type":1,"name":"../../../../../etc/passwd","size":1}"#;
            fs::write(path, gzip(line)).unwrap();
        }),
        ("tar-split is a fifo", &tar_split, &fifo),
        ("list is no JSON", &list, &|path| fs::write(path, b"{").unwrap()),
        ("list leads upwards", &list, &|path| {
            fs::write(path, list_text.replace(&id, "../../../../etc")).unwrap();
        }),
        ("list is a fifo", &list, &fifo),
        ("list is huge", &list, &|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];
    let backup = shop.work.path("backup");
    for (name, path, change) in changes {
        fs::rename(path, &backup).unwrap();
        change(path);
        let start = Instant::now();
        shop.meter.take();
        let outcome = shop.run("changed", &[&argument, "--no-cache"]);
        assert_eq!(outcome.code, 0, "{name}: {outcome:#?}");
        assert!(fs::read(shop.work.out("tool.raw")).unwrap() == expected, "{name}");
        assert_eq!(warnings(&outcome), 1, "{name}: {outcome:#?}");
        let bytes = shop.meter.take();
        let all = if path == &list { 2 * SIZE } else { SIZE };
        assert!(bytes > all as u64 && bytes < 3 * SIZE as u64, "{name}: {bytes}");
        assert!(start.elapsed() < Duration::from_secs(30), "{name}");
        let _ = fs::remove_dir(path);
        let _ = fs::remove_file(path);
        fs::rename(&backup, path).unwrap();
    }
    // A layer that cannot be assembled, and no storage at all, are nothing to warn of.
    fs::rename(&tar_split, &backup).unwrap();
    let outcome = shop.run("changed", &[&argument, "--no-cache"]);
    assert!(outcome.code == 0 && warnings(&outcome) == 0, "{outcome:#?}");
    fs::rename(&backup, &tar_split).unwrap();
    let outcome = shop.run("changed", &["--containers-storage=/nowhere", "--no-cache"]);
    assert!(outcome.code == 0 && warnings(&outcome) == 0, "{outcome:#?}");
    // Layers need not outlive a reboot.
    fs::rename(&list, path.join("overlay-layers/volatile-layers.json")).unwrap();
    let (made, bytes) = shop.convert("changed", &[&argument, "--no-cache"]);
    assert!(made == expected && bytes < LITTLE, "{bytes}");
}

/// Each copy may cost as much as the largest layer: of a storage that has nothing of use no more
/// than a few are read, and a run that also audits the base warns once, too.
#[test]
fn a_storage_of_nothing_but_bad_copies_is_soon_left_alone() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    if !rustix::process::geteuid().is_root() {
        not_run!("storages are filled by root");
    }
    let layer =
        |number: u8| Tarball::new().file(&format!("usr/lib/file{number}"), &noise(100)).finish();
    let base: Vec<_> = [Tarball::base().finish()].into_iter().chain((0..8).map(layer)).collect();
    shop.push("bad", &over(&base, b"tool"));
    let options = ["--no-cache", "--audit-base"];
    let (expected, _) = shop.convert("bad", &[&options[..], &["--no-local-base"]].concat());
    let (path, argument) = storage(&shop, &Filler::all().remove(0), "overlay", &base);
    let layers = fs::read_dir(path.join("overlay")).unwrap().map(|entry| entry.unwrap().path());
    for (layer, number) in layers.flat_map(|path| (0..8).map(move |it| (path.clone(), it))) {
        let file = layer.join(format!("diff/usr/lib/file{number}"));
        if file.exists() {
            fs::write(file, [b'x'; 100]).unwrap();
        }
    }
    let outcome = shop.run("bad", &[&options[..], &["-v", &argument]].concat());
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(fs::read(shop.work.out("tool.raw")).unwrap() == expected);
    assert_eq!(warnings(&outcome), 1, "{outcome:#?}");
    assert_eq!(outcome.stderr.matches("is not used").count(), 4, "{outcome:#?}");
}

/// A layer that both have, and one that no storage has: each from where it is.
#[test]
fn a_storage_with_a_part_of_a_base_gives_that_part() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    if !rustix::process::geteuid().is_root() {
        not_run!("storages are filled by root");
    }
    let base = base(SIZE);
    shop.push("part", &over(&base, b"tool"));
    let (expected, _) = shop.convert("part", &["--no-local-base", "--no-cache"]);
    let (_, argument) = storage(&shop, &Filler::all().remove(0), "overlay", &base[..1]);
    let before: Vec<_> = base.iter().map(|layer| fetches(&shop, layer)).collect();
    let (made, bytes) = shop.convert("part", &[&argument, "--no-cache"]);
    let after: Vec<_> = base.iter().map(|layer| fetches(&shop, layer)).collect();
    assert!(made == expected && bytes > SIZE as u64 && bytes < 2 * SIZE as u64, "{bytes}");
    assert_eq!(after, [before[0], before[1] + 1, before[2] + 1]);
    // The extension's own layer is always fetched.
    let (_, both) = storage(&shop, &Filler::all().remove(0), "vfs", &[extension(b"tool")]);
    let (made, _) = shop.convert("part", &[&argument, &both, "--no-cache"]);
    assert!(made == expected);
}
