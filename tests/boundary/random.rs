//! Random builds: what their layers come to is what the build has, and not a byte depends on how
//! it was cut into layers. umoci is asked, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use oci2sysext::base::{Audit, Covers, Hidden, HiddenKind, Sources};
use oci2sysext::error::Error;
use oci2sysext::layer::{self, Fate, LayerOptions, Stored};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Digest;
use oci2sysext::tree::Content;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::blob::{Layer, MemorySink};
use crate::common::layout::{Image, Layout};
use crate::common::tarball::gzip;
use crate::common::{need, tools};
use crate::model::{self, ACTIONS, Build, Node, Wish};

fn builds() -> impl Strategy<Value = Build> {
    let wish = (0..ACTIONS, any::<u8>(), any::<u8>()).prop_map(|(action, path, other)| Wish {
        action,
        path,
        other,
    });
    vec(vec(wish, 0..24), 2..5).prop_map(|steps| {
        let mut build = Build::new();
        for wishes in &steps {
            build.step(wishes);
        }
        build
    })
}

fn fate(path: &[u8]) -> Fate {
    match path.split(|&byte| byte == b'/').next() {
        Some(b"usr") => Fate::Keep,
        Some(b"etc") => Fate::Hold,
        _ => Fate::Drop,
    }
}

/// What layers come to, and what the sink is given; `keep_all`: whatever it is.
fn merged(layers: &[Vec<u8>], keep_all: bool) -> (BTreeMap<String, String>, Vec<Vec<u8>>) {
    let blobs: Vec<_> = layers.iter().map(|tar| Layer::gzip(tar).blob()).collect();
    let limits = Limits::default();
    let fate = |path: &[u8]| if keep_all { Fate::Keep } else { fate(path) };
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: false };
    let mut sink = MemorySink::default();
    let merged = layer::read_all(&blobs, &options, &mut sink).unwrap();
    assert_eq!(merged.implied, [b""]);
    let mut first = BTreeMap::new();
    let mut list = BTreeMap::new();
    for entry in merged.tree.walk().filter(|entry| !entry.path.is_empty()) {
        let path = String::from_utf8(entry.path).unwrap();
        let first = first.entry(entry.ino).or_insert_with(|| path.clone());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let line = match &entry.inode.content {
            Content::Directory(_) => format!("directory {:o}", entry.inode.stat.mode),
            Content::Symlink(target) => format!("symlink {}", text(target)),
            Content::Regular(Stored::Sunk(content)) => {
                format!("file {} of {first}", text(content))
            }
            // Whether nobody wants it under any name is not said of each.
            Content::Regular(Stored::Held(_) | Stored::Dropped { .. }) => {
                format!("waits or is dropped, of {first}")
            }
            other => panic!("{other:?}"),
        };
        list.insert(path, line);
    }
    (list, sink.stored)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_come_to_what_the_build_has(build in builds()) {
        let (found, stored) = merged(&build.layers, true);
        prop_assert_eq!(&found, &build.list());
        let whole = build.whole();
        prop_assert_eq!(merged(&[whole], true), (found, stored));
    }

    #[test]
    fn no_byte_depends_on_the_cut(build in builds()) {
        let cut = merged(&build.layers, false);
        prop_assert_eq!(&merged(&[build.whole()], false), &cut);
        // Nothing that is gone, or that nobody wants, is in the image.
        let list = build.list();
        let wanted = |contents: &Vec<u8>| {
            let contents = format!("file {} of ", String::from_utf8(contents.clone()).unwrap());
            list.iter().any(|(path, line)| path.starts_with("usr/") && line.starts_with(&contents))
        };
        prop_assert!(cut.1.iter().all(wanted));
    }

    #[test]
    fn a_base_has_what_the_build_has(build in builds()) {
        let line = |(path, node): (&Vec<String>, &Node)| {
            let line = match node {
                Node::Directory { .. } => return None,
                Node::Symlink { target } => format!("symlink {target}"),
                Node::File { contents, .. } => format!("file {}", Digest::of(contents.as_bytes())),
            };
            Some((path.join("/"), line))
        };
        let expected: BTreeMap<_, _> = build.paths.iter().filter_map(line).collect();
        let paths = (0..=u8::MAX).map(|number| model::path(number).join("/").into_bytes()).collect();
        prop_assert_eq!(audited(&build.layers, &paths), expected);
    }
}

/// What a base of these layers has, directories left out, and no name of a file but its contents.
fn audited(layers: &[Vec<u8>], paths: &BTreeSet<Vec<u8>>) -> BTreeMap<String, String> {
    let limits = Limits::default();
    let mut blobs = |index: usize| Ok::<_, Error>(Layer::gzip(&layers[index]).blob());
    let mut audit = Audit::new(&mut blobs, layers.len(), false, Sources::default(), &limits);
    let found = audit.look(paths, &Covers::default()).unwrap().into_iter().filter_map(
        |(path, Hidden { kind, .. })| {
            let line = match kind {
                HiddenKind::Directory => return None,
                HiddenKind::Regular { digest, .. } => format!("file {}", digest.unwrap()),
                HiddenKind::Symlink(target) => {
                    format!("symlink {}", String::from_utf8(target.to_vec()).unwrap())
                }
                HiddenKind::Other => panic!("another kind"),
            };
            Some((String::from_utf8(path).unwrap(), line))
        },
    );
    found.collect()
}

/// Each path below a directory, as the model lists it.
fn unpacked(root: &Path) -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                waiting.push(path.clone());
            }
            paths.push(path);
        }
    }
    // As the parts of paths are in order.
    paths.sort();
    let mut first = BTreeMap::new();
    let line = |path: std::path::PathBuf| {
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let line = if metadata.is_dir() {
            format!("directory {:o}", metadata.permissions().mode() & 0o7777)
        } else if metadata.is_symlink() {
            format!("symlink {}", fs::read_link(&path).unwrap().display())
        } else {
            let first = first.entry(metadata.ino()).or_insert_with(|| name.clone());
            format!("file {} of {first}", fs::read_to_string(&path).unwrap())
        };
        (name, line)
    };
    paths.into_iter().map(line).collect()
}

#[test]
fn umoci_unpacks_what_layers_come_to() {
    let umoci = need!(tools::newest("umoci"), "no umoci");
    let runs = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(runs)
        .run(&builds(), |build| {
            let layers = build.layers.iter().map(|tar| (gzip(tar), tar.clone()));
            let mut layout = Layout::new();
            layout.add_image(&Image::of_blobs(&layers.collect::<Vec<_>>()));
            let directory = layout.tagged("build");
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("root");
            let mut command = Command::new(&umoci);
            command.args(["raw", "unpack", "--image", &format!("{}:build", directory.display())]);
            if !rustix::process::geteuid().is_root() {
                command.arg("--rootless");
            }
            tools::check(command.arg(&root));
            prop_assert_eq!(merged(&build.layers, true).0, unpacked(&root));
            Ok(())
        })
        .unwrap();
}
