//! Image documents: manifest, index, configuration.
//!
//! - What is accepted is a manifest or an index but not both, and the reader for the one kind
//!   accepts it and the reader for the other does not.
//! - `serde_json` alone, which takes the last of two equal keys, sees the same digests, sizes and
//!   media types.
//! - A media type that comes with it may only make it be refused, never mean something else.

use oci2sysext::oci::{Descriptor, Document, ImageConfig, ImageIndex, ImageManifest, RawManifest};
use serde_json::Value;

pub fn run(data: &[u8]) {
    let raw = RawManifest::new(data.to_vec(), None);
    let document = Document::parse(&raw);
    for media_type in
        ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json; x"]
    {
        let raw = RawManifest::new(data.to_vec(), Some(media_type.to_owned()));
        if let Ok(typed) = Document::parse(&raw) {
            assert_eq!(Some(&typed), document.as_ref().ok());
        }
    }
    if let Ok(document) = document {
        let value: Value = serde_json::from_slice(data).unwrap();
        assert_eq!(value["schemaVersion"], 2);
        assert_eq!(ImageManifest::parse(&raw).is_ok(), matches!(document, Document::Manifest(_)));
        assert_eq!(ImageIndex::parse(&raw).is_ok(), matches!(document, Document::Index(_)));
        match document {
            Document::Manifest(manifest) => {
                assert!(value.get("manifests").is_none());
                same(&manifest.config, &value["config"]);
                same_all(&manifest.layers, &value["layers"]);
            }
            Document::Index(index) => {
                assert!(value.get("layers").is_none() && value.get("config").is_none());
                same_all(&index.manifests, &value["manifests"]);
            }
        }
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let value: Value = serde_json::from_slice(data).unwrap();
        let ids: Vec<_> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
        assert_eq!(value["rootfs"]["diff_ids"], Value::from(ids));
    }
}

fn same(descriptor: &Descriptor, value: &Value) {
    assert_eq!(value["digest"], descriptor.digest.to_string());
    assert_eq!(value["size"], descriptor.size);
    assert_eq!(value["mediaType"], descriptor.media_type.0);
}

fn same_all(descriptors: &[Descriptor], values: &Value) {
    let values = values.as_array().unwrap();
    assert_eq!(values.len(), descriptors.len());
    descriptors.iter().zip(values).for_each(|(descriptor, value)| same(descriptor, value));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::testdata::files("sample/layout", "");
    seeds.extend(super::testdata::files("reject/documents", ".json"));
    seeds.retain(|seed| seed.starts_with(b"{") && seed.len() < 8192);
    seeds
}
