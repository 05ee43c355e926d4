//! `oci2sysext fsck IMAGE`: reads all of an EROFS image, contents included.

use super::open;
use crate::cli::ImageArgs;
use crate::error::Result;
use crate::image::erofs;
use crate::limits::Limits;

/// Checks the image. Listing it decodes every byte, and fails where that is not possible.
pub fn run(args: &ImageArgs) -> Result<()> {
    let reader = open(&args.image)?;
    let mut text = String::new();
    erofs::dump(&reader, &Limits::default(), &mut text)?;
    eprintln!("{}: {} paths, no errors", args.image.display(), text.lines().count());
    Ok(())
}
