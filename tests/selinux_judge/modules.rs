//! Policy modules: what ours makes of a policy and a module, against `semodule` of Debian forky on
//! the same policy.

use std::path::{Path, PathBuf};
use std::process::Command;

use oci2sysext::selinux::PolicyFiles;
use oci2sysext::selinux::module::{Language, Merged, Module, ModuleError};

use super::bulk::BulkJudge;
use crate::common::command::Workdir;
use crate::common::layout::{Image, Layout};
use crate::common::tarball::{Tarball, gzip};
use crate::common::{data, repository, tools};

const CONTEXTS: &str = "etc/selinux/default/contexts/files/file_contexts";

fn read(bytes: &[u8], language: Language) -> Result<Module, ModuleError> {
    Module::read(bytes, language, &mut (1 << 20))
}

fn tool(name: &str) -> PathBuf {
    tools::of("selinux", name).unwrap()
}

/// Makes a policy package of testdata, with these file contexts.
fn package(directory: &Path, contexts: &Path) -> PathBuf {
    let source = repository("testdata/selinux/modules/demo.te");
    let (module, package) = (directory.join("demo.mod"), directory.join("demo.pp"));
    tools::check(
        Command::new(tool("checkmodule")).args(["-M", "-m", "-o"]).args([&module, &source]),
    );
    let mut command = Command::new(tool("semodule_package"));
    tools::check(command.arg("-o").arg(&package).arg("-m").arg(&module).arg("-f").arg(contexts));
    package
}

/// A copy of the root with the policy of Debian forky, in which `semodule` runs.
fn root() -> Option<tempfile::TempDir> {
    let root = tools::root().join("policies/root");
    if !root.exists() || !rustix::process::geteuid().is_root() {
        data::say_not_run("no policies/root of Debian forky, or not root");
        return None;
    }
    let copy = tempfile::tempdir().unwrap();
    tools::shell("cp -a --reflink=auto \"$1/.\" \"$2\"", [&*root, copy.path()]);
    Some(copy)
}

fn semodule(root: &Path, modules: &[&Path]) -> std::process::Output {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/usr/sbin/semodule", "-n"]);
    for module in modules {
        let name = module.file_name().unwrap();
        std::fs::copy(module, root.join(name)).unwrap();
        command.arg("-i").arg(Path::new("/").join(name));
    }
    command.output().unwrap()
}

fn policy(root: &Path) -> PolicyFiles {
    let file_contexts = std::fs::read(root.join(CONTEXTS)).unwrap();
    PolicyFiles { policy_type: "default".to_owned(), file_contexts, ..PolicyFiles::default() }
}

#[test]
fn modules_are_merged_as_by_semodule() {
    let Some(root) = root() else { return };
    let work = tempfile::tempdir().unwrap();
    let testdata = repository("testdata/selinux/modules");
    let demo = package(work.path(), &testdata.join("demo.fc"));
    let more = testdata.join("more.cil");
    let before = policy(root.path());
    let unchanged = Merged::of(&before).unwrap().file_contexts();
    assert!(unchanged == before.file_contexts, "the order of a policy is not libsepol's");

    let mut merged = Merged::of(&before).unwrap();
    let bytes = std::fs::read(&demo).unwrap();
    let module = read(&bytes, Language::Package).unwrap();
    assert_eq!((module.len(), merged.add(&module).unwrap()), (11, 10));
    assert_eq!(merged.add(&module).unwrap(), 0, "nothing is added twice");
    let cil = read(&std::fs::read(&more).unwrap(), Language::Cil).unwrap();
    assert_eq!(merged.add(&cil).unwrap(), 7);

    tools::shell("bzip2 -k \"$1\"", [&demo]);
    let compressed = std::fs::read(demo.with_extension("pp.bz2")).unwrap();
    assert_eq!(read(&compressed, Language::Package).unwrap(), module);

    let output = semodule(root.path(), &[&demo.with_extension("pp.bz2"), &more]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (ours, theirs) = (merged.file_contexts(), policy(root.path()).file_contexts);
    assert!(ours == theirs, "{}", difference(&ours, &theirs));

    let after = policy(root.path());
    labels_follow_modules(&before, &after, &compressed, &std::fs::read(&more).unwrap());
}

/// An extension that brings the modules is labelled as with the policy that `semodule` made of them,
/// and so is one whose build has already rewritten the policy.
fn labels_follow_modules(before: &PolicyFiles, after: &PolicyFiles, package: &[u8], cil: &[u8]) {
    let judge = BulkJudge::newest().unwrap();
    let base = policy_in(Tarball::new(), before).file("etc/os-release", b"ID=x\nVERSION_ID=1\n");
    let base = base.finish();
    let layer = Tarball::minimal()
        .file("usr/bin/demo", b"")
        .file("usr/bin/demo-x", b"")
        .file("usr/lib/demo/secret/a", b"")
        .symlink("usr/lib/demo/a12/x.y", "a")
        .file("usr/lib/demo/none", b"")
        .file("usr/lib/more/x", b"")
        .file("usr/lib/more/y", b"")
        .file("usr/lib/more/old", b"")
        .dir("usr/lib/inner/deep")
        .file("etc/demo.conf", b"")
        .file("usr/share/selinux/packages/default/demo.pp.bz2", package)
        .file("usr/share/selinux/packages/more.cil", cil)
        .file("usr/share/selinux/packages/mls/other.pp", b"for other hosts")
        .file("usr/share/selinux/packages/bad.pp", b"no package");
    for rewritten in [false, true] {
        let mut layer = layer.clone();
        if rewritten {
            layer = policy_in(layer, after);
        }
        let layer = layer.finish();
        let mut layout = Layout::new();
        let blobs = [(gzip(&base), base.clone()), (gzip(&layer), layer)];
        layout.add_image(&Image::of_blobs(&blobs));
        let work = Workdir::new();
        let reference = layout.reference();
        let arguments = ["--insecure-skip-signature", "-o", "demo.raw", "--json", &reference];
        let report = work.converts(arguments).json();
        assert_eq!(
            report["base"]["selinux"],
            "image (default) and policy modules of the layer (2)"
        );
        let changes = report["changes"].to_string();
        let lacks = if rewritten { 0 } else { 10 };
        let note = format!("used for the labels: 11, of which the policy lacks {lacks}");
        assert!(changes.contains(&note), "{changes}");
        let warnings = report["warnings"].to_string();
        for told in [
            "load it on the host with semodule -i /usr/share/selinux/packages/default/demo.pp.bz2",
            "restorecon -R -i /etc/demo.conf /var/lib/demo)",
            "packages/bad.pp are not used for the labels: found 0x70206f6e, expected a policy package",
            "the type demo_exec_t, which the base's policy does not mention",
        ] {
            assert!(warnings.contains(told), "{told} in {warnings}");
        }
        assert!(!warnings.contains("other.pp"), "{warnings}");

        let labels = labels(&work.run(["dump", "demo.raw"]).stdout);
        let asked: Vec<_> = labels.iter().map(|(path, mode, _)| (path.clone(), *mode)).collect();
        let judged = judge.answers(after, &asked);
        assert!(labels.len() > 20 && judged.iter().any(|label| label.contains("inner.more_t")));
        for ((path, _, label), judged) in labels.iter().zip(judged) {
            assert_eq!(*label, judged, "{path}");
        }
    }
}

/// An archive with the files of a policy.
fn policy_in(tar: Tarball, policy: &PolicyFiles) -> Tarball {
    tar.file("etc/selinux/config", b"SELINUXTYPE=default\n").file(CONTEXTS, &policy.file_contexts)
}

/// The paths of a dump as a policy is asked about them (R32), their modes and labels.
fn labels(dump: &str) -> Vec<(String, u16, String)> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        let path = fields[0].strip_prefix("/usr/etc").map(|below| format!("/etc{below}"));
        let mode = u32::from_str_radix(fields[2].trim_start_matches('@'), 8).unwrap();
        let label = fields.iter().find_map(|field| field.strip_prefix("security.selinux="));
        let label = label.map_or("<<none>>", |label| label.strip_suffix("\\x00").unwrap());
        let path = path.unwrap_or_else(|| fields[0].to_owned());
        (path, u16::try_from(mode & 0o170_000).unwrap(), label.to_owned())
    };
    dump.lines().map(line).collect()
}

/// What only one of two texts has.
fn difference(ours: &[u8], theirs: &[u8]) -> String {
    let (ours, theirs) = (String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
    let differ = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs);
    let lines = differ.take(5).map(|(ours, theirs)| format!("ours   {ours}\ntheirs {theirs}\n"));
    lines.collect::<Vec<_>>().concat()
}

/// What is refused here, `semodule` refuses as well.
#[test]
fn what_semodule_refuses_is_refused() {
    let Some(root) = root() else { return };
    let work = tempfile::tempdir().unwrap();
    let before = policy(root.path());
    for (title, contexts) in [
        ("a conflict with the policy", "/usr/bin/bash -- system_u:object_r:demo_t:s0\n"),
        ("no range", "/usr/lib/demo system_u:object_r:demo_t\n"),
        ("a comment after a context", "/usr/lib/demo system_u:object_r:demo_t:s0 # x\n"),
        ("a quotation mark", "/usr/lib/\"demo system_u:object_r:demo_t:s0\n"),
        ("no such pattern", "/usr/lib/(demo system_u:object_r:demo_t:s0\n"),
    ] {
        let file = work.path().join("demo.fc");
        std::fs::write(&file, contexts).unwrap();
        let package = package(work.path(), &file);
        let module = read(&std::fs::read(&package).unwrap(), Language::Package);
        let ours = module.and_then(|module| Merged::of(&before).unwrap().add(&module));
        assert!(ours.is_err(), "{title}: {ours:?}");
        let output = semodule(root.path(), &[&package]);
        assert!(!output.status.success(), "{title}");
    }
    assert_eq!(policy(root.path()), before);
}
