//! What is read from good layers, and which whole-layer promises are kept.

use std::io::Write;

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::layer::{
    self, Compression, Error, Fate, LayerOptions, LayerTree, Stored, Whiteout,
};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Digest;
use oci2sysext::tree::{Content, Timestamp};
use oci2sysext::verify::Origin;

use crate::blob::{Layer, MemorySink, gzip};
use crate::tars::{Header, Tar, record};

type Read = Result<LayerTree<Vec<u8>>, Error>;

/// `usr` is kept, `etc` waits, the rest goes.
pub fn fate(path: &[u8]) -> Fate {
    match path.split(|&byte| byte == b'/').next() {
        Some(b"usr") => Fate::Keep,
        Some(b"etc") => Fate::Hold,
        _ => Fate::Drop,
    }
}

fn read_into(layer: &Layer, sink: &mut MemorySink) -> Read {
    let limits = Limits::default();
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: false };
    layer::read(&layer.blob(), &options, sink)
}

fn read(layer: &Layer) -> Read {
    read_into(layer, &mut MemorySink::default())
}

fn paths(tree: &LayerTree<Vec<u8>>) -> Vec<String> {
    tree.tree.walk().map(|entry| entry.path.escape_ascii().to_string()).collect()
}

fn held(content: &Content<Stored<Vec<u8>>>) -> Vec<u8> {
    let Content::Regular(Stored::Held(held)) = content else { panic!("{content:?} is not held") };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut held.reader(), &mut bytes).unwrap();
    bytes
}

#[test]
fn row43_all_gzip_members_and_zstd_frames_count() {
    let tar = Tar::new().dir(b"usr").file(b"usr/a", &[7; 5000]).end();
    let (front, back) = tar.split_at(3000);
    let members = Layer::new([gzip(front), gzip(b""), gzip(back)].concat(), "tar+gzip", &tar);
    let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let frames = [frame(front), frame(b""), frame(back)].concat();
    let frames = Layer::new(frames, "tar+zstd", &tar);
    for layer in [members, frames, Layer::tar(&tar), Layer::gzip(&tar), Layer::zstd(&tar)] {
        assert_eq!(paths(&read(&layer).unwrap()), ["", "usr", "usr/a"]);
    }
}

#[test]
fn zstd_chunked_is_read_as_its_frames() {
    let tar = Tar::new().dir(b"usr").end();
    let table = b"\x5f\x2a\x4d\x18\x08\0\0\0contents";
    let stored = [&zstd::encode_all(&*tar, 1).unwrap()[..], table].concat();
    let mut layer = Layer::new(stored, "tar+zstd", &tar);
    assert_eq!(read(&layer).unwrap_err().exit_code(), ExitCode::Malformed);
    let key = "io.github.containers.zstd-chunked.manifest-checksum".to_owned();
    layer.annotations.push((key, Digest::of(b"contents").to_string()));
    assert_eq!(paths(&read(&layer).unwrap()), ["", "usr"]);
    layer.stored.pop();
    assert_eq!(read(&layer).unwrap_err().exit_code(), ExitCode::Malformed);
}

#[test]
fn row40_another_diff_id_is_refused() {
    let mut layer = Layer::gzip(&Tar::new().dir(b"usr").end());
    layer.diff_id = Digest::of(b"other");
    let error = read(&layer).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Integrity, "{error}");
    assert_eq!(error.id(), "layer.diff-id");
}

#[test]
fn row41_other_kinds_of_layers_are_refused() {
    let tar = Tar::new().dir(b"usr").end();
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.v1.tar+bzip2",
        "application/json",
    ] {
        let layer = Layer { media_type: media_type.to_owned(), ..Layer::gzip(&tar) };
        let error = read(&layer).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Malformed);
        assert!(error.to_string().contains(media_type), "{error}");
    }
    let layer = Layer { urls: vec!["https://evil/".to_owned()], ..Layer::gzip(&tar) };
    assert_eq!(read(&layer).unwrap_err().id(), "layer.descriptor");
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned();
    assert!(read(&Layer { media_type: docker, ..Layer::gzip(&tar) }).is_ok());
}

#[test]
fn a_local_file_that_was_swapped_is_refused() {
    let tar = |contents: &[u8]| Tar::new().dir(b"usr").file(b"usr/x", contents).end();
    for make in [Layer::tar, Layer::gzip] {
        let layer = Layer { origin: Origin::Local, ..make(&tar(b"good")) };
        let limits = Limits::default();
        let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: false };
        let swapped = make(&tar(b"evil")).stored;
        let mut garbled = layer.stored.clone();
        garbled[20] ^= 0xff;
        for bytes in [swapped, garbled] {
            let mut bytes = bytes;
            bytes.resize(layer.stored.len(), 0);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let blob = layer.blob_in(file);
            let error = layer::read(&blob, &options, &mut MemorySink::default()).unwrap_err();
            assert_eq!((error.exit_code(), error.id()), (ExitCode::Integrity, "layer.changed"));
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&layer.stored[..layer.stored.len() / 2]).unwrap();
        let blob = layer.blob_in(file);
        let error = layer::read(&blob, &options, &mut MemorySink::default()).unwrap_err();
        assert_eq!((error.exit_code(), error.id()), (ExitCode::Integrity, "layer.cut"));
        assert!(read(&layer).is_ok());
    }
}

#[test]
fn contents_go_where_their_fate_says() {
    let tar = Tar::new()
        .file(b"usr/keep", b"kept")
        .file(b"etc/hold", b"held")
        .file(b"var/drop", b"dropped")
        .end();
    let mut sink = MemorySink::default();
    let layer = read_into(&Layer::gzip(&tar), &mut sink).unwrap();
    assert_eq!(sink.stored, [b"kept"]);
    let content = |path: &[u8]| &layer.tree.inode(layer.tree.lookup(path).unwrap()).content;
    assert!(matches!(content(b"usr/keep"),
        Content::Regular(Stored::Sunk(content)) if content == b"kept"));
    assert_eq!(held(content(b"etc/hold")), b"held");
    assert!(matches!(content(b"var/drop"), Content::Regular(Stored::Dropped { size: 7 })));
    assert_eq!(layer.implied, [&b""[..], b"usr", b"etc", b"var"]);
}

#[test]
fn hard_links_take_their_contents_along() {
    let tar = Tar::new()
        .file(b"sysroot/1", b"carried")
        .file(b"sysroot/2", b"to hold")
        .file(b"sysroot/3", b"secret")
        .hard_link(b"usr/a", b"sysroot/1")
        .hard_link(b"etc/a", b"sysroot/2")
        .hard_link(b"var/a", b"sysroot/3")
        .file(b"etc/b", b"held first")
        .hard_link(b"usr/b", b"./etc/b")
        .hard_link(b"etc/c", b"sysroot/1")
        .hard_link(b"usr/c", b"/usr/b")
        .file(b"usr/last", b"last")
        .end();
    for origin in [Origin::Spool, Origin::Local] {
        let mut sink = MemorySink::default();
        let layer = Layer { origin, ..Layer::gzip(&tar) };
        let layer = read_into(&layer, &mut sink).unwrap();
        assert_eq!(sink.stored, [&b"held first"[..], b"last", b"carried"]);
        let ino = |path: &[u8]| layer.tree.lookup(path).unwrap();
        assert_eq!(ino(b"usr/a"), ino(b"sysroot/1"));
        assert_eq!(ino(b"usr/a"), ino(b"etc/c"));
        assert_eq!(ino(b"usr/c"), ino(b"etc/b"));
        let content = |path: &[u8]| &layer.tree.inode(ino(path)).content;
        assert!(matches!(content(b"usr/a"),
            Content::Regular(Stored::Sunk(content)) if content == b"carried"));
        assert!(matches!(content(b"usr/c"),
            Content::Regular(Stored::Sunk(content)) if content == b"held first"));
        assert_eq!(held(content(b"etc/a")), b"to hold");
        assert!(matches!(content(b"var/a"), Content::Regular(Stored::Dropped { .. })));
    }
}

#[test]
fn a_hard_link_to_a_symlink_is_legal() {
    let tar = Tar::new().symlink(b"usr/l", b"x").hard_link(b"usr/m", b"usr/l").end();
    let layer = read(&Layer::tar(&tar)).unwrap();
    assert_eq!(layer.tree.lookup(b"usr/l"), layer.tree.lookup(b"usr/m"));
}

#[test]
fn row59a_whiteouts_are_not_in_the_tree() {
    let tar = Tar::new()
        .dir(b"usr")
        .file(b"usr/.wh.gone", b"")
        .file(b"usr/gone", b"new")
        .file(b"usr/lib/.wh..wh..opq", b"")
        .file(b".wh.top", b"")
        .file(b".wh..wh.aufs", b"")
        .dir(b".wh..wh.plnk")
        .file(b".wh..wh.plnk/1.2", b"x")
        .end();
    let layer = read(&Layer::tar(&tar)).unwrap();
    assert_eq!(paths(&layer), ["", "usr", "usr/gone"]);
    let whiteout = |path: &[u8], opaque| Whiteout::new(path.to_vec(), opaque);
    assert_eq!(
        layer.whiteouts,
        [whiteout(b"usr/gone", false), whiteout(b"usr/lib", true), whiteout(b"top", false)]
    );
}

#[test]
fn the_later_entry_of_a_directory_wins() {
    let dir = |mode: &[u8]| Header::new(b'5', b"./usr/", 0).with(100, mode);
    let tar = Tar::new()
        .file(b"usr/x", b"")
        .header(dir(b"0000700\0"))
        .header(dir(b"0041751\0"))
        .header(Header::new(b'5', b"./", 0).with(100, b"0000711\0"))
        .end();
    let layer = read(&Layer::tar(&tar)).unwrap();
    let mode = |path: &[u8]| layer.tree.inode(layer.tree.lookup(path).unwrap()).stat.mode;
    assert_eq!((mode(b"usr"), mode(b"")), (0o1751, 0o711));
    assert!(layer.implied.is_empty());
}

#[test]
fn metadata_come_from_pax_where_it_says_so() {
    let tar = Tar::new()
        .extension(b'g', &record("comment", b"0123456789abcdef"))
        .pax(&[
            ("path", b"usr/n\xe4me"),
            ("uid", b"3000000"),
            ("gid", b"3000001"),
            ("mtime", b"-1.5"),
            ("hdrcharset", b"BINARY"),
            ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0 =\n"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0\0"),
            ("SCHILY.xattr.security.ima", b"\x03"),
            ("SCHILY.xattr.user.empty", b""),
            ("LIBARCHIVE.xattr.user.other", b"eA"),
        ])
        .header(Header::new(b'0', b"short", 4).with(100, b"0104755\0"))
        .data(b"data")
        .end();
    let layer = read(&Layer::tar(&tar)).unwrap();
    let stat = &layer.tree.inode(layer.tree.lookup(b"usr/n\xe4me").unwrap()).stat;
    assert_eq!((stat.mode, stat.uid, stat.gid), (0o4755, 3_000_000, 3_000_001));
    assert_eq!(stat.mtime, Timestamp { sec: -2, nsec: 500_000_000 });
    let xattrs: Vec<_> = stat.xattrs.iter().collect();
    assert_eq!(
        xattrs,
        [(&b"security.capability"[..], &b"\x01\0\0\x02\0 =\n"[..]), (b"user.empty", b"")]
    );
    let limits = Limits::default();
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: true };
    let kept = layer::read(&Layer::tar(&tar).blob(), &options, &mut MemorySink::default()).unwrap();
    let stat = &kept.tree.inode(kept.tree.lookup(b"usr/n\xe4me").unwrap()).stat;
    assert_eq!(stat.xattrs.get(b"security.ima"), Some(&b"\x03"[..]));
}

#[test]
fn what_is_not_kept_may_be_a_device_or_have_acls() {
    let device = Header::new(b'3', b"dev/null", 0).with(329, b"0000001\0").with(337, b"0000003\0");
    let tar = Tar::new()
        .header(device)
        .header(Header::new(b'6', b"run/fifo", 0))
        .header(Header::new(b'3', b"var/overlay", 0))
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .dir(b"var/lib")
        .dir(b"etc")
        .header(Header::new(b'6', b"etc/fifo", 0))
        .end();
    let layer = read(&Layer::tar(&tar)).unwrap();
    let inode = |path: &[u8]| layer.tree.inode(layer.tree.lookup(path).unwrap());
    assert!(matches!(inode(b"dev/null").content, Content::CharDevice { rdev: 0x103 }));
    assert!(layer::check_kept(inode(b"etc/fifo")).is_err());
    assert!(layer::check_kept(inode(b"var/overlay")).is_err());
    assert!(layer::check_kept(inode(b"var/lib")).is_err());
    assert!(layer::check_kept(inode(b"etc")).is_ok());
    let linked = Tar::new()
        .header(Header::new(b'6', b"run/fifo", 0))
        .hard_link(b"usr/fifo", b"run/fifo")
        .end();
    assert!(read(&Layer::tar(&linked)).unwrap_err().to_string().contains("found a fifo"));
}

#[test]
fn a_size_that_octal_cannot_hold_is_in_the_pax_header_alone() {
    // Cut off after the header: what counts is which size was believed.
    let tar = Tar::new().pax(&[("size", b"8589934592")]).header(Header::new(b'0', b"x", 0)).0;
    let error = read(&Layer::tar(&tar)).unwrap_err();
    assert!(error.to_string().contains("expected 8589934592 bytes more"), "{error}");
}

#[test]
fn a_layer_without_entries_is_an_empty_tree() {
    let layer = read(&Layer::gzip(&[0; 10240])).unwrap();
    assert_eq!(paths(&layer), [""]);
}

#[test]
fn what_waits_in_a_file_can_still_go_to_the_sink() {
    let large: Vec<u8> = (0..17u32 << 20).map(|n| (n >> 8).to_le_bytes()[0]).collect();
    let tar = Tar::new()
        .file(b"etc/large", &large)
        .file(b"etc/small", b"small")
        .hard_link(b"usr/large", b"etc/large")
        .end();
    let layer = read(&Layer::tar(&tar)).unwrap();
    let content = |path: &[u8]| &layer.tree.inode(layer.tree.lookup(path).unwrap()).content;
    assert_eq!(held(content(b"etc/small")), b"small");
    assert!(matches!(content(b"usr/large"),
        Content::Regular(Stored::Sunk(content)) if *content == large));
}

#[test]
fn a_failed_decoder_never_looks_like_the_end() {
    let tar = Tar::new().file(b"usr/x", &[1; 9000]).end();
    let mut damaged = gzip(&tar);
    damaged.truncate(damaged.len() - 4);
    let zstd = zstd::encode_all(&*tar, 3).unwrap();
    for (stored, compression) in [
        (&damaged[..], Compression::Gzip),
        (&zstd[..zstd.len() - 1], Compression::Zstd { chunked: false }),
    ] {
        let mut reader = layer::decompress(stored, compression, &Limits::default()).unwrap();
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count) = std::io::Read::read(&mut reader, &mut buffer) {
            assert!(count > 0, "the end came before the error");
        }
        for _ in 0..3 {
            assert!(std::io::Read::read(&mut reader, &mut buffer).is_err());
        }
    }
}

#[test]
fn row44_a_window_of_exactly_the_limit_is_accepted() {
    let tar = Tar::new().file(b"usr/x", &vec![1; 3 << 20]).end();
    let limits = Limits { zstd_window: 1 << 20, ..Limits::default() };
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: false };
    for (log, accepted) in [(20, true), (21, false)] {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&tar).unwrap();
        let layer = Layer::new(encoder.finish().unwrap(), "tar+zstd", &tar);
        let result = layer::read(&layer.blob(), &options, &mut MemorySink::default());
        assert_eq!(result.is_ok(), accepted, "{:?}", result.err());
    }
}
