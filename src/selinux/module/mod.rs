//! A policy module, as far as it says how files are labelled: its file contexts.
//!
//! `semodule` makes CIL of a policy package (`.pp`), and of all modules together `file_contexts`.
//! What it would refuse is refused here, as far as it can be told without the host's policy.

mod cil;
mod package;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use bzip2::read::BzDecoder;

use super::parse::{self, Kind, Spec};
use super::{FileContexts, PolicyFiles};
use crate::escape::Escaped;

/// Bytes of one line of file contexts: libsemanage reads longer ones in pieces (`PATH_MAX`).
const MAX_LINE: usize = 4000;

/// How a module is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A policy package, `.pp`.
    Package,
    /// The common intermediate language, `.cil`.
    Cil,
}

/// The file contexts of a policy module, each of them good by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    contexts: Vec<FileContext>,
}

/// One file context.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileContext {
    pattern: String,
    kind: Kind,
    /// None for `<<none>>`.
    context: Option<Context>,
}

/// A context as modules have it: whether its range counts is a matter of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    user_role_type: String,
    /// None for libsepol's `systemlow`, which only policies without ranges know.
    range: Option<String>,
}

/// What is wrong with a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// It is too big.
    #[error("found more than {limit} {unit}")]
    TooBig {
        /// How many are accepted.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// It cannot be decompressed.
    #[error("found bzip2 that cannot be decompressed: {0}")]
    Compression(String),
    /// A package's sections do not fit together.
    #[error("found {found}, expected a policy package: {expected}")]
    Package {
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Something is not understood.
    #[error("line {line}: found {found}, expected {expected}")]
    Line {
        /// The line's number, from 1, in the file contexts or the CIL.
        line: usize,
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A file context is none, or is too costly.
    #[error("its file contexts: {0}")]
    Contexts(String),
    /// A context without a range, for a policy with them.
    #[error("found the context {context:?}, expected one with a range, as the policy's have")]
    NoRange {
        /// The context.
        context: String,
    },
    /// Two file contexts of one pattern and file type, with different contexts.
    #[error("found two contexts for {pattern:?}, {one} and {other}: semodule accepts one")]
    Conflict {
        /// The pattern.
        pattern: String,
        /// A context.
        one: String,
        /// Another.
        other: String,
    },
}

impl Module {
    /// Reads a module, which may be compressed with bzip2 whatever its name is, as for `semodule`.
    ///
    /// # Errors
    /// [`ModuleError`], also if it has more than `budget` bytes when decompressed; what it has is
    /// taken from that.
    pub fn read(bytes: &[u8], language: Language, budget: &mut u64) -> Result<Self, ModuleError> {
        let bytes = decompressed(bytes, budget)?;
        let contexts = match language {
            Language::Package => package::contexts(&bytes)?,
            Language::Cil => cil::contexts(&bytes)?,
        };
        let contexts: Vec<_> = contexts.into_iter().filter(|c| !c.is_template()).collect();
        let module = Self { contexts };
        module.check()?;
        Ok(module)
    }

    /// How many file contexts it has, without those that are made anew for each home directory.
    pub fn len(&self) -> usize {
        self.contexts.len()
    }

    /// Whether it has no file contexts.
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// Fails if one of the file contexts cannot be one of a policy.
    fn check(&self) -> Result<(), ModuleError> {
        let mut merged = Merged { mls: false, ..Merged::default() };
        merged.add(self)?;
        let policy =
            PolicyFiles { file_contexts: merged.file_contexts(), ..PolicyFiles::default() };
        FileContexts::parse(&policy).map_err(|e| ModuleError::Contexts(e.to_string()))?;
        Ok(())
    }
}

impl FileContext {
    /// The length of its line, at most.
    fn max_length(&self) -> usize {
        let of_context = |context: &Context| {
            let range = context.range.as_ref().map_or(0, String::len);
            context.user_role_type.len().saturating_add(range)
        };
        let context = self.context.as_ref().map_or(0, of_context);
        self.pattern.len().saturating_add(context).saturating_add(16)
    }

    /// Whether it is one for home directories, which `genhomedircon` makes others of.
    fn is_template(&self) -> bool {
        let context = self.context.as_ref().map_or("", |context| &context.user_role_type);
        self.pattern.starts_with("HOME_DIR")
            || self.pattern.starts_with("HOME_ROOT")
            || ["ROLE", "USER"]
                .iter()
                .any(|word| self.pattern.contains(word) || context.contains(word))
    }
}

/// A policy's `file_contexts`, with those of modules among them as `semodule` has them.
#[derive(Debug, Default)]
pub struct Merged {
    /// Whether contexts have a range.
    mls: bool,
    /// The pattern, the file type, and the context.
    specs: Vec<(String, Kind, String)>,
    /// Of the text, at most.
    length: usize,
    /// Where in `specs` those of a pattern are.
    by_pattern: HashMap<(String, Kind), usize>,
}

impl Merged {
    /// The specifications of a policy.
    ///
    /// # Errors
    /// As [`FileContexts::parse`], but for patterns.
    pub fn of(policy: &PolicyFiles) -> Result<Self, super::Error> {
        let mut merged = Self { length: policy.file_contexts.len(), ..Self::default() };
        for spec in parse::specs("file_contexts", &policy.file_contexts)? {
            let Spec { pattern, kind, context, .. } = spec?;
            if let Some(context) = context {
                merged.mls |= context.split(|&byte| byte == b':').nth(3).is_some();
            }
            let context = context.map_or(Cow::Borrowed("<<none>>"), String::from_utf8_lossy);
            merged.push(pattern.to_owned(), kind, context.into_owned());
        }
        Ok(merged)
    }

    /// Adds the file contexts of a module that are not here yet, and tells how many these are.
    ///
    /// # Errors
    /// If one of them contradicts one that is here; then none are added.
    pub fn add(&mut self, module: &Module) -> Result<usize, ModuleError> {
        let too_big = |limit: usize, unit| {
            Err(ModuleError::TooBig { limit: u64::try_from(limit).unwrap_or(u64::MAX), unit })
        };
        let before = self.specs.len();
        if before.saturating_add(module.contexts.len()) > parse::MAX_LINES {
            return too_big(parse::MAX_LINES, "file contexts, the policy's included");
        }
        let length = module.contexts.iter().map(FileContext::max_length).sum();
        if self.length.saturating_add(length) > parse::MAX_BYTES {
            return too_big(parse::MAX_BYTES, "bytes of file contexts, the policy's included");
        }
        for FileContext { pattern, kind, context } in &module.contexts {
            let context = match context {
                None => "<<none>>".to_owned(),
                Some(Context { user_role_type, .. }) if !self.mls => user_role_type.clone(),
                Some(Context { user_role_type, range: Some(range) }) => {
                    format!("{user_role_type}:{range}")
                }
                Some(Context { user_role_type, range: None }) => {
                    self.forget(before);
                    return Err(ModuleError::NoRange { context: user_role_type.clone() });
                }
            };
            let there = self.by_pattern.get(&(pattern.clone(), *kind));
            match there.and_then(|&index| self.specs.get(index)) {
                None => self.push(pattern.clone(), *kind, context),
                Some((_, _, there)) if *there == context => {}
                Some((_, _, there)) => {
                    let (pattern, one) = (pattern.clone(), there.clone());
                    self.forget(before);
                    return Err(ModuleError::Conflict { pattern, one, other: context });
                }
            }
        }
        self.length = self.length.saturating_add(length);
        Ok(self.specs.len().saturating_sub(before))
    }

    /// The text, in the order that libsepol gives it: what is more specific comes later.
    pub fn file_contexts(mut self) -> Vec<u8> {
        self.specs.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        self.specs
            .sort_by_cached_key(|(pattern, kind, _)| (specificity(pattern.as_bytes()), *kind));
        let mut text = String::new();
        for (pattern, kind, context) in &self.specs {
            for part in [pattern.as_str(), kind.code(), "\t", context, "\n"] {
                text.push_str(part);
            }
        }
        text.into_bytes()
    }

    /// Takes back what was added since there were `length`.
    fn forget(&mut self, length: usize) {
        for (pattern, kind, _) in self.specs.drain(length..) {
            self.by_pattern.remove(&(pattern, kind));
        }
    }

    fn push(&mut self, pattern: String, kind: Kind, context: String) {
        self.by_pattern.entry((pattern.clone(), kind)).or_insert(self.specs.len());
        self.specs.push((pattern, kind, context));
    }
}

/// Whether a pattern has no meta characters, how many come before the first, and how many it has
/// in all (libsepol's `cil_post_fc_fill_data`).
fn specificity(pattern: &[u8]) -> (bool, usize, usize) {
    let (mut is_literal, mut stem, mut length) = (true, 0_usize, 0_usize);
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'.' | b'^' | b'$' | b'?' | b'*' | b'+' | b'|' | b'[' | b'(' | b'{' => {
                is_literal = false;
            }
            byte => {
                if byte == b'\\' {
                    bytes.next();
                }
                stem = stem.saturating_add(usize::from(is_literal));
            }
        }
        length = length.saturating_add(1);
    }
    (is_literal, stem, length)
}

/// The bytes of the first bzip2 stream, if this begins like one, or these bytes.
fn decompressed<'a>(bytes: &'a [u8], budget: &mut u64) -> Result<Cow<'a, [u8]>, ModuleError> {
    let limit = *budget;
    let (bytes, outcome) = if bytes.starts_with(b"BZh") {
        let mut text = Vec::new();
        let mut decoder = BzDecoder::new(bytes).take(limit.saturating_add(1));
        let outcome = decoder.read_to_end(&mut text);
        (Cow::Owned(text), outcome.map(|_| ()))
    } else {
        (Cow::Borrowed(bytes), Ok(()))
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    *budget = limit.saturating_sub(length);
    outcome.map_err(|e| ModuleError::Compression(e.to_string()))?;
    if length > limit { Err(ModuleError::TooBig { limit, unit: "bytes" }) } else { Ok(bytes) }
}

impl Context {
    /// A context of text; `None` if that is none.
    fn new(user_role_type: String, range: Option<&str>) -> Option<Self> {
        let range = range.map(|range| match range.split_once('-') {
            Some((low, high)) if low == high => low,
            _ => range,
        });
        let whole = format!("{user_role_type}:{}", range.unwrap_or("s0"));
        let fits = parse::is_context(whole.as_bytes()) && whole.len() <= MAX_LINE;
        fits.then(|| Self { user_role_type, range: range.map(str::to_owned) })
    }
}

/// A file context, if its pattern can be one in a line.
fn file_context(
    line: usize,
    pattern: &[u8],
    kind: Kind,
    context: Option<Context>,
) -> Result<FileContext, ModuleError> {
    let fits = |pattern: &&str| {
        !pattern.is_empty()
            && pattern.len() <= MAX_LINE
            && !pattern.starts_with('#')
            && pattern.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
    };
    let found = std::str::from_utf8(pattern).ok().filter(fits);
    let pattern = found.ok_or_else(|| ModuleError::Line {
        line,
        found: format!("the pattern {:?}", Escaped(pattern.get(..80).unwrap_or(pattern))),
        expected: "one of printable ASCII without spaces and quotation marks",
    })?;
    Ok(FileContext { pattern: pattern.to_owned(), kind, context })
}
