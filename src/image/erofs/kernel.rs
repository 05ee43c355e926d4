//! Which features of the format an image may use: those of the oldest kernel that is to read it.

use std::fmt;
use std::str::FromStr;

/// A version of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    major: u16,
    minor: u16,
}

impl Kernel {
    /// The first that reads any image of ours: EROFS left the staging area, with LZ4.
    pub const OLDEST: Self = Self::new(5, 4);
    /// The first with physical clusters of more than one block.
    pub const BIG_CLUSTERS: Self = Self::new(5, 13);
    /// The first with last clusters behind the inode (`ztailpacking`).
    pub const TAIL_PACKING: Self = Self::new(5, 17);
    /// The first in which several inodes may have one physical cluster, and be read at one time.
    pub const SHARED_CLUSTERS: Self = Self::new(6, 0);
    /// The first with a packed inode (`fragments`).
    pub const FRAGMENTS: Self = Self::new(6, 1);
    /// The first with Zstandard.
    pub const ZSTD: Self = Self::new(6, 10);
    /// The first with encoded extents (`48bit`).
    pub const EXTENTS: Self = Self::new(6, 15);

    /// A version.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::FRAGMENTS
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Kernel {
    type Err = String;

    /// Reads `MAJOR.MINOR`; what follows, as in `6.1.0-13-amd64`, does not count.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.splitn(3, ['.', '-']).map(str::parse);
        let kernel = match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Self { major, minor },
            _ => return Err(format!("expected a version such as 6.1, found {text:?}")),
        };
        if kernel < Self::OLDEST {
            return Err(format!("found {kernel}, expected {} or later", Self::OLDEST));
        }
        Ok(kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!("6.1".parse(), Ok(Kernel::FRAGMENTS));
        assert_eq!("6.12.41+deb13-amd64".parse(), Ok(Kernel::new(6, 12)));
        assert_eq!("6.15-rc1".parse(), Ok(Kernel::EXTENTS));
        assert!("6.9".parse::<Kernel>().unwrap() < "6.10".parse().unwrap());
        for text in ["", "6", "6.", "six.one", "5.3", "4.19", "-6.1", "6.x"] {
            assert!(text.parse::<Kernel>().is_err(), "{text}");
        }
    }
}
