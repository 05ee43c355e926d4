//! Policy packages: sections, one of which has the file contexts as text (libsepol's `module.c`).
//!
//! The policy itself, which is in another section, is for the host's `semodule` to judge.

use super::{Context, FileContext, ModuleError, file_context};
use crate::escape::Escaped;
use crate::selinux::parse::{self, Kind};

const MAGIC: u32 = 0xf97c_ff8f;
const MODULE: u32 = 0xf97c_ff8d;
const FILE_CONTEXTS: u32 = 0xf97c_ff90;

/// Sections of a package (libsepol's `MAXSECTIONS`).
const MAX_SECTIONS: usize = 100;

/// The file contexts of a package.
pub(super) fn contexts(package: &[u8]) -> Result<Vec<FileContext>, ModuleError> {
    let mut lines = Vec::new();
    let text = file_contexts(package)?;
    // libsepol takes a NUL for the end.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        lines.extend(context(line, number)?);
    }
    Ok(lines)
}

fn error(found: impl Into<String>, expected: &'static str) -> ModuleError {
    ModuleError::Package { found: found.into(), expected }
}

/// The section of file contexts; empty if there is none.
fn file_contexts(package: &[u8]) -> Result<&[u8], ModuleError> {
    let header = "magic, version, number of sections, and where each begins";
    let magic = number(package, 0);
    if magic != Some(MAGIC) {
        let found = magic.map_or("no magic number".to_owned(), |magic| format!("{magic:#x}"));
        return Err(error(found, "the magic number 0xf97cff8f"));
    }
    let count = number(package, 2).ok_or_else(|| error("the end of the file", header))?;
    let count = usize::try_from(count).ok().filter(|&count| count <= MAX_SECTIONS);
    let count = count.ok_or_else(|| error("too many sections", "at most 100 sections"))?;
    let mut starts = Vec::with_capacity(count);
    for index in 0..count {
        let start = number(package, index.saturating_add(3));
        starts.push(start.ok_or_else(|| error("the end of the file", header))?);
    }
    let starts: Vec<_> = starts.iter().map(|&s| usize::try_from(s).unwrap_or(usize::MAX)).collect();
    let ends = starts.iter().skip(1).copied().chain([package.len()]);
    let (mut contexts, mut has_module) = (None, false);
    for (&start, end) in starts.iter().zip(ends) {
        let section = package.get(start..end).ok_or_else(|| {
            error(format!("a section from {start} to {end}"), "sections in order, in the file")
        })?;
        let (magic, body) = number(section, 0).zip(section.get(4..)).ok_or_else(|| {
            error(format!("a section of {} bytes", section.len()), "a magic number in each")
        })?;
        match magic {
            FILE_CONTEXTS if contexts.replace(body).is_some() => {
                return Err(error("file contexts twice", "each section once"));
            }
            MODULE if std::mem::replace(&mut has_module, true) => {
                return Err(error("two modules", "each section once"));
            }
            _ => {}
        }
    }
    if !has_module {
        return Err(error("no module in it", "a module in one section"));
    }
    Ok(contexts.unwrap_or_default())
}

/// A 32-bit little-endian number, by its index.
fn number(bytes: &[u8], index: usize) -> Option<u32> {
    let at = index.checked_mul(4)?;
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The file context of a line; none if it is empty or a comment.
fn context(line: &[u8], number: usize) -> Result<Option<FileContext>, ModuleError> {
    let error = |found: String, expected| ModuleError::Line { line: number, found, expected };
    let mut fields = parse::fields(line);
    let Some(pattern) = fields.next().filter(|field| !field.starts_with(b"#")) else {
        return Ok(None);
    };
    let (kind, text) = match (fields.next(), fields.next(), fields.next()) {
        (Some(code), Some(text), None) => (Kind::of_code(code), text),
        (Some(text), None, _) => (Some(Kind::Any), text),
        _ => {
            let found = format!("{:?}", Escaped(line.get(..80).unwrap_or(line)));
            return Err(error(found, "a pattern, perhaps a file type, and a context"));
        }
    };
    let kind = kind.ok_or_else(|| error("another file type".to_owned(), "-b -c -d -l -p -s --"))?;
    if text == b"<<none>>" {
        return file_context(number, pattern, kind, None).map(Some);
    }
    let context = std::str::from_utf8(text).ok().and_then(|text| {
        let mut colons = text.match_indices(':').map(|(at, _)| at);
        let (user_role_type, range) = match colons.nth(2) {
            Some(at) => (text.get(..at)?, Some(text.get(at..)?.strip_prefix(':')?)),
            None => (text, None),
        };
        Context::new(user_role_type.to_owned(), range)
    });
    let context = context.ok_or_else(|| {
        let text = text.get(..80).unwrap_or(text);
        error(format!("the context {:?}", Escaped(text)), "USER:ROLE:TYPE[:RANGE] or <<none>>")
    })?;
    file_context(number, pattern, kind, Some(context)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selinux::module::{Language, Module};

    /// A package of these sections, each with its magic number.
    fn package(sections: &[(u32, &[u8])]) -> Vec<u8> {
        let count = u32::try_from(sections.len()).unwrap();
        let mut start = 4 * (3 + count);
        let mut header = vec![MAGIC, 1, count];
        let mut bodies = Vec::new();
        for (magic, body) in sections {
            header.push(start);
            start += 4 + u32::try_from(body.len()).unwrap();
            bodies.extend([&magic.to_le_bytes(), *body].concat());
        }
        [header.iter().flat_map(|number| number.to_le_bytes()).collect(), bodies].concat()
    }

    fn read(bytes: &[u8]) -> Result<Module, ModuleError> {
        Module::read(bytes, Language::Package, &mut 10_000)
    }

    fn error(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn sections_that_do_not_fit_are_refused() {
        let module = (MODULE, &b"policy"[..]);
        let contexts = (FILE_CONTEXTS, &b"/a u:r:t\n"[..]);
        assert_eq!(read(&package(&[module, contexts])).unwrap().len(), 1);
        assert_eq!(read(&package(&[contexts, (7, b""), module])).unwrap().len(), 1);
        assert!(read(&package(&[module])).unwrap().is_empty());

        assert!(error(b"").contains("no magic number"));
        assert!(error(b"/a u:r:t").contains("0x7520612f, expected a policy package"));
        assert!(error(&package(&[contexts])).contains("no module in it"));
        assert!(error(&package(&[module, contexts, contexts])).contains("file contexts twice"));
        assert!(error(&package(&[module, module])).contains("two modules"));
        let good = package(&[module, contexts]);
        for end in 1..32 {
            assert!(error(&good[..end]).contains("expected a policy package"), "{end}");
        }
        for (at, byte, problem) in [
            (8, 101, "too many sections"),
            (8, 3, "a section from"),
            (12, 40, "a section from 40 to 30"),
            (16, 17, "a section from 20 to 17"),
            (16, 22, "a section of 2 bytes"),
            (16, 200, "a section from 20 to 200"),
            (19, 255, "a section from"),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(error(&bad).contains(problem), "{at} {byte}: {}", error(&bad));
        }
    }

    #[test]
    fn lines_that_semodule_would_refuse_are_refused() {
        let of = |text: &str| read(&package(&[(FILE_CONTEXTS, text.as_bytes()), (MODULE, b"")]));
        let good = "# x\n\n /a\t--  u:r:t:s0 \n/b <<none>>\nHOME_DIR/x u:r:t\n/u/USER u:r:t\n\0/c";
        assert_eq!(of(good).unwrap().len(), 2);
        for (text, problem) in [
            ("\n/a", "line 2: found \"/a\", expected a pattern, perhaps a file type"),
            ("/a -- u:r:t:s0 # x", "line 1"),
            ("/a -x u:r:t:s0", "another file type"),
            ("/a u:r", "the context \"u:r\""),
            ("/a u:r:t:", "the context \"u:r:t:\""),
            ("/a u:r:\u{e4}", "the context"),
            ("/\u{e4} u:r:t", "the pattern \"/ä\", expected one of printable ASCII"),
            ("/\"a u:r:t", "the pattern"),
            ("/(a u:r:t", "its file contexts: file_contexts, line 1: found the invalid pattern"),
            ("/a u:r:t\n/a u:r:x", "two contexts for \"/a\", u:r:t and u:r:x"),
        ] {
            let found = of(text).unwrap_err().to_string();
            assert!(found.contains(problem), "{text:?}: {found}");
        }
        let long = format!("/{} u:r:t", "a".repeat(4000));
        assert!(of(&long).unwrap_err().to_string().contains("the pattern \"/aaa"));
    }

    #[test]
    fn a_bomb_is_refused() {
        use std::io::Read;
        let bytes = package(&[(MODULE, &vec![0; 20_000])]);
        assert!(error(&bytes).contains("more than 10000 bytes"));
        let mut bomb = Vec::new();
        let level = bzip2::Compression::best();
        bzip2::read::BzEncoder::new(&bytes[..], level).read_to_end(&mut bomb).unwrap();
        assert!(bomb.len() < 200);
        let mut budget = 10_000;
        assert!(matches!(
            Module::read(&bomb, Language::Package, &mut budget),
            Err(ModuleError::TooBig { limit: 10_000, .. })
        ));
        assert_eq!(budget, 0);
        assert!(error(b"BZh9 not really").contains("cannot be decompressed"));
        assert!(error(&bomb[..bomb.len() / 2]).contains("cannot be decompressed"));
    }
}
