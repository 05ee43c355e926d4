//! Copies of bases on this host: layers in the storages of podman and its kin, ostree commits in
//! repositories. What they hold is compared with what is signed before it counts; so they change
//! what a base costs, and nothing else.

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use super::commit::{self, Commit, Unusable};
use super::ostree;
use super::repository::Repository;
use super::storage::{Archive, Storage};
use crate::layer;
use crate::limits::Limits;
use crate::verify::{LayerCopy, LayerDescriptor, Verified};

/// Where copies may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The directories of containers-storage, in the order in which they are asked.
    pub storages: Vec<PathBuf>,
    /// Those of ostree repositories.
    pub repositories: Vec<PathBuf>,
}

/// How many copies of layers may be of no use before storages are asked no more: whoever can write
/// one can let each cost as much as the largest layer.
const MAX_REFUSED: usize = 4;

/// Copies of bases, none of which is looked for before somebody asks.
#[derive(Debug)]
pub struct Copies {
    places: Places,
    storages: OnceCell<Vec<Storage>>,
    /// The commit that was asked for: an image has one.
    commit: OnceCell<Option<Commit>>,
    /// How many copies of layers were found to be of no use.
    refused: Cell<usize>,
}

impl Copies {
    /// Copies in these places; those that are not there have none.
    pub fn new(places: Places) -> Self {
        Self { places, storages: OnceCell::new(), commit: OnceCell::new(), refused: Cell::new(0) }
    }

    /// A copy of a layer, if there is one that has its `diff_id`.
    pub(super) fn layer(
        &self,
        layer: &Verified<LayerDescriptor>,
        limits: &Limits,
    ) -> Option<Verified<LayerCopy<Archive>>> {
        for storage in self.storages.get_or_init(|| storages(&self.places.storages)) {
            let place = storage.path().display();
            // Not every layer can be assembled anew.
            for archive in storage.layers(layer.diff_id).flatten() {
                if self.refused.get() >= MAX_REFUSED {
                    return None;
                }
                match layer::verify_copy(archive, layer, limits) {
                    Ok(copy) => {
                        let digest = layer.descriptor.digest;
                        tracing::info!("layer {digest} of the base is read from {place}");
                        return Some(copy);
                    }
                    // A user need not be allowed to read what containers have made.
                    Err(layer::Problem::Read(error)) if is_forbidden(&error) => {
                        tracing::debug!("{place}: {error}");
                    }
                    Err(problem) => self.refuse(layer, &format!("{place}: {problem}")),
                }
            }
        }
        None
    }

    /// Says that a copy of a layer is of no use.
    pub(super) fn refuse(&self, layer: &LayerDescriptor, problem: &dyn Display) {
        let diff_id = layer.diff_id;
        let refused = self.refused.get();
        self.refused.set(refused.saturating_add(1));
        // Once is enough to hear of it.
        if refused > 0 {
            tracing::debug!("the copy of the layer {diff_id} is not used: {problem}");
        } else {
            tracing::warn!(
                "the copy of the base's layer {diff_id} on this host is not used: {problem}: the \
                 image's own is read"
            );
        }
    }

    /// A commit, if a repository has all of its directories.
    pub(super) fn commit(&self, checksum: &str, limits: &Limits) -> Option<&Commit> {
        ostree::checksum_of(checksum).ok()?;
        let find = || find(&self.places.repositories, checksum, limits);
        self.commit.get_or_init(find).as_ref().filter(|commit| commit.checksum() == checksum)
    }
}

/// The storages that are there.
fn storages(paths: &[PathBuf]) -> Vec<Storage> {
    let open = |path: &PathBuf| match Storage::open(path) {
        Ok(storage) => Some(storage),
        Err(error) if is_absence(&error) || is_forbidden(&error) => None,
        Err(error) => {
            tracing::warn!("{}: {error}: no layers are looked for there", path.display());
            None
        }
    };
    paths.iter().filter_map(open).collect()
}

/// The commit in the first repository that has anything of it.
fn find(repositories: &[PathBuf], checksum: &str, limits: &Limits) -> Option<Commit> {
    for path in repositories {
        let found = Repository::open(path)
            .map_err(Unusable::from)
            .and_then(|repository| Commit::find(repository, checksum, limits));
        match found {
            Ok(commit) => {
                let path = path.display();
                tracing::info!("the ostree commit {checksum} of the base is read from {path}");
                return Some(commit);
            }
            // It is another host's, or another version that this one runs.
            Err(problem) if problem.is_absence() => {
                tracing::debug!("{}: {problem}", path.display());
            }
            Err(problem) => {
                commit::refuse(path, checksum, &problem);
                return None;
            }
        }
    }
    None
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
