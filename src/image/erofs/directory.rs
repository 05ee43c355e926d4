//! The bytes of a directory: blocks of entries, sorted by name over all of them, for the kernel
//! searches by bisection.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

use super::format::{
    Dirent, EROFS_FT_BLKDEV, EROFS_FT_CHRDEV, EROFS_FT_DIR, EROFS_FT_FIFO, EROFS_FT_REG_FILE,
    EROFS_FT_SOCK, EROFS_FT_SYMLINK,
};
use super::{BLOCK, len, size};
use crate::tree::{Content, Directory};

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

/// The names of a directory in order, `.` and `..` among them.
pub fn names(directory: &Directory) -> impl Iterator<Item = &[u8]> {
    let mut dots = [&b"."[..], b".."].into_iter().peekable();
    let mut rest = directory.keys().map(AsRef::as_ref).peekable();
    std::iter::from_fn(move || match (dots.peek(), rest.peek()) {
        (Some(dot), Some(name)) if name < dot => rest.next(),
        (Some(_), _) => dots.next(),
        (None, _) => rest.next(),
    })
}

/// The bytes of a directory. Each entry is a name, the number of its inode and its type; they
/// come in the order of [`names`].
pub fn bytes<'a>(entries: impl Iterator<Item = (&'a [u8], u64, u8)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block: Vec<(&[u8], u64, u8)> = Vec::new();
    let mut used = 0;
    for entry in entries {
        let needed = DIRENT + len(entry.0);
        if used + needed > BLOCK {
            write_block(&mut out, &block);
            out.resize(out.len().next_multiple_of(size(BLOCK)), 0);
            block.clear();
            used = 0;
        }
        used += needed;
        block.push(entry);
    }
    write_block(&mut out, &block);
    out
}

fn write_block(out: &mut Vec<u8>, entries: &[(&[u8], u64, u8)]) {
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
        let names: Vec<_> = names(directory).collect();
        assert_eq!(names, [&b"!"[..], b"-", b".", b".-", b"..", b"..a", b"a"]);
    }

    #[test]
    fn length_is_that_of_the_bytes() {
        let names: Vec<String> =
            (0..500).map(|n| format!("name-{n:0>width$}", width = n % 90)).collect();
        for count in [1, 2, 20, 200, 500] {
            let entries = names.iter().take(count).map(String::as_bytes);
            let bytes = bytes(entries.clone().map(|name| (name, 1, EROFS_FT_DIR)));
            assert_eq!(length(entries), len(&bytes));
        }
    }
}
