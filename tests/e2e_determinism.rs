//! The same image and the same options give the same bytes, whatever surrounds the run.

mod common;

use std::fs;

use common::command::{Outcome, Workdir, snapshot};
use common::repository;

/// Runs that differ in threads, time zone, umask, directory and locale give the same image.
#[test]
fn surroundings_do_not_reach_the_image() {
    let layout = format!("oci:{}", repository("testdata/sample/layout").display());
    let key = repository("testdata/sample/key.pub").display().to_string();
    for compress in ["none", "lz4", "lz4hc", "lz4hc:12"] {
        let mut first = None;
        for (threads, umask, zone) in [
            ("1", "022", "UTC"),
            ("8", "077", "Asia/Kolkata"),
            ("8", "000", "UTC"),
            ("3", "022", "UTC"),
        ] {
            let work = Workdir::new();
            // A shell, because only a process can change its own umask.
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "umask \"$0\"; exec \"$@\"", umask]);
            let program = work.command();
            command.arg(program.get_program());
            for (name, value) in program.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command.current_dir(work.path("out")).env("TZ", zone).env("LC_ALL", "C");
            command.args([&layout, "--key", &key, "--threads", threads, "--compress", compress]);
            let outcome = Outcome::of(command.args(["-o", "sample.raw"]));
            assert_eq!(outcome.code, 0, "{outcome:#?}");
            let image = fs::read(work.out("sample.raw")).unwrap();
            let first = first.get_or_insert_with(|| image.clone());
            let run = format!("--compress={compress}, {threads} threads, umask {umask}");
            assert!(*first == image, "{run}: another image than the first run's");
        }
    }
}

/// So do composefs runs: the image and every object.
#[test]
fn composefs_runs_give_the_same_image_and_objects() {
    let layout = format!("oci:{}", repository("testdata/sample/layout").display());
    let key = repository("testdata/sample/key.pub").display().to_string();
    let [first, second] = ["1", "8"].map(|threads| {
        let work = Workdir::new();
        let common = [layout.as_str(), "--key", &key, "--threads", threads, "-o", "sample.cfs"];
        work.converts(common.iter().chain(&["--format", "composefs", "--objects", "objects"]));
        let out = work.path("out");
        assert!(work.out("sample.cfs").is_file() && work.out("objects").is_dir());
        let files = snapshot(&out).into_iter();
        files.map(|(path, what)| (path.strip_prefix(&out).unwrap().to_owned(), what)).collect()
    });
    let (first, second): (Vec<_>, Vec<_>) = (first, second);
    assert_eq!(first, second);
}
