//! Layers of a test, made into verified blobs through the doors that every layer takes.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{Read, Write};

use oci2sysext::layer::{ContentSink, SinkError};
use oci2sysext::oci::Digest;
use oci2sysext::verify::{self, Blob, BlobHasher, Origin, Unverified, Verified};

/// A layer that is to become a verified blob.
#[derive(Clone)]
pub struct Layer {
    pub stored: Vec<u8>,
    pub media_type: String,
    pub diff_id: Digest,
    pub annotations: Vec<(String, String)>,
    pub urls: Vec<String>,
    pub origin: Origin,
}

impl Layer {
    /// An uncompressed layer.
    pub fn tar(tar: &[u8]) -> Self {
        Self::new(tar.to_vec(), "tar", tar)
    }

    /// A layer compressed by gzip.
    pub fn gzip(tar: &[u8]) -> Self {
        Self::new(gzip(tar), "tar+gzip", tar)
    }

    /// A layer compressed by zstd.
    pub fn zstd(tar: &[u8]) -> Self {
        Self::new(zstd::encode_all(tar, 3).unwrap(), "tar+zstd", tar)
    }

    /// Stored bytes that claim to be compressed `tar`.
    pub fn new(stored: Vec<u8>, suffix: &str, tar: &[u8]) -> Self {
        Self {
            stored,
            media_type: format!("application/vnd.oci.image.layer.v1.{suffix}"),
            diff_id: Digest::of(tar),
            annotations: Vec::new(),
            urls: Vec::new(),
            origin: Origin::Spool,
        }
    }

    /// The verified blob, in an unnamed file.
    pub fn blob(&self) -> Verified<Blob> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.stored).unwrap();
        self.blob_in(file)
    }

    /// The verified blob, in a file that has the bytes.
    pub fn blob_in(&self, file: std::fs::File) -> Verified<Blob> {
        let config = serde_json::json!({
            "os": "linux", "architecture": "amd64", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [self.diff_id]},
        })
        .to_string();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(config.as_bytes()),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": self.media_type,
                "digest": Digest::of(&self.stored),
                "size": self.stored.len(),
                "urls": self.urls,
                "annotations": self.annotations.iter().cloned()
                    .collect::<std::collections::BTreeMap<_, _>>(),
            }],
        })
        .to_string();
        let proof = Unverified::skip_signature(Digest::of(manifest.as_bytes()));
        let manifest = proof.image_manifest(manifest.as_bytes()).unwrap();
        let config = verify::config(&manifest, config.as_bytes()).unwrap();
        let layers = verify::layers(&manifest, &config).unwrap();
        let mut hasher = BlobHasher::new(&layers[0]);
        hasher.update(&self.stored).unwrap();
        hasher.finish(file, self.origin).unwrap()
    }
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Keeps contents in memory, and remembers all that it was given.
#[derive(Debug, Default)]
pub struct MemorySink {
    pub stored: Vec<Vec<u8>>,
}

impl ContentSink for MemorySink {
    type Content = Vec<u8>;

    fn store(&mut self, size: u64, contents: &mut dyn Read) -> Result<Vec<u8>, SinkError> {
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes).map_err(SinkError::Read)?;
        assert_eq!(u64::try_from(bytes.len()).unwrap(), size);
        self.stored.push(bytes.clone());
        Ok(bytes)
    }
}
