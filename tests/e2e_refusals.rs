//! Bad inputs through the program itself (bad-inputs.md, by row): the exit code, two lines that
//! help, and nothing left behind.

mod common;

use std::fs;

use common::command::Workdir;
use common::layout::{Image, Layout, REPOSITORY, digest, payload};
use common::need;
use common::sign::{Key, Signer};
use common::tarball::{Tarball, gzip, pax_record};
use serde_json::{Value, json};
use tar::EntryType;

/// Payloads, and what their annotations say.
type Offered<'a> = Vec<(&'a str, String)>;
/// How a test spoils an image.
type Edit<'a> = Box<dyn Fn(&mut Image) + 'a>;

fn key() -> Option<Key> {
    Signer::OpenSsl.new_key()
}

/// Converts a layout, which must end with `code`; an older image is there and must stay.
#[track_caller]
fn expect(code: i32, row: &str, layout: &Layout, key: &Key, more: &[&str]) -> String {
    let work = Workdir::new();
    let reference = layout.reference();
    let key = key.public().display().to_string();
    let common = [reference.as_str(), "--key", &key, "-o", "image.raw"];
    println!("row {row}");
    if code == 0 {
        return work.converts(common.iter().chain(more)).stderr;
    }
    fs::write(work.out("image.raw"), "an older image").expect("a written file");
    work.refuses(code, common.iter().chain(&["--force"]).chain(more)).stderr
}

/// Rows 1, 3, 4, 6, 8–12, 14: what is offered as a signature.
#[test]
fn signatures() {
    let (key, stranger) = need!(key().zip(key()), "no openssl");
    let mut layout = Layout::new();
    let image = layout.add_image(&Image::new(&Tarball::minimal().finish()));
    let good = payload(&image);
    let sign = |payload: &str| key.sign(payload.as_bytes());
    let flipped = good.replacen("optional", "optionaL", 1);
    let other = payload(&digest(b"another image"));
    let twice = good.replacen("{\"critical\":", "{\"critical\":{},\"critical\":", 1);
    let case = good.replacen("docker-manifest-digest", "Docker-Manifest-Digest", 1);
    let unknown = good.replacen("{\"identity\"", "{\"extra\":1,\"identity\"", 1);
    let kind = good.replacen("cosign container image signature", "atomic container signature", 1);
    let trailing = format!("{good} x");
    let broken = sign(&good).replacen('M', "!", 1);
    let foreign_name = good.replacen(REPOSITORY, "registry.example/another/image", 1);
    let folded = {
        let text = sign(&good);
        let (head, tail) = text.split_at(20);
        format!("{head}\r\n{tail}")
    };

    let cases: Vec<(&str, i32, Offered)> = vec![
        ("1", 4, vec![]),
        ("3", 4, vec![(&good, stranger.sign(good.as_bytes()))]),
        ("4", 4, vec![(&other, sign(&other))]),
        ("6", 4, vec![(&flipped, sign(&good))]),
        ("8", 4, vec![(&twice, sign(&twice))]),
        ("9", 4, vec![(&case, sign(&case))]),
        ("9", 4, vec![(&unknown, sign(&unknown))]),
        ("10", 4, vec![(&kind, sign(&kind))]),
        ("11", 4, vec![(&trailing, sign(&trailing))]),
        ("12", 4, vec![(&good, broken)]),
        ("12", 4, vec![(&good, String::new())]),
        ("12", 0, vec![(&good, folded)]),
        ("14", 0, vec![(&good, "Z2FyYmFnZQ==".to_owned()), (&good, sign(&good))]),
        ("good", 0, vec![(&good, sign(&good))]),
        ("local name", 0, vec![(&foreign_name, sign(&foreign_name))]),
    ];
    for (row, code, signatures) in cases {
        let mut layout = Layout::new();
        layout.add_image(&Image::new(&Tarball::minimal().finish()));
        let list: Vec<_> = signatures.iter().map(|(p, s)| (p.as_bytes(), s.as_str())).collect();
        if !list.is_empty() {
            layout.add_signatures(&list);
        }
        let stderr = expect(code, row, &layout, &key, &[]);
        assert!(row != "14" || stderr.to_lowercase().contains("warn"), "row 14 warns: {stderr}");
    }

    // Row 5: a local layout has no name of its own, but the one that the user gives counts.
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    expect(0, "5", &layout, &key, &["--signed-identity", REPOSITORY]);
    expect(5, "5", &layout, &key, &["--signed-identity", "registry.example/another/image"]);
}

/// Row 7: a signature's blob that is not what its descriptor says.
#[test]
fn a_changed_signature_blob() {
    let key = need!(key(), "no openssl");
    let mut layout = Layout::new();
    let image = layout.add_image(&Image::new(&Tarball::minimal().finish()));
    let payload = payload(&image);
    layout.add_signatures(&[(payload.as_bytes(), &key.sign(payload.as_bytes()))]);
    let blob = layout.blob(&digest(payload.as_bytes()));
    fs::write(blob, payload.replace("null", "nul1")).unwrap();
    expect(6, "7", &layout, &key, &[]);
}

/// Row 13: more signatures, or larger ones, than anybody makes.
#[test]
fn too_many_signatures_or_too_large() {
    let key = need!(key(), "no openssl");
    let image = Image::new(&Tarball::minimal().finish());
    let mut layout = Layout::new();
    layout.add_image(&image);
    let payloads: Vec<_> = (0..200).map(|n| format!("{{\"n\":{n}}}")).collect();
    let list: Vec<_> = payloads.iter().map(|p| (p.as_bytes(), "AAAA")).collect();
    layout.add_signatures(&list);
    expect(9, "13", &layout, &key, &[]);

    let mut layout = Layout::new();
    layout.add_image(&image);
    let large = vec![b' '; 1 << 20];
    layout.add_signatures(&[(&large, "AAAA")]);
    expect(9, "13", &layout, &key, &[]);
}

/// Rows 18, 93, 100 and the flags that exclude each other.
#[test]
fn keys_and_usage() {
    let key = need!(key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    let reference = layout.reference();
    let work = Workdir::new();
    let write = |name: &str, text: &str| {
        let path = work.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let private = fs::read_to_string(key.private()).unwrap();
    let small = work.path("small.pem").display().to_string();
    common::tools::shell(
        "openssl genrsa -traditional 1024 2>/dev/null | openssl rsa -pubout -out \"$1\" 2>/dev/null",
        [&small],
    );
    for file in [
        write("empty.pub", ""),
        write("private.pub", &private),
        write("text.pub", "not a key\n"),
        work.path("missing.pub").display().to_string(),
        small,
    ] {
        work.refuses(3, [&reference, "--key", &file]);
    }
    work.refuses(3, [&reference]);
    let good = key.public().display().to_string();
    work.refuses(2, [&reference, "--key", &good, "--insecure-skip-signature"]);
    work.refuses(2, ["fedora", "--key", &good]);
    work.refuses(2, ["library/fedora:41", "--key", &good]);
    for digest in ["sha256:../../x", "sha256:ABCD", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        work.refuses(2, [&format!("registry.example/image@{digest}"), "--key", &good]);
    }
    work.refuses(2, [&reference, "--key", &good, "--limit", "nothing=1"]);
    work.refuses(12, [&format!("{reference}:no-such-name"), "--key", &good]);
    work.refuses(12, ["oci:/nonexistent", "--key", &good]);
}

/// Rows 33–35, 40, 41: documents that do not say what they should.
#[test]
fn documents() {
    let key = need!(key(), "no openssl");
    let tar = Tarball::minimal().finish();
    let image = || Image::new(&tar);
    let spoil = |edit: &dyn Fn(&mut Image)| {
        let mut spoilt = image();
        edit(&mut spoilt);
        Layout::signed(&key, &spoilt)
    };
    let set = |value: &mut Value, pointer: &str, new: Value| {
        *value.pointer_mut(pointer).expect("a member") = new;
    };
    let insert = |value: &mut Value, name: &str, new: Value| {
        value.as_object_mut().expect("an object").insert(name.to_owned(), new);
    };
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd+encrypted";
    let cases: Vec<(&str, i32, Edit)> = vec![
        ("good", 0, Box::new(|_| {})),
        ("33", 7, Box::new(|i| insert(i.layer(), "digest", json!("sha256:../../x")))),
        ("33", 7, Box::new(|i| insert(i.layer(), "digest", json!("md5:00")))),
        ("34", 7, Box::new(|i| insert(&mut i.manifest, "manifests", json!([])))),
        ("40", 6, Box::new(|i| set(&mut i.config, "/rootfs/diff_ids/1", json!(digest(b"x"))))),
        ("40", 6, Box::new(|i| set(&mut i.config, "/rootfs/diff_ids", json!([digest(b"x")])))),
        ("41", 7, Box::new(|i| insert(i.layer(), "urls", json!(["http://169.254.169.254/"])))),
        ("41", 7, Box::new(|i| insert(i.layer(), "mediaType", json!(zstd)))),
        ("41", 7, Box::new(|i| insert(i.layer(), "mediaType", json!("text/plain")))),
    ];
    for (row, code, edit) in cases {
        expect(code, row, &spoil(&*edit), &key, &[]);
    }
}

/// Row 39: layers that are not what their descriptors say.
#[test]
fn changed_layers() {
    let key = need!(key(), "no openssl");
    let tar = Tarball::minimal().finish();
    let good = gzip(&tar);
    let mut long = good.clone();
    long.push(0);
    let mut other = good.clone();
    if let Some(byte) = other.last_mut() {
        *byte ^= 1;
    }
    let short = good.get(..good.len() - 1).unwrap().to_vec();
    for bytes in [short, long, other, Vec::new()] {
        let layout = Layout::signed(&key, &Image::new(&tar));
        fs::write(layout.blob(&digest(&good)), bytes).unwrap();
        expect(6, "39", &layout, &key, &[]);
    }
    let layout = Layout::signed(&key, &Image::new(&tar));
    fs::remove_file(layout.blob(&digest(&good))).unwrap();
    expect(12, "39", &layout, &key, &[]);
}

/// Rows 42–45: compression that is broken, divided, or a bomb.
#[test]
fn compression() {
    let key = need!(key(), "no openssl");
    let tar = Tarball::minimal().finish();
    let good = gzip(&tar);
    let (head, tail) = tar.split_at(700);
    let mut garbage = good.clone();
    garbage.extend_from_slice(b"garbage");
    let mut crc = good.clone();
    let at = crc.len() - 8;
    if let Some(byte) = crc.get_mut(at) {
        *byte ^= 0xff;
    }
    let cut = good.get(..good.len() - 9).unwrap().to_vec();
    let members = [gzip(head), gzip(tail)].concat();
    for (row, code, stored) in
        [("42", 7, garbage), ("42", 7, crc), ("42", 7, cut), ("43", 0, members)]
    {
        let base = Tarball::base().finish();
        let image = Image::of_blobs(&[(gzip(&base), base), (stored, tar.clone())]);
        expect(code, row, &Layout::signed(&key, &image), &key, &[]);
    }

    // Row 45 in small: the limits are the user's to set, and hold before the disk is full.
    let zeros = vec![0; 8 << 20];
    let bomb = Tarball::new().dir("usr").file("usr/zeros", &zeros).finish();
    let layout = Layout::signed(&key, &Image::new(&bomb));
    expect(0, "45", &layout, &key, &[]);
    expect(9, "45", &layout, &key, &["--limit", "layer-uncompressed=4M"]);
    expect(9, "45", &layout, &key, &["--limit", "layer-size=1K"]);
}

/// Rows 46–60, 64, 68: archives that are hostile, ambiguous or no extension.
#[test]
fn archives() {
    let key = need!(key(), "no openssl");
    let usr = Tarball::minimal;
    let sized =
        |kind, link: &'static str| usr().entry("usr/x", kind, link, &[0; 512], |_| {}).finish();
    let mut checksum = usr().finish();
    if let Some(byte) = checksum.get_mut(150) {
        *byte ^= 1;
    }
    let cut_short = usr()
        .entry("usr/x", EntryType::Regular, "", &[b'x'; 512], |header| header.set_size(1 << 20))
        .finish();
    let deep = format!("usr/{}", "d/".repeat(2000));
    let long = format!("usr/{}", "n".repeat(300));
    let cases: Vec<(&str, i32, Vec<u8>)> = vec![
        ("46", 7, usr().file("usr/../../etc/passwd", b"x").finish()),
        ("46", 7, usr().file("/usr/bin/absolute", b"x").finish()),
        ("46", 7, usr().file("", b"x").finish()),
        ("46", 7, usr().pax_record("path", "usr/a\0b").file("usr/a", b"x").finish()),
        ("46", 7, usr().file("./", b"x").finish()),
        ("46", 0, usr().dir("./").file("./usr/./bin/dotted", b"x").finish()),
        ("47", 7, Tarball::new().symlink("usr", "/etc").file("usr/passwd", b"x").finish()),
        ("48", 7, usr().symlink("/.", "/etc").finish()),
        ("49", 7, usr().symlink("usr/d", "/etc").dir("usr/d").file("usr/d/x", b"x").finish()),
        ("50", 7, usr().hard_link("usr/x", "usr/missing").finish()),
        ("50", 7, usr().hard_link("usr/x", "../etc/passwd").finish()),
        ("50", 7, usr().hard_link("usr/x", "usr/x").finish()),
        ("50", 7, usr().hard_link("usr/x", "usr/bin").finish()),
        ("50", 0, usr().symlink("usr/l", "bin").hard_link("usr/x", "usr/l").finish()),
        ("51", 7, usr().file("usr/bin/tool", b"again").finish()),
        ("51", 7, usr().file("usr/f", b"x").dir("usr/f").finish()),
        ("52", 7, usr().pax_record("size", "1").file("usr/x", &[b'x'; 512]).finish()),
        ("53", 7, usr().pax(b"99 path=usr\n").file("usr/x", b"").finish()),
        (
            "53",
            7,
            usr()
                .pax((pax_record("path", "usr/a") + &pax_record("path", "usr/b")).as_bytes())
                .file("usr/x", b"")
                .finish(),
        ),
        ("53", 7, usr().pax_record("path", "").file("usr/x", b"").finish()),
        ("53", 7, usr().pax_record("size", "-1").file("usr/x", b"").finish()),
        (
            "53",
            7,
            usr()
                .entry(
                    "g",
                    EntryType::XGlobalHeader,
                    "",
                    pax_record("path", "y").as_bytes(),
                    |_| {},
                )
                .file("usr/x", b"")
                .finish(),
        ),
        ("53", 0, usr().pax_record("VENDOR.unknown", "1").file("usr/x", b"").finish()),
        ("54", 7, usr().unfinished()),
        ("54", 7, [usr().unfinished(), vec![0; 512], usr().finish()].concat()),
        ("54", 7, [usr().finish(), usr().finish()].concat()),
        ("55", 7, sized(EntryType::Directory, "")),
        ("55", 7, sized(EntryType::Symlink, "x")),
        ("55", 7, sized(EntryType::Link, "usr/bin/tool")),
        ("55", 7, usr().entry("usr/x", EntryType::new(b'Z'), "", b"", |_| {}).finish()),
        ("55", 7, checksum),
        ("56", 7, cut_short),
        ("57", 7, usr().entry("usr/x", EntryType::GNUSparse, "", b"", |_| {}).finish()),
        ("58", 9, usr().pax_record("path", &deep).dir("usr/x").finish()),
        ("58", 9, usr().pax_record("path", &long).file("usr/x", b"").finish()),
        (
            "58",
            9,
            usr()
                .pax_record("SCHILY.xattr.user.x", &"v".repeat(70_000))
                .file("usr/x", b"")
                .finish(),
        ),
        ("59", 7, usr().entry("usr/x", EntryType::Char, "", b"", |_| {}).finish()),
        (
            "59",
            7,
            usr().pax_record("SCHILY.xattr.trusted.overlay.opaque", "y").dir("usr/x").finish(),
        ),
        ("60", 7, usr().entry("usr/x", EntryType::Fifo, "", b"", |_| {}).finish()),
        ("60", 7, usr().entry("usr/x", EntryType::Block, "", b"", |_| {}).finish()),
        ("64", 7, Tarball::new().dir("opt").file("opt/tool", b"x").finish()),
        (
            "68",
            7,
            usr().dir("etc").file("etc/x", b"1").dir("usr/etc").file("usr/etc/x", b"2").finish(),
        ),
    ];
    for (row, code, tar) in cases {
        expect(code, row, &Layout::signed(&key, &Image::new(&tar)), &key, &[]);
    }
}

/// Rows 59a, 61–63, 65: what is legal, but must be said.
#[test]
fn what_is_dropped_or_kept_is_reported() {
    let key = need!(key(), "no openssl");
    let tar = Tarball::minimal()
        .file("usr/bin/.wh.gone", b"")
        .entry("usr/bin/su", EntryType::Regular, "", b"x", |header| header.set_mode(0o4755))
        .dir("usr/lib")
        .file("usr/lib/os-release", b"ID=evil\n")
        .file("usr/lib/a\nb\u{1b}[31m", b"x")
        .finish();
    let layout = Layout::signed(&key, &Image::new(&tar));
    expect(0, "59a", &layout, &key, &[]);
    expect(0, "59a", &layout, &key, &["--whiteouts", "keep"]);
    expect(8, "59a", &layout, &key, &["--whiteouts", "refuse"]);
    expect(8, "61", &layout, &key, &["--deny", "setuid"]);

    let work = Workdir::new();
    let public = key.public().display().to_string();
    let outcome = work.converts([&layout.reference(), "--key", &public, "--json"]);
    for path in ["usr/bin/gone", "usr/bin/su", "usr/lib/os-release"] {
        assert!(outcome.stdout.contains(path), "{path} in {outcome:#?}");
    }
    assert!(!outcome.stderr.contains('\u{1b}') && !outcome.stdout.contains('\u{1b}'));
}

/// Rows 69, 70, 95–98: what a base must say of its hosts and labels.
#[test]
fn bases() {
    let key = need!(key(), "no openssl");
    let layer = Tarball::minimal().finish();
    let over = |base: Vec<u8>| {
        let layers = [(gzip(&base), base), (gzip(&layer), layer.clone())];
        Layout::signed(&key, &Image::of_blobs(&layers))
    };
    let contexts = "etc/selinux/targeted/contexts/files/file_contexts";
    let policy = |text: &str| {
        Tarball::new()
            .file("usr/lib/os-release", b"ID=example\nVERSION_ID=1\n")
            .file("etc/selinux/config", b"SELINUXTYPE=targeted\n")
            .file(contexts, text.as_bytes())
            .finish()
    };
    let release = |text: &str| {
        Tarball::new()
            .file("usr/lib/os-release", text.as_bytes())
            .file("etc/selinux/config", b"SELINUXTYPE=targeted\n")
            .file(contexts, b"/.*\tsystem_u:object_r:usr_t:s0\n")
            .finish()
    };
    expect(7, "70", &over(policy("/usr/(\tsystem_u:object_r:usr_t:s0\n")), &key, &[]);
    expect(7, "95", &over(policy("/etc\tsystem_u:object_r:etc_t:s0\n")), &key, &[]);
    let none = Tarball::new().file("usr/lib/os-release", b"ID=example\nVERSION_ID=1\n").finish();
    expect(7, "70", &over(none.clone()), &key, &[]);
    expect(0, "70", &over(none), &key, &["--selinux", "none"]);

    let rolling = expect(0, "97", &over(release("ID=example\n")), &key, &[]);
    assert!(rolling.to_lowercase().contains("warn"), "row 97 warns: {rolling}");
    let unnamed = over(Tarball::new().dir("etc").finish());
    let stderr = expect(7, "96", &unnamed, &key, &[]);
    assert!(stderr.contains("--id") || stderr.contains("--selinux"), "{stderr}");
    expect(0, "96", &unnamed, &key, &["--any-host", "--selinux", "none"]);
    let single = Image::of_blobs(&[(gzip(&layer), layer.clone())]);
    expect(7, "96", &Layout::signed(&key, &single), &key, &[]);
    let empty = Tarball::new().finish();
    expect(7, "98", &Layout::signed(&key, &Image::new(&empty)), &key, &[]);

    let other = Tarball::minimal()
        .dir("usr/lib")
        .dir("usr/lib/extension-release.d")
        .file("usr/lib/extension-release.d/extension-release.image", b"ID=example\nVERSION_ID=9\n")
        .finish();
    expect(5, "69", &Layout::signed(&key, &Image::new(&other)), &key, &[]);
}

/// Rows 83, 94: where the image may not be put.
#[test]
fn outputs() {
    let key = need!(key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    let reference = layout.reference();
    let public = key.public().display().to_string();
    let work = Workdir::new();
    let to = |output: &str| {
        vec![reference.clone(), "--key".into(), public.clone(), "-o".into(), output.into()]
    };
    fs::write(work.out("old.raw"), "old").unwrap();
    work.refuses(12, to("old.raw"));
    fs::create_dir(work.out("directory.raw")).unwrap();
    work.refuses(12, to("missing/image.raw"));
    let forced = |output| to(output).into_iter().chain(["--force".to_owned()]);
    std::os::unix::fs::symlink("old.raw", work.out("link.raw")).unwrap();
    work.refuses(12, forced("link.raw"));
    work.converts(forced("old.raw"));
    assert_ne!(fs::read(work.out("old.raw")).unwrap(), b"old");
    // A directory: the image gets its default name in there.
    work.converts(to("directory.raw/"));
    assert_eq!(fs::read_dir(work.out("directory.raw")).unwrap().count(), 1);
}

/// With `--json` a refusal is an object with a stable id, on standard output alone.
#[test]
fn a_refusal_is_an_object_in_json() {
    let (key, stranger) = need!(key().zip(key()), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    let public = stranger.public().display().to_string();
    let outcome = Workdir::new().refuses(4, [&layout.reference(), "--key", &public, "--json"]);
    let error = outcome.json();
    let id = error.pointer("/error/id").and_then(Value::as_str);
    assert!(id.is_some_and(|id| id.contains('.')), "{error:#}");
}
