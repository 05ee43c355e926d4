//! What an extension hides of its base (rows 61 and 66): `--audit-base` and `--deny`. The judges are
//! the linker, whose libraries they are, and the tools that tell what is in them.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::command::{Outcome, Workdir};
use common::layout::{Image, Layout, digest};
use common::mount::Mounted;
use common::not_run;
use common::tarball::{Tarball, gzip};
use common::tools;
use serde_json::{Value, json};
use tar::EntryType;

/// A library with this soname, as a linker makes it.
fn library(work: &Workdir, soname: &str) -> Vec<u8> {
    let (source, library) = (work.path("x.c"), work.path("x.so"));
    fs::write(&source, "int x(void) { return 1; }\n").expect("a written file");
    let status = Command::new("cc")
        .args(["-shared", "-nostdlib", &format!("-Wl,-soname,{soname}"), "-o"])
        .args([&library, &source])
        .status();
    assert!(status.expect("a C compiler").success());
    fs::read(library).expect("a library")
}

/// A file with a mode, and what its attributes say of its capabilities.
fn file(tar: Tarball, name: &str, contents: &[u8], mode: u32, capabilities: bool) -> Tarball {
    let tar = if capabilities {
        let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let key = b"SCHILY.xattr.security.capability=";
        let length = key.len() + value.len() + 4;
        tar.pax(&[format!("{length} ").as_bytes(), key, &value, b"\n"].concat())
    } else {
        tar
    };
    tar.entry(name, EntryType::Regular, "", contents, |header| header.set_mode(mode))
}

fn image(layers: &[Vec<u8>]) -> Image {
    let blobs: Vec<_> = layers.iter().map(|tar| (gzip(tar), tar.clone())).collect();
    Image::of_blobs(&blobs)
}

fn convert(work: &Workdir, layers: &[Vec<u8>], more: &[&str]) -> Outcome {
    convert_image(work, &image(layers), more)
}

fn convert_image(work: &Workdir, image: &Image, more: &[&str]) -> Outcome {
    let mut layout = Layout::new();
    layout.add_image(image);
    let reference = layout.reference();
    let output = if more.contains(&"--format=composefs") { "demo.cfs" } else { "demo.raw" };
    let common = [&reference, "--insecure-skip-signature", "-o", output, "--force", "--layers=1"];
    work.run(common.iter().chain(&["--selinux=none"]).chain(more))
}

/// A base of two layers, and an extension that hides some of it.
fn layers(work: &Workdir) -> Vec<Vec<u8>> {
    let base = file(Tarball::base().dir("usr/lib64"), "usr/bin/same", b"same", 0o755, false);
    let base = file(base, "usr/bin/mode", b"mode", 0o755, false);
    let base = file(base, "usr/bin/was", b"was", 0o4755, false);
    let base = base
        .file("usr/bin/other", b"one")
        .file("usr/bin/upper", b"lower")
        .file("usr/bin/gone", b"gone")
        .symlink("usr/bin/link", "same")
        .symlink("usr/bin/turned", "same")
        .hard_link("usr/bin/hard", "usr/bin/same")
        .file("usr/lib64/libx.so.1.2", &library(work, "libx.so.1"))
        .file("usr/lib64/liby.so", b"no library");
    let upper = Tarball::new().dir("usr").dir("usr/bin").file("usr/bin/upper", b"upper");
    let upper = upper.file("usr/bin/.wh.gone", b"");
    let tar = Tarball::new().dir("usr").dir("usr/bin").dir("usr/lib64");
    let tar = file(tar, "usr/bin/same", b"same", 0o755, false);
    let tar = file(tar, "usr/bin/mode", b"mode", 0o700, false);
    let tar = file(tar, "usr/bin/was", b"was", 0o4755, false);
    let tar = file(tar, "usr/bin/caps", b"caps", 0o755, true);
    let tar = file(tar, "usr/bin/su", b"su", 0o6755, false);
    let tar = tar
        .file("usr/bin/other", b"two")
        .file("usr/bin/upper", b"upper")
        .file("usr/bin/gone", b"gone")
        .file("usr/bin/new", b"new")
        .symlink("usr/bin/link", "same")
        .symlink("usr/bin/turned", "other")
        .hard_link("usr/bin/hard", "usr/bin/same")
        .file("usr/lib64/libx.so.1.2", &library(work, "libx.so.2"))
        .file("usr/lib64/liby.so", b"still none");
    vec![base.finish(), upper.finish(), tar.finish()]
}

fn differences(audit: &Value) -> Value {
    let hidden = audit["hidden"].as_array().expect("a list");
    hidden
        .iter()
        .map(|it| (it["path"].as_str().unwrap_or_default(), it["differs"].clone()))
        .collect()
}

/// Every format, and whatever is cached, tells the same.
#[test]
fn what_is_hidden_of_the_base_is_told() {
    let work = Workdir::new();
    let layers = layers(&work);
    let (cache, objects) = (work.out("cache"), work.out("objects"));
    let (cache, objects) = (cache.to_str().expect("UTF-8"), objects.to_str().expect("UTF-8"));
    for more in [
        &["--no-cache"][..],
        &["--no-cache", "--compress=none"],
        &["--cache-dir", cache],
        &["--cache-dir", cache],
        &["--no-cache", "--format=composefs", "--objects", objects],
    ] {
        let outcome = convert(&work, &layers, &[more, &["--audit-base", "--json"]].concat());
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let audit = &outcome.json()["audit"];
        let expected = json!({
            "usr/bin/hard": [],
            "usr/bin/link": [],
            "usr/bin/mode": ["mode"],
            "usr/bin/other": ["contents"],
            "usr/bin/same": [],
            "usr/bin/turned": ["target"],
            "usr/bin/upper": [],
            "usr/bin/was": [],
            "usr/lib64/libx.so.1.2": ["contents"],
            "usr/lib64/liby.so": ["contents"],
        });
        assert_eq!(differences(audit), expected);
        let hidden = audit["hidden"].as_array().expect("a list");
        let sonames: Vec<_> = hidden.iter().filter_map(|it| it.get("soname")).collect();
        assert_eq!(sonames, [&json!({ "base": "libx.so.1", "extension": "libx.so.2" })]);
        let privileged = json!([
            { "path": "usr/bin/caps", "gives": ["file capabilities"] },
            { "path": "usr/bin/su", "gives": ["the set-uid bit", "the set-gid bit"] },
        ]);
        assert_eq!(audit["privileged"], privileged);
    }
    let text = convert(&work, &layers, &["--audit-base", "-v", "--no-cache"]).stderr;
    for line in [
        "hides 10 paths of the base, 5 of them the same",
        "/usr/bin/turned: not the same target",
        "/usr/lib64/libx.so.1.2: not the same contents; its soname is libx.so.2, the base's libx.so.1",
        "/usr/bin/su has the set-uid bit, the set-gid bit, and the base's path does not",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

/// The audit changes what is told, and no byte of the image.
#[test]
fn an_audit_changes_no_byte() {
    let work = Workdir::new();
    let layers = layers(&work);
    let image = |more: &[&str]| {
        let outcome = convert(&work, &layers, more);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        fs::read(work.out("demo.raw")).expect("an image")
    };
    assert!(image(&["--no-cache"]) == image(&["--no-cache", "--audit-base"]));
}

/// Rows 61 and 66: each word denies what it names, and leaves nothing behind.
#[test]
fn row_66_what_is_denied_ends_the_run() {
    let work = Workdir::new();
    let base = Tarball::base().file("usr/bin/x", b"x").symlink("usr/bin/l", "x");
    let of = |name: &str, contents: &[u8], mode, capabilities| {
        let tar = Tarball::new().dir("usr").dir("usr/bin");
        file(tar, name, contents, mode, capabilities).finish()
    };
    let same = Tarball::new().dir("usr").dir("usr/bin").file("usr/bin/x", b"x").finish();
    let link = Tarball::new().dir("usr").dir("usr/bin").symlink("usr/bin/l", "x").finish();
    let other = of("usr/bin/x", b"y", 0o644, false);
    let setuid = of("usr/bin/y", b"y", 0o4755, false);
    let caps = of("usr/bin/y", b"y", 0o755, true);
    let deletes = Tarball::new().dir("usr").dir("usr/bin").file("usr/bin/.wh.x", b"");
    let deletes = deletes.file("usr/bin/y", b"y").finish();
    for (layer, arguments, code) in [
        (&other, &["--audit-base"][..], 0),
        (&other, &["--deny=shadow"], 8),
        (&other, &["--deny=shadow", "--audit-base"], 8),
        (&other, &["--deny", "setuid,caps,whiteout"], 0),
        (&same, &["--deny=shadow"], 8),
        (&same, &["--deny=shadow", "--audit-base"], 0),
        (&link, &["--deny=shadow"], 0),
        (&setuid, &["--deny", "setuid"], 8),
        (&setuid, &["--deny", "caps,shadow,whiteout"], 0),
        (&caps, &["--deny", "caps"], 8),
        (&caps, &["--deny", "setuid"], 8),
        (&caps, &["--deny", "shadow", "--deny", "whiteout"], 0),
        (&deletes, &["--deny", "whiteout"], 8),
        (&deletes, &["--deny", "shadow,caps,setuid"], 0),
    ] {
        let _ = fs::remove_file(work.out("demo.raw"));
        let layers = [base.clone().finish(), layer.clone()];
        let outcome = convert(&work, &layers, &[arguments, &["--no-cache"]].concat());
        assert_eq!(outcome.code, code, "{arguments:?} {outcome:#?}");
        assert_eq!(work.out("demo.raw").exists(), code == 0, "{arguments:?}");
    }
}

/// What one audit has read leaves the next one as much room: a report ends no run.
#[test]
fn libraries_that_are_too_many_are_not_read() {
    let work = Workdir::new();
    let names: Vec<_> = (0..12).map(|n| format!("usr/lib64/lib{n}.so")).collect();
    let of = |mut tar: Tarball, names: &[String], byte: u8| {
        for name in names {
            tar = tar.file(name, &vec![byte; 30_000]);
        }
        tar.finish()
    };
    let base = of(Tarball::base().dir("usr/lib64"), &names, b'a');
    let cache = work.out("cache");
    for names in names.chunks(4) {
        let layer = of(Tarball::minimal().dir("usr/lib64"), names, b'b');
        let more = ["--audit-base", "--limit", "text-file=40000", "--cache-dir"];
        let more: Vec<_> = more.into_iter().chain(cache.to_str()).collect();
        let outcome = convert(&work, &[base.clone(), layer], &more);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
    }
}

/// The paths below a directory: `d` and the path of one that is a directory, `f` of another.
fn paths(root: &Path) -> BTreeSet<String> {
    let list = tools::run(
        Path::new("find"),
        [
            root.as_os_str(),
            "-mindepth".as_ref(),
            "1".as_ref(),
            "-type".as_ref(),
            "d".as_ref(),
            "-printf".as_ref(),
            "d%P\\n".as_ref(),
            "-o".as_ref(),
            "-mindepth".as_ref(),
            "1".as_ref(),
            "-printf".as_ref(),
            "f%P\\n".as_ref(),
        ],
    );
    list.lines().map(str::to_owned).collect()
}

/// Opaque directories were not in the audit, nor what is below a directory that a whiteout hides,
/// nor that `usr/etc` hides what the layers of an ostree base have in `etc`. The kernel's overlay
/// of the image over the base, as a host has that, is the judge.
#[test]
fn an_audit_tells_all_that_an_overlay_hides() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let base = [
        "usr/bin/gone",
        "usr/share/d/one",
        "usr/share/d/e/two",
        "usr/share/o/new",
        "usr/share/o/old",
    ];
    let of_etc = ["etc/conf", "etc/d/one", "etc/d/two", "etc/dir/x", "etc/other"];
    let base =
        base.iter().chain(&of_etc).fold(Tarball::base(), |tar, path| tar.file(path, b"base"));
    let layer = Tarball::minimal()
        .file("usr/bin/.wh.gone", b"")
        .file("usr/share/.wh.d", b"")
        .dir("usr/share/o")
        .file("usr/share/o/.wh..wh..opq", b"")
        .file("usr/share/o/new", b"extension")
        .file("usr/etc/conf", b"extension")
        .file("usr/etc/.wh.other", b"")
        .dir("usr/etc/d")
        .file("usr/etc/d/.wh..wh..opq", b"")
        .file("usr/etc/d/two", b"base")
        .file("usr/etc/dir", b"a directory in the base")
        .finish();
    for (of_ostree, hidden) in [(false, 7), (true, 13)] {
        let work = Workdir::new();
        let base =
            if of_ostree { base.clone().symlink("ostree", "sysroot/ostree") } else { base.clone() };
        let base = base.finish();
        let objects = work.out("objects").display().to_string();
        let composefs = ["--format=composefs", "--objects", &objects];
        let [told, of_composefs] = [&[][..], &composefs].map(|format| {
            let more = ["--audit-base", "--whiteouts=keep", "--repairs=none", "--json"];
            let more = [&more, &["--no-cache"][..], format].concat();
            let outcome = convert(&work, &[base.clone(), layer.clone()], &more);
            assert_eq!(outcome.code, 0, "{outcome:#?}");
            differences(&outcome.json()["audit"])
        });
        assert_eq!(told, of_composefs);
        let told: BTreeSet<_> = told.as_object().unwrap().keys().cloned().collect();

        let host = work.path("host");
        fs::create_dir(&host).unwrap();
        fs::write(work.path("base.tar"), &base).unwrap();
        tools::check(
            Command::new("tar").arg("-xf").arg(work.path("base.tar")).arg("-C").arg(&host),
        );
        if of_ostree {
            fs::rename(host.join("etc"), host.join("usr/etc")).unwrap();
        }
        let image = Mounted::erofs(&work.out("demo.raw"));
        let merged = Mounted::overlay(&[&image.path().join("usr"), &host.join("usr")]);
        let (of_host, seen) = (paths(&host.join("usr")), paths(&merged.path()));
        let own = |path: &str| image.path().join("usr").join(path).symlink_metadata().is_ok();
        // Directories that both have are merged.
        let is_hidden =
            |path: &&String| !seen.contains(*path) || path.strip_prefix('f').is_some_and(own);
        let expected: BTreeSet<_> =
            of_host.iter().filter(is_hidden).map(|path| format!("usr/{}", &path[1..])).collect();
        assert_eq!((told.len(), &told), (hidden, &expected), "of ostree: {of_ostree}");
    }
}

/// Row 66 on hosts that ostree or bootc deploys, with a base in whose layers either mark is; and
/// deletions that are kept, each of which was let through with `--deny shadow` alone.
#[test]
fn row_66_is_about_usr_etc_and_whiteouts_too() {
    let work = Workdir::new();
    let base = Tarball::base().file("etc/conf", b"base").file("usr/etc/own", b"base");
    let bootc = base.clone().symlink("ostree", "sysroot/ostree").finish();
    let ostree = base.clone().dir("sysroot/ostree/repo").finish();
    let base = base.finish();
    let of = |path: &str| Tarball::minimal().file(path, b"base").finish();
    let deletes = |path: &str| Tarball::minimal().file(path, b"").finish();
    let (shadow, audit) = (&["--deny=shadow"][..], &["--deny=shadow", "--audit-base"][..]);
    for (base, layer, arguments, code) in [
        (&base, of("etc/conf"), shadow, 0),
        (&base, of("usr/etc/conf"), shadow, 0),
        (&bootc, of("etc/conf"), shadow, 8),
        (&bootc, of("usr/etc/conf"), shadow, 8),
        (&bootc, of("usr/etc/conf/dir/x"), shadow, 8),
        (&bootc, of("usr/etc/new"), shadow, 0),
        (&bootc, of("usr/etc/own"), shadow, 8),
        (&bootc, of("usr/etc/selinux"), shadow, 0),
        (&ostree, of("usr/etc/conf"), shadow, 8),
        (&ostree, of("usr/etc/conf"), audit, 0),
        (&ostree, of("usr/etc/conf/dir/x"), audit, 8),
        (&ostree, of("usr/etc/own"), audit, 0),
        (&base, deletes("usr/lib/.wh.x"), shadow, 8),
        (&base, deletes("usr/lib/.wh..wh..opq"), shadow, 8),
        (&base, deletes("usr/etc/.wh.own"), shadow, 8),
        (&base, deletes("usr/lib/.wh.x"), audit, 0),
        (&base, deletes("usr/etc/.wh.own"), audit, 8),
        (&base, deletes("usr/etc/.wh..wh..opq"), audit, 8),
        (&base, deletes("usr/lib/.wh..wh..opq"), audit, 8),
        (&base, deletes("usr/bin/.wh..wh..opq"), audit, 0),
        (&base, deletes("usr/lib/.wh..wh..opq"), &["--deny=whiteout"], 8),
        (&base, deletes("usr/lib/.wh..wh..opq"), &["--deny=whiteout", "--audit-base"], 8),
    ] {
        let _ = fs::remove_file(work.out("demo.raw"));
        let more = [arguments, &["--no-cache", "--whiteouts=keep", "--repairs=none"]].concat();
        let outcome = convert(&work, &[base.clone(), layer], &more);
        assert_eq!(outcome.code, code, "{arguments:?} {outcome:#?}");
        assert_eq!(work.out("demo.raw").exists(), code == 0, "{arguments:?}");
    }
}

/// The labels of a commit are as good as what the layers have: a copy of the commit on the host,
/// which has no repository in it, changes nothing.
#[test]
fn labels_tell_a_base_that_ostree_deploys() {
    let work = Workdir::new();
    let base = Tarball::base().file("etc/conf", b"base").finish();
    let layer = Tarball::minimal().file("etc/conf", b"extension").finish();
    let mut image = image(&[base.clone(), layer]);
    for (labels, code) in [
        (json!({}), 0),
        (json!({ "ostree.commit": "0".repeat(64), "ostree.final-diffid": digest(&base) }), 8),
    ] {
        image.config["config"] = json!({ "Labels": labels });
        for more in [&["--deny=shadow"][..], &["--deny=shadow", "--audit-base"]] {
            let outcome = convert_image(&work, &image, &[more, &["--no-cache"]].concat());
            assert_eq!(outcome.code, code, "{outcome:#?}");
        }
    }
}

/// The audit once opened the cache again.
#[test]
fn a_bad_cache_is_warned_of_once() {
    let work = Workdir::new();
    let file = work.path("file");
    fs::write(&file, "").unwrap();
    let cache = format!("--cache-dir={}", file.display());
    let layers = [Tarball::base().finish(), Tarball::minimal().finish()];
    let outcome = convert(&work, &layers, &["--audit-base", &cache]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert_eq!(outcome.stderr.matches("is not used as a cache").count(), 1, "{outcome:#?}");
}

/// A directory in which the base has nothing was none of what is hidden.
#[test]
fn an_empty_directory_that_is_hidden_is_told() {
    let work = Workdir::new();
    let base = Tarball::base().dir("usr/share/empty").dir("etc/empty");
    let base = base.symlink("ostree", "sysroot/ostree").finish();
    for (path, code) in [
        ("usr/share/.wh.empty", 8),
        ("usr/share/.wh..wh..opq", 8),
        ("usr/etc/empty", 8),
        ("usr/share/.wh.none", 0),
        ("usr/share/empty/.wh..wh..opq", 0),
        ("usr/share/empty/new", 0),
    ] {
        let layers = [base.clone(), Tarball::minimal().file(path, b"").finish()];
        let more = ["--audit-base", "--whiteouts=keep", "--repairs=none", "--no-cache"];
        let outcome = convert(&work, &layers, &[&more[..], &["--deny=shadow"]].concat());
        assert_eq!(outcome.code, code, "{path} {outcome:#?}");
    }
}

/// Limits held for each layer, and a directory of any number of them could be hidden.
#[test]
fn what_is_hidden_is_limited_over_all_layers() {
    let work = Workdir::new();
    let names = |layer: usize| (0..40).map(move |n| format!("usr/share/d/{layer}-{n}"));
    let mut layers = vec![Tarball::base().finish()];
    layers.extend((0..3).map(|layer| {
        names(layer).fold(Tarball::minimal(), |tar, name| tar.file(&name, b"")).finish()
    }));
    let extension = |name| Tarball::minimal().file(name, b"").finish();
    for (name, limit, code) in [
        ("usr/share/.wh.d", "entries=150", 0),
        ("usr/share/.wh.d", "entries=100", 9),
        ("usr/share/.wh.d", "names=2000", 0),
        ("usr/share/.wh.d", "names=1500", 9),
        ("usr/share/d/new", "entries=100", 0),
        ("usr/share/d/new", "names=1500", 0),
    ] {
        let layers = [&layers[..], &[extension(name)]].concat();
        let more = ["--audit-base", "--whiteouts=keep", "--no-cache", "--limit", limit];
        let outcome = convert(&work, &layers, &more);
        assert_eq!(outcome.code, code, "{name} {limit} {outcome:#?}");
    }
}
