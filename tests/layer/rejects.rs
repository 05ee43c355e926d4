//! Named rejects: each bad form of a layer once, with the exit code and the words it must get.
//!
//! `O2S_BLESS=1` writes `testdata/reject/layer` anew.

use std::path::PathBuf;

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::layer::{self, Fate, LayerOptions};
use oci2sysext::limits::Limits;

use crate::blob::{Layer, MemorySink, gzip};
use crate::tars::{Header, Tar, record};

const MALFORMED: ExitCode = ExitCode::Malformed;
const LIMIT: ExitCode = ExitCode::Limit;

struct Reject {
    name: &'static str,
    layer: Layer,
    exit: ExitCode,
    text: &'static str,
}

fn reject(name: &'static str, layer: Layer, exit: ExitCode, text: &'static str) -> Reject {
    Reject { name, layer, exit, text }
}

/// A reject that is an uncompressed tar.
fn bad(name: &'static str, tar: impl AsRef<[u8]>, text: &'static str) -> Reject {
    reject(name, Layer::tar(tar.as_ref()), MALFORMED, text)
}

fn good() -> Vec<u8> {
    Tar::new().dir(b"usr/").file(b"usr/x", &b"0123456789abcdef".repeat(64)).end()
}

fn number(exit: ExitCode) -> u8 {
    match exit {
        ExitCode::Malformed => 7,
        ExitCode::Limit => 9,
        other => panic!("no reject has {other:?}"),
    }
}

fn compressed() -> Vec<Reject> {
    let tar = good();
    let gz = gzip(&tar);
    let (last, rest) = (gz.len() - 1, gz.len() / 2);
    let mut bad_crc = gz.clone();
    bad_crc[last - 7] ^= 1;
    let gzip = |stored: Vec<u8>| Layer::new(stored, "tar+gzip", &tar);
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, &tar).unwrap();
    let zst = encoder.finish().unwrap();
    let mut bad_sum = zst.clone();
    *bad_sum.last_mut().unwrap() ^= 1;
    let zstd = |stored: Vec<u8>| Layer::new(stored, "tar+zstd", &tar);
    let skippable = [&b"\x50\x2a\x4d\x18\x04\0\0\0abcd"[..], &zst].concat();
    vec![
        reject(
            "row42-trailing-garbage",
            gzip([&gz[..], b"garbage after it"].concat()),
            MALFORMED,
            "gzip: invalid gzip header",
        ),
        reject(
            "row42-zero-padding",
            gzip([&gz[..], &[0; 512]].concat()),
            MALFORMED,
            "gzip: invalid gzip header",
        ),
        reject("row42-bad-crc", gzip(bad_crc), MALFORMED, "gzip: corrupt gzip stream"),
        reject("row42-truncated", gzip(gz[..rest].to_vec()), MALFORMED, "end too early"),
        reject("row42-truncated-trailer", gzip(gz[..last].to_vec()), MALFORMED, "end too early"),
        reject("row42-empty", gzip(Vec::new()), MALFORMED, "end too early"),
        reject("row42-not-gzip", gzip(tar.clone()), MALFORMED, "gzip: invalid gzip header"),
        // Window 2 GiB: exponent 21, mantissa 0.
        reject(
            "row44-window",
            zstd(b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0".to_vec()),
            LIMIT,
            "found 2147483648 bytes of zstd window, expected at most 134217728",
        ),
        reject(
            "row44-dictionary",
            zstd(b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\0\0".to_vec()),
            MALFORMED,
            "zstd: found a frame with a dictionary",
        ),
        reject("row44-bad-checksum", zstd(bad_sum), MALFORMED, "zstd: "),
        reject("row44-skippable", zstd(skippable), MALFORMED, "zstd: found a skippable frame"),
        reject(
            "row44-trailing-garbage",
            zstd([&zst[..], b"garbage after it"].concat()),
            MALFORMED,
            "zstd: found 0x62726167",
        ),
        reject(
            "row44-truncated",
            zstd(zst[..zst.len() / 2].to_vec()),
            MALFORMED,
            "zstd: the layer ends inside a frame",
        ),
        reject("row44-empty", zstd(Vec::new()), MALFORMED, "zstd: found no bytes"),
    ]
}

fn names() -> Vec<Reject> {
    let tar = Tar::new;
    let usr = || Tar::new().dir(b"usr/");
    vec![
        bad("row46-dotdot", tar().file(b"usr/../etc/x", b"").end(), "found \"..\" in the name"),
        bad("row46-absolute", tar().file(b"/etc/passwd", b"").end(), "found the absolute name"),
        bad("row46-empty", tar().file(b"", b"").end(), "found no name"),
        bad(
            "row46-nul",
            tar().pax(&[("path", b"usr/a\0b")]).file(b"usr/a", b"").end(),
            "found a NUL byte in the name",
        ),
        bad(
            "row46-nul-gnu",
            tar().extension(b'L', b"usr/a\0b\0").file(b"usr/a", b"").end(),
            "found a NUL byte in the name",
        ),
        bad("row46-file-is-root", tar().file(b".", b"").end(), "found a regular file that names"),
        bad("row46-trailing-slash", tar().file(b"usr/x/", b"").end(), "found a slash at the end"),
        bad(
            "row47-symlinked-parent",
            tar().symlink(b"usr", b"/etc").file(b"usr/passwd", b"").end(),
            "its parent \"usr\" is a symlink",
        ),
        bad("row48-root-symlink", tar().symlink(b"/.", b"/etc").end(), "found the absolute name"),
        bad("row48-dot-symlink", tar().symlink(b"./", b"/etc").end(), "found a symlink that names"),
        bad(
            "row49-symlink-then-directory",
            usr().symlink(b"usr/lib", b"/tmp").dir(b"usr/lib/").end(),
            "a directory after a symlink",
        ),
        bad("row50-missing", usr().hard_link(b"usr/a", b"usr/b").end(), "hard link to \"usr/b\""),
        bad(
            "row50-later",
            usr().hard_link(b"usr/a", b"usr/b").file(b"usr/b", b"").end(),
            "expected the path of an earlier file",
        ),
        bad(
            "row50-outside",
            usr().hard_link(b"usr/a", b"../etc/passwd").end(),
            "found \"..\" in the target of a hard link",
        ),
        bad(
            "row50-absolute",
            usr().hard_link(b"usr/a", b"/etc/passwd").end(),
            "hard link to \"etc/passwd\"",
        ),
        bad("row50-self", usr().hard_link(b"usr/a", b"usr/a").end(), "hard link to itself"),
        bad("row50-directory", usr().hard_link(b"usr/a", b"usr").end(), "to the directory \"usr\""),
        bad(
            "row50-through-symlink",
            usr()
                .dir(b"usr/d")
                .file(b"usr/d/x", b"")
                .symlink(b"usr/l", b"d")
                .hard_link(b"usr/a", b"usr/l/x")
                .end(),
            "hard link to \"usr/l/x\"",
        ),
        bad(
            "row51-duplicate",
            usr().file(b"usr/a", b"1").file(b"usr/a", b"2").end(),
            "a regular file after a regular file",
        ),
        bad(
            "row51-duplicate-by-dot",
            usr().file(b"usr/a", b"1").file(b"./usr/a", b"2").end(),
            "a regular file after a regular file",
        ),
        bad(
            "row51-file-then-directory",
            usr().file(b"usr/a", b"1").dir(b"usr/a").end(),
            "a directory after a regular file",
        ),
        bad(
            "row51-directory-then-file",
            usr().dir(b"usr/a").file(b"usr/a", b"1").end(),
            "a regular file after a directory",
        ),
        bad(
            "row51-implied-directory-then-symlink",
            tar().file(b"usr/a/b", b"1").symlink(b"usr/a", b"c").end(),
            "a symlink after a directory",
        ),
        bad("row59a-whiteout-of-parent", usr().file(b"usr/.wh...", b"").end(), "a whiteout of"),
        bad(
            "row59a-below-a-whiteout",
            usr().file(b"usr/.wh.x/y", b"").end(),
            "found \".wh.x\" as a directory",
        ),
    ]
}

fn extensions() -> Vec<Reject> {
    let tar = Tar::new;
    let x = || Header::new(b'0', b"usr/x", 0);
    vec![
        bad(
            "row52-pax-size",
            tar().pax(&[("size", b"1024")]).file(b"usr/x", &[0; 512]).end(),
            "found size 1024 in the extended header and 512 in the header",
        ),
        bad(
            "row52-pax-size-0",
            tar().pax(&[("size", b"512")]).header(x()).data(&[0; 512]).end(),
            "found size 512 in the extended header and 0",
        ),
        bad(
            "row53-malformed",
            tar().extension(b'x', b"99 path=usr/y\n").header(x()).end(),
            "malformed extended header record",
        ),
        bad(
            "row53-no-newline",
            tar().extension(b'x', b"13 path=usr/yz").header(x()).end(),
            "malformed extended header record",
        ),
        bad(
            "row53-duplicate",
            tar().pax(&[("path", b"usr/a"), ("path", b"usr/b")]).header(x()).end(),
            "two extended header records path",
        ),
        bad("row53-empty", tar().pax(&[("path", b"")]).header(x()).end(), "empty extended header"),
        bad(
            "row53-negative",
            tar().pax(&[("size", b"-1")]).header(x()).end(),
            "found \"-1\" as PAX size",
        ),
        bad(
            "row53-global-path",
            tar().extension(b'g', &record("path", b"usr/evil")).header(x()).end(),
            "found path in a global extended header",
        ),
        bad(
            "row53-gnu-and-pax",
            tar().extension(b'L', b"usr/a\0").pax(&[("path", b"usr/b")]).header(x()).end(),
            "GNU long name and a PAX header",
        ),
        bad(
            "row53-two-pax",
            tar().pax(&[("path", b"usr/a")]).pax(&[("path", b"usr/b")]).header(x()).end(),
            "found two PAX headers",
        ),
        bad(
            "row53-two-long-names",
            tar().extension(b'L', b"usr/a\0").extension(b'L', b"usr/b\0").header(x()).end(),
            "found two GNU long names",
        ),
        bad(
            "row53-dangling",
            tar().header(x()).pax(&[("path", b"usr/a")]).end(),
            "extended header with no entry",
        ),
        bad(
            "row53-charset",
            tar().pax(&[("hdrcharset", b"EBCDIC")]).header(x()).end(),
            "found \"EBCDIC\" as hdrcharset",
        ),
        bad(
            "row53-duplicate-xattr",
            tar()
                .pax(&[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.a", b"2")])
                .header(x())
                .end(),
            "two extended header records SCHILY.xattr.user.a",
        ),
    ]
}

fn framing() -> Vec<Reject> {
    let tar = Tar::new;
    let x = || Header::new(b'0', b"usr/x", 0);
    let sized = |flag| Header::new(flag, b"usr/x", 512).link(b"y");
    let sparse_10 = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.name", b"usr/x"),
        record("GNU.sparse.realsize", b"1000000"),
    ]
    .concat();
    let million = "0,1,".repeat(100_000);
    let mut checksum = tar().file(b"usr/x", b"").end();
    checksum[0] = b'v';
    vec![
        bad(
            "row54-lone-zero-block",
            tar().header(x()).raw(&[0; 512]).file(b"usr/y", b"").end(),
            "found a lone block of zeros",
        ),
        bad(
            "row54-lone-zero-block-at-end",
            tar().header(x()).raw(&[0; 512]).0,
            "found a lone block of zeros",
        ),
        bad(
            "row54-data-after-end",
            tar().raw(&tar().header(x()).end()).file(b"usr/evil", b"").end(),
            "found data after the end marker",
        ),
        bad("row54-no-end-marker", tar().header(x()).0, "ends without its end marker"),
        bad("row54-no-bytes", Vec::new(), "ends without its end marker"),
        bad("row55-directory", tar().header(sized(b'5')).data(&[1; 512]).end(), "a directory with"),
        bad("row55-symlink", tar().header(sized(b'2')).data(&[1; 512]).end(), "a symlink with 512"),
        bad("row55-hard-link", tar().header(sized(b'1')).data(&[1; 512]).end(), "a hard link with"),
        bad("row55-unknown-type", tar().header(Header::new(b'Z', b"usr/x", 0)).end(), "flag \"Z\""),
        bad("row55-checksum", checksum, "found header checksum"),
        bad("row55-magic", tar().header(x().with(257, b"ustar\0\0\0")).end(), "found magic"),
        bad("row55-size", tar().header(x().with(124, b"0000000000x\0")).end(), "as size"),
        bad("row55-no-size", tar().header(x().with(124, &[0; 12])).end(), "as size"),
        bad("row55-negative-size", tar().header(x().with(124, &[0xff; 12])).end(), "as size"),
        bad(
            "row56-truncated-body",
            tar().header(Header::new(b'0', b"usr/x", 4096)).raw(&[1; 1000]).0,
            "the archive ends inside contents, expected 3096 bytes more",
        ),
        bad(
            "row56-truncated-padding",
            tar().header(Header::new(b'0', b"usr/x", 4)).raw(b"1234").0,
            "ends inside padding",
        ),
        bad("row56-truncated-header", tar().header(x()).raw(b"usr/y").0, "ends inside a header"),
        bad(
            "row57-gnu",
            tar()
                .header(Header::new(b'S', b"usr/x", 0).with(257, b"ustar  \0").with(482, b"\x01"))
                .end(),
            "found a sparse file (GNU)",
        ),
        bad("row57-pax-1.0", tar().extension(b'x', &sparse_10).header(x()).end(), "a sparse file"),
        bad(
            "row57-pax-0.1-many",
            tar().pax(&[("GNU.sparse.map", million.as_bytes())]).header(x()).end(),
            "a sparse file",
        ),
    ]
}

fn special() -> Vec<Reject> {
    let tar = Tar::new;
    let x = || Header::new(b'0', b"usr/x", 0);
    vec![
        bad(
            "row59-whiteout-device",
            tar().header(Header::new(b'3', b"usr/sudo", 0)).end(),
            "found a character device 0:0",
        ),
        bad(
            "row59-trusted-overlay",
            tar().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]).dir(b"usr").end(),
            "found extended attribute trusted.overlay.opaque",
        ),
        bad(
            "row59-user-overlay",
            tar().pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")]).dir(b"usr").end(),
            "found extended attribute user.overlay.opaque",
        ),
        bad(
            "row60-acl",
            tar().pax(&[("SCHILY.acl.access", b"user::rw-")]).header(x()).end(),
            "found extended attribute system.posix_acl_access",
        ),
        bad(
            "row60-device",
            tar().header(Header::new(b'4', b"usr/sda", 0).with(329, b"0000010\0")).end(),
            "found a block device",
        ),
        bad("row60-fifo", tar().header(Header::new(b'6', b"usr/fifo", 0)).end(), "found a fifo"),
    ]
}

fn limits() -> Vec<Reject> {
    let limit = |name, tar: Vec<u8>, text| reject(name, Layer::tar(&tar), LIMIT, text);
    let tar = Tar::new;
    let deep = b"d/".repeat(1500);
    let long = b"usr/".iter().chain(&b"n".repeat(300)).copied().collect::<Vec<u8>>();
    let file = |path: &[u8]| tar().pax(&[("path", path)]).file(b"x", b"").end();
    vec![
        limit("row58-depth", file(&deep), "found 1500 components of a path, expected at most 128"),
        limit("row58-path", file(&b"d/".repeat(3000)), "6000 bytes of path, expected at most 4096"),
        limit("row58-name", file(&long), "found 300 bytes of one name, expected at most 255"),
        limit(
            "row58-xattr-value",
            tar().pax(&[("SCHILY.xattr.user.a", &[b'v'; 65_536])]).file(b"x", b"").end(),
            "found 65536 bytes of one extended attribute, expected at most 65535",
        ),
        limit(
            "row58-symlink",
            tar().pax(&[("linkpath", &[b't'; 4096])]).symlink(b"x", b"t").end(),
            "found 4096 bytes of symlink target, expected at most 4095",
        ),
        limit(
            "row58-extended-header",
            tar().header(Header::new(b'x', b"x", 2 << 20)).0,
            "found 2097152 bytes of extended headers for one entry",
        ),
    ]
}

fn all() -> Vec<Reject> {
    [compressed(), names(), extensions(), framing(), special(), limits()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_named_reject_gets_its_exit_code_and_words() {
    let mut wrong = Vec::new();
    for Reject { name, layer, exit, text } in all() {
        let limits = Limits::default();
        let options = LayerOptions { limits: &limits, fate: &|_| Fate::Keep, keep_ima: false };
        let mut sink = MemorySink::default();
        let Err(error) = layer::read(&layer.blob(), &options, &mut sink) else {
            wrong.push(format!("{name}: accepted"));
            continue;
        };
        let message = error.to_string();
        if error.exit_code() != exit || !message.contains(text) {
            wrong.push(format!("{name}: {message}"));
        }
        assert!(!message.contains('\n') && message.len() < 1000, "{name}: {message}");
        assert!(!error.advice().is_empty() && error.id().starts_with("layer."), "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_committed_rejects_are_these() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/reject/layer");
    let bless = std::env::var_os("O2S_BLESS").is_some();
    let mut index = "# name\texit code\ttext of the message\n".to_owned();
    let mut names = std::collections::BTreeSet::from(["REJECTS.tsv".to_owned()]);
    for Reject { name, layer, exit, text } in all() {
        let suffix = match layer.media_type.rsplit_once('+') {
            Some((_, "gzip")) => ".gz",
            Some((_, "zstd")) => ".zst",
            _ => "",
        };
        if layer.stored.len() > 16 << 10 {
            continue;
        }
        let file = format!("{name}.tar{suffix}");
        index.extend([&file, "\t", &number(exit).to_string(), "\t", text, "\n"]);
        let path = directory.join(&file);
        if bless {
            std::fs::write(&path, &layer.stored).unwrap();
        }
        let committed = std::fs::read(&path).expect("O2S_BLESS=1 writes it");
        // Compressors may change what they write.
        assert!(
            !suffix.is_empty() || committed == layer.stored,
            "{file}: O2S_BLESS=1 writes it anew"
        );
        names.insert(file);
    }
    if bless {
        std::fs::write(directory.join("REJECTS.tsv"), &index).unwrap();
    }
    assert_eq!(std::fs::read_to_string(directory.join("REJECTS.tsv")).unwrap(), index);
    let found: std::collections::BTreeSet<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, names);
}
