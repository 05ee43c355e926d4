//! Labels.

use super::*;
use crate::error::{ExitCode, Fault};
use crate::selinux::{FileContexts, PolicyFiles};
use crate::sysext::labels as labelling;

fn contexts() -> FileContexts {
    let file_contexts = b"/ -d system_u:object_r:root_t:s0
/usr(/.*)? -d system_u:object_r:dir_t:s0
/usr(/.*)? -- system_u:object_r:usr_t:s0
/usr/bin/.* system_u:object_r:bin_t:s0
/usr/share/none <<none>>
/etc/.* system_u:object_r:etc_t:s0
/etc -d system_u:object_r:etc_top_t:s0
";
    let policy = PolicyFiles { file_contexts: file_contexts.to_vec(), ..PolicyFiles::default() };
    FileContexts::parse(&policy).unwrap()
}

fn run_labelled(layer: &str) -> Result<Outcome, Error> {
    let contexts = contexts();
    let lookup = |path: &[u8], file_type| contexts.lookup(path, file_type);
    run(layer, &base(""), &SysextOptions { labeller: Some(&lookup), ..options() })
}

fn label(done: &Outcome, path: &str) -> Option<String> {
    let tree = done.sysext.tree();
    let xattrs = &tree.inode(tree.lookup(path.as_bytes()).unwrap()).stat.xattrs;
    xattrs.get(labelling::XATTR).map(|label| String::from_utf8(label.to_vec()).unwrap())
}

#[test]
fn every_path_has_the_label_that_libselinux_would_write() {
    let layer = "f usr/bin/a A\nf etc/app/x X\nf usr/etc/y Y\nd usr/etcetera\nf usr/share/none N";
    let done = run_labelled(layer).unwrap();
    for (path, name) in [
        ("", "root_t"),
        ("usr", "dir_t"),
        ("usr/bin/a", "bin_t"),
        ("usr/etc", "etc_top_t"),
        ("usr/etc/app", "etc_t"),
        ("usr/etc/app/x", "etc_t"),
        ("usr/etc/y", "etc_t"),
        ("usr/etcetera", "dir_t"),
        ("usr/lib/extension-release.d/extension-release.x", "usr_t"),
    ] {
        let expected = format!("system_u:object_r:{name}:s0\0");
        assert_eq!(label(&done, path), Some(expected), "{path}");
    }
    assert_eq!(label(&done, "usr/share/none"), None);
    assert!(done.changes().contains("R35 kept usr/share/none\n"));
}

#[test]
fn row_95_a_path_without_a_label_is_refused() {
    let error = run_labelled("l usr/share/missing A").unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Malformed);
    assert!(error.to_string().contains("/usr/share/missing"));
    assert!(error.advice().contains("--selinux none"));
    run("l usr/share/missing A", &base(""), &options()).unwrap();
}

#[test]
fn hard_links_with_different_labels_become_two_inodes() {
    let layer =
        "f usr/bin/a A\nh usr/bin/b usr/bin/a\nh usr/share/c usr/bin/a\nh usr/share/d usr/bin/a";
    let done = run_labelled(layer).unwrap();
    let tree = done.sysext.tree();
    let ino = |path: &str| tree.lookup(path.as_bytes()).unwrap();
    assert_eq!(ino("usr/bin/a"), ino("usr/bin/b"));
    assert_eq!(ino("usr/share/c"), ino("usr/share/d"));
    assert_ne!(ino("usr/bin/a"), ino("usr/share/c"));
    assert_eq!(label(&done, "usr/share/d").unwrap(), "system_u:object_r:usr_t:s0\0");
    assert!(done.tree().contains("f usr/share/c A\n"));
    assert!(done.changes().contains("R35 changed usr/share/c\nR35 changed usr/share/d\n"));
}

#[test]
fn r34_a_policy_of_the_extensions_own_is_told() {
    let layer = "f usr/bin/a A\nf usr/share/selinux/packages/x.pp P\n\
                 f etc/selinux/targeted/contexts/files/file_contexts F";
    let warnings = run(layer, &base(""), &options()).unwrap().warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.concat().contains("semodule -i /usr/share/selinux/packages/x.pp"));
    let mut changes = Changes::default();
    let types = [(b"bin_t".to_vec(), 1), (b"new_t".to_vec(), 2)].into();
    let mut known = PolicyFiles {
        file_contexts: b"/usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0\n/x -- <<none>>\n".to_vec(),
        ..PolicyFiles::default()
    };
    labelling::warn_of_new_types(&types, &known, &mut changes);
    assert_eq!(changes.warnings.len(), 1);
    assert!(changes.warnings[0].message.starts_with("2 paths have the type new_t"));

    // What only a sibling of file_contexts mentions is not new.
    known.local = Some(b"/srv/new -- system_u:object_r:new_t:s0\n".to_vec());
    let mut changes = Changes::default();
    labelling::warn_of_new_types(&types, &known, &mut changes);
    assert!(changes.warnings.is_empty(), "{:?}", changes.warnings);
}
