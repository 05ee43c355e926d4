//! Layers, as an extension's are read.
//!
//! Input: a tar archive; the checksums of its headers are made right, or nothing else would be
//! looked at.
//!
//! - What is accepted has the same entries for the `tar` crate: paths, types, sizes, targets.
//! - All paths are plain, and there are no more inodes than the limit allows.
//! - Of `examine` and `read`, the one accepts what the other does.

use std::ops::ControlFlow;

use oci2sysext::layer::{self, Compression, Fate, LayerOptions, ScanEnd, ScanKind};
use oci2sysext::limits::Limits;
use oci2sysext::tree::{components, join};
use oci2sysext::verify::{Blob, Verified};

use super::blob::{Layer, MemorySink};
use super::tars::{Header, Tar};

const ENTRIES: u64 = 500;

pub(super) fn limits() -> Limits {
    Limits { entries: ENTRIES, names: 100_000, layer_uncompressed: 1 << 20, ..Limits::default() }
}

pub fn run(data: &[u8]) {
    let tar = sealed(data);
    let limits = limits();
    let fate = |path: &[u8]| match path.last() {
        Some(byte) if byte % 3 == 0 => Fate::Keep,
        Some(byte) if byte % 3 == 1 => Fate::Hold,
        _ => Fate::Drop,
    };
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: true };
    let sink = &mut MemorySink::default();
    let inodes = layer::examine(&tar, Compression::None, &options, sink);
    if tar.is_empty() {
        return;
    }
    let blob = Layer::tar(&tar).blob();
    let layer = layer::read(&blob, &options, &mut MemorySink::default());
    assert_eq!(inodes.is_ok(), layer.is_ok());
    let (Ok(inodes), Ok(layer)) = (inodes, layer) else { return };
    assert_eq!(inodes, layer.tree.len());
    assert!(u64::try_from(inodes).unwrap() <= ENTRIES + 1);
    for entry in layer.tree.walk() {
        assert!(is_plain(&entry.path), "{:?}", entry.path);
    }
    assert_eq!(as_we_see(&blob), as_the_tar_crate_sees(&tar));
}

/// Whether a path is relative and stays where it is.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let bad = |name: &[u8]| name.is_empty() || name == b"." || name == b".." || name.contains(&0);
    path.is_empty() || !path.split(|&byte| byte == b'/').any(bad)
}

/// The archive with right checksums in its headers.
pub(super) fn sealed(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tar
}

/// Path, type flag, size, link target.
type Line = (Vec<u8>, u8, u64, Vec<u8>);

fn as_we_see(blob: &Verified<Blob>) -> Vec<Line> {
    let mut lines = Vec::new();
    let end = layer::scan::<()>(blob, &limits(), &mut |entry, _| {
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

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        Tar::new()
            .dir(b"./usr/")
            .pax(&[("path", b"usr/long name"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"b")])
            .file(b"usr/l", &[b'c'; 700])
            .extension(b'L', b"usr/gnu\0")
            .symlink(b"usr/g", b"target")
            .hard_link(b"usr/z", b"usr/long name")
            .header(Header::new(b'6', b"var/fifo", 0))
            .file(b"usr/.wh.x", b"")
            .end(),
        Tar::new().dir(b"usr").file(b"usr/.wh..wh..opq", b"").file(b"usr/a", b"a").end(),
        Tar::new().pax(&[("linkpath", b"../b"), ("size", b"0")]).symlink(b"a", b"x").end(),
        Tar::new().extension(b'K', b"target\0").symlink(b"a", b"x").end(),
        Tar::new().header(Header::new(b'3', b"dev/null", 0).with(329, b"0000001\0")).end(),
    ]
}
