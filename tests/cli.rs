//! What the program says, word for word: each file of `testdata/cli` is a session in a shell.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

mod common;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

use common::command::{Outcome, Workdir, snapshot};
use common::{need, repository, tools};

/// A directory in which `sample` is the signed sample.
fn workdir() -> Workdir {
    let work = Workdir::new();
    symlink(repository("testdata/sample"), work.out("sample")).unwrap();
    work
}

/// Runs the lines of a session that start with `$ `, and writes down all that is said.
fn replay(session: &str) -> String {
    let work = workdir();
    let mut found = String::new();
    for line in session.lines().filter(|line| line.starts_with("$ ")) {
        let words = line.split(' ').skip(1);
        let mut command = work.command();
        assert_eq!(words.clone().next(), Some("oci2sysext"), "{line}");
        let Outcome { code, stdout, stderr } = Outcome::of(command.args(words.skip(1)));
        writeln!(found, "{line}").unwrap();
        for (stream, text) in [("", stdout), ("2> ", stderr)] {
            for line in text.lines() {
                writeln!(found, "{}", format!("{stream}{line}").trim_end()).unwrap();
            }
        }
        writeln!(found, "[exit {code}]\n").unwrap();
    }
    found
}

#[test]
fn sessions_are_as_they_were() {
    let mut paths: Vec<_> =
        fs::read_dir(repository("testdata/cli")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let session = fs::read_to_string(&path).unwrap();
        let found = replay(&session);
        if std::env::var_os("O2S_UPDATE_GOLDEN").is_some() {
            fs::write(&path, &found).unwrap();
        } else {
            let mut lines = found.lines().zip(session.lines());
            let first = lines.find(|(found, expected)| found != expected);
            let name = path.display();
            assert!(found == session, "{name}: {first:?}; O2S_UPDATE_GOLDEN=1 accepts a change");
        }
    }
}

const SAMPLE: [&str; 5] = ["oci:sample/layout", "--rename", "--key", "sample/key.pub", "-q"];

#[test]
fn a_report_replaces_files_but_no_devices() {
    let work = workdir();
    let fifo = work.out("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    work.converts(SAMPLE.iter().chain(&["-o", "a.raw", "--report", "fifo"]));
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    let through_fifo = reader.join().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&through_fifo).is_ok(), "{through_fifo}");

    fs::write(work.out("report"), "old").unwrap();
    symlink("report", work.out("link")).unwrap();
    work.converts(SAMPLE.iter().chain(&["-o", "a.raw", "--force", "--report", "link"]));
    assert!(fs::symlink_metadata(work.out("link")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(work.out("report")).unwrap(), through_fifo);
    let names = fs::read_dir(work.path("out")).unwrap().map(|e| e.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".#")));
}

#[test]
fn a_fifo_is_no_image() {
    let work = workdir();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, work.out("fifo"), fifo, mode, 0).unwrap();
    work.refuses(12, ["fsck", "fifo"]);
}

/// A stream that is full takes no image away, and no exit code.
#[test]
fn a_full_stream_changes_no_exit_code() {
    let work = workdir();
    let full = |arguments: &[&str], streams: [bool; 2]| {
        let mut command = work.command();
        command.args(&SAMPLE[..4]).args(["-v", "-o", "a.raw"]).args(arguments);
        let sink = || fs::File::options().write(true).open("/dev/full").unwrap();
        if streams[0] {
            command.stdout(sink());
        }
        if streams[1] {
            command.stderr(sink());
        }
        Outcome::of(&mut command)
    };
    assert_eq!(full(&[], [false, true]).code, 0);
    assert_eq!(full(&[], [false, true]).code, 12, "it exists");
    assert_eq!(full(&["--json"], [true, true]).code, 12, "it exists");
    assert_eq!(full(&["--insecure-skip-signature"], [false, true]).code, 2);
    let unreported = full(&["--json", "--force"], [true, false]);
    assert_eq!(unreported.code, 12);
    assert!(unreported.stderr.contains("the image is written, but not the report"));
}

/// The second run finds the objects in the store; what it says of fs-verity must not change.
#[test]
fn two_runs_say_the_same_of_verity() {
    let work = workdir();
    let run = || {
        let options = ["--format", "composefs", "--objects", "objects", "-o", "a.cfs", "--force"];
        let outcome = work.converts(SAMPLE.iter().take(4).chain(&options));
        (outcome.stderr, snapshot(&work.out("objects")))
    };
    assert_eq!(run(), run());
}

/// Runs that open one store at the same time may take each other's new directories for dead.
#[test]
fn many_runs_with_one_object_store() {
    let work = workdir();
    let children: Vec<_> = (0..8)
        .map(|n| {
            let image = format!("{n}/a.cfs");
            fs::create_dir(work.out(&n.to_string())).unwrap();
            let options = ["--format", "composefs", "--objects", "objects", "-o", &image];
            work.command().args(SAMPLE.iter().chain(&options)).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let images: Vec<_> =
        (0..8).map(|n| fs::read(work.out(&format!("{n}/a.cfs"))).unwrap()).collect();
    assert!(images.iter().all(|image| *image == images[0]));
    let names = fs::read_dir(work.out("objects")).unwrap().map(|e| e.unwrap().file_name());
    assert!(names.into_iter().all(|name| name.len() == 2), "waiting directories are left");
}

/// A few blocks that say that a file is a petabyte of zeros are not hashed for days.
#[test]
fn a_tiny_image_of_a_petabyte_is_above_the_limit() {
    let mkcomposefs = need!(tools::newest("mkcomposefs"), "no mkcomposefs");
    let work = workdir();
    let (dump, image) = (work.out("dump"), work.out("image.cfs"));
    let file = "/f 1125899906842624 100644 1 0 0 0 0.0 - - -";
    fs::write(&dump, format!("/ 4096 40755 2 0 0 0 0.0 - - -\n{file}\n")).unwrap();
    tools::run(&mkcomposefs, ["--from-file".as_ref(), dump.as_os_str(), image.as_os_str()]);
    for command in ["dump", "fsck"] {
        let refused = work.run([command.as_ref(), image.as_os_str()]);
        assert_eq!(refused.code, 9, "{refused:?}");
        assert!(refused.stderr.contains("--limit layer-uncompressed=N"), "{refused:?}");
    }
    let small = "layer-uncompressed=4K".as_ref();
    let refused = work.run(["fsck".as_ref(), image.as_os_str(), "--limit".as_ref(), small]);
    assert!(refused.stderr.contains("more than 4096"), "{refused:?}");
}
