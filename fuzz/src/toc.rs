//! Tables of contents of layers.
//!
//! Input: the JSON.
//!
//! - Paths are plain, each once, and at most as many as the limit.
//! - Files are where the layer has stored bytes.

use std::collections::BTreeSet;

use oci2sysext::base::record::EntryKind;
use oci2sysext::base::toc;
use oci2sysext::limits::Limits;

use super::layer::is_plain;

const END: u64 = 1 << 20;

pub fn run(data: &[u8]) {
    let limits = Limits { entries: 20, path: 64, ..Limits::default() };
    let Ok(found) = toc::parse(data, END, &limits) else { return };
    assert!(found.entries.len() <= 20);
    let mut paths = BTreeSet::new();
    for entry in &found.entries {
        assert!(entry.path.is_empty() || is_plain(&entry.path));
        assert!(entry.path.len() <= 64 && entry.stat.mode <= 0o7777);
        if !matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque) {
            assert!(paths.insert(&entry.path));
        }
    }
    for (path, place) in &found.places {
        assert!(paths.contains(path));
        assert!(place.offset.checked_add(place.length).unwrap() <= END);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    super::testdata::texts(&[
        &format!(
            r#"{{"version":1,"entries":[
            {{"type":"dir","name":"usr/","mode":493,"modtime":"2026-01-01T00:00:00.5Z"}},
            {{"type":"reg","name":"usr/a","mode":420,"size":9,"offset":10,"endOffset":90,"digest":"{digest}"}},
            {{"type":"chunk","name":"usr/a","offset":50,"chunkOffset":4}},
            {{"type":"symlink","name":"usr/b","linkName":"a","xattrs":{{"user.x":"eQ=="}}}}]}}"#
        ),
        &format!(
            r#"{{"version":1,"entries":[
            {{"type":"reg","name":"./a","size":9,"offset":10,"digest":"{digest}"}},
            {{"type":"reg","name":"b","size":9,"offset":500,"digest":"{digest}"}},
            {{"type":"hardlink","name":"c","linkName":"/a"}},
            {{"type":"reg","name":".wh.d"}},{{"type":"reg","name":".wh..wh..opq"}}]}}"#
        ),
    ])
}
