//! A real image: an extension layer made by `rpm -i` and its base, with GNU tar as the judge.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use oci2sysext::layer::{self, Fate, LayerOptions, ScanEnd};
use oci2sysext::limits::Limits;
use oci2sysext::tree::Content;

use crate::blob::{Layer, MemorySink};
use crate::data;

/// The stored layers of the image of that name, lowest first.
fn layers(layout: &Path, name: &str) -> Vec<(String, Vec<u8>)> {
    let blob = |digest: &serde_json::Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    let manifest = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name)
        .unwrap();
    json(&blob(&manifest["digest"]))["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["mediaType"].as_str().unwrap().to_owned(), blob(&layer["digest"])))
        .collect()
}

fn unpacked(stored: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(stored), &mut tar).unwrap();
    tar
}

/// GNU tar's listing: type and permissions, owner, size, path; one line for each entry.
fn listing(tar: &[u8]) -> Vec<(String, String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.tar");
    std::fs::write(&file, tar).unwrap();
    let output = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--quoting-style=literal", "--file"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let mut fields = line.split_whitespace();
            let mut next = || fields.next().unwrap().to_owned();
            let (mode, owner, _size, _day, _time) = (next(), next(), next(), next(), next());
            let rest = fields.collect::<Vec<_>>().join(" ");
            let path = rest.split(" -> ").next().unwrap().split(" link to ").next().unwrap();
            let path = path.trim_start_matches("./").trim_end_matches('/');
            let path = if path == "." { String::new() } else { path.to_owned() };
            (path, mode, owner)
        })
        .collect()
}

#[test]
fn a_real_extension_layer_has_the_paths_that_gnu_tar_lists() {
    let Some(data) = data::needed("") else {
        return;
    };
    let layers = layers(&data.join("images/mc-layout"), "sysext");
    let (media_type, stored) = layers.last().unwrap().clone();
    let tar = unpacked(&stored);
    let layer = Layer { media_type, ..Layer::new(stored, "", &tar) };
    let limits = Limits::default();
    let options = LayerOptions { limits: &limits, fate: &crate::reading::fate, keep_ima: false };
    let layer = layer::read(&layer.blob(), &options, &mut MemorySink::default()).unwrap();
    let listing = listing(&tar);
    assert!(listing.len() > 400, "{}", listing.len());
    for (path, mode, owner) in &listing {
        let ino = layer.tree.lookup(path.as_bytes()).unwrap_or_else(|| panic!("{path}"));
        let inode = layer.tree.inode(ino);
        assert_eq!(&format!("{}/{}", inode.stat.uid, inode.stat.gid), owner, "{path}");
        let bits = inode.stat.mode;
        let bit = |shift: u16, letter: char| if bits >> shift & 1 == 1 { letter } else { '-' };
        let group_write = bit(4, 'w');
        assert_eq!(mode.chars().nth(5), Some(group_write), "{path} {mode}");
        let is_directory = matches!(inode.content, Content::Directory(_));
        assert_eq!(mode.starts_with('d'), is_directory, "{path}");
    }
    let listed: std::collections::BTreeSet<_> =
        listing.iter().map(|(path, ..)| path.as_bytes().to_vec()).collect();
    for entry in layer.tree.walk() {
        let path = entry.path.escape_ascii();
        let known = listed.contains(&entry.path) || layer.implied.contains(&entry.path);
        assert!(known, "{path}");
    }
    let capable = layer.tree.walk().filter(|entry| {
        entry.inode.stat.xattrs.get(b"security.capability").is_some_and(|value| value.len() == 20)
    });
    assert!(capable.count() > 0, "the layer has a file with capabilities");
    assert!(layer.tree.link_counts().iter().any(|&count| count > 1), "it has hard links");
}

#[test]
fn a_real_base_can_be_looked_through() {
    let Some(data) = data::needed("") else { return };
    for (media_type, stored) in layers(&data.join("images/mc-layout"), "base") {
        let tar = unpacked(&stored);
        let layer = Layer { media_type, ..Layer::new(stored, "", &tar) };
        let mut count = 0;
        let end = layer::scan::<()>(&layer.blob(), &Limits::default(), &mut |entry, _| {
            assert!(!entry.path.starts_with(b"/") && !entry.path.starts_with(b"."));
            count += 1;
            Ok(ControlFlow::Continue(()))
        });
        assert!(matches!(end, Ok(ScanEnd::Complete)), "{end:?}");
        assert_eq!(count, listing(&tar).len());
        let options =
            LayerOptions { limits: &Limits::default(), fate: &|_| Fate::Drop, keep_ima: false };
        layer::read(&layer.blob(), &options, &mut MemorySink::default()).unwrap();
    }
}
