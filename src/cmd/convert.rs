//! `oci2sysext REFERENCE`: the conversion, and what the user hears of it.

use std::io::{self, IsTerminal};

use super::terminal::{self, Bar};
use crate::cli::ConvertArgs;
use crate::convert::convert;
use crate::error::Result;
use crate::publish;
use crate::report::Summary;
use crate::request::Request;

/// Converts an image as the command line says.
pub fn run(args: &ConvertArgs) -> Result<()> {
    terminal::log(args.quiet, args.verbose);
    let request = Request::from_args(args)?;
    let mut bar = Bar::new(!args.quiet && io::stderr().is_terminal());
    let report = convert(&request, &mut bar);
    terminal::clear();
    let report = report?;
    if !args.quiet {
        terminal::say(Summary { report: &report, verbose: args.verbose > 0 });
    }
    if let Some(path) = &args.report {
        publish::report(path, terminal::json(&report)?.as_bytes())?;
    }
    if args.json {
        terminal::print_json(&report)?;
    }
    Ok(())
}
