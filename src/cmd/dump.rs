//! `oci2sysext dump IMAGE`: what an EROFS image holds, one line a path.

use super::{open, terminal};
use crate::cli::ImageArgs;
use crate::error::Result;
use crate::image::erofs;
use crate::limits::Limits;

/// Lists the image.
pub fn run(args: &ImageArgs) -> Result<()> {
    let reader = open(&args.image)?;
    let mut text = String::new();
    erofs::dump(&reader, &Limits::with(&args.limit), &mut text)?;
    Ok(terminal::print(&text)?)
}
