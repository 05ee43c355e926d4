//! `oci2sysext REFERENCE`: the conversion, and what the user hears of it.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use super::log;
use crate::cli::ConvertArgs;
use crate::convert::{Progress, convert};
use crate::error::Result;
use crate::report::{Report, Summary};
use crate::request::Request;
use crate::verify::LayerDescriptor;
use crate::{image, publish};

/// Converts an image as the command line says.
pub fn run(args: &ConvertArgs) -> Result<()> {
    log(args.quiet, args.verbose);
    let request = Request::from_args(args)?;
    let mut bar = Bar::new(!args.quiet && io::stderr().is_terminal());
    let report = convert(&request, &mut bar);
    bar.clear();
    let report = report?;
    if !args.quiet {
        eprint!("{}", Summary { report: &report, verbose: args.verbose > 0 });
    }
    if let Some(path) = &args.report {
        let mut bytes =
            serde_json::to_vec_pretty(&report).map_err(|e| image::Error::Io(e.into()))?;
        bytes.push(b'\n');
        publish::report(path, &bytes)?;
    }
    if args.json {
        print_report(&report).map_err(image::Error::Io)?;
    }
    Ok(())
}

fn print_report(report: &Report) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A progress bar, on a terminal.
struct Bar {
    bar: Option<ProgressBar>,
    visible: bool,
}

impl Bar {
    fn new(visible: bool) -> Self {
        Self { bar: None, visible }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn fetching(&mut self, layer: &LayerDescriptor, done: u64) {
        if !self.visible {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = "layer {msg} {wide_bar} {binary_bytes} of {binary_total_bytes} {eta}";
            let bar = ProgressBar::new(layer.descriptor.size).with_message(layer.index.to_string());
            match ProgressStyle::with_template(style) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_position(done);
        if done >= layer.descriptor.size {
            self.clear();
        }
    }

    fn converting(&mut self) {
        self.clear();
    }
}
