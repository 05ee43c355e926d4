//! `oci2sysext REFERENCE`: the conversion, and what the user hears of it.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::Level;

use crate::cli::ConvertArgs;
use crate::convert::{Progress, convert};
use crate::error::Result;
use crate::report::{Report, Summary};
use crate::request::Request;
use crate::verify::LayerDescriptor;
use crate::{image, publish};

/// Converts an image as the command line says.
pub fn run(args: &ConvertArgs) -> Result<()> {
    log(args);
    let request = Request::from_args(args)?;
    let mut bar = Bar { visible: !args.quiet && io::stderr().is_terminal() };
    let report = convert(&request, &mut bar);
    clear();
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

/// Messages go to standard error: warnings, with -v what is done, with -vv what is fetched.
fn log(args: &ConvertArgs) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    // A second subscriber is refused: then this is a test, and it has one.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Messages)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .try_init();
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

/// The bar that is on the terminal: messages are written above it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard error, without the bar while a message is written.
struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A message that cannot be written ends no conversion.
        let write = || drop(io::stderr().write_all(bytes));
        match &*shown() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A progress bar, on a terminal.
struct Bar {
    visible: bool,
}

/// Takes the bar from the terminal.
fn clear() {
    if let Some(bar) = shown().take() {
        bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn fetching(&mut self, layer: &LayerDescriptor, done: u64) {
        if !self.visible {
            return;
        }
        let mut shown = shown();
        let bar = shown.get_or_insert_with(|| {
            let style = "layer {msg} {wide_bar} {binary_bytes} of {binary_total_bytes} {eta}";
            let bar = ProgressBar::new(layer.descriptor.size).with_message(layer.index.to_string());
            match ProgressStyle::with_template(style) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_position(done);
        if done >= layer.descriptor.size {
            drop(shown);
            clear();
        }
    }

    fn converting(&mut self) {
        clear();
    }
}
