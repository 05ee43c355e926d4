//! SIGINT, SIGTERM and SIGHUP end the run with 128+n and leave nothing behind (row 84).
//!
//! Until an image is published all that a run writes is in unnamed files, so it can end at any
//! moment but one: between the link and the rename of [`crate::publish`], which holds the end off.
//! A directory that cannot be unnamed is registered as a [`Cleanup`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static CRITICAL: Mutex<()> = Mutex::new(());
static CLEANUPS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Starts the thread that waits for signals; it ends the run after `farewell`.
///
/// # Errors
/// The system refuses a handler or a thread.
pub fn watch(farewell: fn()) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _critical = hold();
            for directory in std::mem::take(&mut *cleanups()) {
                let _ = std::fs::remove_dir_all(&directory);
            }
            farewell();
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// Holds the end of the run off for as long as the guard lives.
pub fn hold() -> MutexGuard<'static, ()> {
    CRITICAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory that is removed when its owner, or the run, ends.
///
/// Whoever gives a file in it a name does so under [`hold`]: nothing may appear there while the
/// end of the run removes it.
#[derive(Debug)]
pub struct Cleanup(PathBuf);

impl Cleanup {
    /// Makes a directory of the run's own and registers it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn new(make: impl FnOnce() -> std::io::Result<PathBuf>) -> std::io::Result<Self> {
        let _critical = hold();
        let directory = make()?;
        cleanups().push(directory.clone());
        Ok(Self(directory))
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _critical = hold();
        // A later run reclaims what cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
        cleanups().retain(|directory| *directory != self.0);
    }
}

fn cleanups() -> MutexGuard<'static, Vec<PathBuf>> {
    CLEANUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
