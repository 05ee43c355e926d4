//! An ostree repository on this host: objects by their checksums, each compared with its own.
//!
//! The checksum of a commit or directory is that of its bytes. That of a file is of a header (owner,
//! mode, target of a symlink, extended attributes) before its contents, whatever form a repository
//! stores that in: as the file itself (`bare`), in an attribute (`bare-user`), not at all because it
//! is always the same (`bare-user-only`), or before the compressed contents (`archive`).

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

use super::beneath::{Directory, Place};
use super::gvariant::{self, Tuple, container};
use super::ostree::object_name;
use super::record::{EntryKind, Regular};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::Stat;

/// The bits of a mode that tell the type, and what they are.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// The mode of the repository in a container image, from which nothing was deployed: whoever runs in
/// such a container has no other, and cannot help it.
const IN_IMAGES: &str = "bare-split-xattrs";

/// Where `bare-user` keeps what the file itself cannot have.
const METADATA: &[u8] = b"user.ostreemeta";

/// Bytes of a repository's configuration.
const MAX_CONFIG: u64 = 1 << 20;
/// Bytes of the header of a file in an archive.
const MAX_HEADER: u32 = 1 << 20;

/// A repository.
#[derive(Debug)]
pub struct Repository {
    directory: Directory,
    mode: Mode,
}

/// How a repository stores files (ostree.repo-config(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Bare,
    /// Owner, mode and attributes in an attribute; symlinks as files.
    BareUser,
    /// Without an owner and attributes.
    BareUserOnly,
    /// Compressed, behind a header.
    Archive,
}

/// Why an object is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The configuration says nothing that is known.
    #[error("found the mode {0:?}, expected bare, bare-user, bare-user-only or archive")]
    Mode(String),
    /// It is not in the form of the repository's mode.
    #[error("found a bad {0}")]
    Form(&'static str),
    /// It is another one.
    #[error("found the checksum {found}, expected {expected}")]
    Checksum {
        /// Of what was found.
        found: Digest,
        /// By which it was looked for.
        expected: Digest,
    },
}

impl Problem {
    /// Whether nothing is there, or a repository as in images.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == io::ErrorKind::NotFound,
            Self::Mode(mode) => mode == IN_IMAGES,
            Self::Form(_) | Self::Checksum { .. } => false,
        }
    }

    /// Whether this user may not read it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// A file or symlink, which has the right checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its metadata, as ostree-ext writes them into layers: without a time, and without extended
    /// attributes.
    pub stat: Stat,
    /// What it is, with its contents if they are wanted.
    pub kind: EntryKind,
}

impl Repository {
    /// Opens the repository in a directory.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let directory = Directory::open(path)?;
        let config = directory.read("config", MAX_CONFIG)?;
        Ok(Self { mode: mode(&config)?, directory })
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// An object of another kind than files: `commit`, `dirtree` or `dirmeta`.
    pub fn metadata(
        &self,
        checksum: Digest,
        kind: &str,
        limits: &Limits,
    ) -> Result<Vec<u8>, Problem> {
        let bytes = self.directory.read(&name(checksum, kind), limits.text_file)?;
        compare(Digest::of(&bytes), checksum)?;
        Ok(bytes)
    }

    /// A file or symlink; contents that are wanted are kept if they are not longer than the limit.
    pub fn file(&self, checksum: Digest, wanted: bool, limits: &Limits) -> Result<Object, Problem> {
        let suffix = if self.mode == Mode::Archive { "filez" } else { "file" };
        let place = self.directory.look(name(checksum, suffix).as_bytes())?;
        let (header, contents) = self.take_apart(&place, limits)?;
        if header.size > limits.layer_uncompressed {
            return Err(Problem::Form("size"));
        }
        if to_u64(header.target.len()) > limits.symlink {
            return Err(Problem::Form("target"));
        }
        let mut hasher = Hashing::new(&header);
        let kind = match header.mode & TYPE {
            SYMLINK => EntryKind::Symlink(header.target.clone()),
            REGULAR => {
                let size = header.size;
                let kept = wanted && size <= limits.text_file;
                let mut contents = contents.take(size.saturating_add(1));
                let (digest, bytes) = hasher.take(&mut contents, size, kept)?;
                EntryKind::Regular(Regular { size, digest: Some(digest), contents: bytes })
            }
            _ => return Err(Problem::Form("type")),
        };
        compare(hasher.finish(), checksum)?;
        let mode = u16::try_from(header.mode & 0o7777).map_err(|_| Problem::Form("mode"))?;
        let stat = Stat { mode, uid: header.uid, gid: header.gid, ..Stat::default() };
        Ok(Object { stat, kind })
    }

    /// The header of a file, and a reader of its contents.
    fn take_apart(
        &self,
        place: &Place,
        limits: &Limits,
    ) -> Result<(Header, Box<dyn Read>), Problem> {
        let stat = place.stat();
        let is_symlink = place.file_type() == FileType::Symlink;
        let contents = || -> io::Result<Box<dyn Read>> {
            if is_symlink { Ok(Box::new(io::empty())) } else { Ok(Box::new(place.open()?)) }
        };
        let target = || if is_symlink { place.target() } else { Ok(Vec::new()) };
        Ok(match self.mode {
            Mode::Bare => {
                let header = Header {
                    uid: stat.st_uid,
                    gid: stat.st_gid,
                    mode: stat.st_mode,
                    size: place.size(),
                    target: target()?,
                    attributes: serialize(&place.attributes(limits.xattrs)?),
                };
                (header, contents()?)
            }
            Mode::BareUserOnly => {
                let header = Header {
                    uid: 0,
                    gid: 0,
                    mode: stat.st_mode,
                    size: place.size(),
                    target: target()?,
                    attributes: Vec::new(),
                };
                (header, contents()?)
            }
            Mode::BareUser => {
                let attributes = place.attributes(limits.xattrs)?;
                let metadata = attributes.iter().find(|(name, _)| name == METADATA);
                let (_, metadata) = metadata.ok_or(Problem::Form("file without metadata"))?;
                let mut header = Header::of_metadata(metadata, place.size())?;
                let mut contents: Box<dyn Read> = Box::new(place.open()?);
                if header.mode & TYPE == SYMLINK {
                    let maximum = limits.symlink.saturating_add(2);
                    let target = &mut header.target;
                    contents.take(maximum).read_to_end(target)?;
                    // ostree stores a text of C with its end.
                    target.pop_if(|last| *last == 0);
                    if target.contains(&0) {
                        return Err(Problem::Form("target"));
                    }
                    contents = Box::new(io::empty());
                }
                (header, contents)
            }
            Mode::Archive => {
                // Stored blocks may be empty, and the file may grow while it is read.
                let mut stored = BufReader::new(place.open()?.take(limits.layer_size));
                let header = Header::read(&mut stored)?;
                (header, Box::new(DeflateDecoder::new(stored)))
            }
        })
    }
}

/// Where an object is in a repository.
fn name(checksum: Digest, suffix: &str) -> String {
    format!("objects/{}.{suffix}", object_name(checksum))
}

fn compare(found: Digest, expected: Digest) -> Result<(), Problem> {
    if found == expected { Ok(()) } else { Err(Problem::Checksum { found, expected }) }
}

/// The mode that a configuration says: `mode` in the group `core`.
pub fn mode(config: &[u8]) -> Result<Mode, Problem> {
    let text = std::str::from_utf8(config).map_err(|_| Problem::Form("configuration"))?;
    let (mut in_core, mut mode) = (false, "bare");
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_core = line == "[core]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| in_core)
            && key.trim() == "mode"
        {
            mode = value.trim();
        }
    }
    match mode {
        "bare" => Ok(Mode::Bare),
        "bare-user" => Ok(Mode::BareUser),
        "bare-user-only" => Ok(Mode::BareUserOnly),
        "archive" | "archive-z2" => Ok(Mode::Archive),
        other => Err(Problem::Mode(other.chars().take(40).collect())),
    }
}

/// What a file's checksum covers besides its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    uid: u32,
    gid: u32,
    mode: u32,
    size: u64,
    target: Vec<u8>,
    /// As a `GVariant` has them, `a(ayay)`.
    attributes: Vec<u8>,
}

impl Header {
    /// The header of a file of a `bare-user` repository: `(uuua(ayay))`.
    pub fn of_metadata(bytes: &[u8], size: u64) -> Result<Self, Problem> {
        let find = || {
            Some(Self {
                uid: gvariant::number(bytes, 0)?,
                gid: gvariant::number(bytes, 4)?,
                mode: gvariant::number(bytes, 8)?,
                size,
                target: Vec::new(),
                attributes: bytes.get(12..)?.to_vec(),
            })
        };
        find().ok_or(Problem::Form("file's metadata"))
    }

    /// Reads the header of a file of an archive, `(tuuuusa(ayay))`, behind its length.
    pub fn read(from: &mut dyn Read) -> Result<Self, Problem> {
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        let length = gvariant::number(&length, 0).filter(|&length| length <= MAX_HEADER);
        let length = u64::from(length.ok_or(Problem::Form("header"))?);
        let mut bytes = Vec::new();
        from.take(length).read_to_end(&mut bytes)?;
        let find = || {
            let tuple = Tuple::new(&bytes, 1)?;
            let (text, attributes) = (tuple.end(0)?, tuple.members());
            let size = u64::from_be_bytes(*bytes.first_chunk()?);
            Some(Self {
                uid: gvariant::number(&bytes, 8)?,
                gid: gvariant::number(&bytes, 12)?,
                mode: gvariant::number(&bytes, 16)?,
                size,
                target: gvariant::string(bytes.get(24..text)?)?.to_vec(),
                attributes: attributes.get(text..)?.to_vec(),
            })
        };
        find().ok_or(Problem::Form("header"))
    }

    /// As it is hashed: `(uuuusa(ayay))` behind its length, which takes eight bytes.
    fn bytes(&self) -> Vec<u8> {
        let numbers = [self.uid, self.gid, self.mode, 0];
        let mut body: Vec<u8> = numbers.into_iter().flat_map(u32::to_be_bytes).collect();
        body.extend(&self.target);
        body.push(0);
        let end = body.len();
        body.extend(&self.attributes);
        let body = container(body, &[end]);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], &[0; 4], &body].concat()
    }
}

/// Extended attributes, sorted by name, as `a(ayay)`; names end with a zero.
fn serialize(attributes: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for (name, value) in attributes {
        let pair = [name.as_slice(), &[0], value].concat();
        bytes.extend(container(pair, &[name.len() + 1]));
        ends.push(bytes.len());
    }
    container(bytes, &ends)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The checksum of a file that is being read.
struct Hashing(Sha256);

impl Hashing {
    fn new(header: &Header) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(header.bytes());
        Self(hasher)
    }

    /// Takes contents, which must have so many bytes; their own digest, and they themselves if they
    /// are to be kept.
    fn take(
        &mut self,
        contents: &mut dyn Read,
        size: u64,
        kept: bool,
    ) -> io::Result<(Digest, Option<Vec<u8>>)> {
        let (mut own, mut length) = (Sha256::new(), 0_u64);
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let count = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let read = buffer.get(..count).unwrap_or_default();
            self.0.update(read);
            own.update(read);
            if kept {
                bytes.extend(read);
            }
            length = length.saturating_add(to_u64(count));
        }
        if length != size {
            return Err(io::Error::other(format!("found {length} bytes or more, expected {size}")));
        }
        Ok((Digest::from_bytes(own.finalize().into()), kept.then_some(bytes)))
    }

    fn finish(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_in_the_core_group() {
        for (text, expected) in [
            ("[core]\nrepo_version=1\nmode=bare-user\n", Mode::BareUser),
            ("[core]\nmode = archive-z2\n[remote \"x\"]\nmode=bare\n", Mode::Archive),
            ("[remote \"x\"]\nmode=archive\n[core]\n", Mode::Bare),
            ("", Mode::Bare),
            ("[core]\n#mode=archive\nmode=bare-user-only\n", Mode::BareUserOnly),
        ] {
            assert_eq!(mode(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_of_nothing_but_stored_blocks_has_an_end() {
        let place = tempfile::tempdir().unwrap();
        let checksum = Digest::of(b"file");
        let file = place.path().join(name(checksum, "filez"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(place.path().join("config"), "[core]\nmode=archive\n").unwrap();
        let mode = REGULAR.to_be_bytes();
        let header = [&[0; 16][..], &mode, &[0; 4], b"\0", &[25]].concat();
        let blocks = [0, 0, 0, 0xff, 0xff].repeat(1000);
        let end = [1, 0, 0, 0xff, 0xff];
        let bytes = [&[0, 0, 0, 26, 0, 0, 0, 0], &header[..], &blocks, &end].concat();
        std::fs::write(file, bytes).unwrap();
        let repository = Repository::open(place.path()).unwrap();
        let problem = |layer_size| {
            let limits = Limits { layer_size, ..Limits::default() };
            repository.file(checksum, true, &limits).unwrap_err()
        };
        assert!(matches!(problem(1 << 20), Problem::Checksum { .. }));
        assert!(matches!(problem(1 << 10), Problem::Io(_)));
    }

    #[test]
    fn named_rejects() {
        let header = |bytes: &[u8]| Header::read(&mut &*bytes).unwrap_err().to_string();
        let framed = |body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            [&length[..], &[0; 4], body].concat()
        };
        let good = [&[0; 24][..], b"\0", &[25]].concat();
        assert!(Header::read(&mut framed(&good).as_slice()).is_ok());
        for (bytes, expected) in [
            (vec![0; 7], "failed to fill whole buffer"),
            (framed(b""), "found a bad header"),
            (framed(&[&[0; 24][..], b"\0", &[200]].concat()), "found a bad header"),
            (framed(&[&[0; 24][..], b"x", &[25]].concat()), "found a bad header"),
            (framed(&[&[0; 24][..], b"\0", &[20]].concat()), "found a bad header"),
            (framed(&good[..10]), "found a bad header"),
            (vec![0xff; 100], "found a bad header"),
        ] {
            assert_eq!(header(&bytes), expected);
        }
        let metadata = Header::of_metadata(&[0; 11], 0).unwrap_err();
        assert_eq!(metadata.to_string(), "found a bad file's metadata");
        let split = mode(b"[core]\nmode=bare-split-xattrs\n").unwrap_err();
        assert!(split.is_absence() && !mode(b"[core]\nmode=x\n").unwrap_err().is_absence());
        assert!(split.to_string().contains("found the mode \"bare-split-xattrs\""), "{split}");
        assert_eq!(mode(b"\xff").unwrap_err().to_string(), "found a bad configuration");
    }
}
