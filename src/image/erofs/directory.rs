//! The bytes of a directory: blocks of entries, sorted by name over all of them, for the kernel
//! searches by bisection.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

use super::format::{
    Dirent, EROFS_FT_BLKDEV, EROFS_FT_CHRDEV, EROFS_FT_DIR, EROFS_FT_FIFO, EROFS_FT_REG_FILE,
    EROFS_FT_SOCK, EROFS_FT_SYMLINK,
};
use super::{BLOCK, len, size};
use crate::tree::{Content, Directory, Ino};

const DIRENT: u64 = 12;

/// The size of a directory with these names.
pub fn length<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let (mut whole, mut used) = (0, 0);
    for name in names {
        let needed = DIRENT + len(name);
        if used + needed > BLOCK {
            whole += BLOCK;
            used = 0;
        }
        used += needed;
    }
    whole + used
}

/// The entries of a directory in order, `.` and `..` among them.
pub fn entries(
    directory: &Directory,
    itself: Ino,
    parent: Ino,
) -> impl Iterator<Item = (&[u8], Ino)> {
    let mut dots = [(&b"."[..], itself), (b"..", parent)].into_iter().peekable();
    let mut rest = directory.iter().peekable();
    std::iter::from_fn(move || match (dots.peek(), rest.peek()) {
        (Some((dot, _)), Some((name, _))) if name < dot => rest.next(),
        (Some(_), _) => dots.next(),
        (None, _) => rest.next(),
    })
}

/// The blocks of a directory, of which the last ends with its bytes. Each entry is a name, the
/// number of its inode and its type; they come in the order of [`entries`]. No name may be longer
/// than a block has room for.
pub fn blocks<'a>(
    entries: impl Iterator<Item = (&'a [u8], u64, u8)>,
) -> impl Iterator<Item = Vec<u8>> {
    let mut entries = entries.peekable();
    let mut block: Vec<(&[u8], u64, u8)> = Vec::new();
    std::iter::from_fn(move || {
        block.clear();
        let mut used = 0;
        let mut fits = |(name, ..): &(&[u8], u64, u8)| {
            used += DIRENT + len(name);
            used <= BLOCK
        };
        while let Some(entry) = entries.next_if(&mut fits) {
            block.push(entry);
        }
        let mut bytes = bytes(&block);
        if entries.peek().is_some() {
            bytes.resize(size(BLOCK), 0);
        }
        (!bytes.is_empty()).then_some(bytes)
    })
}

fn bytes(entries: &[(&[u8], u64, u8)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut nameoff = entries.len() * size(DIRENT);
    for &(name, nid, file_type) in entries {
        let dirent = Dirent {
            nid: U64::new(nid),
            nameoff: U16::new(u16::try_from(nameoff).unwrap_or(u16::MAX)),
            file_type,
            reserved: 0,
        };
        out.extend_from_slice(dirent.as_bytes());
        nameoff += name.len();
    }
    for (name, _, _) in entries {
        out.extend_from_slice(name);
    }
    out
}

/// The type that an entry gives for its inode.
pub fn file_type<C>(content: &Content<C>) -> u8 {
    match content {
        Content::Directory(_) => EROFS_FT_DIR,
        Content::Regular(_) => EROFS_FT_REG_FILE,
        Content::Symlink(_) => EROFS_FT_SYMLINK,
        Content::CharDevice { .. } => EROFS_FT_CHRDEV,
        Content::BlockDevice { .. } => EROFS_FT_BLKDEV,
        Content::Fifo => EROFS_FT_FIFO,
        Content::Socket => EROFS_FT_SOCK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Inode, Stat, Tree};

    #[test]
    fn dots_stand_where_their_bytes_do() {
        let mut tree: Tree<()> = Tree::new(Stat::directory());
        let file = tree.add(Inode { stat: Stat::default(), content: Content::Fifo });
        for name in ["-", ".-", "..a", "a", "!"] {
            tree.link(name.as_bytes(), file);
        }
        let directory = tree.directory(Tree::<()>::ROOT).unwrap();
        let root = Tree::<()>::ROOT;
        let names: Vec<_> = entries(directory, root, root).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"!"[..], b"-", b".", b".-", b"..", b"..a", b"a"]);
    }

    #[test]
    fn length_is_that_of_the_bytes() {
        let names: Vec<String> =
            (0..500).map(|n| format!("name-{n:0>width$}", width = n % 90)).collect();
        for count in [1, 2, 20, 200, 500] {
            let entries = names.iter().take(count).map(String::as_bytes);
            let blocks: Vec<_> =
                blocks(entries.clone().map(|name| (name, 1, EROFS_FT_DIR))).collect();
            assert_eq!(length(entries), len(&blocks.concat()));
            assert!(blocks.iter().rev().skip(1).all(|block| len(block) == BLOCK));
        }
        // Blocks that the last name just fills, or does not.
        for last in 1..=255 {
            let widths = std::iter::repeat_n(255, 30).chain([last]);
            let names: Vec<_> = widths.map(|width| "n".repeat(width)).collect();
            let entries = names.iter().map(String::as_bytes);
            let blocks: Vec<_> =
                blocks(entries.clone().map(|name| (name, 1, EROFS_FT_DIR))).collect();
            assert_eq!(length(entries), len(&blocks.concat()));
            assert!(blocks.iter().rev().skip(1).all(|block| len(block) == BLOCK));
        }
    }
}
