//! Bases of every shape: what is found in them, and what hides what.

use oci2sysext::base::{Base, BaseKind};
use oci2sysext::error::{Error, Fault};

use crate::case::{Image, exit};

fn read(lower: &[&str], extension: &str) -> Base {
    Image::new(lower, extension).base(true).0.unwrap()
}

fn os_release(lower: &[&str]) -> Option<String> {
    let base = read(lower, "f usr/bin/x x");
    base.os_release().map(|variables| variables["ID"].clone())
}

fn file_contexts(lower: &[&str], extension: &str) -> Option<String> {
    let base = read(lower, extension);
    base.policy().map(|policy| String::from_utf8(policy.file_contexts.clone()).unwrap())
}

fn error(lower: &[&str], extension: &str) -> Error {
    Image::new(lower, extension).base(true).0.unwrap_err()
}

const CONFIG: &str = "f etc/selinux/config SELINUXTYPE=targeted\\n";
const FILES: &str = "etc/selinux/targeted/contexts/files";

#[test]
fn os_release_is_found_through_symlinks() {
    let there = "f usr/lib/os-release ID=a";
    for link in [
        "l etc/os-release ../usr/lib/os-release",
        "l etc/os-release /usr/lib/os-release",
        "l etc/os-release ../../../usr/./lib//os-release",
        "l etc/os-release nowhere",
        "l etc/os-release os-release",
        "d etc/os-release",
        "l etc usr/lib",
    ] {
        assert_eq!(os_release(&[&format!("{there}\n{link}")]).as_deref(), Some("a"), "{link}");
        assert_eq!(os_release(&[there, link]).as_deref(), Some("a"), "{link} above");
        assert_eq!(os_release(&[link, there]).as_deref(), Some("a"), "{link} below");
    }
    assert_eq!(os_release(&["f etc/os-release ID=b", there]).as_deref(), Some("b"));
    assert_eq!(os_release(&["f etc/motd x"]), None);
    assert_eq!(os_release(&[]), None);
}

#[test]
fn an_unforeseen_symlink_is_followed_in_a_second_reading() {
    let image = Image::new(
        &["l usr/lib/os-release os.d/one", "l usr/lib/os.d ../share/os", "f usr/share/os/one ID=a"],
        "f usr/bin/x x",
    );
    let (base, asked) = image.base(false);
    assert_eq!(base.unwrap().os_release().unwrap()["ID"], "a");
    // From the top down, and again only the one with contents that nobody could foresee.
    assert_eq!(asked, [2, 1, 0, 2]);
}

#[test]
fn the_topmost_layer_decides() {
    assert_eq!(
        os_release(&["f usr/lib/os-release ID=a", "f usr/lib/os-release ID=b"]).as_deref(),
        Some("b")
    );
    for (name, upper) in [
        ("a whiteout", "w usr/lib/os-release"),
        ("a whiteout of a parent", "w usr/lib"),
        ("an opaque parent", "o usr/lib"),
        ("an opaque grandparent", "o usr"),
        ("a file in place of a parent", "f usr/lib x"),
        ("a directory in place of the file", "d usr/lib/os-release"),
    ] {
        let lower = "f usr/lib/os-release ID=a";
        assert_eq!(os_release(&[lower, upper]), None, "{name}");
        assert_eq!(os_release(&[upper, lower]).as_deref(), Some("a"), "{name} below");
    }
    // What a layer deletes and makes anew is its own.
    let anew = "w usr/lib/os-release\nf usr/lib/os-release ID=b";
    assert_eq!(os_release(&["f usr/lib/os-release ID=a", anew]).as_deref(), Some("b"));
    let anew = "f usr/lib/os-release ID=b\no usr/lib";
    assert_eq!(os_release(&["f usr/lib/os-release ID=a", anew]).as_deref(), Some("b"));
}

#[test]
fn what_the_extension_ships_is_not_the_bases_os_release() {
    let base = read(&["f usr/lib/os-release ID=a"], "f usr/lib/os-release ID=b\nf usr/bin/x x");
    assert_eq!(base.os_release().unwrap()["ID"], "a");
}

#[test]
fn r30_the_policy_is_that_of_all_layers_and_the_extension() {
    let lower =
        format!("{CONFIG}\nf {FILES}/file_contexts low\nf {FILES}/file_contexts.local mine");
    assert_eq!(file_contexts(&[&lower], "f usr/bin/x x").as_deref(), Some("low"));
    let own = format!("f usr/bin/x x\nf {FILES}/file_contexts own\nw {FILES}/file_contexts.local");
    let base = read(&[&lower], &own);
    let policy = base.policy().unwrap();
    assert_eq!((&policy.file_contexts[..], &policy.local), (&b"own"[..], &None));
    assert_eq!(policy.policy_type, "targeted");
    assert_eq!(base.lower_policy().unwrap().file_contexts, b"low");
    assert_eq!(read(&[&lower], "f usr/bin/x x").lower_policy(), None);
    let base = read(&[&lower], &format!("f usr/bin/x x\no {FILES}\nf {FILES}/file_contexts own"));
    assert_eq!(base.policy().unwrap().local, None);
    // Spread over layers, the absent parts at the bottom.
    let image = [
        &*format!("f {FILES}/file_contexts.subs_dist s"),
        &format!("f {FILES}/file_contexts f"),
        CONFIG,
    ];
    let policy = read(&image, "f usr/bin/x x");
    assert_eq!(policy.policy().unwrap().subs_dist.as_deref(), Some(&b"s"[..]));
}

#[test]
fn r30_a_single_layer_brings_its_own_policy() {
    let all = format!("f usr/bin/x x\n{CONFIG}\nf {FILES}/file_contexts own");
    assert_eq!(file_contexts(&[], &all).as_deref(), Some("own"));
}

#[test]
fn r29_on_ostree_bases_files_are_hard_links_to_objects() {
    let objects = "sysroot/ostree/repo/objects";
    let lower = format!(
        "f {objects}/aa.file SELINUXTYPE=targeted
         h usr/etc/selinux/config {objects}/aa.file
         h usr/{FILES}/file_contexts {objects}/bb.file
         f {objects}/bb.file low
         l {objects}/cc.file bin
         h usr/sbin {objects}/cc.file
         f {objects}/dd.file ID=a
         h {objects}/ee.file {objects}/dd.file
         h usr/lib/os-release {objects}/ee.file
         h usr/bin/x {objects}/dd.file"
    );
    assert_eq!(file_contexts(&[&lower], "f usr/bin/x x").as_deref(), Some("low"));
    let base = read(&[&lower], "f usr/bin/x x");
    assert_eq!(base.os_release().unwrap()["ID"], "a");
    assert_eq!(base.path(b"usr/sbin").unwrap().kind, BaseKind::Symlink(b"bin".to_vec()));
    assert_eq!(base.path(b"usr/bin/x").unwrap().kind, BaseKind::Regular);
    // What etc has takes the place of the defaults.
    let own = format!("f usr/bin/x x\nf {FILES}/file_contexts own");
    assert_eq!(file_contexts(&[&lower], &own).as_deref(), Some("own"));
}

#[test]
fn a_hard_link_into_a_lower_layer_is_followed() {
    let link = "h usr/lib/os-release usr/share/os";
    assert_eq!(os_release(&["f usr/share/os ID=a", link]).as_deref(), Some("a"));
    assert_eq!(os_release(&["f usr/share/os ID=a", "f etc/x x", link]).as_deref(), Some("a"));
    assert_eq!(os_release(&[link]), None);
    assert_eq!(os_release(&["h usr/lib/os-release usr/lib/os-release"]), None);
    assert_eq!(os_release(&["h usr/lib/os-release usr/a\nh usr/a usr/lib/os-release"]), None);
}

/// A layer between once gave the link what it had put in place of the file.
#[test]
fn a_hard_link_means_the_file_that_was_there_when_its_layer_was_applied() {
    let (file, link) = ("f usr/share/os ID=a", "h usr/lib/os-release usr/share/os");
    for upper in [
        "f usr/share/os ID=b",
        "w usr/share/os",
        "o usr/share",
        "f usr/share x",
        "d usr/share/os",
        "l usr/share/os /nowhere",
        "w usr/lib/os-release\nf usr/share/os ID=b\nh usr/lib/os-release usr/share/os",
    ] {
        let expected = if upper.contains("h usr") { "b" } else { "a" };
        assert_eq!(os_release(&[file, link, upper]).as_deref(), Some(expected), "{upper}");
    }
    for between in ["w usr/share/os", "o usr/share", "o usr", "f usr/share x", "d usr/share/os/x"] {
        assert_eq!(os_release(&[file, between, link]), None, "{between}");
        let above = [between, "f usr/share/os ID=c", link];
        assert_eq!(os_release(&[&[file][..], &above].concat()).as_deref(), Some("c"), "{between}");
    }
    // Through the links of several layers, each at its own time.
    let layers = [
        file,
        "h usr/share/one usr/share/os",
        "f usr/share/os ID=b",
        "h usr/lib/os-release usr/share/one",
        "f usr/share/one ID=c",
    ];
    assert_eq!(os_release(&layers).as_deref(), Some("a"));
}

#[test]
fn only_paths_of_the_extension_are_known() {
    let base = read(
        &[
            "d usr 700\nd usr/bin 711\nf usr/bin/x x\nf usr/bin/y y\nf usr/share/doc/x/y x\nl lib64 usr/lib64",
        ],
        "f usr/bin/x x\nf etc/app/x x\nd usr/share/doc/x\nf sbin/y x",
    );
    let mode = |path: &str| base.path(path.as_bytes()).map(|path| path.stat.mode);
    assert_eq!((mode("usr"), mode("usr/bin")), (Some(0o700), Some(0o711)));
    assert_eq!(base.path(b"usr/bin/x").unwrap().kind, BaseKind::Regular);
    // As sbin/y may move there.
    assert!(base.path(b"usr/bin/y").is_some());
    assert_eq!(base.path(b"lib64").unwrap().kind, BaseKind::Symlink(b"usr/lib64".to_vec()));
    // A directory that no entry describes.
    assert_eq!(mode("usr/share/doc/x"), Some(0o755));
    assert_eq!(base.path(b"usr/share/doc/x/y"), None);
    assert_eq!(base.path(b"usr/etc/app"), None);
}

#[test]
fn accounts_are_those_of_every_place() {
    let base = read(
        &["f etc/passwd root:x:0:0::/:\nf usr/lib/passwd bin:x:1:1::/:\nf usr/lib/group bin:x:1:"],
        "f usr/bin/x x\nf etc/passwd new:x:5:5::/:",
    );
    let users: Vec<_> = base.accounts().users.values().copied().collect();
    assert_eq!((users, base.accounts().groups.len()), (vec![1, 0], 1));
}

#[test]
fn what_is_wrong_with_a_base_is_told() {
    let big = format!("f usr/lib/os-release {}", "x".repeat((16 << 20) + 1));
    let text = "x".repeat(16 << 20);
    let file = |n: u8| format!("f etc/selinux/p{n}/contexts/files/file_contexts {text}");
    let many = [file(0), file(1), file(2), file(3), file(4)].join("\n");
    for (lower, exit_code, id) in [
        (&*many, 9, "base.too-much"),
        (&big, 9, "base.too-large"),
        ("f usr/lib/os-release nothing", 7, "base.os-release"),
        ("f etc/selinux/config SELINUXTYPE=../..", 7, "base.policy-type"),
        (CONFIG, 7, "base.no-file-contexts"),
    ] {
        let error = error(&[lower], "f usr/bin/x x");
        assert_eq!((exit(&error), error.fault().id()), (exit_code, id), "{error}");
        assert!(!error.fault().advice().is_empty());
    }
    let link = format!("l {FILES}/file_contexts /usr/share/fc\nf usr/share/fc x");
    let error = error(&[CONFIG], &link);
    assert_eq!(error.fault().id(), "base.unreadable");
    let _: &dyn Fault = error.fault();
}
