//! The superblock as the writer makes it: what a kernel must know to read the rest.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::contents::Bodies;
use super::format::{
    EROFS_FEATURE_COMPAT_MTIME, EROFS_FEATURE_COMPAT_SB_CHKSUM, EROFS_FEATURE_INCOMPAT_48BIT,
    EROFS_FEATURE_INCOMPAT_COMPR_CFGS, EROFS_FEATURE_INCOMPAT_FRAGMENTS,
    EROFS_FEATURE_INCOMPAT_LZ4_0PADDING, EROFS_FEATURE_INCOMPAT_ZTAILPACKING, EROFS_SUPER_MAGIC_V1,
    EROFS_SUPER_OFFSET, Lz4Cfgs, SuperBlock, ZstdCfgs,
};
use super::options::{Compression, Tails};
use super::{BLOCK, codec, size};
use crate::tree::Timestamp;

/// The farthest match of LZ4.
const LZ4_DISTANCE_MAX: u16 = u16::MAX;

/// What the superblock says of an image.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub bodies: Bodies<'a>,
    /// Number of the root directory.
    pub root: u16,
    /// Number of the packed inode, or 0.
    pub packed: u64,
    pub inodes: u64,
    /// The time of compact inodes.
    pub epoch: Timestamp,
    pub blocks: u32,
    pub meta_block: u32,
    pub xattr_block: u32,
    /// Any bits that depend on all of the image.
    pub identity: [u8; 16],
}

impl Facts<'_> {
    /// The first block of the image.
    pub fn block(&self) -> Vec<u8> {
        let mut superblock = self.superblock();
        let block = |superblock: &SuperBlock| {
            let mut block = vec![0; EROFS_SUPER_OFFSET];
            block.extend_from_slice(superblock.as_bytes());
            block.extend_from_slice(&self.configuration());
            block.resize(size(BLOCK), 0);
            block
        };
        let unsigned = block(&superblock);
        // The kernel's crc32c does not invert the result.
        let checksum = !crc32c::crc32c(unsigned.get(EROFS_SUPER_OFFSET..).unwrap_or_default());
        superblock.checksum = U32::new(checksum);
        block(&superblock)
    }

    fn superblock(&self) -> SuperBlock {
        let mut uuid = self.identity;
        // Version 8 of RFC 9562, §5.8: any bits, but for those that say so.
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
        *version = (*version & 0x0f) | 0x80;
        *variant = (*variant & 0x3f) | 0x80;
        let features = self.features();
        let has = |feature: u32| features & feature != 0;
        let algorithms = match () {
            () if has(EROFS_FEATURE_INCOMPAT_COMPR_CFGS) => 1 << self.bodies.algorithm(),
            () if has(EROFS_FEATURE_INCOMPAT_LZ4_0PADDING) => LZ4_DISTANCE_MAX,
            () => 0,
        };
        let wide = has(EROFS_FEATURE_INCOMPAT_48BIT);
        SuperBlock {
            magic: U32::new(EROFS_SUPER_MAGIC_V1),
            feature_compat: U32::new(EROFS_FEATURE_COMPAT_SB_CHKSUM | EROFS_FEATURE_COMPAT_MTIME),
            blkszbits: u8::try_from(BLOCK.ilog2()).unwrap_or(0),
            root_nid: U16::new(if wide { 0 } else { self.root }),
            rootnid_8b: U64::new(if wide { self.root.into() } else { 0 }),
            inos: U64::new(self.inodes),
            epoch: U64::new(self.epoch.sec.cast_unsigned()),
            fixed_nsec: U32::new(self.epoch.nsec),
            blocks: U32::new(self.blocks),
            meta_blkaddr: U32::new(self.meta_block),
            xattr_blkaddr: U32::new(self.xattr_block),
            uuid,
            feature_incompat: U32::new(features),
            available_compr_algs: U16::new(algorithms),
            packed_nid: U64::new(self.packed),
            ..SuperBlock::new_zeroed()
        }
    }

    /// The `EROFS_FEATURE_INCOMPAT_*` that the image needs.
    fn features(&self) -> u32 {
        let plan = self.bodies.plan;
        if plan.compression == Compression::None {
            return 0;
        }
        let mut features = EROFS_FEATURE_INCOMPAT_LZ4_0PADDING;
        if self.bodies.big_clusters() || matches!(plan.compression, Compression::Zstd(_)) {
            features |= EROFS_FEATURE_INCOMPAT_COMPR_CFGS;
        }
        if plan.tails == Tails::Inline {
            features |= EROFS_FEATURE_INCOMPAT_ZTAILPACKING;
        }
        if self.packed != 0 {
            features |= EROFS_FEATURE_INCOMPAT_FRAGMENTS;
        }
        if plan.extents {
            features |= EROFS_FEATURE_INCOMPAT_48BIT;
        }
        features
    }

    /// The configuration of the algorithm, with its length.
    fn configuration(&self) -> Vec<u8> {
        let plan = self.bodies.plan;
        if self.features() & EROFS_FEATURE_INCOMPAT_COMPR_CFGS == 0 {
            return Vec::new();
        }
        let with_length = |bytes: &[u8]| {
            let length = u16::try_from(bytes.len()).unwrap_or(0);
            [&length.to_le_bytes(), bytes].concat()
        };
        if let Compression::Zstd(_) = plan.compression {
            let log = codec::window_log(plan.piece()).saturating_sub(10);
            let windowlog = u8::try_from(log).unwrap_or(0);
            return with_length(ZstdCfgs { format: 0, windowlog, reserved: [0; 4] }.as_bytes());
        }
        let lz4 = Lz4Cfgs {
            max_distance: U16::new(LZ4_DISTANCE_MAX),
            max_pclusterblks: U16::new(plan.cluster.blocks()),
            reserved: [0; 10],
        };
        with_length(lz4.as_bytes())
    }
}
