//! The cache of listings: what was found in a layer, so that the next extension of the same base
//! need not read it.
//!
//! It is no second door to trust (design decision 12): an entry is looked for by the digests of a
//! layer that is verified, in a directory that nobody else can look into, and what is not right in
//! every byte is ignored and written anew. It never changes what comes out, only what that costs.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};

use super::listing::{Key, Listing};
use super::record::Damage;
use crate::limits::Limits;

/// Bytes of all entries together; above that the ones that were not used for longest go.
const MAX_SIZE: u64 = 512 << 20;

const SUFFIX: &str = ".listing";
/// What the names of entries end in that are being written.
const UNFINISHED: &str = ".new";

/// A directory of listings.
#[derive(Debug)]
pub struct Cache {
    /// Everything in it is reached by this: nobody can put another in its place.
    directory: File,
    path: PathBuf,
    max_size: u64,
}

impl Cache {
    /// Opens a directory that is this user's alone, and makes it where it is not there; none, and
    /// a warning, if it cannot be used.
    pub fn open(path: &Path) -> Option<Self> {
        match Self::try_open(path) {
            Ok(directory) => Some(Self { directory, path: path.to_owned(), max_size: MAX_SIZE }),
            Err(problem) => {
                tracing::warn!(
                    "{} is not used as a cache: {problem}; see --cache-dir and --no-cache",
                    path.display()
                );
                None
            }
        }
    }

    fn try_open(path: &Path) -> Result<File, String> {
        let failed = |error: io::Error| error.to_string();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty());
        let directory = directory.map_err(|error| failed(error.into()))?;
        let stat = rustix::fs::fstat(&directory).map_err(|error| failed(error.into()))?;
        if !is_own(&stat) {
            return Err(format!("found the owner {}, expected this user", stat.st_uid));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(format!("found mode {:04o}, expected 0700", stat.st_mode & 0o7777));
        }
        Ok(directory.into())
    }

    /// The listing with this key, if there is one and it is right.
    pub(super) fn get(&self, key: Key, limits: &Limits) -> Option<Listing> {
        let name = format!("{}{SUFFIX}", key.hex());
        match self.try_get(&name, key, limits) {
            Ok(listing) => listing,
            Err(error) => {
                tracing::warn!("{}: {error}: ignored", self.path.join(name).display());
                None
            }
        }
    }

    fn try_get(&self, name: &str, key: Key, limits: &Limits) -> Result<Option<Listing>, Damage> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || !is_own(&stat) || stat.st_mode & 0o022 != 0 {
            return Err(Damage::Foreign);
        }
        let listing = Listing::open(file.try_clone()?, key, limits)?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let same = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: same, last_modification: now };
        // It only tells what may go first.
        let _ = rustix::fs::futimens(&file, &times);
        Ok(Some(listing))
    }

    /// Keeps a listing, whole or not at all. Without it, the next run has more to do.
    pub(super) fn put(&self, listing: &Listing) {
        let name = format!("{}{SUFFIX}", listing.key().hex());
        if let Err(error) = self.try_put(listing, &name).and_then(|()| self.evict(&name)) {
            tracing::warn!("{}: {error}: not kept", self.path.join(name).display());
        }
    }

    fn try_put(&self, listing: &Listing, name: &str) -> io::Result<()> {
        // Another run may have the same id in a container of its own.
        let random = RandomState::new().build_hasher().finish();
        let unfinished = format!("{name}.{random:016x}{UNFINISHED}");
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file: File = rustix::fs::openat(&self.directory, &unfinished, flags, mode)?.into();
        let written = io::copy(&mut listing.stored(), &mut file).and_then(|_| {
            rustix::fs::renameat(&self.directory, &unfinished, &self.directory, name)?;
            Ok(())
        });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.directory, &unfinished, AtFlags::empty());
        }
        written
    }

    /// Removes what was not used for longest until the rest is small enough; never `kept`.
    fn evict(&self, kept: &str) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let name = entry?.file_name().to_owned();
            let is_ours = [SUFFIX, UNFINISHED]
                .iter()
                .any(|end| name.to_bytes().ends_with(end.as_bytes()) && name.to_bytes().len() > 64);
            if !is_ours {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            // Another run may have removed it meanwhile.
            let Ok(stat) = rustix::fs::statat(&self.directory, &name, flags) else { continue };
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            entries.push(((stat.st_mtime, stat.st_mtime_nsec), size, name));
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, name) in entries {
            if total <= self.max_size {
                break;
            }
            if OsStr::from_bytes(name.to_bytes()) != OsStr::new(kept) {
                let _ = rustix::fs::unlinkat(&self.directory, &name, AtFlags::empty());
                total = total.saturating_sub(size);
            }
        }
        Ok(())
    }
}

fn is_own(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::listing::Builder;
    use super::super::record::{EntryKind, testing::entry};
    use super::*;

    fn listing(name: &str) -> Listing {
        let mut builder = Builder::new(Key::of_test(name)).unwrap();
        builder.push(&entry(name, EntryKind::Directory)).unwrap();
        builder.finish().unwrap()
    }

    #[test]
    fn a_listing_is_found_again_by_its_key_alone() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::open(&place.path().join("new/cache")).unwrap();
        let limits = Limits::default();
        cache.put(&listing("a"));
        let found = cache.get(Key::of_test("a"), &limits).unwrap();
        let mut paths = Vec::new();
        found
            .walk::<Damage>(&limits, &mut |record| {
                paths.push(record);
                Ok(())
            })
            .unwrap();
        assert_eq!(paths, [entry("a", EntryKind::Directory)]);
        assert!(cache.get(Key::of_test("b"), &limits).is_none());
        let name = |key: &str| format!("{}.listing", Key::of_test(key).hex());
        let path = |key: &str| place.path().join("new/cache").join(name(key));
        std::fs::copy(path("a"), path("b")).unwrap();
        assert!(matches!(cache.try_get(&name("b"), Key::of_test("b"), &limits), Err(Damage::Key)));
    }

    /// What was not used for longest goes first; what was just written stays, and so does what is
    /// not ours.
    #[test]
    fn the_cache_is_bounded() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("cache");
        let mut cache = Cache::open(&directory).unwrap();
        let name = |key: &str| format!("{}.listing", Key::of_test(key).hex());
        let age = |name: &str, seconds: u64| {
            let file = File::options().append(true).open(directory.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        for (key, seconds) in [("old", 30), ("older", 40), ("new", 10)] {
            cache.put(&listing(key));
            age(&name(key), seconds);
        }
        let unfinished = format!("{}.1.new", name("x"));
        std::fs::write(directory.join(&unfinished), [0; 50]).unwrap();
        age(&unfinished, 50);
        std::fs::write(directory.join("notes"), [0; 5000]).unwrap();
        // As if it had been read.
        cache.get(Key::of_test("older"), &Limits::default()).unwrap();
        let size = std::fs::metadata(directory.join(name("new"))).unwrap().len();
        cache.max_size = 3 * size + size / 2;
        cache.put(&listing("last"));
        let there = |name: &str| directory.join(name).exists();
        assert!(!there(&unfinished) && !there(&name("old")));
        assert!(["older", "new", "last"].iter().all(|key| there(&name(key))) && there("notes"));
        cache.max_size = 1;
        cache.put(&listing("alone"));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
        assert!(there(&name("alone")));
    }
}
