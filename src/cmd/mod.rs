//! The subcommands, one file each.

pub mod convert;
pub mod dump;
pub mod fsck;

use std::fs::File;
use std::path::Path;

use crate::image::{Error, erofs};

/// Opens an EROFS image.
fn open(path: &Path) -> Result<erofs::Reader, Error> {
    erofs::Reader::open(File::open(path)?)
}
