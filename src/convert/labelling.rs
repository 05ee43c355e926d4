//! What labels files: a policy, with what the layer adds to it.

use crate::base::{self, Base};
#[cfg(feature = "libselinux")]
use crate::cli::EngineArg;
use crate::error::Result;
use crate::layer::Stored;
use crate::report::Changes;
use crate::request::{Labels, Request};
#[cfg(feature = "libselinux")]
use crate::selinux::libselinux::Libselinux;
use crate::selinux::{FileContexts, Lookup, PolicyFiles};
use crate::sysext::{PolicyChange, modules};
use crate::tree::Tree;

/// The rules for labels, and where they are from.
pub(super) struct Labelling {
    contexts: FileContexts,
    from: String,
    /// The policy without what the layer brings.
    before: PolicyFiles,
    after: PolicyFiles,
    #[cfg(feature = "libselinux")]
    libselinux: Option<Libselinux>,
}

impl Labelling {
    /// None with `--selinux none`.
    pub(super) fn of<C>(
        request: &Request,
        base: &Base,
        layer: &Tree<Stored<C>>,
        changes: &mut Changes,
    ) -> Result<Option<Self>> {
        let limits = &request.limits;
        let (mut after, from) = match &request.extension.labels {
            Labels::None => return Ok(None),
            Labels::Image => (base.require_policy()?.clone(), "image".to_owned()),
            Labels::Host => (base::policy::of_host(limits)?, "host".to_owned()),
            Labels::Directory(path) => {
                (base::policy::of_directory(path, limits)?, path.display().to_string())
            }
        };
        let mut from = format!("{from} ({})", after.policy_type);
        let before = base.lower_policy().unwrap_or(&after).clone();
        if let Some(used) = modules::add_contexts(&mut after, layer, limits, changes)? {
            from = format!("{from} and policy modules of the layer ({used})");
        }
        let contexts = FileContexts::parse(&after)?;
        Ok(Some(Self {
            #[cfg(feature = "libselinux")]
            libselinux: match request.extension.engine {
                EngineArg::Own => None,
                EngineArg::Libselinux => {
                    Some(Libselinux::open(&after).map_err(crate::image::Error::Io)?)
                }
            },
            contexts,
            from,
            before,
            after,
        }))
    }

    /// The label of a path, for files of a type (the type bits of a mode).
    pub(super) fn lookup(&self, path: &[u8], file_type: u16) -> Lookup<'_> {
        let label = self.contexts.lookup(path, file_type);
        #[cfg(feature = "libselinux")]
        if let Some(libselinux) = &self.libselinux {
            return libselinux.lookup_instead(path, file_type, label);
        }
        label
    }

    /// Fails if a pattern cost too much to match anything with.
    pub(super) fn check(&self) -> Result<()> {
        Ok(self.contexts.check()?)
    }

    /// Where the rules are from, for the report.
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// What the layer makes of the policy, if anything.
    pub(super) fn policy_change(&self) -> Option<PolicyChange<'_>> {
        let Self { before, after, .. } = self;
        (before != after).then_some(PolicyChange { before, after })
    }
}
