//! Any tree that the `tar` crate can write is read back; any bytes at all do no harm.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use oci2sysext::layer::{self, Compression, Fate, LayerOptions, ScanEnd, ScanKind, Stored};
use oci2sysext::limits::Limits;
use oci2sysext::tree::{Content, components, join};
use oci2sysext::verify::{Blob, Verified};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::blob::{Layer, MemorySink, gzip};
use crate::tars::{Header, Tar};

#[derive(Clone, Debug, PartialEq)]
enum Node {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    node: Node,
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: u32,
    xattrs: BTreeMap<String, Vec<u8>>,
}

fn entry() -> impl Strategy<Value = Entry> {
    let node = prop_oneof![
        vec(any::<u8>(), 0..2000).prop_map(Node::File),
        Just(Node::Directory),
        // The crate joins doubled slashes when it writes a target, so there are none.
        (any::<bool>(), vec(name(), 1..5)).prop_map(|(absolute, names)| {
            Node::Symlink([if absolute { b"/" } else { &b""[..] }, &names.join(&b'/')].concat())
        }),
    ];
    let xattrs = btree_map(
        "user\\.[a-z=]{1,20}".prop_map(|s| s.replace('=', "_")),
        vec(any::<u8>(), 0..50),
        0..3,
    );
    (node, 0u16..0o10000, 0..u32::MAX, 0..u32::MAX, any::<u32>(), xattrs).prop_map(
        |(node, mode, uid, gid, mtime, xattrs)| Entry { node, mode, uid, gid, mtime, xattrs },
    )
}

/// Names without slash and NUL that are neither `.`, `..` nor whiteouts.
fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 1..60)
        .prop_map(|mut name| {
            name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
            name
        })
        .prop_filter("a plain name", |name| !name.starts_with(b"."))
}

/// Paths, each below directories of its own: `d…/d…/NAME`.
fn entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Entry>> {
    btree_map((0usize..6, name()), entry(), 0..12).prop_map(|entries| {
        entries
            .into_iter()
            .map(|((depth, name), entry)| {
                ([&b"a directory/".repeat(depth)[..], &name].concat(), entry)
            })
            .collect()
    })
}

fn archive(entries: &BTreeMap<Vec<u8>, Entry>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let xattrs: Vec<_> = entry
            .xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
            .collect();
        // GNU long names may not stand beside PAX records: names in PAX records instead.
        let mut records: Vec<(&str, &[u8])> =
            xattrs.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        let pax = !records.is_empty();
        if pax {
            records.push(("path", path));
            if let Node::Symlink(target) = &entry.node {
                records.push(("linkpath", target));
            }
            builder.append_pax_extensions(records).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode.into());
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mtime(entry.mtime.into());
        header.set_size(0);
        let os_path = std::ffi::OsStr::from_bytes(path);
        let contents: &[u8] = match &entry.node {
            Node::File(contents) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(contents.len().try_into().unwrap());
                contents
            }
            Node::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                b""
            }
            Node::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                if !pax {
                    let target = std::ffi::OsStr::from_bytes(target);
                    builder.append_link(&mut header, os_path, target).unwrap();
                    continue;
                }
                b""
            }
        };
        if pax {
            header.set_path("in PAX records").unwrap();
            header.set_cksum();
            builder.append(&header, contents).unwrap();
        } else {
            builder.append_data(&mut header, os_path, contents).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Reads all sorts of bytes with all sorts of fates; only panics count.
fn harmless(stored: &[u8], compression: Compression) {
    let limits = Limits {
        entries: 1000,
        names: 100_000,
        layer_uncompressed: 1 << 20,
        zstd_window: 1 << 20,
        ..Limits::default()
    };
    let fate = |path: &[u8]| match path.last() {
        Some(byte) if byte % 3 == 0 => Fate::Keep,
        Some(byte) if byte % 3 == 1 => Fate::Hold,
        _ => Fate::Drop,
    };
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: true };
    let _ = layer::examine(stored, compression, &options, &mut MemorySink::default());
}

/// An archive that has every kind of entry.
fn specimen() -> Vec<u8> {
    Tar::new()
        .dir(b"./usr/")
        .pax(&[("path", b"usr/long name"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"b")])
        .file(b"usr/l", &[b'c'; 700])
        .extension(b'L', b"usr/gnu\0")
        .symlink(b"usr/g", b"target")
        .hard_link(b"usr/z", b"usr/long name")
        .header(Header::new(b'6', b"var/fifo", 0))
        .file(b"usr/.wh.x", b"")
        .end()
}

/// Makes the checksums right, so that changed fields are looked at.
fn reseal(tar: &mut [u8]) {
    for block in tar.chunks_mut(512).filter(|block| block.len() == 512) {
        if block.get(257..262) == Some(b"ustar") {
            let mut header = Header(<[u8; 512]>::try_from(&*block).unwrap());
            header.set(148, b"        ");
            let sum: u32 = header.0.iter().map(|&byte| u32::from(byte)).sum();
            header.set(148, format!("{sum:06o}\0 ").as_bytes());
            block.copy_from_slice(&header.0);
        }
    }
}

/// Path, type flag, size, link target.
type Line = (Vec<u8>, u8, u64, Vec<u8>);

fn as_we_see(blob: &Verified<Blob>) -> Vec<Line> {
    let mut lines = Vec::new();
    let end = layer::scan::<()>(blob, &Limits::default(), &mut |entry, _| {
        let path = entry.path.to_vec();
        lines.push(match entry.kind {
            ScanKind::Directory => (path, b'5', 0, Vec::new()),
            ScanKind::Regular { size } => (path, b'0', size, Vec::new()),
            ScanKind::Symlink(target) => (path, b'2', 0, target.to_vec()),
            ScanKind::HardLink(target) => (path, b'1', 0, target.to_vec()),
            ScanKind::Special => (path, b'6', 0, Vec::new()),
            ScanKind::Whiteout | ScanKind::Opaque => return Ok(ControlFlow::Continue(())),
        });
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(end, Ok(ScanEnd::Complete)), "{end:?}");
    lines
}

fn as_the_tar_crate_sees(tar: &[u8]) -> Vec<Line> {
    let plain = |path: &[u8]| {
        let names = components(path).filter(|&name| name != b".");
        names.fold(Vec::new(), |path, name| join(&path, name))
    };
    let mut lines = Vec::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let entry = entry.unwrap();
        let path = plain(&entry.path_bytes());
        if components(&path).any(|name| name.starts_with(b".wh.")) {
            continue;
        }
        let target = || entry.link_name_bytes().unwrap_or_default().into_owned();
        lines.push(match entry.header().entry_type().as_byte() {
            b'1' => (path, b'1', 0, plain(&target())),
            b'2' => (path, b'2', 0, target()),
            b'3' | b'4' | b'6' => (path, b'6', 0, Vec::new()),
            b'5' => (path, b'5', 0, Vec::new()),
            _ => (path, b'0', entry.size(), Vec::new()),
        });
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_tar_crate_writes_is_read_back(entries in entries()) {
        let tar = archive(&entries);
        let limits = Limits::default();
        let options = LayerOptions { limits: &limits, fate: &|_| Fate::Keep, keep_ima: false };
        let layer = layer::read(&Layer::zstd(&tar).blob(), &options, &mut MemorySink::default());
        let layer = layer.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut found = BTreeMap::new();
        for walked in layer.tree.walk() {
            if layer.implied.contains(&walked.path) {
                continue;
            }
            let stat = &walked.inode.stat;
            let node = match &walked.inode.content {
                Content::Regular(Stored::Sunk(content)) => Node::File(content.clone()),
                Content::Symlink(target) => Node::Symlink(target.to_vec()),
                Content::Directory(_) => Node::Directory,
                other => panic!("{other:?}"),
            };
            let xattrs = stat
                .xattrs
                .iter()
                .map(|(k, v)| (String::from_utf8(k.to_vec()).unwrap(), v.to_vec()))
                .collect();
            let mtime = u32::try_from(stat.mtime.sec).unwrap();
            let entry =
                Entry { node, mode: stat.mode, uid: stat.uid, gid: stat.gid, mtime, xattrs };
            found.insert(walked.path, entry);
        }
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn changed_bytes_do_no_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut tar = specimen();
        for (index, byte) in &changes {
            *index.get_mut(&mut tar) = *byte;
        }
        harmless(&tar, Compression::None);
        reseal(&mut tar);
        harmless(&tar, Compression::None);
    }

    #[test]
    fn what_is_accepted_means_the_same_to_the_tar_crate(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut tar = specimen();
        for (index, byte) in &changes {
            *index.get_mut(&mut tar) = *byte;
        }
        reseal(&mut tar);
        let limits = Limits::default();
        let options = LayerOptions { limits: &limits, fate: &|_| Fate::Drop, keep_ima: false };
        let blob = Layer::tar(&tar).blob();
        if layer::read(&blob, &options, &mut MemorySink::default()).is_ok() {
            prop_assert_eq!(as_we_see(&blob), as_the_tar_crate_sees(&tar));
        }
    }

    #[test]
    fn changed_compressed_bytes_do_no_harm(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let tar = specimen();
        let zstd = zstd::encode_all(&*tar, 3).unwrap();
        for (mut stored, compression) in [
            (gzip(&tar), Compression::Gzip),
            (zstd.clone(), Compression::Zstd { chunked: false }),
            (zstd, Compression::Zstd { chunked: true }),
        ] {
            harmless(&stored[..cut.index(stored.len())], compression);
            for (index, byte) in &changes {
                *index.get_mut(&mut stored) = *byte;
            }
            harmless(&stored, compression);
        }
    }
}
