//! How an EROFS image is to be written.

use std::num::NonZeroUsize;
use std::str::FromStr;

use super::format::Z_EROFS_PCLUSTER_MAX_SIZE;
use super::kernel::Kernel;
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
    /// Zstandard.
    Zstd(ZstdLevel),
}

impl Compression {
    /// The oldest kernel that may know it.
    pub fn oldest(self) -> Kernel {
        match self {
            Self::None | Self::Lz4 | Self::Lz4hc(_) => Kernel::OLDEST,
            Self::Zstd(_) => Kernel::ZSTD,
        }
    }
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

/// A level of Zstandard, 1 to 19.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZstdLevel(u8);

impl ZstdLevel {
    /// A level, if there is one of that number.
    pub fn new(level: u8) -> Option<Self> {
        (1..=19).contains(&level).then_some(Self(level))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for ZstdLevel {
    fn default() -> Self {
        Self(3)
    }
}

impl FromStr for Compression {
    type Err = String;

    /// Reads `none`, `lz4`, `lz4hc`, `lz4hc:LEVEL`, `zstd` or `zstd:LEVEL`.
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
            ("zstd", None) => Ok(Self::Zstd(ZstdLevel::default())),
            ("zstd", Some(level)) => {
                level.parse().ok().and_then(ZstdLevel::new).map(Self::Zstd).ok_or_else(|| {
                    format!("expected zstd:LEVEL with a level of 1 to 19, found {text:?}")
                })
            }
            _ => Err(format!(
                "expected none, lz4, lz4hc, lz4hc:LEVEL, zstd or zstd:LEVEL, found {text:?}"
            )),
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How contents are compressed.
    pub compression: Compression,
    /// The size of compressed clusters: larger is smaller, smaller is faster to read at random.
    /// None for what suits the compression and the kernel.
    pub cluster_size: Option<ClusterSize>,
    /// The oldest kernel that is to read the image.
    pub min_kernel: Kernel,
    /// How much of the image is read back before it counts as written.
    pub self_check: SelfCheck,
    /// How many threads compress; it does not change the image. Each needs about 5 MiB, so there
    /// are no more than 16 by default.
    pub threads: NonZeroUsize,
}

/// How much of an image is read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfCheck {
    /// Every inode, extent, attribute and directory.
    #[default]
    Structure,
    /// All contents too, which are decoded, and their digests compared.
    Full,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression: Compression::Lz4hc(Level::default()),
            cluster_size: None,
            min_kernel: Kernel::default(),
            self_check: SelfCheck::default(),
            threads: default_threads(std::thread::available_parallelism().ok()),
        }
    }
}

impl Options {
    /// Says which option the oldest kernel cannot read.
    pub fn problem(&self) -> Option<String> {
        let kernel = self.min_kernel;
        if kernel < self.compression.oldest() {
            return Some(format!(
                "found zstd for Linux {kernel}, expected lz4 or lz4hc, or Linux {} or later",
                Kernel::ZSTD
            ));
        }
        if self.cluster_size.is_some_and(|size| size.blocks() > 1) && kernel < Kernel::BIG_CLUSTERS
        {
            return Some(format!(
                "found clusters of more than 4K for Linux {kernel}, expected 4K, or Linux {} or \
                 later",
                Kernel::BIG_CLUSTERS
            ));
        }
        None
    }

    /// Says what the kernel of a host may lack though its version is recent enough (R10).
    pub fn warning(&self) -> Option<String> {
        matches!(self.compression, Compression::Zstd(_)).then(|| {
            let extents = if self.plan().extents { " and encoded extents (48bit)" } else { "" };
            format!(
                "the image has Zstandard{extents}: hosts must have Linux {} or later, and a kernel \
                 that was built with CONFIG_EROFS_FS_ZIP_ZSTD, which is off by default",
                if self.plan().extents { Kernel::EXTENTS } else { Kernel::ZSTD }
            )
        })
    }

    /// Decides what the options leave open.
    pub(super) fn plan(&self) -> Plan {
        let compressed = self.compression != Compression::None;
        let kernel = self.min_kernel;
        // LZ4 fills whole blocks, so that extents at any byte save nothing: pieces of one length
        // make images larger (4 % at 64K). They would need max_pclusterblks + 1, for the block
        // more that a piece may touch.
        let extents = matches!(self.compression, Compression::Zstd(_)) && kernel >= Kernel::EXTENTS;
        let default = match self.compression {
            _ if kernel < Kernel::BIG_CLUSTERS => 4 << 10,
            Compression::Zstd(_) => 128 << 10,
            _ => 64 << 10,
        };
        Plan {
            compression: self.compression,
            cluster: self.cluster_size.unwrap_or(ClusterSize(default)),
            tails: match () {
                () if !compressed => Tails::Blocks,
                () if kernel >= Kernel::FRAGMENTS => Tails::Fragments,
                () if kernel >= Kernel::TAIL_PACKING => Tails::Inline,
                () => Tails::Blocks,
            },
            extents,
            shares: !compressed || kernel >= Kernel::SHARED_CLUSTERS,
        }
    }
}

/// A thread for each processor, as long as their memory is worth it.
fn default_threads(processors: Option<NonZeroUsize>) -> NonZeroUsize {
    const MOST: NonZeroUsize = NonZeroUsize::new(16).unwrap();
    processors.unwrap_or(NonZeroUsize::MIN).min(MOST)
}

/// What the options and the kernel decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// How contents are compressed.
    pub compression: Compression,
    /// The size of compressed clusters; of what they are made from, as encoded extents.
    pub cluster: ClusterSize,
    /// Where the last bytes of compressed files go.
    pub tails: Tails,
    /// Whether compressed data are encoded extents, which start at any byte.
    pub extents: bool,
    /// Whether several inodes may have the same contents.
    pub shares: bool,
}

impl Plan {
    /// Files, and ends of files, that are not compressed on their own but in the packed inode.
    ///
    /// About what fills a cluster: less would leave a part of it unused, and trying it first
    /// would compress it twice.
    pub fn small(self) -> usize {
        if self.extents { self.piece() } else { self.piece().min(256 << 10) }
    }

    /// Bytes of input in a segment; the last one of a file may have fewer.
    ///
    /// A cut costs half a block, but for encoded extents. Small enough that a dozen fit memory, and a
    /// multiple of every cluster size.
    pub fn segment(self) -> usize {
        match self.compression {
            // No more than processors' caches hold.
            Compression::None => 256 << 10,
            _ if self.extents => 1 << 20,
            _ => 2 << 20,
        }
    }

    /// The most input that one cluster of Zstandard is offered.
    pub fn piece(self) -> usize {
        if self.extents { self.cluster.bytes() } else { 2 * self.cluster.bytes() }
    }
}

/// Where the last bytes of compressed files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tails {
    /// To blocks of their own.
    Blocks,
    /// Behind the inode, if they become small enough.
    Inline,
    /// To the packed inode, where all of them are compressed together.
    Fragments,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_nonsense_is_refused() {
        assert_eq!("lz4".parse(), Ok(Compression::Lz4));
        assert_eq!("lz4hc:12".parse(), Ok(Compression::Lz4hc(Level(12))));
        assert_eq!("zstd".parse(), Ok(Compression::Zstd(ZstdLevel(3))));
        assert_eq!("zstd:19".parse(), Ok(Compression::Zstd(ZstdLevel(19))));
        for text in
            ["", "lz4:1", "lz4hc:0", "lz4hc:13", "lz4hc:", "none:1", "zip", "zstd:0", "zstd:20"]
        {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
        assert_eq!("64K".parse(), Ok(ClusterSize(65_536)));
        assert_eq!("1M".parse(), Ok(ClusterSize(1 << 20)));
        for text in ["", "K", "2K", "48K", "2M", "4097", "-4K", "5000M"] {
            assert!(text.parse::<ClusterSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn threads_are_bounded_by_default() {
        for (processors, threads) in [(None, 1), (Some(2), 2), (Some(16), 16), (Some(256), 16)] {
            let processors = processors.map(|n| NonZeroUsize::new(n).unwrap());
            assert_eq!(default_threads(processors).get(), threads);
        }
    }

    #[test]
    fn what_a_version_does_not_imply_is_told() {
        let warning = |codec: &str, kernel: &str| {
            let (compression, min_kernel) = (codec.parse().unwrap(), kernel.parse().unwrap());
            Options { compression, min_kernel, ..Options::default() }.warning()
        };
        assert_eq!(warning("lz4hc", "6.15"), None);
        assert_eq!(warning("none", "5.4"), None);
        let zstd = warning("zstd", "6.12").unwrap();
        assert!(zstd.contains("6.10") && !zstd.contains("48bit"), "{zstd}");
        let extents = warning("zstd", "6.18").unwrap();
        assert!(extents.contains("6.15") && extents.contains("48bit"), "{extents}");
    }

    #[test]
    fn what_a_kernel_cannot_read_is_refused() {
        let options = |codec: &str, cluster: Option<&str>, kernel: &str| Options {
            compression: codec.parse().unwrap(),
            cluster_size: cluster.map(|size| size.parse().unwrap()),
            min_kernel: kernel.parse().unwrap(),
            ..Options::default()
        };
        for (codec, cluster, kernel, good) in [
            ("zstd", None, "6.9", false),
            ("zstd", None, "6.10", true),
            ("lz4", Some("64K"), "5.10", false),
            ("lz4", Some("4K"), "5.4", true),
            ("lz4hc", None, "5.4", true),
            ("none", None, "5.4", true),
        ] {
            let options = options(codec, cluster, kernel);
            assert_eq!(options.problem().is_none(), good, "{options:?}");
        }
        assert_eq!(options("lz4", None, "5.4").plan().cluster.bytes(), 4096);
    }
}
