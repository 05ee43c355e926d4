//! The image as systemd sees it: recognised, merged, run; and refused where it does not belong.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::command::Workdir;
use common::layout::{Image, Layout};
use common::mount::Mounted;
use common::registry::{Options, Registry};
use common::tarball::Tarball;
use common::tools::{FORKY, TRIXIE};
use common::{listing, need, not_run, repository, shared, tools};

/// Runs a script in a mount namespace of its own, in which systemd-sysext has merged the
/// extensions of the root `$1`; `$sysext` is the program. Merging needs a shared root and a
/// `/run` of its own.
fn in_namespace(sysext: &Path, root: &Path, script: &str) -> String {
    let prelude = "
        mount --make-rshared /
        mount -t tmpfs tmpfs /run
        merge() { \"$sysext\" --no-reload --root=\"$1\" merge 2>&1; }
    ";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c"]);
    command.arg(format!("{prelude}{script}")).args(["bash".as_ref(), root.as_os_str()]);
    tools::check(command.env("sysext", sysext))
}

/// A root directory that systemd-sysext accepts as a host.
fn host(work: &Workdir, name: &str, os_release: &str) -> PathBuf {
    let root = work.path(name);
    for directory in ["usr/bin", "usr/lib", "usr/share", "var/lib/extensions", "etc", "run"] {
        fs::create_dir_all(root.join(directory)).expect("a new directory");
    }
    fs::write(root.join("usr/lib/os-release"), os_release).expect("a written file");
    root
}

fn install(image: &Path, root: &Path) {
    let name = image.file_name().expect("a file");
    fs::copy(image, root.join("var/lib/extensions").join(name)).expect("a copied file");
}

/// The sample, converted in `work`.
fn sample(work: &Workdir, more: &[&str]) -> PathBuf {
    let layout = format!("oci:{}", repository("testdata/sample/layout").display());
    let key = repository("testdata/sample/key.pub").display().to_string();
    let image = work.out("sample.raw");
    let output = image.display().to_string();
    let common = [layout.as_str(), "--key", &key, "-o", &output, "--force"];
    work.converts(common.iter().chain(more));
    image
}

/// systemd 262 takes the image for a system extension of its host, and its program runs.
#[test]
fn systemd_merges_the_image_and_its_program_runs() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let sysext = need!(tools::of(FORKY, "systemd-sysext"), "no systemd-sysext of Debian forky");
    let dissect = need!(tools::of(FORKY, "systemd-dissect"), "no systemd-dissect");
    let work = Workdir::new();
    for compress in ["none", "lz4", "lz4hc"] {
        let image = sample(&work, &["--compress", compress]);
        tools::run(&dissect, ["--validate".as_ref(), image.as_os_str()]);
        let host = host(&work, compress, "ID=example\nVERSION_ID=1\n");
        install(&image, &host);
        let printed = in_namespace(
            &sysext,
            &host,
            r#"
            merge "$1" >&2
            "$1/usr/bin/sample"
            "$1/usr/bin/sample-link"
            "$1/usr/bin/sample-su"
            cat "$1/usr/etc/sample/sample.conf"
            getfattr --absolute-names --only-values -n security.selinux "$1/usr/bin/sample"; echo
            getcap "$1/usr/bin/sample-port" | sed 's/.* //'
            "$sysext" --no-reload --root="$1" unmerge >&2
            [ ! -e "$1/usr/bin/sample" ]
            "#,
        );
        let expected = "hello from the sample extension\n\
            hello from the sample extension\n0\ngreeting = hello\n\
            system_u:object_r:bin_t:s0\0\ncap_net_bind_service=ep\n";
        assert_eq!(printed.replace('\0', ""), expected.replace('\0', ""));
    }
}

/// A real extension: systemd 257 and 262 merge it, and programs that it brings run, a compiled one
/// among them. As composefs it is the same tree.
#[test]
fn a_real_extension_merges_and_its_programs_run() {
    let storage = shared!("images/registry-storage");
    let key = need!(common::data::path("images/e2e-signing-key.pub"), "no shared data");
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let options = Options { storage: Some(storage), ..Options::default() };
    let registry = need!(Registry::start(&options), "no docker-registry");
    let work = Workdir::new();
    let image = format!("{}/travier/fedora-kinoite/sysexts:41.mc", registry.address());
    let key = key.display().to_string();
    let common = [&image, "--key", &key, "--tls-verify=false", "--signed-identity=any"];
    work.converts(common);
    let image = work.out("mc.raw");

    for suite in [TRIXIE, FORKY] {
        let Some(sysext) = tools::of(suite, "systemd-sysext") else {
            common::data::say_not_run(&format!("no systemd-sysext of Debian {suite}"));
            continue;
        };
        let host = host(&work, suite, "ID=fedora\nVERSION_ID=43\n");
        install(&image, &host);
        let printed = in_namespace(
            &sysext,
            &host,
            r#"
            merge "$1" >&2
            "$1/usr/bin/xrootd-config" --version
            file=$1/usr/lib/mc/cons.saver
            head -c 4 "$file" | tail -c 3; echo
            # It wants a console for an argument.
            "$file" >/dev/null || echo "exit $?"
            "#,
        );
        assert_eq!(printed, "v5.5.4\nELF\nexit 3\n", "systemd of Debian {suite}");
    }

    let mount = need!(tools::of(FORKY, "mount.composefs"), "no mount.composefs of Debian forky");
    work.converts(common.iter().chain(&["--format", "composefs", "--objects", "objects"]));
    let composefs = Mounted::composefs(&mount, &work.out("mc.cfs"), &work.out("objects"));
    let erofs = Mounted::erofs(&image);
    let difference =
        listing::difference(&listing::of(&erofs.path()), &listing::of(&composefs.path()));
    assert!(difference.is_empty(), "- EROFS, + composefs\n{difference}");
}

/// The release file holds the image to the hosts it was made for.
#[test]
fn systemd_refuses_the_image_on_another_host() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let sysext = need!(tools::of(FORKY, "systemd-sysext"), "no systemd-sysext of Debian forky");
    let work = Workdir::new();
    let merged = "merge \"$1\" >&2 || true; [ -e \"$1/usr/bin/sample\" ] && echo yes || echo no";
    let hosts = [
        ("same", "ID=example\nVERSION_ID=1\n", vec![], "yes\n"),
        ("newer", "ID=example\nVERSION_ID=2\n", vec![], "no\n"),
        ("other", "ID=fedora\nVERSION_ID=1\n", vec![], "no\n"),
        ("any", "ID=fedora\nVERSION_ID=1\n", vec!["--any-host"], "yes\n"),
        ("named", "ID=fedora\nVERSION_ID=41\n", vec!["--id=fedora", "--version-id=41"], "yes\n"),
        ("level", "ID=x\nSYSEXT_LEVEL=1.0\n", vec!["--id=x", "--sysext-level=1.0"], "yes\n"),
    ];
    for (name, os_release, options, expected) in hosts {
        let image = sample(&work, &options);
        let host = host(&work, name, os_release);
        install(&image, &host);
        assert_eq!(in_namespace(&sysext, &host, merged), expected, "host {name}");
    }
}

/// A file whose name is not the extension's: systemd would not find its release file (R2).
#[test]
fn the_name_in_the_image_follows_the_file() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let work = Workdir::new();
    let layout = format!("oci:{}", repository("testdata/sample/layout").display());
    let key = repository("testdata/sample/key.pub").display().to_string();
    work.converts([&layout, "--key", &key, "--rename", "-o", "renamed.raw"]);
    let mounted = Mounted::erofs(&work.out("renamed.raw"));
    let release = mounted.path().join("usr/lib/extension-release.d/extension-release.renamed");
    assert!(release.is_file());
    drop(mounted);

    let names = ["--rename", "-o", "a.raw", "--name", "b"];
    let outcome = work.converts([&*layout, "--key", &key].iter().chain(&names));
    assert!(outcome.stderr.contains("R2"), "a warning that names the rule: {outcome:#?}");
}

/// The same tree as composefs: mounted by composefs' own tool, and merged by systemd.
#[test]
fn composefs_holds_the_same_tree_and_merges() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let mount = need!(tools::of(FORKY, "mount.composefs"), "no mount.composefs of Debian forky");
    let info = need!(tools::of(FORKY, "composefs-info"), "no composefs-info");
    let sysext = need!(tools::of(FORKY, "systemd-sysext"), "no systemd-sysext of Debian forky");
    let work = Workdir::new();
    let erofs = sample(&work, &[]);
    let objects = work.out("objects").display().to_string();
    let layout = format!("oci:{}", repository("testdata/sample/layout").display());
    let key = repository("testdata/sample/key.pub").display().to_string();
    let composefs = ["--format", "composefs", "--objects", "objects"];
    let common = [layout.as_str(), "--key", &key];
    let outcome =
        work.converts(common.iter().chain(&composefs).chain(&["-o", "sample.cfs", "--json"]));
    let image = work.out("sample.cfs");

    // The lines that mount it hold in any directory.
    for path in [objects.as_str(), &image.display().to_string()] {
        assert!(outcome.stderr.contains(path), "{path} in {outcome:#?}");
    }
    let digest = tools::run(&info, ["measure-file".as_ref(), image.as_os_str()]);
    assert!(outcome.stdout.contains(digest.trim()), "digest {digest} in {outcome:#?}");
    let missing = tools::run(
        &info,
        [format!("--basedir={objects}").as_ref(), "missing-objects".as_ref(), image.as_os_str()],
    );
    assert_eq!(missing.trim(), "", "missing objects");

    let mounted = Mounted::composefs(&mount, &image, Path::new(&objects));
    let erofs = Mounted::erofs(&erofs);
    let difference =
        listing::difference(&listing::of(&erofs.path()), &listing::of(&mounted.path()));
    assert!(difference.is_empty(), "- EROFS, + composefs\n{difference}");

    let host = host(&work, "host", "ID=example\nVERSION_ID=1\n");
    fs::create_dir(host.join("var/lib/extensions/sample")).unwrap();
    let script = format!(
        r#"
        mount --bind "{}" "$1/var/lib/extensions/sample"
        merge "$1" >&2
        "$1/usr/bin/sample"
        "#,
        mounted.path().display()
    );
    assert_eq!(in_namespace(&sysext, &host, &script), "hello from the sample extension\n");

    work.refuses(2, common.iter().chain(&composefs).chain(&["-o", "sample2.raw"]));
    work.refuses(2, common.iter().chain(&["--format", "composefs", "-o", "b.cfs"]));
}

/// `--whiteouts=keep`: what the layer deletes is hidden on the host, in both formats, and is there
/// again afterwards (row 59a).
#[test]
fn kept_whiteouts_hide_the_hosts_files() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let sysext = need!(tools::of(FORKY, "systemd-sysext"), "no systemd-sysext of Debian forky");
    let mount = need!(tools::of(FORKY, "mount.composefs"), "no mount.composefs of Debian forky");
    let work = Workdir::new();
    let tar = Tarball::minimal()
        .file("usr/bin/.wh.gone", b"")
        .dir("usr/share")
        .dir("usr/share/replaced")
        .file("usr/share/replaced/.wh..wh..opq", b"")
        .file("usr/share/replaced/new", b"new")
        .finish();
    let mut layout = Layout::new();
    layout.add_image(&Image::new(&tar));
    let common =
        [&layout.reference(), "--insecure-skip-signature", "--whiteouts=keep", "--name=tool"];
    work.converts(common);
    work.converts(common.iter().chain(&["--format=composefs", "--objects=objects"]));
    for suffix in ["raw", "cfs"] {
        let host = host(&work, suffix, "ID=example\nVERSION_ID=1\n");
        fs::create_dir_all(host.join("usr/share/replaced")).expect("a new directory");
        for name in ["usr/bin/gone", "usr/bin/stays", "usr/share/replaced/old"] {
            fs::write(host.join(name), name).expect("a written file");
        }
        let mounted;
        if suffix == "raw" {
            install(&work.out("tool.raw"), &host);
        } else {
            mounted = Mounted::composefs(&mount, &work.out("tool.cfs"), &work.out("objects"));
            let place = host.join("var/lib/extensions/tool");
            fs::create_dir(&place).expect("a new directory");
            fs::write(host.join("mount"), mounted.path().as_os_str().as_encoded_bytes())
                .expect("a written file");
        }
        let printed = in_namespace(
            &sysext,
            &host,
            r#"
            list() { (cd "$1/usr" && find bin share -type f | sort | tr '\n' ' '); echo; }
            [ ! -e "$1/mount" ] || mount --bind "$(cat "$1/mount")" "$1/var/lib/extensions/tool"
            merge "$1" >&2
            list "$1"
            "$sysext" --no-reload --root="$1" unmerge >&2
            list "$1"
            "#,
        );
        let expected = "bin/stays bin/tool share/replaced/new \n\
            bin/gone bin/stays share/replaced/old \n";
        assert_eq!(printed, expected, "{suffix}");
    }
}
