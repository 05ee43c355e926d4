//! `oci2sysext fsck IMAGE`: reads all of an EROFS image, contents included.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use super::open;
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
    let _ = writeln!(io::stderr(), "{image}: {paths} paths, {bytes} bytes of contents, no errors");
    Ok(())
}
