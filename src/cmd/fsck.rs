//! `oci2sysext fsck IMAGE`: reads all of an EROFS image, contents included.

use std::os::unix::ffi::OsStrExt;

use super::{open, terminal};
use crate::cli::ImageArgs;
use crate::error::Result;
use crate::escape::Escaped;
use crate::image::erofs;
use crate::limits::Limits;

/// Checks the image.
pub fn run(args: &ImageArgs) -> Result<()> {
    let reader = open(&args.image)?;
    let found = erofs::fsck(&reader, &Limits::with(&args.limit))?;
    let image = Escaped(args.image.as_os_str().as_bytes());
    let (paths, bytes) = (found.paths, found.bytes);
    terminal::say(format_args!("{image}: {paths} paths, {bytes} bytes of contents, no errors\n"));
    Ok(())
}
