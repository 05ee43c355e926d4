//! The extended attributes of an inode of an image.

use std::collections::{BTreeMap, HashMap};

use super::super::format::{
    EROFS_XATTR_ALIGN, EROFS_XATTR_LONG_PREFIX, EROFS_XATTR_PREFIXES, XattrEntry, XattrIbodyHeader,
};
use super::super::{BLOCK, len, size};
use super::inode::Inode;
use super::{Reader, corrupt, unsupported};
use crate::image::Error;
use crate::tree::Xattrs;

/// Sets of attributes that were read before: most inodes have one of a few.
#[derive(Debug, Default)]
pub struct Cache {
    sets: HashMap<Vec<u8>, Xattrs>,
    /// Bytes that were read since somebody asked.
    read: u64,
}

/// What an attribute takes beside its name and value.
const ENTRY: u64 = 64;

/// A longer set is hardly that of another inode too.
const CACHED: usize = 256;
/// So many sets that a hostile image cannot fill the memory with them.
const SETS: usize = 10_000;

impl Cache {
    /// The attributes of an inode.
    pub fn xattrs(&mut self, reader: &Reader, inode: &Inode) -> Result<Xattrs, Error> {
        let length = size(inode.body - inode.xattrs);
        if length == 0 {
            return Ok(Xattrs::default());
        }
        let mut body = vec![0; length];
        reader.metadata(&mut body, inode.xattrs)?;
        if let Some(set) = self.sets.get(&body) {
            return Ok(set.clone());
        }
        let set = read(reader, inode.nid, &body)?;
        self.read += set.iter().map(|(name, value)| ENTRY + len(name) + len(value)).sum::<u64>();
        if body.len() <= CACHED && self.sets.len() < SETS {
            self.sets.insert(body, set.clone());
        }
        Ok(set)
    }
}

impl Cache {
    /// How many bytes of attributes were read that no inode before had, since this was asked.
    pub fn read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }
}

fn read(reader: &Reader, nid: u64, body: &[u8]) -> Result<Xattrs, Error> {
    let broken = || corrupt(format!("found broken extended attributes of inode {nid}"));
    let header_length = size_of::<XattrIbodyHeader>();
    let shared_count = usize::from(*body.get(4).ok_or_else(broken)?);
    let (shared, mut inline) = body
        .get(header_length..)
        .and_then(|behind| behind.split_at_checked(shared_count * size(EROFS_XATTR_ALIGN)))
        .ok_or_else(broken)?;
    let mut xattrs = BTreeMap::new();
    let mut add = |entry: XattrEntry, payload: &[u8]| -> Result<(), Error> {
        let name_length = usize::from(entry.e_name_len);
        let (suffix, rest) = payload.split_at_checked(name_length).ok_or_else(broken)?;
        let value = rest.get(..usize::from(entry.e_value_size.get())).ok_or_else(broken)?;
        if entry.e_name_index & EROFS_XATTR_LONG_PREFIX != 0 {
            return Err(unsupported(format!("found a long attribute prefix of inode {nid}")));
        }
        let prefix = EROFS_XATTR_PREFIXES.iter().find(|(index, _)| *index == entry.e_name_index);
        let (_, prefix) = prefix.ok_or_else(broken)?;
        let name = [*prefix, suffix].concat();
        if name.contains(&0) || xattrs.insert(name, value.to_vec()).is_some() {
            return Err(broken());
        }
        Ok(())
    };
    for number in shared.chunks_exact(4) {
        let number = number.try_into().map(u32::from_le_bytes).map_err(|_| broken())?;
        let start = u64::from(reader.superblock.xattr_blkaddr.get()) * BLOCK
            + u64::from(number) * EROFS_XATTR_ALIGN;
        let entry: XattrEntry = reader.structure(start)?;
        let mut payload =
            vec![0; usize::from(entry.e_name_len) + usize::from(entry.e_value_size.get())];
        reader.metadata(&mut payload, start + 4)?;
        add(entry, &payload)?;
    }
    while !inline.is_empty() {
        let (entry, payload) =
            zerocopy::Ref::<_, XattrEntry>::from_prefix(inline).map_err(|_| broken())?;
        let entry = *entry;
        add(entry, payload)?;
        let used = 4 + u64::from(entry.e_name_len) + u64::from(entry.e_value_size.get());
        let used = used.next_multiple_of(EROFS_XATTR_ALIGN).min(len(inline));
        inline = inline.get(size(used)..).unwrap_or_default();
    }
    Ok(xattrs.iter().map(|(name, value)| (&name[..], &value[..])).collect())
}
