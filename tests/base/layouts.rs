//! Where distributions have their os-release and policy, each read twice: the second time from the
//! cache.

use crate::common::need;
use crate::common::tarball::Tarball;
use crate::{Shop, extension, image};

const CONTEXTS: &[u8] = b"/.*\tsystem_u:object_r:default_t:s0\n\
    /usr(/.*)?\tsystem_u:object_r:usr_t:s0\n/usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0\n";

/// A policy of a type, with its places below `root`.
fn policy(tar: Tarball, root: &str, kind: &str) -> Tarball {
    tar.file(
        &format!("{root}/config"),
        format!("SELINUX=enforcing\nSELINUXTYPE={kind}\n").as_bytes(),
    )
    .file(&format!("{root}/{kind}/contexts/files/file_contexts"), CONTEXTS)
    .file(&format!("{root}/{kind}/contexts/files/file_contexts.subs_dist"), b"/usr/sbin /usr/bin\n")
}

#[test]
fn every_layout_is_read_the_same_from_the_cache() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let cache = shop.cache();
    let link = |tar: Tarball| tar.symlink("etc/os-release", "../usr/lib/os-release");
    let release = |tar: Tarball, text: &str| link(tar).file("usr/lib/os-release", text.as_bytes());
    let centos = release(Tarball::new(), "ID=\"centos\"\nVERSION_ID=\"10\"\n");
    let debian = release(Tarball::new(), "ID=debian\nVERSION_ID=\"13\"\n");
    let suse = "ID=\"opensuse-tumbleweed\"\nVERSION_ID=\"20260101\"\n";
    let variant = Tarball::new()
        .symlink("usr/lib/os-release", "os.release.d/os-release-kinoite")
        .file("usr/lib/os.release.d/os-release-kinoite", b"ID=fedora\nVERSION_ID=43\n");
    // Nobody could foresee this place: its contents are added to the listing.
    let elsewhere = Tarball::new()
        .symlink("usr/lib/os-release", "../share/release/this")
        .file("usr/share/release/this", b"ID=other\nVERSION_ID=2\n");
    for (name, base, id, label) in [
        ("centos", policy(centos, "etc/selinux", "targeted"), "centos", "bin_t"),
        ("debian", policy(debian.clone(), "etc/selinux", "default"), "debian", "bin_t"),
        (
            "suse",
            policy(release(Tarball::new(), suse), "usr/etc/selinux", "targeted"),
            "opensuse-tumbleweed",
            "bin_t",
        ),
        ("fedora", policy(link(variant), "etc/selinux", "targeted"), "fedora", "bin_t"),
        ("other", policy(link(elsewhere), "etc/selinux", "minimum"), "other", "bin_t"),
        ("none", debian, "debian", ""),
    ] {
        shop.push(name, &image(&[base.finish(), extension(b"tool")]));
        let selinux = if label.is_empty() { "--selinux=none" } else { "--selinux=image" };
        let (made, first) = shop.convert(name, &[&cache, selinux]);
        let (again, second) = shop.convert(name, &[&cache, selinux]);
        assert!(made == again && second < first, "{name}: {first}, then {second}");
        let dump = shop.work.run(["dump", "tool.raw"]).stdout;
        assert!(dump.contains(label), "{name}: {dump}");
        let explained = shop.work.run(["explain", "tool.raw"]).stdout;
        assert!(explained.contains(id), "{name}: {explained}");
    }
}

/// A directory that one layer replaced by a symlink, and another one made anew, with an entry of its
/// own or none: what it had before is gone.
#[test]
fn a_directory_made_anew_has_nothing_of_the_old_one() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let files = "etc/selinux/targeted/contexts/files";
    let local = format!("{files}/file_contexts.local");
    let lowest = Tarball::base().file(&local, b"/usr/bin/tool\tsystem_u:object_r:old_t:s0\n");
    let replaced = Tarball::new().symlink("etc/selinux/targeted", "elsewhere");
    let contexts = b"/.*\tsystem_u:object_r:new_t:s0\n";
    let anew = || Tarball::new().file(&format!("{files}/file_contexts"), contexts);
    let entry = Tarball::new().dir("etc").dir("etc/selinux").dir("etc/selinux/targeted");
    let with_entry = entry.file(&format!("{files}/file_contexts"), contexts);
    for (name, upper) in [("implied", anew()), ("entry", with_entry)] {
        let layers = [lowest.clone(), replaced.clone(), upper].map(Tarball::finish);
        shop.push(name, &image(&[&layers[..], &[extension(b"tool")]].concat()));
        shop.convert(name, &["--no-cache", "--layers=1"]);
        let dump = shop.work.run(["dump", "tool.raw"]).stdout;
        assert!(dump.contains("new_t") && !dump.contains("old_t"), "{name}: {dump}");
    }
}
