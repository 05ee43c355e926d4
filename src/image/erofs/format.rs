//! EROFS on disk: the structures and constants of the kernel's `fs/erofs/erofs_fs.h`, under its
//! names. No behaviour.
#![expect(clippy::struct_field_names, reason = "they are the kernel's")]

use std::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic` of the superblock.
pub const EROFS_SUPER_MAGIC_V1: u32 = 0xE0F5_E1E2;
/// Where the superblock is.
pub const EROFS_SUPER_OFFSET: usize = 1024;
/// The unit of `sb_extslots`.
pub const EROFS_SB_EXTSLOT_SIZE: u64 = 16;

/// `feature_compat`: the superblock has a checksum (5.5).
pub const EROFS_FEATURE_COMPAT_SB_CHKSUM: u32 = 0x01;
/// `feature_compat`: the times of inodes are those of modification, not of change.
pub const EROFS_FEATURE_COMPAT_MTIME: u32 = 0x02;

/// `feature_incompat`: compressed data ends with its cluster, zeros before it (5.3).
pub const EROFS_FEATURE_INCOMPAT_LZ4_0PADDING: u32 = 0x01;
/// `feature_incompat`: the superblock is followed by a configuration for each algorithm, and
/// clusters may have many blocks (`BIG_PCLUSTER`, the same bit, 5.13).
pub const EROFS_FEATURE_INCOMPAT_COMPR_CFGS: u32 = 0x02;
/// `feature_incompat`: files in chunks (5.15).
pub const EROFS_FEATURE_INCOMPAT_CHUNKED_FILE: u32 = 0x04;
/// `feature_incompat`: a second algorithm for each file (5.16); also: other devices.
pub const EROFS_FEATURE_INCOMPAT_COMPR_HEAD2: u32 = 0x08;
/// `feature_incompat`: last clusters inline (5.17).
pub const EROFS_FEATURE_INCOMPAT_ZTAILPACKING: u32 = 0x10;
/// `feature_incompat`: tails in a packed inode, references to parts of clusters (6.1).
pub const EROFS_FEATURE_INCOMPAT_FRAGMENTS: u32 = 0x20;

/// `feature_incompat`: addresses of blocks with 48 bits, encoded extents (6.15).
pub const EROFS_FEATURE_INCOMPAT_48BIT: u32 = 0x80;

/// The superblock.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SuperBlock {
    /// [`EROFS_SUPER_MAGIC_V1`]
    pub magic: U32,
    /// CRC-32C of the rest of the first block, from here's start, with this field zero.
    pub checksum: U32,
    /// `EROFS_FEATURE_COMPAT_*`
    pub feature_compat: U32,
    /// log₂ of the block size.
    pub blkszbits: u8,
    /// The superblock has 128 + 16 × this bytes.
    pub sb_extslots: u8,
    /// Number of the root directory; with `48BIT`: upper bits of `blocks`.
    pub root_nid: U16,

    /// How many inodes there are.
    pub inos: U64,
    /// Time of compact inodes, seconds.
    pub epoch: U64,

    /// Time of compact inodes, nanoseconds.
    pub fixed_nsec: U32,
    /// How many blocks there are.
    pub blocks: U32,
    /// The block that inode number 0 would be at.
    pub meta_blkaddr: U32,
    /// The block that shared attribute 0 would be at.
    pub xattr_blkaddr: U32,

    /// Identity of the file system.
    pub uuid: [u8; 16],

    /// Name of the volume.
    pub volume_name: [u8; 16],

    /// `EROFS_FEATURE_INCOMPAT_*`
    pub feature_incompat: U32,
    /// Algorithms, one bit each; without `COMPR_CFGS`: the farthest LZ4 match.
    pub available_compr_algs: U16,
    /// How many devices there are beside this one.
    pub extra_devices: U16,
    /// Where their table starts.
    pub devt_slotoff: U16,
    /// log₂ of blocks in a directory block.
    pub dirblkbits: u8,
    /// How many long attribute prefixes there are.
    pub xattr_prefix_count: u8,
    /// Where they start, in units of 4 bytes.
    pub xattr_prefix_start: U32,

    /// Number of the packed inode.
    pub packed_nid: U64,
    /// Not used here.
    pub xattr_filter_reserved: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// When the file system was made, in seconds after `epoch`.
    pub build_time: U32,

    /// With `48BIT`: number of the root directory.
    pub rootnid_8b: U64,
    /// Zero.
    pub reserved2: U64,
}

const _: () = {
    assert!(size_of::<SuperBlock>() == 128);
    assert!(offset_of!(SuperBlock, blkszbits) == 12);
    assert!(offset_of!(SuperBlock, root_nid) == 14);
    assert!(offset_of!(SuperBlock, inos) == 16);
    assert!(offset_of!(SuperBlock, fixed_nsec) == 32);
    assert!(offset_of!(SuperBlock, uuid) == 48);
    assert!(offset_of!(SuperBlock, volume_name) == 64);
    assert!(offset_of!(SuperBlock, feature_incompat) == 80);
    assert!(offset_of!(SuperBlock, dirblkbits) == 90);
    assert!(offset_of!(SuperBlock, packed_nid) == 96);
    assert!(offset_of!(SuperBlock, build_time) == 108);
};

/// log₂ of the unit of inode numbers.
pub const EROFS_ISLOTBITS: u32 = 5;

/// `i_format`, bit 0: the inode is an [`InodeExtended`].
pub const EROFS_I_VERSION_EXTENDED: u16 = 1;
/// `i_format`, where the layout of the data is.
pub const EROFS_I_DATALAYOUT_BIT: u32 = 1;
/// `i_format`, width of the layout.
pub const EROFS_I_DATALAYOUT_MASK: u16 = 0x07;
/// `i_format`, all bits that have a meaning in the layouts known here.
pub const EROFS_I_ALL: u16 = 0x0f;

/// `i_format`, with `48BIT`: no entry for `.` in the directory; of other compact inodes: one
/// link, and upper bits of an address in the place of their number.
pub const EROFS_I_SHORT: u16 = 0x10;

/// Layout: blocks one after the other.
pub const EROFS_INODE_FLAT_PLAIN: u16 = 0;
/// Layout: compressed, an 8-byte index for each logical cluster.
pub const EROFS_INODE_COMPRESSED_FULL: u16 = 1;
/// Layout: blocks one after the other, the last one's bytes behind the inode.
pub const EROFS_INODE_FLAT_INLINE: u16 = 2;
/// Layout: compressed, with packed indexes.
pub const EROFS_INODE_COMPRESSED_COMPACT: u16 = 3;
/// Layout: chunks.
pub const EROFS_INODE_CHUNK_BASED: u16 = 4;

/// The 32-byte inode.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InodeCompact {
    /// Version and layout.
    pub i_format: U16,
    /// Size of the attributes: 0, or 12 + 4 × (this - 1) bytes.
    pub i_xattr_icount: U16,
    /// Type and permissions.
    pub i_mode: U16,
    /// Links.
    pub i_nlink: U16,
    /// Size in bytes.
    pub i_size: U32,
    /// Seconds after `epoch`, only since 6.15; else zero, so that every kernel says the same.
    pub i_mtime: U32,

    /// First block, number of compressed blocks, device number or chunk format.
    pub i_u: U32,
    /// Number for 32-bit `stat`.
    pub i_ino: U32,
    /// Owner.
    pub i_uid: U16,
    /// Group.
    pub i_gid: U16,
    /// Zero.
    pub i_reserved: U32,
}

const _: () = {
    assert!(size_of::<InodeCompact>() == 32);
    assert!(offset_of!(InodeCompact, i_size) == 8);
    assert!(offset_of!(InodeCompact, i_u) == 16);
    assert!(offset_of!(InodeCompact, i_uid) == 24);
};

/// The 64-byte inode.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InodeExtended {
    /// Version and layout.
    pub i_format: U16,
    /// Size of the attributes: 0, or 12 + 4 × (this - 1) bytes.
    pub i_xattr_icount: U16,
    /// Type and permissions.
    pub i_mode: U16,
    /// Zero.
    pub i_reserved: U16,
    /// Size in bytes.
    pub i_size: U64,

    /// First block, number of compressed blocks, device number or chunk format.
    pub i_u: U32,
    /// Number for 32-bit `stat`.
    pub i_ino: U32,
    /// Owner.
    pub i_uid: U32,
    /// Group.
    pub i_gid: U32,

    /// Time of last modification, seconds.
    pub i_mtime: U64,
    /// Time of last modification, nanoseconds.
    pub i_mtime_nsec: U32,
    /// Links.
    pub i_nlink: U32,

    /// Zero.
    pub i_reserved2: [u8; 16],
}

const _: () = {
    assert!(size_of::<InodeExtended>() == 64);
    assert!(offset_of!(InodeExtended, i_size) == 8);
    assert!(offset_of!(InodeExtended, i_u) == 16);
    assert!(offset_of!(InodeExtended, i_uid) == 24);
    assert!(offset_of!(InodeExtended, i_mtime) == 32);
    assert!(offset_of!(InodeExtended, i_nlink) == 44);
};

/// `i_u` of a file in chunks: log₂ of blocks in a chunk.
pub const EROFS_CHUNK_FORMAT_BLKBITS_MASK: u32 = 0x1f;
/// `i_u` of a file in chunks: [`ChunkIndex`]es instead of block numbers.
pub const EROFS_CHUNK_FORMAT_INDEXES: u32 = 0x20;
/// The number of the block that is all zeros.
pub const EROFS_NULL_ADDR: u32 = u32::MAX;

/// Where a chunk is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChunkIndex {
    /// Upper bits of the first block.
    pub startblk_hi: U16,
    /// Device.
    pub device_id: U16,
    /// First block.
    pub startblk_lo: U32,
}

const _: () = assert!(size_of::<ChunkIndex>() == 8);

/// What attributes behind an inode start with; the numbers of shared ones follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct XattrIbodyHeader {
    /// A Bloom filter, if the superblock says so.
    pub h_name_filter: U32,
    /// How many attributes are shared.
    pub h_shared_count: u8,
    /// Zero.
    pub h_reserved2: [u8; 7],
}

const _: () = assert!(size_of::<XattrIbodyHeader>() == 12);

/// What one attribute starts with; name and value follow, padded to 4 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct XattrEntry {
    /// Length of the name without its prefix.
    pub e_name_len: u8,
    /// The prefix.
    pub e_name_index: u8,
    /// Length of the value.
    pub e_value_size: U16,
}

const _: () = assert!(size_of::<XattrEntry>() == 4);

/// The prefixes of attribute names, by `e_name_index`.
pub const EROFS_XATTR_PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (5, b"lustre."),
    (6, b"security."),
];
/// `e_name_index`: the prefix is a long one of the superblock's table.
pub const EROFS_XATTR_LONG_PREFIX: u8 = 0x80;
/// What attributes are aligned to, and the unit of their numbers.
pub const EROFS_XATTR_ALIGN: u64 = 4;

/// A directory entry; the names follow all entries of the block.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Dirent {
    /// Number of the inode.
    pub nid: U64,
    /// Where the name starts in the block.
    pub nameoff: U16,
    /// `EROFS_FT_*`
    pub file_type: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = {
    assert!(size_of::<Dirent>() == 12);
    assert!(offset_of!(Dirent, nameoff) == 8);
};

/// `file_type` of a regular file.
pub const EROFS_FT_REG_FILE: u8 = 1;
/// `file_type` of a directory.
pub const EROFS_FT_DIR: u8 = 2;
/// `file_type` of a character device.
pub const EROFS_FT_CHRDEV: u8 = 3;
/// `file_type` of a block device.
pub const EROFS_FT_BLKDEV: u8 = 4;
/// `file_type` of a fifo.
pub const EROFS_FT_FIFO: u8 = 5;
/// `file_type` of a socket.
pub const EROFS_FT_SOCK: u8 = 6;
/// `file_type` of a symlink.
pub const EROFS_FT_SYMLINK: u8 = 7;

/// The longest name.
pub const EROFS_NAME_LEN: usize = 255;

/// The largest physical cluster.
pub const Z_EROFS_PCLUSTER_MAX_SIZE: u32 = 1 << 20;
/// The most that a physical cluster may decompress to.
pub const Z_EROFS_PCLUSTER_MAX_DSIZE: u64 = 12 << 20;

/// Algorithm: LZ4.
pub const Z_EROFS_COMPRESSION_LZ4: u8 = 0;
/// Algorithm: `MicroLZMA`.
pub const Z_EROFS_COMPRESSION_LZMA: u8 = 1;
/// Algorithm: DEFLATE.
pub const Z_EROFS_COMPRESSION_DEFLATE: u8 = 2;
/// Algorithm: Zstandard.
pub const Z_EROFS_COMPRESSION_ZSTD: u8 = 3;

/// The configuration of LZ4 behind the superblock, after its length.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Lz4Cfgs {
    /// The farthest match.
    pub max_distance: U16,
    /// Blocks of the largest physical cluster.
    pub max_pclusterblks: U16,
    /// Zero.
    pub reserved: [u8; 10],
}

const _: () = assert!(size_of::<Lz4Cfgs>() == 14);

/// The configuration of Zstandard behind the superblock, after its length.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZstdCfgs {
    /// Zero.
    pub format: u8,
    /// log₂ of the largest window, less 10.
    pub windowlog: u8,
    /// Zero.
    pub reserved: [u8; 4],
}

const _: () = assert!(size_of::<ZstdCfgs>() == 6);

/// The configuration of DEFLATE behind the superblock, after its length.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DeflateCfgs {
    /// log₂ of the largest window.
    pub windowbits: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<DeflateCfgs>() == 6);

/// `h_advise`: compact indexes have 2-byte ones in the middle; for full ones: extents.
pub const Z_EROFS_ADVISE_COMPACTED_2B: u16 = 0x01;
/// `h_advise` of full indexes: encoded extents instead (6.15).
pub const Z_EROFS_ADVISE_EXTENTS: u16 = 0x01;
/// `h_advise` of encoded extents: where log₂ of a quarter of a record's size is (2 bits).
pub const Z_EROFS_ADVISE_EXTRECSZ_BIT: u32 = 1;
/// `plen` of an encoded extent: only a part of the cluster's data is meant.
pub const Z_EROFS_EXTENT_PLEN_PARTIAL: u32 = 1 << 27;
/// `plen` of an encoded extent: where the algorithm is; 0 for plain, else it and one.
pub const Z_EROFS_EXTENT_PLEN_FMT_BIT: u32 = 28;
/// `plen` of an encoded extent: the bytes.
pub const Z_EROFS_EXTENT_PLEN_MASK: u32 = (Z_EROFS_PCLUSTER_MAX_SIZE << 1) - 1;
/// `h_advise`: physical clusters of the first algorithm may have many blocks.
pub const Z_EROFS_ADVISE_BIG_PCLUSTER_1: u16 = 0x02;
/// `h_advise`: physical clusters of the second algorithm may have many blocks.
pub const Z_EROFS_ADVISE_BIG_PCLUSTER_2: u16 = 0x04;
/// `h_advise`: the last cluster is behind the indexes.
pub const Z_EROFS_ADVISE_INLINE_PCLUSTER: u16 = 0x08;
/// `h_advise`: plain clusters are rotated to their place in the block.
pub const Z_EROFS_ADVISE_INTERLACED_PCLUSTER: u16 = 0x10;
/// `h_advise`: the tail is in the packed inode.
pub const Z_EROFS_ADVISE_FRAGMENT_PCLUSTER: u16 = 0x20;
/// `h_clusterbits`: the whole file is in the packed inode.
pub const Z_EROFS_FRAGMENT_INODE: u8 = 0x80;

/// What compression metadata behind an inode starts with, at a multiple of 8.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MapHeader {
    /// Zero, or the offset of a fragment.
    pub h_fragmentoff_lo: U16,
    /// Size of an inline cluster; upper half of the offset of a fragment.
    pub h_idata_size: U16,
    /// `Z_EROFS_ADVISE_*`
    pub h_advise: U16,
    /// The two algorithms.
    pub h_algorithmtype: u8,
    /// log₂ of blocks in a logical cluster.
    pub h_clusterbits: u8,
}

const _: () = assert!(size_of::<MapHeader>() == 8);

/// Logical cluster: something uncompressed starts here.
pub const Z_EROFS_LCLUSTER_TYPE_PLAIN: u8 = 0;
/// Logical cluster: something compressed starts here.
pub const Z_EROFS_LCLUSTER_TYPE_HEAD1: u8 = 1;
/// Logical cluster: nothing starts here.
pub const Z_EROFS_LCLUSTER_TYPE_NONHEAD: u8 = 2;
/// Logical cluster: something compressed by the second algorithm starts here.
pub const Z_EROFS_LCLUSTER_TYPE_HEAD2: u8 = 3;
/// `di_advise`: the type.
pub const Z_EROFS_LI_LCLUSTER_TYPE_MASK: u16 = 0x03;
/// `di_advise`: only a part of the cluster's data is meant.
pub const Z_EROFS_LI_PARTIAL_REF: u16 = 1 << 15;
/// `delta[0]` holds the number of blocks of the physical cluster instead.
pub const Z_EROFS_LI_D0_CBLKCNT: u16 = 1 << 11;

/// The full index of a logical cluster.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LclusterIndex {
    /// Type and flags.
    pub di_advise: U16,
    /// Where in the logical cluster something starts.
    pub di_clusterofs: U16,
    /// Of a head: its block. Else: distances to the last head and the next (U16 each).
    pub di_u: U32,
}

const _: () = assert!(size_of::<LclusterIndex>() == 8);
