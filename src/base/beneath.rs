//! A directory of somebody's on this host, in which nothing that is opened leads outside, waits or
//! has an effect: no symlink is followed, and a device or fifo is looked at without opening it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::tree::components;

/// Such a directory, held open.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// What is at a path, held but not opened.
#[derive(Debug)]
pub(super) struct Place {
    fd: OwnedFd,
    stat: Stat,
}

impl Directory {
    /// Opens a directory that the user or the system names; this path may lead through symlinks.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// A directory in this one.
    pub fn directory(&self, path: &str) -> io::Result<Self> {
        let fd = self.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { fd, path: self.path.join(path) })
    }

    /// Looks at what is at a path. One that leads upwards is refused.
    pub fn look(&self, path: &[u8]) -> io::Result<Place> {
        let fd = self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Place { fd, stat })
    }

    /// The bytes of a file, at most so many.
    pub fn read(&self, path: &str, maximum: u64) -> io::Result<Vec<u8>> {
        let place = self.look(path.as_bytes())?;
        if place.size() > maximum {
            return Err(too_large(maximum));
        }
        let mut bytes = Vec::new();
        place.open()?.take(maximum.saturating_add(1)).read_to_end(&mut bytes)?;
        let is_small = u64::try_from(bytes.len()).is_ok_and(|length| length <= maximum);
        if is_small { Ok(bytes) } else { Err(too_large(maximum)) }
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_at(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        // Absolute paths are of this directory, as unpackers take them.
        let names: Vec<_> = components(path).collect();
        if names.contains(&b"..".as_slice()) {
            return Err(io::Error::other("found a path that leads upwards"));
        }
        let path = names.join(&b'/');
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), beneath)?)
    }
}

impl Place {
    /// What type it has.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Its metadata.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or_default()
    }

    /// Opens a regular file, and nothing else.
    pub fn open(&self) -> io::Result<File> {
        if self.file_type() != FileType::RegularFile {
            return Err(io::Error::other("found no regular file, expected one"));
        }
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(self.in_proc())
    }

    /// The target of a symlink.
    pub fn target(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, "", Vec::new())?.into_bytes())
    }

    /// Its extended attributes, as this process sees them, sorted by name; at most so many bytes.
    pub fn attributes(&self, maximum: u64) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let path = self.in_proc();
        let mut names = vec![0; MAX_ATTRIBUTE];
        let length = match rustix::fs::listxattr(&path, &mut names) {
            Err(Errno::NOTSUP) => 0,
            other => other?,
        };
        let (mut found, mut left) = (Vec::new(), maximum);
        let mut value = vec![0; MAX_ATTRIBUTE];
        for name in names.get(..length).unwrap_or_default().split(|&byte| byte == 0) {
            if !name.is_empty() {
                let length = rustix::fs::getxattr(&path, name, &mut value)?;
                let bytes = u64::try_from(name.len().saturating_add(length)).unwrap_or(u64::MAX);
                left = left.checked_sub(bytes).ok_or_else(|| too_large(maximum))?;
                found.push((name.to_vec(), value.get(..length).unwrap_or_default().to_vec()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The path that leads to what is held, whatever has its name by now.
    fn in_proc(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }
}

/// As many bytes as Linux has of names, and of one value (xattr(7)).
const MAX_ATTRIBUTE: usize = 64 << 10;

fn too_large(maximum: u64) -> io::Error {
    io::Error::other(format!("found more than {maximum} bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_outside() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("in/sub")).unwrap();
        fs::write(path("in/sub/file"), b"inside").unwrap();
        fs::write(path("outside"), b"outside").unwrap();
        symlink("../outside", path("in/link")).unwrap();
        symlink("sub", path("in/below")).unwrap();
        symlink("..", path("in/up")).unwrap();
        let directory = Directory::open(&path("in")).unwrap();
        for name in ["sub/file", "/sub/file", "./sub//file"] {
            assert_eq!(directory.read(name, 6).unwrap(), b"inside", "{name}");
        }
        assert!(directory.read("sub/file", 5).is_err());
        for name in
            ["../outside", "sub/../../outside", "up/outside", "below/file", "link", "", "a\0"]
        {
            assert!(directory.read(name, 100).is_err(), "{name}");
        }
        assert!(directory.directory("below").is_err());
        assert_eq!(directory.look(b"link").unwrap().target().unwrap(), b"../outside");
    }

    #[test]
    fn attributes_fill_no_memory() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        let set = |name: &str, value: &[u8]| {
            rustix::fs::lsetxattr(&file, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        };
        set("user.b", b"12345");
        set("user.a", b"");
        let found = Directory::open(place.path()).unwrap().look(b"file").unwrap();
        let expected = [(b"user.a".to_vec(), Vec::new()), (b"user.b".to_vec(), b"12345".to_vec())];
        let own = |(name, _): &(Vec<u8>, Vec<u8>)| name.starts_with(b"user.");
        let all = found.attributes(1 << 10).unwrap();
        assert_eq!(all.into_iter().filter(own).collect::<Vec<_>>(), expected);
        assert!(found.attributes(16).is_err());
    }

    /// Whatever is put in its place, what was looked at is what is opened; and only files are.
    #[test]
    fn what_was_looked_at_is_opened() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"first").unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let found = directory.look(b"file").unwrap();
        fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(CWD, &file, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mut text = String::new();
        found.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), found.size()), ("first", 5));
        let fifo = directory.look(b"file").unwrap();
        assert!(fifo.open().is_err() && directory.read("file", 10).is_err());
        assert!(directory.look(b".").unwrap().open().is_err());
    }
}
