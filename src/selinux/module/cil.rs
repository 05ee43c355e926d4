//! The common intermediate language: of all its statements the `filecon`s, at the top level or in
//! blocks, which give their names to the types declared in them.
//!
//! Whether a `filecon` in an optional block, a macro or the like counts depends on the rest of the
//! policy, as does what the name of a context or a level stands for. Such a module is refused.

use std::collections::HashSet;

use super::{Context, FileContext, ModuleError, file_context};
use crate::escape::Escaped;
use crate::selinux::parse::Kind;

/// Blocks within blocks.
const MAX_DEPTH: usize = 32;

/// The file contexts of a module.
pub(super) fn contexts(text: &[u8]) -> Result<Vec<FileContext>, ModuleError> {
    let mut reader = Reader {
        tokens: Tokens { rest: text, line: 1 },
        types: HashSet::new(),
        found: Vec::new(),
        block: String::new(),
        inherits: false,
    };
    reader.statements(0)?;
    let Reader { types, found, .. } = reader;
    found.into_iter().map(|found| found.resolved(&types)).collect()
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
    /// The types that are declared, with the names of their blocks before them.
    types: HashSet<String>,
    found: Vec<Found<'a>>,
    /// The blocks around, each with a dot after it.
    block: String,
    /// Whether the innermost one is abstract, or has types of other blocks.
    inherits: bool,
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
                let (outer, found) = (self.block.len(), self.found.len());
                let inherits = std::mem::take(&mut self.inherits);
                self.block = format!("{}{name}.", self.block);
                self.statements(depth.saturating_add(1))?;
                self.block.truncate(outer);
                if std::mem::replace(&mut self.inherits, inherits) && self.found.len() > found {
                    return Err(self.tokens.error(
                        "filecon in a block that is abstract or inherits",
                        "it elsewhere: only a whole policy tells what this one stands for",
                    ));
                }
                Ok(())
            }
            Some(Token::Word(b"type")) => {
                let name = self.tokens.name("the name of a type")?;
                self.types.insert(format!("{}{name}", self.block));
                self.tokens.expect(Token::Close, "(type NAME)")
            }
            Some(Token::Word(word)) => {
                self.inherits |= matches!(word, b"blockinherit" | b"blockabstract");
                self.skip()
            }
            Some(Token::Close) => Ok(()),
            token => Err(self.tokens.error(shown(token), "a statement's keyword")),
        }
    }

    /// What is left of a statement.
    fn skip(&mut self) -> Result<(), ModuleError> {
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
        let (line, block) = (tokens.line, self.block.clone());
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

impl Found<'_> {
    fn resolved(self, types: &HashSet<String>) -> Result<FileContext, ModuleError> {
        let Self { line, pattern, kind, context, block } = self;
        let Some((user, role, name, range)) = context else {
            return file_context(line, pattern, kind, None);
        };
        // A type is the one of the innermost block that declares it, else that of the policy.
        let mut scope = block.as_str();
        let resolved = loop {
            let candidate = format!("{scope}{name}");
            if types.contains(&candidate) || scope.is_empty() {
                break candidate;
            }
            let outer = scope.strip_suffix('.').unwrap_or(scope).rfind('.');
            scope = scope.get(..outer.map_or(0, |at| at.saturating_add(1))).unwrap_or_default();
        };
        let context = Context::new(format!("{user}:{role}:{resolved}"), range.as_deref());
        let context = context.ok_or_else(|| ModuleError::Line {
            line,
            found: "what is no context".to_owned(),
            expected: "USER, ROLE, TYPE and levels",
        })?;
        file_context(line, pattern, kind, Some(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<String>, String> {
        let contexts = contexts(text.as_bytes()).map_err(|e| e.to_string())?;
        let line = |found: FileContext| {
            let context = found.context.map_or("none".to_owned(), |context| {
                format!("{}:{}", context.user_role_type, context.range.unwrap_or_default())
            });
            format!("{}{} {context}", found.pattern, found.kind.code())
        };
        Ok(contexts.into_iter().map(line).collect())
    }

    #[test]
    fn file_contexts_are_found_among_all_else() {
        let text = r#"
            ; (filecon "/comment" any ())
            (typeattributeset x (and (a) (not (b)))) (filecon "/a(b)?;" file (u r t ((s0) (s0))))
            (filecon /word symlink ()) () (allow filecon x (file (read)))
            (block one (type t) (block two (type v)
                (filecon "/t" dir (u r t ((s0) (s1)))) (filecon "/v" any (u r v (systemlow systemlow)))
                (filecon "/w" any (u r w ((s0) (s0))))))
            (type w) (filecon "/x" any (u r one.two.v ((s0) (s0))))"#;
        assert_eq!(
            lines(text).unwrap(),
            [
                "/a(b)?;\t-- u:r:t:s0",
                "/word\t-l none",
                "/t\t-d u:r:one.t:s0-s1",
                "/v u:r:one.two.v:",
                "/w u:r:w:s0",
                "/x u:r:one.two.v:s0",
            ]
        );
        assert_eq!(lines("").unwrap(), [""; 0]);
    }

    #[test]
    fn what_only_a_whole_policy_tells_is_refused() {
        let filecon = "(filecon \"/a\" any (u r t ((s0) (s0))))";
        for text in [
            format!("\n(optional x {filecon})"),
            format!("\n(macro m () (block b {filecon}))"),
            format!("\n(tunableif t (true {filecon}))"),
            format!("\n(in b {filecon})"),
            format!("\n(block b (blockinherit c) {filecon})"),
            format!("\n(block b (block c {filecon}) (blockabstract b))"),
            "\n(filecon \"/a\" any named)".to_owned(),
            "\n(filecon \"/a\" any (u r t range))".to_owned(),
            "\n(filecon \"/a\" any (u r t ((s0 (c0)) (s0 (c0)))))".to_owned(),
        ] {
            let found = lines(&text).unwrap_err();
            assert!(found.starts_with("line 2: found "), "{text}: {found}");
        }
    }

    #[test]
    fn what_is_no_cil_is_refused() {
        let deep = "(block a ".repeat(40);
        for (text, problem) in [
            (")", "found \")\", expected a statement"),
            ("x", "found \"x\", expected a statement"),
            ("(block a", "found the end"),
            ("(a (b)", "found the end, expected \")\""),
            ("(a \"x)\n", "a string without an end"),
            ("((a))", "found \"(\", expected a statement's keyword"),
            ("(type a b)", "expected (type NAME)"),
            ("(block (a))", "the name of a block"),
            ("(filecon)", "(filecon PATTERN"),
            ("(filecon \"/a\" fifo ())", "found \"fifo\", expected any, file"),
            ("(filecon \"/a\" any () x)", "(filecon PATTERN"),
            ("(filecon \"/a b\" any ())", "the pattern \"/a b\""),
            ("(filecon \"\" any ())", "the pattern \"\""),
            ("(filecon \"/a\" any (u r \u{e4} ((s0) (s0))))", "(filecon PATTERN"),
            (&*deep, "expected"),
        ] {
            let found = lines(text).unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
        }
        assert!(lines("(block a (block b))").unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[()\" ;\na-z0-9/]{0,60}", prefix in 0..3_usize) {
            let start = ["", "(filecon \"/a\" any (u r t ((s0) ", "(block b "][prefix];
            let _ = lines(&format!("{start}{text}"));
        }
    }
}
