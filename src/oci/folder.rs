//! A folder: a directory of somebody's, whose files are opened without following a link in it.
//!
//! An image in a directory is as untrusted as one from a registry: no name in it leads outside,
//! and nothing but a regular file is read (no fifo to wait for, no device).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Digest, Error, spool};
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::verify::{Blob, BlobHasher, LayerDescriptor, Origin, Verified};

/// A directory that is held open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the directory that the user named; this path may be a link.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| io_error(path, "cannot open the directory", error.into()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a directory in this one; none if there is none.
    pub fn folder(&self, name: &str) -> Result<Option<Self>, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(self.wrong_type(name, "a directory")),
            Err(error) => Err(io_error(&path, "cannot open the directory", error.into())),
        }
    }

    /// Opens a regular file in this directory; none if there is none.
    pub fn file(&self, name: &str) -> Result<Option<LocalFile>, Error> {
        let path = self.path.join(name);
        // NONBLOCK: opening a fifo would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => {
                let io = |error: Errno| io_error(&path, "cannot look at the file", error.into());
                let stat = fs::fstat(&fd).map_err(io)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(self.wrong_type(name, "a regular file"));
                }
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                Ok(Some(LocalFile { file: fd.into(), size, path }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => Err(self.wrong_type(name, "a regular file")),
            Err(error) => Err(io_error(&path, "cannot open the file", error.into())),
        }
    }

    /// The path, as the user gave it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wrong_type(&self, name: &str, expected: &str) -> Error {
        let found = match fs::statat(self.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => "a symlink",
                FileType::Directory => "a directory",
                FileType::RegularFile => "a regular file",
                FileType::Fifo => "a fifo",
                FileType::Socket => "a socket",
                _ => "a device",
            },
            Err(_) => "something else",
        };
        Error::Place {
            place: display(&self.path),
            problem: format!("{name} is {found}, expected {expected}"),
        }
    }
}

/// A regular file that is open for reading.
#[derive(Debug)]
pub(super) struct LocalFile {
    /// The file, at its start.
    pub file: File,
    /// How many bytes it had when it was opened.
    pub size: u64,
    /// Its path, for messages.
    pub path: PathBuf,
}

impl LocalFile {
    /// Reads all of a document, at most `max` bytes.
    pub fn read(self, max: u64) -> Result<Vec<u8>, Error> {
        let too_large = |found| Error::Limit {
            what: format!("{}, bytes", display(&self.path)),
            found,
            max,
            limit: "manifest-size",
        };
        if self.size > max {
            return Err(too_large(self.size));
        }
        let bytes = self.start(max.saturating_add(1))?;
        let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if found > max { Err(too_large(found)) } else { Ok(bytes) }
    }

    /// Reads its first `max` bytes.
    pub fn start(&self, max: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        (&self.file)
            .take(max)
            .read_to_end(&mut bytes)
            .map_err(|error| io_error(&self.path, "cannot read the file", error))?;
        Ok(bytes)
    }

    /// Takes it as a layer: hashed here, and again by whoever decodes it, for somebody might
    /// change it in between (decision 3).
    pub fn layer(
        self,
        layer: &Verified<LayerDescriptor>,
        limits: &Limits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified<Blob>, Error> {
        use std::io::Seek;

        spool::check_size(layer, limits)?;
        let io = |error| io_error(&self.path, "cannot read the file", error);
        let mut hasher = BlobHasher::new(layer);
        let mut file = self.file;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let length = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io(error)),
            };
            hasher.update(buffer.get(..length).unwrap_or_default())?;
            progress(hasher.length());
        }
        file.rewind().map_err(io)?;
        Ok(hasher.finish(file, Origin::Local)?)
    }
}

/// A path, fit to print.
pub(super) fn display(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

/// Says that a blob is not where it should be.
pub(super) fn missing(place: &Path, what: &'static str, digest: &Digest) -> Error {
    Error::Missing { place: display(place), what, digest: *digest }
}

pub(super) fn io_error(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}
