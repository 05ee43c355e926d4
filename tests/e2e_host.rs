//! Whole systems that merge what was converted, in User Mode Linux: systemd 262 with SELinux
//! enforcing from the start. The scripts in `tests/vm` can be run by hand, too.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::command::Workdir;
use common::layout::{Image, Layout};
use common::tarball::{Tarball, gzip};
use common::{need, not_run, repository, tools};
use tempfile::TempDir;

/// Where the tools are, if a system to boot is among them.
fn vm() -> Option<PathBuf> {
    let root = tools::root();
    root.join("vm/stamp").is_file().then_some(root)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A whole policy of Fedora's: `etc/selinux` below a directory. An image of the shared data has it
/// in its first layer.
fn fedora() -> Option<TempDir> {
    let blobs = common::data::path("images/mc-layout/blobs/sha256")?;
    let mut entries = fs::read_dir(blobs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let layer = entries.find(|path| path.to_string_lossy().contains("/0cc2b0f8"))?;
    let directory = tempfile::tempdir().ok()?;
    tools::shell("tar -xzf \"$1\" -C \"$2\" etc/selinux", [&layer, directory.path()]);
    Some(directory)
}

/// What an installed package does, the merged sample does, and leaves nothing behind.
#[test]
fn a_booted_host_has_what_the_sample_brings() {
    let fedora = need!(fedora(), "no policy of Fedora");
    if !is_root() {
        not_run!("the files of a machine's root have owners");
    }
    let tools = need!(vm(), "no machine to boot");
    let mut acceptance = Command::new(repository("tests/vm/acceptance"));
    let policy = fedora.path().join("etc/selinux");
    acceptance.arg(tools).arg(env!("CARGO_BIN_EXE_oci2sysext")).arg(policy);
    println!("{}", tools::check(&mut acceptance));
}

/// A module of a policy, in the language that needs no compiler.
const MODULE: &str = r#"
(type demo_exec_t)
(roletype object_r demo_exec_t)
(typeattributeset file_type (demo_exec_t))
(typeattributeset non_security_file_type (demo_exec_t))
(typeattributeset exec_type (demo_exec_t))
(type demo_var_t)
(roletype object_r demo_var_t)
(typeattributeset file_type (demo_var_t))
(typeattributeset non_security_file_type (demo_var_t))
(filecon "/usr/bin/demo" file (system_u object_r demo_exec_t ((s0) (s0))))
(filecon "/var/lib/demo(/.*)?" any (system_u object_r demo_var_t ((s0) (s0))))
"#;

/// The same as a build leaves it in the policy of the layer.
const CONTEXTS: &[u8] = b"/usr/bin/demo\t--\tsystem_u:object_r:demo_exec_t:s0\n\
    /var/lib/demo(/.*)?\tsystem_u:object_r:demo_var_t:s0\n";

fn schema(name: &str) -> Vec<u8> {
    format!(
        r#"<schemalist><schema id="org.example.{name}" path="/org/example/{name}/">
<key name="greeting" type="s"><default>'hello'</default></key></schema></schemalist>"#
    )
    .into_bytes()
}

const MIME: &str = r#"<?xml version="1.0"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
<mime-type type="application/x-demo"><glob pattern="*.demo"/></mime-type></mime-info>"#;

/// What means something to systemd in a command line.
const ODD: &str = "we ird%n$x\\\"'\n;#.conf";

/// A layer with a module of a policy, and with all that caches are computed from.
fn layer(root: &Path) -> Tarball {
    let contexts = "etc/selinux/default/contexts/files/file_contexts";
    let library = member(root, "usr/lib/x86_64-linux-gnu/libattr.so.1.1.2600");
    let unit =
        "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
    [
        "etc",
        "etc/selinux",
        "etc/selinux/default",
        "etc/selinux/default/contexts",
        "etc/selinux/default/contexts/files",
        "etc/systemd",
        "etc/systemd/system",
        "etc/systemd/system/multi-user.target.wants",
        "etc/ld.so.conf.d",
        "usr/lib",
        "usr/lib/demo",
        "usr/lib/sysusers.d",
        "usr/lib/tmpfiles.d",
        "usr/lib/systemd",
        "usr/lib/systemd/system",
        "usr/lib/udev",
        "usr/lib/udev/hwdb.d",
        "usr/share",
        "usr/share/glib-2.0",
        "usr/share/glib-2.0/schemas",
        "usr/share/icons",
        "usr/share/icons/hicolor",
        "usr/share/icons/hicolor/48x48",
        "usr/share/mime",
        "usr/share/mime/packages",
        "usr/share/selinux",
        "usr/share/selinux/packages",
        "var",
        "var/cache",
        "var/cache/fontconfig",
        "var/lib",
        "var/lib/demo",
    ]
    .iter()
    .fold(Tarball::minimal(), |tar, directory| tar.dir(directory))
    .file(contexts, &[&member(root, contexts)[..], CONTEXTS].concat())
    .file("usr/share/selinux/packages/demo.cil", MODULE.as_bytes())
    .file("usr/bin/demo", b"#!/bin/sh\necho demo\n")
    .file("usr/lib/systemd/system/demo.service", unit.as_bytes())
    .symlink(
        "etc/systemd/system/multi-user.target.wants/demo.service",
        "/usr/lib/systemd/system/demo.service",
    )
    .file("var/lib/demo/state", b"state\n")
    .file("usr/share/glib-2.0/schemas/org.example.demo.gschema.xml", &schema("demo"))
    .file("usr/share/glib-2.0/schemas/gschemas.compiled", b"only the extension's")
    .file(&format!("usr/lib/sysusers.d/{ODD}"), b"g odd 345\n")
    .file(&format!("usr/lib/tmpfiles.d/{ODD}"), b"d /var/lib/odd 0750 - odd\n")
    .file("usr/share/icons/hicolor/48x48/demo.png", b"")
    .file("usr/share/icons/hicolor/icon-theme.cache", b"only the extension's")
    .file("usr/share/mime/packages/demo.xml", MIME.as_bytes())
    .file("usr/share/mime/mime.cache", b"only the extension's")
    .file("usr/lib/udev/hwdb.d/90-demo.hwdb", b"demo:*\n DEMO=1\n")
    .file("usr/lib/udev/hwdb.bin", b"only the extension's")
    .file("var/cache/fontconfig/0.cache-9", b"the build's")
    .file("etc/ld.so.conf.d/demo.conf", b"/usr/lib/demo\n")
    .file("usr/lib/demo/libattr.so.1", &library)
}

/// The contents of a file in an archive.
fn member(archive: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("tar").arg("-xOf").arg(archive).arg(format!("./{name}")).output();
    output.expect("tar runs").stdout
}

/// The extension of that layer, in the files of a machine whose check is `check`.
fn machine(work: &Workdir, tools: &Path, check: &str, repairs: &str) -> PathBuf {
    let files = work.path("files");
    for directory in ["usr/lib", "var/lib/extensions"] {
        fs::create_dir_all(files.join(directory)).expect("a new directory");
    }
    fs::write(files.join("usr/lib/os-release"), "ID=example\nVERSION_ID=1\n").expect("a file");
    fs::copy(repository("tests/vm").join(check), files.join("check")).expect("a copy");
    let root = tools.join("vm/root.tar");
    convert(work, &root, layer(&root), &files.join("var/lib/extensions/demo.raw"), repairs);
    files
}

/// Converts a layer over the root of a machine.
fn convert(work: &Workdir, root: &Path, layer: Tarball, output: &Path, repairs: &str) {
    let directories = ["usr", "usr/lib", "etc", "etc/selinux", "etc/selinux/default"];
    let contexts = ["etc/selinux/default/contexts", "etc/selinux/default/contexts/files"];
    let base = directories.iter().chain(&contexts).fold(Tarball::new(), |tar, path| tar.dir(path));
    let base = ["file_contexts", "file_contexts.homedirs", "file_contexts.subs_dist"]
        .iter()
        .map(|name| format!("etc/selinux/default/contexts/files/{name}"))
        .fold(base, |tar, path| tar.file(&path, &member(root, &path)))
        .file("usr/lib/os-release", b"ID=example\nVERSION_ID=1\n")
        .file("etc/selinux/config", b"SELINUXTYPE=default\n")
        .finish();
    let layer = layer.finish();
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
    let output = output.display().to_string();
    let what = [&layout.reference(), "--insecure-skip-signature", "--name", "demo"];
    work.converts(what.iter().chain(&["-o", &output, "--repairs", repairs, "--rename"]));
}

/// Boots a machine and looks for what its check complains of.
fn boot(tools: &Path, policy: &Path, files: &Path, stages: &[&str]) {
    let mut machine = Command::new(repository("tests/vm/machine"));
    machine.arg(tools).arg(policy).arg(files).args(stages);
    let console = tools::check(&mut machine);
    println!("{console}");
    for stage in stages {
        assert!(console.contains(&format!("\nend of {stage}\n")), "{stage} did not end");
    }
    assert!(!console.contains("\nnot ok: "), "see above");
}

/// `--repairs caches`: what computes them finds a place, and their readers look there. What
/// another version needs is there as soon as it is merged.
#[test]
fn a_booted_host_computes_caches() {
    let fedora = need!(fedora(), "no policy of Fedora");
    if !is_root() {
        not_run!("the files of a machine's root have owners");
    }
    let tools = need!(vm(), "no machine to boot");
    let work = Workdir::new();
    let files = machine(&work, &tools, "caches.check", "all,caches");
    let root = tools.join("vm/root.tar");
    let next = layer(&root)
        .file("usr/lib/sysusers.d/next.conf", b"u next 346\n")
        .file("usr/lib/tmpfiles.d/next.conf", b"d /var/lib/next 0700 next\n")
        .file("usr/share/glib-2.0/schemas/org.example.next.gschema.xml", &schema("next"));
    convert(&work, &root, next, &files.join("var/lib/next.raw"), "all,caches");
    boot(&tools, &fedora.path().join("etc/selinux"), &files, &["caches"]);
}

/// `--repairs selinux`: the unit that is made loads the policy, once, and relabels what was there;
/// it does so again when the host's modules have changed, and for another version. What else is there keeps its label.
#[test]
fn a_booted_host_loads_the_policy() {
    if !is_root() {
        not_run!("the files of a machine's root have owners");
    }
    let tools = need!(vm(), "no machine to boot");
    let work = Workdir::new();
    let files = machine(&work, &tools, "policy.check", "all,selinux");
    let state = files.join("var/lib/demo");
    fs::create_dir(&state).expect("a new directory");
    fs::write(state.join("old"), "").expect("a file");
    let root = tools.join("vm/root.tar");
    let next = "(type next_t)\n(roletype object_r next_t)\n(typeattributeset file_type (next_t))\n";
    let next = layer(&root).file("usr/share/selinux/packages/next.cil", next.as_bytes());
    convert(&work, &root, next, &files.join("var/lib/next.raw"), "all,selinux");
    boot(&tools, Path::new("own"), &files, &["first", "again", "changed"]);
}
