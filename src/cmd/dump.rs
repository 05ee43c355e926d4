//! `oci2sysext dump IMAGE`: what an EROFS image holds, one line a path.

use std::io::{self, Write};

use super::open;
use crate::cli::ImageArgs;
use crate::error::Result;
use crate::image::{Error, erofs};
use crate::limits::Limits;

/// Lists the image.
pub fn run(args: &ImageArgs) -> Result<()> {
    let reader = open(&args.image)?;
    let mut text = String::new();
    erofs::dump(&reader, &Limits::with(&args.limit), &mut text)?;
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.map_err(Error::Io)?),
    }
}
