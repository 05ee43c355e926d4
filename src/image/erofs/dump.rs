//! An image as text: one line of the composefs dumpfile format for each path.

use std::fmt::Write;

use super::hex;
use super::reader::{Located, Reader};
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
    let mut image = reader.image(limits)?;
    let inodes: Vec<_> = image.tree.walk().map(|entry| entry.ino).collect();
    for ino in inodes {
        let Content::Regular(located) = &mut image.tree.inode_mut(ino).content else { continue };
        if located.verity.is_some() || located.size == 0 {
            continue;
        }
        let mut contents = reader.contents(located)?;
        let mut verity = Verity::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = contents.read_some(&mut buffer)?;
            if n == 0 {
                break;
            }
            verity.update(buffer.get(..n).unwrap_or_default());
        }
        located.verity = Some(verity.finish());
    }
    write(&image.tree, out)
}

fn write(tree: &Tree<Located>, out: &mut dyn Write) -> Result<(), Error> {
    tree::dump(tree, out).map_err(|error| Error::Io(std::io::Error::other(error)))
}
