//! An inode: its metadata, and what it holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Directory;
use crate::escape::Escaped;

/// The number of an inode in its tree's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub(super) u32);

impl Ino {
    /// The number as an index, for tables that run beside the arena.
    #[expect(clippy::as_conversions, reason = "u32 fits usize on the 64-bit targets we support")]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One inode.
#[derive(Clone, Debug)]
pub struct Inode<C> {
    /// Its metadata.
    pub stat: Stat,
    /// What it holds.
    pub content: Content<C>,
}

/// What an inode holds.
#[derive(Clone, Debug)]
pub enum Content<C> {
    /// Entries.
    Directory(Directory),
    /// Bytes, stored as `C` says.
    Regular(C),
    /// The target, as written.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice {
        /// Major and minor number, as the kernel's `makedev` joins them.
        rdev: u64,
    },
    /// A block device.
    BlockDevice {
        /// Major and minor number, as the kernel's `makedev` joins them.
        rdev: u64,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl<C> Content<C> {
    /// The file type bits of `st_mode`.
    pub fn file_type(&self) -> u16 {
        match self {
            Self::Socket => 0o140_000,
            Self::Symlink(_) => 0o120_000,
            Self::Regular(_) => 0o100_000,
            Self::BlockDevice { .. } => 0o060_000,
            Self::Directory(_) => 0o040_000,
            Self::CharDevice { .. } => 0o020_000,
            Self::Fifo => 0o010_000,
        }
    }

    /// The type in words, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Symlink(_) => "symlink",
            Self::Regular(_) => "regular file",
            Self::BlockDevice { .. } => "block device",
            Self::Directory(_) => "directory",
            Self::CharDevice { .. } => "character device",
            Self::Fifo => "fifo",
        }
    }
}

/// The metadata of an inode; the file type is told by its [`Content`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Permission, setuid, setgid and sticky bits (`0o7777`).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Stat {
    /// The metadata of a directory that nobody described: 0755, root:root, time 0.
    pub fn directory() -> Self {
        Self { mode: 0o755, ..Self::default() }
    }
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(4))]
pub struct Timestamp {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, below 10⁹.
    pub nsec: u32,
}

/// Extended attributes by full name (`security.selinux`).
///
/// Inodes with equal attributes may share them. A million may each have their own, so those of an
/// inode are one piece of memory: for each, in order of the names' bytes, the lengths of name and
/// value, and both.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattrs(Option<Arc<[u8]>>);

/// Bytes of a length.
const LENGTH: usize = size_of::<u32>();

impl Xattrs {
    /// The value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Sets an attribute. Many at a time are better collected.
    pub fn insert(&mut self, name: &[u8], value: &[u8]) {
        let others = self.iter().filter(|(found, _)| *found != name);
        *self = others.chain([(name, value)]).collect();
    }

    /// Removes an attribute; whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        *self = self.iter().filter(|(found, _)| *found != name).collect();
        true
    }

    /// Names and values in order of the names' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest: &[u8] = self.0.as_deref().unwrap_or_default();
        std::iter::from_fn(move || {
            let mut field = |length| {
                let (field, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Some(field)
            };
            let mut length = || {
                let length = field(LENGTH)?.try_into().map(u32::from_ne_bytes).ok()?;
                usize::try_from(length).ok()
            };
            let (name, value) = (length()?, length()?);
            Some((field(name)?, field(value)?))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Xattrs {
    /// Of several values of one attribute, the last counts.
    ///
    /// # Panics
    /// At a name or value of 4 GiB, far above any limit that a caller sets.
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(attributes: I) -> Self {
        let attributes: BTreeMap<_, _> = attributes.into_iter().collect();
        if attributes.is_empty() {
            return Self(None);
        }
        let length = |(name, value): (&&[u8], &&[u8])| 2 * LENGTH + name.len() + value.len();
        let mut bytes = Vec::with_capacity(attributes.iter().map(length).sum());
        for (name, value) in &attributes {
            for field in [name, value] {
                let length = u32::try_from(field.len()).expect("less than 4 GiB");
                bytes.extend_from_slice(&length.to_ne_bytes());
            }
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        Self(Some(bytes.into()))
    }
}

impl fmt::Debug for Xattrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (Escaped(k), Escaped(v)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Xattrs;

    #[test]
    fn xattrs_that_become_empty_equal_none() {
        let mut xattrs = Xattrs::default();
        xattrs.insert(b"user.a", b"1");
        let copy = xattrs.clone();
        assert!(xattrs.remove(b"user.a") && !xattrs.remove(b"user.a"));
        assert_eq!(xattrs, Xattrs::default());
        assert_eq!(copy.get(b"user.a"), Some(&b"1"[..]));
    }

    #[test]
    fn xattrs_are_sorted_and_have_one_value_each() {
        let mut xattrs: Xattrs = [(&b"user.b"[..], &b"1"[..]), (b"user.", b""), (b"user.b", b"22")]
            .into_iter()
            .collect();
        xattrs.insert(b"user.a", b"3");
        xattrs.insert(b"user.", b"4");
        let all: Vec<_> = xattrs.iter().collect();
        assert_eq!(all, [(&b"user."[..], &b"4"[..]), (b"user.a", b"3"), (b"user.b", b"22")]);
        assert_eq!(xattrs.len(), 3);
        assert_eq!(xattrs.get(b"user"), None);
    }
}
