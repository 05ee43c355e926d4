//! Extended attributes of inodes: those that several inodes have are stored once.

use std::collections::HashMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::format::{EROFS_XATTR_ALIGN, EROFS_XATTR_PREFIXES, XattrEntry, XattrIbodyHeader};
use super::{len, size};
use crate::tree::Xattrs;

/// A name and a value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The attributes that several inodes have.
#[derive(Debug, Default)]
pub struct Shared<'a> {
    /// How often each pair was seen, then its number; 0 if it is not shared.
    numbers: HashMap<Pair<'a>, u32>,
    /// The pairs in the order in which they were first seen.
    pairs: Vec<Pair<'a>>,
}

impl<'a> Shared<'a> {
    /// Counts the attributes of one inode.
    pub fn count(&mut self, xattrs: &'a Xattrs) {
        for pair in xattrs.iter() {
            let count = self.numbers.entry(pair).or_insert_with(|| {
                self.pairs.push(pair);
                0
            });
            *count = count.saturating_add(1);
        }
    }

    /// Ends counting: pairs that were seen more than once get numbers. Returns the size of all.
    pub fn number(&mut self) -> u64 {
        let mut end = 0;
        let numbers = &mut self.numbers;
        self.pairs.retain(|pair| {
            let Some(number) = numbers.get_mut(pair) else { return false };
            let shared = *number > 1;
            if shared {
                // Numbers count from 1 here, so that 0 can mean none.
                *number = u32::try_from(end / EROFS_XATTR_ALIGN + 1).unwrap_or(0);
                end += entry_length(*pair);
            } else {
                *number = 0;
            }
            shared && *number != 0
        });
        end
    }

    /// The bytes of all shared attributes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for &pair in &self.pairs {
            write_entry(&mut out, pair);
        }
        out
    }

    fn split<'x>(&self, xattrs: &'x Xattrs) -> (Vec<u32>, Vec<Pair<'x>>) {
        let (mut shared, mut inline) = (Vec::new(), Vec::new());
        for pair in xattrs.iter() {
            match self.numbers.get(&pair) {
                Some(&number) if number > 0 && shared.len() < usize::from(u8::MAX) => {
                    shared.push(number - 1);
                }
                _ => inline.push(pair),
            }
        }
        (shared, inline)
    }

    /// How many bytes the attributes of an inode take behind it.
    pub fn length(&self, xattrs: &Xattrs) -> u64 {
        if xattrs.is_empty() {
            return 0;
        }
        let (shared, inline) = self.split(xattrs);
        let numbers = u64::try_from(shared.len()).unwrap_or(u64::MAX) * EROFS_XATTR_ALIGN;
        12 + numbers + inline.into_iter().map(entry_length).sum::<u64>()
    }

    /// Writes what stands behind an inode.
    pub fn write(&self, out: &mut Vec<u8>, xattrs: &Xattrs) {
        if xattrs.is_empty() {
            return;
        }
        let (shared, inline) = self.split(xattrs);
        let header = XattrIbodyHeader {
            h_name_filter: U32::ZERO,
            h_shared_count: u8::try_from(shared.len()).unwrap_or(u8::MAX),
            h_reserved2: [0; 7],
        };
        out.extend_from_slice(header.as_bytes());
        for number in shared {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for pair in inline {
            write_entry(out, pair);
        }
    }
}

/// Why a set of attributes cannot be stored, if it cannot.
pub fn problem(xattrs: &Xattrs) -> Option<String> {
    xattrs.iter().find_map(|(name, value)| {
        let shown = crate::escape::Escaped(name);
        match split_name(name) {
            None => Some(format!(
                "found the extended attribute {shown}, expected user.*, trusted.*, security.* \
                 or a POSIX ACL"
            )),
            Some((_, suffix)) if suffix.len() > usize::from(u8::MAX) => Some(format!(
                "found an extended attribute's name of {} bytes, expected at most 255 behind \
                 its prefix",
                name.len()
            )),
            _ if value.len() > usize::from(u16::MAX) => Some(format!(
                "found {} bytes in the extended attribute {shown}, expected at most 65535",
                value.len()
            )),
            _ => None,
        }
    })
}

/// The index of a name's prefix, and the rest of the name.
fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    EROFS_XATTR_PREFIXES.iter().find_map(|(index, prefix)| {
        let rest = name.strip_prefix(*prefix)?;
        // The ACLs' are whole names, the others need something behind them.
        (prefix.ends_with(b".") != rest.is_empty()).then_some((*index, rest))
    })
}

fn entry_length((name, value): Pair<'_>) -> u64 {
    let suffix = split_name(name).map_or(name, |(_, suffix)| suffix);
    (4 + len(suffix) + len(value)).next_multiple_of(EROFS_XATTR_ALIGN)
}

fn write_entry(out: &mut Vec<u8>, (name, value): Pair<'_>) {
    let (index, suffix) = split_name(name).unwrap_or((0, name));
    let entry = XattrEntry {
        e_name_len: u8::try_from(suffix.len()).unwrap_or(u8::MAX),
        e_name_index: index,
        e_value_size: U16::new(u16::try_from(value.len()).unwrap_or(u16::MAX)),
    };
    out.extend_from_slice(entry.as_bytes());
    out.extend_from_slice(suffix);
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(size(EROFS_XATTR_ALIGN)), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_prefixes_have_an_index() {
        assert_eq!(split_name(b"security.selinux"), Some((6, &b"selinux"[..])));
        assert_eq!(split_name(b"system.posix_acl_access"), Some((2, &b""[..])));
        assert_eq!(split_name(b"user."), None);
        assert_eq!(split_name(b"system.posix_acl_accessible"), None);
        assert_eq!(split_name(b"system.other"), None);
    }

    #[test]
    fn a_label_of_many_is_stored_once() {
        let mut label = Xattrs::default();
        label.insert(b"security.selinux", b"system_u:object_r:lib_t:s0\0");
        let mut both = label.clone();
        both.insert(b"user.own", b"1");
        let mut shared = Shared::default();
        for _ in 0..1000 {
            shared.count(&label);
        }
        shared.count(&both);
        assert_eq!(shared.number(), 40);
        assert_eq!(shared.bytes().len(), 40);
        assert_eq!(shared.length(&label), 16);
        assert_eq!(shared.length(&both), 16 + 8);
        let mut out = Vec::new();
        shared.write(&mut out, &both);
        assert_eq!(out.len(), 24);
    }
}
