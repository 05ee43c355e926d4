//! The lines of a `file_contexts` file: a pattern, perhaps a file type, and a context.
//!
//! What libselinux refuses is refused, and some of what it reads past: contexts that are none,
//! and NUL bytes, at which it would stop reading the line.

use super::Error;
use crate::escape::Escaped;

/// Bytes of one policy file; Fedora's largest has 400 KiB.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Lines of one policy file; Fedora's largest has 6,500.
pub(super) const MAX_LINES: usize = 200_000;
/// Bytes of one field (libselinux: `UINT16_MAX`).
const MAX_FIELD: usize = 65_534;
/// Bytes of a context: the kernel takes less than a page.
const MAX_CONTEXT: usize = 4095;

/// A place in a policy, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub file: &'static str,
    pub line: usize,
}

impl Place {
    pub(super) fn error(self, problem: String) -> Error {
        Error::Line { file: self.file, line: self.line, problem }
    }
}

/// The file type that a specification is for, or that a path has; in libsepol's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Any,
    Regular,
    Directory,
    CharacterDevice,
    BlockDevice,
    Socket,
    Fifo,
    Symlink,
}

impl Kind {
    /// Of the type bits of `st_mode`; anything else is any type.
    pub(super) fn of_mode(mode: u16) -> Self {
        match mode & 0o170_000 {
            0o060_000 => Self::BlockDevice,
            0o020_000 => Self::CharacterDevice,
            0o040_000 => Self::Directory,
            0o010_000 => Self::Fifo,
            0o100_000 => Self::Regular,
            0o140_000 => Self::Socket,
            0o120_000 => Self::Symlink,
            _ => Self::Any,
        }
    }

    /// Whether a specification for this type is one for a path of that type.
    pub(super) fn covers(self, path: Self) -> bool {
        self == path || self == Self::Any || path == Self::Any
    }

    /// As a line has it, with the tab before it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Regular => "\t--",
            Self::Directory => "\t-d",
            Self::CharacterDevice => "\t-c",
            Self::BlockDevice => "\t-b",
            Self::Socket => "\t-s",
            Self::Fifo => "\t-p",
            Self::Symlink => "\t-l",
        }
    }

    pub(super) fn of_code(code: &[u8]) -> Option<Self> {
        Some(match code {
            b"-b" => Self::BlockDevice,
            b"-c" => Self::CharacterDevice,
            b"-d" => Self::Directory,
            b"-p" => Self::Fifo,
            b"--" => Self::Regular,
            b"-s" => Self::Socket,
            b"-l" => Self::Symlink,
            _ => return None,
        })
    }
}

/// One specification, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec<'a> {
    pub place: Place,
    /// A pattern of printable or control ASCII, not empty.
    pub pattern: &'a str,
    pub kind: Kind,
    /// None for `<<none>>`.
    pub context: Option<&'a [u8]>,
}

/// The specifications of a file, in order.
pub(super) fn specs<'a>(
    file: &'static str,
    text: &'a [u8],
) -> Result<impl Iterator<Item = Result<Spec<'a>, Error>>, Error> {
    Ok(lines(file, text)?.filter_map(|(place, line)| spec(place, line).transpose()))
}

/// The lines of a file, numbered from 1, once the file is known to be of acceptable size.
pub(super) fn lines<'a>(
    file: &'static str,
    text: &'a [u8],
) -> Result<impl Iterator<Item = (Place, &'a [u8])>, Error> {
    let too_big = |found, unit, limit| Error::TooBig { file, found, unit, limit };
    if text.len() > MAX_BYTES {
        return Err(too_big(text.len(), "bytes", MAX_BYTES));
    }
    let count = text.split(|&byte| byte == b'\n').count();
    if count > MAX_LINES {
        return Err(too_big(count, "lines", MAX_LINES));
    }
    Ok(text
        .split(|&byte| byte == b'\n')
        .zip(1..)
        .map(move |(line, number)| (Place { file, line: number }, line)))
}

/// The fields of a line, split at what C's `isspace` calls white space.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | 0x09..=0x0d)).filter(|field| !field.is_empty())
}

fn spec(place: Place, line: &[u8]) -> Result<Option<Spec<'_>>, Error> {
    let mut fields = fields(line);
    let Some(pattern) = fields.next().filter(|field| !field.starts_with(b"#")) else {
        return Ok(None);
    };
    if line.contains(&0) {
        return Err(place.error("found a NUL byte, expected text".to_owned()));
    }
    let (kind, context) = match (fields.next(), fields.next()) {
        (Some(code), Some(context)) => {
            let kind = Kind::of_code(code).ok_or_else(|| {
                place.error(format!(
                    "found the file type {:?}, expected one of -b -c -d -l -p -s --",
                    Escaped(code)
                ))
            })?;
            (kind, context)
        }
        (Some(context), None) => (Kind::Any, context),
        (None, _) => {
            return Err(place.error(format!(
                "found only {:?}, expected a pattern and a context",
                Escaped(pattern)
            )));
        }
    };
    if pattern.len().max(context.len()) > MAX_FIELD {
        return Err(
            place.error(format!("found a field of more than {MAX_FIELD} bytes, expected less"))
        );
    }
    let pattern =
        str::from_utf8(pattern).ok().filter(|pattern| pattern.is_ascii()).ok_or_else(|| {
            place.error(format!("found the pattern {:?}, expected ASCII", Escaped(pattern)))
        })?;
    let context = (context != b"<<none>>").then_some(context);
    if let Some(context) = context.filter(|context| !is_context(context)) {
        return Err(place.error(format!(
            "found the context {:?}, expected USER:ROLE:TYPE[:RANGE] or <<none>>",
            Escaped(context)
        )));
    }
    Ok(Some(Spec { place, pattern, kind, context }))
}

/// Whether this looks like a context; which users, roles and types there are, only the policy's
/// binary form could say.
pub(super) fn is_context(context: &[u8]) -> bool {
    context.len() <= MAX_CONTEXT
        && context.iter().all(u8::is_ascii_graphic)
        && context.split(|&byte| byte == b':').count() >= 3
        && context.splitn(4, |&byte| byte == b':').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Result<Vec<Spec<'_>>, Error> {
        specs("file_contexts", text)?.collect()
    }

    fn error(text: &[u8]) -> String {
        parsed(text).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_split_as_libselinux_does() {
        let text = b"# a comment \xff\n\n \t\r\n/a\t--\t u:r:t:s0 ignored \xff\r\n  /b\x0bu:r:t\n   # x\n/c -l <<none>>";
        let specs = parsed(text).unwrap();
        let lines: Vec<_> = specs
            .iter()
            .map(|spec| (spec.place.line, spec.pattern, spec.kind, spec.context))
            .collect();
        assert_eq!(
            lines,
            [
                (4, "/a", Kind::Regular, Some(b"u:r:t:s0".as_slice())),
                (5, "/b", Kind::Any, Some(b"u:r:t".as_slice())),
                (7, "/c", Kind::Symlink, None),
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, problem) in [
            ("\n/a", "line 2: found only \"/a\", expected a pattern and a context"),
            ("/a -x u:r:t", "line 1: found the file type \"-x\""),
            ("/a u:r:t s0", "found the file type \"u:r:t\""),
            ("/gr\u{fc}n u:r:t", "expected ASCII"),
            ("/a u:r", "found the context \"u:r\""),
            ("/a u::t", "found the context"),
            ("/a u:r:t:", "found the context"),
            ("/a u:r:t\x1b[31m", "found the context \"u:r:t\\x1b[31m\""),
            ("/a <<NONE>>", "found the context"),
            ("/a u:r:t\0:s0", "found a NUL byte"),
        ] {
            let found = error(text.as_bytes());
            assert!(found.contains(problem), "{found}");
        }
        assert!(parsed(b"/a u:r:t:s0-s15:c0.c1023").is_ok());
    }

    #[test]
    fn big_files_are_refused() {
        assert!(error(&vec![b'\n'; MAX_LINES]).contains("200001 lines"));
        assert!(error(&vec![b'#'; MAX_BYTES + 1]).contains("8388609 bytes"));
        assert!(error(format!("/{} u:r:t", "a".repeat(MAX_FIELD)).as_bytes()).contains("65534"));
    }
}
