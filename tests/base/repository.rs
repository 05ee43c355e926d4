//! The objects of repositories as the real `ostree` makes them, in every mode.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use oci2sysext::base::record::EntryKind;
use oci2sysext::base::repository::{Problem, Repository};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Digest;

use crate::common::faults::noise;
use crate::common::{need, tools};

fn digest(hex: &str) -> Digest {
    format!("sha256:{hex}").parse().unwrap()
}

/// What `ostree ls` says of each file: its checksum, mode, owner and target.
fn listed(ostree: &Path, repo: &str) -> BTreeMap<String, (Digest, u16, u32, u32, Option<String>)> {
    let listing = tools::run(ostree, [repo, "ls", "-R", "-C", "test"]);
    let files = listing.lines().filter(|line| !line.starts_with('d'));
    let files = files.map(|line| {
        let mut words = line.split_ascii_whitespace();
        let mode = u16::from_str_radix(&words.next().unwrap()[1..], 8).unwrap() & 0o7777;
        let [uid, gid] = [(); 2].map(|()| words.next().unwrap().parse().unwrap());
        let checksum = digest(words.nth(1).unwrap());
        let path = words.next().unwrap().to_owned();
        let target = words.nth(1).map(str::to_owned);
        (path, (checksum, mode, uid, gid, target))
    });
    files.collect()
}

fn setfattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Files of all sizes, modes and owners, with attributes of all lengths that offsets have; the
/// attributes and owners only where a mode has them.
fn tree(directory: &Path, plain: bool) {
    let is_root = rustix::process::geteuid().is_root();
    let file = |name: &str, contents: &[u8], mode: u32| {
        fs::write(directory.join(name), contents).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    file("empty", b"", 0o644);
    file("small", b"contents\n", 0o755);
    file("large", &noise(300_000), 0o644);
    symlink("../target", directory.join("link")).unwrap();
    symlink("x".repeat(1000), directory.join("long")).unwrap();
    if plain {
        return;
    }
    file("setuid", b"x", 0o4755);
    file("nobody", b"x", 0o600);
    if is_root {
        chown(directory.join("nobody"), Some(1234), Some(70_000)).unwrap();
        std::os::unix::fs::lchown(directory.join("link"), Some(5), Some(6)).unwrap();
        setfattr(&directory.join("link"), "trusted.link", b"of a link");
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        setfattr(&directory.join("small"), "security.capability", &capability);
        for name in ["small", "link", "empty"] {
            let label = b"system_u:object_r:bin_t:s0\0";
            setfattr(&directory.join(name), "security.selinux", label);
        }
    }
    for (name, length) in [("user.z", 0), ("user.a", 10), ("user.m", 300), ("user.b", 2000)] {
        setfattr(&directory.join("large"), name, &noise(length));
        setfattr(&directory.join("small"), name, b"same");
    }
    file("near", b"near", 0o644);
    // Around the lengths where an offset takes another byte.
    for length in 190..=235 {
        let name = format!("near{length}");
        file(&name, name.as_bytes(), 0o644);
        setfattr(&directory.join(name), "user.x", &vec![b'v'; length]);
    }
}

#[test]
fn objects_of_every_mode_have_the_checksums_that_ostree_gives_them() {
    let ostree = need!(tools::system("ostree"), "no ostree");
    let limits = Limits::default();
    for (mode, plain) in
        [("bare", false), ("bare-user", false), ("archive", false), ("bare-user-only", true)]
    {
        if mode == "bare" && !rustix::process::geteuid().is_root() {
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        let (source, path) = (place.path().join("tree"), place.path().join("repo"));
        fs::create_dir(&source).unwrap();
        tree(&source, plain);
        let repo = format!("--repo={}", path.display());
        tools::run(&ostree, [&repo, "init", &format!("--mode={mode}")]);
        let mut commit = Command::new(&ostree);
        commit.args([&repo, "commit", "--branch=test"]).arg(&source);
        if plain {
            commit.args(["--canonical-permissions", "--no-xattrs"]);
        }
        let commit = digest(tools::check(&mut commit).trim());
        tools::run(&ostree, [&repo, "fsck", "-q"]);
        let repository = Repository::open(&path).unwrap();
        assert!(!repository.metadata(commit, "commit", &limits).unwrap().is_empty());
        let listed = listed(&ostree, &repo);
        assert!(listed.len() >= 5, "{listed:?}");
        for (name, (checksum, mode_bits, uid, gid, target)) in &listed {
            let object = repository.file(*checksum, true, &limits);
            let object = object.unwrap_or_else(|problem| panic!("{mode} {name}: {problem}"));
            let stat = &object.stat;
            assert_eq!((stat.uid, stat.gid), (*uid, *gid), "{mode} {name}");
            match object.kind {
                EntryKind::Symlink(found) => {
                    assert_eq!(Some(String::from_utf8(found).unwrap()), *target);
                }
                EntryKind::Regular(file) => {
                    let expected = fs::read(source.join(&name[1..])).unwrap();
                    assert!(target.is_none() && file.contents.as_ref() == Some(&expected));
                    assert_eq!(stat.mode, *mode_bits, "{mode} {name}");
                    assert_eq!(file.size, expected.len() as u64);
                    assert_eq!(file.digest, Some(Digest::of(&expected)));
                }
                other => panic!("{mode} {name}: {other:?}"),
            }
        }
        let limits = Limits { symlink: 999, ..limits.clone() };
        let long = repository.file(listed["/long"].0, true, &limits).unwrap_err();
        assert!(matches!(long, Problem::Form("target")), "{mode}: {long}");
        broken(&repository, &path, &listed["/small"].0, mode);
    }
}

/// Another file, none, one that is no file: the problem is told, and nothing waits.
fn broken(repository: &Repository, path: &Path, checksum: &Digest, mode: &str) {
    let limits = Limits::default();
    let hex = checksum.hex();
    let suffix = if mode == "archive" { "filez" } else { "file" };
    let object = path.join("objects").join(&hex[..2]).join(format!("{}.{suffix}", &hex[2..]));
    let backup = path.join("backup");
    fs::rename(&object, &backup).unwrap();
    let problem = || repository.file(*checksum, true, &limits).unwrap_err();
    assert!(problem().is_absence());
    let copy = |change: &dyn Fn(&Path)| {
        tools::run(Path::new("/bin/cp"), [Path::new("-a"), &backup, &object]);
        change(&object);
        let problem = problem();
        fs::remove_file(&object).unwrap();
        problem
    };
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        // Neither cut nor made anew: attributes stay.
        let mut file = fs::File::options().write(true).open(path).unwrap();
        file.write_all(&bytes).unwrap();
    };
    let changed = copy(&flip);
    assert!(matches!(changed, Problem::Checksum { .. } | Problem::Io(_)), "{mode}: {changed}");
    // The others have the mode elsewhere.
    if mode.starts_with("bare") && mode != "bare-user" {
        let other = fs::Permissions::from_mode(0o711);
        let permissions = copy(&|path| fs::set_permissions(path, other.clone()).unwrap());
        assert!(matches!(permissions, Problem::Checksum { .. }));
    }
    fs::create_dir(&object).unwrap();
    assert!(matches!(problem(), Problem::Io(_) | Problem::Form(_) | Problem::Checksum { .. }));
    fs::remove_dir(&object).unwrap();
    tools::run(Path::new("/usr/bin/mkfifo"), [&object]);
    assert!(matches!(problem(), Problem::Io(_) | Problem::Form(_)), "{mode}");
    fs::remove_file(&object).unwrap();
    symlink(&backup, &object).unwrap();
    assert!(matches!(problem(), Problem::Io(_) | Problem::Form(_) | Problem::Checksum { .. }));
    fs::remove_file(&object).unwrap();
    fs::rename(&backup, &object).unwrap();
    assert!(repository.file(*checksum, true, &limits).is_ok());
}
