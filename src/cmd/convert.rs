//! `oci2sysext REFERENCE`: the conversion, and what the user hears of it.

use std::io::{self, IsTerminal, Write};

use super::terminal::{self, Bar};
use crate::cli::ConvertArgs;
use crate::convert::convert;
use crate::error::Result;
use crate::report::{Report, Summary};
use crate::request::Request;
use crate::{image, publish};

/// Converts an image as the command line says.
pub fn run(args: &ConvertArgs) -> Result<()> {
    terminal::log(args.quiet, args.verbose);
    let request = Request::from_args(args)?;
    let mut bar = Bar::new(!args.quiet && io::stderr().is_terminal());
    let report = convert(&request, &mut bar);
    terminal::clear();
    let report = report?;
    if !args.quiet {
        // The image is there, whether anybody hears of it or not.
        let _ = write!(io::stderr(), "{}", Summary { report: &report, verbose: args.verbose > 0 });
    }
    if let Some(path) = &args.report {
        let mut bytes =
            serde_json::to_vec_pretty(&report).map_err(|e| image::Error::Io(e.into()))?;
        bytes.push(b'\n');
        publish::report(path, &bytes)?;
    }
    if args.json {
        print_report(&report)?;
    }
    Ok(())
}

fn print_report(report: &Report) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report).map_err(|e| image::Error::Io(e.into()))?;
    text.push('\n');
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(publish::Error::Report { path: "/dev/stdout".into(), error }.into()),
        Ok(()) => Ok(()),
    }
}
