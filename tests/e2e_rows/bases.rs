//! What a base must say of its hosts and labels: rows 69, 70, 95–98.

use crate::common::layout::{Image, Layout};
use crate::common::need;
use crate::common::tarball::{Tarball, gzip};
use crate::{expect, key};

const CONTEXTS: &str = "etc/selinux/targeted/contexts/files/file_contexts";
const CONFIG: &[u8] = b"SELINUXTYPE=targeted\n";

fn over(base: Vec<u8>) -> Image {
    let layer = Tarball::minimal().finish();
    Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)])
}

fn base(os_release: &str, contexts: &str) -> Vec<u8> {
    Tarball::new()
        .file("usr/lib/os-release", os_release.as_bytes())
        .file("etc/selinux/config", CONFIG)
        .file(CONTEXTS, contexts.as_bytes())
        .finish()
}

const EXAMPLE: &str = "ID=example\nVERSION_ID=1\n";
const USR: &str = "/.*\tsystem_u:object_r:usr_t:s0\n";

/// Rows 70 and 95: no policy, one that is none, and one that leaves a path without label.
#[test]
fn rows_70_and_95_labels() {
    let key = need!(key(), "no openssl");
    let signed = |image: &Image| Layout::signed(&key, image);
    let broken = over(base(EXAMPLE, "/usr/(\tsystem_u:object_r:usr_t:s0\n"));
    expect("70", "7 selinux.line", &signed(&broken), &key, &[]);
    let unlabelled = over(base(EXAMPLE, "/etc\tsystem_u:object_r:etc_t:s0\n"));
    expect("95", "7 sysext.no-label", &signed(&unlabelled), &key, &[]);
    let without = over(Tarball::new().file("usr/lib/os-release", EXAMPLE.as_bytes()).finish());
    let config = Tarball::new().file("usr/lib/os-release", EXAMPLE.as_bytes());
    let missing = over(config.file("etc/selinux/config", CONFIG).finish());
    for (image, id) in [(&without, "7 base.no-policy"), (&missing, "7 base.no-file-contexts")] {
        let outcome = expect("70", id, &signed(image), &key, &[]);
        assert!(outcome.stderr.contains("--selinux"), "{outcome:#?}");
    }
    for image in [&broken, &unlabelled, &without, &missing] {
        expect("70", "0", &signed(image), &key, &["--selinux", "none"]);
    }
}

/// Rows 96–98: a base that does not say which hosts it is for, or no base, or no extension.
#[test]
fn rows_96_to_98_hosts() {
    let key = need!(key(), "no openssl");
    let signed = |image: &Image| Layout::signed(&key, image);
    let rolling = signed(&over(base("ID=example\n", USR)));
    let outcome = expect("97", "0", &rolling, &key, &["--json"]);
    assert!(outcome.stderr.contains("warning"), "row 97 warns: {outcome:#?}");
    assert!(!outcome.stdout.contains("VERSION_ID="), "{outcome:#?}");

    let layer = Tarball::minimal().finish();
    let single = Image::of_blobs(&[(gzip(&layer), layer.clone())]);
    let unnamed = over(Tarball::new().dir("etc").finish());
    for image in [&unnamed, &single] {
        let outcome = expect("96", "7 base.no-policy", &signed(image), &key, &[]);
        for flag in ["--id", "--any-host", "--selinux"] {
            assert!(outcome.stderr.contains(flag), "{flag} in {outcome:#?}");
        }
        let unlabelled = ["--selinux", "none"];
        expect("96", "7 base.no-os-release", &signed(image), &key, &unlabelled);
        for flags in [&["--any-host"][..], &["--id=x", "--version-id=1"]] {
            let more = [flags, &unlabelled].concat();
            expect("96", "0", &signed(image), &key, &more);
        }
    }
    expect("98", "7 sysext.no-usr", &signed(&Image::new(&Tarball::new().finish())), &key, &[]);
    let mut none = Image::of_blobs(&[]);
    expect("98", "7 oci.document", &signed(&none), &key, &[]);
    none.manifest = serde_json::json!({ "schemaVersion": 2 });
    expect("98", "7 oci.document", &signed(&none), &key, &[]);
}

/// Row 69: a release file in the layer that is for another name or another host.
#[test]
fn row_69_a_release_file_of_another_extension() {
    let key = need!(key(), "no openssl");
    for (name, text, id) in [
        ("image", "ID=example\nVERSION_ID=9\n", "sysext.release-mismatch"),
        ("image", "ID=example\nVERSION_ID=1\nARCHITECTURE=arm64\n", "sysext.release-mismatch"),
        ("other", EXAMPLE, "sysext.other-release"),
    ] {
        let layer = Tarball::minimal()
            .dir("usr/lib")
            .dir("usr/lib/extension-release.d")
            .file(&format!("usr/lib/extension-release.d/extension-release.{name}"), text.as_bytes())
            .finish();
        expect("69", &format!("5 {id}"), &Layout::signed(&key, &Image::new(&layer)), &key, &[]);
    }
}
