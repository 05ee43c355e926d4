//! What stands behind the superblock of the algorithms, read as the kernel does
//! (`z_erofs_parse_cfgs`).

use std::fs::File;
use std::os::unix::fs::FileExt;

use zerocopy::FromBytes;

use super::super::format::{
    DeflateCfgs, EROFS_FEATURE_INCOMPAT_COMPR_CFGS, Lz4Cfgs, SuperBlock,
    Z_EROFS_COMPRESSION_DEFLATE, Z_EROFS_COMPRESSION_LZ4, Z_EROFS_COMPRESSION_LZMA,
    Z_EROFS_COMPRESSION_ZSTD, Z_EROFS_PCLUSTER_MAX_SIZE, ZstdCfgs,
};
use super::super::{BLOCK, size};
use super::{corrupt, superblock_end, unsupported};
use crate::image::Error;

/// The algorithms that the superblock announces, and what they need.
#[derive(Clone, Copy, Debug)]
pub struct Algorithms {
    /// One bit for each.
    announced: u16,
    /// Blocks of the largest cluster of LZ4: kernels have no more room for one.
    pub lz4_blocks: u64,
    /// log₂ of the largest window of Zstandard: kernels have no more room for one.
    pub zstd_window_log: u32,
}

impl Algorithms {
    /// Reads the configurations of an image of `length` bytes.
    pub fn read(file: &File, superblock: &SuperBlock, length: u64) -> Result<Self, Error> {
        let mut found = Self { announced: 1, lz4_blocks: 1, zstd_window_log: 10 };
        if superblock.feature_incompat.get() & EROFS_FEATURE_INCOMPAT_COMPR_CFGS == 0 {
            return Ok(found);
        }
        found.announced = superblock.available_compr_algs.get();
        let mut next = superblock_end(superblock);
        for algorithm in found.all() {
            let start = next.next_multiple_of(4) + 2;
            let mut field = [0; 2];
            if start <= length {
                file.read_exact_at(&mut field, start - 2)?;
            }
            // Zero is one more than the field can say.
            let count = match u16::from_le_bytes(field) {
                0 => 1 << 16,
                count => u64::from(count),
            };
            next = start + count;
            if next > length {
                return Err(corrupt(format!(
                    "found {count} bytes of configuration of {} at {start}, expected at most \
                     {length} in all",
                    name_of(algorithm)
                )));
            }
            let mut bytes = vec![0; size(count)];
            file.read_exact_at(&mut bytes, start)?;
            found.configure(algorithm, &bytes)?;
        }
        Ok(found)
    }

    /// Whether the superblock says that there are clusters of an algorithm.
    pub fn announces(&self, algorithm: u8) -> bool {
        self.announced.checked_shr(algorithm.into()).is_some_and(|bits| bits & 1 == 1)
    }

    /// All that the superblock announces.
    fn all(self) -> impl Iterator<Item = u8> {
        (0..16).filter(move |&algorithm| self.announces(algorithm))
    }

    fn configure(&mut self, algorithm: u8, bytes: &[u8]) -> Result<(), Error> {
        let name = name_of(algorithm);
        let short = || {
            let found = bytes.len();
            corrupt(format!("found {found} bytes of configuration of {name}, expected more"))
        };
        match algorithm {
            Z_EROFS_COMPRESSION_LZ4 => {
                let (lz4, _) = Lz4Cfgs::read_from_prefix(bytes).map_err(|_| short())?;
                let most = u64::from(Z_EROFS_PCLUSTER_MAX_SIZE) / BLOCK;
                // Zero means one.
                self.lz4_blocks = u64::from(lz4.max_pclusterblks.get()).max(1);
                if self.lz4_blocks > most {
                    return Err(corrupt(format!(
                        "found clusters of {} blocks in the configuration of {name}, expected at \
                         most {most}",
                        self.lz4_blocks
                    )));
                }
            }
            Z_EROFS_COMPRESSION_ZSTD => {
                let (zstd, _) = ZstdCfgs::read_from_prefix(bytes).map_err(|_| short())?;
                let most = Z_EROFS_PCLUSTER_MAX_SIZE.ilog2();
                self.zstd_window_log = 10 + u32::from(zstd.windowlog);
                if zstd.format != 0 || self.zstd_window_log > most {
                    return Err(corrupt(format!(
                        "found the format {} and a window of 2^{} bytes in the configuration of \
                         {name}, expected the format 0 and at most 2^{most}",
                        zstd.format, self.zstd_window_log
                    )));
                }
            }
            Z_EROFS_COMPRESSION_DEFLATE => {
                let (deflate, _) = DeflateCfgs::read_from_prefix(bytes).map_err(|_| short())?;
                if deflate.windowbits > 15 {
                    return Err(corrupt(format!(
                        "found a window of 2^{} bytes in the configuration of {name}, expected at \
                         most 2^15",
                        deflate.windowbits
                    )));
                }
            }
            // Nothing of it is decompressed here.
            Z_EROFS_COMPRESSION_LZMA => {}
            _ => return Err(unsupported(format!("found {name} in the superblock"))),
        }
        Ok(())
    }
}

/// What people call an algorithm.
pub fn name_of(algorithm: u8) -> String {
    match algorithm {
        Z_EROFS_COMPRESSION_LZ4 => "LZ4".to_owned(),
        Z_EROFS_COMPRESSION_LZMA => "LZMA".to_owned(),
        Z_EROFS_COMPRESSION_DEFLATE => "DEFLATE".to_owned(),
        Z_EROFS_COMPRESSION_ZSTD => "Zstandard".to_owned(),
        other => format!("the algorithm {other}"),
    }
}
