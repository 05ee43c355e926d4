//! References, documents and local sources, with judges from outside: the OCI image-spec's own
//! examples, skopeo, umoci, oras and cosign, containers/image's fixtures, and the bad images of
//! testdata/reject/documents.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use oci2sysext::error::Error;
use oci2sysext::json;
use oci2sysext::oci::{
    self, Descriptor, Digest, ImageConfig, Platform, RawManifest, Reference, Source, SourceOptions,
};
use oci2sysext::verify::{self, Candidate, Unverified};

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod copies;
mod rejects;
mod signatures;

const AMD64: &str = "linux/amd64";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// An image, read to the last byte of its last layer.
struct Image {
    resolved: oci::Resolved,
    config: ImageConfig,
    layers: Vec<Vec<u8>>,
    candidates: Vec<Candidate>,
}

/// Goes through all doors of a source, as a conversion does.
fn read(reference: &str, platform: Option<&str>, options: &SourceOptions) -> Result<Image, Error> {
    let asked = platform.map(str::parse::<Platform>).transpose()?;
    let mut source = Source::open(&reference.parse::<Reference>()?, options)?;
    let resolved = source.resolve(asked.as_ref().unwrap_or(&AMD64.parse().unwrap()))?;
    let digest = resolved.manifest.digest;
    let candidates = source.signatures(&digest)?;
    let manifest = Unverified::skip_signature(digest).image_manifest(&resolved.manifest.bytes)?;
    let config = verify::config(&manifest, &source.config(&manifest.config)?)?;
    resolved.check_platform(&config, asked.as_ref())?;
    let layers = verify::layers(&manifest, &config)?
        .iter()
        .map(|layer| {
            let mut seen = 0;
            let blob = source.layer(layer, &mut |bytes| seen = bytes)?;
            assert_eq!(seen, layer.descriptor.size);
            let mut bytes = Vec::new();
            (&blob.file).read_to_end(&mut bytes).unwrap();
            bytes.truncate(usize::try_from(layer.descriptor.size).unwrap());
            Ok(bytes)
        })
        .collect::<Result<_, Error>>()?;
    Ok(Image { resolved, config: config.clone(), layers, candidates })
}

fn read_all(reference: &str, platform: Option<&str>) -> Result<Image, Error> {
    let spool = tempfile::tempdir().unwrap();
    let options = SourceOptions { spool: spool.path().to_owned(), ..SourceOptions::default() };
    let image = read(reference, platform, &options);
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0, "{reference} left something behind");
    image
}

fn payloads(candidates: &[Candidate]) -> Vec<(&[u8], &BTreeMap<String, String>)> {
    candidates
        .iter()
        .filter_map(|candidate| match candidate {
            Candidate::Payload { payload, annotations, .. } => {
                Some((payload.as_slice(), annotations))
            }
            Candidate::Bundle { .. } | Candidate::Unusable { .. } => None,
        })
        .collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            let mut file = File::create(&target).unwrap();
            std::io::copy(&mut File::open(entry.path()).unwrap(), &mut file).unwrap();
        }
    }
}

fn raw_index(layout: &Path) -> RawManifest {
    RawManifest::new(fs::read(layout.join("index.json")).unwrap(), None)
}

fn write_index(layout: &Path, entries: &[Descriptor]) {
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

fn add_blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    let text = serde_json::json!({
        "mediaType": media_type, "digest": digest, "size": bytes.len(),
    });
    json::parse(text.to_string().as_bytes(), json::DEEPEST).unwrap()
}
