//! Manifests, indexes and configurations that do not say what they should: rows 33–36, 39–41.

use std::fs;

use serde_json::{Value, json};

use crate::common::faults::Reply;
use crate::common::hub::Hub;
use crate::common::layout::{Image, Layout, digest};
use crate::common::need;
use crate::common::sign::Key;
use crate::common::tarball::{Tarball, gzip};
use crate::{expect, expect_of, key};

/// How a test spoils an image.
type Edit<'a> = Box<dyn Fn(&mut Image) + 'a>;

fn minimal() -> Image {
    Image::new(&Tarball::minimal().finish())
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    *value.pointer_mut(pointer).expect("a member") = new;
}

fn insert(value: &mut Value, name: &str, new: Value) {
    value.as_object_mut().expect("an object").insert(name.to_owned(), new);
}

/// Rows 33, 34, 40, 41: manifests and configurations, in a layout and in a registry.
#[test]
fn rows_33_34_40_41_documents() {
    let key = need!(key(), "no openssl");
    let hex = "0123456789abcdef".repeat(4);
    let bad_digest = |text: String| -> (&str, &str, Edit) {
        ("33", "7 oci.document", Box::new(move |i| insert(i.layer(), "digest", json!(text))))
    };
    let media_type = |text: &'static str| -> (&str, &str, Edit) {
        ("41", "7 oci.layer", Box::new(move |i| insert(i.layer(), "mediaType", json!(text))))
    };
    let cases: Vec<(&str, &str, Edit)> = vec![
        ("good", "0", Box::new(|_| {})),
        bad_digest("sha256:../../x".to_owned()),
        bad_digest(format!("sha256:{}", hex.to_uppercase())),
        bad_digest(format!("sha256:{}", &hex[1..])),
        bad_digest("md5:d41d8cd98f00b204e9800998ecf8427e".to_owned()),
        ("34", "7 oci.document", Box::new(|i| insert(&mut i.manifest, "manifests", json!([])))),
        (
            "40",
            "6 layer.diff-id",
            Box::new(|i| set(&mut i.config, "/rootfs/diff_ids/1", json!(digest(b"x")))),
        ),
        (
            "40",
            "6 verify.layer-count",
            Box::new(|i| set(&mut i.config, "/rootfs/diff_ids", json!([digest(b"x")]))),
        ),
        (
            "40",
            "6 verify.layer-count",
            Box::new(|i| set(&mut i.config, "/rootfs/diff_ids", json!([]))),
        ),
        (
            "41",
            "7 oci.layer",
            Box::new(|i| insert(i.layer(), "urls", json!(["http://169.254.169.254/"]))),
        ),
        media_type("application/vnd.oci.image.layer.v1.tar+zstd+encrypted"),
        media_type("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        media_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        media_type("application/vnd.oci.image.layer.v1.tar+bzip2"),
        media_type("text/plain"),
    ];
    for (row, want, edit) in cases {
        let mut image = minimal();
        edit(&mut image);
        let layout = Layout::signed(&key, &image);
        expect(row, want, &layout, &key, &[]);
        let hub = Hub::new(&layout);
        expect_of(row, want, &hub, &key, &[]);
        let layer = digest(&gzip(&Tarball::minimal().finish()));
        assert!(row != "41" || hub.asked_for(&layer) == 0, "the layer was fetched");
    }
}

/// A signed index of these entries.
fn index(key: &Key, entries: impl FnOnce(&Layout) -> Vec<Value>) -> Layout {
    let mut layout = Layout::new();
    let entries = entries(&layout);
    let digest = layout.add_index(&entries);
    layout.sign(key, &digest);
    layout
}

/// Row 35: an index in an index, none or two for the platform; row 36: it is for another.
#[test]
fn rows_35_and_36_indexes() {
    let key = need!(key(), "no openssl");
    let wanted = ["--platform", "linux/amd64"];
    let cases: Vec<(&str, &str, Layout)> = vec![
        (
            "good",
            "0",
            index(&key, |layout| {
                vec![layout.instance(&minimal(), "amd64"), layout.instance(&minimal(), "arm64")]
            }),
        ),
        (
            "35",
            "7 oci.no-platform",
            index(&key, |layout| {
                let mut nested = layout.instance(&minimal(), "amd64");
                insert(&mut nested, "mediaType", json!("application/vnd.oci.image.index.v1+json"));
                vec![nested]
            }),
        ),
        (
            "35",
            "7 oci.no-platform",
            index(&key, |layout| vec![layout.instance(&minimal(), "arm64")]),
        ),
        ("35", "7 oci.no-platform", index(&key, |_| vec![])),
        (
            "35",
            "7 oci.no-platform",
            index(&key, |layout| {
                let entry = layout.instance(&minimal(), "amd64");
                vec![entry.clone(), entry]
            }),
        ),
        (
            "36",
            "5 oci.platform-mismatch",
            index(&key, |layout| {
                let mut image = minimal();
                set(&mut image.config, "/architecture", json!("arm64"));
                vec![layout.instance(&image, "amd64")]
            }),
        ),
    ];
    for (row, want, layout) in cases {
        expect(row, want, &layout, &key, &wanted);
        expect_of(row, want, &Hub::new(&layout), &key, &wanted);
    }
}

/// Row 39: layers that are not what their descriptors say.
#[test]
fn row_39_changed_layers() {
    let key = need!(key(), "no openssl");
    let good = gzip(&Tarball::minimal().finish());
    let mut long = good.clone();
    long.push(0);
    let mut other = good.clone();
    if let Some(byte) = other.last_mut() {
        *byte ^= 1;
    }
    let short = good[..good.len() - 1].to_vec();
    for bytes in [short, long, other, Vec::new()] {
        let layout = Layout::signed(&key, &minimal());
        let (name, sent) = (digest(&good), bytes.clone());
        let hub = Hub::failing(&layout, move |request, _, reply| {
            if request.path.ends_with(&name) { Reply::ok(&*sent) } else { reply }
        });
        let id = if bytes.len() == good.len() { "digest" } else { "size" };
        expect_of("39", &format!("6 verify.{id}-mismatch"), &hub, &key, &[]);
        fs::write(layout.blob(&digest(&good)), bytes).unwrap();
        expect("39", &format!("6 verify.{id}-mismatch"), &layout, &key, &[]);
    }
    let layout = Layout::signed(&key, &minimal());
    let name = digest(&good);
    let hub = Hub::failing(&layout, move |request, _, reply| {
        if request.path.ends_with(&name) { Reply::error(404, "BLOB_UNKNOWN") } else { reply }
    });
    expect_of("39", "10 registry.absent", &hub, &key, &[]);
    fs::remove_file(layout.blob(&digest(&good))).unwrap();
    expect("39", "12 oci.missing", &layout, &key, &[]);
}
