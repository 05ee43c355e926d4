//! Why something is not verified, and what that means to the caller.

use jiff::Timestamp;

use super::image::exit_code;
use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::oci::Digest;

/// Why something is not verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody signed the image (row 1).
    #[error("found no signature of {image}, expected at least one")]
    Unsigned {
        /// The image's manifest.
        image: Digest,
    },
    /// There are signatures, but no acceptable one (L8).
    #[error("no signature of {image} was accepted: {}", reasons(rejections))]
    NoSignatureAccepted {
        /// The image's manifest.
        image: Digest,
        /// What is wrong with each.
        rejections: Vec<Rejection>,
    },
    /// The signed index does not list the chosen manifest.
    #[error("manifest {instance} is not in the signed index {index}, expected it there")]
    NotInIndex {
        /// The chosen manifest.
        instance: Digest,
        /// The index.
        index: Digest,
    },
    /// Some bytes do not have the digest that a verified document gives.
    #[error("{what}: found digest {found}, expected {expected}")]
    DigestMismatch {
        /// Which bytes.
        what: &'static str,
        /// The digest of the bytes.
        found: Digest,
        /// The digest in the document.
        expected: Digest,
    },
    /// Some bytes are not as many as a verified document says.
    #[error("{what} {digest}: found {found} bytes, expected {expected}")]
    SizeMismatch {
        /// Which bytes.
        what: &'static str,
        /// Their digest in the document.
        digest: Digest,
        /// How many there are, counted up to one past `expected`.
        found: u64,
        /// How many the document says.
        expected: u64,
    },
    /// Manifest and configuration do not agree on the number of layers.
    #[error(
        "the image configuration has {found} diff_ids, expected one for each of {expected} layers"
    )]
    LayerCount {
        /// `diff_ids` in the configuration.
        found: usize,
        /// Layers in the manifest.
        expected: usize,
    },
    /// A verified document cannot be read.
    #[error("{what} {digest}: {}", short(problem))]
    Document {
        /// Which document.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// What was found, and what was expected.
        problem: String,
    },
}

/// A candidate that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", short(origin))]
pub struct Rejection {
    /// Where it was found.
    pub origin: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a candidate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Its source could not give it.
    #[error("{}", short(problem))]
    Unusable {
        /// What was found, and what was expected.
        problem: String,
        /// What it means to the caller.
        exit_code: ExitCode,
    },
    /// It carries no signature (L3).
    #[error("found no annotation dev.cosignproject.cosign/signature, expected the signature there")]
    NoSignature,
    /// Its signature is not base64 (row 12).
    #[error("the signature is not standard base64 with padding: {problem}")]
    Base64 {
        /// What was found.
        problem: String,
    },
    /// No configured key made it (rows 3, 6).
    #[error(
        "the signature is not by {}{}",
        if *keys == 1 { "the configured key".to_owned() } else { format!("any of the {keys} configured keys") },
        if *certificate { " (it comes with a certificate, which keys do not vouch for)" } else { "" }
    )]
    OtherKey {
        /// How many keys were tried.
        keys: usize,
        /// Whether there is a certificate, which is ignored (L9).
        certificate: bool,
    },
    /// A bundle is not what B3 allows.
    #[error("the bundle is malformed: {}", short(problem))]
    Bundle {
        /// What was found, and what was expected.
        problem: String,
    },
    /// It is by a certificate, and a key is configured (row 25).
    #[error("found a signature by certificate, expected one by the configured key")]
    NoKey,
    /// It is by a key, and a certificate is demanded.
    #[error("found a signature without a certificate, expected one by certificate")]
    NoCertificate,
    /// The certificate, or what says when it was used, does not hold (rows 27 to 29).
    #[error("the signature by certificate does not hold: {}", short(problem))]
    Certificate {
        /// What was found, and what was expected.
        problem: String,
    },
    /// No log has the signature, or has another one (rows 19 to 21).
    #[error("the transparency log does not vouch for it: {}", short(problem))]
    Transparency {
        /// What was found, and what was expected.
        problem: String,
    },
    /// It was signed later than now (row 90).
    #[error("signed at {signed}, but the clock of this machine says {now}")]
    Clock {
        /// When it was signed.
        signed: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// By certificate, but somebody else's (row 28).
    #[error(
        "signed, but by another identity: found {:?} by {:?}, expected {expected}",
        short(subject),
        short(issuer)
    )]
    OtherSigner {
        /// Whose certificate it is.
        subject: String,
        /// Who vouched for that.
        issuer: String,
        /// Whose it must be.
        expected: String,
    },
    /// A demanded name cannot be signed in a bundle.
    #[error("signed, but without a name, expected the one that --signed-identity demands")]
    Nameless,
    /// Signed is another file.
    #[error("found the digest of another file")]
    OtherFile,
    /// By a configured key, but the payload is not what L6 allows (rows 8 to 11).
    #[error("signed, but the payload is malformed: {}", short(problem))]
    Payload {
        /// What was found, and what was expected.
        problem: String,
    },
    /// By a configured key, for another image (row 4).
    #[error("signed, but for another image: found {found}")]
    OtherImage {
        /// The signed digest.
        found: Digest,
    },
    /// By a configured key and for this image, but under another name (row 5).
    #[error(
        "signed, but under another name: found {:?} ({}), expected {}",
        short(found),
        short(problem),
        short(expected)
    )]
    OtherName {
        /// The signed name.
        found: String,
        /// Why it does not do.
        problem: String,
        /// The repository it must be.
        expected: String,
    },
    /// By a configured key, for this image and name, but without a demanded annotation.
    #[error(
        "signed, but annotation {:?} is {}, expected {:?}",
        short(name),
        found.as_ref().map_or_else(|| "missing".to_owned(), |found| short(found).to_string()),
        short(expected)
    )]
    Annotation {
        /// The annotation's name.
        name: String,
        /// Its value, as JSON.
        found: Option<String>,
        /// The value it must have.
        expected: String,
    },
    /// It names another extension (row 37).
    #[error(
        "signed, but for the extension {:?} ({from}), expected {:?}",
        short(found),
        short(expected)
    )]
    OtherExtension {
        /// The signed name.
        found: String,
        /// What carries it.
        from: &'static str,
        /// The extension's name.
        expected: String,
    },
    /// It was made too long ago (`--max-age`).
    #[error("signed at {found}, expected no earlier than {earliest}")]
    TooOld {
        /// When it was made.
        found: Timestamp,
        /// What the user accepts.
        earliest: Timestamp,
    },
    /// Nobody says when it was made (`--max-age`).
    #[error("signed, but nobody says when, expected that a log or a timestamp does")]
    NoTime,
}

impl Reason {
    /// What it means to the caller, if no other candidate is good.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unusable { exit_code, .. } => *exit_code,
            Self::OtherName { .. }
            | Self::OtherSigner { .. }
            | Self::OtherExtension { .. }
            | Self::TooOld { .. }
            | Self::NoTime
            | Self::Nameless => ExitCode::Identity,
            _ => ExitCode::Signature,
        }
    }
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unsigned { .. } => ExitCode::Signature,
            Self::NoSignatureAccepted { rejections, .. } => exit_code(rejections),
            Self::NotInIndex { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::LayerCount { .. } => ExitCode::Integrity,
            Self::Document { .. } => ExitCode::Malformed,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => "verify.unsigned",
            Self::NoSignatureAccepted { rejections, .. } => match self.exit_code() {
                ExitCode::Identity
                    if has(rejections, |r| matches!(r, Reason::OtherSigner { .. })) =>
                {
                    "verify.signer"
                }
                ExitCode::Identity
                    if has(rejections, |r| matches!(r, Reason::OtherExtension { .. })) =>
                {
                    "verify.other-extension"
                }
                ExitCode::Identity if has(rejections, is_too_old) => "verify.too-old",
                ExitCode::Identity => "verify.signed-name",
                ExitCode::Signature => "verify.signature",
                _ => "verify.signature-unusable",
            },
            Self::NotInIndex { .. } => "verify.not-in-index",
            Self::DigestMismatch { .. } => "verify.digest-mismatch",
            Self::SizeMismatch { .. } => "verify.size-mismatch",
            Self::LayerCount { .. } => "verify.layer-count",
            Self::Document { .. } => "verify.document",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unsigned { .. } => {
                "ask the image's publisher to sign it; only if you know where it comes from, \
                 --insecure-skip-signature converts it all the same"
            }
            Self::NoSignatureAccepted { rejections, .. } => match self.exit_code() {
                ExitCode::Identity
                    if has(rejections, |r| matches!(r, Reason::OtherSigner { .. })) =>
                {
                    "check --certificate-identity and --certificate-oidc-issuer; if they are the \
                     publisher's, do not use the image"
                }
                ExitCode::Identity if has(rejections, |r| matches!(r, Reason::Nameless)) => {
                    "bundles name no repository: ask the publisher for a signature in cosign's \
                     older format, or demand no name"
                }
                ExitCode::Identity
                    if has(rejections, |r| matches!(r, Reason::OtherExtension { .. })) =>
                {
                    "a registry can serve another image under the tag: do not use it, unless you \
                     know that it is meant; then give it the name with --name, or keep yours with \
                     --rename"
                }
                ExitCode::Identity if has(rejections, is_too_old) => {
                    "ask the publisher for a new signature, in a transparency log or with a \
                     timestamp; or allow more: --max-age TIME"
                }
                ExitCode::Signature if has(rejections, |r| matches!(r, Reason::Clock { .. })) => {
                    "set the clock of this machine"
                }
                ExitCode::Identity => {
                    "if the image was copied or its repository moved, name the signed one: \
                     --signed-identity REPOSITORY, or signedIdentity in the policy"
                }
                ExitCode::Signature => {
                    "check that the configured key or identity is this image's publisher's; if it \
                     is, do not use the image"
                }
                ExitCode::Limit => {
                    "if you trust the publisher with more, raise the limit: --limit signatures=N, \
                     signature-size=N or bundle-size=N"
                }
                ExitCode::Auth => "log in to the registry, or give --authfile FILE",
                ExitCode::Io => "see that the image's files are readable",
                _ => "try again, or another registry",
            },
            Self::NotInIndex { .. } | Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                "the registry, or something between here and there, changed the bytes: \
                 do not use them; try again, or another registry"
            }
            Self::LayerCount { .. } | Self::Document { .. } => {
                "ask the image's publisher to build it anew"
            }
        }
        .to_owned()
    }
}

fn is_too_old(reason: &Reason) -> bool {
    matches!(reason, Reason::TooOld { .. } | Reason::NoTime)
}

fn has(rejections: &[Rejection], is: impl Fn(&Reason) -> bool) -> bool {
    rejections.iter().any(|rejection| is(&rejection.reason))
}

/// The reasons on one line; the error itself keeps all.
fn reasons(rejections: &[Rejection]) -> String {
    const SHOWN: usize = 8;
    let mut text = rejections.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>();
    if let Some(more) = rejections.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}

/// Text from outside on one line, and not more of it than somebody would read.
fn short(text: &str) -> Escaped<'_> {
    const SHOWN: usize = 300;
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_failed(reasons: &[Reason]) -> Error {
        let reject = |reason: &Reason| Rejection { origin: "x".to_owned(), reason: reason.clone() };
        Error::NoSignatureAccepted {
            image: Digest::of(b""),
            rejections: reasons.iter().map(reject).collect(),
        }
    }

    /// The most telling of the reasons is the error's name, and what to do is for that one.
    #[test]
    fn an_error_is_named_after_its_most_telling_reason() {
        let text = || "x".to_owned();
        let other_key = Reason::OtherKey { keys: 1, certificate: false };
        let signer = Reason::OtherSigner { subject: text(), issuer: text(), expected: text() };
        let extension = Reason::OtherExtension { found: text(), from: "x", expected: text() };
        let name = Reason::OtherName { found: text(), problem: text(), expected: text() };
        let moment = Timestamp::UNIX_EPOCH;
        let old = Reason::TooOld { found: moment, earliest: moment };
        let clock = Reason::Clock { signed: moment, now: moment };
        let unusable = |exit_code| Reason::Unusable { problem: text(), exit_code };
        for (reasons, id, advice) in [
            (vec![signer.clone()], "verify.signer", "--certificate-identity"),
            (vec![extension.clone()], "verify.other-extension", "--rename"),
            (vec![old.clone()], "verify.too-old", "--max-age"),
            (vec![Reason::NoTime], "verify.too-old", "--max-age"),
            (vec![name.clone()], "verify.signed-name", "--signed-identity"),
            (vec![Reason::Nameless], "verify.signed-name", "bundles name no repository"),
            (vec![other_key.clone()], "verify.signature", "this image's publisher's"),
            (vec![clock.clone()], "verify.signature", "clock"),
            (vec![unusable(ExitCode::Limit)], "verify.signature-unusable", "--limit"),
            (vec![unusable(ExitCode::Auth)], "verify.signature-unusable", "log in"),
            (vec![unusable(ExitCode::Io)], "verify.signature-unusable", "readable"),
            (vec![unusable(ExitCode::Network)], "verify.signature-unusable", "try again"),
            (vec![other_key.clone(), name.clone()], "verify.signed-name", "--signed-identity"),
            (vec![other_key.clone(), unusable(ExitCode::Limit)], "verify.signature-unusable", ""),
            (vec![name.clone(), signer], "verify.signer", ""),
            (vec![name.clone(), extension], "verify.other-extension", ""),
            (vec![other_key, name, old], "verify.too-old", ""),
        ] {
            let error = all_failed(&reasons);
            assert_eq!(error.id(), id, "{error}");
            assert!(error.advice().contains(advice), "{error}: {}", error.advice());
            assert_eq!(
                error.exit_code(),
                exit_code(match &error {
                    Error::NoSignatureAccepted { rejections, .. } => rejections,
                    _ => unreachable!(),
                })
            );
        }
        let digest = Digest::of(b"");
        for (error, id, code) in [
            (Error::Unsigned { image: digest }, "verify.unsigned", ExitCode::Signature),
            (
                Error::NotInIndex { instance: digest, index: digest },
                "verify.not-in-index",
                ExitCode::Integrity,
            ),
            (
                Error::DigestMismatch { what: "x", found: digest, expected: digest },
                "verify.digest-mismatch",
                ExitCode::Integrity,
            ),
            (
                Error::SizeMismatch { what: "x", digest, found: 1, expected: 2 },
                "verify.size-mismatch",
                ExitCode::Integrity,
            ),
            (
                Error::LayerCount { found: 1, expected: 2 },
                "verify.layer-count",
                ExitCode::Integrity,
            ),
            (
                Error::Document { what: "x", digest, problem: text() },
                "verify.document",
                ExitCode::Malformed,
            ),
        ] {
            assert_eq!((error.id(), error.exit_code()), (id, code));
            assert!(!error.advice().is_empty());
        }
    }

    #[test]
    fn many_reasons_are_one_line_that_somebody_would_read() {
        let many = |count| all_failed(&vec![Reason::NoKey; count]).to_string();
        assert!(!many(8).contains("more") && many(9).ends_with("; and 1 more"), "{}", many(9));
        let long = |text: &str| all_failed(&[Reason::Payload { problem: text.repeat(400) }]);
        assert_eq!(long("é").to_string().matches('é').count(), 300);
        assert!(!long("\n").to_string().contains('\n'));
    }

    proptest! {
        #[test]
        fn no_reason_is_long_or_of_several_lines(text in "(\\PC|[\\x00-\\x1f]){0,400}", count in 0..20_usize) {
            let reasons = [
                Reason::Bundle { problem: text.clone() },
                Reason::OtherSigner { subject: text.clone(), issuer: text.clone(), expected: "x".to_owned() },
                Reason::Annotation { name: text.clone(), found: Some(text.clone()), expected: text.clone() },
            ];
            for reason in reasons {
                let line = all_failed(&vec![reason; count]).to_string();
                prop_assert!(!line.contains(|c: char| c.is_control()));
                prop_assert!(line.chars().count() < 40_000);
            }
        }
    }
}
