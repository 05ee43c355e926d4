//! Where trust comes from: keys on the command line, a policy file of containers, keys in a
//! directory, keys compiled in; and what is remembered of the images that were accepted.
//!
//! Reads files and flags, and gives [`crate::verify`] policies that cannot be empty. As root the
//! environment is not asked: under sudo it is the attacker's.

mod decision;
mod file;
mod keys;
mod locations;
mod names;
mod policy_json;
mod registries_conf;
mod registries_d;
mod revoked;
mod scopes;
mod signer;
mod state;
mod storage_conf;
mod update;

pub use locations::{Locations, RegistriesConfFiles, StorageConf, StorageFiles};
pub use names::ReferenceMatch;
pub use policy_json::{Material, PolicyFile, Requirement, Requirements, Signer, SigstoreSigned};
pub use registries_conf::{Problem as PlaceProblem, RegistriesConf};
pub use registries_d::RegistriesD;
pub use revoked::Revoked;
pub use scopes::Scopes;
pub use signer::{Roots, SignerOptions, artifact_policy};
pub use state::{Accepted, Downgrade, State, Succession, Tracked};
pub use storage_conf::storages;
pub use update::update;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::oci::{Place, Reference, Repository};
use crate::verify::{Demands, KeyError, Policy, SignedIdentity, TrustRootError};

/// More than any configuration file needs.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// Where trust is looked for when the command line gives none.
#[derive(Clone, Debug)]
pub struct TrustSources {
    /// The directory whose `*.pub` files are trusted for every image.
    pub keys_dir: PathBuf,
    /// The keys in this program.
    pub compiled_in: Vec<CompiledIn>,
    /// Where containers' configuration is, and the state.
    pub locations: Locations,
    /// Whether to demand that nobody but root can change what is trusted.
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
    /// A scope of a policy file of containers.
    Policy {
        /// The file.
        path: PathBuf,
        /// The scope, with its transport.
        scope: String,
    },
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
    /// A configuration file is not what its format allows (row 16).
    #[error("{}: {problem}", shown(path))]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The policy rejects such images.
    #[error("{} rejects this image ({})", shown(path), Escaped(scope.as_bytes()))]
    Rejected {
        /// The policy file.
        path: PathBuf,
        /// The scope that says so.
        scope: String,
    },
    /// The policy of `--policy` has nothing to say but that it accepts anything (row 17).
    #[error(
        "{} accepts {} without a signature, expected a requirement",
        shown(path),
        Escaped(reference.as_bytes())
    )]
    AcceptsAnything {
        /// The policy file.
        path: PathBuf,
        /// The image that was asked for.
        reference: String,
    },
    /// The policy requires what this program cannot check.
    #[error("{} requires {what} ({})", shown(path), Escaped(scope.as_bytes()))]
    Unsupported {
        /// The policy file.
        path: PathBuf,
        /// The scope that says so.
        scope: String,
        /// The requirement.
        what: &'static str,
    },
    /// A new trust root cannot be had, or not be believed.
    #[error("{}: {}", Escaped(mirror.as_bytes()), Escaped(problem.as_bytes()))]
    Update {
        /// Where it was asked for.
        mirror: String,
        /// What was found, and what was expected.
        problem: String,
        /// Whether nobody answered.
        network: bool,
    },
    /// There is no directory for a trust root: neither a home nor a name.
    #[error("found no place for the trust root, expected $HOME or a file")]
    NoPlace,
    /// `registries.conf` gives no place to fetch the image from.
    #[error("{}", place_problem(reference, problem))]
    Place {
        /// The image that was asked for.
        reference: String,
        /// Why.
        problem: PlaceProblem,
    },
    /// What is remembered of accepted images cannot be read.
    #[error("{}: {problem}, expected what this program wrote", shown(path))]
    StateCorrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// What is remembered of accepted images cannot be kept.
    #[error("{}: {action}: {error}", shown(path))]
    StateIo {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What the command line says of trust.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// `--key`
    pub keys: Vec<PathBuf>,
    /// `--policy`
    pub policy: Option<PathBuf>,
    /// `--registries.d`
    pub registries_d: Option<PathBuf>,
    /// `--signed-identity`; a policy file says that itself.
    pub identity: SignedIdentity,
    /// Whose certificate it must be, and which logs must have the signature.
    pub signer: SignerOptions,
    /// What else a signature must say.
    pub demands: Demands,
}

/// Whose word counts for one image: all of some policies, and at least one.
#[derive(Debug)]
pub struct Decision {
    /// Where that is said.
    pub origin: TrustOrigin,
    first: Policy,
    others: Vec<Policy>,
    /// Whether a signature of the index will do; a policy file wants the image's own (P5).
    pub index: bool,
    /// Whether signatures beside the image are looked at (containers-registries.d(5)).
    pub attachments: bool,
}

impl Decision {
    /// What must be satisfied, each of it (row 15).
    pub fn requirements(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Decides whose word counts for an image, by the first source that has a say: the key files or
/// the identity of the command line, the policy file, the keys directory, the compiled-in keys.
///
/// # Errors
///
/// [`Error::NoTrust`] if none has; one unusable key among several is an error, too (P6).
pub fn decide(
    sources: &TrustSources,
    words: &Words,
    reference: &Reference,
) -> Result<Decision, Error> {
    let identity = &words.identity;
    let alone = |origin, policy: Policy| {
        let first = policy.with_demands(words.demands.clone());
        Decision { origin, first, others: Vec::new(), index: true, attachments: true }
    };
    if let Some(policy) = words.signer.policy(identity, sources)? {
        return Ok(alone(TrustOrigin::Certificate, policy));
    }
    let (keys, origin) = if !words.keys.is_empty() {
        (keys::from_files(&words.keys, sources.as_root)?, TrustOrigin::CommandLine)
    } else if let Some(decision) = by_policy(sources, words, reference)? {
        return Ok(decision);
    } else if let keys @ [_, ..] = &*keys::from_directory(&sources.keys_dir, sources.as_root)? {
        (keys.to_vec(), TrustOrigin::Directory(sources.keys_dir.clone()))
    } else {
        (keys::compiled_in(sources, identity, reference)?, TrustOrigin::CompiledIn)
    };
    let mut keys = keys.into_iter();
    let first = keys.next().ok_or_else(|| Error::NoTrust { reference: name(reference) })?;
    let policy = Policy::new(first, keys.collect(), identity.clone());
    Ok(alone(origin, words.signer.with_transparency(policy, sources)?))
}

/// What the policy file says; none if there is no such file, or if it accepts anything.
fn by_policy(
    sources: &TrustSources,
    words: &Words,
    reference: &Reference,
) -> Result<Option<Decision>, Error> {
    let scopes = Scopes::of(reference);
    if let Some(path) = &words.policy {
        let decision = decision::by_policy(sources, words, path, &scopes)?;
        let nothing = || Error::AcceptsAnything { path: path.clone(), reference: name(reference) };
        return decision.ok_or_else(nothing).map(Some);
    }
    let locations = &sources.locations;
    let mut candidates = locations.policies.iter().cloned();
    match locations.named_policy.clone().or_else(|| candidates.find_map(locations::existing)) {
        Some(path) => decision::by_policy(sources, words, &path, &scopes),
        None => Ok(None),
    }
}

/// Where an image may be fetched from, by `registries.conf`, or by the file in its place.
pub fn places(
    sources: &TrustSources,
    registries_conf: Option<&Path>,
    reference: &Reference,
) -> Result<Vec<Place>, Error> {
    if !matches!(reference, Reference::Registry { .. }) {
        return Ok(Vec::new());
    }
    let files = match registries_conf {
        Some(path) => &RegistriesConfFiles { main: Some(path.to_owned()), directories: vec![] },
        None => &sources.locations.registries_conf,
    };
    let conf = RegistriesConf::load(files)?;
    conf.places(reference).map_err(|problem| Error::Place { reference: name(reference), problem })
}

impl Default for TrustSources {
    fn default() -> Self {
        let as_root = rustix::process::geteuid().is_root();
        Self {
            locations: Locations::new(as_root, &|name| std::env::var_os(name)),
            keys_dir: PathBuf::from("/etc/oci2sysext/keys"),
            compiled_in: vec![CompiledIn {
                name: "quay.io-travier-fedora-sysexts.pub",
                pem: include_str!("../../quay.io-travier-fedora-sysexts.pub"),
                host: "quay.io",
                path_prefix: "travier/",
            }],
            as_root,
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
            Self::Policy { path, scope } => {
                write!(f, "{} ({})", shown(path), Escaped(scope.as_bytes()))
            }
            Self::Directory(path) => f.write_str(&shown(path)),
            Self::CompiledIn => f.write_str("compiled in"),
            Self::Certificate => f.write_str("--certificate-identity"),
        }
    }
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::StateIo { .. } => ExitCode::Io,
            Self::Update { network: true, .. } => ExitCode::Network,
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
            Self::Configuration { .. } => "trust.configuration",
            Self::Rejected { .. } => "trust.rejected",
            Self::AcceptsAnything { .. } => "trust.accepts-anything",
            Self::Unsupported { .. } => "trust.unsupported",
            Self::Place { problem: PlaceProblem::Blocked { .. }, .. } => "trust.blocked",
            Self::Place { .. } => "trust.place",
            Self::StateCorrupt { .. } => "trust.state-corrupt",
            Self::StateIo { .. } => "trust.state-io",
            Self::Update { .. } => "trust.update",
            Self::NoPlace => "trust.no-place",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoTrust { .. } => "give the publisher's public key with --key FILE, or put it \
                                     into /etc/oci2sysext/keys/"
                .to_owned(),
            Self::Unreadable { .. } => {
                "look at the file and its permissions, or name another one".to_owned()
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
                "fetch the current one with oci2sysext trust update, give another with \
                 --trusted-root FILE, or your own authority's certificates with --ca-roots FILE"
                    .to_owned()
            }
            Self::Matcher { option, .. } => {
                format!("say what must be in the certificate: {option} TEXT")
            }
            Self::Unsafe { path, .. } => {
                format!("if it is what it should be: chown root {0} && chmod go-w {0}", shown(path))
            }
            Self::Configuration { .. } => "repair the file: a mistake in it may let anything \
                                           through, so nothing of it is used"
                .to_owned(),
            Self::Rejected { .. } => "choose another image; if the policy is too narrow, change \
                                      it, or give the publisher's key with --key FILE"
                .to_owned(),
            Self::AcceptsAnything { .. } => "require a signature of it (sigstoreSigned), or give \
                                             the publisher's key with --key FILE"
                .to_owned(),
            Self::Unsupported { .. } => "require a sigstore signature by key (sigstoreSigned), or \
                                         give the publisher's key with --key FILE"
                .to_owned(),
            Self::Update { network: true, .. } => {
                "try again later; what is there still counts".to_owned()
            }
            Self::Update { .. } => "do not use this mirror, or wait until it is repaired; what is \
                                    there still counts"
                .to_owned(),
            Self::NoPlace => "name the file: --trusted-root FILE".to_owned(),
            Self::Place { .. } => "change registries.conf, or name another image".to_owned(),
            Self::StateCorrupt { path, .. } => format!(
                "find out who changed it; to start anew, without protection against an older \
                 image this once, remove {}",
                shown(path)
            ),
            Self::StateIo { .. } => {
                "look at the directory and the disk, or name another place: --state-dir DIR"
                    .to_owned()
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

fn place_problem(reference: &str, problem: &PlaceProblem) -> String {
    let reference = Escaped(reference.as_bytes());
    match problem {
        PlaceProblem::Blocked { prefix } => {
            format!("registries.conf blocks {reference} ({})", Escaped(prefix.as_bytes()))
        }
        PlaceProblem::Location { location } => format!(
            "registries.conf: found the location {location:?} for {reference}, expected HOST[/PATH]"
        ),
    }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}
