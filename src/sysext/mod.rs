//! From a layer's tree to a system extension's: an ordered list of small transforms.

mod audit;
mod error;
mod etc;
mod fate;
mod keep;
mod labels;
mod merge;
pub mod modules;
mod options;
mod parents;
mod release;
mod repairs;
mod rules;
mod settle;
mod timestamps;
mod whiteouts;
mod work;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use audit::privileges;
pub use error::Error;
pub use fate::Fates;
pub use labels::Labeller;
pub use options::{Deny, PolicyChange, SysextOptions, Whiteouts};
pub use release::{check_name, image_name, release_path};
pub use repairs::{Repair, Repairs};
pub use timestamps::created;

use crate::base::Base;
use crate::layer::{ContentSink, LayerTree};
use crate::report::Changes;
use crate::tree::Tree;
use work::Work;

/// The tree of a system extension: cleaned, with its release file, labelled. Only [`convert`]
/// makes one:
///
/// ```
/// fn name<C>(sysext: &oci2sysext::sysext::Sysext<C>) -> &str {
///     sysext.name()
/// }
/// ```
///
/// ```compile_fail
/// let tree = oci2sysext::tree::Tree::<()>::new(Default::default());
/// let (name, release) = (String::new(), String::new());
/// let sysext = oci2sysext::sysext::Sysext { tree, name, release, name_is_shipped: true };
/// ```
#[derive(Debug)]
pub struct Sysext<C> {
    tree: Tree<C>,
    name: String,
    release: String,
    name_is_shipped: bool,
}

impl<C> Sysext<C> {
    /// The tree.
    pub fn tree(&self) -> &Tree<C> {
        &self.tree
    }

    /// The extension's name: that of its release file, and of its image without the suffix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of its release file.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Whether the layer has a release file of this name (row 37).
    pub fn name_is_shipped(&self) -> bool {
        self.name_is_shipped
    }
}

/// Makes an extension of a layer. Contents that waited and stay go into `sink`, and every path
/// that is not as it was in the layer is noted in `changes`.
///
/// # Errors
/// [`Error`], by what the layer, the base or the options do not allow.
pub fn convert<S: ContentSink>(
    layer: LayerTree<S::Content>,
    base: &Base,
    options: &SysextOptions<'_>,
    sink: &mut S,
    changes: &mut Changes,
) -> Result<Sysext<S::Content>, Error> {
    check_name(&options.name)?;
    let mut work = Work::new(layer);
    merge::run(&mut work, base, sink, changes)?;
    keep::require_usr(&work)?;
    let begun = repairs::begin(&mut work, base, options, changes)?;
    etc::run(&mut work, changes)?;
    keep::run(&mut work, options.keep_caches, changes);
    repairs::finish(begun, &mut work, base, options, changes)?;
    audit::run(&work, options, changes)?;
    whiteouts::run(&mut work, base, options, changes)?;
    parents::run(&mut work, base, options, changes)?;
    repairs::owners(&work, base, &options.limits, changes);
    let release = release::run(&mut work, base, options, changes)?;
    timestamps::clamp(&mut work.tree, options.latest);
    if let Some(labeller) = options.labeller {
        let types = labels::apply(&mut work.tree, labeller, changes)?;
        if let Some(PolicyChange { before, .. }) = options.policy_change {
            labels::warn_of_new_types(&types, before, changes);
        }
    }
    // Memory is scarce from here on.
    changes.end_moves();
    let tree = settle::run(work.tree, sink)?;
    let release::Release { text: release, shipped: name_is_shipped } = release;
    Ok(Sysext { tree, name: options.name.clone(), release, name_is_shipped })
}
