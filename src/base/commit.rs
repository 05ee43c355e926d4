//! An ostree commit in a repository of this host, in the place of the layers that are of it.
//!
//! The signed configuration names the commit by its checksum, the commit its directories and their
//! metadata by theirs, and a directory its files: so the layers have nothing else, or the image
//! contradicts itself. ostree-ext writes directories into layers without times.

use std::cell::Cell;
use std::path::Path;

use super::Error;
use super::listing::{Builder, Key, Listing};
use super::ostree::{self, Objects};
use super::record::{Damage, Entry, EntryKind, Record, Regular, TEXT_FILES};
use super::repository::{self, Object, Repository};
use super::view::View;
use crate::limits::Limits;
use crate::tree::Stat;

/// The one directory that ostree-ext writes into layers though no commit need have it, and its mode.
const VAR_TMP: (&[u8], u16) = (b"var/tmp", 0o1777);

/// A commit, with the objects of all its directories.
#[derive(Debug)]
pub(super) struct Commit {
    checksum: String,
    repository: Repository,
    objects: Objects,
    /// Whether a file was found to be another one: then nothing is asked any more.
    is_bad: Cell<bool>,
}

/// Why a commit is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// An object of the repository is of no use.
    #[error("{0}")]
    Object(#[from] repository::Problem),
    /// A commit or directory says what no layer can have.
    #[error("{0}")]
    Commit(#[from] ostree::Unusable),
}

impl Unusable {
    /// Whether the repository does not have all of the commit.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Object(problem) if problem.is_absence())
    }

    /// Whether this user may not read all of it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Object(problem) if problem.is_forbidden())
    }
}

impl Commit {
    /// Finds a commit in a repository.
    pub fn find(repository: Repository, checksum: &str, limits: &Limits) -> Result<Self, Unusable> {
        let objects = Objects::load::<Unusable>(checksum, limits, &mut |digest, kind| {
            Ok(repository.metadata(digest, kind, limits)?)
        })?;
        let checksum = checksum.to_owned();
        Ok(Self { checksum, repository, objects, is_bad: Cell::new(false) })
    }

    /// Its checksum, in hexadecimal digits.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }
}

/// Adds a commit to a view that has all layers above it. Whether that worked; if not, the view is of
/// no use.
///
/// # Errors
/// What the layers would fail with, too.
pub(super) fn add(view: &mut View<'_>, commit: &Commit, limits: &Limits) -> Result<bool, Error> {
    if commit.is_bad.get() {
        return Ok(false);
    }
    match find(view, commit, limits) {
        Ok(is_whole) => Ok(is_whole),
        Err(Failure::Base(error)) => Err(error),
        Err(Failure::Commit(problem)) => {
            commit.is_bad.set(true);
            refuse(commit.repository.path(), &commit.checksum, &problem);
            Ok(false)
        }
    }
}

/// Says that a commit is of no use.
pub(super) fn refuse(repository: &Path, checksum: &str, problem: &Unusable) {
    let place = repository.display();
    if problem.is_forbidden() {
        tracing::debug!("{place}: the base's ostree commit {checksum}: {problem}");
    } else {
        tracing::warn!(
            "{place}: the base's ostree commit {checksum} is not used: {problem}: the image's \
             layers are read"
        );
    }
}

enum Failure {
    Base(Error),
    Commit(Unusable),
}

impl<E: Into<Unusable>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Commit(error.into())
    }
}

fn find(view: &mut View<'_>, commit: &Commit, limits: &Limits) -> Result<bool, Failure> {
    let Commit { checksum, repository, objects, .. } = commit;
    let files = objects.files(checksum, limits, &|path| view.wants(path))?;
    let mut directories = objects.directories(checksum, limits)?;
    let (path, mode) = VAR_TMP;
    if !directories.iter().any(|(other, _)| other == path) {
        directories.push((path.to_vec(), Stat { mode, ..Stat::default() }));
    }
    let directories = directories.into_iter().map(|(path, stat)| {
        let kind = EntryKind::Directory;
        Entry { path, stat, kind }
    });
    view.add_with_files(&listing(directories)?, 0, &files).map_err(Failure::Base)?;
    // A link into the repository that layers have.
    if view.leads_to(ostree::SYSROOT) {
        return Ok(false);
    }
    let mut left = limits.text_file.saturating_mul(TEXT_FILES);
    let mut found = Vec::new();
    for (path, paths) in view.objects() {
        let Some(checksum) = ostree::object_checksum(&path) else { return Ok(false) };
        let wanted = paths.iter().any(|path| view.wants_contents(path));
        let Object { stat, kind } = repository.file(checksum, wanted, limits)?;
        if let EntryKind::Regular(Regular { size, contents: Some(_), .. }) = kind {
            // More than a listing has; what that means, the layers' reader says.
            let Some(rest) = left.checked_sub(size) else { return Ok(false) };
            left = rest;
        }
        if matches!(&kind, EntryKind::Symlink(target) if is_rewritten(target)) {
            return Ok(false);
        }
        found.push(Entry { path, stat, kind });
    }
    view.find_objects(&listing(found)?, 0).map_err(Failure::Base)?;
    Ok(view.objects().is_empty())
}

/// Whether layers may have another target: ostree-ext leaves `.` out of those that are short.
fn is_rewritten(target: &[u8]) -> bool {
    target.ends_with(b"/.") || target.windows(3).any(|part| part == b"/./")
}

/// A listing as of a layer, which is not kept.
fn listing(entries: impl IntoIterator<Item = Entry>) -> Result<Listing, Failure> {
    let make = || -> Result<Listing, Damage> {
        let mut builder = Builder::new(Key::none())?;
        for entry in entries {
            builder.push(&Record::Entry(entry))?;
        }
        Ok(builder.finish()?)
    };
    make().map_err(|damage| Failure::Base(Error::Listing(damage)))
}
