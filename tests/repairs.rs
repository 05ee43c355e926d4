//! What is added for the host, judged by systemd's own tools: they make of it what the layer had.

#![allow(clippy::indexing_slicing, reason = "a failed test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::command::{Outcome, Workdir};
use common::layout::{Image, Layout};
use common::tarball::{Tarball, gzip};
use common::tools::FORKY;
use common::{need, not_run, tools};
use tar::EntryType;

/// Adds an entry with a mode and an owner.
fn owned(
    tar: Tarball,
    name: &str,
    what: (EntryType, &str, &[u8]),
    meta: (u32, u64, u64),
) -> Tarball {
    let (kind, target, contents) = what;
    let (mode, uid, gid) = meta;
    tar.entry(name, kind, target, contents, |header| {
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
    })
}

fn file(tar: Tarball, name: &str, contents: &str, mode: u32, uid: u64, gid: u64) -> Tarball {
    owned(tar, name, (EntryType::Regular, "", contents.as_bytes()), (mode, uid, gid))
}

fn dir(tar: Tarball, name: &str, mode: u32, uid: u64, gid: u64) -> Tarball {
    owned(tar, name, (EntryType::Directory, "", b""), (mode, uid, gid))
}

fn base() -> Tarball {
    let unit = "[Unit]\nDescription=x\nDefaultDependencies=no\n";
    let mut tar = Tarball::base().dir("usr/lib/systemd").dir("usr/lib/systemd/system");
    for name in ["multi-user.target", "sysinit.target"] {
        tar = file(tar, &format!("usr/lib/systemd/system/{name}"), unit, 0o644, 0, 0);
    }
    tar.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nbase:x:980:980::/:/bin/sh\n")
        .file("etc/group", b"root:x:0:\nbase:x:980:\ndialout:x:18:\n")
        .dir("etc/alternatives")
        .symlink("etc/alternatives/pager", "/usr/bin/base-pager")
        .dir("etc/systemd")
        .dir("etc/systemd/system")
        .dir("var")
        .dir("var/lib")
        .dir("var/log")
        .dir("run")
}

const HASH: &str = "$6$c2FsdHNhbHQ$AVeryRealHashOfAPassword";

/// What `dnf install` leaves, and names that nobody should have.
fn layer() -> Tarball {
    let service = "[Service]\nExecStart=/usr/bin/tool\n[Install]\nWantedBy=multi-user.target\n";
    let once =
        "[Service]\nType=oneshot\nExecStart=/usr/bin/tool\n[Install]\nWantedBy=multi-user.target\n";
    let units = "usr/lib/systemd/system";
    let wants = "etc/systemd/system/multi-user.target.wants";
    let mut tar = Tarball::minimal().dir("usr/lib").dir("usr/lib/systemd").dir(units);
    for (name, text) in [
        ("demo.service", service),
        ("once.service", once),
        ("inst@.service", service),
        ("quiet.service", service),
    ] {
        tar = file(tar, &format!("{units}/{name}"), text, 0o644, 0, 0);
    }
    tar = tar.dir("etc").dir("etc/systemd").dir("etc/systemd/system").dir(wants);
    for (name, target) in [
        ("demo.service", "demo.service"),
        ("once.service", "once.service"),
        ("inst@a\\x2db.service", "inst@.service"),
        ("sshd.service", "sshd.service"),
        ("%n $x\n.service", "demo.service"),
    ] {
        tar = tar.symlink(&format!("{wants}/{name}"), &format!("/{units}/{target}"));
    }
    tar = tar
        .symlink("etc/systemd/system/also.service", "/usr/lib/systemd/system/demo.service")
        .symlink("etc/systemd/system/firewalld.service", "/dev/null");
    tar = file(
        tar,
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbase:x:980:980::/:/bin/sh\n\
         demo:x:977:977:Demo daemon:/var/lib/demo:/sbin/nologin\n\
         quoted:x:976:977:say \"hi\" %n \\ $x:/var/lib/a b%n:/bin/sh\n\
         evil:x:0:0::/:/bin/sh\nbase2:x:980:977::/:/bin/sh\na b:x:975:977::/:/bin/sh\n\
         open:x:974:977::/:/bin/sh\nperson:x:1000:977::/home/person:/bin/sh\n\
         up:x:973:977::/../x:/bin/sh\nnogroup1:x:972:4242::/:/bin/sh\n",
        0o644,
        0,
        0,
    );
    tar = file(
        tar,
        "etc/group",
        "root:x:0:\nbase:x:980:\ndialout:x:18:demo\ndemo:x:977:\nextra:x:971:demo,base\n\
         zero:x:0:\n%n:x:970:\n",
        0o644,
        0,
        0,
    );
    let shadow =
        format!("root:*:1::::::\ndemo:!!:1::::::\nopen:{HASH}:1::::::\nquoted:!*:1::::::\n");
    tar = file(tar, "etc/shadow", &shadow, 0o600, 0, 0);
    tar = file(tar, "etc/subuid", "demo:100000:65536\n", 0o644, 0, 0);
    tar = tar
        .file("usr/bin/demo-edit", b"#!/bin/sh\necho edit\n")
        .symlink("usr/bin/edit", "/etc/alternatives/edit")
        .symlink("usr/bin/pager", "/etc/alternatives/pager")
        .symlink("usr/bin/lost", "/etc/alternatives/lost")
        .symlink("usr/bin/round", "/etc/alternatives/round")
        .dir("etc/alternatives")
        .symlink("etc/alternatives/edit", "/etc/alternatives/edit2")
        .symlink("etc/alternatives/edit2", "/usr/bin/demo-edit")
        .symlink("etc/alternatives/round", "round");
    tar = dir(tar, "etc/demo", 0o750, 0, 977);
    tar = file(tar, "etc/demo/demo.conf", "a default\n", 0o640, 0, 977);
    tar = file(tar, "etc/demo/we ird\n%n\"\\$x.conf", "weird\n", 0o644, 0, 0);
    tar = tar.symlink("etc/demo/link", "a b%n\\x\"");
    // What names files of these formats, and of a policy, has to be quoted, too.
    let odd = "we ird%n$x\"'\n";
    for (path, text) in [
        (format!("usr/lib/sysusers.d/{odd}.conf"), "g packaged 969\n"),
        (format!("usr/lib/tmpfiles.d/{odd}.conf"), "d /var/lib/packaged 0755 - - -\n"),
        (format!("usr/share/selinux/packages/{odd}.pp"), "module"),
    ] {
        tar = file(tar, &path, text, 0o644, 0, 0);
    }
    tar = tar.dir("var");
    tar = dir(tar, "var/lib", 0o777, 0, 0);
    tar = dir(tar, "var/lib/demo", 0o2770, 977, 977);
    tar = file(tar, "var/lib/demo/state", "state\n", 0o640, 977, 977);
    tar = file(tar, "var/lib/demo/'a b'\n%h\\$.x", "strange\n", 0o600, 977, 971);
    tar = tar.symlink("var/lib/demo/link", "../x y%m\n");
    tar = dir(tar, "var/log/demo", 0o700, 977, 18);
    tar = file(tar, "var/log/demo/old.log", "log", 0o600, 977, 977);
    tar = dir(tar, "var/cache/dnf", 0o755, 0, 0);
    file(tar, "var/cache/dnf/x", "cache", 0o644, 0, 0)
}

/// The layer's extension, converted in `work`, and what was said of it.
fn convert(work: &Workdir, layer: Tarball, more: &[&str]) -> Outcome {
    let (base, layer) = (base().finish(), layer.finish());
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
    let reference = layout.reference();
    let common = [&reference, "--insecure-skip-signature", "-o", "demo.raw", "--compress=none"];
    let common = common.iter().chain(&["--force", "--json", "--selinux=none"]);
    work.converts(common.chain(more))
}

/// A root directory with the base, and the extension over it.
fn host(work: &Workdir, name: &str) -> Option<PathBuf> {
    let fsck = tools::of(FORKY, "fsck.erofs")?;
    let (root, extension) = (work.path(name), work.path(&format!("{name}.extension")));
    fs::create_dir(&root).expect("a new directory");
    fs::write(work.path("base.tar"), base().finish()).expect("a written file");
    tools::shell("tar -xf \"$1\" -C \"$2\" --same-owner -p", [work.path("base.tar"), root.clone()]);
    let to = format!("--extract={}", extension.display());
    let image = work.out("demo.raw");
    tools::run(&fsck, [to.as_ref(), "--preserve".as_ref(), image.as_os_str()]);
    tools::shell("cp -a \"$1/usr\" \"$2/\"", [extension, root.clone()]);
    Some(root)
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Type and mode, owner and group of a path.
fn stat(root: &Path, path: &str) -> (String, u32, u32) {
    let found = fs::symlink_metadata(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    (format!("{:o}", found.mode()), found.uid(), found.gid())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// systemd-sysusers and systemd-tmpfiles make on the host what the layer had.
#[test]
fn the_host_gets_the_accounts_and_files_of_the_layer() {
    if !is_root() {
        not_run!("files of other owners need root");
    }
    let sysusers = need!(tools::of(FORKY, "systemd-sysusers"), "no systemd-sysusers");
    let tmpfiles = need!(tools::of(FORKY, "systemd-tmpfiles"), "no systemd-tmpfiles");
    let work = Workdir::new();
    convert(&work, layer(), &[]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    let at = format!("--root={}", root.display());

    tools::run(&sysusers, [at.as_str(), "--dry-run"]);
    assert!(!text(&root, "etc/passwd").contains("demo"), "a dry run");
    tools::run(&sysusers, [at.as_str()]);
    let passwd = text(&root, "etc/passwd");
    let lines: Vec<_> = passwd.lines().collect();
    for line in [
        "root:x:0:0:root:/root:/bin/sh",
        "base:x:980:980::/:/bin/sh",
        "demo:x:977:977:Demo daemon:/var/lib/demo:/sbin/nologin",
        "quoted:x:976:977:say \"hi\" %n \\ $x:/var/lib/a b%n:/bin/sh",
    ] {
        assert!(lines.contains(&line), "{line} in\n{passwd}");
    }
    assert_eq!(lines.len(), 4, "{passwd}");
    let group = text(&root, "etc/group");
    for line in ["dialout:x:18:demo", "demo:x:977:", "extra:x:971:demo"] {
        assert!(group.lines().any(|found| found == line), "{line} in\n{group}");
    }
    assert_eq!(group.lines().count(), 6, "{group}");
    let shadow = text(&root, "etc/shadow");
    assert!(shadow.lines().all(|line| line.contains(":!") || line.contains(":*")), "{shadow}");

    for round in 0..2 {
        tools::run(&tmpfiles, [at.as_str(), "--create"]);
        for (path, expected) in [
            ("var/lib", ("40755", 0, 0)),
            ("var/lib/demo", ("42770", 977, 977)),
            ("var/lib/demo/state", ("100640", 977, 977)),
            ("var/lib/demo/'a b'\n%h\\$.x", ("100600", 977, 971)),
            ("var/log/demo", ("40700", 977, 18)),
            ("etc/demo", ("40750", 0, 977)),
            ("etc/demo/demo.conf", ("100640", 0, 977)),
            ("etc/demo/we ird\n%n\"\\$x.conf", ("100644", 0, 0)),
        ] {
            let (mode, uid, gid) = stat(&root, path);
            assert_eq!((mode.as_str(), uid, gid), expected, "{path}");
        }
        for (path, target) in [("var/lib/demo/link", "../x y%m\n"), ("etc/demo/link", "a b%n\\x\"")]
        {
            assert_eq!(fs::read_link(root.join(path)).expect(path), Path::new(target));
        }
        assert_eq!(text(&root, "var/lib/demo/'a b'\n%h\\$.x"), "strange\n");
        assert_eq!(text(&root, "etc/demo/we ird\n%n\"\\$x.conf"), "weird\n");
        assert!(
            !root.join("var/log/demo/old.log").exists() && !root.join("var/cache/dnf").exists()
        );
        // What the host has changed is the host's.
        let expected = if round == 0 { "a default\n" } else { "changed\n" };
        assert_eq!(text(&root, "etc/demo/demo.conf"), expected);
        fs::write(root.join("etc/demo/demo.conf"), "changed\n").expect("a written file");
    }
}

/// Merged by systemd-sysext, the extension's files are where its tools look for them, and what
/// they made stays when it is unmerged.
#[test]
fn what_a_merged_extension_makes_stays_when_it_is_unmerged() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let tool = |name: &str| tools::of(FORKY, name);
    let sysext = need!(tool("systemd-sysext"), "no systemd-sysext of Debian forky");
    let sysusers = need!(tool("systemd-sysusers"), "no systemd-sysusers");
    let tmpfiles = need!(tool("systemd-tmpfiles"), "no systemd-tmpfiles");
    let work = Workdir::new();
    convert(&work, layer(), &[]);
    let root = work.path("root");
    fs::create_dir(&root).expect("a new directory");
    fs::write(work.path("base.tar"), base().finish()).expect("a written file");
    tools::shell("tar -xf \"$1\" -C \"$2\"", [work.path("base.tar"), root.clone()]);
    fs::create_dir_all(root.join("var/lib/extensions")).expect("a new directory");
    fs::copy(work.out("demo.raw"), root.join("var/lib/extensions/demo.raw")).expect("a copy");
    let script = r#"
        mount --make-rshared /
        mount -t tmpfs tmpfs /run
        "$2" --no-reload --root="$1" merge >&2
        [ "$(readlink "$1/usr/bin/edit")" = /usr/bin/demo-edit ]
        cat "$1/usr/lib/extension-release.d/extension-release.demo"
        "$3" --root="$1"
        "$4" --root="$1" --create
        "$2" --no-reload --root="$1" unmerge >&2
        [ ! -e "$1/usr/bin/demo-edit" ] && [ ! -e "$1/usr/lib/sysusers.d" ]
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", script]);
    command.arg("bash").args([&root, &sysext, &sysusers, &tmpfiles]);
    let release = tools::check(&mut command);
    assert!(release.contains("EXTENSION_RELOAD_MANAGER=1\n"), "{release}");
    assert!(text(&root, "etc/passwd").contains("demo:x:977:977:"));
    assert_eq!(stat(&root, "var/lib/demo/state"), ("100640".to_owned(), 977, 977));
    assert_eq!(text(&root, "etc/demo/demo.conf"), "a default\n");
}

/// A password never leaves the layer: neither in a file of the image nor between them.
#[test]
fn no_password_is_in_the_image_or_the_report() {
    let work = Workdir::new();
    let outcome = convert(&work, layer(), &["-v"]);
    let image = fs::read(work.out("demo.raw")).expect("an image");
    let hash = &HASH.as_bytes()[4..];
    assert!(!image.windows(hash.len()).any(|bytes| bytes == hash));
    assert!(!outcome.stdout.contains("RealHash") && !outcome.stderr.contains("RealHash"));
}

/// What tools and people keep copies of passwords in.
#[test]
fn no_password_of_a_backup_is_in_the_image() {
    let line = format!("demo:{HASH}:1::::::\n");
    let backups = [
        "etc/shadow.bak",
        "usr/etc/gshadow.old",
        "etc/security/opasswd.old",
        "var/backups/shadow.bak",
        "var/backups/gshadow.0",
    ];
    let directories = ["etc/security", "usr/etc", "var/backups"];
    let layer = directories.iter().fold(layer(), |tar, directory| tar.dir(directory));
    let layer = backups.iter().fold(layer, |tar, path| file(tar, path, &line, 0o600, 0, 0));
    let work = Workdir::new();
    let report = convert(&work, layer, &[]).json();
    let image = fs::read(work.out("demo.raw")).expect("an image");
    let hash = &HASH.as_bytes()[4..];
    assert!(!image.windows(hash.len()).any(|bytes| bytes == hash));
    let changes = report["changes"].as_array().expect("changes");
    for path in backups {
        let is_dropped = changes.iter().any(|change| {
            let dropped = change["path"].as_str().expect("a path");
            change["action"] == "dropped" && path.starts_with(dropped)
        });
        assert!(is_dropped, "{path} in {changes:#?}");
    }
}

/// A hard link would carry the passwords into the image under another name.
#[test]
fn a_hard_link_to_the_passwords_is_refused() {
    let work = Workdir::new();
    for link in ["usr/share/x", "var/lib/demo/x", "etc/demo/x"] {
        let base = base().finish();
        let tar = layer().dir("usr/share").hard_link(link, "etc/shadow").finish();
        let mut layout = Layout::new();
        layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&tar), tar)]));
        let common = [&layout.reference(), "--insecure-skip-signature", "-o", "x.raw"];
        let common = common.iter().chain(&["--selinux=none"]);
        assert_eq!(work.refuses(7, common).id(), "sysext.passwords");
    }
}

/// A hard link took the accounts into the image, where they are no accounts: that is said.
#[test]
fn accounts_that_a_hard_link_took_along_are_not_left_out_in_silence() {
    for name in ["passwd", "group"] {
        let work = Workdir::new();
        let tar = layer().dir("usr/share").hard_link("usr/share/x", &format!("etc/{name}"));
        let warnings = convert(&work, tar, &[]).json()["warnings"].to_string();
        assert!(warnings.contains(&format!("etc/{name} is not read")), "{warnings}");
    }
    let warnings = convert(&Workdir::new(), layer(), &[]).json()["warnings"].to_string();
    assert!(!warnings.contains("is not read"), "{warnings}");
}

/// systemd reads the drop-ins, and finds in them what the layer had enabled and no more.
#[test]
fn systemd_reads_the_units_that_are_added() {
    let analyze = need!(tools::of(FORKY, "systemd-analyze"), "no systemd-analyze");
    let work = Workdir::new();
    convert(&work, layer(), &["--repairs=all,caches,selinux", "--name=a b%@"]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    // What the added units run is the host's.
    for program in ["bin/sh", "usr/sbin/semodule"] {
        let program = root.join(program);
        fs::create_dir_all(program.parent().expect("a directory")).expect("a new directory");
        fs::write(&program, "#!/bin/sh\n").expect("a written file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let units = root.join("usr/lib/systemd/system");
    let drop_in = text(&units, "multi-user.target.d/10-a b%@-sysext.conf");
    assert_eq!(
        drop_in,
        "[Unit]\nUpholds=demo.service\nUpholds=inst@a\\x2db.service\n\
         Upholds=a\\x20b\\x25\\x40-sysext-multi-user.target--once.service.target\n"
    );
    assert_eq!(
        fs::read_link(units.join("also.service")).expect("an alias"),
        Path::new("demo.service")
    );
    let mut names: Vec<_> = fs::read_dir(&units)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file() && !path.to_string_lossy().contains("@."))
        .collect();
    names.sort();
    let mut command = Command::new(&analyze);
    command
        .arg("verify")
        .arg("--man=no")
        .arg("--recursive-errors=no")
        .arg(format!("--root={}", root.display()));
    let outcome = Outcome::of(command.args(names));
    println!("{outcome:#?}");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

/// Links through alternatives lead to their ends.
#[test]
fn alternatives_lead_to_their_ends() {
    let work = Workdir::new();
    let outcome = convert(&work, layer(), &[]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    for (link, target) in [
        ("edit", "/usr/bin/demo-edit"),
        ("pager", "/usr/bin/base-pager"),
        ("lost", "/etc/alternatives/lost"),
        ("round", "/etc/alternatives/round"),
    ] {
        let found = fs::read_link(root.join("usr/bin").join(link)).expect("a link");
        assert_eq!(found, Path::new(target));
    }
    let warnings = outcome.json()["warnings"].to_string();
    for part in ["usr/bin/lost leads to", "which leads in a circle"] {
        assert!(warnings.contains(part), "{warnings}");
    }
}

/// What is left out is told, with a reason.
#[test]
fn what_is_left_out_is_told() {
    let work = Workdir::new();
    let report = convert(&work, layer(), &[]).json();
    let warnings = report["warnings"].to_string();
    for part in [
        "evil, which is left out: found the id 0",
        "base2, which is left out: found the id 980",
        "a b, which is left out: found no name",
        "open, which is left out: found a password",
        "person, which is left out: found the id 1000",
        "up, which is left out: found the home /../x",
        "nogroup1, which is left out: found the group 4242",
        "the group zero, which is left out: found the id 0",
        "sshd.service, which is no unit of the extension",
        "firewalld.service is masked",
        "base is a member of extra",
        "demo has ranges of subordinate ids",
    ] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
    let changes = report["changes"].to_string();
    for part in ["installed, but not enabled", "a cache or a log of the build"] {
        assert!(changes.contains(part), "{part} in {changes}");
    }
    // Every file that is added says by which rule and why.
    let added = report["changes"].as_array().expect("changes");
    let added = added.iter().filter(|change| change["action"] == "added");
    for change in added {
        assert!(change["rule"] != "" && change["reason"] != "", "{change}");
    }
}

/// `explain` says the same of a reference and of the image that it is converted to.
#[test]
fn an_image_and_its_reference_are_explained_alike() {
    let work = Workdir::new();
    let (base, layer) = (base().finish(), layer().finish());
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
    let reference = layout.reference();
    let more = ["--insecure-skip-signature", "--selinux=none", "-o", "demo.raw"];
    let explain = |what: &str, json: &[&str]| {
        let outcome = work.run(["explain", what].iter().chain(&more).chain(json));
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        outcome
    };
    let mut drafted = explain(&reference, &["--json"]).json();
    assert!(!work.out("demo.raw").exists(), "nothing is published");
    assert!(drafted["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty()));
    work.converts([reference.as_str()].iter().chain(&more));
    let of_image = explain("demo.raw", &["--json"]).json();
    for of_one_only in ["warnings", "kernel", "layers"] {
        drafted[of_one_only] = of_image[of_one_only].clone();
    }
    assert_eq!(drafted, of_image);
    let starts = of_image["starts"].to_string();
    for unit in ["demo.service", "once.service", "inst@a", "demo-sysext-setup-"] {
        assert!(starts.contains(unit), "{unit} in {starts}");
    }
    let text = explain("demo.raw", &[]).stdout;
    for part in ["user demo, id 977", "directory /var/lib/demo", "/etc/demo/demo.conf, a copy"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Debian's policy has a boolean for what Fedora's allows.
#[test]
fn a_copy_to_var_that_debians_policy_forbids_is_told() {
    let boolean = "setsebool -P systemd_tmpfiles_manage_all on";
    let warnings = |policy: &str, layer: Tarball| {
        let mut base = Tarball::new().dir("usr").dir("usr/lib").dir("etc").dir("etc/selinux");
        base = base.file("usr/lib/os-release", b"ID=example\nVERSION_ID=1\n");
        base = base.file("etc/selinux/config", format!("SELINUXTYPE={policy}\n").as_bytes());
        for directory in ["", "/contexts", "/contexts/files"] {
            base = base.dir(&format!("etc/selinux/{policy}{directory}"));
        }
        let contexts = format!("etc/selinux/{policy}/contexts/files/file_contexts");
        let base = base.file(&contexts, b"/.*\tsystem_u:object_r:default_t:s0\n").finish();
        let layer = layer.finish();
        let mut layout = Layout::new();
        layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
        let more = ["--insecure-skip-signature", "-o", "demo.raw", "--json"];
        let report = Workdir::new().converts([layout.reference().as_str()].iter().chain(&more));
        report.json()["warnings"].to_string()
    };
    let state = || Tarball::minimal().dir("var").dir("var/lib").dir("var/lib/demo");
    let with_a_file = || state().file("var/lib/demo/state", b"state");
    assert!(warnings("default", with_a_file()).contains(boolean));
    assert!(!warnings("targeted", with_a_file()).contains(boolean));
    assert!(!warnings("default", state()).contains(boolean));
}

/// systemd 262 waits for them before it has merged, and they for that.
#[test]
fn units_that_a_release_file_restarts_are_told() {
    let release = "usr/lib/extension-release.d/extension-release.demo";
    let layer = layer()
        .dir("usr/lib/extension-release.d")
        .file(release, b"ID=example\nEXTENSION_RESTART_UNITS=demo.service\n");
    let report = convert(&Workdir::new(), layer, &[]).json();
    let warnings = report["warnings"].to_string();
    let told = "EXTENSION_RESTART_UNITS=demo.service, which is left out: at boot";
    assert!(warnings.contains(told), "{warnings}");
    assert!(!report["extension"]["release"].to_string().contains("RESTART"), "{report}");
}

/// Memberships that only gshadow has, of a user of the layer.
#[test]
fn memberships_of_gshadow_are_made() {
    let layer = Tarball::minimal()
        .dir("etc")
        .file("etc/passwd", b"demo:x:977:977::/:/bin/sh\n")
        .file("etc/group", b"demo:x:977:\n")
        .file("etc/gshadow", b"demo:!::\ndialout:!::demo,base\n");
    let work = Workdir::new();
    convert(&work, layer, &[]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    let lines = text(&root, "usr/lib/sysusers.d/demo-sysext.conf");
    assert_eq!(lines, "g demo 977\nu demo 977 - / /bin/sh\nm demo dialout\n");
}

/// A unit that a repair adds is nothing to a host that does not read it.
#[test]
fn every_repair_that_adds_a_unit_reloads_the_manager() {
    for (repairs, unit) in [("caches", "caches"), ("selinux", "selinux"), ("units", "setup")] {
        let layer = ["usr/lib", "usr/lib/tmpfiles.d", "usr/share", "usr/share/glib-2.0"]
            .iter()
            .chain(&["usr/share/glib-2.0/schemas", "usr/share/selinux"])
            .fold(Tarball::minimal(), |tar, directory| tar.dir(directory))
            .file("usr/lib/tmpfiles.d/x.conf", b"d /var/lib/x\n")
            .file("usr/share/glib-2.0/schemas/x.gschema.xml", b"")
            .file("usr/share/selinux/x.pp", b"");
        let work = Workdir::new();
        let report = convert(&work, layer, &["--repairs", repairs]).json();
        let added = report["changes"].to_string();
        assert!(added.contains(&format!("demo-sysext-{unit}")), "{added}");
        let release = report["extension"]["release"].to_string();
        assert!(release.contains("EXTENSION_RELOAD_MANAGER"), "{repairs}: {release}");
    }
}

/// Links of presets in usr stay without repairs, but start nothing that is merged at boot.
#[test]
fn enabling_in_usr_without_repairs_is_told() {
    let units = "usr/lib/systemd/system";
    let wants = format!("{units}/multi-user.target.wants");
    let layer = ["usr/lib", "usr/lib/systemd", units, &wants]
        .iter()
        .fold(Tarball::minimal(), |tar, directory| tar.dir(directory))
        .file(&format!("{units}/demo.service"), b"[Service]\nExecStart=/usr/bin/tool\n")
        .symlink(&format!("{wants}/demo.service"), "../demo.service");
    let work = Workdir::new();
    let report = convert(&work, layer.clone(), &["--repairs=none"]).json();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("wants/demo.service enables demo.service"), "{warnings}");
    convert(&work, layer, &[]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    let drop_in = text(&root, &format!("{units}/multi-user.target.d/10-demo-sysext.conf"));
    assert_eq!(drop_in, "[Unit]\nUpholds=demo.service\n");
    assert!(root.join(wants).join("demo.service").is_symlink());
}

/// With none of the repairs nothing is added but the release file, and all is told.
#[test]
fn without_repairs_everything_is_told() {
    let work = Workdir::new();
    let report = convert(&work, layer(), &["--repairs=none"]).json();
    let added = report["changes"].as_array().expect("changes").iter();
    let added: Vec<_> = added
        .filter(|change| change["action"] == "added" && change["rule"] != "R15")
        .map(|change| change["path"].to_string())
        .collect();
    assert_eq!(added, ["\"usr/lib/extension-release.d/extension-release.demo\""]);
    let warnings = report["warnings"].to_string();
    for rule in ["R21", "R22", "R23", "R24", "R25"] {
        assert!(warnings.contains(&format!("\"rule\":\"{rule}\"")), "{rule} in {warnings}");
    }
    assert!(!report["extension"]["release"].to_string().contains("RELOAD"));
}

/// `--enable` and `--no-enable` name units of the extension.
#[test]
fn units_are_enabled_by_name() {
    let work = Workdir::new();
    let more = ["--enable=quiet.service", "--enable=inst@x.service", "--no-enable=demo.service"];
    convert(&work, layer(), &more);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    let drop_in = text(&root, "usr/lib/systemd/system/multi-user.target.d/10-demo-sysext.conf");
    assert!(drop_in.contains("Upholds=quiet.service\n") && !drop_in.contains("=demo.service"));
    assert!(drop_in.contains("Upholds=inst@x.service\n"));
    for bad in [
        "--enable=sshd.service",
        "--enable=inst@.service",
        "--enable=a b.service",
        "--no-enable=sshd.service",
    ] {
        let base = base().finish();
        let layer = layer().finish();
        let mut layout = Layout::new();
        layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
        let common = [&layout.reference(), "--insecure-skip-signature", "-o", "x.raw", bad];
        work.refuses(2, common.iter().chain(&["--selinux=none"]));
        work.refuses(2, common.iter().chain(&["--selinux=none", "--repairs=none"]));
    }
}

/// The layer's services in a directory, enabled under these names.
fn services(units: &[(&str, &str)], enabled: &[(&str, &str)]) -> Tarball {
    let wants = "etc/systemd/system/multi-user.target.wants";
    let system = "usr/lib/systemd/system";
    let mut tar =
        ["usr/lib", "usr/lib/systemd", system, "etc", "etc/systemd", "etc/systemd/system"]
            .iter()
            .chain(&[wants])
            .fold(Tarball::minimal(), |tar, directory| tar.dir(directory));
    for (name, text) in units {
        tar = tar.file(&format!("{system}/{name}"), text.as_bytes());
    }
    for (name, unit) in enabled {
        tar = tar.symlink(&format!("{wants}/{name}"), &format!("/{system}/{unit}"));
    }
    tar
}

const ONCE: &str = "[Service]\nType=oneshot\nExecStart=/usr/bin/tool\n";

/// The names of units that differ in what a name of a target cannot have.
#[test]
fn units_of_names_that_are_alike_start_once_each() {
    let names = ["scan@eth0.10.service", "scan@eth0-10.service", "scan-eth0-10.service"];
    let enabled = [(names[0], "scan@.service"), (names[1], "scan@.service"), (names[2], names[2])];
    let layer = services(&[("scan@.service", ONCE), (names[2], ONCE)], &enabled);
    let work = Workdir::new();
    convert(&work, layer, &[]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    let units = root.join("usr/lib/systemd/system");
    let drop_in = text(&units, "multi-user.target.d/10-demo-sysext.conf");
    let mut wanted: Vec<_> = drop_in
        .lines()
        .filter_map(|line| line.strip_prefix("Upholds="))
        .map(|target| text(&units, target).lines().last().expect("a line").to_owned())
        .collect();
    wanted.sort();
    let mut expected = names.map(|name| format!("Wants={name}"));
    expected.sort();
    assert_eq!(wanted, expected);
}

/// What cannot be started is not said to be, and no drop-in is written for nothing.
#[test]
fn a_unit_that_ends_by_itself_and_has_no_target_is_not_said_to_start() {
    // Escaped four times as long, which is more than a target's name has room for.
    let long = format!("n{}.service", ":".repeat(48));
    let name = format!("--name={}", "x".repeat(40));
    let work = Workdir::new();
    let report = convert(&work, services(&[(&long, ONCE)], &[(&long, &long)]), &[&name]).json();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("is left out: found too long a name"), "{warnings}");
    let changes = report["changes"].to_string();
    assert!(!changes.contains("starts n") && !changes.contains("multi-user.target.d"), "{changes}");
}

/// A layer with something for every unit that a repair adds, and a policy module of its own.
fn layer_for_every_unit(module: &str) -> Tarball {
    let layer = services(&[("own.service", ONCE)], &[("own.service", "own.service")]);
    ["usr/lib/tmpfiles.d", "usr/share", "usr/share/glib-2.0", "usr/share/glib-2.0/schemas"]
        .iter()
        .chain(&["usr/share/selinux"])
        .fold(layer, |tar, directory| tar.dir(directory))
        .file("usr/lib/tmpfiles.d/x.conf", b"d /var/lib/x\n")
        .file("usr/share/glib-2.0/schemas/x.gschema.xml", b"")
        .file("usr/share/selinux/x.pp", module.as_bytes())
}

/// The name of a unit that a repair has added.
fn added(root: &Path, kind: &str) -> String {
    let start = format!("demo-sysext-{kind}-");
    let units = fs::read_dir(root.join("usr/lib/systemd/system")).expect("a directory");
    let mut names = units.map(|entry| entry.expect("an entry").file_name().into_string());
    let found = names.find_map(|name| name.ok().filter(|name| name.starts_with(&start)));
    found.unwrap_or_else(|| panic!("no unit {start}"))
}

/// Accounts and files, then policy, then caches, as they say themselves; then the display manager.
#[test]
fn the_units_of_the_repairs_run_in_their_order() {
    let work = Workdir::new();
    let outcome = convert(&work, layer_for_every_unit("a"), &["--repairs=all,caches,selinux"]);
    let root = need!(host(&work, "host"), "no fsck.erofs of Debian forky");
    let units = root.join("usr/lib/systemd/system");
    let [setup, selinux, caches] = ["setup", "selinux", "caches"].map(|kind| added(&root, kind));
    let has = |unit: &str, line: &str| {
        let text = text(&units, unit);
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    };
    has(&setup, &format!("Before={selinux} {caches} shutdown.target"));
    has(&caches, &format!("After=local-fs.target systemd-sysext.service {selinux}"));
    has(&caches, "Before=display-manager.service");
    has(&selinux, "ConditionFileIsExecutable=/usr/sbin/semodule");
    for unit in [&setup, &selinux] {
        has("own.service.d/10-demo-sysext.conf", &format!("After={unit}"));
    }
    for unit in [&setup, &selinux, &caches] {
        assert!(!units.join(format!("{unit}.d")).exists(), "{unit}");
    }
    for unit in [&setup, &caches] {
        has("sysinit.target.d/10-demo-sysext.conf", &format!("Upholds={unit}"));
    }
    // What must not stay when the extension goes.
    let warnings = outcome.json()["warnings"].to_string();
    assert!(warnings.contains("remove /usr/local/share/glib-2.0/schemas/gschemas.compiled"));
}

/// Of the same size and time, but with other contents: what works on them runs again. Whatever the
/// times of files become, the same layer has the same units.
#[test]
fn units_are_named_by_the_contents_of_the_layer() {
    let names = |module: &str, more: &[&str]| {
        let work = Workdir::new();
        convert(
            &work,
            layer_for_every_unit(module),
            &[&["--repairs=all,caches,selinux"], more].concat(),
        );
        let root = host(&work, "host")?;
        Some(["selinux", "caches"].map(|kind| added(&root, kind)))
    };
    let one = need!(names("a", &[]), "no fsck.erofs of Debian forky");
    assert_eq!(names("a", &["--mtime=1"]), Some(one.clone()));
    let other = names("b", &[]).expect("an image");
    assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{one:?} {other:?}");
}
