//! What a user sees: results, messages while a run goes on, and a progress bar below them.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tracing::Level;

use crate::convert::Progress;
use crate::publish;
use crate::verify::LayerDescriptor;

/// Messages go to standard error: warnings, with -v what is done, with -vv what is fetched.
pub fn log(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
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

/// Prints a result on standard output; that whoever reads has seen enough is no error.
pub fn print(text: &str) -> Result<(), publish::Error> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(publish::Error::Report { path: "/dev/stdout".into(), error })
        }
        _ => Ok(()),
    }
}

/// Prints a result on standard output, as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), publish::Error> {
    print(&json(value)?)
}

/// A result as JSON, on lines of its own.
pub fn json(value: &impl Serialize) -> Result<String, publish::Error> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => {
            Err(publish::Error::Report { path: "/dev/stdout".into(), error: error.into() })
        }
    }
}

/// Tells the user on standard error; what is done is done, whether anybody hears of it or not.
pub fn say(text: impl fmt::Display) {
    let _ = write!(io::stderr(), "{text}");
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

/// How far a conversion is, as a bar.
#[derive(Debug)]
pub struct Bar {
    visible: bool,
}

impl Bar {
    /// A bar that is not on the terminal yet, and never will be unless it is `visible`.
    pub fn new(visible: bool) -> Self {
        Self { visible }
    }
}

/// Takes the bar from the terminal.
pub fn clear() {
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
