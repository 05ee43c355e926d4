//! A platform: operating system, architecture and variant, by Go's names.

use serde::{Deserialize, Serialize};

/// What an image runs on (OCI image-spec, image index).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}
