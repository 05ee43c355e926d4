//! Several layers of one extension.
//!
//! Input: lines that say what the layers hold, as for `base`.
//!
//! - The sink has the contents of every file that is kept, and nothing else.
//! - What is deleted of the base is told once, and is nothing that the extension has.
//! - An empty layer anywhere, and other compression, change nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use oci2sysext::layer::{self, Error, Fate, LayerOptions, LayerTree, Stored};
use oci2sysext::limits::Limits;
use oci2sysext::tree::{Content, is_within};

use super::blob::{Layer, MemorySink};
use super::layers;
use super::tars::Tar;

pub fn run(data: &[u8]) {
    let tars = layers::read(data, 5, &mut <[u8]>::to_vec);
    let found = read(&tars.iter().map(|tar| Layer::tar(tar)).collect::<Vec<_>>());
    for place in 1..tars.len() {
        let mut more: Vec<_> = tars.iter().map(|tar| Layer::gzip(tar)).collect();
        more.insert(place, Layer::tar(&Tar::new().end()));
        let other = read(&more);
        let list =
            |read: &Read| read.as_ref().map(shown).map_err(|error| error.problem.to_string());
        assert_eq!(list(&other), list(&found));
    }
    let Ok((tree, stored)) = found else { return };
    if tars.len() == 1 {
        return;
    }
    let mut kept = BTreeSet::new();
    for entry in tree.tree.walk() {
        if let Content::Regular(Stored::Sunk(_)) = entry.inode.content {
            kept.insert(entry.ino);
        }
        let is_wanted = fate(&entry.path) != Fate::Drop;
        let is_gone = matches!(entry.inode.content, Content::Regular(Stored::Dropped { .. }));
        assert!(!(is_wanted && is_gone), "{:?}", entry.path.escape_ascii().to_string());
    }
    assert_eq!(kept.len(), stored.len());
    for (place, whiteout) in tree.whiteouts.iter().enumerate() {
        let there = tree.tree.lookup(&whiteout.path);
        assert!(there.is_none_or(|ino| tree.tree.directory(ino).is_some()));
        let others = tree.whiteouts.iter().enumerate().filter(|(other, _)| *other != place);
        for (_, other) in others {
            assert!(!is_within(&whiteout.path, &other.path), "{whiteout:?} {other:?}");
        }
    }
}

type Read = Result<(LayerTree<Vec<u8>>, Vec<Vec<u8>>), Error>;

fn fate(path: &[u8]) -> Fate {
    match path.first() {
        Some(b'u') => Fate::Keep,
        Some(b'e') => Fate::Hold,
        _ => Fate::Drop,
    }
}

fn read(layers: &[Layer]) -> Read {
    let blobs: Vec<_> = layers.iter().map(Layer::blob).collect();
    let limits = Limits::default();
    let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: false };
    let mut sink = MemorySink::default();
    let tree = layer::read_all(&blobs, &options, &mut sink)?;
    Ok((tree, sink.stored))
}

/// All that can be seen of merged layers.
fn shown((tree, stored): &(LayerTree<Vec<u8>>, Vec<Vec<u8>>)) -> String {
    let mut text = format!("{:?} {:?} {stored:?}", tree.whiteouts, tree.implied);
    for entry in tree.tree.walk() {
        let name = entry.inode.content.type_name();
        let _ = write!(text, "\n{:?} {name} {:?}", entry.path, entry.inode.stat);
    }
    text
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = [
        "5 u=\n0 u/a=1\n0 u/b=2\n1 u/c=u/a\n/\n0 u/.wh.a=\n0 u/b=3\n1 u/d=u/c",
        "0 s/1=x\n0 e/1=y\n/\n1 u/a=s/1\n1 u/b=e/1\n/\n0 s/.wh.1=\n2 e/1=t",
        "5 u/d=\n0 u/d/x=1\n/\n0 u/d=2\n/\n5 u/d=\n0 u/d/y=3\n0 u/d/.wh..wh..opq=",
        "2 u/l=d\n5 u/d=\n/\n0 u/l/x=1",
        "0 u/.wh.base=\n0 u/o/.wh..wh..opq=\n/\n0 u/.wh.o=\n0 .wh..wh..opq=\n/\n0 u/base=1",
    ];
    text.map(|text| text.as_bytes().to_vec()).to_vec()
}
