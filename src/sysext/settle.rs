//! The end of the transforms: contents that waited go into the sink, and what nothing names any
//! more is left behind.

use std::collections::HashMap;

use super::Error;
use crate::layer::{ContentSink, Stored};
use crate::tree::{Content, Directory, Ino, Inode, Tree};

/// Stores what was held, in the order of the paths, and gives the tree of what is stored.
pub(super) fn run<S: ContentSink>(
    tree: &Tree<Stored<S::Content>>,
    sink: &mut S,
) -> Result<Tree<S::Content>, Error> {
    let root = tree.inode(Tree::<Stored<S::Content>>::ROOT);
    let mut settled = Tree::new(root.stat.clone());
    let mut moved: HashMap<Ino, Ino> = HashMap::new();
    for entry in tree.walk().skip(1) {
        let ino = if let Some(ino) = moved.get(&entry.ino) {
            *ino
        } else {
            let content = match &entry.inode.content {
                Content::Directory(_) => Content::Directory(Directory::new()),
                Content::Regular(stored) => {
                    Content::Regular(store::<S>(stored, &entry.path, sink)?)
                }
                Content::Symlink(target) => Content::Symlink(target.clone()),
                Content::CharDevice { rdev } => Content::CharDevice { rdev: *rdev },
                Content::BlockDevice { rdev } => Content::BlockDevice { rdev: *rdev },
                Content::Fifo => Content::Fifo,
                Content::Socket => Content::Socket,
            };
            let ino = settled.add(Inode { stat: entry.inode.stat.clone(), content });
            moved.insert(entry.ino, ino);
            ino
        };
        settled.link(&entry.path, ino);
    }
    Ok(settled)
}

fn store<S: ContentSink>(
    stored: &Stored<S::Content>,
    path: &[u8],
    sink: &mut S,
) -> Result<S::Content, Error> {
    let error = |source| Error::Store { path: path.to_vec(), source };
    match stored {
        Stored::Sunk { content, .. } => Ok(content.clone()),
        Stored::Held(held) => {
            let reader = held.reader();
            let mut reader = reader.map_err(|e| error(crate::layer::SinkError::Read(e)))?;
            sink.store(held.size(), &mut reader).map_err(error)
        }
        Stored::Dropped { .. } => Err(Error::ContentsDropped { path: path.to_vec() }),
    }
}
