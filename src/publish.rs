//! The end of the corridor: a staged image gets its name, whole or not at all (decision 9).
//!
//! The image is written to an unnamed file beside the target, so a run that dies leaves nothing.
//! It gets a name that does not end in `.raw` (R9) only to be renamed at once: systemd notices a
//! new inode, never a file that changes in place (R8).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as rfs, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::image::Staged;
use crate::signals;

/// The prefix of every name that is not the published one; reclaimed by the next run (row 87).
const TEMPORARY: &str = ".#oci2sysext-";

/// How many unnamed files a run has named, so that two of them never collide.
const TRIES: u32 = 16;

/// Where an image is to be published: a directory, and a free or replaceable name in it.
#[derive(Debug)]
pub struct Target {
    directory: File,
    parent: PathBuf,
    name: std::ffi::OsString,
    replace: bool,
}

/// Where an image will be published: a target, its directory locked.
#[derive(Debug)]
pub struct Destination(Target);

/// What to do where another run is writing into the same directory (row 86).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfLocked {
    /// Wait until it has ended.
    Wait,
    /// Fail at once.
    Fail,
}

/// A published image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

impl Target {
    /// Checks that the name can be taken: it is free, or names a regular file and `replace` is
    /// set.
    pub fn open(path: &Path, replace: bool) -> Result<Self, Error> {
        let name = path.file_name().ok_or_else(|| Error::NotAFile { path: path.to_owned() })?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rfs::open(&parent, flags, Mode::empty())
            .map_err(|errno| Error::io("open the directory", &parent, errno))?;
        let target = Self { directory: directory.into(), parent, name: name.to_owned(), replace };
        target.check_name()?;
        Ok(target)
    }

    /// Locks the directory. What a killed run left there is removed.
    pub fn lock(self, if_locked: IfLocked) -> Result<Destination, Error> {
        self.wait(if_locked)?;
        self.reclaim();
        self.check_name()?;
        Ok(Destination(self))
    }

    /// The path that the image will have.
    pub fn path(&self) -> PathBuf {
        if self.parent == Path::new(".") {
            PathBuf::from(&self.name)
        } else {
            self.parent.join(&self.name)
        }
    }

    fn check_name(&self) -> Result<(), Error> {
        let path = || self.path();
        match rfs::statat(&self.directory, &*self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::io("look at", &path(), errno)),
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if self.replace => Ok(()),
                FileType::RegularFile => Err(Error::Exists { path: path() }),
                FileType::Symlink => Err(Error::Type { path: path(), found: "a symlink" }),
                FileType::Directory => Err(Error::Type { path: path(), found: "a directory" }),
                _ => Err(Error::Type { path: path(), found: "a device, fifo or socket" }),
            },
        }
    }

    fn wait(&self, if_locked: IfLocked) -> Result<(), Error> {
        let parent = || self.parent.clone();
        match rfs::flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if if_locked == IfLocked::Fail => {
                return Err(Error::Locked { directory: parent() });
            }
            Err(Errno::WOULDBLOCK) => {
                let directory = Escaped(self.parent.as_os_str().as_bytes());
                tracing::warn!("another run is writing into {directory}: waiting until it ends");
            }
            Err(errno) => return Err(Error::io("lock", &self.parent, errno)),
        }
        rfs::flock(&self.directory, FlockOperation::LockExclusive)
            .map_err(|errno| Error::io("lock", &self.parent, errno))
    }

    /// Removes what a run that was killed between link and rename has left. The lock says that
    /// no other run is at work here.
    fn reclaim(&self) {
        let Ok(entries) = rfs::Dir::read_from(&self.directory) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_bytes().starts_with(TEMPORARY.as_bytes()) {
                let _ = rfs::unlinkat(&self.directory, entry.file_name(), AtFlags::empty());
            }
        }
    }
}

impl Destination {
    /// An empty file beside the target, open for reading and writing, without a name.
    pub fn stage(&self) -> Result<File, Error> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rfs::openat(&self.0.directory, ".", flags, mode) {
            Ok(file) => Ok(file.into()),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => self.stage_named(mode),
            Err(errno) => Err(Error::io("create a file in", &self.0.parent, errno)),
        }
    }

    /// A file system without unnamed files: the name is gone before anything is written, and
    /// [`Self::publish`] copies the image to a named file.
    fn stage_named(&self, mode: Mode) -> Result<File, Error> {
        let (name, file) = self.create_temporary(mode)?;
        rfs::unlinkat(&self.0.directory, &*name, AtFlags::empty())
            .map_err(|errno| Error::io("create a file in", &self.0.parent, errno))?;
        Ok(file)
    }

    /// Gives a staged image its name.
    pub fn publish(self, staged: Staged) -> Result<Published, Error> {
        let path = self.0.path();
        let failed = |errno| Error::io("publish", &path, errno);
        let size = staged.size();
        let file = staged.into_file();
        rfs::fchmod(&file, Mode::RUSR | Mode::RGRP | Mode::ROTH).map_err(failed)?;
        rfs::fsync(&file).map_err(failed)?;

        // A signal now waits until the name is either given or taken back.
        let _critical = signals::hold();
        let temporary = self.link(&file)?;
        let flags = if self.0.replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let renamed = self.0.check_name().and_then(|()| {
            let dir = &self.0.directory;
            match rfs::renameat_with(dir, &*temporary, dir, &*self.0.name, flags) {
                // File systems without RENAME_NOREPLACE: the directory is locked and was checked.
                Err(Errno::INVAL) if !self.0.replace => {
                    rfs::renameat(dir, &*temporary, dir, &*self.0.name).map_err(failed)
                }
                Err(Errno::EXIST) => Err(Error::Exists { path: path.clone() }),
                result => result.map_err(failed),
            }
        });
        if let Err(error) = renamed {
            // The next run reclaims it if even this fails.
            let _ = rfs::unlinkat(&self.0.directory, &*temporary, AtFlags::empty());
            return Err(error);
        }
        rfs::fsync(&self.0.directory).map_err(failed)?;
        Ok(Published { path, size })
    }

    /// Names an unnamed file; where it cannot be linked, a named copy of it.
    fn link(&self, file: &File) -> Result<std::ffi::OsString, Error> {
        use std::os::fd::AsRawFd;
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        for attempt in 0..TRIES {
            let name = temporary_name(attempt);
            let linked = rfs::linkat(
                rfs::CWD,
                &*unnamed,
                &self.0.directory,
                &*name,
                AtFlags::SYMLINK_FOLLOW,
            );
            match linked {
                Ok(()) => return Ok(name),
                Err(Errno::EXIST) => {}
                // No link to a file that had a name once (stage_named), or no /proc.
                Err(Errno::NOENT | Errno::XDEV | Errno::OPNOTSUPP | Errno::PERM) => {
                    return self.copy(file);
                }
                Err(errno) => return Err(Error::io("publish", &self.0.path(), errno)),
            }
        }
        Err(Error::io("publish", &self.0.path(), Errno::EXIST))
    }

    fn copy(&self, file: &File) -> Result<std::ffi::OsString, Error> {
        let (name, mut copy) = self.create_temporary(Mode::RUSR | Mode::WUSR)?;
        let copied = io::Seek::rewind(&mut &*file)
            .and_then(|()| io::copy(&mut &*file, &mut copy))
            .and_then(|_| Ok(rfs::fchmod(&copy, Mode::RUSR | Mode::RGRP | Mode::ROTH)?))
            .and_then(|()| copy.sync_all());
        copied.map_err(|error| {
            let _ = rfs::unlinkat(&self.0.directory, &*name, AtFlags::empty());
            Error::Io { action: "publish", path: self.0.path(), error }
        })?;
        Ok(name)
    }

    fn create_temporary(&self, mode: Mode) -> Result<(std::ffi::OsString, File), Error> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut last = Errno::EXIST;
        for attempt in 0..TRIES {
            let name = temporary_name(attempt);
            match rfs::openat(&self.0.directory, &*name, flags, mode) {
                Ok(file) => return Ok((name, file.into())),
                Err(errno) => last = errno,
            }
            if last != Errno::EXIST {
                break;
            }
        }
        Err(Error::io("create a file in", &self.0.parent, last))
    }
}

/// Writes a report: a file whole or not at all, anything else (a pipe, `/dev/stdout`) as it is.
pub fn report(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::Report { path: path.to_owned(), error };
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            let mut file = File::options().write(true).open(path).map_err(failed)?;
            return file.write_all(bytes).map_err(failed);
        }
        _ => {}
    }
    // What a symlink names is written, not the symlink.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let _critical = signals::hold();
    let replace = || -> io::Result<()> {
        let mode = std::fs::Permissions::from_mode(0o666);
        let mut file =
            tempfile::Builder::new().prefix(TEMPORARY).permissions(mode).tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.persist(&target)?;
        Ok(())
    };
    match replace() {
        // A run that publishes there took the temporary file for a dead run's.
        Err(error) if error.kind() == io::ErrorKind::NotFound => replace().map_err(failed),
        written => written.map_err(failed),
    }
}

fn temporary_name(attempt: u32) -> std::ffi::OsString {
    std::ffi::OsString::from_vec(
        format!("{TEMPORARY}{}-{attempt}", std::process::id()).into_bytes(),
    )
}

/// Why an image cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a file of that name already (row 94).
    #[error("{} exists already, expected a free name", Escaped(path.as_os_str().as_bytes()))]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no regular file has that name (row 83).
    #[error(
        "{} is {found}, expected a free name or a regular file",
        Escaped(path.as_os_str().as_bytes())
    )]
    Type {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The path has no last component.
    #[error("{} names no file, expected one", Escaped(path.as_os_str().as_bytes()))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another run writes into the directory (row 86).
    #[error(
        "another run is writing into {}, expected to be alone",
        Escaped(directory.as_os_str().as_bytes())
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The image is published, but its report cannot be written.
    #[error(
        "the image is written, but not the report {}: {error}",
        Escaped(path.as_os_str().as_bytes())
    )]
    Report {
        /// The report's path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The operating system says no.
    #[error("cannot {action} {}: {error}", Escaped(path.as_os_str().as_bytes()))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Error {
    fn io(action: &'static str, path: &Path, errno: Errno) -> Self {
        Self::Io { action, path: path.to_owned(), error: errno.into() }
    }
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Exists { .. }
            | Self::Type { .. }
            | Self::NotAFile { .. }
            | Self::Report { .. }
            | Self::Io { .. } => ExitCode::Io,
            Self::Locked { .. } => ExitCode::Lock,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "publish.exists",
            Self::Type { .. } => "publish.type",
            Self::NotAFile { .. } => "publish.not-a-file",
            Self::Locked { .. } => "publish.locked",
            Self::Report { .. } => "publish.report",
            Self::Io { .. } => "publish.io",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Exists { .. } => "replace it with --force, or choose another place with -o",
            Self::Type { .. } | Self::NotAFile { .. } => "choose another place with -o",
            Self::Locked { .. } => "try again when it has ended, or leave --no-wait away",
            Self::Report { .. } => "keep the image, or choose another place with --report",
            Self::Io { .. } => "make room or get write access, or choose another place with -o",
        }
        .to_owned()
    }
}
