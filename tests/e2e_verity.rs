//! composefs with fs-verity, in an emulated machine: the kernel itself compares the digest that was
//! printed, and refuses what was changed. This system's own kernel may lack fs-verity.

mod common;

use std::process::Command;

use common::{need, tools};

#[test]
fn the_kernel_accepts_the_digest_and_nothing_that_was_changed() {
    need!(tools::of(tools::TRIXIE, "qemu-system-x86_64"), "no QEMU");
    let tools_root = tools::root();
    need!(tools::of(tools::FORKY, "mount.composefs"), "no composefs");
    need!(tools::system("mkfs.ext4"), "no mkfs.ext4");
    let payload = tempfile::tempdir().unwrap();
    let sample = common::repository("testdata/sample");
    tools::shell("cp -r \"$1/layout\" \"$1/key.pub\" \"$2\"", [&sample, payload.path()]);
    let script = std::fs::read_to_string(common::repository("tests/vm/verity.sh")).unwrap();
    let script = format!("IMAGE=oci:layout\n{script}");
    std::fs::write(payload.path().join("run.sh"), script).unwrap();

    let mut boot = Command::new(common::repository("tests/vm/boot"));
    boot.arg(tools_root).arg(env!("CARGO_BIN_EXE_oci2sysext")).arg(payload.path());
    let console = tools::check(&mut boot);
    let line = |start: &str| {
        let found = console.lines().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("no line {start:?} in:\n{console}"))
    };
    // What was printed is what C composefs measures, and what the kernel takes.
    let digest = line("digest: ");
    assert_eq!(digest.len(), 64, "{console}");
    assert!(console.contains(&format!(",digest={digest} ")), "{console}");
    line("digest accepted");
    assert!(line("options: ").contains("verity=require"), "{console}");
    line("same as EROFS: ");
    assert!(line("wrong digest: ").contains("Image has wrong fs-verity"), "{console}");
    assert!(line("write to image: ").contains("Operation not permitted"), "{console}");
    assert!(!console.contains("writable: "), "{console}");
    assert_eq!(line("replaced object: "), "1 unreadable");
    assert_eq!(line("converted again: "), "0 unreadable");
}
