//! The records of a listing, as they are behind its compression.
//!
//! Input: the records.
//!
//! - Paths are plain, and within the limits; so are numbers of entries and bytes of contents.
//! - What was read is read again after it was written.

use oci2sysext::base::record::{Entry, EntryKind, Record, Records, Regular};
use oci2sysext::limits::Limits;
use oci2sysext::tree::Stat;

use super::layer::is_plain;

pub fn run(data: &[u8]) {
    let limits = Limits { entries: 20, path: 64, text_file: 64, ..Limits::default() };
    let Some(records) = read(data, &limits) else { return };
    let mut text = 0;
    let mut entries = 0;
    for record in &records {
        let (path, contents) = match record {
            Record::Contents { path, bytes } => (path, Some(bytes)),
            Record::Entry(Entry { path, kind, .. }) => {
                entries += 1;
                match kind {
                    EntryKind::Regular(Regular { contents, .. }) => (path, contents.as_ref()),
                    _ => (path, None),
                }
            }
        };
        assert!(path.is_empty() || is_plain(path));
        assert!(path.len() <= 64);
        text += contents.map_or(0, Vec::len);
    }
    assert!(entries <= 20 && text <= 4 * 64);
    assert_eq!(read(&written(&records), &limits).as_ref(), Some(&records));
}

fn read(data: &[u8], limits: &Limits) -> Option<Vec<Record>> {
    let mut records = Records::new(data, limits);
    let mut found = Vec::new();
    while let Some(record) = records.read().ok()? {
        found.push(record);
    }
    Some(found)
}

fn written(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        record.write(&mut bytes);
    }
    Record::write_end(&mut bytes);
    bytes
}

pub fn seeds() -> Vec<Vec<u8>> {
    let entry = |path: &str, kind| {
        let mut stat = Stat::directory();
        stat.xattrs.insert(b"user.a", b"b");
        Record::Entry(Entry { path: path.into(), stat, kind })
    };
    let file = |contents: Option<&[u8]>| {
        let size = contents.map_or(9, |contents| u64::try_from(contents.len()).unwrap());
        EntryKind::Regular(Regular { size, digest: None, contents: contents.map(Into::into) })
    };
    vec![
        written(&[entry("", EntryKind::Directory), entry("usr", EntryKind::Directory)]),
        written(&[
            entry("usr/lib/os-release", file(Some(b"ID=x"))),
            entry("usr/a", file(None)),
            entry("usr/b", EntryKind::Symlink(b"a".into())),
            entry("usr/c", EntryKind::HardLink(b"usr/a".into())),
            entry("usr/d", EntryKind::Whiteout),
            entry("usr", EntryKind::Opaque),
            Record::Contents { path: b"usr/a".into(), bytes: b"contents!".into() },
        ]),
    ]
}
