//! SIGINT, SIGTERM and SIGHUP end the run with 128+n and leave nothing behind (row 84).
//!
//! Until an image is published all that a run writes is in unnamed files, so it can end at any
//! moment but one: between the link and the rename of [`crate::publish`], which holds the end off.
//! A directory that cannot be unnamed is registered as a [`Cleanup`].

use std::path::PathBuf;
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
                // Another thread may still be writing into it.
                (0..10).any(|_| std::fs::remove_dir_all(&directory).is_ok());
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
#[derive(Debug)]
pub struct Cleanup(PathBuf);

impl Cleanup {
    /// Registers a directory of the run's own.
    pub fn new(directory: PathBuf) -> Self {
        cleanups().push(directory.clone());
        Self(directory)
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // A later run reclaims what cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
        cleanups().retain(|directory| *directory != self.0);
    }
}

fn cleanups() -> MutexGuard<'static, Vec<PathBuf>> {
    CLEANUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
