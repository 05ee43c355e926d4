//! The program: parses its arguments, runs, and exits with the code that the failure means.

use std::process::ExitCode;

use clap::Parser;
use oci2sysext::cli::{Cli, Command, TrustCommand};
use oci2sysext::cmd::{self, terminal};
use oci2sysext::error::{Error, ExitCode as ErrorCode};
use oci2sysext::escape::Escaped;
use oci2sysext::{request, signals};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let json = cli.json();
    if let Err(error) = signals::watch(terminal::clear) {
        // Unnamed files leave nothing behind even so.
        tracing::debug!("no signal handler: {error}");
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A run may fail because a signal took its files away: then the signal has the word.
            let _ending = signals::hold();
            complain(&error, json);
            error.fault().exit_code().into()
        }
    }
}

fn run(cli: &Cli) -> oci2sysext::error::Result<()> {
    match &cli.command {
        None => cmd::convert::run(&cli.convert),
        Some(Command::Verify(args)) => cmd::verify::run(args),
        Some(Command::Explain(args)) => cmd::explain::run(args),
        Some(Command::Dump(args)) => cmd::dump::run(args),
        Some(Command::Fsck(args)) => cmd::fsck::run(args),
        Some(Command::Trust(TrustCommand::Update(args))) => cmd::trust_update::run(args),
        Some(Command::VerifyBundle(args)) => cmd::verify_bundle::run(args),
    }
}

/// Help and version, or a command line that clap does not understand.
fn misunderstood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        complain(&usage(error).into(), true);
        return ErrorCode::Usage.into();
    }
    // Nobody is left to tell if the stream is gone.
    let _ = error.print();
    if error.use_stderr() { ErrorCode::Usage.into() } else { ExitCode::SUCCESS }
}

/// What clap says first, which names the argument, on one line.
fn usage(error: &clap::Error) -> request::Error {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let problem = lines.collect::<Vec<_>>().join(" ");
    let problem = problem.strip_prefix("error: ").unwrap_or(&problem);
    request::Error::new(Escaped(problem.as_bytes()).to_string(), "see oci2sysext --help")
}

/// What was found and expected, and what to do: two lines for people, an object for machines.
fn complain(error: &Error, json: bool) {
    // Nobody is left to tell if a stream is gone: the exit code still says it.
    let fault = error.fault();
    if json {
        let _ = terminal::print_json(&serde_json::json!({ "error": error.to_json() }));
    }
    terminal::say(format_args!("error: {fault}\n  help: {}\n", fault.advice()));
}
