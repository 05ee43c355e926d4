//! `oci2sysext trust update`: fetches the current authorities and logs. Nothing else asks for them.

use std::os::unix::ffi::OsStrExt;

use super::terminal;
use crate::cli::UpdateArgs;
use crate::error::Result;
use crate::escape::Escaped;
use crate::trust::{self, TrustSources};

/// Updates the file.
pub fn run(args: &UpdateArgs) -> Result<()> {
    let (root, file) = (args.root.as_deref(), args.trusted_root.as_deref());
    let written = trust::update(&TrustSources::default(), &args.mirror, root, file)?;
    let written = Escaped(written.as_os_str().as_bytes());
    let mirror = Escaped(args.mirror.as_bytes());
    terminal::say(format_args!("{written}: what {mirror} has now\n"));
    Ok(())
}
