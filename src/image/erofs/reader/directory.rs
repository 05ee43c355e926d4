//! The entries of a directory of an image.

use zerocopy::FromBytes;

use super::super::format::{Dirent, EROFS_NAME_LEN};
use super::super::{BLOCK, size};
use super::data::File;
use super::inode::Inode;
use super::{Reader, corrupt};
use crate::escape::Escaped;
use crate::image::Error;

const DIRENT: usize = size_of::<Dirent>();

/// One name of a directory.
#[derive(Debug)]
pub struct Entry {
    pub name: Box<[u8]>,
    pub nid: u64,
    file_type: u8,
}

impl Entry {
    /// Fails unless the entry gives the type that its inode has.
    pub fn expect_type(&self, expected: u8) -> Result<(), Error> {
        if self.file_type == expected {
            return Ok(());
        }
        Err(corrupt(format!(
            "{}: found the type {} in its directory, expected {expected} as in its inode",
            Escaped(&self.name),
            self.file_type
        )))
    }
}

/// The entries of a directory but `.` and `..`, which must be right.
///
/// The names must ascend through all blocks, or the kernel would not find some of them.
pub fn entries<'a>(
    reader: &'a Reader,
    inode: &Inode,
    parent: u64,
) -> Result<impl Iterator<Item = Result<Entry, Error>> + use<'a>, Error> {
    let nid = inode.nid;
    let mut file = File::new(reader, inode.clone())?;
    let mut left = inode.size;
    let mut last = Box::default();
    let mut dots = u8::from(inode.dot_omitted);
    let mut next_block = move || -> Result<Option<Vec<Entry>>, Error> {
        if left == 0 {
            if dots != 2 {
                return Err(corrupt(format!("found no \".\" or \"..\" in the directory {nid}")));
            }
            return Ok(None);
        }
        let mut block = vec![0; size(left.min(BLOCK))];
        file.fill(&mut block)?;
        left -= left.min(BLOCK);
        let mut entries = parse(&block).ok_or_else(|| {
            corrupt(format!("found a block without order in the directory {nid}"))
        })?;
        for entry in &entries {
            if entry.name <= last {
                return Err(corrupt(format!(
                    "found {} behind {} in the directory {nid}, expected ascending names",
                    Escaped(&entry.name),
                    Escaped(&last)
                )));
            }
            last.clone_from(&entry.name);
            let expected = match &*entry.name {
                b"." => nid,
                b".." => parent,
                _ => continue,
            };
            dots += 1;
            if entry.nid != expected {
                return Err(corrupt(format!(
                    "found the inode {} as {} of the directory {nid}, expected {expected}",
                    entry.nid,
                    Escaped(&entry.name)
                )));
            }
        }
        entries.retain(|entry| !matches!(&*entry.name, b"." | b".."));
        Ok(Some(entries))
    };
    let mut failed = false;
    let blocks = std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let block = next_block().transpose();
        failed = matches!(block, Some(Err(_)));
        block
    });
    Ok(blocks.flat_map(|block| match block {
        Ok(entries) => entries.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }))
}

/// The entries of one block.
fn parse(block: &[u8]) -> Option<Vec<Entry>> {
    let dirent = |i: usize| -> Option<Dirent> {
        Dirent::read_from_bytes(block.get(i * DIRENT..(i + 1) * DIRENT)?).ok()
    };
    let first = usize::from(dirent(0)?.nameoff.get());
    let count = first / DIRENT;
    if count == 0 || !first.is_multiple_of(DIRENT) {
        return None;
    }
    let mut entries = Vec::with_capacity(count.min(block.len() / DIRENT));
    for i in 0..count {
        let this = dirent(i)?;
        let start = usize::from(this.nameoff.get());
        let name = if i + 1 < count {
            block.get(start..usize::from(dirent(i + 1)?.nameoff.get()))?
        } else {
            let rest = block.get(start..)?;
            rest.split(|&byte| byte == 0).next()?
        };
        if name.is_empty()
            || name.len() > EROFS_NAME_LEN
            || name.iter().any(|b| matches!(b, 0 | b'/'))
        {
            return None;
        }
        entries.push(Entry { name: name.into(), nid: this.nid.get(), file_type: this.file_type });
    }
    Some(entries)
}
