//! Spools and layouts whose parts are larger than they may be.

use std::fs;
use std::io::Read;
use std::path::Path;

use oci2sysext::error::{Error, ExitCode};
use oci2sysext::limits::Limits;
use oci2sysext::oci::{self, Digest, ImageIndex, SourceOptions, Spool};
use oci2sysext::verify::{self, LayerDescriptor, Unverified, Verified};

use crate::common::{shared, tools};
use crate::{copy_tree, raw_index, read};

/// Rows 39 and 82, where the bytes arrive one after the other.
#[test]
fn a_spool_takes_what_fits_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = b"the bytes of a layer".as_slice();
    let layer = |size| verified_layer(Digest::of(bytes), size);
    let length = u64::try_from(bytes.len()).unwrap();
    let limits = Limits::default();
    let spool = |size| Spool::create(folder.path(), &layer(size), &limits);

    let mut good = spool(length).unwrap();
    for byte in bytes {
        good.write(&[*byte]).unwrap();
    }
    assert_eq!(good.length(), length);
    let blob = good.finish().unwrap();
    assert_eq!(blob.origin, verify::Origin::Spool);
    let mut back = Vec::new();
    (&blob.file).read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);

    let code = |error: oci::Error| Error::from(error).fault().exit_code();
    assert_eq!(code(spool(length - 1).unwrap().write(bytes).unwrap_err()), ExitCode::Integrity);
    let mut short = spool(length + 1).unwrap();
    short.write(bytes).unwrap();
    assert_eq!(code(short.finish().unwrap_err()), ExitCode::Integrity);
    let mut other = spool(length).unwrap();
    other.write(&[0; 20]).unwrap();
    assert_eq!(code(other.finish().unwrap_err()), ExitCode::Integrity);

    assert_eq!(code(spool(limits.layer_size + 1).unwrap_err()), ExitCode::Limit);
    let limits = Limits { layer_size: u64::MAX, ..limits };
    let error = Spool::create(folder.path(), &layer(999 << 40), &limits).unwrap_err();
    assert_eq!(code(error), ExitCode::Io);
    let missing = Spool::create(&folder.path().join("missing"), &layer(1), &limits).unwrap_err();
    assert_eq!(code(missing), ExitCode::Io);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The layer of a made-up image, through the doors that every layer takes.
fn verified_layer(digest: Digest, size: u64) -> Verified<LayerDescriptor> {
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size,
        }],
    });
    let manifest = manifest.to_string();
    let trusted = Unverified::skip_signature(Digest::of(manifest.as_bytes()));
    let manifest = trusted.image_manifest(manifest.as_bytes()).unwrap();
    let config = verify::config(&manifest, &config).unwrap();
    verify::layers(&manifest, &config).unwrap().remove(0)
}

/// A layout whose parts are larger than their limits, and a fifo in place of a blob.
#[test]
fn a_layout_is_bounded() {
    let original = shared!("images/mc-layout");
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    copy_tree(&original, &layout);
    let reference = format!("oci:{}:base", layout.display());
    let code = |limits: Limits| {
        let spool = folder.path().to_owned();
        let read =
            read(&reference, None, &SourceOptions { limits, spool, ..SourceOptions::default() });
        read.map(|_| ()).unwrap_err().fault().exit_code()
    };
    let limits = Limits::default;
    assert_eq!(code(Limits { manifest_size: 100, ..limits() }), ExitCode::Limit);
    assert_eq!(code(Limits { manifest_size: 347, ..limits() }), ExitCode::Limit);
    assert_eq!(code(Limits { config_size: 200, ..limits() }), ExitCode::Limit);
    assert_eq!(code(Limits { layer_size: 865_766, ..limits() }), ExitCode::Limit);

    let index = ImageIndex::parse(&raw_index(&layout)).unwrap();
    let manifest = layout.join("blobs/sha256").join(index.manifests[0].digest.hex());
    fs::remove_file(&manifest).unwrap();
    tools::run(Path::new("mkfifo"), [manifest.to_str().unwrap()]);
    assert_eq!(code(limits()), ExitCode::Malformed);
}
