//! What somebody asks of the lower layers: paths, and of some of them the contents.

use std::collections::BTreeSet;

use super::policy;
use crate::tree::split;

/// What is to be known of the lower layers.
#[derive(Clone)]
pub(super) struct Wants<'a> {
    /// Paths whose metadata is wanted, and all their ancestors.
    paths: BTreeSet<Vec<u8>>,
    /// Paths whose contents are wanted too.
    contents: BTreeSet<Vec<u8>>,
    /// Whether all that makes up a policy is wanted, whatever its type is called.
    policy: bool,
    /// Tells of more paths whose metadata is wanted, as of all their ancestors.
    also: &'a dyn Fn(&[u8]) -> bool,
    /// Tells of those which it matters whether they are files or symlinks.
    types: &'a dyn Fn(&[u8]) -> bool,
}

impl<'a> Wants<'a> {
    /// Asks for the metadata of the paths that `also` names, and for the policy or not. Of those
    /// that `types` names it is wanted even where an object of an ostree repository must be found
    /// for it; of others it is enough that they are there.
    pub fn new(
        policy: bool,
        also: &'a dyn Fn(&[u8]) -> bool,
        types: &'a dyn Fn(&[u8]) -> bool,
    ) -> Self {
        Self { paths: BTreeSet::new(), contents: BTreeSet::new(), policy, also, types }
    }

    /// Asks for the metadata of a path.
    pub fn path(&mut self, path: &[u8]) {
        let mut path = path;
        while self.paths.insert(path.to_vec()) {
            match split(path) {
                Some((parent, _)) => path = parent,
                None => break,
            }
        }
    }

    /// Asks for the contents of a path.
    pub fn contents(&mut self, path: &[u8]) {
        self.path(path);
        self.contents.insert(path.to_vec());
    }

    /// Whether the metadata of a path is wanted.
    pub fn has(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
            || (self.policy && policy::is_near_policy(path))
            || (self.also)(path)
    }

    /// Whether its contents are.
    pub fn has_contents(&self, path: &[u8]) -> bool {
        self.contents.contains(path) || (self.policy && policy::is_policy_file(path))
    }

    /// Whether it matters if it is a file or a symlink.
    pub fn has_type(&self, path: &[u8]) -> bool {
        self.has_contents(path) || (self.types)(path)
    }
}
