//! The helpers of the end-to-end tests, held against outside tools: a helper that is wrong would
//! make the program look right.

mod common;

use std::process::Command;

use common::layout::{Image, Layout};
use common::mount::Mounted;
use common::reference::Reference;
use common::registry::{Options, Registry};
use common::sign::Signer;
use common::tarball::Tarball;
use common::{listing, need, not_run, tools};

/// Every signer's signature is one that cosign itself accepts, with that key and no other.
#[test]
fn cosign_accepts_what_each_signer_writes() {
    let cosign = need!(Signer::Cosign2.program(), "no cosign 2");
    need!(tools::newest("skopeo"), "no skopeo");
    let layout = tempfile::tempdir().unwrap();
    let source = common::sample_image(layout.path());
    let registry = need!(
        Registry::start(&Options { tls: true, basic: true, ..Options::default() }),
        "no docker-registry"
    );
    for signer in Signer::ALL {
        if signer.program().is_none() {
            common::data::say_not_run(&format!("no {signer:?}"));
            continue;
        }
        let key = signer.new_key().unwrap();
        let name = format!("test/{}:v1", format!("{signer:?}").to_lowercase());
        signer.push_signed(&registry, &key, &source, &name);
        let mut verify = Command::new(&cosign);
        verify.args(["verify", "--insecure-ignore-tlog=true", "--key"]).arg(key.public());
        verify.arg("--registry-cacert").arg(registry.cert_dir().join("ca.crt"));
        verify.args(["--registry-username", "tester", "--registry-password", "s3cret"]);
        tools::check(verify.arg(format!("{}/{name}", registry.address())));
    }
}

/// A layout that a test makes is one that cosign could have saved.
#[test]
fn cosign_accepts_a_layout_made_here() {
    let cosign = need!(Signer::Cosign2.program(), "no cosign 2");
    let key = need!(Signer::OpenSsl.new_key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    let mut verify = Command::new(&cosign);
    verify.args(["verify", "--insecure-ignore-tlog=true", "--local-image", "--key"]);
    tools::check(verify.arg(key.public()).arg(layout.reference().trim_start_matches("oci:")));
}

/// An archive that a test makes says to GNU tar what it should.
#[test]
fn gnu_tar_reads_an_archive_made_here() {
    let tar = Tarball::minimal()
        .hard_link("usr/bin/other", "usr/bin/tool")
        .pax_record("SCHILY.xattr.user.test", "1")
        .symlink("usr/bin/link", "tool")
        .finish();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.tar");
    std::fs::write(&file, tar).unwrap();
    let list = tools::shell("TZ=UTC tar --xattrs -tvvf \"$1\"", [&file]);
    let expected = "\
drwxr-xr-x  0/0               0 2023-11-14 22:13 usr
drwxr-xr-x  0/0               0 2023-11-14 22:13 usr/bin
-rwxr-xr-x  0/0              20 2023-11-14 22:13 usr/bin/tool
hrw-r--r--  0/0               0 2023-11-14 22:13 usr/bin/other link to usr/bin/tool
lrw-r--r--* 0/0               0 2023-11-14 22:13 usr/bin/link -> tool
  x: 1 user.test
";
    assert_eq!(list, expected);
}

/// The reference tree of the sample has what the rules say, and listings see all of it.
#[test]
fn the_reference_of_the_sample_is_right() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let mkfs = need!(tools::newest("mkfs.erofs"), "no mkfs.erofs");
    need!(tools::system("setfiles").and(tools::system("jq")), "no setfiles or jq");
    need!(tools::newest("skopeo"), "no skopeo");
    let layout = tempfile::tempdir().unwrap();
    let source = common::sample_image(layout.path());
    let reference = Reference::new(&source, "sample", "ID=example\n", &mkfs);
    let tree = listing::of(&reference.tree());
    let mounted = Mounted::erofs(&reference.image());
    let image = listing::of(&mounted.path());
    assert_eq!(listing::difference(&tree, &image), "", "- tree, + image");

    let label = |name: &str| format!("security.selinux=system_u:object_r:{name}_t:s0");
    for (path, facts) in [
        (".", vec!["40755 0:0", &label("root")]),
        ("usr/bin/sample", vec!["100755 0:0", "2 links of usr/bin/sample", &label("bin")]),
        ("usr/libexec/sample/sample", vec!["2 links of usr/bin/sample"]),
        ("usr/bin/sample-link", vec!["-> sample", &label("bin")]),
        ("usr/bin/sample-port", vec!["security.capability=", &label("bin")]),
        ("usr/bin/sample-su", vec!["104755 0:0", &label("su_exec")]),
        ("usr/etc", vec!["40755 0:0", &label("etc")]),
        ("usr/etc/sample/conf.d/10-secret.conf", vec!["100640 0:10", &label("etc")]),
        ("usr/etc/systemd/system", vec![&label("systemd_unit_file")]),
        ("usr/lib/systemd/system/sample.service", vec![&label("systemd_unit_file")]),
        ("usr/lib/extension-release.d/extension-release.sample", vec!["11 bytes", &label("lib")]),
        ("usr/share/sample/gr\\xc3\\xbc\\xc3\\x9fe", vec!["100644", &label("usr")]),
    ] {
        let line = image.get(path).unwrap_or_else(|| panic!("no {path} in {image:#?}"));
        for fact in facts {
            assert!(line.contains(fact), "{path}: expected {fact}, found {line}");
        }
    }
    for path in [
        "usr/share/applications/mimeinfo.cache",
        "usr/lib/sysimage/rpm",
        "usr/etc/hosts",
        "usr/etc/ld.so.cache",
        "usr/etc/systemd/system/multi-user.target.wants",
        "etc",
        "var",
    ] {
        assert!(!image.contains_key(path), "{path} is in the tree");
    }
}
