//! The subcommands, one file each.

pub mod convert;
pub mod dump;
pub mod fsck;
pub mod verify;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tracing::Level;

use crate::image::{Error, erofs};

/// Opens an EROFS image.
fn open(path: &Path) -> Result<erofs::Reader, Error> {
    let failed = |error| Error::Open { path: path.to_owned(), error };
    // A fifo must not be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("found no regular file, expected an image")));
    }
    erofs::Reader::open(file)
}

/// Messages go to standard error: warnings, with -v what is done, with -vv what is fetched.
fn log(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    // A second subscriber is refused: then this is a test, and it has one.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .try_init();
}
