//! Which image is wanted, on whose word, and what else is demanded of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Error, name_of};
use crate::cli::{SourceArgs, TrustArgs, VerifyArgs};
use crate::limits::Limits;
use crate::oci::{Platform, Reference, RegistryOptions, RetryPolicy, SourceOptions};
use crate::trust::{SignerOptions, Words};
use crate::verify::{Demands, SignedIdentity};

/// An image, and on whose word it is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// Which image.
    pub reference: Reference,
    /// For which machines, if the user said so.
    pub platform: Option<Platform>,
    /// How the image is fetched.
    pub source: SourceOptions,
    /// `--registries-conf`: the places to fetch it from.
    pub registries_conf: Option<PathBuf>,
    /// Whose word counts.
    pub trust: Trust,
    /// What is demanded besides a signature.
    pub checks: Checks,
}

/// Whose word counts.
#[derive(Debug)]
pub enum Trust {
    /// That of whom these words name, or of the configured ones if they name nobody.
    Signature(Box<Words>),
    /// Nobody's (`--insecure-skip-signature`).
    Nobody,
}

/// What is demanded of an image besides a signature (verification.md §1.6).
#[derive(Debug)]
pub struct Checks {
    /// The extension's name, which the image must not contradict; none: it is not compared.
    pub name: Option<String>,
    /// `--rename`
    pub rename: bool,
    /// `--require-name`
    pub require_name: bool,
    /// `--deny-digests`
    pub revoked: Vec<PathBuf>,
    /// `--allow-downgrade`
    pub allow_downgrade: bool,
    /// `--state-dir`
    pub state: Option<PathBuf>,
}

impl Wanted {
    /// Finds the meaning of a verification's words.
    pub fn from_args(args: &VerifyArgs) -> crate::error::Result<Self> {
        let reference: Reference = args.reference.parse()?;
        let limits = Limits::with(&args.limit);
        // Where a copy lies says nothing of what it is called.
        let of_reference = match reference {
            Reference::Registry { .. } => Some(name_of(&reference)),
            _ => None,
        };
        let name = args.name.clone().or(of_reference);
        Self::new(reference, name, &args.trust, &args.source, &limits)
    }

    pub(super) fn new(
        reference: Reference,
        name: Option<String>,
        trust: &TrustArgs,
        source: &SourceArgs,
        limits: &Limits,
    ) -> crate::error::Result<Self> {
        let registry = RegistryOptions {
            authfile: source.authfile.clone(),
            cert_dir: source.cert_dir.clone(),
            tls_verify: source.tls_verify,
            retry: RetryPolicy {
                budget: Duration::from_secs(limits.retry_seconds),
                ..RetryPolicy::default()
            },
            limits: limits.clone(),
            ..RegistryOptions::default()
        };
        let words = Words {
            demands: demands(&reference, name.clone(), trust)?,
            signer: SignerOptions::from_args(&trust.signer)?,
            keys: trust.key.clone(),
            policy: trust.policy.clone(),
            registries_d: trust.registries_d.clone(),
            identity: signed_identity(trust)?,
        };
        Ok(Self {
            reference,
            platform: source.platform.as_deref().map(str::parse).transpose()?,
            source: SourceOptions { limits: limits.clone(), registry, ..SourceOptions::default() },
            registries_conf: source.registries_conf.clone(),
            trust: Trust::Signature(Box::new(words)),
            checks: Checks {
                name,
                rename: trust.rename,
                require_name: trust.require_name,
                revoked: trust.deny_digests.clone(),
                allow_downgrade: trust.allow_downgrade,
                state: trust.state_dir.clone(),
            },
        })
    }
}

fn signed_identity(args: &TrustArgs) -> Result<SignedIdentity, Error> {
    let Some(text) = &args.signed_identity else { return Ok(SignedIdentity::Asked) };
    text.parse().map_err(|problem| {
        Error::new(
            format!("--signed-identity: {problem}"),
            "give a repository, such as quay.io/travier/sysexts, or \"any\"",
        )
    })
}

/// What a signature must say besides the image; `name` is the extension's.
fn demands(
    reference: &Reference,
    name: Option<String>,
    args: &TrustArgs,
) -> Result<Demands, Error> {
    let mut annotations = BTreeMap::new();
    for (key, value) in &args.annotation {
        if annotations.insert(key.clone(), value.clone()).is_some_and(|other| other != *value) {
            return Err(Error::new(
                format!("--annotation: found {key:?} with two values, expected one"),
                "a signature says each thing once: leave one of them away",
            ));
        }
    }
    Ok(Demands {
        annotations,
        earliest: args.max_age.map(|max_age| earliest(max_age, Timestamp::now())),
        extension: name.filter(|_| !args.rename),
        tag: reference.followed().map(|(_, tag)| tag.to_owned()),
    })
}

/// When a signature may have been made at the earliest, if none may be older than `max_age`.
fn earliest(max_age: Duration, now: Timestamp) -> Timestamp {
    let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
    now.checked_sub(max_age).unwrap_or(Timestamp::MIN)
}
