//! The base image, as far as an extension needs to know it: where it ends, os-release, SELinux
//! policy, and the metadata of directories and links that both have.

pub mod accounts;
mod audit;
mod beneath;
pub mod boundary;
mod cache;
mod commit;
mod copies;
mod error;
mod follow;
mod gvariant;
mod layers;
mod links;
mod listing;
mod named;
pub mod os_release;
pub mod ostree;
pub mod policy;
mod read;
pub mod record;
pub mod repository;
mod soname;
pub mod storage;
pub mod tar_split;
pub mod toc;
mod view;
mod wants;
mod whole;

pub use accounts::Accounts;
pub use audit::{Audit, Covers, Hidden, HiddenKind};
pub use boundary::Boundary;
pub use cache::Cache;
pub use copies::{Copies, Places};
pub use error::Error;
pub use layers::{Layers, Listings};
pub use listing::{Key, Listing};
pub use named::NamedBase;
pub use ostree::OstreeLabels;
pub use read::{Query, read};
pub use soname::soname;

use read::is_foreseen;

use std::collections::BTreeMap;

use crate::selinux::PolicyFiles;
use crate::tree::Stat;

/// Where a base is looked for before its layers are fetched. What is found there is never anything
/// else than what they have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Listings of layers that were read before.
    pub cache: Option<&'a Cache>,
    /// Copies on this host.
    pub copies: Option<&'a Copies>,
}

/// What an extension needs to know of its base. Only [`read`] makes one, from verified layers:
///
/// ```
/// fn has_policy(base: &oci2sysext::base::Base) -> bool {
///     base.policy().is_some()
/// }
/// ```
///
/// ```compile_fail
/// let base = oci2sysext::base::Base {
///     os_release: None,
///     policy: None,
///     lower_policy: None,
///     accounts: Default::default(),
///     paths: Default::default(),
///     is_ostree: false,
///     layers: 0,
/// };
/// ```
#[derive(Debug)]
pub struct Base {
    os_release: Option<BTreeMap<String, String>>,
    policy: Option<PolicyFiles>,
    lower_policy: Option<PolicyFiles>,
    accounts: Accounts,
    paths: BTreeMap<Vec<u8>, BasePath>,
    is_ostree: bool,
    layers: usize,
}

impl Base {
    /// The variables of os-release, unquoted; none where the base has no such file.
    pub fn os_release(&self) -> Option<&BTreeMap<String, String>> {
        self.os_release.as_ref()
    }

    /// The SELinux policy of all layers together, the extension's own included (R30); none where
    /// there is none, or nobody asked for it.
    pub fn policy(&self) -> Option<&PolicyFiles> {
        self.policy.as_ref()
    }

    /// The policy, or the error that says what to do without one (row 70).
    pub fn require_policy(&self) -> Result<&PolicyFiles, Error> {
        self.policy().ok_or(Error::NoPolicy { layers: self.layers })
    }

    /// The policy without what the extension changes of it; none if it changes nothing (R34).
    pub fn lower_policy(&self) -> Option<&PolicyFiles> {
        self.lower_policy.as_ref()
    }

    /// Users and groups.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// A path of the base, as far as the extension has it too. Symlinks are not followed.
    pub fn path(&self, path: &[u8]) -> Option<&BasePath> {
        self.paths.get(path)
    }

    /// What a path of the extension hides on the host: the same path of the base or, in `usr/etc` of
    /// a host that ostree or bootc deploys, what the layers have in `etc` (R29).
    pub fn hidden_by(&self, path: &[u8]) -> Option<&BasePath> {
        let in_layers = || ostree::in_layers(path).filter(|_| self.is_ostree());
        self.path(path).or_else(|| self.path(in_layers()?))
    }

    /// Whether ostree or bootc deploys the base, so that its hosts have in `usr/etc` what its
    /// layers have in `etc`.
    pub fn is_ostree(&self) -> bool {
        self.is_ostree
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// A base that nobody read, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn of_test(os_release: &str, paths: BTreeMap<Vec<u8>, BasePath>) -> Self {
        let os_release = os_release::parse(os_release.as_bytes()).unwrap();
        Self {
            os_release: (!os_release.is_empty()).then_some(os_release),
            policy: None,
            lower_policy: None,
            accounts: Accounts {
                users: accounts::parse(b"root:x:0:"),
                groups: accounts::parse(b"root:x:0:"),
            },
            is_ostree: ostree::MARKS.iter().any(|mark| paths.contains_key(*mark)),
            paths,
            layers: 1,
        }
    }
}

/// One path of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePath {
    /// Its metadata.
    pub stat: Stat,
    /// Its type.
    pub kind: BaseKind,
}

/// The type of a path of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseKind {
    /// A directory.
    Directory,
    /// A directory that only the paths below it tell of: nobody knows its time.
    ImpliedDirectory,
    /// A symlink, with its target as written.
    Symlink(Vec<u8>),
    /// A regular file.
    Regular,
    /// A device, fifo or socket.
    Special,
    /// A file or symlink of an ostree commit, of which nobody needs to know more.
    Unread,
}
