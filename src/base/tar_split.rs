//! tar-split: an archive without the contents of its files, from which it is assembled anew.
//!
//! A line of JSON for each part, in order (vbatts/tar-split, `tar/storage`): bytes as they are, such
//! as headers and padding, or the name and length of a file whose contents come next. Nothing of it
//! is believed: what comes out counts only if all of it has the digest that a layer must have.

use std::io::{self, BufRead, Read};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::json;
use crate::limits::Limits;

/// A file, whose contents come next.
const FILE: u8 = 1;
/// Bytes as they are.
const SEGMENT: u8 = 2;

/// Lines for each entry of an archive: its header, its contents, their padding.
const LINES: u64 = 4;

/// A part of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// The contents of a file.
    File {
        /// Its name, as the archive has it.
        name: Vec<u8>,
        /// Its length in bytes.
        size: u64,
    },
}

/// Why it is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read or decompressed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is no JSON of the format.
    #[error("{0}")]
    Json(String),
    /// A field has a value that no part has.
    #[error("found a bad {0}")]
    Field(&'static str),
    /// More than a limit allows.
    #[error("found more than the limit {0} allows")]
    Limit(&'static str),
}

/// A line as written.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: u8,
    name: Option<String>,
    /// Where the name is no UTF-8.
    name_raw: Option<String>,
    #[serde(default)]
    size: i64,
    /// Base64; of a file it is a check of its contents.
    payload: Option<String>,
}

/// Reads the parts of an archive.
#[derive(Debug)]
pub struct Parts<'l, R> {
    from: R,
    limits: &'l Limits,
    lines: u64,
}

impl<'l, R: BufRead> Parts<'l, R> {
    /// Starts at the first line.
    pub fn new(from: R, limits: &'l Limits) -> Self {
        Self { from, limits, lines: 0 }
    }

    /// The next part; none at the end.
    pub fn read(&mut self) -> Result<Option<Part>, Problem> {
        // A header and what extends it, in base64, and a name.
        let maximum = self.limits.entry_metadata.saturating_mul(2).saturating_add(64 << 10);
        let mut line = Vec::new();
        (&mut self.from).take(maximum).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if u64::try_from(line.len()).is_ok_and(|length| length >= maximum) {
            return Err(Problem::Limit("entry-metadata"));
        }
        self.lines += 1;
        if self.lines > self.limits.entries.saturating_mul(LINES).saturating_add(LINES) {
            return Err(Problem::Limit("entries"));
        }
        part(&line, self.limits).map(Some)
    }
}

fn part(line: &[u8], limits: &Limits) -> Result<Part, Problem> {
    let Line { kind, name, name_raw, size, payload } =
        json::from_slice(line).map_err(|error| Problem::Json(json::message(&error)))?;
    let bytes =
        |text: String, field| BASE64_STANDARD.decode(text).map_err(|_| Problem::Field(field));
    match kind {
        SEGMENT => Ok(Part::Bytes(bytes(payload.unwrap_or_default(), "payload")?)),
        FILE => {
            let name = match (name_raw, name) {
                (Some(raw), _) => bytes(raw, "name_raw")?,
                (None, Some(name)) => name.into_bytes(),
                (None, None) => return Err(Problem::Field("name")),
            };
            if u64::try_from(name.len()).is_ok_and(|length| length > limits.path) {
                return Err(Problem::Limit("path"));
            }
            let size = u64::try_from(size).map_err(|_| Problem::Field("size"))?;
            Ok(Part::File { name, size })
        }
        _ => Err(Problem::Field("type")),
    }
}

/// Opens the file with a name, which must have so many bytes.
pub type Open<'o> = dyn Fn(&[u8], u64) -> io::Result<Box<dyn Read>> + 'o;

/// An archive that is being assembled.
pub struct Assembly<'a, R> {
    parts: Parts<'a, R>,
    open: Box<Open<'a>>,
    current: Current,
}

enum Current {
    Bytes(io::Cursor<Vec<u8>>),
    File { contents: Box<dyn Read>, left: u64 },
}

impl<'a, R: BufRead> Assembly<'a, R> {
    /// Starts at the first byte of the archive.
    pub fn new(parts: Parts<'a, R>, open: Box<Open<'a>>) -> Self {
        Self { parts, open, current: Current::Bytes(io::Cursor::default()) }
    }
}

impl<R: BufRead> Read for Assembly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match &mut self.current {
                Current::Bytes(bytes) => bytes.read(buffer)?,
                Current::File { contents, left } => {
                    let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let count = contents.read(buffer.get_mut(..wanted).unwrap_or_default())?;
                    if count == 0 && wanted > 0 {
                        return Err(io::Error::other("a file ended early: it was changed"));
                    }
                    *left -= u64::try_from(count).unwrap_or(u64::MAX);
                    count
                }
            };
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.current = match self.parts.read().map_err(io::Error::other)? {
                None => return Ok(0),
                Some(Part::Bytes(bytes)) => Current::Bytes(io::Cursor::new(bytes)),
                // Nobody looks for what is empty: it may be a link, or a whiteout.
                Some(Part::File { size: 0, .. }) => continue,
                Some(Part::File { name, size }) => {
                    Current::File { contents: (self.open)(&name, size)?, left: size }
                }
            };
        }
    }
}

impl<R> std::fmt::Debug for Assembly<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(text: &str, limits: &Limits) -> Result<Vec<u8>, String> {
        let open = |name: &[u8], size: u64| -> io::Result<Box<dyn Read>> {
            match name {
                b"short" => Ok(Box::new(io::empty())),
                b"none" => Err(io::ErrorKind::NotFound.into()),
                _ => {
                    let contents = name.repeat(usize::try_from(size).unwrap());
                    Ok(Box::new(io::Cursor::new(contents)))
                }
            }
        };
        let mut assembly = Assembly::new(Parts::new(text.as_bytes(), limits), Box::new(open));
        let mut bytes = Vec::new();
        assembly.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn parts_come_in_their_order() {
        let text = r#"{"type":2,"payload":"aGVhZA==","position":0}
{"type":1,"name":"a","size":3,"payload":"AAAAAAAAAAA=","position":1}
{"type":2,"payload":"","position":2}
{"type":1,"name":"none","payload":null,"position":3}
{"type":1,"name_raw":"/w==","size":2,"payload":"AAAAAAAAAAA=","position":4}
{"type":2,"payload":"dGFpbA==","position":5}"#;
        let limits = Limits::default();
        assert_eq!(assemble(text, &limits).unwrap(), b"headaaa\xff\xfftail");
        assert_eq!(assemble("", &limits).unwrap(), b"");
    }

    #[test]
    fn named_rejects() {
        let limits = Limits { path: 4, entries: 1, entry_metadata: 1, ..Limits::default() };
        let long = format!("{{\"type\":2,\"payload\":\"{}\"}}", "A".repeat(70_000));
        let quoted = format!("{{\"type\":\"{}\"}}", "x".repeat(1000));
        let many = "{\"type\":2,\"payload\":\"\"}\n".repeat(9);
        for (text, expected) in [
            ("\n", "EOF while parsing a value"),
            ("{\"type\":2", "EOF while parsing an object"),
            ("[2]", "invalid type: sequence"),
            ("{\"payload\":\"\"}", "missing field `type`"),
            ("{\"type\":3,\"payload\":\"\"}", "found a bad type"),
            ("{\"type\":-1,\"payload\":\"\"}", "invalid value: integer `-1`"),
            ("{\"type\":2,\"payload\":\"?\"}", "found a bad payload"),
            ("{\"type\":1,\"size\":1}", "found a bad name"),
            ("{\"type\":1,\"name_raw\":\"?\",\"size\":1}", "found a bad name_raw"),
            ("{\"type\":1,\"name\":\"a\",\"size\":-1}", "found a bad size"),
            ("{\"type\":1,\"name\":\"12345\",\"size\":1}", "the limit path allows"),
            ("{\"type\":1,\"name\":\"none\",\"size\":1}", "entity not found"),
            ("{\"type\":2,\"payload\":\"\"} {}", "trailing characters"),
            (&quoted, "xxx"),
            (&long, "the limit entry-metadata allows"),
            (&many, "the limit entries allows"),
        ] {
            let found = assemble(text, &limits).unwrap_err();
            assert!(found.contains(expected) && found.len() < 400, "{text:.60}: {found}");
        }
        let short = assemble("{\"type\":1,\"name\":\"short\",\"size\":1}", &Limits::default());
        assert_eq!(short.unwrap_err(), "a file ended early: it was changed");
    }
}
