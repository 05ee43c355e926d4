//! The signer that a policy demands: keys, or a certificate for an identity (K4).

use regex_automata::nfa::thompson::{self, NFA, pikevm::PikeVM};
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

use super::NamedKey;
use super::certificate::Holder;
use super::pki::PkiSigner;
use super::trust_root::TrustRoot;
use crate::escape::Escaped;
use jiff::Timestamp;

/// Who must have signed.
#[derive(Debug)]
pub enum Signer {
    /// The holder of one of these keys.
    Keys(Keys),
    /// Whoever has a certificate for an identity.
    Certificate(Box<CertificateSigner>),
    /// Whoever has a certificate of an own authority, valid now.
    Pki(Box<PkiSigner>),
}

/// Keys, at least one by their shape (P6).
#[derive(Debug)]
pub struct Keys {
    first: NamedKey,
    others: Vec<NamedKey>,
}

impl Keys {
    /// Any of these will do.
    pub fn new(first: NamedKey, others: Vec<NamedKey>) -> Self {
        Self { first, others }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NamedKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// A signer by certificate: which identity, vouched for by which authorities, seen from when.
#[derive(Debug)]
pub struct CertificateSigner {
    /// Whose certificate it must be.
    pub identity: CertificateIdentity,
    /// Which authorities and logs are believed.
    pub root: TrustRoot,
    /// The time on this machine's clock: nothing can have been signed later (row 90).
    pub now: Timestamp,
}

/// Whose certificate it must be. Both matchers are there, by its shape (K4): cosign takes an
/// empty one for "anybody".
#[derive(Clone, Debug)]
pub struct CertificateIdentity {
    /// The subject alternative name: an e-mail address, a URI or a user name.
    pub subject: Matcher,
    /// The `OpenID` Connect provider that vouched for it.
    pub issuer: Matcher,
}

/// What a text must be; never "anything".
///
/// ```compile_fail,E0423
/// oci2sysext::verify::Matcher(String::new());
/// ```
///
/// ```compile_fail,E0599
/// oci2sysext::verify::Matcher::default();
/// ```
#[derive(Clone, Debug)]
pub struct Matcher(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Exact(String),
    Email(String),
    Pattern { text: String, pattern: Box<PikeVM> },
}

/// As much as a pattern may need, in bytes; real ones need less than a hundredth of it.
const PATTERN_SIZE: usize = 1 << 20;

impl Matcher {
    /// This text and no other.
    ///
    /// # Errors
    ///
    /// An empty text, which some take for "anything".
    pub fn exact(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("found an empty text, expected what it must be".to_owned());
        }
        Ok(Self(Kind::Exact(text.to_owned())))
    }

    /// This e-mail address: no other kind of name that reads alike, which containers/image, whose
    /// `subjectEmail` this is, would not take for it.
    ///
    /// # Errors
    ///
    /// An empty text.
    pub fn email(text: &str) -> Result<Self, String> {
        Self::exact(text).map(|_| Self(Kind::Email(text.to_owned())))
    }

    /// Any text of which the whole matches a regular expression (RE2, in ASCII): what cosign's
    /// would find anywhere in a text must be all of it here.
    ///
    /// # Errors
    ///
    /// A pattern that is none, or that demands nothing, because the empty text matches it.
    pub fn pattern(text: &str) -> Result<Self, String> {
        let broken = |error: &dyn std::fmt::Display| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            format!("found the pattern {:?}: {reason}", Escaped(text.as_bytes()))
        };
        let hir = ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(text)
            .map_err(|error| broken(&error))?;
        // In the tree and not in the text, so that no parenthesis of the pattern can end it early.
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(PATTERN_SIZE));
        let nfa: NFA = thompson::Compiler::new()
            .configure(config)
            .build_from_hir(&whole)
            .map_err(|error| broken(&error))?;
        let pattern = PikeVM::new_from_nfa(nfa).map_err(|error| broken(&error))?;
        let matcher = Self(Kind::Pattern { text: text.to_owned(), pattern: Box::new(pattern) });
        if matcher.matches("") {
            return Err(format!(
                "found the pattern {:?}, which demands nothing, expected one that the empty text \
                 does not match",
                Escaped(text.as_bytes())
            ));
        }
        Ok(matcher)
    }

    /// Whether a certificate's holder is who it must be.
    pub(super) fn matches_holder(&self, holder: &Holder) -> bool {
        let is_kind = holder.is_email || !matches!(self.0, Kind::Email(_));
        is_kind && self.matches(&holder.subject)
    }

    /// Whether `text` is what it must be.
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Exact(exact) | Kind::Email(exact) => exact == text,
            Kind::Pattern { pattern, .. } => {
                let input = Input::new(text).anchored(Anchored::Yes);
                pattern.is_match(&mut pattern.create_cache(), input)
            }
        }
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Exact(text) => write!(f, "{:?}", Escaped(text.as_bytes())),
            Kind::Email(text) => write!(f, "the e-mail address {:?}", Escaped(text.as_bytes())),
            Kind::Pattern { text, .. } => {
                write!(f, "what matches {:?}", Escaped(text.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_must_match_the_whole() {
        let pattern = Matcher::pattern("https://github\\.com/me/.+").unwrap();
        assert!(pattern.matches("https://github.com/me/x"));
        for other in [
            "https://github.com/me/",
            "https://evil.example/?https://github.com/me/x",
            "https://github.com/me/x\n",
            "https://githubxcom/me/x",
        ] {
            assert!(!pattern.matches(other), "{other:?}");
        }
        let either = Matcher::pattern("a|ab").unwrap();
        assert!(either.matches("a") && either.matches("ab"));
        for other in ["abc", "xa", "b", ""] {
            assert!(!either.matches(other), "{other:?}");
        }
        assert!(Matcher::pattern("^a$").unwrap().matches("a"));
        assert!(!Matcher::pattern("(?m)^a$").unwrap().matches("b\na"));
    }

    #[test]
    fn a_matcher_demands_something() {
        assert!(Matcher::exact("").is_err() && Matcher::email("").is_err());
        for nothing in [
            "",
            ".*",
            "a*",
            "(a|)",
            "^$",
            "a?",
            "a)|(?:b",
            "(",
            "[",
            "\\",
            "(?=a)",
            "a{9999}{9999}",
        ] {
            assert!(Matcher::pattern(nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn a_matcher_says_what_it_demands() {
        assert_eq!(Matcher::exact("me\n").unwrap().to_string(), r#""me\x0a""#);
        let email = Matcher::email("a@b").unwrap();
        assert_eq!(email.to_string(), r#"the e-mail address "a@b""#);
        let pattern = Matcher::pattern("a.+").unwrap();
        assert_eq!(pattern.to_string(), r#"what matches "a.+""#);
    }

    #[test]
    fn an_exact_matcher_is_no_prefix() {
        let exact = Matcher::exact("me@example.com").unwrap();
        assert!(exact.matches("me@example.com"));
        for other in ["me@example.com.evil", "me@example.co", "ME@example.com", "me@example.com\n"]
        {
            assert!(!exact.matches(other), "{other:?}");
        }
    }
}
