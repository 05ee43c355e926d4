//! The fs-verity digest of contents: SHA-256, blocks of 4096 bytes, no salt
//! (`Documentation/filesystems/fsverity.rst`).

use sha2::{Digest, Sha256};

use super::{BLOCK, size};

const HASH: usize = 32;

/// Computes the digest of contents as they come.
#[derive(Debug, Default)]
pub struct Verity {
    length: u64,
    /// The unfinished block of each level, the contents first.
    levels: Vec<Vec<u8>>,
}

impl Verity {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.length += super::len(bytes);
        while !bytes.is_empty() {
            let used = self.levels.first().map_or(0, Vec::len);
            let room = if used == size(BLOCK) { size(BLOCK) } else { size(BLOCK) - used };
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.push(0, now);
            bytes = rest;
        }
    }

    /// Adds bytes to a level, whose block is hashed into the next only when another one follows:
    /// the root is the hash of a level of one block.
    fn push(&mut self, level: usize, bytes: &[u8]) {
        if self.levels.len() == level {
            self.levels.push(Vec::with_capacity(size(BLOCK)));
        }
        let full = self.levels.get(level).is_some_and(|block| block.len() == size(BLOCK));
        if full {
            self.close(level);
        }
        if let Some(block) = self.levels.get_mut(level) {
            block.extend_from_slice(bytes);
        }
    }

    /// Hashes the block of a level into the next.
    fn close(&mut self, level: usize) {
        if let Some(block) = self.levels.get_mut(level) {
            block.resize(size(BLOCK), 0);
            let hash = Sha256::digest(&*block);
            block.clear();
            self.push(level + 1, &hash);
        }
    }

    /// The digest of everything taken.
    pub fn finish(mut self) -> [u8; HASH] {
        let mut root = [0; HASH];
        let mut level = 0;
        while level < self.levels.len() {
            if level + 1 == self.levels.len() {
                if let Some(block) = self.levels.get_mut(level) {
                    block.resize(size(BLOCK), 0);
                    root = Sha256::digest(&*block).into();
                }
                break;
            }
            self.close(level);
            level += 1;
        }
        // struct fsverity_descriptor: version, algorithm, log₂ of the block size.
        let mut descriptor = vec![1, 1, 12, 0, 0, 0, 0, 0];
        descriptor.extend_from_slice(&self.length.to_le_bytes());
        descriptor.extend_from_slice(&root);
        descriptor.resize(256, 0);
        Sha256::digest(&descriptor).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use composefs::fsverity::{FsVerityHashValue, Sha256HashValue, compute_verity};

    #[test]
    fn digests_are_those_of_composefs() {
        for length in [0, 1, 4095, 4096, 4097, 8192, 524_288, 524_289, 1_000_000] {
            let bytes: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            let mut verity = Verity::default();
            for piece in bytes.chunks(10_007) {
                verity.update(piece);
            }
            let expected: Sha256HashValue = compute_verity(&bytes);
            assert_eq!(super::super::hex(&verity.finish()), expected.to_hex(), "{length}");
        }
    }
}
