//! The object store: contents by their fs-verity digest, `DIR/ab/cdef…`, shared between images.
//!
//! New objects wait in a directory of the run's own, so that a run that fails leaves none;
//! [`Objects::commit`] moves those that the image names into place.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use composefs::fsverity::{
    EnableVerityError, FsVerityHashValue, FsVerityHasher, Sha256HashValue,
    enable_verity_with_retry, measure_verity_opt,
};
use rustix::fs::{FlockOperation, OFlags};

use crate::image::Error;
use crate::layer::{ContentSink, SinkError};
use crate::signals;
use crate::tree::{Content, DumpContent, Tree};

/// Files up to this size are kept inside the image (`LCFS_RECOMMENDED_INLINE_CONTENT_MAX`).
const INLINE_SIZE: u64 = 64;

/// The prefix of the directories in which new objects wait.
const WAITING: &str = ".#oci2sysext-";

/// How often another run may be in the way.
const TRIES: u32 = 16;

/// The contents of a regular file; `H` names an object in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents<H = Sha256HashValue> {
    /// Length in bytes.
    pub size: u64,
    /// Where they are.
    pub stored: Stored<H>,
}

/// Where contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<H = Sha256HashValue> {
    /// In the image.
    Inline(Arc<[u8]>),
    /// In the store, under their fs-verity digest, which the kernel is to check.
    Object(H),
    /// In the store, under a digest that the kernel is not to check.
    Unverified(H),
    /// Nowhere: the file has a size only.
    Nowhere,
}

impl<H: FsVerityHashValue> DumpContent for Contents<H> {
    fn size(&self) -> u64 {
        self.size
    }

    fn payload(&self) -> Option<String> {
        match &self.stored {
            Stored::Object(digest) | Stored::Unverified(digest) => {
                Some(digest.to_object_pathname())
            }
            Stored::Inline(_) | Stored::Nowhere => None,
        }
    }

    fn inline(&self) -> Option<&[u8]> {
        match &self.stored {
            Stored::Inline(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn digest(&self) -> Option<String> {
        match &self.stored {
            Stored::Object(digest) => Some(digest.to_hex()),
            _ => None,
        }
    }
}

/// An object store, and the new objects of this run.
#[derive(Debug)]
pub struct Objects {
    directory: PathBuf,
    waiting: signals::Cleanup,
    /// Held so that no other run takes `waiting` for a dead run's.
    _lock: File,
    verity: Verity,
    buffer: Vec<u8>,
}

/// Whether the store's file system has fs-verity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verity {
    /// It refused no file yet.
    Enabled,
    /// It has none.
    Unsupported,
}

impl Objects {
    /// Opens a store, which is made if it is not there, and removes what dead runs left in it.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let failed = |error| Error::Objects { path: directory.to_owned(), error };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
        reclaim(directory).map_err(failed)?;
        let (waiting, lock) = wait_in(directory).map_err(failed)?;
        Ok(Self {
            directory: directory.to_owned(),
            waiting,
            _lock: lock,
            verity: Verity::Enabled,
            buffer: vec![0; 128 << 10],
        })
    }

    /// Moves the objects that `tree` names into place and flushes them to the disk.
    ///
    /// An object that is there already is kept if it is what its name says, else replaced.
    pub fn commit(self, tree: &Tree<Contents>) -> Result<Verity, Error> {
        let failed = |error| Error::Objects { path: self.directory.clone(), error };
        let mut done = HashSet::new();
        self.sync().map_err(failed)?;
        for entry in tree.walk() {
            let Content::Regular(Contents { stored: Stored::Object(digest), .. }) =
                &entry.inode.content
            else {
                continue;
            };
            if done.insert(digest.clone()) {
                self.place(digest).map_err(failed)?;
            }
        }
        self.sync().map_err(failed)?;
        Ok(self.verity)
    }

    /// The contents of a file that was stored, before or after its object is in place.
    pub fn read(&self, contents: &Contents) -> Result<Box<dyn Read>, Error> {
        let failed = |error| Error::Objects { path: self.directory.clone(), error };
        Ok(match &contents.stored {
            Stored::Inline(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            Stored::Object(digest) | Stored::Unverified(digest) => {
                let new = self.waiting.path().join(digest.to_hex());
                let path = if new.exists() {
                    new
                } else {
                    self.directory.join(digest.to_object_pathname())
                };
                Box::new(File::open(path).map_err(failed)?)
            }
            Stored::Nowhere => Box::new(io::repeat(0).take(contents.size)),
        })
    }

    fn place(&self, digest: &Sha256HashValue) -> io::Result<()> {
        let new = self.waiting.path().join(digest.to_hex());
        let target = self.directory.join(digest.to_object_pathname());
        if !new.exists() {
            // Found in the store while the layer was read.
            return is_intact(&target, digest).and_then(|intact| {
                if intact { Ok(()) } else { Err(io::Error::other("an object has vanished")) }
            });
        }
        let parent = self.directory.join(digest.to_object_dir());
        match fs::DirBuilder::new().mode(0o755).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::rename(new, target),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.directory)?)?)
    }

    fn store_object(
        &mut self,
        size: u64,
        contents: &mut dyn Read,
    ) -> Result<Sha256HashValue, SinkError> {
        let mut file = {
            let _critical = signals::hold();
            tempfile::NamedTempFile::new_in(self.waiting.path()).map_err(SinkError::Write)?
        };
        let mut hasher = FsVerityHasher::<Sha256HashValue>::new();
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let buffer = self.buffer.get_mut(..most).unwrap_or_default();
            let count = read_some(contents, buffer)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            hasher.write_all(bytes).map_err(SinkError::Write)?;
            file.write_all(bytes).map_err(SinkError::Write)?;
            left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        let digest = hasher.digest();
        let in_store = self.directory.join(digest.to_object_pathname());
        if is_intact(&in_store, &digest).unwrap_or(false) {
            // Whoever put it there may not have had fs-verity.
            self.enable_verity(&in_store).map_err(SinkError::Write)?;
            return Ok(digest);
        }
        let path = self.waiting.path().join(digest.to_hex());
        file.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(SinkError::Write)?;
        // Closes the file: fs-verity is for files that nobody can write.
        let file = file.into_temp_path();
        {
            let _critical = signals::hold();
            file.persist(&path).map_err(|e| SinkError::Write(e.error))?;
        }
        self.enable_verity(&path).map_err(SinkError::Write)?;
        Ok(digest)
    }

    fn enable_verity(&mut self, path: &Path) -> io::Result<()> {
        if self.verity == Verity::Enabled {
            self.verity = enable_verity(&File::open(path)?)?;
        }
        Ok(())
    }
}

impl ContentSink for Objects {
    type Content = Contents;

    fn store(&mut self, size: u64, contents: &mut dyn Read) -> Result<Contents, SinkError> {
        let stored = if size <= INLINE_SIZE {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            contents.read_exact(&mut bytes).map_err(SinkError::Read)?;
            Stored::Inline(bytes.into())
        } else {
            Stored::Object(self.store_object(size, contents)?)
        };
        Ok(Contents { size, stored })
    }
}

fn read_some(contents: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, SinkError> {
    loop {
        match contents.read(buffer) {
            Ok(0) => return Err(SinkError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SinkError::Read(error)),
        }
    }
}

/// Has the kernel check a file from now on, if it can; nobody may have it open for writing.
pub(super) fn enable_verity(file: &File) -> io::Result<Verity> {
    match enable_verity_with_retry::<Sha256HashValue>(file) {
        Ok(()) | Err(EnableVerityError::AlreadyEnabled) => Ok(Verity::Enabled),
        Err(EnableVerityError::Io(error)) if is_disk_failure(&error) => Err(error),
        Err(_) => Ok(Verity::Unsupported),
    }
}

/// Whether the disk, not a missing feature of its file system, is at fault.
fn is_disk_failure(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Whether a file of the store is a regular file with the contents that its name says.
fn is_intact(path: &Path, digest: &Sha256HashValue) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file: File = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    if let Ok(Some(measured)) = measure_verity_opt::<Sha256HashValue>(&file) {
        return Ok(measured == *digest);
    }
    let mut hasher = FsVerityHasher::<Sha256HashValue>::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(hasher.digest() == *digest)
}

/// Makes a directory for new objects and locks it.
fn wait_in(directory: &Path) -> io::Result<(signals::Cleanup, File)> {
    for _ in 0..TRIES {
        let new = signals::Cleanup::new(|| {
            Ok(tempfile::Builder::new().prefix(WAITING).tempdir_in(directory)?.keep())
        })?;
        // Until it is locked, another run may take it for a dead run's, and remove it.
        let Ok(lock) = File::open(new.path()) else { continue };
        let locked = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
        if locked.is_ok() && new.path().exists() {
            return Ok((new, lock));
        }
    }
    Err(io::Error::other("other runs removed each new directory"))
}

/// Removes the waiting directories whose runs have ended: nobody locks them.
fn reclaim(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(WAITING.as_bytes()) {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be removed now is the next run's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
