//! The end of the transforms: contents that waited go into the sink, and what nothing names any
//! more is left behind.

use std::sync::Arc;

use super::Error;
use crate::layer::{ContentSink, Stored};
use crate::tree::{Content, Tree};

/// Stores what was held, in the order of the paths, and gives the tree of what is stored.
pub(super) fn run<S: ContentSink>(
    mut tree: Tree<Stored<S::Content>>,
    sink: &mut S,
) -> Result<Tree<S::Content>, Error> {
    let mut held = Vec::new();
    for entry in tree.walk() {
        match &entry.inode.content {
            Content::Regular(Stored::Held(_)) => held.push((entry.path, entry.ino)),
            Content::Regular(Stored::Dropped { .. }) => {
                return Err(Error::ContentsDropped { path: entry.path });
            }
            _ => {}
        }
    }
    for (path, ino) in held {
        let Content::Regular(stored) = &mut tree.inode_mut(ino).content else { continue };
        // Another name of the file may have come first.
        let Stored::Held(held) = stored else { continue };
        let held = Arc::clone(held);
        let size = held.size();
        let content = held.store(sink).map_err(|source| Error::Store { path, source })?;
        *stored = Stored::Sunk { size, content };
    }
    Ok(tree.map_named(|stored| match stored {
        Stored::Sunk { content, .. } => Some(content),
        Stored::Held(_) | Stored::Dropped { .. } => None,
    }))
}
