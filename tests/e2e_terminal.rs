//! What a user sees on a terminal, which `script` plays: a bar while a layer is fetched, messages
//! above it, and nothing of it at the end.

#![allow(clippy::indexing_slicing, reason = "a failed test may panic")]

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::command::{Outcome, Workdir};
use common::faults::{Reply, noise};
use common::hub::Hub;
use common::layout::{Image, Layout, digest};
use common::sign::{Key, Signer};
use common::tarball::{Tarball, gzip};
use common::{need, tools};

/// What is left on the screen when everything was printed, line by line.
fn screen(printed: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut rest = printed.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                let mut number = String::new();
                let command = rest.by_ref().skip(1).find(|c| {
                    number.push(*c);
                    c.is_ascii_alphabetic()
                });
                match command {
                    Some('A') => row = row.saturating_sub(1),
                    Some('B') => row += 1,
                    Some('K') => lines[row].clear(),
                    _ => {}
                }
            }
            c => {
                let line = &mut lines[row];
                while line.chars().count() < column {
                    line.push(' ');
                }
                *line = line
                    .chars()
                    .take(column)
                    .chain([c])
                    .chain(line.chars().skip(column + 1))
                    .collect();
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), String::new());
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[test]
fn the_screen_of_these_tests_is_a_terminal() {
    assert_eq!(screen("ab\r\u{1b}[2Kcd\r\nx\u{1b}[1mY\u{1b}[0m\r\n"), ["cd", "xY"]);
    assert_eq!(screen("one\r\ntwo\u{1b}[1A\r\u{1b}[2KONE"), ["ONE", "two"]);
    assert_eq!(screen("abc\rX"), ["Xbc"]);
}

struct Terminal {
    key: Key,
    layout: Layout,
    layer: Vec<u8>,
    script: PathBuf,
}

impl Terminal {
    fn new() -> Option<Self> {
        let (key, script) = Signer::OpenSsl.new_key().zip(tools::system("script"))?;
        let tar = Tarball::minimal().file("usr/noise", &noise(400_000)).finish();
        let layout = Layout::signed(&key, &Image::new(&tar));
        Some(Self { key, layout, layer: gzip(&tar), script })
    }

    /// A registry that sends half of the layer, is slow with the next bytes, and busy once.
    fn slow(&self) -> Hub {
        let name = digest(&self.layer);
        Hub::failing(&self.layout, move |request, before, reply| {
            match (request.path.ends_with(&name), before) {
                (true, 0) => reply.stall(100_000, Duration::from_millis(400)).cut(200_000),
                (true, 1) => Reply::error(503, "UNAVAILABLE"),
                (true, 2) => reply.stall(100_000, Duration::from_millis(400)),
                _ => reply,
            }
        })
    }

    /// All that is printed to a terminal, and the exit code.
    fn run(&self, hub: &Hub, flags: &[&str]) -> (String, i32) {
        self.run_by(&[], hub, flags)
    }

    /// The same by another program.
    fn run_by(&self, runner: &[&str], hub: &Hub, flags: &[&str]) -> (String, i32) {
        let work = Workdir::new();
        let program = work.command().get_program().to_owned();
        let mut words: Vec<_> = runner.iter().map(|&word| word.to_owned()).collect();
        words.push(program.to_string_lossy().into_owned());
        words.push(work.state());
        words.extend(hub.arguments(&self.key));
        words.extend(flags.iter().map(|&flag| flag.to_owned()));
        let mut command = Command::new(&self.script);
        command.args(["-qec", &words.join(" "), "/dev/null"]).stdin(Stdio::null());
        command.current_dir(work.path("out")).env("TMPDIR", work.path("tmp")).env("TERM", "xterm");
        let outcome = Outcome::of(&mut command);
        (outcome.stdout, outcome.code)
    }
}

#[test]
fn messages_are_above_the_bar_and_the_bar_goes() {
    let terminal = need!(Terminal::new(), "no openssl or script");
    for flags in [&[][..], &["-v"], &["-vv"]] {
        let (printed, code) = terminal.run(&terminal.slow(), flags);
        let screen = screen(&printed);
        assert_eq!(code, 0, "{screen:#?}");
        assert!(printed.contains("layer 1 ") && printed.contains("KiB of "), "no bar: {printed:?}");
        let busy = screen.iter().find(|line| line.contains("503")).expect("a warning");
        assert!(busy.trim_start().starts_with("WARN http://"), "{screen:#?}");
        assert!(busy.contains("; trying again in "), "{screen:#?}");
        assert!(!screen.iter().any(|line| line.contains("layer 1 ")), "the bar stays: {screen:#?}");
        assert!(screen.iter().any(|line| line.starts_with("image.raw: ")), "{screen:#?}");
        assert_eq!(printed.contains("DEBUG"), flags == ["-vv"], "{screen:#?}");
        let says_paths = screen.iter().any(|line| line.contains("extension-release.image"));
        assert_eq!(says_paths, !flags.is_empty(), "{screen:#?}");
    }
}

#[test]
fn an_error_is_below_no_bar() {
    let terminal = need!(Terminal::new(), "no openssl or script");
    let name = digest(&terminal.layer);
    let hub = Hub::failing(&terminal.layout, move |request, before, reply| {
        match (request.path.ends_with(&name), before) {
            (true, 0) => reply.stall(100_000, Duration::from_millis(400)).cut(200_000),
            (true, _) => Reply::error(403, "DENIED"),
            _ => reply,
        }
    });
    let (printed, code) = terminal.run(&hub, &[]);
    let screen = screen(&printed);
    assert_eq!(code, 11, "{screen:#?}");
    assert!(printed.contains("layer 1 "), "no bar: {printed:?}");
    let [error, help] = screen.as_slice() else { panic!("{screen:#?}") };
    assert!(error.starts_with("error: ") && help.starts_with("  help: "), "{screen:#?}");
}

/// Ctrl-C takes the bar away, too (row 84).
#[test]
fn a_signal_leaves_no_bar() {
    let terminal = need!(Terminal::new(), "no openssl or script");
    let name = digest(&terminal.layer);
    let hub = Hub::failing(&terminal.layout, move |request, _, reply| {
        if request.path.ends_with(&name) {
            reply.stall(100_000, Duration::from_secs(20))
        } else {
            reply
        }
    });
    let interrupt = ["timeout", "--foreground", "--preserve-status", "--signal=INT", "2"];
    let (printed, code) = terminal.run_by(&interrupt, &hub, &[]);
    assert_eq!(code, 130, "{printed:?}");
    assert!(printed.contains("layer 1 "), "no bar: {printed:?}");
    assert_eq!(screen(&printed), [""; 0], "{printed:?}");
}

#[test]
fn quiet_is_quiet() {
    let terminal = need!(Terminal::new(), "no openssl or script");
    assert_eq!(terminal.run(&terminal.slow(), &["-q"]), (String::new(), 0));
    let (printed, code) = terminal.run(&terminal.slow(), &["-q", "--platform=linux/s390x"]);
    assert_eq!((screen(&printed).len(), code), (2, 7), "{printed:?}");
}

#[test]
fn what_is_no_terminal_gets_no_bar_and_no_colours() {
    let terminal = need!(Terminal::new(), "no openssl or script");
    let hub = terminal.slow();
    let outcome = Workdir::new().converts(hub.arguments(&terminal.key));
    assert!(outcome.stderr.contains("; trying again in "), "{outcome:#?}");
    assert!(!outcome.stderr.contains(['\u{1b}', '\r']), "{outcome:#?}");
    assert!(!outcome.stderr.contains("layer 1 "), "{outcome:#?}");
}
