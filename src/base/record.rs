//! The records of a listing: one for each entry of a layer, and one for each file whose contents
//! were asked for later.
//!
//! A record is a tag and its fields: numbers little-endian, bytes behind their length in four.
//! Nothing that a listing says is believed before it was compared with the limits: whoever wrote
//! it may have had a bug, or a bad disk.

use std::io::{self, Read};

use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::{Stat, Timestamp, Xattrs, components};

/// How many files of the largest size a listing, and what is read of a base, may hold.
pub(super) const TEXT_FILES: u64 = 4;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry of the layer, in the order of the archive.
    Entry(Entry),
    /// After all entries: the contents of the last entry with this path.
    Contents {
        /// The path of a regular file.
        path: Vec<u8>,
        /// What it holds.
        bytes: Vec<u8>,
    },
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as [`ScanEntry`](crate::layer::ScanEntry) has it.
    pub path: Vec<u8>,
    /// Its metadata; of a hard link, what the link's own header says.
    pub stat: Stat,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry of a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular(Regular),
    /// A symlink, with its target as written.
    Symlink(Vec<u8>),
    /// A hard link, with the path of its target.
    HardLink(Vec<u8>),
    /// A device or fifo.
    Special,
    /// It deletes the path from the layers below.
    Whiteout,
    /// It deletes all that lower layers have in the directory.
    Opaque,
}

/// A regular file of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regular {
    /// Length of its contents in bytes.
    pub size: u64,
    /// The digest of its contents; none where a table of contents says nothing.
    pub digest: Option<Digest>,
    /// Its contents, where an extension may ask for them.
    pub contents: Option<Vec<u8>>,
}

/// What is wrong with a listing.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It cannot be read or decompressed, or ends too early.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no listing, or one of another version.
    #[error("found another beginning, expected that of a listing of this version")]
    Magic,
    /// It is that of another layer, or was made under other limits.
    #[error("found the key of another layer")]
    Key,
    /// It is no file of this user's, or somebody else could have written it.
    #[error("found another owner, kind or mode, expected a file that is this user's alone")]
    Foreign,
    /// Its bytes are not those that were written.
    #[error("found bytes of another digest than the one at the end")]
    Checksum,
    /// There is no such record.
    #[error("found the tag {0}, expected one of a record")]
    Tag(u8),
    /// Entries come before contents.
    #[error("found an entry after contents")]
    Order,
    /// A field has a value that no layer can have.
    #[error("found a bad {0}")]
    Field(&'static str),
    /// More than a limit allows.
    #[error("found more than the limit {0} allows")]
    Limit(&'static str),
    /// Something comes after the end.
    #[error("found bytes after the end")]
    Trailing,
}

const END: u8 = 0;
const DIRECTORY: u8 = 1;
const REGULAR: u8 = 2;
const SYMLINK: u8 = 3;
const HARD_LINK: u8 = 4;
const SPECIAL: u8 = 5;
const WHITEOUT: u8 = 6;
const OPAQUE: u8 = 7;
const CONTENTS: u8 = 8;

impl Record {
    /// Appends the record as it is stored.
    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Contents { path, bytes } => {
                to.push(CONTENTS);
                put_bytes(to, path);
                put_bytes(to, bytes);
            }
            Self::Entry(Entry { path, stat, kind }) => {
                to.push(match kind {
                    EntryKind::Directory => DIRECTORY,
                    EntryKind::Regular(_) => REGULAR,
                    EntryKind::Symlink(_) => SYMLINK,
                    EntryKind::HardLink(_) => HARD_LINK,
                    EntryKind::Special => SPECIAL,
                    EntryKind::Whiteout => WHITEOUT,
                    EntryKind::Opaque => OPAQUE,
                });
                put_bytes(to, path);
                put_stat(to, stat);
                match kind {
                    EntryKind::Symlink(target) | EntryKind::HardLink(target) => {
                        put_bytes(to, target);
                    }
                    EntryKind::Regular(Regular { size, digest, contents }) => {
                        to.extend(size.to_le_bytes());
                        to.push(u8::from(digest.is_some()) | u8::from(contents.is_some()) << 1);
                        to.extend(digest.iter().flat_map(Digest::as_bytes));
                        if let Some(contents) = contents {
                            put_bytes(to, contents);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Appends the end of all records.
    pub fn write_end(to: &mut Vec<u8>) {
        to.push(END);
    }
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    // Whatever is longer was refused by a limit on its way here, or is by the reader.
    to.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend(bytes);
}

fn put_stat(to: &mut Vec<u8>, stat: &Stat) {
    let Stat { mode, uid, gid, mtime, xattrs } = stat;
    to.extend(mode.to_le_bytes());
    to.extend(uid.to_le_bytes());
    to.extend(gid.to_le_bytes());
    to.extend(mtime.sec.to_le_bytes());
    to.extend(mtime.nsec.to_le_bytes());
    to.extend(u32::try_from(xattrs.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in xattrs.iter() {
        put_bytes(to, name);
        put_bytes(to, value);
    }
}

/// Reads records, the decompressed bytes of a listing.
#[derive(Debug)]
pub struct Records<'l, R> {
    from: R,
    limits: &'l Limits,
    entries: u64,
    /// Bytes of all contents.
    text: u64,
    /// Whether contents have begun.
    after_entries: bool,
}

impl<'l, R: Read> Records<'l, R> {
    /// Starts at the first record.
    pub fn new(from: R, limits: &'l Limits) -> Self {
        Self { from, limits, entries: 0, text: 0, after_entries: false }
    }

    /// The next record; none at the end, after which there must be nothing.
    pub fn read(&mut self) -> Result<Option<Record>, Damage> {
        let [tag] = self.array()?;
        if tag == END {
            return match self.from.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(Damage::Trailing),
            };
        }
        if tag > CONTENTS {
            return Err(Damage::Tag(tag));
        }
        let path = self.path()?;
        if tag == CONTENTS {
            self.after_entries = true;
            return Ok(Some(Record::Contents { path, bytes: self.contents(None)? }));
        }
        if self.after_entries {
            return Err(Damage::Order);
        }
        self.entries += 1;
        within(self.entries, self.limits.entries, "entries")?;
        let stat = self.stat()?;
        let kind = match tag {
            DIRECTORY => EntryKind::Directory,
            REGULAR => EntryKind::Regular(self.regular()?),
            SYMLINK => EntryKind::Symlink(self.bytes(self.limits.symlink, "symlink")?),
            HARD_LINK => EntryKind::HardLink(self.path()?),
            SPECIAL => EntryKind::Special,
            WHITEOUT => EntryKind::Whiteout,
            _ => EntryKind::Opaque,
        };
        Ok(Some(Record::Entry(Entry { path, stat, kind })))
    }

    fn regular(&mut self) -> Result<Regular, Damage> {
        let size = u64::from_le_bytes(self.array()?);
        let [parts] = self.array()?;
        if parts > 3 {
            return Err(Damage::Field("kind of file"));
        }
        let digest = match parts & 1 {
            0 => None,
            _ => Some(Digest::from_bytes(self.array()?)),
        };
        let contents = match parts & 2 {
            0 => None,
            _ => Some(self.contents(Some(size))?),
        };
        Ok(Regular { size, digest, contents })
    }

    fn stat(&mut self) -> Result<Stat, Damage> {
        let mode = u16::from_le_bytes(self.array()?);
        let uid = u32::from_le_bytes(self.array()?);
        let gid = u32::from_le_bytes(self.array()?);
        let sec = i64::from_le_bytes(self.array()?);
        let nsec = u32::from_le_bytes(self.array()?);
        if mode > 0o7777 || nsec >= 1_000_000_000 {
            return Err(Damage::Field("mode or time"));
        }
        let mut xattrs = Xattrs::default();
        let mut left = self.limits.xattrs;
        for _ in 0..u32::from_le_bytes(self.array()?) {
            let name = self.bytes(left, "xattrs")?;
            if name.is_empty() || name.contains(&0) || xattrs.get(&name).is_some() {
                return Err(Damage::Field("extended attribute"));
            }
            left -= to_u64(name.len());
            let value = self.bytes(left.min(self.limits.xattr_value), "xattrs")?;
            left -= to_u64(value.len());
            xattrs.insert(&name, &value);
        }
        Ok(Stat { mode, uid, gid, mtime: Timestamp { sec, nsec }, xattrs })
    }

    fn path(&mut self) -> Result<Vec<u8>, Damage> {
        let path = self.bytes(self.limits.path, "path")?;
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        let is_plain = path.is_empty() || path.split(|&byte| byte == b'/').all(is_name);
        if !is_plain {
            return Err(Damage::Field("path"));
        }
        within(to_u64(components(&path).count()), self.limits.depth, "depth")?;
        Ok(path)
    }

    /// The contents of a file, of `size` if that is known.
    fn contents(&mut self, size: Option<u64>) -> Result<Vec<u8>, Damage> {
        let bytes = self.bytes(self.limits.text_file, "text-file")?;
        if size.is_some_and(|size| size != to_u64(bytes.len())) {
            return Err(Damage::Field("size"));
        }
        self.text = self.text.saturating_add(to_u64(bytes.len()));
        within(self.text, self.limits.text_file.saturating_mul(TEXT_FILES), "text-file")?;
        Ok(bytes)
    }

    fn bytes(&mut self, maximum: u64, limit: &'static str) -> Result<Vec<u8>, Damage> {
        let length = u32::from_le_bytes(self.array()?).into();
        within(length, maximum, limit)?;
        let mut bytes = Vec::new();
        if to_u64(self.from.by_ref().take(length).read_to_end(&mut bytes)?) != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn within(found: u64, maximum: u64, limit: &'static str) -> Result<(), Damage> {
    if found <= maximum { Ok(()) } else { Err(Damage::Limit(limit)) }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Any entry, and any listing of some, for the tests of what is read from listings.
#[cfg(test)]
pub(super) mod testing {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    pub fn entry(path: &str, kind: EntryKind) -> Record {
        Record::Entry(Entry { path: path.into(), stat: Stat::directory(), kind })
    }

    pub fn stored(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in records {
            record.write(&mut bytes);
        }
        Record::write_end(&mut bytes);
        bytes
    }

    prop_compose! {
        fn any_stat()(
            mode in 0..=0o7777_u16, uid: u32, gid: u32, sec: i64, nsec in 0..1_000_000_000_u32,
            xattrs in vec(("[a-z.]{1,9}", vec(any::<u8>(), 0..9)), 0..3),
        ) -> Stat {
            let mut stat =
                Stat { mode, uid, gid, mtime: Timestamp { sec, nsec }, ..Stat::default() };
            for (name, value) in xattrs {
                stat.xattrs.insert(name.as_bytes(), &value);
            }
            stat
        }
    }

    fn any_kind() -> impl Strategy<Value = EntryKind> {
        let contents = || vec(any::<u8>(), 0..30);
        prop_oneof![
            Just(EntryKind::Directory),
            Just(EntryKind::Special),
            Just(EntryKind::Whiteout),
            Just(EntryKind::Opaque),
            contents().prop_map(EntryKind::Symlink),
            "[a-z]{1,3}(/[a-z]{1,3}){0,2}".prop_map(|path| EntryKind::HardLink(path.into())),
            (contents(), any::<bool>()).prop_map(|(bytes, kept)| EntryKind::Regular(Regular {
                size: to_u64(bytes.len()),
                digest: (bytes.len() % 2 == 0).then(|| Digest::of(&bytes)),
                contents: kept.then_some(bytes),
            })),
        ]
    }

    pub fn any_records() -> impl Strategy<Value = Vec<Record>> {
        let entry = ("([a-z]{1,3}(/[a-z]{1,3}){0,2})?", any_stat(), any_kind())
            .prop_map(|(path, stat, kind)| Record::Entry(Entry { path: path.into(), stat, kind }));
        let contents = ("[a-z]{1,3}", vec(any::<u8>(), 0..30))
            .prop_map(|(path, bytes)| Record::Contents { path: path.into(), bytes });
        (vec(entry, 0..9), vec(contents, 0..3))
            .prop_map(|(entries, contents)| [entries, contents].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{any_records, entry, stored};
    use super::*;

    fn read(bytes: &[u8], limits: &Limits) -> Result<Vec<Record>, Damage> {
        let mut records = Records::new(bytes, limits);
        let mut found = Vec::new();
        while let Some(record) = records.read()? {
            found.push(record);
        }
        Ok(found)
    }

    proptest::proptest! {
        #[test]
        fn records_are_read_as_they_were_written(records in any_records()) {
            proptest::prop_assert_eq!(read(&stored(&records), &Limits::default()).unwrap(), records);
        }

        #[test]
        fn a_listing_that_ends_early_is_none(records in any_records(), end in 0..1000_usize) {
            let bytes = stored(&records);
            let end = end % bytes.len();
            proptest::prop_assert!(matches!(
                read(&bytes[..end], &Limits::default()),
                Err(Damage::Io(_))
            ));
        }
    }

    /// What no layer can have, what limits forbid, and what is no record.
    #[test]
    fn named_rejects() {
        let limits = Limits { path: 8, depth: 3, entries: 2, text_file: 4, ..Limits::default() };
        let directory = |path| stored(&[entry(path, EntryKind::Directory)]);
        let contents = |bytes: &[u8]| Record::Contents { path: b"a".into(), bytes: bytes.into() };
        let file = |size, contents| {
            let digest = None;
            stored(&[entry("a", EntryKind::Regular(Regular { size, digest, contents }))])
        };
        let mut bad_mode = directory("a");
        bad_mode[7] = 0xff;
        let twice = {
            let mut stat = Stat::directory();
            stat.xattrs.insert(b"a", b"");
            let record =
                Record::Entry(Entry { path: b"a".into(), stat, kind: EntryKind::Directory });
            let mut bytes = stored(&[record]);
            let xattr = bytes[bytes.len() - 10..bytes.len() - 1].to_vec();
            bytes.splice(bytes.len() - 1..bytes.len() - 1, xattr);
            let count = bytes.len() - 1 - 18 - 4;
            bytes[count] = 2;
            bytes
        };
        for (bytes, expected) in [
            (directory("a/../b"), "found a bad path"),
            (directory("a//b"), "found a bad path"),
            (directory("/a"), "found a bad path"),
            (directory("a\0"), "found a bad path"),
            (directory("a/b/c/d"), "found more than the limit depth allows"),
            (directory("abcdefghi"), "found more than the limit path allows"),
            (bad_mode, "found a bad mode or time"),
            (twice, "found a bad extended attribute"),
            (file(3, Some(b"abcd".to_vec())), "found a bad size"),
            (file(5, Some(b"abcde".to_vec())), "found more than the limit text-file allows"),
            (stored(&vec![contents(b"abcd"); 5]), "found more than the limit text-file allows"),
            (
                stored(&vec![entry("a", EntryKind::Special); 3]),
                "found more than the limit entries allows",
            ),
            (
                stored(&[contents(b""), entry("a", EntryKind::Special)]),
                "found an entry after contents",
            ),
            (vec![9], "found the tag 9, expected one of a record"),
            (vec![0, 0], "found bytes after the end"),
            (vec![1, 255, 255, 255, 255], "found more than the limit path allows"),
        ] {
            assert_eq!(read(&bytes, &limits).unwrap_err().to_string(), expected);
        }
    }
}
