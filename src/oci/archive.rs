//! An OCI layout in a tar archive: found once, read in place, never extracted.
//!
//! The parser is as small as such an archive is plain: files and directories, and the PAX and
//! GNU headers for what does not fit into an octal number. All else is refused, and so is what
//! two parsers could read differently (bad-inputs.md, "Parsers disagree today").

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
use tar::{EntryType, Header};

use super::folder::{display, io_error};
use super::spool::Spool;
use super::{Digest, Error};
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::verify::{Blob, LayerDescriptor, Verified};

const BLOCK: u64 = 512;
/// Zeros that may follow the end marker: what tar programs pad their last record with, and more.
const PADDING: u64 = 1 << 20;

/// A tar archive whose files are known by name.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    path: PathBuf,
    files: BTreeMap<FileName, Extent>,
}

/// A name of a file that a layout has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FileName {
    Document(&'static str),
    Blob(Digest),
}

/// Where the bytes of a file are in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    offset: u64,
    size: u64,
}

impl Archive {
    /// Opens an archive and finds its files.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let io = |error| io_error(path, "cannot open the archive", error);
        // NONBLOCK: opening a fifo would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = fs::open(path, flags, Mode::empty()).map_err(|e| io(e.into()))?.into();
        let metadata = file.metadata().map_err(io)?;
        let place =
            |problem: &str| Error::Place { place: display(path), problem: problem.to_owned() };
        if !metadata.is_file() {
            return Err(place("found no regular file, expected a tar archive"));
        }
        let files = Index::new(&file, path, metadata.len(), limits).read()?;
        Ok(Self { file, path: path.to_owned(), files })
    }

    /// The path, as the user gave it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of `oci-layout` or `index.json`; none if there is no such file.
    pub fn file(&self, name: &'static str, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(extent) = self.files.get(&FileName::Document(name)) else { return Ok(None) };
        if extent.size > max {
            let what = format!("{}: {name}, bytes", display(&self.path));
            return Err(Error::Limit { what, found: extent.size, max, limit: "manifest-size" });
        }
        self.read(*extent, max).map(Some)
    }

    /// The first `max` bytes of a blob; none if there is no such blob.
    pub fn blob(&self, digest: &Digest, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let extent = self.files.get(&FileName::Blob(*digest));
        extent.map(|extent| self.read(*extent, max)).transpose()
    }

    /// Copies a layer to a spool; none if there is no such blob.
    pub fn layer(
        &self,
        layer: &Verified<LayerDescriptor>,
        directory: &Path,
        limits: &Limits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Verified<Blob>>, Error> {
        let Some(extent) = self.files.get(&FileName::Blob(layer.descriptor.digest)) else {
            return Ok(None);
        };
        let mut spool = Spool::create(directory, layer, limits)?;
        let mut buffer = vec![0; 1 << 18];
        let mut position = 0;
        while position < extent.size {
            let left = usize::try_from(extent.size - position).unwrap_or(usize::MAX);
            let length = left.min(buffer.len());
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            self.file
                .read_exact_at(chunk, extent.offset.saturating_add(position))
                .map_err(|error| io_error(&self.path, "cannot read the archive", error))?;
            spool.write(chunk)?;
            position = spool.length();
            progress(position);
        }
        spool.finish().map(Some)
    }

    fn read(&self, extent: Extent, max: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(extent.size.min(max)).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut bytes, extent.offset)
            .map_err(|error| io_error(&self.path, "cannot read the archive", error))?;
        Ok(bytes)
    }
}

/// The headers of an archive, one after the other.
struct Index<'a> {
    file: &'a File,
    path: &'a Path,
    length: u64,
    offset: u64,
    limits: &'a Limits,
    files: BTreeMap<FileName, Extent>,
}

/// What extended headers say of the entry that follows them.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    present: bool,
}

impl<'a> Index<'a> {
    fn new(file: &'a File, path: &'a Path, length: u64, limits: &'a Limits) -> Self {
        Self { file, path, length, offset: 0, limits, files: BTreeMap::new() }
    }

    fn read(mut self) -> Result<BTreeMap<FileName, Extent>, Error> {
        self.refuse_compressed()?;
        let mut extension = Extension::default();
        let mut entries: u64 = 0;
        while let Some(header) = self.header()? {
            entries += 1;
            if entries > self.limits.entries {
                return Err(self.limit("entries", entries, self.limits.entries, "entries"));
            }
            let size = self.size(&header, &extension)?;
            let extent = Extent { offset: self.offset, size };
            let padded = size.checked_next_multiple_of(BLOCK);
            let end = padded.and_then(|padded| self.offset.checked_add(padded));
            let Some(end) = end.filter(|end| *end <= self.length) else {
                return Err(self.bad(format!("found its end, expected an entry of {size} bytes")));
            };
            match header.entry_type() {
                EntryType::XHeader => self.pax(extent, &mut extension)?,
                EntryType::GNULongName => self.long_name(extent, &mut extension)?,
                EntryType::Regular => {
                    self.regular(&header, &extension, extent)?;
                    extension = Extension::default();
                }
                EntryType::Directory if size == 0 => {
                    self.name(&header, &extension)?;
                    extension = Extension::default();
                }
                other => {
                    let byte = other.as_byte();
                    let problem = "expected regular files and directories, as in an OCI layout";
                    return Err(self.bad(format!(
                        "found an entry of type {:?} and {size} bytes, {problem}",
                        Escaped(&[byte])
                    )));
                }
            }
            self.offset = end;
        }
        if extension.present {
            return Err(self.bad("found an extended header of no entry"));
        }
        Ok(self.files)
    }

    /// The next header; none at the end marker.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let block = self.block()?;
        if block == [0; 512] {
            if self.block()? != [0; 512] {
                return Err(self.bad("found one block of zeros, expected two at its end"));
            }
            self.only_zeros()?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum counts its own field as spaces.
        let sum = block.iter().enumerate().fold(0, |sum: u32, (position, byte)| {
            sum + u32::from(if (148..156).contains(&position) { b' ' } else { *byte })
        });
        if !header.cksum().is_ok_and(|checksum| checksum == sum) {
            return Err(self.bad("found a header with a wrong checksum, expected a tar archive"));
        }
        Ok(Some(header))
    }

    fn block(&mut self) -> Result<[u8; 512], Error> {
        let mut block = [0; 512];
        let end = self.offset.saturating_add(BLOCK);
        if end > self.length {
            return Err(self.bad("found its end, expected two blocks of zeros before it"));
        }
        self.read_at(&mut block, self.offset)?;
        self.offset = end;
        Ok(block)
    }

    fn only_zeros(&self) -> Result<(), Error> {
        let left = self.length.saturating_sub(self.offset);
        let mut rest = vec![0; usize::try_from(left.min(PADDING)).unwrap_or_default()];
        self.read_at(&mut rest, self.offset)?;
        if left > PADDING || rest.iter().any(|byte| *byte != 0) {
            return Err(self.bad("found data after its end marker, expected none"));
        }
        Ok(())
    }

    /// The size of an entry; the forms that parsers disagree on are refused (row 52).
    fn size(&self, header: &Header, extension: &Extension) -> Result<u64, Error> {
        const OCTAL_DIGITS: u32 = 11;
        let found = header.entry_size().map_err(|_| self.bad("found an entry without a size"))?;
        match extension.size {
            _ if is_extension(header.entry_type()) => Ok(found),
            None => Ok(found),
            Some(size) if size == found => Ok(size),
            Some(size) if found == 0 && size >= 8_u64.pow(OCTAL_DIGITS) => Ok(size),
            Some(size) => Err(self.bad(format!("found an entry of both {size} and {found} bytes"))),
        }
    }

    /// Remembers a file, if it is one that a layout has.
    fn regular(
        &mut self,
        header: &Header,
        extension: &Extension,
        extent: Extent,
    ) -> Result<(), Error> {
        let name = self.name(header, extension)?;
        if name.is_empty() {
            return Err(self.bad("found a file without a name"));
        }
        let known = match name.as_slice() {
            b"oci-layout" => FileName::Document("oci-layout"),
            b"index.json" => FileName::Document("index.json"),
            other => {
                let hex = other.strip_prefix(b"blobs/sha256/").unwrap_or_default();
                match format!("sha256:{}", String::from_utf8_lossy(hex)).parse() {
                    Ok(digest) => FileName::Blob(digest),
                    Err(_) => return Ok(()),
                }
            }
        };
        match self.files.entry(known) {
            Entry::Vacant(vacant) => {
                vacant.insert(extent);
                Ok(())
            }
            Entry::Occupied(_) => Err(self.bad(format!("found {} twice", Escaped(&name)))),
        }
    }

    /// The name of an entry, without `.` components.
    fn name(&self, header: &Header, extension: &Extension) -> Result<Vec<u8>, Error> {
        let name = match &extension.name {
            Some(name) => name.clone(),
            None => header.path_bytes().into_owned(),
        };
        // To some parsers, a regular file whose name ends like a directory's is one.
        if name.ends_with(b"/") && !header.entry_type().is_dir() {
            return Err(self.bad("found a regular file whose name ends in a slash"));
        }
        let components: Vec<&[u8]> = name
            .split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty() && *component != b".")
            .collect();
        if name.starts_with(b"/") || name.contains(&0) || components.contains(&b"..".as_slice()) {
            let shown = name.get(..name.len().min(300)).unwrap_or_default();
            let problem = "expected a path below the archive's root";
            return Err(self.bad(format!("found the name {:?}, {problem}", Escaped(shown))));
        }
        Ok(components.join(&b'/'))
    }

    fn long_name(&self, extent: Extent, extension: &mut Extension) -> Result<(), Error> {
        let mut name = self.metadata(extent)?;
        if name.pop() != Some(0) {
            return Err(self.bad("found a long name without its final NUL"));
        }
        extension.present = true;
        match extension.name.replace(name) {
            None => Ok(()),
            Some(_) => Err(self.bad("found two long names for one entry")),
        }
    }

    /// Reads PAX records, `LENGTH KEY=VALUE\n` each (POSIX pax, "pax Extended Header").
    fn pax(&self, extent: Extent, extension: &mut Extension) -> Result<(), Error> {
        let bytes = self.metadata(extent)?;
        let malformed = || self.bad("found a malformed PAX record");
        if std::mem::replace(&mut extension.present, true) {
            return Err(self.bad("found two extended headers for one entry"));
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length = number(rest.get(..space)).ok_or_else(malformed)?;
            let length = usize::try_from(length).map_err(|_| malformed())?;
            let record = rest.get(space + 1..length).ok_or_else(malformed)?;
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            let (key, value) = record.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            let first = match key {
                b"path" => extension.name.replace(value.to_vec()).is_none(),
                b"size" => {
                    let size = number(Some(value)).ok_or_else(malformed)?;
                    extension.size.replace(size).is_none()
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.bad("found a sparse file, expected none"));
                }
                _ => true,
            };
            if !first {
                return Err(self.bad(format!("found the PAX key {} twice", Escaped(key))));
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// The contents of an extended header.
    fn metadata(&self, extent: Extent) -> Result<Vec<u8>, Error> {
        let (found, max) = (extent.size, self.limits.entry_metadata);
        if found > max {
            return Err(self.limit("bytes of an extended header", found, max, "entry-metadata"));
        }
        let mut bytes = vec![0; usize::try_from(found).unwrap_or_default()];
        self.read_at(&mut bytes, extent.offset)?;
        Ok(bytes)
    }

    fn refuse_compressed(&self) -> Result<(), Error> {
        let mut magic = [0; 6];
        if self.length < BLOCK {
            return Err(self.bad("found a short file, expected a tar archive"));
        }
        self.read_at(&mut magic, 0)?;
        let (name, program) = match magic {
            [0x1f, 0x8b, ..] => ("gzip", "gunzip"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "unzstd"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => ("xz", "unxz"),
            [b'B', b'Z', b'h', ..] => ("bzip2", "bunzip2"),
            _ => return Ok(()),
        };
        Err(self.bad(format!(
            "found a {name} file, expected a tar archive: decompress it with {program} first"
        )))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| io_error(self.path, "cannot read the archive", error))
    }

    fn bad(&self, problem: impl Into<String>) -> Error {
        Error::Place { place: display(self.path), problem: problem.into() }
    }

    fn limit(&self, what: &str, found: u64, max: u64, limit: &'static str) -> Error {
        Error::Limit { what: format!("{}, {what}", display(self.path)), found, max, limit }
    }
}

fn is_extension(entry_type: EntryType) -> bool {
    matches!(entry_type, EntryType::XHeader | EntryType::GNULongName)
}

/// A decimal number, without sign and leading zeros.
fn number(digits: Option<&[u8]>) -> Option<u64> {
    let digits = std::str::from_utf8(digits?).ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::error::{ExitCode, Fault};

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// An entry as tar programs write it, with a checksum.
    fn entry(name: &[u8], kind: u8, size: u64, contents: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn pax(records: &[&str]) -> Vec<u8> {
        use std::fmt::Write;
        let mut body = String::new();
        for record in records {
            let length = record.len() + 2;
            let length = length + (length + 1).to_string().len();
            writeln!(body, "{length} {record}").unwrap();
        }
        entry(b"x", b'x', u64::try_from(body.len()).unwrap(), body.as_bytes())
    }

    fn open(bytes: &[u8], limits: &Limits) -> Result<Archive, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Archive::open(file.path(), limits)
    }

    fn code(parts: &[&[u8]]) -> ExitCode {
        let mut bytes = parts.concat();
        bytes.extend_from_slice(&[0; 1024]);
        open(&bytes, &Limits::default()).unwrap_err().exit_code()
    }

    #[test]
    fn files_are_found_by_name() {
        let blob = format!("./blobs/sha256/{HEX}");
        let long = format!("{}/x", "d".repeat(200));
        let length = u64::try_from(long.len()).unwrap() + 1;
        let bytes = [
            entry(b"./", b'5', 0, b""),
            entry(b"./oci-layout", b'0', 2, b"{}"),
            entry(b"index.json", 0, 3, b"[1]"),
            entry(blob.as_bytes(), b'0', 4, b"blob"),
            entry(b"blobs/sha256/x", b'0', 4, b"nope"),
            entry(b"././@LongLink", b'L', length, format!("{long}\0").as_bytes()),
            entry(b"ddd", b'0', 5, b"other"),
            pax(&["path=manifest.json", "mtime=1.5", "size=5"]),
            entry(b"x", b'0', 5, b"other"),
            vec![0; 10240],
        ]
        .concat();
        let archive = open(&bytes, &Limits::default()).unwrap();
        assert_eq!(archive.file("oci-layout", 9).unwrap().unwrap(), b"{}");
        assert_eq!(archive.file("index.json", 9).unwrap().unwrap(), b"[1]");
        assert_eq!(archive.blob(&HEX_DIGEST.parse().unwrap(), 2).unwrap().unwrap(), b"bl");
        assert_eq!(archive.blob(&Digest::of(b"x"), 2).unwrap(), None);
        assert_eq!(archive.file("index.json", 2).unwrap_err().exit_code(), ExitCode::Limit);
        assert_eq!(archive.files.len(), 3);
    }

    const HEX_DIGEST: &str =
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_parsers_read_differently_is_refused() {
        let index = entry(b"index.json", b'0', 2, b"{}");
        let other = entry(b"other", b'0', 2, b"{}");
        let mut checksum = index.clone();
        checksum[0] = b'I';
        let cases: &[&[&[u8]]] = &[
            &[&index, &entry(b"./index.json", b'0', 2, b"{}")],
            &[&entry(b"../index.json", b'0', 2, b"{}")],
            &[&entry(b"a/../index.json", b'0', 2, b"{}")],
            &[&entry(b"/index.json", b'0', 2, b"{}")],
            &[&entry(b"index.json/", b'0', 2, b"{}")],
            &[&entry(b"", b'0', 2, b"{}")],
            &[&entry(b"index.json", b'1', 0, b"")],
            &[&entry(b"index.json", b'2', 0, b"")],
            &[&entry(b"index.json", b'3', 0, b"")],
            &[&entry(b"index.json", b'6', 0, b"")],
            &[&entry(b"index.json", b'S', 0, b"")],
            &[&entry(b"index.json", b'?', 0, b"")],
            &[&entry(b"blobs", b'5', 2, b"{}")],
            &[&entry(b"x", b'g', 0, b""), &index],
            &[&entry(b"index.json", b'0', 4096, b"{}")],
            &[&entry(b"index.json", b'0', 0o77_777_777_777, b"{}")],
            &[&index, &[0; 512], &other],
            &[&index, &[0; 1024], &other],
            &[&checksum],
            &[&pax(&["path=oci-layout", "path=index.json"]), &other],
            &[&pax(&["path=../x"]), &other],
            &[&pax(&["size=1"]), &other],
            &[&pax(&["size=-2"]), &other],
            &[&pax(&["size="]), &other],
            &[&pax(&["GNU.sparse.major=1"]), &other],
            &[&pax(&["path=a"]), &pax(&["path=b"]), &other],
            &[&pax(&["path=a"]), &entry(b"x", b'L', 2, b"b\0"), &other],
            &[&entry(b"x", b'L', 2, b"a\0"), &entry(b"x", b'L', 2, b"b\0"), &other],
            &[&entry(b"x", b'L', 2, b"ab"), &other],
            &[&pax(&["path=a"])],
            &[&entry(b"x", b'x', 9, b"5 path=a\n"), &other],
            &[&entry(b"x", b'x', 9, b"99 path=a"), &other],
            &[&entry(b"x", b'x', 3, b"0 \n"), &other],
            &[b"\x1f\x8b\x08"],
            &[b"\x28\xb5\x2f\xfd"],
            &[b"PK\x03\x04"],
        ];
        for (number, case) in cases.iter().enumerate() {
            assert_eq!(code(case), ExitCode::Malformed, "case {number}");
        }
        let limits = Limits::default();
        assert!(open(&index, &limits).is_err(), "no end marker");
        assert!(open(&[index.as_slice(), &[0; 512]].concat(), &limits).is_err(), "half of one");
        assert!(open(&index[..100], &limits).is_err(), "short");
    }

    #[test]
    fn work_is_bounded() {
        let many = [entry(b"a", b'0', 0, b"").repeat(4), vec![0; 1024]].concat();
        let limits = Limits { entries: 3, ..Limits::default() };
        assert_eq!(open(&many, &limits).unwrap_err().exit_code(), ExitCode::Limit);
        let limits = Limits { entry_metadata: 4, ..Limits::default() };
        let long = [pax(&["path=a"]), entry(b"a", b'0', 0, b""), vec![0; 1024]].concat();
        assert_eq!(open(&long, &limits).unwrap_err().exit_code(), ExitCode::Limit);
        assert!(open(&[], &limits).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_make_it_panic(
            parts in proptest::collection::vec((0..8_usize, proptest::prelude::any::<Vec<u8>>()), 0..6),
        ) {
            let mut bytes = Vec::new();
            for (kind, body) in parts {
                let size = u64::try_from(body.len()).unwrap();
                bytes.extend(entry(b"index.json", b"01xLg5\0?"[kind], size, &body));
            }
            bytes.extend_from_slice(&[0; 1024]);
            let _ = open(&bytes, &Limits::default());
        }
    }
}
