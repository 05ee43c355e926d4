//! A descriptor: media type, digest and size of some bytes that are elsewhere.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Digest, Error, Platform};
use crate::escape::Escaped;

/// What a document says of bytes that are elsewhere (OCI image-spec, descriptor).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "DescriptorDocument")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: MediaType,
    /// Their digest.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Other places to get them from; never used (CVE-2020-15157).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// For an entry of an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// How the bytes of a layer are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCompression {
    /// Not at all: a tar archive.
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

impl Descriptor {
    /// How this layer is compressed, by its media type.
    ///
    /// Refuses what is not a tar layer that the registry itself holds in the clear (row 41):
    /// unknown types, encrypted and foreign layers, and `urls`.
    pub fn layer_compression(&self) -> Result<LayerCompression, Error> {
        self.tar_layer().map_err(|problem| Error::Layer { digest: self.digest, problem })
    }

    /// The same, where the error says only what was found and what was expected.
    pub(crate) fn tar_layer(&self) -> Result<LayerCompression, String> {
        if !self.urls.is_empty() {
            return Err(format!(
                "found {} URLs of other places to get it from, expected none",
                self.urls.len()
            ));
        }
        match self.media_type.0.as_str() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Ok(LayerCompression::None),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(LayerCompression::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(LayerCompression::Zstd),
            other => {
                let kind = if other.contains("nondistributable") || other.contains("foreign") {
                    "a foreign layer"
                } else if other.contains("encrypted") {
                    "an encrypted layer"
                } else {
                    "a layer of unknown type"
                };
                Err(format!(
                    "found {kind} ({}), expected a tar layer, plain or with gzip or zstd",
                    self.media_type
                ))
            }
        }
    }
}

/// A media type, as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MediaType(pub String);

impl MediaType {
    /// An OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A docker manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// An OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

    /// Whether it is that of an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self.0.as_str(), Self::OCI_MANIFEST | Self::DOCKER_MANIFEST)
    }

    /// Whether it is that of an image index.
    pub fn is_index(&self) -> bool {
        matches!(self.0.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// Whether it is that of an image configuration.
    pub fn is_image_config(&self) -> bool {
        matches!(self.0.as_str(), Self::OCI_CONFIG | Self::DOCKER_CONFIG)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped(self.0.as_bytes()), f)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_media_type(&text) {
            Ok(Self(text))
        } else {
            let start: String = text.chars().take(80).collect();
            Err(D::Error::custom(format_args!(
                "found the media type {start:?}, expected TYPE/SUBTYPE of RFC 6838"
            )))
        }
    }
}

/// The grammar of RFC 6838, section 4.2; parameters may follow, as in cosign's older
/// `application/vnd.dev.sigstore.bundle+json;version=0.3`.
fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let name = |name: &str| {
        name.len() <= 127
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c))
    };
    essence.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype))
        && parameters.len() <= 127
        && parameters.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

/// A descriptor as written, with the fields that are checked but not kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorDocument {
    media_type: MediaType,
    digest: Digest,
    size: u64,
    urls: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
    platform: Option<Platform>,
    #[serde(rename = "artifactType")]
    _artifact_type: Option<MediaType>,
    data: Option<String>,
}

impl TryFrom<DescriptorDocument> for Descriptor {
    type Error = String;

    fn try_from(document: DescriptorDocument) -> Result<Self, String> {
        // Go's int64: more would be negative, or no number at all, to whoever signed it.
        if i64::try_from(document.size).is_err() {
            return Err(format!("found the size {}, expected less than 2^63", document.size));
        }
        let urls = document.urls.unwrap_or_default();
        if let Some(bad) = urls.iter().find(|text| url::Url::parse(text).is_err()) {
            let start: String = bad.chars().take(80).collect();
            return Err(format!("found {start:?} among the urls, expected a URL"));
        }
        if document.data.is_some_and(|data| BASE64_STANDARD.decode(data).is_err()) {
            return Err("found data that is not base64".to_owned());
        }
        Ok(Self {
            media_type: document.media_type,
            digest: document.digest,
            size: document.size,
            urls,
            annotations: document.annotations.unwrap_or_default(),
            platform: document.platform,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ExitCode, Fault};

    fn layer(media_type: &str) -> Descriptor {
        Descriptor {
            media_type: MediaType(media_type.to_owned()),
            digest: Digest::of(b""),
            size: 0,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    #[test]
    fn the_media_type_says_how_a_layer_is_compressed() {
        for (media_type, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", LayerCompression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", LayerCompression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", LayerCompression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", LayerCompression::Gzip),
        ] {
            assert_eq!(layer(media_type).layer_compression().unwrap(), compression);
        }
    }

    /// Row 41.
    #[test]
    fn layers_that_are_elsewhere_encrypted_or_unknown_are_refused() {
        for media_type in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.oci.image.layer.v1.tar+bzip2",
            "application/vnd.example.data+type",
        ] {
            let error = layer(media_type).layer_compression().unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Malformed, "{media_type}");
        }
        let mut elsewhere = layer("application/vnd.oci.image.layer.v1.tar");
        elsewhere.urls.push("https://example.com/layer".to_owned());
        assert_eq!(elsewhere.layer_compression().unwrap_err().exit_code(), ExitCode::Malformed);
    }
}
