//! A manifest as it came: its bytes, and the digest of exactly those bytes (P2).

use super::Digest;

/// The bytes of a manifest or index, not parsed and not believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// The document.
    pub bytes: Vec<u8>,
    /// What the source says the document is, without parameters; a registry's `Content-Type`.
    pub media_type: Option<String>,
    /// The digest of `bytes`, computed here; nobody's word is taken for it.
    pub digest: Digest,
}

impl RawManifest {
    /// Takes the bytes, and computes their digest.
    pub fn new(bytes: Vec<u8>, media_type: Option<String>) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, media_type, digest }
    }
}
