//! The table of contents of a layer: what the layer holds and where, without reading it.
//!
//! zstd:chunked layers (containers/storage) and eStargz ones (containerd) have one as JSON, whose
//! digest is in an annotation of the manifest, and so is signed. For a base layer that has one it is
//! what the layer is taken to hold, wherever the bytes come from, so that what a registry can do
//! changes no answer; one that is of no use is the same as none. An extension's own layers are
//! always read whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp as Moment;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::record::{Entry, EntryKind, Regular};
use crate::json;
use crate::layer::{Compression, Mark, decompress, mark};
use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, LayerCompression};
use crate::tree::{Stat, Timestamp, Xattrs, components, join};

const CHUNKED_DIGEST: &str = "io.github.containers.zstd-chunked.manifest-checksum";
const CHUNKED_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
/// The only kind of position there is: offset, length, uncompressed length, and this.
const CHUNKED_KIND: u64 = 1;

const STARGZ_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
const STARGZ_NAME: &[u8] = b"stargz.index.json";
/// Bytes at the end of the layer that say where the table is.
const STARGZ_FOOTER: u64 = 51;

/// As much of a table as is read, stored or not: some 200,000 files.
const MAX_TOC: u64 = 64 << 20;
/// JSON of a table is not nested deeper.
const DEPTH: usize = 8;

/// A table that an annotation announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// zstd:chunked's, by the digest of its stored bytes.
    Chunked {
        /// Their digest.
        digest: Digest,
        /// Where they are.
        offset: u64,
        /// How many they are.
        length: u64,
    },
    /// eStargz's, by the digest of its JSON.
    Stargz {
        /// The digest.
        digest: Digest,
    },
}

/// Why a table is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its bytes, or where they are, cannot be had.
    #[error("found no table of contents")]
    Missing,
    /// The stored bytes of a part are not what they must be.
    #[error("found bytes of another digest")]
    Digest,
    /// It is not compressed as it should be, or longer than is read.
    #[error("found bytes that do not decompress to a table")]
    Compressed,
    /// It is no JSON of the format.
    #[error("{0}")]
    Json(String),
    /// It says something that no layer can.
    #[error("found a bad {0}")]
    Field(&'static str),
    /// It names a path twice.
    #[error("found a path twice")]
    Twice,
    /// More than a limit allows.
    #[error("found more than the limit {0} allows")]
    Limit(&'static str),
}

/// A table: the entries of the layer, and where the contents of its files are.
#[derive(Debug, Default)]
pub struct Toc {
    /// In the order of the table.
    pub entries: Vec<Entry>,
    /// By path.
    pub places: BTreeMap<Vec<u8>, Place>,
}

/// Where the contents of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first stored byte.
    pub offset: u64,
    /// How many stored bytes hold them; more may.
    pub length: u64,
    /// How long they are.
    pub size: u64,
    /// What they must be.
    pub digest: Digest,
}

impl Announced {
    /// The table that a layer's annotations announce.
    pub fn of(descriptor: &Descriptor) -> Option<Self> {
        let annotation = |name: &str| descriptor.annotations.get(name);
        let digest = |name: &str| annotation(name)?.parse().ok();
        match descriptor.layer_compression().ok()? {
            LayerCompression::Zstd => {
                let numbers = annotation(CHUNKED_POSITION)?.split(':').map(number);
                let numbers = numbers.collect::<Option<Vec<_>>>()?;
                let &[offset, length, _, CHUNKED_KIND] = numbers.as_slice() else { return None };
                let end = offset.checked_add(length)?;
                let is_inside = length > 0 && length <= MAX_TOC && end <= descriptor.size;
                let digest = digest(CHUNKED_DIGEST)?;
                is_inside.then_some(Self::Chunked { digest, offset, length })
            }
            LayerCompression::Gzip => Some(Self::Stargz { digest: digest(STARGZ_DIGEST)? }),
            LayerCompression::None => None,
        }
    }

    /// Names it in the key of a listing: with all that decides whether it is of use.
    pub fn source(&self) -> String {
        format!("toc {self:?}")
    }

    /// Reads the table; `part` gives stored bytes of the layer by their place and number.
    pub fn read(
        &self,
        descriptor: &Descriptor,
        limits: &Limits,
        part: &mut dyn FnMut(u64, u64) -> Option<Vec<u8>>,
    ) -> Result<Toc, Unusable> {
        match *self {
            Self::Chunked { digest, offset, length } => {
                let stored = part(offset, length).ok_or(Unusable::Missing)?;
                if Digest::of(&stored) != digest {
                    return Err(Unusable::Digest);
                }
                let zstd = Compression::Zstd { chunked: false };
                let json = unpack(&stored, zstd, limits)?;
                parse(&json, offset, limits)
            }
            Self::Stargz { digest } => {
                let footer_at = descriptor.size.checked_sub(STARGZ_FOOTER);
                let footer_at = footer_at.ok_or(Unusable::Missing)?;
                let footer = part(footer_at, STARGZ_FOOTER).ok_or(Unusable::Missing)?;
                let offset = stargz_offset(&footer).ok_or(Unusable::Field("footer"))?;
                let length = footer_at.checked_sub(offset).filter(|length| *length <= MAX_TOC);
                let length = length.ok_or(Unusable::Field("footer"))?;
                let stored = part(offset, length).ok_or(Unusable::Missing)?;
                let tar = unpack(&stored, Compression::Gzip, limits)?;
                let json = stargz_json(&tar).ok_or(Unusable::Compressed)?;
                if Digest::of(json) != digest {
                    return Err(Unusable::Digest);
                }
                parse(json, offset, limits)
            }
        }
    }

    /// The contents of a file from the stored bytes that hold them, if they are the right ones.
    pub fn contents(&self, stored: &[u8], place: &Place, limits: &Limits) -> Option<Vec<u8>> {
        let compression = match self {
            Self::Chunked { .. } => Compression::Zstd { chunked: true },
            Self::Stargz { .. } => Compression::Gzip,
        };
        let mut bytes = Vec::new();
        let from = decompress(stored, compression, limits).ok()?;
        from.take(place.size).read_to_end(&mut bytes).ok()?;
        (Digest::of(&bytes) == place.digest).then_some(bytes)
    }
}

fn unpack(stored: &[u8], compression: Compression, limits: &Limits) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    let from = decompress(stored, compression, limits).map_err(|_| Unusable::Compressed)?;
    let length = from.take(MAX_TOC + 1).read_to_end(&mut bytes);
    match length {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= MAX_TOC) => Ok(bytes),
        _ => Err(Unusable::Compressed),
    }
}

/// Where the footer says that the table is: an empty gzip member whose extra field has
/// `%016xSTARGZ`.
fn stargz_offset(footer: &[u8]) -> Option<u64> {
    let extra = footer.strip_prefix(&[0x1f, 0x8b, 8, 4])?.get(6..)?;
    let field = extra.strip_prefix(&[26, 0, b'S', b'G', 22, 0])?;
    let (hex, rest) = field.split_at_checked(16)?;
    if !rest.starts_with(b"STARGZ") || !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

/// The JSON in the archive that holds nothing else.
fn stargz_json(tar: &[u8]) -> Option<&[u8]> {
    let (header, rest) = tar.split_at_checked(512)?;
    let (name, _) = header.split_at_checked(100)?;
    if name.strip_prefix(STARGZ_NAME)?.first() != Some(&0) {
        return None;
    }
    let size = header.get(124..136)?;
    let size = std::str::from_utf8(size).ok()?.trim_end_matches(['\0', ' ']);
    rest.get(..usize::from_str_radix(size, 8).ok()?)
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[derive(Deserialize)]
struct Document {
    version: u32,
    #[serde(deserialize_with = "few")]
    entries: Vec<DocumentEntry>,
}

/// Entries of a table, before anything of them is looked at: each takes more memory than its text.
const MAX_ENTRIES: usize = 1_000_000;

fn few<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<DocumentEntry>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<DocumentEntry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX_ENTRIES} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = from.next_element()? {
                if entries.len() >= MAX_ENTRIES {
                    return Err(A::Error::invalid_length(entries.len(), &self));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    from.deserialize_seq(Few)
}

/// An entry as written; what is not known of it does not matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentEntry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    link_name: Option<String>,
    #[serde(default)]
    mode: i64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    modtime: Option<Moment>,
    xattrs: Option<BTreeMap<String, String>>,
    digest: Option<String>,
    offset: Option<u64>,
    end_offset: Option<u64>,
    inner_offset: Option<u64>,
}

/// Reads a table; `end` is where the stored bytes of all files have ended.
pub fn parse(json: &[u8], end: u64, limits: &Limits) -> Result<Toc, Unusable> {
    let Document { version, entries } = json::parse(json, DEPTH).map_err(Unusable::Json)?;
    if version != 1 {
        return Err(Unusable::Field("version"));
    }
    if u64::try_from(entries.len()).is_ok_and(|found| found > limits.entries) {
        return Err(Unusable::Limit("entries"));
    }
    // Where the next file begins, the one before it has ended, if it does not say so itself.
    let offsets: BTreeSet<u64> = entries.iter().filter_map(|entry| entry.offset).collect();
    let mut last_part = BTreeMap::new();
    for entry in &entries {
        last_part.insert(entry.name.as_str(), entry.offset);
    }
    let mut toc = Toc::default();
    let mut paths = BTreeSet::new();
    for entry in &entries {
        if entry.kind == "chunk" {
            continue;
        }
        let path = plain(&entry.name, entry.kind == "dir", limits)?;
        if !paths.insert(path.clone()) {
            return Err(Unusable::Twice);
        }
        let (path, kind) = match mark(&path).map_err(|_| Unusable::Field("whiteout"))? {
            Some(Mark::Aufs) => continue,
            Some(Mark::Whiteout(whiteout)) => {
                let kind = if whiteout.opaque { EntryKind::Opaque } else { EntryKind::Whiteout };
                (whiteout.path, kind)
            }
            None => {
                let kind = kind(entry, limits)?;
                if path.is_empty() && kind != EntryKind::Directory {
                    return Err(Unusable::Field("name"));
                }
                (path, kind)
            }
        };
        if let EntryKind::Regular(Regular { size, digest: Some(digest), .. }) = kind
            && let Some(offset) = entry.offset
            && entry.inner_offset.unwrap_or_default() == 0
            && size <= limits.text_file
        {
            let last = last_part.get(entry.name.as_str()).copied().flatten().unwrap_or(offset);
            let next = || offsets.range(last.saturating_add(1)..).next().copied().unwrap_or(end);
            let end = entry.end_offset.unwrap_or_else(next).min(end);
            if let Some(length) = end.checked_sub(offset).filter(|&length| length > 0) {
                toc.places.insert(path.clone(), Place { offset, length, size, digest });
            }
        }
        toc.entries.push(Entry { path, stat: stat(entry, limits)?, kind });
    }
    Ok(toc)
}

fn kind(entry: &DocumentEntry, limits: &Limits) -> Result<EntryKind, Unusable> {
    let target = || entry.link_name.as_deref().filter(|target| !target.is_empty());
    Ok(match entry.kind.as_str() {
        "dir" => EntryKind::Directory,
        "reg" => EntryKind::Regular(regular(entry)?),
        "symlink" => {
            let target = target().ok_or(Unusable::Field("target"))?;
            if target.contains('\0') {
                return Err(Unusable::Field("target"));
            }
            within(target.len(), limits.symlink, "symlink")?;
            EntryKind::Symlink(target.into())
        }
        "hardlink" => {
            let target = target().ok_or(Unusable::Field("target"))?;
            // As in archives, docker's are absolute.
            let target = target.strip_prefix('/').unwrap_or(target);
            EntryKind::HardLink(plain(target, false, limits)?)
        }
        "char" | "block" | "fifo" => EntryKind::Special,
        _ => return Err(Unusable::Field("type")),
    })
}

fn regular(entry: &DocumentEntry) -> Result<Regular, Unusable> {
    let digest = match entry.digest.as_deref() {
        Some("") | None if entry.size == 0 => Some(Digest::of(b"")),
        Some("") | None => None,
        Some(digest) => Some(digest.parse().map_err(|_| Unusable::Field("digest"))?),
    };
    Ok(Regular { size: entry.size, digest, contents: (entry.size == 0).then(Vec::new) })
}

fn stat(entry: &DocumentEntry, limits: &Limits) -> Result<Stat, Unusable> {
    let mode = u16::try_from(entry.mode & 0o7777).map_err(|_| Unusable::Field("mode"))?;
    let mtime = entry.modtime.map_or_else(Timestamp::default, |time| {
        // Before 1970 jiff counts both parts backwards.
        let nanoseconds = time.subsec_nanosecond();
        let (sec, nsec) = match u32::try_from(nanoseconds) {
            Ok(nsec) => (time.as_second(), nsec),
            Err(_) => (time.as_second() - 1, (1_000_000_000 + nanoseconds).cast_unsigned()),
        };
        Timestamp { sec, nsec }
    });
    let mut xattrs = Xattrs::default();
    let mut total = 0;
    for (name, value) in entry.xattrs.iter().flatten() {
        // As in archives.
        if matches!(name.as_str(), "security.selinux" | "security.ima") {
            continue;
        }
        let value = BASE64_STANDARD.decode(value).map_err(|_| Unusable::Field("xattr"))?;
        if name.is_empty() || name.contains('\0') {
            return Err(Unusable::Field("xattr"));
        }
        within(value.len(), limits.xattr_value, "xattr-value")?;
        total += name.len() + value.len();
        within(total, limits.xattrs, "xattrs")?;
        xattrs.insert(name.as_bytes(), &value);
    }
    Ok(Stat { mode, uid: entry.uid, gid: entry.gid, mtime, xattrs })
}

/// The path that a name means, as in archives.
fn plain(name: &str, is_directory: bool, limits: &Limits) -> Result<Vec<u8>, Unusable> {
    let bad = Unusable::Field("name");
    let is_slashed = name.ends_with('/') || name.ends_with("/.");
    if name.contains('\0')
        || (name.starts_with('/') && name != "/")
        || (is_slashed && !is_directory)
    {
        return Err(bad);
    }
    within(name.len(), limits.path, "path")?;
    let mut path = Vec::new();
    let mut depth = 0;
    for component in components(name.as_bytes()).filter(|&component| component != b".") {
        if component == b".." {
            return Err(bad);
        }
        within(component.len(), limits.component, "component")?;
        path = join(&path, component);
        depth += 1;
    }
    within(depth, limits.depth, "depth")?;
    Ok(path)
}

fn within(found: usize, maximum: u64, limit: &'static str) -> Result<(), Unusable> {
    if u64::try_from(found).is_ok_and(|found| found <= maximum) {
        Ok(())
    } else {
        Err(Unusable::Limit(limit))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::oci::MediaType;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(entries: &str) -> Result<Toc, Unusable> {
        let limits = Limits { entries: 4, path: 20, symlink: 9, ..Limits::default() };
        parse(format!(r#"{{"version":1,"entries":[{entries}]}}"#).as_bytes(), 1000, &limits)
    }

    #[test]
    fn a_table_lists_a_layer() {
        let toc = read(&format!(
            r#"{{"name":"./usr/","type":"dir","mode":16877,"uid":1,"modtime":"1969-12-31T23:59:58.25Z"}},
               {{"name":"usr/a","type":"reg","size":9,"offset":10,"endOffset":90,"digest":"{EMPTY}"}},
               {{"name":"usr/a","type":"chunk","offset":50}},
               {{"name":"usr/.wh.b","type":"reg","mode":0}}"#
        ))
        .unwrap();
        let [usr, a, b] = toc.entries.as_slice() else { panic!("{toc:?}") };
        assert_eq!((usr.path.as_slice(), &usr.kind), (&b"usr"[..], &EntryKind::Directory));
        assert_eq!((usr.stat.mode, usr.stat.uid), (0o755, 1));
        assert_eq!(usr.stat.mtime, Timestamp { sec: -2, nsec: 250_000_000 });
        assert!(matches!(&a.kind, EntryKind::Regular(file) if file.size == 9));
        assert_eq!((b.path.as_slice(), &b.kind), (&b"usr/b"[..], &EntryKind::Whiteout));
        let place = toc.places[&b"usr/a"[..]];
        assert_eq!((place.offset, place.length, place.size), (10, 80, 9));
    }

    /// Where a table does not say where a file ends, it ends where the next one begins.
    #[test]
    fn files_end_where_others_begin() {
        let toc = read(&format!(
            r#"{{"name":"b","type":"reg","size":1,"offset":500,"digest":"{EMPTY}"}},
               {{"name":"a","type":"reg","size":1,"offset":10,"digest":"{EMPTY}"}},
               {{"name":"a","type":"chunk","offset":50}},
               {{"name":"c","type":"reg","size":1,"offset":600,"innerOffset":7,"digest":"{EMPTY}"}}"#
        ))
        .unwrap();
        let lengths: Vec<_> = toc.places.values().map(|place| place.length).collect();
        assert_eq!(lengths, [490, 100]);
    }

    #[test]
    fn named_rejects() {
        let name = |name: &str| format!(r#"{{"name":"{name}","type":"reg"}}"#);
        for (entries, expected) in [
            (name("a/../b"), "found a bad name"),
            (name("/a"), "found a bad name"),
            (name("a/"), "found a bad name"),
            (name("."), "found a bad name"),
            (name(".wh."), "found a bad whiteout"),
            (format!("{},{}", name("a"), name("./a")), "found a path twice"),
            (vec![name("a"); 5].join(","), "found more than the limit entries allows"),
            (name("0123456789/0123456789"), "found more than the limit path allows"),
            (r#"{"name":"a","type":"socket"}"#.to_owned(), "found a bad type"),
            (r#"{"name":"a","type":"symlink"}"#.to_owned(), "found a bad target"),
            (r#"{"name":"a","type":"hardlink","linkName":"../b"}"#.to_owned(), "found a bad name"),
            (
                r#"{"name":"a","type":"symlink","linkName":"0123456789"}"#.to_owned(),
                "found more than the limit symlink allows",
            ),
            (
                r#"{"name":"a","type":"reg","size":1,"digest":"md5:0"}"#.to_owned(),
                "found a bad digest",
            ),
            (r#"{"name":"a","type":"dir","xattrs":{"x":"?"}}"#.to_owned(), "found a bad xattr"),
        ] {
            assert_eq!(read(&entries).unwrap_err().to_string(), expected, "{entries}");
        }
        let limits = Limits::default();
        for bad in ["", "[]", r#"{"version":1}"#, r#"{"version":1,"entries":[{"name":"a"}]}"#] {
            assert!(matches!(parse(bad.as_bytes(), 0, &limits), Err(Unusable::Json(_))), "{bad}");
        }
        let version = parse(br#"{"version":2,"entries":[]}"#, 0, &limits);
        assert_eq!(version.unwrap_err().to_string(), "found a bad version");
    }

    fn layer(kind: &str, size: usize, annotations: &[(&str, String)]) -> Descriptor {
        Descriptor {
            media_type: MediaType(format!("application/vnd.oci.image.layer.v1.tar+{kind}")),
            digest: Digest::of(b""),
            size: u64::try_from(size).unwrap(),
            urls: Vec::new(),
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
            platform: None,
        }
    }

    #[test]
    fn annotations_announce_tables() {
        let chunked = |position: &str| {
            let annotations =
                [(CHUNKED_DIGEST, EMPTY.to_owned()), (CHUNKED_POSITION, position.to_owned())];
            Announced::of(&layer("zstd", 100, &annotations))
        };
        let digest = Digest::of(b"");
        let expected = Announced::Chunked { digest, offset: 8, length: 92 };
        assert_eq!(chunked("8:92:300:1"), Some(expected));
        for bad in
            ["8:93:300:1", "8:0:300:1", "8:92:300:2", "8:92:300", "+8:92:300:1", "8:92:300:1:1"]
        {
            assert_eq!(chunked(bad), None, "{bad}");
        }
        let stargz = |kind: &str, digest: &str| {
            Announced::of(&layer(kind, 100, &[(STARGZ_DIGEST, digest.to_owned())]))
        };
        assert_eq!(stargz("gzip", EMPTY), Some(Announced::Stargz { digest }));
        assert_eq!(stargz("zstd", EMPTY), None);
        assert_eq!(stargz("gzip", "sha256:0"), None);
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// An eStargz layer, as its specification has it: a member for the file, one for the table,
    /// and the footer.
    #[test]
    fn an_estargz_layer_is_read_by_its_footer() {
        let file = gzip(b"contents and what follows");
        let digest = Digest::of(b"contents");
        let json = format!(
            r#"{{"version":1,"entries":[{{"name":"a","type":"reg","size":8,"offset":0,"digest":"{digest}"}}]}}"#
        );
        let mut header = [0; 512];
        header[..STARGZ_NAME.len()].copy_from_slice(STARGZ_NAME);
        header[124..136].copy_from_slice(format!("{:011o}\0", json.len()).as_bytes());
        let table = gzip(&[&header[..], json.as_bytes()].concat());
        let extra = format!("{:016x}STARGZ", file.len());
        let footer = [
            &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0][..],
            extra.as_bytes(),
            &[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(footer.len(), 51);
        let stored = [file, table, footer].concat();
        let read = |stored: &[u8], digest: Digest| {
            let announced = Announced::Stargz { digest };
            let layer = layer("gzip", stored.len(), &[]);
            let limits = Limits::default();
            let toc = announced.read(&layer, &limits, &mut |offset, length| {
                let offset = usize::try_from(offset).unwrap();
                Some(stored.get(offset..offset + usize::try_from(length).unwrap())?.to_vec())
            })?;
            let place = toc.places[&b"a"[..]];
            let part = &stored[..usize::try_from(place.length).unwrap()];
            Ok::<_, Unusable>(announced.contents(part, &place, &limits))
        };
        let digest = Digest::of(json.as_bytes());
        assert_eq!(read(&stored, digest).unwrap(), Some(b"contents".to_vec()));
        assert!(matches!(read(&stored, Digest::of(b"")), Err(Unusable::Digest)));
        for at in [stored.len() - 51, stored.len() - 30, stored.len() - 40] {
            let mut changed = stored.clone();
            changed[at] ^= 0xff;
            assert!(matches!(read(&changed, digest), Err(Unusable::Field("footer"))), "{at}");
        }
        assert!(matches!(read(&stored[..50], digest), Err(Unusable::Missing)));
    }
}
