//! Trust by certificate, and by transparency log: the files that say whom to believe.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::file::{self, Owner};
use super::locations::existing;
use super::{Error, TrustSources, keys};
use crate::cli::SignerArgs;
use crate::request;
use crate::verify::{
    Authorities, CertificateIdentity, CertificateSigner, Logs, Matcher, Policy, PublicKey,
    SignedIdentity, TrustRoot, TrustRootError, check_clock,
};

/// As much as a trust root or a file of certificates may have; sigstore's has 9 KiB.
const MAX_SIZE: u64 = 4 << 20;

/// What else the user says of the signer, besides keys.
#[derive(Clone, Debug, Default)]
pub struct SignerOptions {
    /// Whose certificate it must be, if it is not to be a key.
    pub identity: Option<CertificateIdentity>,
    /// Which authorities are believed.
    pub roots: Roots,
    /// Keys of the transparency logs that must have the signature.
    pub rekor_keys: Vec<PathBuf>,
}

/// Which certificate authorities, logs and timestamp authorities are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of sigstore's public instance, as last updated, else as compiled in.
    #[default]
    PublicGood,
    /// Those of a `trusted_root.json`.
    File(PathBuf),
    /// One's own.
    Own {
        /// Certificates of authorities.
        roots: PathBuf,
        /// Certificates between those and the signers'.
        intermediates: Option<PathBuf>,
        /// The chain of a timestamp authority.
        timestamps: Option<PathBuf>,
    },
}

impl SignerOptions {
    /// Finds the meaning of a command line.
    pub fn from_args(args: &SignerArgs) -> crate::error::Result<Self> {
        let identity = match (
            matcher(
                args.certificate_identity.as_deref(),
                args.certificate_identity_regexp.as_deref(),
                ["--certificate-identity", "--certificate-identity-regexp"],
            )?,
            matcher(
                args.certificate_oidc_issuer.as_deref(),
                args.certificate_oidc_issuer_regexp.as_deref(),
                ["--certificate-oidc-issuer", "--certificate-oidc-issuer-regexp"],
            )?,
        ) {
            (Some(subject), Some(issuer)) => Some(CertificateIdentity { subject, issuer }),
            (None, None) => None,
            (found, _) => {
                let (found, missing) = if found.is_some() {
                    ("--certificate-identity", "--certificate-oidc-issuer")
                } else {
                    ("--certificate-oidc-issuer", "--certificate-identity")
                };
                return Err(request::Error::new(
                    format!("found {found} without {missing}, expected both"),
                    "say both who must have signed and which provider must have vouched for that",
                )
                .into());
            }
        };
        let roots = match (&args.trusted_root, &args.ca_roots) {
            (Some(file), _) => Roots::File(file.clone()),
            (None, Some(roots)) => Roots::Own {
                roots: roots.clone(),
                intermediates: args.ca_intermediates.clone(),
                timestamps: args.timestamp_certificate_chain.clone(),
            },
            (None, None) => Roots::PublicGood,
        };
        let wants = |problem: &str, advice: &str| Err(request::Error::new(problem, advice).into());
        match (&roots, &identity) {
            (Roots::Own { .. }, None) => wants(
                "found --ca-roots without --certificate-identity, expected both",
                "say who must have signed: --certificate-identity and --certificate-oidc-issuer",
            ),
            // Without either, nothing says when a certificate was used (K1).
            (Roots::Own { timestamps: None, .. }, _) if args.rekor_key.is_empty() => wants(
                "found --ca-roots without anything that proves the time of signing",
                "give --timestamp-certificate-chain FILE or --rekor-key FILE",
            ),
            (Roots::PublicGood, Some(_)) if !args.rekor_key.is_empty() => wants(
                "found --rekor-key with the certificates of the compiled-in authorities",
                "leave --rekor-key away, or give --ca-roots or --trusted-root",
            ),
            _ => Ok(Self { identity, roots, rekor_keys: args.rekor_key.clone() }),
        }
    }

    /// The signer by certificate, seen from `now`; none if it is to be a key.
    pub fn certificate(
        &self,
        now: Timestamp,
        sources: &TrustSources,
    ) -> Result<Option<CertificateSigner>, Error> {
        let Some(identity) = &self.identity else { return Ok(None) };
        let (name, root) = self.root(now, sources)?;
        root.check_current(now).map_err(|problem| Error::Root { name, problem })?;
        Ok(Some(CertificateSigner { identity: identity.clone(), root, now }))
    }

    /// The policy for an image that must be signed by certificate; none if it must be by key.
    pub fn policy(
        &self,
        identity: &SignedIdentity,
        sources: &TrustSources,
    ) -> Result<Option<Policy>, Error> {
        let signer = self.certificate(Timestamp::now(), sources)?;
        Ok(signer.map(|signer| Policy::keyless(signer, identity.clone())))
    }

    /// A policy for keys that demands the logs, too, if any must have the signature.
    pub fn with_transparency(
        &self,
        policy: Policy,
        sources: &TrustSources,
    ) -> Result<Policy, Error> {
        Ok(match self.transparency(sources)? {
            Some(logs) => policy.with_transparency(logs),
            None => policy,
        })
    }

    /// The logs that must have a signature by key, if any must: those whose keys are given, or
    /// those of a trust root that is.
    fn transparency(&self, sources: &TrustSources) -> Result<Option<Logs>, Error> {
        if let Roots::File(path) = &self.roots {
            let (name, root) = self.root(Timestamp::now(), sources)?;
            let logs = root.logs().cloned().ok_or_else(|| Error::Root {
                name,
                problem: malformed("found no transparency log, expected one"),
            })?;
            tracing::debug!("the logs are those of {}", super::shown(path));
            return Ok(Some(logs));
        }
        let mut keys = self.rekor_keys(sources.as_root)?.into_iter();
        Ok(keys.next().map(|first| Logs::of_keys(first, keys.collect())))
    }

    /// The trust root, and its name for messages.
    fn root(&self, now: Timestamp, sources: &TrustSources) -> Result<(String, TrustRoot), Error> {
        let as_root = sources.as_root;
        let read = |path: &Path| file::read(path, MAX_SIZE, as_root, Owner::Anybody);
        let optional = |path: &Option<PathBuf>| {
            path.as_deref().map(read).transpose().map(Option::unwrap_or_default)
        };
        let (name, root) = match &self.roots {
            Roots::PublicGood => match updated(now, sources)? {
                Some(root) => return Ok(root),
                None => ("compiled in".to_owned(), TrustRoot::public_good()),
            },
            Roots::File(path) => (super::shown(path), TrustRoot::from_json(&read(path)?)),
            Roots::Own { roots, intermediates, timestamps } => {
                let parts = Authorities {
                    roots: read(roots)?,
                    intermediates: optional(intermediates)?,
                    logs: self.rekor_keys(as_root)?,
                    timestamps: optional(timestamps)?,
                };
                let root = TrustRoot::of(&parts);
                (super::shown(roots), root)
            }
        };
        match root {
            Ok(root) => Ok((name, root)),
            Err(problem) => Err(Error::Root { name, problem }),
        }
    }

    fn rekor_keys(&self, as_root: bool) -> Result<Vec<PublicKey>, Error> {
        let keys = keys::from_files(&self.rekor_keys, as_root)?;
        Ok(keys.into_iter().map(|named| named.key).collect())
    }
}

/// The trust root that `oci2sysext trust update` has fetched, if it has and some of it still lasts.
/// One that cannot be read is an error, so that it is noticed.
fn updated(now: Timestamp, sources: &TrustSources) -> Result<Option<(String, TrustRoot)>, Error> {
    let Some(path) = sources.locations.trusted_root.clone().and_then(existing) else {
        return Ok(None);
    };
    let bytes = file::read(&path, MAX_SIZE, sources.as_root, Owner::Root)?;
    let name = super::shown(&path);
    let root = TrustRoot::from_json(&bytes)
        .map_err(|problem| Error::Root { name: name.clone(), problem })?;
    if let Err(problem @ TrustRootError::Expired { .. }) = root.check_current(now) {
        tracing::warn!("{name} is not used, but the compiled-in one: {problem}");
        return Ok(None);
    }
    Ok(Some((name, root)))
}

/// What must be in a certificate, if the user says so; `names` are the two options.
fn matcher(
    exact: Option<&str>,
    pattern: Option<&str>,
    names: [&'static str; 2],
) -> Result<Option<Matcher>, Error> {
    let [of_exact, of_pattern] = names;
    let (option, made) = match (exact, pattern) {
        (Some(text), _) => (of_exact, Matcher::exact(text)),
        (None, Some(text)) => (of_pattern, Matcher::pattern(text)),
        (None, None) => return Ok(None),
    };
    made.map(Some).map_err(|problem| Error::Matcher { option, problem })
}

fn malformed(problem: &str) -> TrustRootError {
    TrustRootError::Malformed { problem: problem.to_owned() }
}

/// The policy for a file, which may be older than what vouches for it today.
pub fn artifact_policy(
    key_files: &[PathBuf],
    signer: &SignerOptions,
    now: Timestamp,
) -> Result<Policy, Error> {
    let sources = TrustSources::default();
    if let Some(identity) = &signer.identity {
        let (name, root) = signer.root(now, &sources)?;
        check_clock(now).map_err(|problem| Error::Root { name, problem })?;
        let signer = CertificateSigner { identity: identity.clone(), root, now };
        return Ok(Policy::keyless(signer, SignedIdentity::Any));
    }
    let mut keys = keys::from_files(key_files, sources.as_root)?.into_iter();
    let first = keys.next().ok_or_else(|| Error::NoTrust { reference: "the file".to_owned() })?;
    signer.with_transparency(Policy::new(first, keys.collect(), SignedIdentity::Any), &sources)
}
