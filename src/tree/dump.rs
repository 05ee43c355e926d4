//! A tree as text: the composefs dumpfile format (`composefs-dump(5)`), one line a path.
//!
//! The common language of golden files, property tests and `--dump`.

use std::fmt::{self, Write};

use super::{Content, Timestamp, Tree};

/// How contents appear in a dump.
pub trait DumpContent {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// The PAYLOAD column: where the contents are, if outside the image.
    fn payload(&self) -> Option<String> {
        None
    }
    /// The CONTENT column: the bytes themselves, if kept inline.
    fn inline(&self) -> Option<&[u8]> {
        None
    }
    /// The DIGEST column: the fs-verity digest, or whatever digest identifies the contents.
    fn digest(&self) -> Option<String> {
        None
    }
}

/// Writes one line for each path of a tree.
pub fn dump<C: DumpContent>(tree: &Tree<C>, out: &mut dyn Write) -> fmt::Result {
    let counts = tree.link_counts();
    let mut first_path: Vec<Option<Vec<u8>>> = vec![None; tree.len()];
    for entry in tree.walk() {
        let stat = &entry.inode.stat;
        let content = &entry.inode.content;
        write_path(out, &entry.path)?;
        let count = counts.get(entry.ino.index()).copied().unwrap_or(1);
        let nlink = match content {
            Content::Directory(entries) => {
                let below = entries.inos().filter(|&ino| tree.directory(ino).is_some()).count();
                2 + below
            }
            _ => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let size = match content {
            Content::Regular(c) => c.size(),
            Content::Symlink(target) => u64::try_from(target.len()).unwrap_or(u64::MAX),
            _ => 0,
        };
        let rdev = match content {
            Content::CharDevice { rdev } | Content::BlockDevice { rdev } => *rdev,
            _ => 0,
        };
        let mode = u32::from(content.file_type()) | u32::from(stat.mode);
        let Timestamp { sec, nsec } = stat.mtime;
        let first = first_path.get_mut(entry.ino.index());
        if let Some(Some(first)) = first {
            write!(
                out,
                " {size} @{mode:o} {nlink} {} {} {rdev} {sec}.{nsec} ",
                stat.uid, stat.gid
            )?;
            write_path(out, first)?;
            out.write_str(" - -\n")?;
            continue;
        }
        if let Some(first) = first.filter(|_| count > 1) {
            *first = Some(entry.path.clone());
        }
        write!(out, " {size} {mode:o} {nlink} {} {} {rdev} {sec}.{nsec} ", stat.uid, stat.gid)?;
        match content {
            Content::Symlink(target) => {
                write_field(out, Some(target))?;
                out.write_str(" - -")?;
            }
            Content::Regular(c) => {
                write_field(out, c.payload().as_deref().map(str::as_bytes))?;
                out.write_char(' ')?;
                write_field(out, c.inline())?;
                out.write_char(' ')?;
                write_field(out, c.digest().as_deref().map(str::as_bytes))?;
            }
            _ => out.write_str("- - -")?,
        }
        for (name, value) in stat.xattrs.iter() {
            out.write_char(' ')?;
            write_escaped(out, name, true)?;
            out.write_char('=')?;
            write_escaped(out, value, true)?;
        }
        out.write_char('\n')?;
    }
    Ok(())
}

fn write_path(out: &mut dyn Write, path: &[u8]) -> fmt::Result {
    out.write_char('/')?;
    write_escaped(out, path, false)
}

fn write_field(out: &mut dyn Write, field: Option<&[u8]>) -> fmt::Result {
    match field {
        None | Some(b"") => out.write_char('-'),
        Some(b"-") => out.write_str("\\x2d"),
        Some(bytes) => write_escaped(out, bytes, false),
    }
}

/// Escapes as composefs does: everything outside printable ASCII, the backslash, and in
/// attributes the equals sign too.
fn write_escaped(out: &mut dyn Write, bytes: &[u8], equals: bool) -> fmt::Result {
    for &byte in bytes {
        match byte {
            b'\\' => out.write_str("\\\\")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            b'=' if equals => out.write_str("\\x3d")?,
            b'!'..=b'~' => out.write_char(char::from(byte))?,
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use composefs::dumpfile_parse::{Entry, Item};

    use super::*;
    use crate::tree::{Inode, Stat};

    #[derive(Debug)]
    struct Stored(&'static [u8]);

    impl DumpContent for Stored {
        fn size(&self) -> u64 {
            u64::try_from(self.0.len()).unwrap()
        }

        fn payload(&self) -> Option<String> {
            (self.0.len() > 4).then(|| "ab/=cd".to_owned())
        }

        fn inline(&self) -> Option<&[u8]> {
            (self.0.len() <= 4).then_some(self.0)
        }

        fn digest(&self) -> Option<String> {
            (self.0.len() > 4).then(|| "12ef".to_owned())
        }
    }

    fn sample() -> Tree<Stored> {
        let mut tree = Tree::new(Stat::directory());
        let mut stat = Stat { mode: 0o4755, uid: 1, gid: 2, ..Stat::default() };
        stat.mtime = Timestamp { sec: 1, nsec: 1 };
        stat.xattrs.insert(b"security.selinux", b"a:b=c d\0");
        stat.xattrs.insert(b"user.x=y", b"");
        let contents: [(&[u8], Content<Stored>); 8] = [
            (b"-", Content::Regular(Stored(b"-"))),
            (b"a b\\", Content::Regular(Stored(b"long enough"))),
            (b"empty", Content::Regular(Stored(b""))),
            (b"gr\xc3\xbcn\n\t\r=", Content::Regular(Stored(b"\n=\xff"))),
            (b"null", Content::CharDevice { rdev: 0x103 }),
            (b"pipe", Content::Fifo),
            (b"sub", Content::Directory(crate::tree::Directory::new())),
            (b"to", Content::Symlink((*b"-").into())),
        ];
        for (name, content) in contents {
            let ino = tree.add(Inode { stat: stat.clone(), content });
            assert!(tree.link(name, ino));
        }
        let linked = tree.lookup(b"a b\\").unwrap();
        assert!(tree.link(b"sub/link", linked));
        tree
    }

    #[test]
    fn fields_are_those_of_composefs_dump() {
        let mut text = String::new();
        dump(&sample(), &mut text).unwrap();
        let xattrs = "security.selinux=a:b\\x3dc\\x20d\\x00 user.x\\x3dy=";
        let expected = [
            "/ 0 40755 3 0 0 0 0.0 - - -".to_owned(),
            format!("/- 1 104755 1 1 2 0 1.1 - \\x2d - {xattrs}"),
            format!("/a\\x20b\\\\ 11 104755 2 1 2 0 1.1 ab/=cd - 12ef {xattrs}"),
            format!("/empty 0 104755 1 1 2 0 1.1 - - - {xattrs}"),
            format!("/gr\\xc3\\xbcn\\n\\t\\r= 3 104755 1 1 2 0 1.1 - \\n=\\xff - {xattrs}"),
            format!("/null 0 24755 1 1 2 259 1.1 - - - {xattrs}"),
            format!("/pipe 0 14755 1 1 2 0 1.1 - - - {xattrs}"),
            format!("/sub 0 44755 2 1 2 0 1.1 - - - {xattrs}"),
            "/sub/link 11 @104755 2 1 2 0 1.1 /a\\x20b\\\\ - -".to_owned(),
            format!("/to 1 124755 1 1 2 0 1.1 \\x2d - - {xattrs}"),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn composefs_reads_what_was_written() {
        let mut text = String::new();
        dump(&sample(), &mut text).unwrap();
        for line in text.lines() {
            let entry = Entry::parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert!(entry.path.starts_with("/"));
            if line.starts_with("/sub/link") {
                assert!(matches!(entry.item, Item::Hardlink { .. }), "{line}");
            }
        }
    }
}
