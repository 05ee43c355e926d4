//! The subcommands, one file each, and the terminal that they talk to.

pub mod convert;
pub mod dump;
pub mod explain;
pub mod fsck;
pub mod terminal;
pub mod trust_update;
pub mod verify;
pub mod verify_bundle;

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

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
