//! `oci2sysext trust update`: the current trust root of a sigstore instance, by The Update
//! Framework. `sigstore-tuf` verifies everything, from a root that is compiled in or given to the
//! bytes of `trusted_root.json`: thresholds, versions that only rise, and expiry.
//!
//! What it has verified stays beside the file, so that the next update can go nowhere but forward.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use sigstore_tuf::{FileStore, HttpRepository, MetadataStore, Updater};

use super::file::{self, Owner};
use super::{Error, TrustSources};
use crate::oci;
use crate::verify::{TrustRoot, check_clock};

/// The root of sigstore's public instance, of which later ones follow.
const PUBLIC_GOOD: &[u8] = include_bytes!("sigstore-tuf-root.json");
const TARGET: &str = "trusted_root.json";
/// As much as a root may have; sigstore's has 9 KiB.
const MAX_SIZE: u64 = 512_000;

/// Fetches, verifies and keeps a trust root; gives the file that it is in now.
///
/// # Errors
///
/// [`Error::Update`] if anything of it cannot be verified, has expired, or is older than what was
/// there; then the file stays as it is.
pub fn update(
    sources: &TrustSources,
    mirror: &str,
    first_root: Option<&Path>,
    file: Option<&Path>,
) -> Result<PathBuf, crate::error::Error> {
    let now = Timestamp::now();
    let of_mirror = |problem| Error::Root { name: mirror.to_owned(), problem };
    check_clock(now).map_err(of_mirror)?;
    let file = file.or(sources.locations.trusted_root.as_deref()).ok_or(Error::NoPlace)?;
    let first_root = match first_root {
        Some(path) => file::read(path, MAX_SIZE, sources.as_root, Owner::Anybody)?,
        None => PUBLIC_GOOD.to_vec(),
    };
    let mut store = file.as_os_str().to_owned();
    store.push(".tuf");
    let store = Store { files: FileStore::new(&store), failed: Arc::default() };
    make_directory(file)?;
    let failed = Arc::clone(&store.failed);
    let bytes = oci::with_client(async |client| {
        let repository = HttpRepository::new(mirror)?.with_http_client(client);
        let mut updater = Updater::new(repository, &first_root)?.with_store(store);
        updater.refresh(now).await?;
        updater.get_target(TARGET, now).await
    })?
    .map_err(|error| Error::Update {
        mirror: mirror.to_owned(),
        problem: causes(&error),
        network: matches!(error, sigstore_tuf::Error::Transport { .. }),
    })?;
    // Without it the next update would not know what this one has seen.
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(kept(file, "keep what was verified beside", io::Error::other(error)).into());
    }
    let root = TrustRoot::from_json(&bytes).map_err(of_mirror)?;
    root.check_current(now).map_err(of_mirror)?;
    write(file, &bytes).map_err(|error| kept(file, "write", error))?;
    Ok(file.to_owned())
}

/// What was verified, on the disk. The library only warns if it cannot keep something.
#[derive(Debug)]
struct Store {
    files: FileStore,
    failed: Arc<Mutex<Option<String>>>,
}

impl MetadataStore for Store {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let loaded = self.files.load(name);
        self.note(&loaded);
        loaded
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        let stored = self.files.store(name, bytes);
        self.note(&stored);
        stored
    }
}

impl Store {
    fn note<T>(&self, result: &sigstore_tuf::Result<T>) {
        if let Err(error) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| causes(error));
        }
    }
}

fn make_directory(file: &Path) -> Result<(), Error> {
    let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(());
    };
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|error| kept(directory, "make", error))
}

/// Whole or not at all: a new file, on the disk, takes the old one's place.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    temporary.write_all(bytes)?;
    let mode = fs::Permissions::from_mode(0o644);
    temporary.as_file().set_permissions(mode)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    File::open(directory)?.sync_all()
}

/// An error with all that led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn kept(path: &Path, action: &'static str, error: io::Error) -> Error {
    Error::StateIo { path: path.to_owned(), action, error }
}
