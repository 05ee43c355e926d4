//! The state: the newest image that was accepted under each tag, so that no older one is taken
//! for it later (row 38). A signature vouches for a digest, not for the tag or the time.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::Error;
use super::file::{self, Owner};
use crate::json;
use crate::oci::{Digest, Platform, Repository};
use crate::signals;

/// More than one entry needs.
const MAX_SIZE: u64 = 64 << 10;

/// The format of an entry.
const VERSION: u32 = 1;

/// What is followed: a tag, for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracked {
    repository: String,
    tag: String,
    platform: String,
}

/// An image that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Its manifest's digest.
    pub digest: String,
    /// When it was built, by its configuration.
    pub created: Option<String>,
    /// When it was signed, by a transparency log or a timestamp authority; none if whoever has the
    /// signature can have a later time from them (keys, certificates that are valid for long).
    pub signed_at: Option<String>,
}

/// An image is older than one that was accepted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downgrade {
    /// When the image was built.
    pub found: String,
    /// When the newest accepted one was built.
    pub newest: String,
    /// Its digest.
    pub digest: String,
}

/// How an image follows the newest one that was accepted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Succession {
    /// There was none, it is the same, or it was built or signed later.
    Forward,
    /// It is older.
    Back(Downgrade),
    /// It is another, and no time that both have says which is the older (verification.md §1.6).
    Unclear {
        /// The digest of the one before.
        newest: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: u32,
    image: Tracked,
    newest: Accepted,
}

/// The directory of the entries.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    as_root: bool,
}

impl Tracked {
    /// A tag of a repository, for the platform that was asked for: what a registry serves as its
    /// image is the registry's choice. The variant is left out, because it may be left out there.
    pub fn new(repository: &Repository, tag: &str, platform: &Platform) -> Self {
        let platform = platform.normalized();
        // Host names are the same in any case (RFC 4343).
        let host = repository.host.to_ascii_lowercase();
        Self {
            repository: format!("{host}/{}", repository.path),
            tag: tag.to_owned(),
            platform: format!("{}/{}", platform.os, platform.architecture),
        }
    }

    /// Names never become paths: the name of an entry is a digest.
    fn file_name(&self) -> String {
        let Self { repository, tag, platform } = self;
        let digest = Digest::of(format!("{repository}\n{tag}\n{platform}").as_bytes());
        format!("{}.json", digest.hex())
    }
}

impl Accepted {
    /// An image with this digest, built at this time.
    pub fn new(digest: Digest, created: Option<Timestamp>) -> Self {
        Self {
            digest: digest.to_string(),
            created: created.map(|time| time.to_string()),
            signed_at: None,
        }
    }

    fn created(&self) -> Result<Option<Timestamp>, String> {
        time(self.created.as_ref())
    }

    /// How it follows `newest`. Equal or unknown times of building are no downgrade: then the times
    /// of signing may say that it is the newer one, but not that it is older, because an image can
    /// be signed again.
    fn follows(&self, newest: &Self) -> Result<Succession, String> {
        let (found, before) = (self.created()?, newest.created()?);
        if let (Some(found), Some(before)) = (found, before)
            && found != before
        {
            return Ok(if found > before {
                Succession::Forward
            } else {
                Succession::Back(Downgrade {
                    found: found.to_string(),
                    newest: before.to_string(),
                    digest: newest.digest.clone(),
                })
            });
        }
        let signed = (time(self.signed_at.as_ref())?, time(newest.signed_at.as_ref())?);
        let signed_later = matches!(signed, (Some(found), Some(before)) if found > before);
        Ok(if self.digest == newest.digest || signed_later {
            Succession::Forward
        } else {
            Succession::Unclear { newest: newest.digest.clone() }
        })
    }

    /// The later of two times of signing.
    fn signed_later(&self, other: &Self) -> Result<Option<String>, String> {
        let later = time(self.signed_at.as_ref())?.max(time(other.signed_at.as_ref())?);
        Ok(later.map(|time| time.to_string()))
    }
}

/// A time, if there is one.
fn time(text: Option<&String>) -> Result<Option<Timestamp>, String> {
    let parse = |text: &String| text.parse().map_err(|_| format!("found the time {text:?}"));
    text.map(parse).transpose()
}

impl State {
    /// Opens the directory, and makes it where it is not there: the state is this user's alone.
    pub fn open(directory: &Path, as_root: bool) -> Result<Self, Error> {
        let failed = |action, error| Error::StateIo { path: directory.to_owned(), action, error };
        if !directory.is_dir() {
            if let Some(parent) = directory.parent() {
                fs::create_dir_all(parent).map_err(|error| failed("create", error))?;
            }
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("create", error));
                }
                _ => {}
            }
        }
        let metadata = fs::metadata(directory).map_err(|error| failed("look at", error))?;
        if as_root {
            file::check_writers(directory, &metadata, Owner::Root)?;
        }
        rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
            .map_err(|errno| failed("write to", errno.into()))?;
        Ok(Self { directory: directory.to_owned(), as_root })
    }

    /// How an image follows what was accepted.
    pub fn follows(&self, tracked: &Tracked, found: &Accepted) -> Result<Succession, Error> {
        let _lock = self.lock()?;
        let path = self.directory.join(tracked.file_name());
        match self.read(&path, tracked)? {
            None => Ok(Succession::Forward),
            Some(newest) => found.follows(&newest).map_err(|problem| corrupt(&path, problem)),
        }
    }

    /// Remembers an image that was accepted. An older one is remembered in place of a newer one
    /// only if that is `allowed`: another run may have accepted the newer one meanwhile.
    pub fn record(
        &self,
        tracked: &Tracked,
        accepted: Accepted,
        allowed: bool,
    ) -> Result<(), Error> {
        let lock = self.lock()?;
        // A signal now waits until the entry is either as it was or as it shall be.
        let _critical = signals::hold();
        let path = self.directory.join(tracked.file_name());
        let newest = match self.read(&path, tracked)? {
            None => accepted,
            Some(before) => {
                let broken = |problem| corrupt(&path, problem);
                match accepted.follows(&before).map_err(broken)? {
                    Succession::Back(_) if !allowed => return Ok(()),
                    Succession::Back(_) => accepted,
                    // Where the image says no time, or an earlier one of its signature, the one
                    // that was known stays the mark.
                    Succession::Forward | Succession::Unclear { .. } => Accepted {
                        signed_at: accepted.signed_later(&before).map_err(broken)?,
                        created: accepted.created.or(before.created),
                        ..accepted
                    },
                }
            }
        };
        let entry = Entry { version: VERSION, image: tracked.clone(), newest };
        write(&lock, &path, &entry)
    }

    fn lock(&self) -> Result<File, Error> {
        let lock = || -> io::Result<File> {
            let directory = File::open(&self.directory)?;
            rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
            Ok(directory)
        };
        lock().map_err(|error| Error::StateIo {
            path: self.directory.clone(),
            action: "lock",
            error,
        })
    }

    fn read(&self, path: &Path, tracked: &Tracked) -> Result<Option<Accepted>, Error> {
        let there = path.try_exists().map_err(|error| Error::StateIo {
            path: path.to_owned(),
            action: "look at",
            error,
        })?;
        if !there {
            return Ok(None);
        }
        let bytes = file::read(path, MAX_SIZE, self.as_root, Owner::Root)?;
        let entry: Entry = json::parse(&bytes, 4).map_err(|problem| corrupt(path, problem))?;
        if entry.version != VERSION {
            return Err(corrupt(path, format!("found version {}", entry.version)));
        }
        if entry.image != *tracked {
            return Err(corrupt(path, "found the entry of another image".to_owned()));
        }
        for text in [&entry.newest.created, &entry.newest.signed_at] {
            time(text.as_ref()).map_err(|problem| corrupt(path, problem))?;
        }
        if entry.newest.digest.parse::<Digest>().is_err() {
            return Err(corrupt(path, "found no digest".to_owned()));
        }
        Ok(Some(entry.newest))
    }
}

/// Whole or not at all: a new file, on the disk, takes the old one's place.
fn write(directory: &File, path: &Path, entry: &Entry) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(entry)?;
        text.push(b'\n');
        // One name will do under the lock, and what a killed run left is overwritten.
        let temporary = path.with_extension("new");
        let mut options = File::options();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        directory.sync_all()
    };
    write().map_err(|error| Error::StateIo { path: path.to_owned(), action: "write", error })
}

fn corrupt(path: &Path, problem: String) -> Error {
    Error::StateCorrupt { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::{ExitCode, Fault};

    fn tracked(tag: &str) -> Tracked {
        let repository = Repository { host: "q.io".to_owned(), path: "a".to_owned() };
        Tracked::new(&repository, tag, &"linux/amd64".parse().unwrap())
    }

    fn image(name: &str, created: Option<&str>) -> Accepted {
        let created = created.map(|text| text.parse().unwrap());
        Accepted::new(Digest::of(name.as_bytes()), created)
    }

    const OLD: Option<&str> = Some("2026-01-01T00:00:00Z");
    const NEW: Option<&str> = Some("2026-02-01T00:00:00+01:00");

    fn follows(state: &State, tag: &str, image: &Accepted) -> Succession {
        state.follows(&tracked(tag), image).unwrap()
    }

    fn signed(image: &Accepted, time: &str) -> Accepted {
        Accepted { signed_at: Some(time.to_owned()), ..image.clone() }
    }

    /// Another image of the same time, or of none: told from the one before by when it was signed,
    /// and else nobody knows.
    #[test]
    fn row_38_times_that_say_nothing_are_noticed() {
        use Succession::{Forward, Unclear};
        const EARLY: &str = "2026-03-01T00:00:00Z";
        const LATE: &str = "2026-03-01T00:00:00.5Z";
        let (one, other, timeless) = (image("a", OLD), image("b", OLD), image("c", None));
        let newer = image("d", NEW);
        for (before, found, forward) in [
            (&one, &one, true),
            (&one, &other, false),
            (&one, &timeless, false),
            (&timeless, &one, false),
            (&timeless, &image("d", None), false),
            (&timeless, &timeless, true),
            (&one, &newer, true),
            (&signed(&one, EARLY), &other, false),
            (&one, &signed(&other, LATE), false),
            (&signed(&one, EARLY), &signed(&other, LATE), true),
            (&signed(&one, EARLY), &signed(&other, EARLY), false),
            (&signed(&one, LATE), &signed(&other, EARLY), false),
            (&signed(&one, LATE), &signed(&one, EARLY), true),
            (&signed(&one, EARLY), &signed(&timeless, LATE), true),
            (&signed(&one, LATE), &signed(&newer, EARLY), true),
        ] {
            let root = tempfile::tempdir().unwrap();
            let state = State::open(root.path(), false).unwrap();
            state.record(&tracked("t"), before.clone(), false).unwrap();
            let expected =
                if forward { Forward } else { Unclear { newest: before.digest.clone() } };
            assert_eq!(follows(&state, "t", found), expected, "{before:?} {found:?}");
            // What was accepted is no surprise again, and the latest time stays the mark.
            state.record(&tracked("t"), found.clone(), false).unwrap();
            assert_eq!(follows(&state, "t", found), Forward, "{before:?} {found:?}");
            let between = signed(&image("e", found.created.as_deref()), EARLY);
            if before.signed_at.as_deref() == Some(LATE) {
                let mark = Unclear { newest: found.digest.clone() };
                assert_eq!(follows(&state, "t", &between), mark, "{before:?} {found:?}");
            }
        }
    }

    #[test]
    fn row_38_only_forward() {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(&root.path().join("a/state"), false).unwrap();
        let is_older = |tag: &str, image: &Accepted| {
            matches!(follows(&state, tag, image), Succession::Back(_))
        };
        let (old, new, timeless) = (image("old", OLD), image("new", NEW), image("x", None));
        assert!(!is_older("t", &old));
        state.record(&tracked("t"), new.clone(), false).unwrap();
        assert!(is_older("t", &old));
        assert!(!is_older("other", &old));
        assert!(!is_older("t", &image("equal", NEW)) && !is_older("t", &timeless));
        // Another run was faster.
        state.record(&tracked("t"), old.clone(), false).unwrap();
        assert!(is_older("t", &old));
        // An image without a time does not lower the mark.
        state.record(&tracked("t"), timeless, false).unwrap();
        assert!(is_older("t", &old));
        state.record(&tracked("t"), old.clone(), true).unwrap();
        assert!(!is_older("t", &old) && !is_older("t", &new));
        let mode = fs::metadata(root.path().join("a/state")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(fs::read_dir(root.path().join("a/state")).unwrap().count(), 1);
    }

    #[test]
    fn a_changed_entry_is_never_taken_for_none() {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(root.path(), false).unwrap();
        let new = signed(&image("new", NEW), "2026-03-01T00:00:00Z");
        state.record(&tracked("t"), new, false).unwrap();
        let path = root.path().join(tracked("t").file_name());
        let good = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            (good.as_str(), ""),
            (good.as_str(), "{}"),
            ("\"version\": 1,", "\"version\": 2,"),
            ("\"q.io/a\"", "\"q.io/b\""),
            ("2026-01", "0-01"),
            ("2026-03", "0-03"),
            ("\"sha256:", "\"sha256:x"),
            ("\"created\"", "\"Created\""),
            ("\"image\"", "\"version\": 1, \"image\""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            fs::write(&path, bad).unwrap();
            let error = state.follows(&tracked("t"), &image("old", OLD)).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Trust, "{from}: {error}");
            assert!(matches!(error, Error::StateCorrupt { .. }), "{from}: {error}");
            assert!(state.record(&tracked("t"), image("old", OLD), true).is_err(), "{from}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(state.follows(&tracked("t"), &image("old", OLD)).is_err());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for bad in ["file", "file/state"] {
            let opened = State::open(&root.path().join(bad), false);
            let denied =
                opened.and_then(|state| state.record(&tracked("t"), image("new", NEW), false));
            assert_eq!(denied.unwrap_err().exit_code(), ExitCode::Io, "{bad}");
        }
        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(State::open(&open, true), Err(Error::Unsafe { .. })));
    }
}
