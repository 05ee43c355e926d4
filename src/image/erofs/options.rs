//! How an EROFS image is to be written.

use std::num::NonZeroUsize;
use std::str::FromStr;

use super::format::Z_EROFS_PCLUSTER_MAX_SIZE;
use super::{BLOCK, size};

/// How contents are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// LZ4HC, which is LZ4 to whoever reads it.
    Lz4hc(Level),
}

/// A level of LZ4HC, 1 to 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(u8);

impl Level {
    /// A level, if there is one of that number.
    pub fn new(level: u8) -> Option<Self> {
        (1..=12).contains(&level).then_some(Self(level))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    /// Where more work stops to pay: 9 takes half as much again for 0.4 %.
    fn default() -> Self {
        Self(6)
    }
}

impl FromStr for Compression {
    type Err = String;

    /// Reads `none`, `lz4`, `lz4hc` or `lz4hc:LEVEL`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        match (name, level) {
            ("none", None) => Ok(Self::None),
            ("lz4", None) => Ok(Self::Lz4),
            ("lz4hc", None) => Ok(Self::Lz4hc(Level::default())),
            ("lz4hc", Some(level)) => {
                level.parse().ok().and_then(Level::new).map(Self::Lz4hc).ok_or_else(|| {
                    format!("expected lz4hc:LEVEL with a level of 1 to 12, found {text:?}")
                })
            }
            _ => Err(format!("expected none, lz4, lz4hc or lz4hc:LEVEL, found {text:?}")),
        }
    }
}

/// The size of a physical cluster: a power of two from 4 KiB to 1 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSize(u32);

impl ClusterSize {
    /// A cluster size, if there can be one of that many bytes.
    pub fn new(bytes: u32) -> Option<Self> {
        let possible = bytes.is_power_of_two()
            && u64::from(bytes) >= BLOCK
            && bytes <= Z_EROFS_PCLUSTER_MAX_SIZE;
        possible.then_some(Self(bytes))
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        size(u64::from(self.0))
    }

    /// In blocks, at most 256.
    pub fn blocks(self) -> u16 {
        u16::try_from(u64::from(self.0) / BLOCK).unwrap_or(u16::MAX)
    }
}

impl FromStr for ClusterSize {
    type Err = String;

    /// Reads a number of bytes, or of KiB or MiB with `K` or `M` behind it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes() {
            [.., b'K' | b'k'] => (text.get(..text.len() - 1), 10),
            [.., b'M' | b'm'] => (text.get(..text.len() - 1), 20),
            _ => (Some(text), 0),
        };
        digits
            .and_then(|digits| digits.parse::<u32>().ok())
            .and_then(|n| n.checked_mul(1 << shift))
            .and_then(Self::new)
            .ok_or_else(|| format!("expected a power of two from 4K to 1M, found {text:?}"))
    }
}

/// How an EROFS image is to be written.
#[derive(Clone, Debug)]
pub struct Options {
    /// How contents are compressed.
    pub compression: Compression,
    /// The size of compressed clusters: larger is smaller, smaller is faster to read at random.
    pub cluster_size: ClusterSize,
    /// The time that the image claims to be made at, in seconds since 1970.
    pub epoch: i64,
    /// How many threads compress; it does not change the image.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression: Compression::Lz4hc(Level::default()),
            cluster_size: ClusterSize(64 << 10),
            epoch: 0,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_nonsense_is_refused() {
        assert_eq!("lz4".parse(), Ok(Compression::Lz4));
        assert_eq!("lz4hc:12".parse(), Ok(Compression::Lz4hc(Level(12))));
        for text in ["", "lz4:1", "lz4hc:0", "lz4hc:13", "lz4hc:", "none:1", "zip"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
        assert_eq!("64K".parse(), Ok(ClusterSize(65_536)));
        assert_eq!("1M".parse(), Ok(ClusterSize(1 << 20)));
        for text in ["", "K", "2K", "48K", "2M", "4097", "-4K", "5000M"] {
            assert!(text.parse::<ClusterSize>().is_err(), "{text}");
        }
    }
}
