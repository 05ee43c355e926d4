//! What is wrong with a base.

use std::io;
use std::path::PathBuf;

use super::os_release::SyntaxError;
use super::record::Damage;
use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::oci::Digest;

/// What is wrong with a base.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base has no os-release, and nobody said which hosts the extension is for (row 96).
    #[error(
        "the base image has no os-release: found none in {layers} lower layers, expected etc/os-release or usr/lib/os-release"
    )]
    NoOsRelease {
        /// How many layers were read.
        layers: usize,
    },
    /// The image has no layers at all.
    #[error("the image has no layers, expected at least one")]
    NoLayers,
    /// The label that names the base's last layer is of another image (R28).
    #[error(
        "the image's label ostree.final-diffid is {label}, expected one of its {layers} layers: \
         {found} have that diff_id"
    )]
    Label {
        /// The label, escaped.
        label: String,
        /// How many layers have it.
        found: usize,
        /// How many layers there are.
        layers: usize,
    },
    /// The annotations that name the base do not say which image it is (R28).
    #[error("the image's annotations: {problem}")]
    Annotations {
        /// What was found, and what was expected.
        problem: String,
    },
    /// The annotations that name the base name no registry (rows 99, 100).
    #[error("the image's annotations: {problem}")]
    NoPlace {
        /// What was found, and what was expected.
        problem: String,
    },
    /// The documents of a base that somebody names cannot be had (row 99).
    #[error("the base image {}: {error}", Escaped(base.as_bytes()))]
    NotFetched {
        /// The base.
        base: String,
        /// Why.
        error: Box<crate::error::Error>,
    },
    /// The image is not built on the base that somebody names (row 99).
    #[error(
        "{} ({digest}) has {layers} layers, expected them to be the lowest of the image: {same} are",
        Escaped(base.as_bytes())
    )]
    NotTheBase {
        /// The base.
        base: String,
        /// Its digest.
        digest: Digest,
        /// How many layers it has.
        layers: usize,
        /// How many of them the image begins with.
        same: usize,
    },
    /// Nothing says where the base ends, and a guess is not wanted.
    #[error(
        "nothing says which of the image's {layers} layers are its base's, expected the label \
         ostree.final-diffid, or annotations that name the base"
    )]
    NothingSaid {
        /// How many layers there are.
        layers: usize,
    },
    /// The user wants more layers than there are.
    #[error("found --layers {wanted}, expected at most {found}: the image has no more")]
    FewerLayers {
        /// How many there are.
        found: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// All layers are the base's (row 98).
    #[error("all {layers} layers of the image are its base's ({by}), expected at least one above")]
    NothingAbove {
        /// How many layers there are.
        layers: usize,
        /// What says so.
        by: String,
    },
    /// The base's os-release does not say what system it is.
    #[error("the base image's os-release has no ID, expected one")]
    NoId,
    /// The base's os-release is not understood.
    #[error("{path} of the base image: {problem}")]
    OsRelease {
        /// The path by which it was found.
        path: String,
        /// What was found, and what was expected.
        problem: SyntaxError,
    },
    /// The image has no policy (rows 70, 96).
    #[error(
        "the image has no SELinux policy: found none in {layers} lower layers, expected etc/selinux/config"
    )]
    NoPolicy {
        /// How many layers were read.
        layers: usize,
    },
    /// The image's policy has no file contexts (row 70).
    #[error(
        "the image's SELinux policy {policy_type} has no file_contexts, expected etc/selinux/{policy_type}/contexts/files/file_contexts"
    )]
    NoFileContexts {
        /// `SELINUXTYPE`
        policy_type: String,
    },
    /// `SELINUXTYPE` is not a directory's name.
    #[error("found SELINUXTYPE=\"{found}\", expected the name of a policy")]
    PolicyType {
        /// The value, escaped.
        found: String,
    },
    /// A directory that the user named holds no policy.
    #[error(
        "{} holds no SELinux policy: expected config, or file_contexts",
        Escaped(path.as_os_str().as_encoded_bytes())
    )]
    NoPolicyDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a policy on this host cannot be read.
    #[error("{}: {error}", Escaped(path.as_os_str().as_encoded_bytes()))]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of the image cannot be read.
    #[error("{}: {error}", Escaped(path))]
    Read {
        /// The path.
        path: Vec<u8>,
        /// Why.
        error: io::Error,
    },
    /// A file that is read as text is too large.
    #[error("{} has {size} bytes, expected at most {maximum} (limit text-file)", Escaped(path))]
    TooLarge {
        /// The path.
        path: Vec<u8>,
        /// Its size, counted up to one past `maximum`.
        size: u64,
        /// The limit.
        maximum: u64,
    },
    /// All files that are read as text are too large together.
    #[error(
        "with {} the files of os-release, accounts and SELinux policies have {size} bytes, expected at most {maximum} (4 times the limit text-file)",
        Escaped(path)
    )]
    TooMuch {
        /// The file that was too much.
        path: Vec<u8>,
        /// The sum of their sizes.
        size: u64,
        /// The limit.
        maximum: u64,
    },
    /// An extension hides more of the base than is looked at.
    #[error(
        "with {} the extension hides more of the base than --audit-base compares: expected at most {maximum} {unit} (limit {limit})",
        Escaped(path)
    )]
    TooManyHidden {
        /// The path that was too much.
        path: Vec<u8>,
        /// The limit.
        maximum: u64,
        /// What it counts.
        unit: &'static str,
        /// The limit's name.
        limit: &'static str,
    },
    /// A listing of a layer, made by this run, cannot be written or read.
    #[error("a listing of a layer of the base image: {0}")]
    Listing(#[from] Damage),
    /// A layer's table of contents, whose digest is signed, says other contents of a file than the
    /// layer has.
    #[error(
        "{} of the base image has the digest {found}, expected {expected} as its layer's table of contents says",
        Escaped(path)
    )]
    Contents {
        /// The path.
        path: Vec<u8>,
        /// What the layer has.
        found: Digest,
        /// What the table says.
        expected: Digest,
    },
    /// A link of the extension makes a file part of the policy that was not kept for it.
    #[error("a link leads to {}, expected the policy in etc/selinux itself", Escaped(path))]
    Unreadable {
        /// The path.
        path: Vec<u8>,
    },
    /// Symlinks lead from one place that nobody could foresee to the next.
    #[error("too many symlinks lead to os-release, accounts or the SELinux policy, expected files")]
    TooManyLinks,
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoOsRelease { .. }
            | Self::NoLayers
            | Self::NoId
            | Self::OsRelease { .. }
            | Self::NoPolicy { .. }
            | Self::NoFileContexts { .. }
            | Self::PolicyType { .. }
            | Self::NoPolicyDirectory { .. }
            | Self::Unreadable { .. }
            | Self::NothingAbove { .. }
            | Self::TooManyLinks => ExitCode::Malformed,
            Self::Label { .. }
            | Self::Annotations { .. }
            | Self::NotTheBase { .. }
            | Self::NothingSaid { .. } => ExitCode::Identity,
            Self::NoPlace { .. } => ExitCode::Network,
            // Wherever the base is, the image says it, or the user, and it is not to be had.
            Self::NotFetched { error, .. } => match error.fault().exit_code() {
                ExitCode::Auth | ExitCode::Io => ExitCode::Network,
                other => other,
            },
            Self::FewerLayers { .. } => ExitCode::Usage,
            Self::ReadFile { .. } | Self::Read { .. } | Self::Listing(_) => ExitCode::Io,
            Self::TooLarge { .. } | Self::TooMuch { .. } | Self::TooManyHidden { .. } => {
                ExitCode::Limit
            }
            Self::Contents { .. } => ExitCode::Integrity,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NoOsRelease { .. } => "base.no-os-release",
            Self::NoLayers => "base.no-layers",
            Self::NoId => "base.no-id",
            Self::OsRelease { .. } => "base.os-release",
            Self::NoPolicy { .. } => "base.no-policy",
            Self::NoFileContexts { .. } => "base.no-file-contexts",
            Self::PolicyType { .. } => "base.policy-type",
            Self::NoPolicyDirectory { .. } => "base.no-policy-directory",
            Self::ReadFile { .. } => "base.read-file",
            Self::Read { .. } => "base.read",
            Self::TooLarge { .. } => "base.too-large",
            Self::TooMuch { .. } => "base.too-much",
            Self::TooManyHidden { .. } => "base.too-many-hidden",
            Self::Listing(_) => "base.listing",
            Self::Contents { .. } => "base.contents",
            Self::Unreadable { .. } => "base.unreadable",
            Self::TooManyLinks => "base.too-many-links",
            Self::Label { .. } => "base.label",
            Self::Annotations { .. } => "base.annotations",
            Self::NoPlace { .. } => "base.no-place",
            Self::NotFetched { .. } => "base.not-fetched",
            Self::NotTheBase { .. } => "base.not-the-base",
            Self::NothingSaid { .. } => "base.nothing-said",
            Self::FewerLayers { .. } => "base.fewer-layers",
            Self::NothingAbove { .. } => "base.nothing-above",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NotFetched { error, .. } => {
                let advice = error.fault().advice();
                return format!(
                    "say how many layers are the extension's, --layers N, or name a copy of the \
                     base, --base REFERENCE; else {advice}"
                );
            }
            Self::Label { .. } | Self::Annotations { .. } | Self::NotTheBase { .. } => {
                "ask the image's publisher; or say how many layers are the extension's, --layers N, \
                 or which base it has, --base REFERENCE"
            }
            Self::NoPlace { .. } | Self::NothingSaid { .. } => {
                "say how many layers are the extension's, --layers N, or which base it has, \
                 --base REFERENCE"
            }
            Self::FewerLayers { .. } | Self::NothingAbove { .. } => {
                "say how many layers are the extension's, --layers N"
            }
            Self::NoLayers => "ask the image's publisher for one with an extension in it",
            Self::NoOsRelease { .. } | Self::NoId | Self::OsRelease { .. } => {
                "say which hosts it is for: --id ID --version-id VERSION, or --any-host; \
                 without a policy in the image also --selinux host|DIR|none"
            }
            Self::NoPolicy { .. } => {
                "label with another policy, --selinux host|DIR, or not at all, --selinux none; \
                 without os-release in the image also --id ID --version-id VERSION, or --any-host"
            }
            Self::NoFileContexts { .. }
            | Self::PolicyType { .. }
            | Self::Unreadable { .. }
            | Self::TooManyLinks => {
                "label with another policy, --selinux host|DIR, or not at all, --selinux none"
            }
            Self::NoPolicyDirectory { .. } => "name another directory with --selinux DIR",
            Self::ReadFile { .. } | Self::Read { .. } => "make it readable, and run again",
            Self::Contents { .. } => "ask the image's publisher to build it anew",
            Self::Listing(_) => "make room where temporary files are ($TMPDIR, else /var/tmp)",
            Self::TooManyHidden { limit, .. } => {
                return format!("if it is what it should be, raise it with --limit {limit}=N");
            }
            Self::TooLarge { .. } | Self::TooMuch { .. } => {
                "if it is what it should be, raise it with --limit text-file=N"
            }
        }
        .to_owned()
    }
}
