//! Reads composefs dumpfiles (`composefs-dump(5)`) into a tree, for tests.

use oci2sysext::tree::{self, Content, Ino, Inode, Stat, Timestamp, Tree};

/// The columns of a regular file's line that say where its contents are.
#[derive(Debug)]
pub struct File<'a> {
    pub size: u64,
    pub payload: Option<&'a [u8]>,
    pub inline: Option<&'a [u8]>,
    pub digest: Option<&'a [u8]>,
}

/// The tree of a dumpfile; `contents` makes the contents of each regular file.
///
/// Names are taken as they are: refusing bad ones is the writers' task.
pub fn load<C>(
    text: &[u8],
    mut contents: impl FnMut(File<'_>) -> Result<C, String>,
) -> Result<Tree<C>, String> {
    let mut lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let root = Line::parse(lines.next().ok_or("an empty dumpfile")?)?;
    if root.path != b"/" {
        return Err("the first line is not /".to_owned());
    }
    let mut tree = Tree::new(root.stat);
    for line in lines {
        let line = Line::parse(line)?;
        let (parent, name) = tree::split(&line.path[1..]).ok_or("a second root")?;
        let parent = tree.lookup(parent).ok_or_else(|| format!("no parent: {line:?}"))?;
        let ino = if line.hard_link {
            find(&tree, line.payload.as_deref().ok_or("a hard link to nothing")?)?
        } else {
            let content = line.content(&mut contents)?;
            tree.add(Inode { stat: line.stat, content })
        };
        let directory = tree.directory_mut(parent).ok_or("the parent is no directory")?;
        if directory.insert(name, ino).is_some() {
            return Err("a path twice".to_owned());
        }
    }
    Ok(tree)
}

fn find<C>(tree: &Tree<C>, target: &[u8]) -> Result<Ino, String> {
    let target = target.strip_prefix(b"/").unwrap_or(target);
    let ino = tree.lookup(target).ok_or("a hard link to a path that is not there")?;
    match tree.directory(ino) {
        Some(_) => Err("a hard link to a directory".to_owned()),
        None => Ok(ino),
    }
}

#[derive(Debug)]
struct Line {
    path: Vec<u8>,
    size: u64,
    hard_link: bool,
    file_type: u32,
    rdev: u64,
    stat: Stat,
    payload: Option<Vec<u8>>,
    inline: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
}

impl Line {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let mut fields = line.split(|&b| b == b' ').filter(|field| !field.is_empty());
        let mut next = || fields.next().ok_or("too few columns");
        let path = unescape(next()?)?;
        if !path.starts_with(b"/") {
            return Err("a path that does not start with /".to_owned());
        }
        let size = number(next()?, 10)?;
        let mode = next()?;
        let (hard_link, mode) = match mode.strip_prefix(b"@") {
            Some(mode) => (true, mode),
            None => (false, mode),
        };
        let mode = u32::try_from(number(mode, 8)?).map_err(|e| e.to_string())?;
        let _nlink = number(next()?, 10)?;
        let uid = u32::try_from(number(next()?, 10)?).map_err(|e| e.to_string())?;
        let gid = u32::try_from(number(next()?, 10)?).map_err(|e| e.to_string())?;
        let rdev = number(next()?, 10)?;
        let time = next()?;
        let dot = time.iter().position(|&b| b == b'.').ok_or("a time without a dot")?;
        let mtime = Timestamp {
            sec: i64::try_from(number(&time[..dot], 10)?).map_err(|e| e.to_string())?,
            nsec: u32::try_from(number(&time[dot + 1..], 10)?).map_err(|e| e.to_string())?,
        };
        // The C parser takes a line that ends here.
        let mut next_optional = || fields.next().map_or(Ok(None), optional);
        let payload = next_optional()?;
        let inline = next_optional()?;
        let digest = next_optional()?;
        let mode_bits = u16::try_from(mode & 0o7777).map_err(|e| e.to_string())?;
        let mut stat = Stat { mode: mode_bits, uid, gid, mtime, ..Stat::default() };
        for field in fields {
            let equals = field.iter().position(|&b| b == b'=').ok_or("an xattr without =")?;
            stat.xattrs.insert(&unescape(&field[..equals])?, &unescape(&field[equals + 1..])?);
        }
        let file_type = mode & 0o170_000;
        Ok(Self { path, size, hard_link, file_type, rdev, stat, payload, inline, digest })
    }

    fn content<C>(
        &self,
        contents: &mut impl FnMut(File<'_>) -> Result<C, String>,
    ) -> Result<Content<C>, String> {
        Ok(match self.file_type {
            0o040_000 => Content::Directory(tree::Directory::new()),
            0o120_000 => Content::Symlink(self.payload.clone().unwrap_or_default().into()),
            0o100_000 => Content::Regular(contents(File {
                size: self.size,
                payload: self.payload.as_deref(),
                inline: self.inline.as_deref(),
                digest: self.digest.as_deref(),
            })?),
            0o020_000 => Content::CharDevice { rdev: self.rdev },
            0o060_000 => Content::BlockDevice { rdev: self.rdev },
            0o010_000 => Content::Fifo,
            0o140_000 => Content::Socket,
            other => return Err(format!("a file type of {other:o}")),
        })
    }
}

fn number(field: &[u8], radix: u32) -> Result<u64, String> {
    let text = std::str::from_utf8(field).map_err(|e| e.to_string())?;
    u64::from_str_radix(text, radix).map_err(|e| format!("{text}: {e}"))
}

fn optional(field: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if field == b"-" { Ok(None) } else { unescape(field).map(Some) }
}

fn unescape(field: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'\\') => b'\\',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::try_from(number(&digits, 16)?).map_err(|e| e.to_string())?
            }
            other => return Err(format!("an escape of {other:?}")),
        });
    }
    Ok(bytes)
}
