//! Disks that fail, signals and kills (bad-inputs.md, rows 81–87): the old image or the new one,
//! never a part of one, and nothing else.

mod common;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::command::{Outcome, Workdir, snapshot};
use common::layout::{Image, Layout};
use common::mount::Mounted;
use common::sign::{Key, Signer};
use common::tarball::Tarball;
use common::{need, not_run, repository, tools};
use composefs::fsverity::{FsVerityHashValue, Sha256HashValue};
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
        "--no-cache".into(),
        "-o".into(),
        output.as_os_str().to_owned(),
        "--force".into(),
    ]
}

/// The program under strace with a fault at a system call, if strace may trace here.
fn with_fault(work: &Workdir, fault: &str) -> Option<Command> {
    with_faults(work, &[fault])
}

fn with_faults(work: &Workdir, faults: &[&str]) -> Option<Command> {
    let strace = tools::system("strace")?;
    let traced = Command::new(&strace).args(["-qq", "-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let program = work.command();
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=all"]);
    for fault in faults {
        command.arg("-e").arg(format!("inject={fault}"));
    }
    command.arg(program.get_program());
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

/// A layer whose parts all take room: noise in files and in attributes, many directories.
fn large_layer(noise_length: usize) -> Vec<u8> {
    let noise = common::faults::noise(noise_length);
    let mut tar = Tarball::minimal();
    for (number, part) in noise.chunks(48 << 10).enumerate() {
        tar = tar.dir(&format!("usr/{number}")).file(&format!("usr/{number}/noise"), part);
    }
    tar.finish()
}

/// The arguments that convert a layout to composefs, with the store beside the image.
fn to_composefs(layout: &Layout, key: &Key, directory: &Path) -> Vec<OsString> {
    vec![
        layout.reference().into(),
        "--key".into(),
        key.public().into(),
        "--format=composefs".into(),
        "--objects".into(),
        directory.join("objects").into(),
        "-o".into(),
        directory.join("image.cfs").into(),
        "--force".into(),
        "--no-cache".into(),
        "-q".into(),
    ]
}

/// Every file of a store is what its name says, and nothing waits there.
fn check_store(store: &Path, run: &str) {
    for (path, what) in snapshot(store) {
        let name = path
            .strip_prefix(store)
            .expect("a path in the store")
            .to_string_lossy()
            .replace('/', "");
        assert!(name.bytes().all(|b| b.is_ascii_hexdigit()), "{run}: {name} is left");
        if what != "directory" {
            let bytes = fs::read(&path).expect("an object");
            let digest = composefs::fsverity::compute_verity::<Sha256HashValue>(&bytes);
            assert_eq!(digest.to_hex(), name, "{run}: an object is not what its name says");
        }
    }
}

/// Row 81: a disk that is full at any stage of writing an EROFS image, and then just large enough.
#[test]
fn row_81_erofs_on_a_disk_of_any_size() {
    if !tools::can_mount() {
        not_run!("mounting needs root");
    }
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&large_layer(300 << 10)));
    let work = Workdir::new();
    let (mut refused, mut done) = (0, 0);
    for size in (8..480).step_by(8) {
        let small = Mounted::tmpfs(&format!("size={size}k"));
        let image = small.path().join("image.raw");
        let old = fs::write(&image, "old").is_ok();
        let before = snapshot(&small.path());
        let arguments: Vec<OsString> = vec![
            layout.reference().into(),
            "--key".into(),
            key.public().into(),
            "-o".into(),
            image.clone().into(),
            "--force".into(),
            format!("--compress={}", if size % 16 == 0 { "none" } else { "lz4" }).into(),
        ];
        let outcome = work.run(&arguments);
        if outcome.code == 0 {
            done += 1;
            assert_eq!(snapshot(&small.path()).len(), 1, "{size}k");
            assert_eq!(work.run(["fsck".into(), image.into_os_string()]).code, 0);
        } else {
            refused += 1;
            work.refuses(12, &arguments);
            assert!(old);
            assert_eq!(snapshot(&small.path()), before, "{size}k: {outcome:#?}");
        }
    }
    assert!(refused > 20 && done > 3, "{refused} refused, {done} done");
}

/// Row 81: the same for composefs, whose store fills the disk.
#[test]
fn row_81_composefs_on_a_disk_of_any_size() {
    if !tools::can_mount() {
        not_run!("mounting needs root");
    }
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&large_layer(300 << 10)));
    let work = Workdir::new();
    let (mut refused, mut done) = (0, 0);
    for options in (8..480).step_by(8).map(|size| format!("size={size}k")).chain(
        // Or there are no more inodes.
        (2..48).map(|inodes| format!("size=1m,nr_inodes={inodes}")),
    ) {
        let small = Mounted::tmpfs(&options);
        let image = small.path().join("image.cfs");
        let old = fs::write(&image, "old").is_ok();
        let arguments = to_composefs(&layout, &key, &small.path());
        let outcome = work.run(&arguments);
        if outcome.code == 0 {
            done += 1;
        } else {
            refused += 1;
            work.refuses(12, &arguments);
            assert!(!old || fs::read(&image).unwrap() == b"old", "{options}");
        }
        let store = small.path().join("objects");
        if store.exists() {
            check_store(&store, &options);
        }
        for name in fs::read_dir(small.path()).unwrap().map(|entry| entry.unwrap().file_name()) {
            assert!(name == "image.cfs" || name == "objects", "{options}: {name:?} is left");
        }
    }
    assert!(refused > 20 && done > 3, "{refused} refused, {done} done");
}

/// Row 81: what must wait to be classified, and finds no room.
#[test]
fn row_81_no_room_for_what_waits() {
    if !tools::can_mount() {
        not_run!("mounting needs root");
    }
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let tar = Tarball::minimal().dir("etc").file("etc/large", &vec![b'x'; 20 << 20]).finish();
    let layout = Layout::signed(&key, &Image::new(&tar));
    let small = Mounted::tmpfs("size=1m");
    let work = Workdir::new();
    let mut command = work.command();
    command.args([&*layout.reference(), "--key"]).arg(key.public()).args(["-o", "image.raw"]);
    let outcome = work.refuses_command(12, command.env("TMPDIR", small.path()));
    assert_eq!(outcome.id(), "layer.hold");
    assert!(snapshot(&small.path()).is_empty());
}

/// Rows 81 and 85 for an object store: each of its steps fails, or is the last.
#[test]
fn rows_81_and_85_an_object_store_at_any_step() {
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&large_layer(100 << 10)));
    let work = Workdir::new();
    let image = work.out("image.cfs");
    let store = work.out("objects");
    let arguments = to_composefs(&layout, &key, &work.path("out"));
    work.converts(&arguments);
    let new = fs::read(&image).unwrap();
    let (mut failed, mut killed) = (0, 0);
    let calls = [
        ("mkdir,mkdirat", 4),
        ("write", 4),
        ("fsync,fdatasync,syncfs", 4),
        ("fchmod", 3),
        ("chmod,fchmodat", 2),
        ("linkat", 1),
        ("rename,renameat,renameat2", 5),
        ("openat", 60),
        ("close", 60),
    ];
    for (call, most) in calls {
        for when in (1..=most).step_by(if most > 10 { 7 } else { 1 }) {
            for fault in ["error=ENOSPC", "error=EIO", "signal=KILL"] {
                if fault != "signal=KILL" && matches!(call, "openat" | "close") {
                    // The loader, too, opens files; and close tells nobody.
                    continue;
                }
                let run = format!("{call}:{fault}:when={when}");
                fs::write(&image, "old").unwrap();
                fs::remove_dir_all(&store).unwrap();
                let mut command = need!(with_fault(&work, &run), "strace cannot trace here");
                let outcome = Outcome::of(command.args(&arguments));
                let found = fs::read(&image).unwrap();
                assert!(found == b"old" || found == new, "{run}: neither old nor new");
                assert!(snapshot(&work.path("tmp")).is_empty(), "{run}");
                if fault == "signal=KILL" {
                    assert!(matches!(outcome.code, 0 | 137), "{run}: {outcome:#?}");
                    killed += i32::from(outcome.code == 137);
                } else {
                    assert!(matches!(outcome.code, 0 | 12), "{run}: {outcome:#?}");
                    failed += i32::from(outcome.code == 12);
                    assert_eq!(outcome.code == 0, found == new, "{run}: {outcome:#?}");
                    if store.exists() {
                        check_store(&store, &run);
                    }
                }
                // An image that is there has its objects.
                if found == new {
                    check_store(&store, &run);
                    assert_eq!(snapshot(&store).values().filter(|w| *w != "directory").count(), 3);
                }
                // The next run succeeds, and clears up.
                work.converts(&arguments);
                assert_eq!(fs::read(&image).unwrap(), new, "{run}: the next run");
                check_store(&store, &run);
                assert_eq!(fs::read_dir(work.path("out")).unwrap().count(), 2, "{run}");
            }
        }
    }
    assert!(failed > 20 && killed > 30, "{failed} failed, {killed} killed");
}

/// Row 84: signals at any moment, for both formats.
#[test]
fn row_84_signals_at_random_moments() {
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&large_layer(2 << 20)));
    let work = Workdir::new();
    let mut erofs = vec![layout.reference().into(), "--key".into(), key.public().into()];
    erofs.extend(["-o", "image.raw", "--force", "--no-cache", "-q"].map(OsString::from));
    let composefs = to_composefs(&layout, &key, &work.path("out"));
    let started = Instant::now();
    work.converts(&composefs);
    // How long a run of each format takes, at most: a busy machine may be idle a moment later.
    let mut whole = [started.elapsed(); 2];
    let signals =
        [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::KILL, 137)];
    let mut ended = 0;
    for (number, moment) in common::faults::noise(160).into_iter().enumerate() {
        let (signal, code) = signals[number % signals.len()];
        let format = number / 4 % 2;
        let arguments = [&erofs, &composefs][format];
        fs::remove_dir_all(work.out("objects")).unwrap();
        fs::create_dir(work.out("objects")).unwrap();
        for name in ["image.raw", "image.cfs"] {
            fs::write(work.out(name), "old").unwrap();
        }
        let started = Instant::now();
        let mut child = work.command().args(arguments).spawn().unwrap();
        std::thread::sleep(whole[format] * u32::from(moment) / 256);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        // A run that has ended takes no signal.
        let _ = rustix::process::kill_process(pid, signal);
        let status = child.wait().unwrap();
        let found = status.code().or(status.signal().map(|number| 128 + number)).unwrap();
        let run = format!("run {number}, {signal:?}");
        assert!(found == 0 || found == code, "{run}: {status:?}");
        ended += i32::from(found == code);
        if found == 0 {
            whole[format] = whole[format].min(started.elapsed());
        }
        assert!(snapshot(&work.path("tmp")).is_empty(), "{run}");
        if signal == Signal::KILL {
            work.converts(arguments);
        }
        check_store(&work.out("objects"), &run);
        assert_eq!(fs::read_dir(work.path("out")).unwrap().count(), 3, "{run}");
    }
    assert!(ended > 40, "{ended} runs were ended");
}

/// Which of the main thread's calls of `openat` asks for an unnamed file.
fn unnamed_file(work: &Workdir, arguments: &[OsString]) -> Option<usize> {
    let log = work.path("calls");
    let mut command = Command::new(tools::system("strace")?);
    let program = work.command();
    command.args(["-qq", "-e", "trace=openat", "-o"]).arg(&log).arg(program.get_program());
    command.args(arguments).current_dir(work.path("out")).env("TMPDIR", work.path("tmp"));
    let outcome = Outcome::of(&mut command);
    let calls = fs::read_to_string(&log).ok()?;
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    calls.lines().filter(|line| line.contains("openat(")).position(|l| l.contains("O_TMPFILE"))
}

/// File systems that know neither unnamed files, nor links of them, nor `RENAME_NOREPLACE`: the
/// image is the same, and a run that is killed leaves nothing that the next does not clear.
#[test]
fn a_disk_that_knows_less() {
    let work = Workdir::new();
    let image = work.out("sample.raw");
    let arguments = sample(&image);
    let call = need!(unnamed_file(&work, &arguments), "strace cannot trace here") + 1;
    let good = fs::read(&image).unwrap();
    let unforced = &arguments[..arguments.len() - 1];
    let no_unnamed = format!("openat:error=EOPNOTSUPP:when={call}");
    let is_dir = format!("openat:error=EISDIR:when={call}");
    for faults in [
        vec![&*no_unnamed],
        vec![&*is_dir],
        vec!["linkat:error=EOPNOTSUPP"],
        vec!["linkat:error=EPERM"],
        vec!["renameat2:error=EINVAL:when=1"],
        vec![&*no_unnamed, "renameat2:error=EINVAL:when=1"],
        vec!["linkat:error=ENOENT", "renameat2:error=EINVAL:when=1"],
    ] {
        fs::remove_file(&image).unwrap();
        let mut command = need!(with_faults(&work, &faults), "strace cannot trace here");
        let outcome = Outcome::of(command.args(unforced));
        assert_eq!(outcome.code, 0, "{faults:?}: {outcome:#?}");
        assert_eq!(fs::read(&image).unwrap(), good, "{faults:?}");
        assert_eq!(snapshot(&work.path("out")).len(), 1, "{faults:?}");
        // The name is taken now, which the file system does not notice.
        let mut command = need!(with_faults(&work, &faults), "strace cannot trace here");
        assert_eq!(Outcome::of(command.args(unforced)).code, 12, "{faults:?}");
    }
    for last in ["fchmod", "fsync", "renameat2", "unlinkat", "close"] {
        for when in 1..6 {
            let kill = format!("{last}:signal=KILL:when={when}");
            let faults = [&*no_unnamed, &*kill];
            let mut command = need!(with_faults(&work, &faults), "strace cannot trace here");
            Outcome::of(command.args(&arguments));
            assert_eq!(fs::read(&image).unwrap(), good, "{faults:?}");
            work.converts(&arguments);
            assert_eq!(snapshot(&work.path("out")).len(), 1, "{faults:?}");
        }
    }
}
