//! Images before the kernel of a Debian release, in an emulated machine: another kernel than this
//! system's, and without root here.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::common::{self, need, tools};
use crate::{source, variants, write_directory};

/// One line for types, permissions, owners, times, devices, sizes, targets and contents.
const LISTING: &str = "
listing() { (
    cd \"$1\"
    find . -mindepth 1 -print0 | sort -z | xargs -0 stat -c '%n %f %u %g %Y %t %T'
    find . -type f -print0 | sort -z | xargs -0 stat -c '%n %s %h'
    find . -type l -print0 | sort -z | xargs -0 -n 1 readlink
    find . -type f -print0 | sort -z | xargs -0 sha256sum
) | sha256sum | cut -d ' ' -f 1; }
";

const RUN: &str = "
for n in $(ls *.raw | sort -n); do
    mount -t erofs -o ro,loop $n /run/m && echo \"$n: $(listing /run/m)\"
    umount /run/m
done
";

#[test]
#[ignore = "takes a minute and a half; the system's own kernel judges the same images"]
fn the_kernel_of_debian_shows_what_was_written() {
    need!(tools::of(tools::TRIXIE, "qemu-system-x86_64"), "no QEMU");
    let root = tools::root();
    need!(tools::of(tools::FORKY, "mount.composefs"), "no composefs");
    need!(tools::system("mkfs.ext4"), "no mkfs.ext4");
    let source = source();
    let payload = tempfile::tempdir().unwrap();
    let kernel = fs::read_dir(root.join("trixie/root/boot")).unwrap().find_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_prefix("vmlinuz-")?.parse().ok()
    });
    let kernel = kernel.unwrap();
    let known: Vec<_> =
        variants().into_iter().filter(|options| options.min_kernel <= kernel).collect();
    for (n, options) in known.iter().enumerate() {
        let (image, _) = write_directory(source.path(), options);
        fs::copy(image.path(), payload.path().join(format!("{n}.raw"))).unwrap();
    }
    let script = format!("{LISTING}mkdir -p /run/m\n{RUN}");
    fs::write(payload.path().join("run.sh"), script).unwrap();

    // What the same programs say of the source.
    let busybox = root.join("trixie/root/usr/bin/busybox");
    let applets = tempfile::tempdir().unwrap();
    for applet in ["cut", "find", "readlink", "sha256sum", "sort", "stat", "xargs"] {
        symlink(&busybox, applets.path().join(applet)).unwrap();
    }
    let script = format!("{LISTING}listing \"$0\"");
    let mut listing = Command::new(&busybox);
    listing.args(["sh", "-c", &script]).arg(source.path()).env("PATH", applets.path());
    let expected = tools::check(&mut listing);

    let mut boot = Command::new(common::repository("tests/vm/boot"));
    boot.arg(&root).arg(env!("CARGO_BIN_EXE_oci2sysext")).arg(payload.path());
    let console = tools::check(&mut boot);
    for (n, options) in known.iter().enumerate() {
        let line = format!("{n}.raw: {}", expected.trim());
        assert!(console.lines().any(|found| found == line), "{line} {options:?}\n{console}");
    }
}
