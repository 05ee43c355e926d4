//! An archive: entries one after the other, each with one meaning, up to the end marker.
//!
//! Extended headers are resolved here; what an entry means beside others (duplicates, parents,
//! link targets) is decided where the tree is built.

use std::io::{self, BufRead, Read};

use super::header::{BLOCK, Header};
use super::name::{self, Refusal};
use super::pax::Pax;
use super::{Flaw, Problem, Spent};
use crate::limits::Limits;
use crate::tree::{Stat, Timestamp, Xattrs};

/// The largest size that eleven octal digits can hold, and one.
const OCTAL_LIMIT: u64 = 1 << 33;

/// What an entry is.
#[derive(Debug)]
pub(super) enum Kind {
    Directory,
    Regular,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharDevice { rdev: u64 },
    BlockDevice { rdev: u64 },
    Fifo,
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Regular => "regular file",
            Self::Symlink(_) => "symlink",
            Self::HardLink(_) => "hard link",
            Self::CharDevice { .. } => "character device",
            Self::BlockDevice { .. } => "block device",
            Self::Fifo => "fifo",
        }
    }
}

/// One entry, extended headers applied.
#[derive(Debug)]
pub(super) struct Member {
    /// Normalised.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) stat: Stat,
    /// Bytes of contents that follow.
    pub(super) size: u64,
    /// Where its header is, the same whenever the archive is read again.
    pub(super) offset: u64,
}

/// Reads the entries of an archive.
pub(super) struct Archive<'a, R> {
    input: R,
    limits: &'a Limits,
    /// Bytes read so far.
    offset: u64,
    /// Where the header of the current entry is.
    header_at: u64,
    /// Contents of the current entry that nobody has read yet, and the padding after them.
    body: u64,
    padding: u64,
    /// With what the layers before this one had.
    spent: Spent,
    keep_ima: bool,
}

/// Extended headers that wait for their entry.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    bytes: u64,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<'a, R: BufRead> Archive<'a, R> {
    pub(super) fn new(input: R, limits: &'a Limits, keep_ima: bool, spent: Spent) -> Self {
        Self { input, limits, offset: 0, header_at: 0, body: 0, padding: 0, spent, keep_ima }
    }

    /// The next entry; none when the end marker and only zeros after it were read.
    ///
    /// After a flaw that is only about an entry's names, reading may go on.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Problem> {
        self.skip(self.body, "contents")?;
        self.body = 0;
        self.skip(self.padding, "padding")?;
        self.padding = 0;
        let mut pending = Pending::default();
        loop {
            self.header_at = self.offset;
            let Some(block) = self.block()? else { return Err(self.flaw(Flaw::NoEndMarker)) };
            if block == [0; BLOCK] {
                if !pending.is_empty() {
                    return Err(self.flaw(Flaw::DanglingExtension));
                }
                self.end()?;
                return Ok(None);
            }
            let header = Header::parse(&block).map_err(|flaw| self.flaw(flaw))?;
            let flag = header.flag();
            match flag {
                b'x' | b'g' | b'L' | b'K' => self.extension(flag, &header, &mut pending)?,
                _ => return self.member(&header, pending).map(Some),
            }
        }
    }

    /// The contents of the current entry.
    pub(super) fn body(&mut self) -> Body<'_, 'a, R> {
        Body { archive: self, failure: None }
    }

    /// Where the header of the current entry is.
    pub(super) fn header_at(&self) -> u64 {
        self.header_at
    }

    /// How many bytes of the current entry's contents are unread.
    pub(super) fn unread(&self) -> u64 {
        self.body
    }

    /// What of the limits is used up, by the layers before this one too.
    pub(super) fn spent(&self) -> Spent {
        Spent { uncompressed: self.spent.uncompressed.saturating_add(self.offset), ..self.spent }
    }

    pub(super) fn into_inner(self) -> R {
        self.input
    }

    /// A flaw of the current entry.
    pub(super) fn flaw(&self, flaw: Flaw) -> Problem {
        Problem::Archive { offset: self.header_at, path: None, flaw }
    }

    /// A refusal of an entry that has a path.
    pub(super) fn refuse(&self, refusal: Refusal, path: &[u8]) -> Problem {
        let path = (!path.is_empty()).then(|| path.get(..512).unwrap_or(path).into());
        match refusal {
            Refusal::Flaw(flaw) => Problem::Archive { offset: self.header_at, path, flaw },
            Refusal::Limit { limit, found, unit, maximum } => {
                Problem::Limit { limit, path, found, unit, maximum }
            }
        }
    }

    /// Counts bytes that stay in memory for as long as the tree does.
    pub(super) fn spend_names(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.spent.names = self.spent.names.saturating_add(bytes);
        let (found, maximum) = (self.spent.names, self.limits.names);
        if found > maximum {
            let unit = "bytes of names, targets and extended attributes";
            return Err(Refusal::Limit { limit: "names", found, unit, maximum });
        }
        Ok(())
    }

    /// Counts entries, those that other entries imply included.
    pub(super) fn spend_entry(&mut self) -> Result<(), Refusal> {
        self.spent.entries += 1;
        let (found, maximum) = (self.spent.entries, self.limits.entries);
        if found > maximum {
            return Err(Refusal::Limit { limit: "entries", found, unit: "entries", maximum });
        }
        Ok(())
    }

    /// Reads an extended header.
    fn extension(
        &mut self,
        flag: u8,
        header: &Header,
        pending: &mut Pending,
    ) -> Result<(), Problem> {
        let size = header.size().map_err(|flaw| self.flaw(flaw))?;
        let bytes = pending.bytes.saturating_add(size);
        let maximum = self.limits.entry_metadata;
        if bytes > maximum {
            let unit = "bytes of extended headers for one entry";
            let limit = "entry-metadata";
            return Err(Problem::Limit { limit, path: None, found: bytes, unit, maximum });
        }
        let mut data = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.fill(&mut data, "an extended header")?;
        self.skip(padding(size), "padding")?;
        let result = if flag == b'g' {
            self.global(&data, pending)
        } else {
            pending.bytes = bytes;
            pending.add(flag, data).map_err(Refusal::from)
        };
        result.map_err(|refusal| self.refuse(refusal, b""))
    }

    /// Takes an extended header that is meant for all entries that follow.
    fn global(&mut self, records: &[u8], pending: &Pending) -> Result<(), Refusal> {
        self.spend_entry()?;
        Pax::check_global(records)?;
        // Whether it comes between an entry and its own header, parsers see differently.
        if pending.is_empty() { Ok(()) } else { Err(Flaw::DanglingExtension.into()) }
    }

    /// Takes an entry's header and what was in front of it.
    fn member(&mut self, header: &Header, pending: Pending) -> Result<Member, Problem> {
        self.spend_entry().map_err(|refusal| self.refuse(refusal, b""))?;
        let size = frame(header, pending.pax.as_ref()).map_err(|flaw| self.flaw(flaw))?;
        self.body = size;
        self.padding = padding(size);
        let name = pending.name(header);
        match self.interpret(header, pending, &name) {
            Ok((path, kind, stat)) => Ok(Member { path, kind, stat, size, offset: self.header_at }),
            Err(refusal) => Err(self.refuse(refusal, &name)),
        }
    }

    fn interpret(
        &mut self,
        header: &Header,
        mut pending: Pending,
        name: &[u8],
    ) -> Result<(Vec<u8>, Kind, Stat), Refusal> {
        let target = pending.take_target(header);
        let kind = match header.flag() {
            b'1' => Kind::HardLink(self.link_path(&target)?),
            b'2' => Kind::Symlink(self.symlink(target)?),
            b'3' => Kind::CharDevice { rdev: header.device()? },
            b'4' => Kind::BlockDevice { rdev: header.device()? },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => Kind::Regular,
        };
        let path = name::path("name", name, self.limits)?;
        if !matches!(kind, Kind::Directory) {
            if path.is_empty() {
                return Err(Flaw::NotRoot { kind: kind.name() }.into());
            }
            // Some parsers make a directory of it, others drop the slash.
            if name.ends_with(b"/") || name.ends_with(b"/.") {
                return Err(Flaw::TrailingSlash { kind: kind.name() }.into());
            }
        }
        let pax = pending.pax.unwrap_or_default();
        let stat = Stat {
            mode: header.mode()?,
            uid: owner("uid", pax.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: owner("gid", pax.gid.map_or_else(|| header.gid(), Ok)?)?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => Timestamp { sec: header.mtime()?, nsec: 0 },
            },
            xattrs: self.xattrs(&pax)?,
        };
        let link = match &kind {
            Kind::Symlink(target) | Kind::HardLink(target) => target.len(),
            _ => 0,
        };
        self.spend_names(path.len() + link)?;
        Ok((path, kind, stat))
    }

    /// The path that a hard link means. Unlike a name it may start with a slash: every
    /// extractor takes that for the root of the archive.
    fn link_path(&self, target: &[u8]) -> Result<Vec<u8>, Refusal> {
        let what = "target of a hard link";
        let relative = target.strip_prefix(b"/").filter(|rest| !rest.is_empty());
        name::path(what, relative.unwrap_or(target), self.limits)
    }

    fn symlink(&self, target: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let what = "target of a symlink";
        if target.is_empty() {
            return Err(Flaw::EmptyName { what }.into());
        }
        if target.contains(&0) {
            return Err(Flaw::NulInName { what }.into());
        }
        Refusal::above("symlink", target.len(), "bytes of symlink target", self.limits.symlink)?;
        Ok(target)
    }

    /// The extended attributes that count: labels come from the policy (rule 10), and IMA
    /// signatures are of other bytes than a host may expect.
    fn xattrs(&mut self, pax: &Pax) -> Result<Xattrs, Refusal> {
        let dropped = |name: &[u8]| {
            *name == *b"security.selinux" || (*name == *b"security.ima" && !self.keep_ima)
        };
        let kept = pax.xattrs.iter().filter(|(name, _)| !dropped(name));
        let mut total = 0;
        for (name, value) in kept.clone() {
            let unit = "bytes of one extended attribute";
            Refusal::above("xattr-value", value.len(), unit, self.limits.xattr_value)?;
            total += name.len() + value.len();
        }
        let xattrs = kept.map(|(name, value)| (&**name, &**value)).collect();
        let unit = "bytes of extended attributes of one file";
        Refusal::above("xattrs", total, unit, self.limits.xattrs)?;
        self.spend_names(total)?;
        Ok(xattrs)
    }

    /// Reads what must follow the first block of the end marker.
    fn end(&mut self) -> Result<(), Problem> {
        match self.block()? {
            Some(block) if block == [0; BLOCK] => {}
            _ => return Err(self.flaw(Flaw::LoneZeroBlock)),
        }
        loop {
            let chunk = self.input.fill_buf().map_err(Problem::from_io)?;
            if chunk.is_empty() {
                return Ok(());
            }
            if chunk.iter().any(|&byte| byte != 0) {
                self.header_at = self.offset;
                return Err(self.flaw(Flaw::AfterEnd));
            }
            let count = chunk.len();
            self.consume(count);
        }
    }

    /// The next block; none at the end of the bytes.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Problem> {
        if self.input.fill_buf().map_err(Problem::from_io)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block, "a header")?;
        Ok(Some(block))
    }

    fn fill(&mut self, mut buffer: &mut [u8], within: &'static str) -> Result<(), Problem> {
        while !buffer.is_empty() {
            let count = self.input.read(buffer).map_err(Problem::from_io)?;
            if count == 0 {
                return Err(self.truncated(within, buffer.len()));
            }
            self.offset += u64::try_from(count).unwrap_or(u64::MAX);
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn skip(&mut self, mut count: u64, within: &'static str) -> Result<(), Problem> {
        while count > 0 {
            let available = self.input.fill_buf().map_err(Problem::from_io)?.len();
            if available == 0 {
                return Err(self.truncated(within, usize::try_from(count).unwrap_or(usize::MAX)));
            }
            let step = available.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(step);
            count -= u64::try_from(step).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += u64::try_from(count).unwrap_or(u64::MAX);
    }

    fn truncated(&self, within: &'static str, missing: usize) -> Problem {
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        self.flaw(Flaw::Truncated { within, missing })
    }
}

impl Pending {
    fn add(&mut self, flag: u8, data: Vec<u8>) -> Result<(), Flaw> {
        let first = match flag {
            b'x' => self.pax.replace(Pax::parse(&data)?).is_none(),
            b'L' => self.long_name.replace(gnu_name(data)).is_none(),
            _ => self.long_link.replace(gnu_name(data)).is_none(),
        };
        if !first {
            let what = match flag {
                b'x' => "PAX headers",
                b'L' => "GNU long names",
                _ => "GNU long link targets",
            };
            return Err(Flaw::TwoExtensions { what });
        }
        // Of two names, parsers take one or the other.
        if self.pax.is_some() && (self.long_name.is_some() || self.long_link.is_some()) {
            return Err(Flaw::MixedExtensions);
        }
        Ok(())
    }

    fn name(&self, header: &Header) -> Vec<u8> {
        let pax = self.pax.as_ref().and_then(|pax| pax.path.clone());
        pax.or_else(|| self.long_name.clone()).unwrap_or_else(|| header.path())
    }

    fn take_target(&mut self, header: &Header) -> Vec<u8> {
        let pax = self.pax.as_mut().and_then(|pax| pax.linkpath.take());
        pax.or_else(|| self.long_link.take()).unwrap_or_else(|| header.link().to_vec())
    }
}

/// GNU tar ends long names with one NUL, others with none.
fn gnu_name(mut data: Vec<u8>) -> Vec<u8> {
    data.pop_if(|byte| *byte == 0);
    data
}

/// How many bytes of contents follow a header: what makes two parsers see other entries if they
/// disagree (rows 52, 55, 57).
fn frame(header: &Header, pax: Option<&Pax>) -> Result<u64, Flaw> {
    let kind = match header.flag() {
        0 | b'0' => None,
        b'1' => Some("hard link"),
        b'2' => Some("symlink"),
        b'3' | b'4' => Some("device"),
        b'5' => Some("directory"),
        b'6' => Some("fifo"),
        b'S' => return Err(Flaw::Sparse { dialect: "GNU" }),
        found => return Err(Flaw::Type { found }),
    };
    let in_header = header.size()?;
    let size = match pax.and_then(|pax| pax.size) {
        None => in_header,
        Some(size) if size == in_header || (in_header == 0 && size >= OCTAL_LIMIT) => size,
        Some(pax) => return Err(Flaw::PaxSize { pax, header: in_header }),
    };
    match kind {
        Some(kind) if size > 0 => Err(Flaw::Contents { kind, size }),
        _ => Ok(size),
    }
}

fn padding(size: u64) -> u64 {
    // BLOCK, as the type of sizes.
    const UNIT: u64 = 512;
    (UNIT - size % UNIT) % UNIT
}

/// An owner's number; the largest means "nobody's" to the kernel.
fn owner(field: &'static str, id: u64) -> Result<u32, Flaw> {
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or_else(|| Flaw::Number {
        field,
        found: id.to_string().into_bytes().into(),
        expected: "a number below 4294967295",
    })
}

/// Yields the contents of the current entry: all of them, or an error.
pub(super) struct Body<'b, 'a, R> {
    archive: &'b mut Archive<'a, R>,
    /// Why reading failed, kept from whoever is reading.
    failure: Option<Problem>,
}

impl<R: BufRead> Body<'_, '_, R> {
    /// Why reading failed, if it did.
    pub(super) fn failure(&mut self) -> Option<Problem> {
        self.failure.take()
    }

    fn fail(&mut self, problem: Problem) -> io::Error {
        let error = io::Error::other(problem.to_string());
        self.failure = Some(problem);
        error
    }
}

impl<R: BufRead> Read for Body<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.archive.body).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        match self.archive.input.read(buffer) {
            Ok(0) => {
                let problem = self.archive.truncated("contents", left);
                Err(self.fail(problem))
            }
            Ok(count) => {
                let count_u64 = u64::try_from(count).unwrap_or(u64::MAX);
                self.archive.body -= count_u64;
                self.archive.offset += count_u64;
                Ok(count)
            }
            Err(error) => Err(self.fail(Problem::from_io(error))),
        }
    }
}
