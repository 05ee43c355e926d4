//! The common intermediate language: of all its statements the `filecon`s, at the top level or in
//! blocks, which give their names to the types declared in them.
//!
//! Whether a `filecon` in an optional block, a macro or the like counts depends on the rest of the
//! policy, as does what the name of a context or a level stands for. Such a module is refused.

use std::collections::{HashMap, HashSet};

use super::{Context, FileContext, ModuleError, file_context};
use crate::escape::Escaped;
use crate::selinux::parse::Kind;

/// Blocks within blocks.
const MAX_DEPTH: usize = 32;
/// Aliases of aliases.
const MAX_ALIASES: usize = 32;
/// Bytes from which a name, with those of its blocks before it, is too long
/// (libsepol's `CIL_MAX_NAME_LENGTH`).
const MAX_NAME: usize = 2048;
/// Bytes of all names that are kept, with those of their blocks: short names in a deep block
/// become long ones.
const MAX_NAMES: usize = 16 << 20;

/// The file contexts of a module.
pub(super) fn contexts(text: &[u8]) -> Result<Vec<FileContext>, ModuleError> {
    let mut reader = Reader {
        tokens: Tokens { rest: text, line: 1 },
        declared: Declared::new(),
        actuals: Vec::new(),
        names: 0,
        extended: HashSet::new(),
        found: Vec::new(),
        block: String::new(),
        is_open: false,
    };
    reader.statements(0)?;
    let Reader { declared, actuals, extended, found, .. } = reader;
    let mut aliases = HashMap::new();
    for Actual { line, alias, name, block } in actuals {
        check_extended(line, "the type of an alias", &block, &extended)?;
        let alias = qualified(Space::Type, alias, &block, &declared);
        let name = qualified(Space::Type, name, &block, &declared);
        if declared.get(&(Space::Type, alias.clone())) == Some(&false) {
            let found = format!("the type {alias:?}");
            return Err(ModuleError::Line { line, found, expected: "an alias" });
        }
        if let Some(other) = aliases.insert(alias, name) {
            let found = format!("another type of the alias, after {other:?}");
            return Err(ModuleError::Line { line, found, expected: "one" });
        }
    }
    found.into_iter().map(|found| found.resolved(&declared, &aliases, &extended)).collect()
}

/// What a name is that of: each has its own namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Space {
    /// Types and their aliases.
    Type,
    Role,
    User,
}

/// Names that are declared, with the names of their blocks before them; and whether that is as an
/// alias.
type Declared = HashMap<(Space, String), bool>;

/// The types that aliases stand for, or other aliases.
type Aliases = HashMap<String, String>;

/// What an alias stands for, before all types are known.
struct Actual<'a> {
    line: usize,
    alias: &'a str,
    name: &'a str,
    block: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    /// A name, or what is between quotation marks.
    Word(&'a [u8]),
}

struct Tokens<'a> {
    rest: &'a [u8],
    line: usize,
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    declared: Declared,
    actuals: Vec<Actual<'a>>,
    /// Bytes of the names in all of these.
    names: usize,
    /// The blocks that `in` adds to, without those around them.
    extended: HashSet<&'a str>,
    found: Vec<Found<'a>>,
    /// The blocks around, each with a dot after it.
    block: String,
    /// Whether the innermost one is abstract, or may have names that are not declared in it
    /// itself.
    is_open: bool,
}

/// A `filecon`, before all types are known.
struct Found<'a> {
    line: usize,
    pattern: &'a [u8],
    kind: Kind,
    /// User, role, type and range.
    context: Option<(&'a str, &'a str, &'a str, Option<String>)>,
    block: String,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, ModuleError> {
        loop {
            let Some((&byte, after)) = self.rest.split_first() else { return Ok(None) };
            match byte {
                b'\n' => {
                    self.line = self.line.saturating_add(1);
                    self.rest = after;
                }
                b' ' | b'\t' | b'\r' => self.rest = after,
                b';' => {
                    let end = after.iter().position(|&byte| byte == b'\n');
                    self.rest = after.get(end.unwrap_or(after.len())..).unwrap_or_default();
                }
                b'(' => {
                    self.rest = after;
                    return Ok(Some(Token::Open));
                }
                b')' => {
                    self.rest = after;
                    return Ok(Some(Token::Close));
                }
                b'"' => {
                    let end = after.iter().position(|&byte| matches!(byte, b'"' | b'\n'));
                    let (word, rest) = after.split_at(end.unwrap_or(after.len()));
                    let rest = rest.strip_prefix(b"\"");
                    self.rest =
                        rest.ok_or_else(|| self.error("a string without an end", "one with"))?;
                    return Ok(Some(Token::Word(word)));
                }
                _ => {
                    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"();\"".contains(byte);
                    let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end.max(1));
                    self.rest = rest;
                    return Ok(Some(Token::Word(word)));
                }
            }
        }
    }

    fn error(&self, found: impl Into<String>, expected: &'static str) -> ModuleError {
        ModuleError::Line { line: self.line, found: found.into(), expected }
    }

    fn too_long(&self) -> ModuleError {
        self.error("a longer name", "one of fewer than 2048 bytes, its blocks' included")
    }

    /// The next token if it is a word, as text.
    fn name(&mut self, expected: &'static str) -> Result<&'a str, ModuleError> {
        let token = self.next()?;
        self.as_name(token, expected)
    }

    fn as_name(
        &self,
        token: Option<Token<'a>>,
        expected: &'static str,
    ) -> Result<&'a str, ModuleError> {
        match token {
            Some(Token::Word(word)) if word.len() >= MAX_NAME => return Err(self.too_long()),
            Some(Token::Word(word)) if word.is_ascii() => str::from_utf8(word).ok(),
            _ => None,
        }
        .ok_or_else(|| self.error(shown(token), expected))
    }

    fn expect(&mut self, wanted: Token<'_>, expected: &'static str) -> Result<(), ModuleError> {
        let token = self.next()?;
        if token == Some(wanted) { Ok(()) } else { Err(self.error(shown(token), expected)) }
    }
}

fn shown(token: Option<Token<'_>>) -> String {
    match token {
        None => "the end".to_owned(),
        Some(Token::Open) => "\"(\"".to_owned(),
        Some(Token::Close) => "\")\"".to_owned(),
        Some(Token::Word(word)) => format!("{:?}", Escaped(word.get(..80).unwrap_or(word))),
    }
}

impl Reader<'_> {
    /// Statements up to the end of the block, or of the file.
    fn statements(&mut self, depth: usize) -> Result<(), ModuleError> {
        loop {
            match self.tokens.next()? {
                Some(Token::Open) => self.statement(depth)?,
                Some(Token::Close) if depth > 0 => return Ok(()),
                None if depth == 0 => return Ok(()),
                token => return Err(self.tokens.error(shown(token), "a statement, \"(…)\"")),
            }
        }
    }

    /// A statement after its opening parenthesis.
    fn statement(&mut self, depth: usize) -> Result<(), ModuleError> {
        match self.tokens.next()? {
            Some(Token::Word(b"filecon")) => self.filecon(),
            Some(Token::Word(b"block")) if depth < MAX_DEPTH => {
                let name = self.tokens.name("the name of a block")?;
                if name.contains('.') {
                    return Err(self.tokens.error(format!("{name:?}"), "a name without a dot"));
                }
                let outer = self.block.len();
                let before = self.found.len() + self.actuals.len();
                let is_open = std::mem::take(&mut self.is_open);
                self.block.push_str(name);
                self.block.push('.');
                if self.block.len() >= MAX_NAME {
                    return Err(self.tokens.too_long());
                }
                self.statements(depth.saturating_add(1))?;
                self.block.truncate(outer);
                let after = self.found.len() + self.actuals.len();
                if std::mem::replace(&mut self.is_open, is_open) && after > before {
                    return Err(self.tokens.error(
                        "filecon, or the type of an alias, in a block that is abstract, or takes names from elsewhere",
                        "it elsewhere: only a whole policy tells what this one stands for",
                    ));
                }
                Ok(())
            }
            Some(Token::Word(b"type")) => self.declaration(Space::Type, "(type NAME)"),
            Some(Token::Word(b"typealias")) => self.declaration(Space::Type, "(typealias NAME)"),
            Some(Token::Word(b"typealiasactual")) => self.actual(),
            Some(Token::Word(b"role")) => self.declaration(Space::Role, "(role NAME)"),
            Some(Token::Word(b"user")) => self.declaration(Space::User, "(user NAME)"),
            Some(Token::Word(word)) => self.skip(word),
            Some(Token::Close) => Ok(()),
            token => Err(self.tokens.error(shown(token), "a statement's keyword")),
        }
    }

    /// `NAME)`
    fn declaration(&mut self, space: Space, form: &'static str) -> Result<(), ModuleError> {
        let name = self.tokens.name(form)?;
        self.keep(name)?;
        let is_alias = form.starts_with("(typealias");
        let name = format!("{}{name}", self.block);
        if self.declared.get(&(space, name.clone())).is_some_and(|known| *known != is_alias) {
            let found = format!("{name:?} as a type and as an alias");
            return Err(self.tokens.error(found, "it as one of them"));
        }
        self.declared.insert((space, name), is_alias);
        self.tokens.expect(Token::Close, form)
    }

    /// `ALIAS TYPE)`
    fn actual(&mut self) -> Result<(), ModuleError> {
        const FORM: &str = "(typealiasactual ALIAS TYPE)";
        let (alias, name) = (self.tokens.name(FORM)?, self.tokens.name(FORM)?);
        self.keep(alias)?;
        self.keep(name)?;
        let (line, block) = (self.tokens.line, self.block.clone());
        self.actuals.push(Actual { line, alias, name, block });
        self.tokens.expect(Token::Close, FORM)
    }

    /// Accounts for a name that is kept with those of the blocks around.
    fn keep(&mut self, name: &str) -> Result<(), ModuleError> {
        let length = self.block.len().saturating_add(name.len());
        if length >= MAX_NAME {
            return Err(self.tokens.too_long());
        }
        self.names = self.names.saturating_add(length);
        if self.names > MAX_NAMES {
            let limit = u64::try_from(MAX_NAMES).unwrap_or(u64::MAX);
            return Err(ModuleError::TooBig {
                limit,
                unit: "bytes of names, their blocks' included",
            });
        }
        Ok(())
    }

    /// Notices what may declare names in the block around, or in another one.
    fn notice(&mut self, keyword: &[u8]) -> Result<(), ModuleError> {
        match keyword {
            b"blockinherit" | b"blockabstract" | b"call" | b"type" | b"typealias" | b"role"
            | b"user" | b"sensitivity" | b"sensitivityalias" => self.is_open = true,
            b"in" => {
                const FORM: &str = "(in BLOCK …), (in before BLOCK …) or (in after BLOCK …)";
                let mut name = self.tokens.name(FORM)?;
                if matches!(name, "before" | "after") {
                    name = self.tokens.name(FORM)?;
                }
                self.extended.extend(name.rsplit('.').next());
            }
            _ => {}
        }
        Ok(())
    }

    /// What is left of a statement, in which others may be, as in `optional` and `tunableif`.
    fn skip(&mut self, keyword: &[u8]) -> Result<(), ModuleError> {
        self.notice(keyword)?;
        // What a macro declares, it declares where it is called.
        let is_macro = keyword == b"macro";
        let mut open = 1_usize;
        let mut after_open = false;
        while open > 0 {
            match self.tokens.next()? {
                Some(Token::Open) => {
                    open = open.saturating_add(1);
                    after_open = true;
                    continue;
                }
                Some(Token::Close) => open = open.saturating_sub(1),
                Some(Token::Word(b"filecon")) if after_open => {
                    return Err(self.tokens.error(
                        "filecon in another statement",
                        "it at the top level or in blocks: only a whole policy tells whether this one counts",
                    ));
                }
                Some(Token::Word(word)) if after_open && !is_macro => self.notice(word)?,
                Some(Token::Word(_)) => {}
                None => return Err(self.tokens.error(shown(None), "\")\"")),
            }
            after_open = false;
        }
        Ok(())
    }

    /// `PATTERN KIND (USER ROLE TYPE (LOW HIGH)))` or `PATTERN KIND ())`
    fn filecon(&mut self) -> Result<(), ModuleError> {
        const FORM: &str =
            "(filecon PATTERN KIND (USER ROLE TYPE (LOW HIGH))) or (filecon PATTERN KIND ())";
        let tokens = &mut self.tokens;
        let pattern = tokens.next()?;
        let Some(Token::Word(pattern)) = pattern else {
            return Err(tokens.error(shown(pattern), FORM));
        };
        let kind = match tokens.name(FORM)? {
            "any" => Kind::Any,
            "file" => Kind::Regular,
            "dir" => Kind::Directory,
            "char" => Kind::CharacterDevice,
            "block" => Kind::BlockDevice,
            "socket" => Kind::Socket,
            "pipe" => Kind::Fifo,
            "symlink" => Kind::Symlink,
            word => {
                let kinds = "any, file, dir, char, block, socket, pipe or symlink";
                return Err(tokens.error(shown(Some(Token::Word(word.as_bytes()))), kinds));
            }
        };
        tokens.expect(Token::Open, FORM)?;
        let context = match tokens.next()? {
            Some(Token::Close) => None,
            user => {
                let user = tokens.as_name(user, FORM)?;
                let (role, type_) = (tokens.name(FORM)?, tokens.name(FORM)?);
                tokens.expect(Token::Open, FORM)?;
                let (low, high) = (level(tokens)?, level(tokens)?);
                tokens.expect(Token::Close, FORM)?;
                tokens.expect(Token::Close, FORM)?;
                let range = low.zip(high).map(|(low, high)| format!("{low}-{high}"));
                Some((user, role, type_, range))
            }
        };
        tokens.expect(Token::Close, FORM)?;
        self.keep(context.as_ref().map_or("", |(_, _, type_, _)| type_))?;
        let (line, block) = (self.tokens.line, self.block.clone());
        self.found.push(Found { line, pattern, kind, context, block });
        Ok(())
    }
}

/// A level without categories: `(s0)`; none for libsepol's name of the only one.
fn level<'a>(tokens: &mut Tokens<'a>) -> Result<Option<&'a str>, ModuleError> {
    const FORM: &str = "a level without categories, (s0)";
    match tokens.next()? {
        Some(Token::Word(b"systemlow")) => Ok(None),
        Some(Token::Open) => {
            let name = tokens.name(FORM)?;
            tokens.expect(Token::Close, FORM)?;
            Ok(Some(name))
        }
        token => Err(tokens.error(shown(token), FORM)),
    }
}

/// Refuses what only a whole policy tells, since "in" adds to a block around it.
fn check_extended(
    line: usize,
    what: &str,
    block: &str,
    extended: &HashSet<&str>,
) -> Result<(), ModuleError> {
    if !block.split('.').any(|block| !block.is_empty() && extended.contains(block)) {
        return Ok(());
    }
    let found = format!("{what} in a block that \"in\" adds to");
    let expected = "it elsewhere: only a whole policy tells what this one stands for";
    Err(ModuleError::Line { line, found, expected })
}

impl Found<'_> {
    fn resolved(
        self,
        declared: &Declared,
        aliases: &Aliases,
        extended: &HashSet<&str>,
    ) -> Result<FileContext, ModuleError> {
        let Self { line, pattern, kind, context, block } = self;
        let Some((user, role, type_, range)) = context else {
            return file_context(line, pattern, kind, None);
        };
        check_extended(line, "filecon", &block, extended)?;
        let [user, role, type_] = [(Space::User, user), (Space::Role, role), (Space::Type, type_)]
            .map(|(space, name)| qualified(space, name, &block, declared));
        let type_ = actual(&type_, declared, aliases).ok_or_else(|| ModuleError::Line {
            line,
            found: format!("the alias {type_:?}"),
            expected: "one that the module gives a type",
        })?;
        let context = Context::new(format!("{user}:{role}:{type_}"), range.as_deref());
        let context = context.ok_or_else(|| ModuleError::Line {
            line,
            found: "what is no context".to_owned(),
            expected: "USER, ROLE, TYPE and levels",
        })?;
        file_context(line, pattern, kind, Some(context))
    }
}

/// The type that a name stands for; none for an alias without one.
fn actual<'t>(name: &'t str, declared: &Declared, aliases: &'t Aliases) -> Option<&'t str> {
    let mut name = name;
    for _ in 0..MAX_ALIASES {
        let Some(actual) = aliases.get(name) else {
            let is_alias = declared.get(&(Space::Type, name.to_owned())).copied();
            return (is_alias != Some(true)).then_some(name);
        };
        name = actual;
    }
    None
}

/// What a name in a block stands for: that of the innermost block that declares it, else that of
/// the policy.
fn qualified(space: Space, name: &str, block: &str, declared: &Declared) -> String {
    let mut scope = block;
    while !scope.is_empty() {
        let candidate = (space, format!("{scope}{name}"));
        if declared.contains_key(&candidate) {
            return candidate.1;
        }
        let outer = scope.strip_suffix('.').unwrap_or(scope).rfind('.');
        scope = scope.get(..outer.map_or(0, |at| at.saturating_add(1))).unwrap_or_default();
    }
    name.to_owned()
}

#[cfg(test)]
mod tests;
