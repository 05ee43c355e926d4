//! What a run did: from which bytes, on whose word, and every path that was changed on the way.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::escape::Escaped;
use crate::oci::Digest;

/// A conversion, as `--json` and `--report` print it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The program and its version.
    pub tool: &'static str,
    /// The image that was asked for.
    pub source: Source,
    /// On whose word.
    pub signature: Signature,
    /// The layer that became the extension.
    pub layer: Layer,
    /// What the extension was fitted to.
    pub base: Base,
    /// The extension.
    pub extension: Extension,
    /// The file that was written.
    pub image: Image,
    /// What was done to the layer's paths, and what the user should know.
    #[serde(flatten)]
    pub changes: Changes,
}

/// The image that was asked for.
#[derive(Debug, Serialize)]
pub struct Source {
    /// The reference, as the user means it.
    pub reference: String,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The digest of the index that the manifest was selected from.
    pub index: Option<Digest>,
    /// What the image runs on.
    pub platform: String,
    /// When the image was built, as its configuration says.
    pub created: Option<String>,
}

/// On whose word an image was converted.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Signature {
    /// Somebody who is trusted has signed it.
    Verified {
        /// The key's name: its file, or where else it is from.
        key: String,
        /// The sha256 of the key.
        fingerprint: String,
        /// Where the key is from.
        trust: String,
        /// What was signed: the manifest or the index.
        signed: &'static str,
        /// The name that was signed.
        identity: String,
        /// Whether that name was compared with the one asked for.
        identity_compared: bool,
    },
    /// Nobody was asked (`--insecure-skip-signature`).
    Skipped,
}

/// The layer that became the extension.
#[derive(Debug, Serialize)]
pub struct Layer {
    /// Its place in the image, 0 the lowest.
    pub index: usize,
    /// How many layers the image has.
    pub of: usize,
    /// The digest of its stored bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The digest of its uncompressed bytes.
    pub diff_id: Digest,
}

/// What the extension was fitted to.
#[derive(Debug, Serialize)]
pub struct Base {
    /// `ID` of the base's os-release.
    pub id: Option<String>,
    /// `VERSION_ID` of the base's os-release.
    pub version_id: Option<String>,
    /// Where the labels are from, such as `image (targeted)`.
    pub selinux: String,
}

/// The extension.
#[derive(Debug, Serialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The path of its release file.
    pub release_file: String,
    /// What the release file says.
    pub release: String,
    /// Regular files, hard links counted once.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Bytes of all regular files.
    pub bytes: u64,
}

/// The file that was written.
#[derive(Debug, Serialize)]
pub struct Image {
    /// Its path.
    #[serde(serialize_with = "escaped_path")]
    pub path: PathBuf,
    /// `erofs` or `composefs`.
    pub format: &'static str,
    /// Its length in bytes.
    pub size: u64,
    /// The sha256 of its bytes.
    pub sha256: Digest,
    /// The fs-verity digest of a composefs image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verity: Option<String>,
    /// The object store of a composefs image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Objects>,
}

/// The object store of a composefs image.
#[derive(Debug, Serialize)]
pub struct Objects {
    /// Its path.
    #[serde(serialize_with = "escaped_path")]
    pub path: PathBuf,
    /// Whether its file system checks the objects (fs-verity).
    pub verity: bool,
}

/// What the transforms did to a tree, in the order they did it.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// The changed paths.
    pub changes: Vec<Change>,
    /// What the user should know, though nothing was changed.
    pub warnings: Vec<Warning>,
}

/// One path that is not in the image as it was in the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path in the layer.
    #[serde(serialize_with = "escaped")]
    pub path: Vec<u8>,
    /// What was done.
    #[serde(flatten)]
    pub action: Action,
    /// The rule, such as `R20`.
    pub rule: &'static str,
    /// Why, in words.
    pub reason: String,
}

/// What was done to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// It is not in the image.
    Dropped,
    /// It is in the image under another path.
    Moved {
        /// The path in the image.
        #[serde(serialize_with = "escaped")]
        to: Vec<u8>,
    },
    /// Its metadata or contents are others.
    Changed,
    /// It is in the image, but not in the layer.
    Added,
    /// It is in the image as in the layer; somebody may want to know (set-uid bits and the like).
    Kept,
}

/// What the user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The rule, such as `R22`.
    pub rule: &'static str,
    /// What was found, in words.
    pub message: String,
}

impl Changes {
    /// Notes a change.
    pub fn note(
        &mut self,
        path: &[u8],
        action: Action,
        rule: &'static str,
        reason: impl Into<String>,
    ) {
        self.changes.push(Change { path: path.to_vec(), action, rule, reason: reason.into() });
    }

    /// Notes a warning.
    pub fn warn(&mut self, rule: &'static str, message: impl Into<String>) {
        self.warnings.push(Warning { rule, message: message.into() });
    }
}

fn escaped_path<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    use std::os::unix::ffi::OsStrExt;
    serializer.collect_str(&Escaped(path.as_os_str().as_bytes()))
}

fn escaped<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(path))
}
