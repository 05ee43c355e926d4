//! The archives of Go's and Rust's tar libraries: each is accepted or refused for a reason that
//! `testdata/layer/corpus.tsv` gives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use oci2sysext::layer::{self, Fate, LayerOptions};
use oci2sysext::limits::Limits;
use oci2sysext::tree::components;

use crate::blob::{Layer, MemorySink};
use crate::data;

/// The paths that GNU tar lists, sorted, each once.
fn as_gnu_tar_sees(archive: &Path) -> Vec<Vec<u8>> {
    let output = Command::new("tar")
        .args(["--list", "--quoting-style=literal", "--show-transformed-names", "--file"])
        .arg(archive)
        .output()
        .unwrap();
    let paths: BTreeSet<Vec<u8>> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let names: Vec<_> = components(line).filter(|&name| name != b".").collect();
            names.join(&b'/')
        })
        .collect();
    let mut paths: Vec<_> = paths.into_iter().collect();
    paths.sort_by(|a, b| components(a).cmp(components(b)));
    paths
}

#[test]
fn every_archive_of_the_corpora_gets_its_verdict() {
    let Some(data) = data::needed("") else { return };
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/layer/corpus.tsv");
    let expected: BTreeMap<String, (String, String)> = std::fs::read_to_string(table)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            let mut next = || fields.next().expect("name, verdict, reason");
            (next(), (next(), next()))
        })
        .collect();
    let mut found = BTreeMap::new();
    for corpus in ["go", "tar-rs"] {
        for entry in std::fs::read_dir(data.join("tars").join(corpus)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|suffix| suffix != "tar") {
                continue;
            }
            let name = format!("{corpus}/{}", path.file_name().unwrap().to_str().unwrap());
            let limits = Limits::default();
            let options = LayerOptions { limits: &limits, fate: &|_| Fate::Keep, keep_ima: false };
            let bytes = std::fs::read(&path).unwrap();
            let result =
                layer::read(&Layer::tar(&bytes).blob(), &options, &mut MemorySink::default());
            if let Ok(layer) = &result {
                let mut paths: Vec<_> = layer.tree.walk().map(|entry| entry.path).collect();
                paths.retain(|path| !layer.implied.contains(path));
                assert_eq!(paths, as_gnu_tar_sees(&path), "{name}");
            }
            found.insert(name, result.err().map(|error| error.problem.to_string()));
        }
    }
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(found.keys().collect()), names(expected.keys().collect()));
    for (name, found) in found {
        let (verdict, reason) = &expected[&name];
        match found {
            None => assert_eq!(verdict, "accept", "{name} was accepted"),
            Some(message) => {
                assert_eq!(verdict, "refuse", "{name}: {message}");
                assert!(message.contains(reason), "{name}: found {message:?}, expected {reason:?}");
            }
        }
    }
}
