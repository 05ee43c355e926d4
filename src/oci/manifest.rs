//! The documents that describe an image: manifest, index, configuration.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Descriptor, Digest, MediaType, Platform};

/// An image manifest: the configuration and the layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2
    pub schema_version: u32,
    /// What this document says it is.
    pub media_type: Option<MediaType>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form notes.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// An image index: one manifest for each platform.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// 2
    pub schema_version: u32,
    /// What this document says it is.
    pub media_type: Option<MediaType>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Free-form notes.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// What we need of an image configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// What the image runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// When the image was built, RFC 3339.
    pub created: Option<String>,
    /// Labels and the like.
    #[serde(default)]
    pub config: Option<ContainerConfig>,
    /// The layers' contents.
    pub rootfs: RootFs,
}

/// What we need of the container configuration inside an image configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// Labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The layers' contents.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// The digest of each layer's uncompressed bytes, lowest first.
    pub diff_ids: Vec<Digest>,
}
