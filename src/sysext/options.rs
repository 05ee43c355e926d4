//! What the user says about an extension: its name, its hosts, and what may be in it.

use std::fmt;

use super::{Labeller, Repairs};
use crate::limits::Limits;
use crate::oci::Platform;
use crate::selinux::PolicyFiles;
use crate::tree::Timestamp;

/// How a layer is turned into an extension.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct SysextOptions<'a> {
    /// The extension's name (R1).
    pub name: String,
    /// The name by which systemd will look for the release file: that of the image without its
    /// suffix, as [`super::image_name`] tells; none where the image has no such file.
    pub image_name: Option<String>,
    /// Whether a release file of another name gets the extension's (`--rename`, row 37).
    pub rename: bool,
    /// What the image runs on, by its configuration.
    pub platform: Platform,
    /// The time of directories and files that the layer does not have; [`super::created`].
    pub created: Timestamp,
    /// The latest time that anything may have, in seconds since 1970 (`--mtime`).
    pub latest: Option<i64>,
    /// What tells the layers' contents from others': the digest that [`crate::layer::chain_id`]
    /// gives, of one layer its diff ID.
    pub layer: String,
    /// `--id`
    pub id: Option<String>,
    /// `--version-id`
    pub version_id: Option<String>,
    /// `--sysext-level`
    pub sysext_level: Option<String>,
    /// `--any-host`
    pub any_host: bool,
    /// `--keep-caches` (R19)
    pub keep_caches: bool,
    /// `--whiteouts` (row 59a)
    pub whiteouts: Whiteouts,
    /// What the extension is refused for (`--deny`).
    pub deny: Deny,
    /// What is added so that the extension works on the host (`--repairs`).
    pub repairs: Repairs,
    /// `--enable` (R22)
    pub enable: Vec<String>,
    /// `--no-enable` (R22)
    pub no_enable: Vec<String>,
    /// Whether the image's signature was not checked (`--insecure-skip-signature`).
    pub unverified: bool,
    /// How much of a file is read.
    pub limits: Limits,
    /// Says how files are labelled; none with `--selinux none`.
    pub labeller: Option<&'a Labeller<'a>>,
    /// What the layer makes of the policy that the labels are from, if it changes it (R34).
    pub policy_change: Option<PolicyChange<'a>>,
}

/// What an extension is refused for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    /// Set-user-ID and set-group-ID bits and file capabilities (row 61).
    pub setuid: bool,
    /// File capabilities.
    pub capabilities: bool,
    /// Files and links that hide others of the base (row 66).
    pub shadow: bool,
}

/// A policy, without and with what the layer brings.
#[derive(Clone, Copy, Debug)]
pub struct PolicyChange<'a> {
    /// What a host has that has not loaded the layer's modules.
    pub before: &'a PolicyFiles,
    /// What gives the labels.
    pub after: &'a PolicyFiles,
}

impl SysextOptions<'_> {
    /// For an image of the extension's name: nothing is added, kept or demanded that nobody asked
    /// for, and nothing is labelled.
    pub fn plain(name: &str, platform: Platform, created: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            image_name: Some(name.to_owned()),
            rename: false,
            platform,
            created,
            latest: None,
            layer: String::new(),
            id: None,
            version_id: None,
            sysext_level: None,
            any_host: false,
            keep_caches: false,
            whiteouts: Whiteouts::default(),
            deny: Deny::default(),
            repairs: Repairs::none(),
            enable: Vec::new(),
            no_enable: Vec::new(),
            unverified: false,
            limits: Limits::default(),
            labeller: None,
            policy_change: None,
        }
    }
}

impl fmt::Debug for SysextOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SysextOptions")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .field("labels", &self.labeller.is_some())
            .finish_non_exhaustive()
    }
}

/// What becomes of what a layer deletes from the layers below it (row 59a).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// It is dropped and reported: the base's files stay visible.
    #[default]
    Drop,
    /// It becomes overlay whiteouts, which hide files of the host (R14).
    Keep,
    /// The run ends.
    Refuse,
}
