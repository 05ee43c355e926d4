//! What is legal, but must be said: rows 59a, 61–63, 65.

use tar::EntryType;

use crate::common::command::{Outcome, Workdir};
use crate::common::layout::{Image, Layout};
use crate::common::need;
use crate::common::sign::Key;
use crate::common::tarball::Tarball;
use crate::{expect, key};

/// A layout with a layer, the report of its conversion, and the listing of the image.
fn converted(key: &Key, tar: Tarball) -> (Layout, Outcome, String) {
    let layout = Layout::signed(key, &Image::new(&tar.finish()));
    let work = Workdir::new();
    let public = key.public().display().to_string();
    let outcome =
        work.converts([&*layout.reference(), "--key", &public, "--json", "-v", "-o", "image.raw"]);
    let listing = work.run(["dump", "image.raw"]);
    assert_eq!(listing.code, 0, "{listing:#?}");
    (layout, outcome, listing.stdout)
}

/// Whether the image has a path.
fn has(listing: &str, path: &str) -> bool {
    listing.lines().any(|line| line.split(' ').next() == Some(path))
}

/// Rows 59a and 61: whiteouts and privileged files, with the flags that change what happens.
#[test]
fn rows_59a_and_61_whiteouts_and_privileged_files() {
    let key = need!(key(), "no openssl");
    let mode = |mode| move |header: &mut tar::Header| header.set_mode(mode);
    let tar = Tarball::minimal()
        .file("usr/bin/.wh.gone", b"")
        .dir("usr/share")
        .dir("usr/share/d")
        .file("usr/share/d/.wh..wh..opq", b"")
        .entry("usr/bin/su", EntryType::Regular, "", b"x", mode(0o4755))
        .entry("usr/bin/wall", EntryType::Regular, "", b"x", mode(0o2755))
        .pax_record(
            "SCHILY.xattr.security.capability",
            "\u{1}\0\0\u{2}\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        )
        .file("usr/bin/dumpcap", b"x");
    let (layout, outcome, listing) = converted(&key, tar);
    for path in ["bin/gone", "share/d", "bin/su", "bin/wall", "bin/dumpcap"] {
        assert!(outcome.stdout.contains(path), "{path} in {outcome:#?}");
    }
    assert!(has(&listing, "/usr/bin/su") && !has(&listing, "/usr/bin/gone"), "{listing}");
    assert!(!listing.contains(".wh."), "{listing}");
    expect("59a", "0", &layout, &key, &["--whiteouts", "keep"]);
    expect("59a", "8 sysext.whiteout", &layout, &key, &["--whiteouts", "refuse"]);
    expect("61", "8 sysext.privileged", &layout, &key, &["--deny", "setuid"]);
    // Each of the three is reason enough.
    for (bits, capability) in [(0o4755, false), (0o2755, false), (0o755, true)] {
        let mut tar = Tarball::minimal();
        if capability {
            tar = tar.pax_record(
                "SCHILY.xattr.security.capability",
                "\u{1}\0\0\u{2}\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            );
        }
        let tar = tar.entry("usr/bin/x", EntryType::Regular, "", b"x", mode(bits)).finish();
        let layout = Layout::signed(&key, &Image::new(&tar));
        expect("61", "8 sysext.privileged", &layout, &key, &["--deny", "setuid"]);
    }
}

/// Rows 62 and 63: names of any bytes are kept, and are harmless in what is printed.
#[test]
fn rows_62_and_63_names_of_any_bytes() {
    let key = need!(key(), "no openssl");
    let raw = |header: &mut tar::Header| {
        header.as_mut_bytes()[..13].copy_from_slice(b"usr/bin/caf\xe9s");
        header.set_mode(0o4755);
    };
    let tar = Tarball::minimal()
        .entry("usr/bin/cafes", EntryType::Regular, "", b"x", raw)
        .entry("usr/bin/a\nb\u{1b}[31m\u{7}", EntryType::Regular, "", b"x", |h| h.set_mode(0o4755))
        .entry("usr/bin/\u{202e}", EntryType::Regular, "", b"x", |h| h.set_mode(0o4755));
    let (layout, outcome, listing) = converted(&key, tar);
    assert!(has(&listing, "/usr/bin/caf\\xe9s"), "{listing}");
    assert!(has(&listing, "/usr/bin/a\\nb\\x1b[31m\\x07"), "{listing}");
    assert!(outcome.stdout.contains("caf\\\\xe9s"), "{outcome:#?}");
    let refused = expect("63", "8 sysext.privileged", &layout, &key, &["--deny", "setuid", "-v"]);
    for text in [&outcome.stdout, &outcome.stderr, &refused.stdout, &refused.stderr, &listing] {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
    }
    // A name that is refused is shown in the refusal.
    let hostile = Tarball::minimal().file("usr/../\u{1b}]0;x\u{7}\n", b"x").finish();
    let layout = Layout::signed(&key, &Image::new(&hostile));
    expect("63", "7 layer.archive", &layout, &key, &[]);
}

/// Row 65: the host keeps its own os-release, whatever the layer has of that name.
#[test]
fn row_65_an_os_release_of_the_layer() {
    let key = need!(key(), "no openssl");
    let lib = || Tarball::minimal().dir("usr/lib");
    for tar in [
        lib().file("usr/lib/os-release", b"ID=evil\n"),
        lib().symlink("usr/lib/os-release", "../../etc/shadow"),
        lib().dir("usr/lib/os-release").file("usr/lib/os-release/x", b"x"),
        lib().hard_link("usr/lib/os-release", "usr/bin/tool"),
    ] {
        let (_, outcome, listing) = converted(&key, tar);
        assert!(!listing.contains("/os-release"), "{listing}");
        assert!(outcome.stdout.contains("usr/lib/os-release"), "{outcome:#?}");
        assert!(!outcome.stdout.contains("evil"), "{outcome:#?}");
    }
}
