//! GNU tar writes, we read: the tree that comes out is the directory that went in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use oci2sysext::layer::{self, Fate, LayerOptions, Stored};
use oci2sysext::limits::Limits;
use oci2sysext::tree::Content;

use crate::blob::{Layer, MemorySink};

/// All that both sides know of a path. Owners are by number, times in nanoseconds.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: &'static str,
    data: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same inode.
    first: Vec<u8>,
}

type Seens = BTreeMap<Vec<u8>, Seen>;

fn in_directory(root: &Path, nanoseconds: bool) -> Seens {
    let mut paths = vec![root.to_path_buf()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        if path.symlink_metadata().unwrap().is_dir() {
            paths.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        next += 1;
    }
    let relative = |path: &Path| path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
    paths.sort_by_key(|path| relative(path));
    let mut inodes = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for path in paths {
        let meta = path.symlink_metadata().unwrap();
        let (kind, data) = if meta.is_dir() {
            ("directory", Vec::new())
        } else if meta.is_symlink() {
            ("symlink", std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else {
            ("regular file", std::fs::read(&path).unwrap())
        };
        let first = inodes.entry(meta.ino()).or_insert_with(|| relative(&path)).clone();
        let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        let mtime = (meta.mtime(), if nanoseconds { meta.mtime_nsec() } else { 0 });
        let owner = (meta.uid(), meta.gid());
        let xattrs = if meta.is_symlink() { BTreeMap::new() } else { user_xattrs(&path) };
        seen.insert(relative(&path), Seen { kind, data, mode, owner, mtime, xattrs, first });
    }
    seen
}

fn user_xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 4096];
    let count = rustix::fs::listxattr(path, &mut names[..]).unwrap_or(0);
    names.truncate(count);
    names
        .split(|&byte| byte == 0)
        .filter(|name| name.starts_with(b"user.") || name.starts_with(b"security.capability"))
        .map(|name| {
            let mut value = vec![0; 4096];
            let count = rustix::fs::getxattr(path, name, &mut value[..]).unwrap();
            value.truncate(count);
            (name.to_vec(), value)
        })
        .collect()
}

fn in_layer(tar: &[u8]) -> Seens {
    let limits = Limits::default();
    let options = LayerOptions { limits: &limits, fate: &|_| Fate::Keep, keep_ima: false };
    let layer =
        layer::read(&Layer::gzip(tar).blob(), &options, &mut MemorySink::default()).unwrap();
    let mut inodes = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for entry in layer.tree.walk() {
        let stat = &entry.inode.stat;
        let data = match &entry.inode.content {
            Content::Regular(Stored::Sunk(content)) => content.clone(),
            Content::Symlink(target) => target.to_vec(),
            Content::Directory(_) => Vec::new(),
            other => panic!("{other:?}"),
        };
        let kind = entry.inode.content.type_name();
        let first = inodes.entry(entry.ino).or_insert_with(|| entry.path.clone()).clone();
        let mode = if kind == "symlink" { 0 } else { stat.mode.into() };
        let mtime = (stat.mtime.sec, stat.mtime.nsec.into());
        let owner = (stat.uid, stat.gid);
        let xattrs = stat.xattrs.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        seen.insert(entry.path, Seen { kind, data, mode, owner, mtime, xattrs, first });
    }
    seen
}

/// Names of every length around the headers' limits, odd bytes, links of all kinds.
fn make_tree(root: &Path) -> bool {
    let make = |name: &[u8], contents: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    };
    for length in [1, 98, 99, 100, 101, 154, 155, 156, 200, 255] {
        make(&[b"usr/", &b"n".repeat(length)[..]].concat(), &vec![b'c'; length * 7]);
        let target = "t".repeat(length);
        symlink(target, root.join(format!("usr/link{length}"))).unwrap();
    }
    make(&[&b"usr/deep"[..], &b"/0123456789".repeat(30)[..]].concat(), b"deep");
    make(b"usr/\xff\xfe not UTF-8 \n\x1b[31m", b"odd");
    make(b"usr/a=b %3D", b"");
    make(b"usr/.whatever", b"");
    let file = make(b"usr/lib/one", &vec![0; 70_000]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4711)).unwrap();
    std::fs::set_permissions(root.join("usr/lib"), std::fs::Permissions::from_mode(0o1777))
        .unwrap();
    std::fs::hard_link(&file, root.join("usr/lib/two")).unwrap();
    std::fs::hard_link(&file, root.join("usr").join("h".repeat(150))).unwrap();
    std::fs::hard_link(root.join("usr/link1"), root.join("usr/same link")).unwrap();
    rustix::fs::setxattr(&file, "user.note", b"va=l\nue\0", rustix::fs::XattrFlags::empty()).is_ok()
}

#[test]
fn what_gnu_tar_writes_is_read_back() {
    if Command::new("tar").arg("--version").output().is_err() {
        println!("not run: what_gnu_tar_writes_is_read_back (no tar)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let has_xattrs = make_tree(directory.path());
    for (format, nanoseconds) in [("gnu", false), ("pax", true), ("posix", true)] {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--format", format, "--sort=name"]);
        if format != "gnu" && has_xattrs {
            tar.args(["--xattrs", "--xattrs-include=*"]);
        }
        let output = tar.arg("-C").arg(directory.path()).arg(".").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut expected = in_directory(directory.path(), nanoseconds);
        if format == "gnu" {
            for seen in expected.values_mut() {
                seen.xattrs.clear();
            }
        }
        let found = in_layer(&output.stdout);
        assert_eq!(
            found.keys().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>(),
            expected.keys().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>(),
            "{format}"
        );
        for (path, expected) in &expected {
            assert_eq!(&found[path], expected, "{format}: {}", path.escape_ascii());
        }
    }
}

#[test]
fn what_gnu_tar_writes_as_ustar_is_read_back() {
    if Command::new("tar").arg("--version").output().is_err() {
        println!("not run: what_gnu_tar_writes_as_ustar_is_read_back (no tar)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let long = root.join("p".repeat(80)).join("q".repeat(70));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("n".repeat(99)), b"prefix and name").unwrap();
    for format in ["ustar", "v7"] {
        if format == "v7" {
            std::fs::remove_dir_all(root.join("p".repeat(80))).unwrap();
            std::fs::write(root.join("short"), b"v7").unwrap();
        }
        let output = Command::new("tar")
            .args(["--create", "--numeric-owner", "--format", format, "-C"])
            .arg(root)
            .arg(".")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(in_layer(&output.stdout), in_directory(root, false), "{format}");
    }
}
