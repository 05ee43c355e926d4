//! Archives that are hostile, ambiguous or no extension: rows 46–60, 64, 68. Each is signed, so
//! that the layer is what is refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;

use crate::common::layout::{Image, Layout};
use crate::common::need;
use crate::common::sign::Key;
use crate::common::tarball::{Tarball, gzip, pax_record};
use crate::{expect, key};

const ARCHIVE: &str = "7 layer.archive";
const LIMIT: &str = "9 layer.limit";

fn usr() -> Tarball {
    Tarball::minimal()
}

fn all(key: &Key, cases: Vec<(&str, &str, Vec<u8>)>) {
    for (row, want, tar) in cases {
        expect(row, want, &Layout::signed(key, &Image::new(&tar)), key, &[]);
    }
}

/// Rows 46–51: names, symlinks and hard links.
#[test]
fn rows_46_to_51_names_and_links() {
    let key = need!(key(), "no openssl");
    let cases = vec![
        ("46", ARCHIVE, usr().file("usr/../../etc/passwd", b"x").finish()),
        ("46", ARCHIVE, usr().file("..", b"x").finish()),
        ("46", ARCHIVE, usr().dir("usr/..").finish()),
        ("46", ARCHIVE, usr().file("/usr/bin/absolute", b"x").finish()),
        ("46", ARCHIVE, usr().file("", b"x").finish()),
        ("46", ARCHIVE, usr().pax_record("path", "usr/a\0b").file("usr/a", b"x").finish()),
        ("46", ARCHIVE, usr().file("./", b"x").finish()),
        ("46", ARCHIVE, usr().file(".", b"x").finish()),
        ("46", ARCHIVE, usr().symlink("/", "etc").finish()),
        ("46", "0", usr().dir("./").dir("/").file("./usr/./bin/dotted", b"x").finish()),
        ("47", ARCHIVE, Tarball::new().symlink("usr", "/etc").file("usr/passwd", b"x").finish()),
        ("47", ARCHIVE, usr().symlink("usr/l", "/etc").file("usr/l/passwd", b"x").finish()),
        ("48", ARCHIVE, usr().symlink("/.", "/etc").finish()),
        ("48", ARCHIVE, usr().symlink("./.", "/etc").file("passwd", b"x").finish()),
        ("49", ARCHIVE, usr().symlink("usr/d", "/etc").dir("usr/d").file("usr/d/x", b"x").finish()),
        ("50", ARCHIVE, usr().hard_link("usr/x", "usr/missing").finish()),
        ("50", ARCHIVE, usr().hard_link("usr/x", "../etc/passwd").finish()),
        ("50", ARCHIVE, usr().hard_link("usr/x", "/etc/passwd").finish()),
        ("50", ARCHIVE, usr().hard_link("usr/x", "usr/x").finish()),
        ("50", ARCHIVE, usr().hard_link("usr/x", "usr/bin").finish()),
        ("50", ARCHIVE, usr().hard_link("usr/x", "").finish()),
        ("50", "0", usr().symlink("usr/l", "bin").hard_link("usr/x", "usr/l").finish()),
        ("51", ARCHIVE, usr().file("usr/bin/tool", b"again").finish()),
        ("51", ARCHIVE, usr().file("usr/f", b"x").dir("usr/f").finish()),
        ("51", ARCHIVE, usr().file("usr/f", b"x").symlink("usr/f", "g").finish()),
        ("51", ARCHIVE, usr().dir("usr/f").file("usr/f", b"x").finish()),
    ];
    all(&key, cases);
}

/// Rows 52 and 53: PAX records.
#[test]
fn rows_52_and_53_pax_records() {
    let key = need!(key(), "no openssl");
    let two = pax_record("path", "usr/a") + &pax_record("path", "usr/b");
    let global =
        |record: &str| usr().entry("g", EntryType::XGlobalHeader, "", record.as_bytes(), |_| {});
    let long_name = |tar: Tarball| {
        tar.entry("././@LongLink", EntryType::GNULongName, "", b"usr/long\0", |_| {})
    };
    let x = |tar: Tarball| tar.file("usr/x", b"").finish();
    let sized = |pax: &str, field: u64| {
        let edit = move |header: &mut tar::Header| header.set_size(field);
        usr().pax_record("size", pax).entry("usr/x", EntryType::Regular, "", &[b'x'; 512], edit)
    };
    let cases = vec![
        ("52", ARCHIVE, sized("1", 512).finish()),
        ("52", ARCHIVE, sized("1024", 512).finish()),
        ("52", ARCHIVE, sized("512", 0).finish()),
        ("52", "0", sized("512", 512).finish()),
        ("53", ARCHIVE, x(usr().pax(b"99 path=usr\n"))),
        ("53", ARCHIVE, x(usr().pax(b"path=usr\n"))),
        ("53", ARCHIVE, x(usr().pax(b"11 path=usr"))),
        ("53", ARCHIVE, x(usr().pax(two.as_bytes()))),
        ("53", ARCHIVE, x(usr().pax_record("path", ""))),
        ("53", ARCHIVE, x(usr().pax_record("size", "-1"))),
        ("53", ARCHIVE, x(usr().pax_record("size", "0x0"))),
        ("53", ARCHIVE, x(usr().pax_record("mtime", "never"))),
        ("53", ARCHIVE, x(global(&pax_record("path", "usr/y")))),
        ("53", ARCHIVE, x(global(&pax_record("size", "5")))),
        ("53", ARCHIVE, x(long_name(usr()).pax_record("path", "usr/pax"))),
        ("53", ARCHIVE, x(long_name(usr().pax_record("path", "usr/pax")))),
        ("53", ARCHIVE, x(usr().pax_record("hdrcharset", "KOI8-R"))),
        ("53", ARCHIVE, usr().pax_record("path", "usr/x").finish()),
        ("53", "0", x(usr().pax(b""))),
        ("53", "0", x(usr().pax_record("VENDOR.unknown", "1"))),
        ("53", "0", x(usr().pax_record("hdrcharset", "BINARY"))),
        ("53", "0", x(global(&pax_record("comment", "a commit")))),
    ];
    all(&key, cases);
}

/// Rows 54–57: where an archive and its entries end, and what kinds of entries there are.
#[test]
fn rows_54_to_57_ends_and_kinds() {
    let key = need!(key(), "no openssl");
    let sized =
        |kind, link: &'static str| usr().entry("usr/x", kind, link, &[0; 512], |_| {}).finish();
    let mut checksum = usr().finish();
    checksum[150] ^= 1;
    let cut_short = |declared| {
        usr().entry("usr/x", EntryType::Regular, "", &[b'x'; 512], |h| h.set_size(declared))
    };
    let kind = |flag| usr().entry("usr/x", EntryType::new(flag), "", b"", |_| {}).finish();
    let regions: String =
        (0..1_000_000).fold("1000000\n".to_owned(), |map, n| map + &format!("{}\n1\n", n * 2));
    let sparse = |records: &[(&str, &str)], contents: &[u8]| {
        let records: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        usr().pax(records.as_bytes()).file("usr/x", contents).finish()
    };
    let version_1 =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
    let cases = vec![
        ("54", ARCHIVE, usr().unfinished()),
        ("54", ARCHIVE, Vec::new()),
        ("54", ARCHIVE, [usr().unfinished(), vec![0; 512]].concat()),
        ("54", ARCHIVE, [usr().unfinished(), vec![0; 512], usr().finish()].concat()),
        ("54", ARCHIVE, [usr().finish(), usr().finish()].concat()),
        ("54", ARCHIVE, [usr().finish(), b"x".to_vec()].concat()),
        ("54", "0", [usr().finish(), vec![0; 8192]].concat()),
        ("55", ARCHIVE, sized(EntryType::Directory, "")),
        ("55", ARCHIVE, sized(EntryType::Symlink, "x")),
        ("55", ARCHIVE, sized(EntryType::Link, "usr/bin/tool")),
        ("55", ARCHIVE, kind(b'Z')),
        ("55", ARCHIVE, kind(b'7')),
        ("55", ARCHIVE, kind(b'V')),
        ("55", ARCHIVE, checksum),
        ("56", ARCHIVE, cut_short(1 << 20).finish()),
        ("56", ARCHIVE, cut_short(1024).unfinished()),
        ("57", ARCHIVE, kind(b'S')),
        ("57", ARCHIVE, sparse(&[("GNU.sparse.map", "0,1,2,1")], b"xx")),
        ("57", ARCHIVE, sparse(&[("GNU.sparse.numblocks", "1")], b"xx")),
        ("57", ARCHIVE, sparse(&version_1, regions.as_bytes())),
        ("57", ARCHIVE, sparse(&[("SCHILY.realsize", "9")], b"x")),
    ];
    all(&key, cases);
}

/// Row 58: more, deeper or longer than anybody needs.
#[test]
fn row_58_limits() {
    let key = need!(key(), "no openssl");
    let path = |path: &str| usr().pax_record("path", path).dir("usr/x").finish();
    let xattr = |length| {
        let value = "v".repeat(length);
        usr().pax_record("SCHILY.xattr.user.x", &value).file("usr/x", b"").finish()
    };
    let many_xattrs = (0..5).fold(String::new(), |records, n| {
        records + &pax_record(&format!("SCHILY.xattr.user.{n}"), &"v".repeat(65_000))
    });
    let target = "t/".repeat(2100);
    let cases = vec![
        ("58", LIMIT, path(&format!("usr/{}", "d/".repeat(3000)))),
        ("58", LIMIT, path(&format!("usr/{}", "d/".repeat(128)))),
        ("58", "0", path(&format!("usr/{}", "d/".repeat(127)))),
        ("58", LIMIT, path(&format!("usr/{}", "n".repeat(300)))),
        ("58", LIMIT, path(&format!("usr/{}", "n".repeat(256)))),
        ("58", "0", path(&format!("usr/{}", "n".repeat(255)))),
        ("58", LIMIT, xattr(65_536)),
        ("58", "0", xattr(65_000)),
        ("58", LIMIT, usr().pax(many_xattrs.as_bytes()).file("usr/x", b"").finish()),
        ("58", LIMIT, usr().pax_record("comment", &"x".repeat(2 << 20)).dir("usr/x").finish()),
        ("58", LIMIT, usr().pax_record("linkpath", &target).symlink("usr/x", "t").finish()),
    ];
    all(&key, cases);
}

/// Row 58: 5 million entries, of which the first million are counted.
#[test]
fn row_58_five_million_entries() {
    let key = need!(key(), "no openssl");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&usr().unfinished()).unwrap();
    let header = Tarball::new().dir("usr/0000000").unfinished();
    let mut header: [u8; 512] = header.try_into().unwrap();
    let sum_of = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let sum_of_name = sum_of(b"usr/0000000");
    header[148..156].fill(b' ');
    let sum = sum_of(&header);
    // Five times what is allowed, though only a fifth of it is made: the rest repeats.
    for number in 0..1_000_100 {
        let name = format!("usr/{number:07}");
        header[..11].copy_from_slice(name.as_bytes());
        let sum = sum + sum_of(name.as_bytes()) - sum_of_name;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        encoder.write_all(&header).unwrap();
    }
    let mut stored = encoder.finish().unwrap();
    let repeated = gzip(&header.repeat(4_000));
    for _ in 0..1000 {
        stored.extend_from_slice(&repeated);
    }
    let base = Tarball::base().finish();
    let image = Image::of_blobs(&[(gzip(&base), base), (stored, Vec::new())]);
    let outcome = expect("58", LIMIT, &Layout::signed(&key, &image), &key, &[]);
    assert!(outcome.stderr.contains("--limit entries=N"), "{outcome:#?}");
}

/// Rows 59, 60, 64, 68: what no extension may hold.
#[test]
fn rows_59_60_64_68_no_extension() {
    let key = need!(key(), "no openssl");
    let device = |kind, major, minor| {
        let edit = move |header: &mut tar::Header| {
            header.set_device_major(major).expect("a number");
            header.set_device_minor(minor).expect("a number");
        };
        usr().entry("usr/x", kind, "", b"", edit).finish()
    };
    let xattr =
        |name: &str| usr().pax_record(&format!("SCHILY.xattr.{name}"), "y").dir("usr/x").finish();
    let etc = |tar: Tarball| tar.dir("etc").file("etc/x", b"1").dir("usr/etc");
    let cases = vec![
        ("59", ARCHIVE, device(EntryType::Char, 0, 0)),
        ("59", ARCHIVE, xattr("trusted.overlay.opaque")),
        ("59", ARCHIVE, xattr("user.overlay.whiteout")),
        ("59", ARCHIVE, xattr("system.posix_acl_access")),
        ("60", ARCHIVE, device(EntryType::Char, 5, 1)),
        ("60", ARCHIVE, device(EntryType::Block, 7, 0)),
        ("60", ARCHIVE, device(EntryType::Fifo, 0, 0)),
        ("64", "7 sysext.no-usr", Tarball::new().dir("opt").file("opt/tool", b"x").finish()),
        ("64", "7 sysext.no-usr", Tarball::new().file("usr", b"x").finish()),
        ("68", "7 sysext.two-places", etc(usr()).file("usr/etc/x", b"2").finish()),
        ("68", "7 sysext.two-places", etc(usr()).dir("usr/etc/x").finish()),
        ("68", "0", etc(usr()).file("usr/etc/y", b"2").finish()),
    ];
    all(&key, cases);
}
