//! The patterns that only PCRE2 can match, such as those with look-around, within a budget.
//!
//! PCRE2 can take exponential time. Each run has a limit of steps, and all runs together, with
//! what the automata find, have a budget, counted in steps and not in seconds, so that every machine gives up at the same place.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pcre2::bytes::{Regex, RegexBuilder};

use super::Error;
use super::engine::{CACHE, MAX_CLEARS};

/// Bytes of a pattern (libselinux's own limit).
const MAX_PATTERN: usize = 4095;
/// Steps of a first attempt: enough for any usual pattern and path.
const FEW_STEPS: u64 = 1000;
/// Steps of a second attempt, after which the pattern is given up.
const MANY_STEPS: u64 = 1_000_000;
/// Steps of all attempts, and of what else adds to them: about a minute.
pub(super) const BUDGET: u64 = 10_000_000_000;
/// KiB of memory of one run: each step back remembers all groups of the pattern.
const MEMORY: u32 = 64 << 10;
/// `PCRE2_ERROR_MATCHLIMIT`
const MATCH_LIMIT: i32 = -47;

/// What all runs together have spent.
#[derive(Debug, Default)]
pub(super) struct Spent(AtomicU64);

impl Spent {
    /// Whether too much was spent for any answer to be given.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) < BUDGET {
            return Ok(());
        }
        Err(Error::TooSlow { limit: BUDGET, bytes: CACHE * MAX_CLEARS })
    }

    /// Adds to what was spent; false if that is now too much.
    pub(super) fn add(&self, steps: u64) -> bool {
        self.0.fetch_add(steps, Ordering::Relaxed).saturating_add(steps) < BUDGET
    }

    /// Spends all that is left.
    pub(super) fn give_up(&self) {
        self.0.fetch_max(BUDGET, Ordering::Relaxed);
    }
}

/// A pattern for PCRE2.
#[derive(Debug)]
pub(super) struct SlowPattern {
    first: Regex,
    second: OnceLock<Option<Regex>>,
    text: Box<str>,
}

impl SlowPattern {
    /// Compiles a pattern, or says what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("{} bytes, expected at most {MAX_PATTERN}", text.len()));
        }
        let first =
            compile(text, FEW_STEPS).map_err(|e| match RegexBuilder::new().build(text) {
                Err(e) => e.to_string(), // with the offset in what the user sees
                Ok(_) => e.to_string(),
            })?;
        Ok(Self { first, second: OnceLock::new(), text: text.into() })
    }

    /// Whether a path matches; None if that could not be found out within the budget, and then
    /// nothing else will be.
    pub(super) fn is_match(&self, path: &[u8], spent: &Spent) -> Option<bool> {
        if !spent.add(FEW_STEPS) {
            return None;
        }
        let outcome = match self.first.is_match(path) {
            Err(e) if e.code() == MATCH_LIMIT => {
                let second = self.second.get_or_init(|| compile(&self.text, MANY_STEPS).ok());
                match second {
                    Some(second) if spent.add(MANY_STEPS) => second.is_match(path).ok(),
                    _ => None,
                }
            }
            outcome => outcome.ok(),
        };
        if outcome.is_none() {
            spent.give_up();
        }
        outcome
    }
}

/// As libselinux does, with limits that the pattern itself can only lower.
fn compile(text: &str, steps: u64) -> Result<Regex, pcre2::Error> {
    let limits = format!("(*LIMIT_MATCH={steps})(*LIMIT_HEAP={MEMORY})");
    RegexBuilder::new().dotall(true).build(&format!("{limits}^{text}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_anchored_as_libselinux_does() {
        let spent = Spent::default();
        let is_match = |pattern: &str, path: &[u8]| {
            SlowPattern::new(pattern).unwrap().is_match(path, &spent).unwrap()
        };
        assert!(is_match("/a(?!b).*", b"/ac"));
        assert!(!is_match("/a(?!b).*", b"/ab"));
        assert!(is_match("/a|/b", b"/ax"), "the anchors belong to the outer branches");
        assert!(is_match("/a|/b", b"x/b"));
        assert!(is_match("/a", b"/a\n"), "a dollar is before a final newline too");
        assert!(is_match("/a\\", b"/a$/b"), "a final backslash takes the anchor");
        assert!(SlowPattern::new("/a(").is_err());
        assert!(SlowPattern::new(&"a".repeat(4096)).is_err());
    }

    #[test]
    fn a_hard_pattern_gets_a_second_attempt_and_a_hopeless_one_ends_all() {
        let spent = Spent::default();
        let hard = SlowPattern::new("(?=/)(.*a)(.*a)b").unwrap();
        assert_eq!(hard.is_match("/a".repeat(30).as_bytes(), &spent), Some(false));
        assert!(spent.check().is_ok());
        let hopeless = SlowPattern::new("(?=/)/(a|a)*b").unwrap();
        let path = format!("/{}cb", "a".repeat(60));
        assert_eq!(hopeless.is_match(path.as_bytes(), &spent), None);
        assert!(matches!(spent.check(), Err(Error::TooSlow { .. })));
        assert_eq!(hard.is_match(b"/", &spent), None);
    }

    #[test]
    fn a_pattern_that_takes_too_much_memory_ends_all() {
        let spent = Spent::default();
        let pattern = format!("/(?=a){}(?:(a)|b)*[^a]", "()".repeat(1900));
        let hungry = SlowPattern::new(&pattern).unwrap();
        assert_eq!(hungry.is_match(b"/ab", &spent), Some(true));
        // A gigabyte, without the limit.
        assert_eq!(hungry.is_match(format!("/{}", "a".repeat(4000)).as_bytes(), &spent), None);
        assert!(matches!(spent.check(), Err(Error::TooSlow { .. })));
    }
}
