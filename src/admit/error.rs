//! Why an image is not admitted though the source has it: what signatures do not say.

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::oci::Digest;
use crate::trust::{Downgrade, TrustOrigin};

/// Why an image is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy demands a signature, and nobody says that there are any to look at.
    #[error(
        "{origin} demands a signature, but registries.d does not say that those beside {} are to \
         be looked at",
        Escaped(reference.as_bytes())
    )]
    NotLookedAt {
        /// The image.
        reference: String,
        /// Where the policy is from.
        origin: TrustOrigin,
    },
    /// A decision without a requirement.
    #[error("found no requirement, expected at least one")]
    NoRequirement,
    /// Two requirements are satisfied by signatures of different digests.
    #[error("found signatures of {} and {}, expected all of one digest", digests[0], digests[1])]
    DifferentDigests {
        /// Two of them.
        digests: [Digest; 2],
    },
    /// A policy wants the image itself signed; a signature of its index does not count (P5).
    #[error(
        "found no signature of {image}, which {origin} demands besides any of its index {index}"
    )]
    UnsignedInstance {
        /// The image.
        image: Digest,
        /// The index that it was selected from.
        index: Digest,
        /// Where the policy is from.
        origin: TrustOrigin,
    },
    /// The image carries another name than the extension is to have (row 37).
    #[error(
        "the image calls itself {:?} (label org.opencontainers.image.title), expected {:?}",
        Escaped(found.as_bytes()).to_string(),
        Escaped(expected.as_bytes()).to_string()
    )]
    OtherName {
        /// The name in its configuration.
        found: String,
        /// The extension's name.
        expected: String,
    },
    /// The image carries no name, and it must (`--require-name`).
    #[error(
        "the image carries no name, expected {}: the tag is not signed",
        expected.as_ref().map_or("one".to_owned(), |name| Escaped(name.as_bytes()).to_string())
    )]
    NoName {
        /// The extension's name, where the user gave one.
        expected: Option<String>,
    },
    /// The image, its index or one of its layers is revoked (`--deny-digests`).
    #[error("the {what} {digest} is in the list of --deny-digests, expected none that is")]
    Revoked {
        /// `manifest`, `index`, `image configuration` or `layer`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// The image is older than the newest one that was accepted under its tag (row 38).
    #[error(
        "the image was built at {}, expected none older than {} ({})",
        downgrade.found,
        downgrade.newest,
        downgrade.digest
    )]
    Downgrade {
        /// What was found, and what was accepted before.
        downgrade: Downgrade,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotLookedAt { .. } | Self::UnsignedInstance { .. } => ExitCode::Signature,
            Self::NoRequirement => ExitCode::Trust,
            _ => ExitCode::Identity,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NotLookedAt { .. } => "admit.not-looked-at",
            Self::UnsignedInstance { .. } => "admit.unsigned-instance",
            Self::NoRequirement => "admit.no-requirement",
            Self::DifferentDigests { .. } => "admit.different-digests",
            Self::OtherName { .. } => "admit.other-name",
            Self::NoName { .. } => "admit.no-name",
            Self::Revoked { .. } => "admit.revoked",
            Self::Downgrade { .. } => "admit.downgrade",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NotLookedAt { .. } => {
                "add a file to /etc/containers/registries.d with use-sigstore-attachments: true \
                 for the registry (containers-registries.d(5))"
            }
            Self::UnsignedInstance { .. } => {
                "ask the publisher to sign the images, too, not only the index: cosign sign --recursive"
            }
            Self::NoRequirement => "give the publisher's key with --key FILE",
            Self::DifferentDigests { .. } => {
                "ask the publishers to sign the same: all of them the index, or all the image"
            }
            Self::OtherName { .. } => {
                "a registry can serve another image under the tag: do not use it, unless you know \
                 that it is meant; then give it the name with --name, or keep yours with --rename \
                 (a label may come from the base image)"
            }
            Self::NoName { .. } => {
                "ask the publisher to sign the name: cosign sign -a name=NAME; or name the image \
                 by its digest, and leave --require-name away"
            }
            Self::Revoked { .. } => "do not use it; choose another version of the image",
            Self::Downgrade { .. } => {
                "if the publisher went back to it on purpose: --allow-downgrade; else somebody \
                 serves you an old image"
            }
        }
        .to_owned()
    }
}
