//! Bases whose ostree commit is in a repository of this host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::command::Outcome;
use crate::common::layout::Image;
use crate::common::tarball::Tarball;
use crate::common::{need, tools};
use crate::price::{GROUPS, encapsulated, plainly, root};
use crate::{Shop, extension};

/// More than documents, headers and the extension.
const LITTLE: u64 = 20 << 10;

/// How often the registry was asked for the first layers of an image.
fn fetches(shop: &Shop, image: &Image, layers: usize) -> usize {
    let layers = image.manifest["layers"].as_array().unwrap()[..layers].to_owned();
    let log = shop.registry.log();
    let is_answer = |line: &&str| line.contains("\"GET /v2/");
    let has = |line: &str| layers.iter().any(|it| line.contains(it["digest"].as_str().unwrap()));
    log.lines().filter(is_answer).filter(|line| has(line)).count()
}

fn warnings(outcome: &Outcome) -> usize {
    outcome.stderr.matches("WARN").count() - 1
}

/// The name of an image, the layers above its base, and options.
type Asking = (&'static str, Vec<Vec<u8>>, &'static [&'static str]);

/// What is done to a file that was moved to another place.
type Change<'c> = &'c dyn Fn(&Path, &Path);

/// Extensions that ask a base for as little as possible, and for much: accounts, links of a merged
/// `/usr`, what they hide, directories of its own, and what a layer between has changed.
fn extensions() -> Vec<Asking> {
    let state = Tarball::minimal()
        .dir("var")
        .dir("var/lib")
        .dir("var/lib/tool")
        .dir("var/tmp")
        .file("var/tmp/left", b"x");
    let merged = Tarball::minimal().dir("sbin").file("sbin/tool2", b"x");
    let hides = Tarball::minimal().file("usr/share/doc/firefox", b"ours");
    let implied = Tarball::new()
        .file("usr/lib/firefox/plugins/tool", b"x")
        .file("usr/share/tool/x", b"x")
        .file("etc/tool.conf", b"x");
    let remainder = Tarball::minimal()
        .file("usr/share/remainder", b"ours")
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\ntool:x:990:990::/:/sbin/nologin\n");
    let chosen = Tarball::minimal()
        .symlink("usr/bin/pager", "/etc/alternatives/pager")
        .symlink("usr/bin/editor", "/etc/alternatives/editor")
        .symlink("etc/alternatives/editor", "/usr/bin/tool");
    let derived = Tarball::new()
        .file(
            "etc/selinux/targeted/contexts/files/file_contexts.local",
            b"/usr/bin/tool\tsystem_u:object_r:local_t:s0\n",
        )
        .file("usr/lib/.wh.os-release", b"")
        .file("etc/os-release", b"ID=derived\nVERSION_ID=7\n");
    vec![
        ("small", vec![extension(b"tool")], &[]),
        ("unlabelled", vec![extension(b"tool")], &["--selinux=none"]),
        ("state", vec![state.finish()], &[]),
        ("merged", vec![merged.finish()], &[]),
        ("hides", vec![hides.finish()], &[]),
        ("implied", vec![implied.finish()], &[]),
        ("remainder", vec![remainder.finish()], &[]),
        ("chosen", vec![chosen.finish()], &[]),
        ("derived", vec![derived.finish(), extension(b"tool")], &["--layers=1"]),
    ]
}

/// Nothing is fetched of the layers that are of the commit, in whatever mode the repository is; the
/// extension is the one that the layers give, be they read by the commit or all of them.
#[test]
fn of_a_commit_in_a_repository_nothing_is_fetched() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let root = root().symlink("alternatives", "usr/etc/alternatives/pager", "/usr/bin/less").file(
        "firefox",
        "usr/bin/less",
        b"less",
    );
    let export = root.export(&ostree, GROUPS);
    let of_base = GROUPS.len() + 1;
    let mut modes = vec!["archive", "bare-user", "bare-user-only"];
    if rustix::process::geteuid().is_root() {
        modes.push("bare");
    }
    let repositories = modes.iter().map(|mode| {
        let (directory, commit) = root.commit(&ostree, mode);
        assert_eq!(commit, export.commit, "{mode}");
        directory
    });
    let repositories: Vec<_> = repositories.collect();
    for (number, (name, above, options)) in extensions().into_iter().enumerate() {
        let image = export.image(&above, true);
        shop.push(name, &image);
        let with = |more: &[&'static str]| [options, more].concat();
        let (expected, _) = shop.convert(name, &with(&["--no-cache", "--no-local-base"]));
        // The first in every mode, the others in one after the other.
        let skipped = number % repositories.len();
        let taken = if number == 0 { repositories.len() } else { 1 };
        for repository in repositories.iter().skip(skipped).take(taken) {
            let argument = format!("--ostree-repo={}", repository.path().display());
            let before = fetches(&shop, &image, of_base);
            let outcome = shop.run(name, &[&with(&["--no-cache"])[..], &[&argument]].concat());
            assert_eq!(outcome.code, 0, "{outcome:#?}");
            let made = fs::read(shop.work.out("tool.raw")).unwrap();
            assert_eq!(fetches(&shop, &image, of_base), before, "{name}");
            assert!(made == expected, "{name}");
            assert!(outcome.stderr.contains("of the base is read from"), "{outcome:#?}");
            assert_eq!(warnings(&outcome), 0, "{outcome:#?}");
        }
        let plain = format!("plain-{name}");
        shop.push(&plain, &export.image(&above, false));
        assert!(shop.convert(&plain, &with(&["--no-cache"])).0 == expected, "{name}");
    }
    let argument = format!("--ostree-repo={}", repositories[0].path().display());
    let (_, bytes) = shop.convert("small", &["--no-cache", &argument]);
    assert!(bytes < LITTLE, "{bytes}");
}

/// An object that was changed, is gone or is no file: the layers are read, a warning says so once,
/// and the extension is the same. A repository without the commit is nothing to warn of.
#[test]
fn a_repository_that_was_changed_changes_the_price_only() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let root = root();
    let export = root.export(&ostree, GROUPS);
    let above = [extension(b"tool")];
    let image = export.image(&above, true);
    shop.push("changed", &image);
    let (expected, _) = shop.convert("changed", &["--no-cache", "--no-local-base"]);
    assert!(expected == plainly(&shop, "changed", &export, &above));
    let (directory, _) = root.commit(&ostree, "bare-user-only");
    let argument = format!("--ostree-repo={}", directory.path().display());
    let object = |checksum: &str, kind: &str| {
        let (first, rest) = checksum.split_at(2);
        directory.path().join("objects").join(first).join(format!("{rest}.{kind}"))
    };
    let contexts = "usr/etc/selinux/targeted/contexts/files/file_contexts";
    let carrier = Path::new(&export.carriers[contexts]);
    let file = directory.path().join(carrier.strip_prefix("sysroot/ostree/repo").unwrap());
    let listed = tools::run(
        &ostree,
        [&format!("--repo={}", directory.path().display()), "ls", "-d", "-C", "base", "/usr/etc"],
    );
    let words: Vec<_> = listed.split_ascii_whitespace().collect();
    let (tree, metadata) = (object(words[4], "dirtree"), object(words[5], "dirmeta"));
    let commit = object(&export.commit, "commit");
    let config = directory.path().join("config");
    let flip = |path: &Path, backup: &Path| {
        let mut bytes = fs::read(backup).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::metadata(backup).unwrap().permissions()).unwrap();
    };
    let gone = |_: &Path, _: &Path| {};
    let fifo = |path: &Path, _: &Path| {
        tools::run(Path::new("/usr/bin/mkfifo"), [path]);
    };
    let link = |path: &Path, backup: &Path| symlink(backup, path).unwrap();
    let huge = |path: &Path, _: &Path| fs::File::create(path).unwrap().set_len(1 << 42).unwrap();
    let other = |path: &Path, backup: &Path| {
        fs::copy(backup, path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let changes: &[(&str, &PathBuf, Change<'_>, usize)] = &[
        ("file", &file, &flip, 1),
        ("mode of a file", &file, &other, 1),
        ("no file", &file, &gone, 1),
        ("fifo", &file, &fifo, 1),
        ("symlink", &file, &link, 1),
        ("huge file", &file, &huge, 1),
        ("directory", &tree, &flip, 1),
        ("huge directory", &tree, &huge, 1),
        ("no directory", &tree, &gone, 0),
        ("metadata", &metadata, &flip, 1),
        ("commit", &commit, &flip, 1),
        ("commit is a fifo", &commit, &fifo, 1),
        ("no commit", &commit, &gone, 0),
        ("configuration", &config, &|path, _| fs::write(path, "[core]\nmode=x\n").unwrap(), 1),
        (
            "another mode",
            &config,
            &|path, _| fs::write(path, "[core]\nmode=bare-user\n").unwrap(),
            1,
        ),
        (
            "repository of a container image",
            &config,
            &|path, _| fs::write(path, "[core]\nmode=bare-split-xattrs\n").unwrap(),
            0,
        ),
        ("no repository", &config, &gone, 0),
    ];
    let backup = shop.work.path("backup");
    for (name, path, change, warned) in changes {
        fs::rename(path, &backup).unwrap();
        change(path, &backup);
        let (start, before) = (Instant::now(), fetches(&shop, &image, GROUPS.len() + 1));
        let outcome = shop.run("changed", &["--no-cache", &argument]);
        assert_eq!(outcome.code, 0, "{name}: {outcome:#?}");
        assert!(fs::read(shop.work.out("tool.raw")).unwrap() == expected, "{name}");
        assert_eq!(warnings(&outcome), *warned, "{name}: {outcome:#?}");
        assert_eq!(fetches(&shop, &image, GROUPS.len() + 1), before + 3, "{name}");
        assert!(start.elapsed() < Duration::from_secs(30), "{name}");
        let _ = fs::remove_file(path);
        fs::rename(&backup, path).unwrap();
    }
    let (made, bytes) = shop.convert("changed", &["--no-cache", &argument]);
    assert!(made == expected && bytes < LITTLE, "{bytes}");
}

/// ostree-ext writes some targets of symlinks otherwise than the commit has them: what they are in the
/// layers decides whether the extension has the same ones.
#[test]
fn a_target_that_layers_have_otherwise_is_theirs() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let root = root().symlink("firefox", "usr/lib/dotted", "../share/./x");
    let same = Tarball::minimal().symlink("usr/lib/dotted", "../share/x").finish();
    let image = root.export(&ostree, GROUPS).image(&[same], true);
    shop.push("dotted", &image);
    let (directory, _) = root.commit(&ostree, "bare-user-only");
    let argument = format!("--ostree-repo={}", directory.path().display());
    let made = ["--no-local-base", &argument].map(|place| {
        let outcome = shop.run("dotted", &["--no-cache", "--deny=shadow", place]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert_eq!(warnings(&outcome), 0, "{outcome:#?}");
        fs::read(shop.work.out("tool.raw")).unwrap()
    });
    assert!(made[0] == made[1]);
}

/// A base that ostree-ext wrote itself, whose objects are put into a repository as its import does:
/// what a commit says of directories is what ostree-ext writes into layers.
#[test]
fn a_commit_that_ostree_ext_encapsulated_is_what_its_layers_have() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let ostree = need!(tools::system("ostree"), "no ostree");
    let directory = tempfile::tempdir().unwrap();
    let repo = format!("--repo={}", directory.path().display());
    tools::run(&ostree, [&repo, "init", "--mode=bare-user-only"]);
    let (of_base, above) = (encapsulated(&[]), extensions());
    for (_, tar) in &of_base.layers {
        let mut archive = tar::Archive::new(tar.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            let Ok(path) = path.strip_prefix("sysroot/ostree/repo") else { continue };
            let end = path.extension().unwrap_or_default().to_str().unwrap();
            if ["commit", "dirtree", "dirmeta", "file"].contains(&end) {
                let path = directory.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                entry.set_preserve_permissions(true);
                entry.unpack(path).unwrap();
            }
        }
    }
    let commit = of_base.config["config"]["Labels"]["ostree.commit"].as_str().unwrap();
    tools::run(&ostree, [&repo, "fsck", "-q"]);
    tools::run(&ostree, [&repo, "refs", "--create=base", commit]);
    tools::run(&ostree, [&repo, "fsck", "-q"]);
    let argument = format!("--ostree-repo={}", directory.path().display());
    for (name, layers, options) in above {
        let image = encapsulated(&layers).image;
        shop.push(name, &image);
        let with = |more: &[&'static str]| [options, more].concat();
        let (expected, _) = shop.convert(name, &with(&["--no-cache", "--no-local-base"]));
        let before = fetches(&shop, &image, of_base.layers.len());
        let (made, _) = shop.convert(name, &[&with(&["--no-cache"])[..], &[&argument]].concat());
        assert_eq!(fetches(&shop, &image, of_base.layers.len()), before, "{name}");
        assert!(made == expected, "{name}");
        let mut plain = image.clone();
        plain.config["config"] = serde_json::json!({});
        shop.push(&format!("plain-{name}"), &plain);
        let (made, _) = shop.convert(&format!("plain-{name}"), &with(&["--no-cache"]));
        assert!(made == expected, "{name}");
    }
}
