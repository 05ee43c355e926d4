//! EROFS, written in one pass and read back by a reader that shares no code with the writer.
//!
//! | block | what |
//! |---|---|
//! | 0 | the superblock |
//! | 1 … | contents of files, in the order in which they came |
//! | `meta_blkaddr` … | inodes, with their attributes, indexes and inline tails |
//! | `xattr_blkaddr` … | attributes that inodes share |
//! | … | directories and symlinks that do not fit behind their inodes |
//!
//! [`Writer`] takes the contents while the layer is being read, and writes everything else when
//! the tree is known. [`Reader`] and [`check`] know nothing of it but [`format`].

mod check;
mod codec;
mod compress;
mod contents;
mod data;
mod directory;
mod dump;
mod encoded;
mod format;
mod index;
mod kernel;
mod layout;
mod lz4;
mod metadata;
mod options;
mod packed;
mod pool;
mod reader;
mod spare;
mod store;
mod superblock;
mod verity;
mod writer;
mod xattr;

#[cfg(test)]
mod tests;

pub use dump::{Found, dump, fsck};
pub use kernel::Kernel;
pub use options::{ClusterSize, Compression, Level, Options, SelfCheck, ZstdLevel};
pub use reader::{File, Image, Located, Needs, Reader};
pub use store::Contents;
pub use writer::Writer;

/// Bytes of a block, on every machine (R10).
const BLOCK: u64 = 4096;

/// Bytes as a hexadecimal number.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The length of bytes.
fn len(bytes: &[u8]) -> u64 {
    wide(bytes.len())
}

/// A number of things in memory.
fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Why an image cannot be written whose blocks or inodes have no 32-bit addresses.
fn too_large() -> crate::image::Error {
    crate::image::Error::Io(std::io::ErrorKind::FileTooLarge.into())
}

/// A number of bytes as a size in memory.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "u64 is usize on the 64-bit targets we support"
)]
const fn size(bytes: u64) -> usize {
    const _: () = assert!(usize::BITS == 64);
    bytes as usize
}
