//! An image as text: one line of the composefs dumpfile format for each path.

use std::fmt::Write;

use super::hex;
use super::reader::{Image, Located, Reader};
use super::verity::Verity;
use crate::image::Error;
use crate::limits::Limits;
use crate::tree::{self, Content, DumpContent, Tree};

impl DumpContent for Located {
    fn size(&self) -> u64 {
        self.size
    }

    fn digest(&self) -> Option<String> {
        self.verity.as_ref().map(|digest| hex(digest))
    }
}

/// Writes the paths of an image, with the fs-verity digests of files as `composefs-info dump`
/// has them.
pub fn dump(reader: &Reader, limits: &Limits, out: &mut dyn Write) -> Result<(), Error> {
    write(&decode(reader, limits)?.tree, out)
}

/// What an image was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many paths.
    pub paths: u64,
    /// How many bytes the regular files have, hard links counted once.
    pub bytes: u64,
}

/// Decodes every byte of an image, and fails where that is not possible.
pub fn fsck(reader: &Reader, limits: &Limits) -> Result<Found, Error> {
    let image = decode(reader, limits)?;
    let mut found = Found { paths: 0, bytes: 0 };
    let mut seen = vec![false; image.tree.len()];
    for entry in image.tree.walk() {
        found.paths += 1;
        let again = seen.get_mut(entry.ino.index()).map(|seen| std::mem::replace(seen, true));
        if let (Content::Regular(located), Some(false)) = (&entry.inode.content, again) {
            found.bytes = found.bytes.saturating_add(located.size);
        }
    }
    Ok(found)
}

/// Reads all paths and all contents.
fn decode(reader: &Reader, limits: &Limits) -> Result<Image, Error> {
    let mut image = reader.image(limits)?;
    // In the order of the packed inode, so that each cluster of it is decompressed once.
    let mut inodes = Vec::with_capacity(image.tree.len());
    for entry in image.tree.walk() {
        if let Content::Regular(located) = &entry.inode.content {
            inodes.push((reader.contents(located)?.fragment(), entry.ino));
        }
    }
    inodes.sort_by_key(|&(fragment, _)| fragment);
    // A few bytes of image can say that a file is petabytes of zeros.
    let mut budget = limits.layer_uncompressed;
    for (_, ino) in inodes {
        let Content::Regular(located) = &mut image.tree.inode_mut(ino).content else { continue };
        if located.verity.is_some() || located.size == 0 {
            continue;
        }
        budget = budget
            .checked_sub(located.size)
            .ok_or(Error::Limit { name: "layer-uncompressed", limit: limits.layer_uncompressed })?;
        let mut verity = Verity::default();
        reader.contents(located)?.decode(|bytes| verity.update(bytes))?;
        located.verity = Some(verity.finish());
    }
    Ok(image)
}

fn write(tree: &Tree<Located>, out: &mut dyn Write) -> Result<(), Error> {
    tree::dump(tree, out).map_err(|error| Error::Io(std::io::Error::other(error)))
}
