//! Policy modules: what ours makes of a policy and a module, against `semodule` of Debian forky on
//! the same policy.

use std::path::{Path, PathBuf};
use std::process::Command;

use oci2sysext::selinux::PolicyFiles;
use oci2sysext::selinux::module::{Language, Merged, Module, ModuleError};

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
    assert_eq!(merged.add(&cil).unwrap(), 5);

    tools::shell("bzip2 -k \"$1\"", [&demo]);
    let compressed = std::fs::read(demo.with_extension("pp.bz2")).unwrap();
    assert_eq!(read(&compressed, Language::Package).unwrap(), module);

    let output = semodule(root.path(), &[&demo.with_extension("pp.bz2"), &more]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (ours, theirs) = (merged.file_contexts(), policy(root.path()).file_contexts);
    assert!(ours == theirs, "{}", difference(&ours, &theirs));
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
