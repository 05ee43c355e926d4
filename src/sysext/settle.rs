//! The end of the transforms: contents that waited go into the sink, and what nothing names any
//! more is left behind.

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
            Content::Regular(Stored::Held(_)) => held.push(entry.ino),
            Content::Regular(Stored::Dropped { .. }) => {
                return Err(Error::ContentsDropped { path: entry.path });
            }
            _ => {}
        }
    }
    for ino in held {
        let Content::Regular(stored) = &mut tree.inode_mut(ino).content else { continue };
        // Another name of the file may have come first.
        let Stored::Held(held) = stored else { continue };
        match held.store(sink) {
            Ok(content) => *stored = Stored::Sunk(content),
            Err(source) => return Err(Error::Store { path: tree.path_of(ino), source }),
        }
    }
    Ok(tree.map_named(|stored| match stored {
        Stored::Sunk(content) => Some(content),
        Stored::Held(_) | Stored::Dropped { .. } => None,
    }))
}
