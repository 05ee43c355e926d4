//! Disks that fail, signals and kills (bad-inputs.md, rows 81–87): the old image or the new one,
//! never a part of one, and nothing else.

mod common;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::command::{Outcome, Workdir, snapshot};
use common::mount::Mounted;
use common::{need, not_run, repository, tools};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};

/// The arguments that convert the sample to `output`.
fn sample(output: &Path) -> Vec<OsString> {
    let layout = format!("oci:{}", repository("testdata/sample/layout").display());
    let key = repository("testdata/sample/key.pub");
    vec![
        layout.into(),
        "--key".into(),
        key.into(),
        "-o".into(),
        output.as_os_str().to_owned(),
        "--force".into(),
    ]
}

/// The program under strace with a fault at a system call, if strace may trace here.
fn with_fault(work: &Workdir, fault: &str) -> Option<Command> {
    let strace = tools::system("strace")?;
    let traced = Command::new(&strace).args(["-qq", "-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let program = work.command();
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=all"]);
    command.arg("-e").arg(format!("inject={fault}")).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(work.path("out"));
    Some(command)
}

/// Converts the sample, so that there is an image to be replaced; its bytes.
fn old_image(work: &Workdir) -> (PathBuf, Vec<u8>) {
    let image = work.out("sample.raw");
    work.converts(sample(&image).into_iter().chain(["--compress=none".into()]));
    let bytes = fs::read(&image).expect("the image");
    (image, bytes)
}

/// Row 81: a full disk, for the image and for what is spooled.
#[test]
fn a_full_disk() {
    if !tools::can_mount() {
        not_run!("mounting needs root");
    }
    let work = Workdir::new();
    for options in ["size=16k", "size=1m,nr_inodes=1"] {
        let small = Mounted::tmpfs(options);
        work.refuses(12, sample(&small.path().join("sample.raw")));
        assert!(snapshot(&small.path()).is_empty(), "left on the full disk: {options}");
    }
}

/// Row 81: each step of publishing fails.
#[test]
fn a_failing_disk() {
    let work = Workdir::new();
    let (image, _) = old_image(&work);
    let before = snapshot(&work.path("out"));
    for fault in [
        "fsync,fdatasync:error=EIO:when=1",
        "fsync,fdatasync:error=ENOSPC:when=1",
        "linkat:error=EIO",
        "rename,renameat,renameat2:error=EDQUOT",
    ] {
        let mut command = need!(with_fault(&work, fault), "strace cannot trace here");
        let outcome = Outcome::of(command.args(sample(&image)));
        assert_eq!(outcome.code, 12, "{fault}: {outcome:#?}");
        assert_eq!(before, snapshot(&work.path("out")), "{fault}");
        assert!(snapshot(&work.path("tmp")).is_empty(), "{fault}");
    }
}

/// Row 85: killed at each step of publishing; the next run succeeds and clears up.
#[test]
fn a_kill_at_any_step() {
    let work = Workdir::new();
    let (image, old) = old_image(&work);
    let new = {
        let other = Workdir::new();
        let image = other.out("sample.raw");
        other.converts(sample(&image).into_iter().chain(["--compress=lz4".into()]));
        fs::read(image).unwrap()
    };
    for call in
        ["fsync,fdatasync", "fchmod", "linkat", "rename,renameat,renameat2", "openat", "close"]
    {
        for when in [1, 2, 3, 20, 40] {
            let fault = format!("{call}:signal=KILL:when={when}");
            let mut command = need!(with_fault(&work, &fault), "strace cannot trace here");
            Outcome::of(command.args(sample(&image)).arg("--compress=lz4"));
            let found = fs::read(&image).unwrap();
            assert!(found == old || found == new, "{fault}: neither the old nor the new image");
            for path in snapshot(&work.path("out")).keys().filter(|path| **path != image) {
                let name = path.file_name().unwrap().to_string_lossy();
                assert!(
                    name.starts_with(".#oci2sysext-") && !name.ends_with(".raw"),
                    "{fault}: {name}"
                );
            }
            work.converts(sample(&image).into_iter().chain(["--compress=none".into()]));
            assert_eq!(fs::read(&image).unwrap(), old, "{fault}: the next run");
            assert_eq!(snapshot(&work.path("out")).len(), 1, "{fault}: left after the next run");
        }
    }
}

/// Row 84: a signal ends the run with its number, at once, with nothing left.
#[test]
fn a_signal_ends_the_run() {
    // A registry that listens and never answers, and one that asks to come back in a minute.
    let [silent, busy] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let images = [&silent, &busy].map(|it| format!("{}/test/image:tag", it.local_addr().unwrap()));
    std::thread::spawn(move || {
        for mut stream in busy.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
    let key = repository("testdata/sample/key.pub");
    for (image, (signal, code)) in images.iter().flat_map(|i| signals.map(|s| (i, s))) {
        let work = Workdir::new();
        let mut command = work.command();
        command.args([image, "--tls-verify=false", "--key"]).arg(&key);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        let start = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{signal:?} took {:?}", start.elapsed());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(snapshot(&work.path("out")).is_empty() && snapshot(&work.path("tmp")).is_empty());
    }
}

/// Row 83: a destination that cannot be written.
#[test]
fn a_read_only_destination() {
    if !tools::can_mount() {
        not_run!("mounting needs root");
    }
    let work = Workdir::new();
    let locked = Mounted::tmpfs("ro");
    work.refuses(12, sample(&locked.path().join("sample.raw")));
}

/// Row 86: while another run holds the destination, a run waits, or ends with 13 if told so.
#[test]
fn two_runs_with_one_output() {
    let work = Workdir::new();
    let image = work.out("sample.raw");
    let directory = fs::File::open(work.path("out")).unwrap();
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).unwrap();
    work.refuses(13, sample(&image).into_iter().chain(["--no-wait".into()]));

    let mut waiting = work.command().args(sample(&image)).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    assert!(waiting.try_wait().unwrap().is_none(), "a run did not wait for the lock");
    rustix::fs::flock(&directory, FlockOperation::Unlock).unwrap();
    assert!(waiting.wait().unwrap().success());
    assert!(image.is_file());
}
