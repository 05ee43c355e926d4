//! A real layer on a real base: `images/mc-layout` of the shared data.

use std::collections::BTreeMap;
use std::io::Read;

use oci2sysext::report::Action;
use oci2sysext::tree::Content;

use crate::blob::Layer;
use crate::case::{Done, Image, options};
use crate::data;

const BASE: &str = "0cc2b0f8632ca74ed074223ecba374b7fcebeb4b617c528487e54dc6a73b8430";
const EXTENSION: &str = "016073b4b6468dfda62d9ecbd0587ce05dc291ed7b7433437a043ee1c54c5a49";

/// The layer and its uncompressed bytes.
fn layer(blobs: &std::path::Path, digest: &str) -> (Layer, Vec<u8>) {
    let stored = std::fs::read(blobs.join(digest)).unwrap();
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(&stored[..]).read_to_end(&mut tar).unwrap();
    (Layer::new(stored, "tar+gzip", &tar), tar)
}

fn mc() -> Option<(Image, Vec<u8>)> {
    let blobs = data::needed("images/mc-layout/blobs/sha256")?;
    let (extension, tar) = layer(&blobs, EXTENSION);
    Some((Image { lower: vec![layer(&blobs, BASE).0], extension }, tar))
}

/// What the `tar` crate says is in the layer: path, mode, owner, time, and contents or target.
type Listing = BTreeMap<String, (u32, u64, u64, u64, Vec<u8>)>;

fn listing(tar: &[u8]) -> Listing {
    let mut found = Listing::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let path = path.trim_start_matches("./").trim_end_matches(['/', '.']).to_owned();
        let header = entry.header();
        let link = entry.link_name().unwrap().map(|link| link.to_str().unwrap().to_owned());
        if header.entry_type() == tar::EntryType::Link {
            let target = found[link.unwrap().trim_start_matches("./")].clone();
            found.insert(path, target);
            continue;
        }
        let (mode, uid, gid) =
            (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        let mtime = header.mtime().unwrap();
        let mut bytes = link.unwrap_or_default().into_bytes();
        entry.read_to_end(&mut bytes).unwrap();
        found.insert(path, (mode, uid, gid, mtime, bytes));
    }
    found
}

/// Where a path of this layer must be, told by hand.
fn expected(path: &str) -> Option<String> {
    let dropped = ["a", "foo", "var", "etc/ld.so.cache", "usr/lib/sysimage/rpm"];
    if dropped.iter().any(|top| path == *top || path.starts_with(&format!("{top}/"))) {
        return None;
    }
    let below_etc = path == "etc" || path.starts_with("etc/");
    Some(if below_etc { format!("usr/{path}") } else { path.to_owned() })
}

fn convert(policy: bool) -> Option<(Done, Listing)> {
    let (image, tar) = mc()?;
    let mut options = options();
    "mc".clone_into(&mut options.name);
    options.image_name = Some("mc".to_owned());
    Some((image.convert(&options, policy).unwrap(), listing(&tar)))
}

#[test]
fn every_path_of_mc_is_where_it_should_be() {
    let Some((done, listing)) = convert(false) else {
        return;
    };
    assert_eq!(listing.len(), 437);
    let tree = done.sysext.tree();
    let mut wanted: Vec<String> = listing.keys().filter_map(|path| expected(path)).collect();
    // The parent of the package database is in the layer only as that.
    wanted.push("usr/lib/sysimage".to_owned());
    wanted.push("usr/lib/extension-release.d".to_owned());
    wanted.push("usr/lib/extension-release.d/extension-release.mc".to_owned());
    wanted.sort();
    let mut found: Vec<_> =
        tree.walk().map(|entry| String::from_utf8(entry.path).unwrap()).collect();
    found.sort();
    let odd: Vec<_> = wanted
        .iter()
        .filter(|path| found.binary_search(path).is_err())
        .chain(found.iter().filter(|path| wanted.binary_search(path).is_err()))
        .collect();
    assert!(odd.is_empty() && found.len() == wanted.len(), "{odd:?}");
    for (path, (mode, uid, gid, mtime, bytes)) in &listing {
        let Some(place) = expected(path) else { continue };
        let inode = tree.inode(tree.lookup(place.as_bytes()).unwrap());
        let stat = &inode.stat;
        assert_eq!((u64::from(stat.uid), u64::from(stat.gid)), (*uid, *gid), "{path}");
        assert_eq!(u32::from(stat.mode), *mode, "{path}");
        match &inode.content {
            // A directory that the base has too has its time.
            Content::Directory(_) => continue,
            Content::Regular(contents) => assert!(contents == bytes, "{path}"),
            Content::Symlink(target) => assert_eq!(**target, bytes[..], "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(u64::try_from(stat.mtime.sec).unwrap(), *mtime, "{path}");
    }
    // Nothing but what is in the image went into the sink.
    for stored in &done.sink.stored {
        let is_used = tree.walk().any(
            |entry| matches!(&entry.inode.content, Content::Regular(bytes) if bytes == stored),
        );
        assert!(is_used);
    }
}

#[test]
fn every_change_of_mc_is_reported() {
    let Some((done, listing)) = convert(false) else { return };
    let changes = &done.changes;
    let by_path = |path: &str, action: Action<'_>| {
        changes.iter().filter(|c| c.path == path.as_bytes() && c.action == action).count()
    };
    for path in listing.keys() {
        match expected(path) {
            None => assert_eq!(by_path(path, Action::Dropped), 1, "{path}"),
            Some(place) if place != *path => {
                let to = place.as_bytes();
                assert_eq!(by_path(path, Action::Moved { to }), 1, "{path}");
            }
            Some(_) => assert_eq!(by_path(path, Action::Dropped), 0, "{path}"),
        }
    }
    let release = "usr/lib/extension-release.d/extension-release.mc";
    assert_eq!(by_path(release, Action::Added), 1);
    let count = |rule| done.changes.warnings.iter().filter(|w| w.rule == rule).count();
    let alternatives =
        listing.values().filter(|(.., bytes)| bytes.starts_with(b"/etc/alternatives/")).count();
    assert_eq!((count("R23"), count("R25")), (alternatives, 1), "{:?}", done.changes.warnings);
    assert_eq!(count("R34"), 0);
}

#[test]
fn mc_is_for_the_system_that_it_was_built_on() {
    let Some((done, _)) = convert(true) else {
        return;
    };
    let tree = done.sysext.tree();
    let path = b"usr/lib/extension-release.d/extension-release.mc";
    let inode = tree.inode(tree.lookup(path).unwrap());
    let Content::Regular(text) = &inode.content else { panic!() };
    assert_eq!(&text[..], b"ID=fedora\nVERSION_ID=43\nARCHITECTURE=x86-64\n");
    assert_eq!({ inode.stat.mtime.sec }, 77);
    // Directories of the base have its time, others the layer's.
    let time = |path: &[u8]| tree.inode(tree.lookup(path).unwrap()).stat.mtime.sec;
    assert!(time(b"usr/bin") < time(b"usr/lib64"));
}

#[test]
fn every_path_of_mc_has_a_label() {
    let Some((done, _)) = convert(true) else { return };
    let tree = done.sysext.tree();
    let label = |path: &str| {
        let stat = &tree.inode(tree.lookup(path.as_bytes()).unwrap()).stat;
        String::from_utf8(stat.xattrs.get(b"security.selinux").unwrap().to_vec()).unwrap()
    };
    for (path, name) in [
        ("", "root_t"),
        ("usr/bin/mc", "bin_t"),
        ("usr/etc", "etc_t"),
        ("usr/etc/mc/mc.ext", "etc_t"),
        ("usr/lib64/libXrdXml.so", "lib_t"),
        ("usr/lib/systemd/system/ngircd.service", "systemd_unit_file_t"),
        ("usr/share/man/man1/mc.1.gz", "man_t"),
    ] {
        assert_eq!(label(path), format!("system_u:object_r:{name}:s0\0"), "{path}");
    }
    assert!(tree.walk().all(|entry| entry.inode.stat.xattrs.get(b"security.selinux").is_some()));
}

/// What the host gets of mc: each of its defaults once, and no unit that was not enabled.
#[test]
fn every_default_of_mc_is_copied_where_the_host_has_none() {
    let Some((image, tar)) = mc() else {
        return;
    };
    let mut options = options();
    "mc".clone_into(&mut options.name);
    options.repairs = oci2sysext::sysext::Repairs::all();
    let done = image.convert(&options, true).unwrap();
    let tree = done.sysext.tree();
    let text = |path: &str| {
        let ino = tree.lookup(path.as_bytes()).unwrap_or_else(|| panic!("{path}"));
        let Content::Regular(text) = &tree.inode(ino).content else { panic!("{path}") };
        String::from_utf8(text.clone()).unwrap()
    };
    let lines = text("usr/lib/tmpfiles.d/mc-sysext-etc.conf");
    for (path, (mode, .., target)) in listing(&tar) {
        let Some(place) = expected(&path).filter(|_| path.starts_with("etc/")) else { continue };
        let line = match &tree.inode(tree.lookup(place.as_bytes()).unwrap()).content {
            Content::Symlink(_) => {
                format!("L /{path} - - - - {}", String::from_utf8(target).unwrap())
            }
            Content::Directory(_) => format!("d /{path} {mode:04o} root root"),
            _ => format!("C /{path} - - - - /{place}"),
        };
        let of_base = matches!(path.as_str(), "etc/pam.d" | "etc/profile.d");
        let found = lines.lines().filter(|found| *found == line).count();
        // Whether the base has a directory is for the base to say.
        assert!(found == 1 || (found == 0 && of_base), "{line} in\n{lines}");
    }
    assert!(done.sysext.release().contains("EXTENSION_RELOAD_MANAGER=1\n"));
    assert_eq!(tree.lookup(b"usr/lib/systemd/system/multi-user.target.d"), None);
    let is_told = |rule: &str, part: &str| {
        let changes = done.changes.iter();
        changes.filter(|change| change.rule == rule).any(|change| change.reason.contains(part))
    };
    assert!(is_told("R22", "installed, but not enabled"));
    assert!(tree.walk().all(|entry| entry.inode.stat.xattrs.get(b"security.selinux").is_some()));
}
