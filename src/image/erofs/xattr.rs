//! Extended attributes of inodes: those that several inodes have are stored once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

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
    /// The numbers of the pairs.
    numbers: HashMap<Pair<'a>, u32>,
    /// The pairs in the order in which they were first seen.
    pairs: Vec<Pair<'a>>,
    /// Bytes of all of them.
    length: u64,
    /// The attributes that were asked for last, and their bytes: those of the next inode are
    /// mostly the same.
    last: RefCell<(Xattrs, Vec<u8>)>,
}

/// Pairs that are stored once; more would take much memory, and are stored with each inode.
const MOST: usize = 1 << 16;

impl<'a> Shared<'a> {
    /// Finds out what is shared of the attributes of all inodes.
    pub fn new(all: &(impl Iterator<Item = &'a Xattrs> + Clone)) -> Self {
        // A million inodes may each have attributes of their own, which should not fill the memory.
        let random = RandomState::new();
        let pairs = || all.clone().flat_map(Xattrs::iter);
        let mut hashes: Vec<u64> = pairs().map(|pair| random.hash_one(pair)).collect();
        hashes.sort_unstable();
        let mut again: Vec<u64> = hashes
            .windows(2)
            .filter_map(|two| two.first().filter(|first| two.last() == Some(first)))
            .copied()
            .collect();
        drop(hashes);
        again.dedup();
        let mut shared = Self::default();
        let mut counts: HashMap<Pair<'a>, u32> = HashMap::new();
        for pair in pairs() {
            // Of those that look as if they were shared, hardly any is not.
            let is_one_more = || counts.len() >= 2 * MOST && !counts.contains_key(&pair);
            if again.binary_search(&random.hash_one(pair)).is_err() || is_one_more() {
                continue;
            }
            let count = counts.entry(pair).or_insert_with(|| {
                shared.pairs.push(pair);
                0
            });
            *count = count.saturating_add(1);
        }
        let Self { numbers, pairs, length, .. } = &mut shared;
        pairs.retain(|&pair| {
            let Ok(number) = u32::try_from(*length / EROFS_XATTR_ALIGN) else { return false };
            let several = counts.get(&pair).is_some_and(|&count| count > 1) && numbers.len() < MOST;
            if several {
                numbers.insert(pair, number);
                *length += entry_length(pair);
            }
            several
        });
        shared
    }

    /// Bytes of all shared attributes.
    pub fn all(&self) -> u64 {
        self.length
    }

    /// The bytes of all shared attributes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for &pair in &self.pairs {
            write_entry(&mut out, pair);
        }
        out
    }

    /// How many bytes the attributes of an inode take behind it.
    pub fn length(&self, xattrs: &Xattrs) -> u64 {
        self.with_bytes(xattrs, len)
    }

    /// Writes what stands behind an inode.
    pub fn write(&self, out: &mut Vec<u8>, xattrs: &Xattrs) {
        self.with_bytes(xattrs, |bytes| out.extend_from_slice(bytes));
    }

    fn with_bytes<T>(&self, xattrs: &Xattrs, then: impl FnOnce(&[u8]) -> T) -> T {
        let mut last = self.last.borrow_mut();
        if last.0 != *xattrs {
            *last = (xattrs.clone(), self.bytes_of(xattrs));
        }
        then(&last.1)
    }

    fn bytes_of(&self, xattrs: &Xattrs) -> Vec<u8> {
        if xattrs.is_empty() {
            return Vec::new();
        }
        let (mut shared, mut inline) = (Vec::new(), Vec::new());
        for pair in xattrs.iter() {
            match self.numbers.get(&pair) {
                Some(&number) if shared.len() < usize::from(u8::MAX) => shared.push(number),
                _ => inline.push(pair),
            }
        }
        let header = XattrIbodyHeader {
            h_name_filter: U32::ZERO,
            h_shared_count: u8::try_from(shared.len()).unwrap_or(u8::MAX),
            h_reserved2: [0; 7],
        };
        let mut out = header.as_bytes().to_vec();
        for number in shared {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for pair in inline {
            write_entry(&mut out, pair);
        }
        out
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

    /// Millions of pairs that two inodes each have took more than 1 GB.
    #[test]
    fn pairs_without_end_are_not_all_shared() {
        let attributes = |inode: usize| {
            let mut xattrs = Xattrs::default();
            for n in 0..700 {
                xattrs.insert(format!("user.{}", inode / 2 * 700 + n).as_bytes(), b"");
            }
            xattrs
        };
        let all: Vec<_> = (0..200).map(attributes).collect();
        let shared = Shared::new(&all.iter());
        assert_eq!((shared.pairs.len(), shared.numbers.len()), (MOST, MOST));
        assert!(all.iter().all(|xattrs| shared.length(xattrs) > 0));
        let mut again = Vec::new();
        shared.write(&mut again, &all[199]);
        assert!(again.len() > 700 * 8, "{}", again.len());
    }

    #[test]
    fn a_label_of_many_is_stored_once() {
        let mut label = Xattrs::default();
        label.insert(b"security.selinux", b"system_u:object_r:lib_t:s0\0");
        let mut both = label.clone();
        both.insert(b"user.own", b"1");
        let shared = Shared::new(&std::iter::repeat_n(&label, 1000).chain([&both]));
        assert_eq!(shared.all(), 40);
        assert_eq!(shared.bytes().len(), 40);
        assert_eq!(shared.length(&label), 16);
        assert_eq!(shared.length(&both), 16 + 8);
        let mut out = Vec::new();
        shared.write(&mut out, &both);
        assert_eq!(out.len(), 24);
        assert_eq!(shared.length(&Xattrs::default()), 0);
    }
}
