//! A manifest or index as it came: the bytes, and what somebody says they are.

use super::Digest;

/// The bytes of a manifest or index, not parsed and not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type that came with them (Content-Type, or the descriptor's).
    pub media_type: Option<String>,
    /// The digest of the bytes.
    pub digest: Digest,
}

impl RawManifest {
    /// Takes bytes and computes their digest.
    pub fn new(bytes: Vec<u8>, media_type: Option<String>) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, media_type, digest }
    }
}
