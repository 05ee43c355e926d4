//! Where trust comes from: keys on the command line, in a directory, compiled in.
//!
//! Reads files and flags, and gives [`crate::verify`] a policy that cannot be empty. The
//! environment is not asked: under sudo it is the attacker's.

mod keys;
mod signer;

pub use signer::{Roots, SignerOptions, artifact_policy};

use std::fmt;
use std::path::PathBuf;

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::oci::{Reference, Repository};
use crate::verify::{KeyError, Policy, SignedIdentity, TrustRootError};

/// Where trust is looked for when the command line gives none.
#[derive(Clone, Debug)]
pub struct TrustSources {
    /// The directory whose `*.pub` files are trusted for every image.
    pub keys_dir: PathBuf,
    /// The keys in this program.
    pub compiled_in: Vec<CompiledIn>,
    /// Whether to demand that nobody but root can change a key file.
    pub as_root: bool,
}

/// A key in this program, for some repositories.
#[derive(Clone, Debug)]
pub struct CompiledIn {
    /// The name of its file in the source.
    pub name: &'static str,
    /// The file.
    pub pem: &'static str,
    /// The registry whose images it is for.
    pub host: &'static str,
    /// The beginning of the paths of the repositories that it is for, with the last slash.
    pub path_prefix: &'static str,
}

/// Which source of trust decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustOrigin {
    /// `--key`
    CommandLine,
    /// The keys directory.
    Directory(PathBuf),
    /// The key in this program.
    CompiledIn,
    /// `--certificate-identity`
    Certificate,
}

/// Why there is no usable trust.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says whose signature to expect (row 93).
    #[error("no key is configured for {}, expected at least one", Escaped(reference.as_bytes()))]
    NoTrust {
        /// The image that was asked for.
        reference: String,
    },
    /// A key file, or the directory of them, cannot be read (P6).
    #[error("cannot read {}: {problem}", shown(path))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A key file holds no key that we accept (P6, row 18).
    #[error("key {}: {problem}", shown(path))]
    Key {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: KeyError,
    },
    /// There is no usable trust root (row 30).
    #[error("trust root {name}: {problem}")]
    Root {
        /// Its file, or where else it is from.
        name: String,
        /// What was found, and what was expected.
        problem: TrustRootError,
    },
    /// What a certificate must say would be nothing (K4).
    #[error("{option}: {problem}")]
    Matcher {
        /// The word of the command line.
        option: &'static str,
        /// What was found, and what was expected.
        problem: String,
    },
    /// Somebody else could put another key there.
    #[error("{} {problem}, expected that only root can change it", shown(path))]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// Who else can change it.
        problem: String,
    },
}

/// The policy for an image, from the first source that has a say: the key files of the command
/// line, the keys directory, the compiled-in keys.
///
/// # Errors
///
/// [`Error::NoTrust`] if none has; one unusable key among several is an error, too (P6).
pub fn policy(
    sources: &TrustSources,
    key_files: &[PathBuf],
    identity: SignedIdentity,
    reference: &Reference,
) -> Result<(Policy, TrustOrigin), Error> {
    let (keys, origin) = if !key_files.is_empty() {
        (keys::from_files(key_files, sources.as_root)?, TrustOrigin::CommandLine)
    } else if let keys @ [_, ..] = &*keys::from_directory(&sources.keys_dir, sources.as_root)? {
        (keys.to_vec(), TrustOrigin::Directory(sources.keys_dir.clone()))
    } else {
        (keys::compiled_in(sources, &identity, reference)?, TrustOrigin::CompiledIn)
    };
    let mut keys = keys.into_iter();
    let first = keys.next().ok_or_else(|| Error::NoTrust { reference: name(reference) })?;
    Ok((Policy::new(first, keys.collect(), identity), origin))
}

impl Default for TrustSources {
    fn default() -> Self {
        Self {
            keys_dir: PathBuf::from("/etc/oci2sysext/keys"),
            compiled_in: vec![CompiledIn {
                name: "quay.io-travier-fedora-sysexts.pub",
                pem: include_str!("../../quay.io-travier-fedora-sysexts.pub"),
                host: "quay.io",
                path_prefix: "travier/",
            }],
            as_root: rustix::process::geteuid().is_root(),
        }
    }
}

impl CompiledIn {
    fn is_for(&self, repository: &Repository) -> bool {
        repository.host == self.host && repository.path.starts_with(self.path_prefix)
    }
}

impl fmt::Display for TrustOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("--key"),
            Self::Directory(path) => f.write_str(&shown(path)),
            Self::CompiledIn => f.write_str("compiled in"),
            Self::Certificate => f.write_str("--certificate-identity"),
        }
    }
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Root { problem: TrustRootError::Clock { .. }, .. } => ExitCode::Signature,
            _ => ExitCode::Trust,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NoTrust { .. } => "trust.none",
            Self::Unreadable { .. } => "trust.unreadable",
            Self::Key { .. } => "trust.key",
            Self::Root { problem: TrustRootError::Clock { .. }, .. } => "trust.clock",
            Self::Root { .. } => "trust.root",
            Self::Matcher { .. } => "trust.matcher",
            Self::Unsafe { .. } => "trust.unsafe",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoTrust { .. } => "give the publisher's public key with --key FILE, or put it \
                                     into /etc/oci2sysext/keys/"
                .to_owned(),
            Self::Unreadable { .. } => {
                "give a readable file with one public key: --key FILE".to_owned()
            }
            Self::Key { problem: KeyError::Private { .. }, .. } => {
                "keep the private key private, and give the public one: cosign public-key, or \
                 openssl pkey -pubout"
                    .to_owned()
            }
            Self::Key { .. } => "give the publisher's public key as PEM, one key in a file \
                                 (cosign.pub is one)"
                .to_owned(),
            Self::Root { problem: TrustRootError::Clock { .. }, .. } => {
                "set the clock of this machine: without it nobody knows when a certificate was used"
                    .to_owned()
            }
            Self::Root { .. } => {
                "give a current trusted_root.json with --trusted-root FILE, or the \
                                  certificates of your own authority with --ca-roots FILE"
                    .to_owned()
            }
            Self::Matcher { option, .. } => {
                format!("say what must be in the certificate: {option} TEXT")
            }
            Self::Unsafe { path, .. } => {
                format!("if it is what it should be: chown root {0} && chmod go-w {0}", shown(path))
            }
        }
    }
}

/// The image that was asked for, for messages.
fn name(reference: &Reference) -> String {
    match reference {
        Reference::Registry { repository, .. } => repository.to_string(),
        Reference::Layout { path, .. } => format!("oci:{}", path.display()),
        Reference::Archive { path, .. } => format!("oci-archive:{}", path.display()),
        Reference::Dir { path } => format!("dir:{}", path.display()),
    }
}

fn shown(path: &std::path::Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}
