//! The patterns that a linear-time engine can match exactly as PCRE2 does.
//!
//! libselinux compiles `^PATTERN$` with PCRE2, on bytes, with `PCRE2_DOTALL`. What is read here is
//! the small common language of real policies; whatever else occurs, or only might mean
//! something else, is left to PCRE2 itself.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Dot, Hir, Repetition};

/// Groups within groups.
const MAX_DEPTH: usize = 32;
/// Automaton states of one pattern, roughly.
const MAX_COST: usize = 20_000;

/// About how many states a pattern takes; None if it is one for PCRE2.
pub(super) fn cost(text: &[u8]) -> Option<usize> {
    Some(Reader { rest: text, builds: false }.all()?.cost)
}

/// Reads a pattern that has to match from start to end; None if it is one for PCRE2.
pub(super) fn read(text: &[u8]) -> Option<Hir> {
    Reader { rest: text, builds: true }.all()?.hir
}

/// A part of a pattern that was read.
struct Part {
    /// None where only the cost is wanted, which is all for most patterns of a policy.
    hir: Option<Hir>,
    cost: usize,
    can_be_empty: bool,
}

struct Reader<'a> {
    rest: &'a [u8],
    builds: bool,
}

impl Reader<'_> {
    fn all(mut self) -> Option<Part> {
        let part = self.concatenation(0)?;
        self.rest.is_empty().then_some(part)
    }

    /// What matches one byte.
    fn one(&self, hir: impl FnOnce() -> Hir) -> Part {
        Part { hir: self.builds.then(hir), cost: 1, can_be_empty: false }
    }

    fn literal(&self, byte: u8) -> Part {
        self.one(|| Hir::literal([byte]))
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.next();
        }
        found
    }

    /// Items up to the end, a bar or a closing parenthesis, which stay unread.
    fn concatenation(&mut self, depth: usize) -> Option<Part> {
        let mut items = Vec::new();
        let mut cost = 1_usize;
        let mut can_be_empty = true;
        while self.peek().is_some_and(|byte| !matches!(byte, b'|' | b')')) {
            let item = self.item(depth)?;
            let item = self.repeated(item)?;
            cost = cost.checked_add(item.cost).filter(|&cost| cost <= MAX_COST)?;
            can_be_empty &= item.can_be_empty;
            items.extend(item.hir);
        }
        Some(Part { hir: self.builds.then(|| Hir::concat(items)), cost, can_be_empty })
    }

    fn item(&mut self, depth: usize) -> Option<Part> {
        match self.next()? {
            b'.' => Some(self.one(|| Hir::dot(Dot::AnyByte))),
            b'[' => self.class(),
            b'(' => self.group(depth),
            b'\\' => self.escaped().map(|byte| self.literal(byte)),
            b'*' | b'+' | b'?' | b'{' | b'}' | b']' | b'^' | b'$' => None,
            byte => Some(self.literal(byte)),
        }
    }

    /// After a backslash, PCRE2 takes punctuation literally.
    fn escaped(&mut self) -> Option<u8> {
        self.next().filter(u8::is_ascii_punctuation)
    }

    fn group(&mut self, depth: usize) -> Option<Part> {
        if depth >= MAX_DEPTH || self.peek() == Some(b'*') {
            return None;
        }
        if self.eat(b'?') && !self.eat(b':') {
            return None;
        }
        let mut branches = Vec::new();
        let mut cost = 1_usize;
        let mut can_be_empty = false;
        loop {
            let branch = self.concatenation(depth.checked_add(1)?)?;
            cost = cost.checked_add(branch.cost)?;
            can_be_empty |= branch.can_be_empty;
            branches.extend(branch.hir);
            if !self.eat(b'|') {
                break;
            }
        }
        let hir = self.builds.then(|| Hir::alternation(branches));
        self.eat(b')').then_some(Part { hir, cost, can_be_empty })
    }

    fn class(&mut self) -> Option<Part> {
        let posix = self.peek().filter(|byte| matches!(byte, b'.' | b':' | b'='));
        let text = self.rest;
        let negated = self.eat(b'^');
        let mut ranges = Vec::new();
        loop {
            let first = ranges.is_empty();
            let start = match self.next()? {
                b']' if first => return None,
                b']' => break,
                b'[' => return None,
                b'\\' => self.escaped()?,
                // A hyphen in the middle, after a range or before one, is a matter of dialect.
                b'-' if !first && self.peek() != Some(b']') => return None,
                byte => byte,
            };
            let end = match self.rest {
                [b'-', b']', ..] => start,
                [b'-', ..] => {
                    self.next();
                    match self.next()? {
                        b'[' => return None,
                        b'\\' => self.escaped()?,
                        byte => byte,
                    }
                }
                _ => start,
            };
            if end < start {
                return None;
            }
            ranges.push(ClassBytesRange::new(start, end));
        }
        // PCRE2 takes [.x.], [:x:] and [=x=] for what POSIX allows within a class only.
        let end = text.len().checked_sub(self.rest.len())?.checked_sub(2)?;
        if end > 0 && posix.is_some() && text.get(end).copied() == posix {
            return None;
        }
        // A state has all ranges of its class.
        let cost = ranges.len().div_ceil(4);
        let class = self.one(|| {
            let mut class = ClassBytes::new(ranges);
            if negated {
                class.negate();
            }
            Hir::class(Class::Bytes(class))
        });
        Some(Part { cost, ..class })
    }

    /// The item, repeated as the quantifier after it says. That one is greedy or lazy makes no
    /// difference to whether there is a match.
    fn repeated(&mut self, item: Part) -> Option<Part> {
        let (min, max) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return self.counted(item),
            _ => return Some(item),
        };
        self.next();
        self.repetition(item, min, max)
    }

    /// `{n}`, `{n,}` or `{n,m}`; `{,n}`, spaces and other things differ between releases of PCRE2.
    fn counted(&mut self, item: Part) -> Option<Part> {
        self.next();
        let min = self.number()?;
        let max = if self.eat(b',') {
            if self.peek() == Some(b'}') { None } else { Some(self.number()?) }
        } else {
            Some(min)
        };
        if !self.eat(b'}') || max.is_some_and(|max| max < min) {
            return None;
        }
        self.repetition(item, min, max)
    }

    fn number(&mut self) -> Option<u32> {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        str::from_utf8(digits).ok()?.parse().ok().filter(|&number| number <= 1000)
    }

    fn repetition(&mut self, item: Part, min: u32, max: Option<u32>) -> Option<Part> {
        self.eat(b'?');
        if matches!(self.peek(), Some(b'*' | b'+' | b'?' | b'{')) {
            return None;
        }
        // How a loop over nothing ends is a matter of dialect.
        if max != Some(1) && item.can_be_empty {
            return None;
        }
        let times = usize::try_from(max.unwrap_or(min)).ok()?.checked_add(1)?;
        let cost = item.cost.checked_mul(times).filter(|&cost| cost <= MAX_COST)?;
        let repeated = |sub| Hir::repetition(Repetition { min, max, greedy: true, sub });
        let hir = item.hir.map(|hir| repeated(Box::new(hir)));
        Some(Part { hir, cost, can_be_empty: min == 0 || item.can_be_empty })
    }
}

#[cfg(test)]
mod tests {
    use pcre2::bytes::RegexBuilder;
    use proptest::prelude::*;
    use regex_automata::{Anchored, Input, MatchKind, nfa::thompson};

    use super::{cost, read};

    fn linear(pattern: &str, text: &[u8]) -> Option<bool> {
        let hir = read(pattern.as_bytes());
        assert_eq!(hir.is_some(), cost(pattern.as_bytes()).is_some(), "{pattern:?}");
        let hir = hir?;
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false))
            .build_from_hir(&hir)
            .unwrap();
        let dfa = regex_automata::hybrid::dfa::Builder::new()
            .configure(regex_automata::hybrid::dfa::Config::new().match_kind(MatchKind::All))
            .build_from_nfa(nfa)
            .unwrap();
        let mut cache = dfa.create_cache();
        let input = Input::new(text).anchored(Anchored::Yes);
        let end = dfa.try_search_fwd(&mut cache, &input).unwrap().map(|found| found.offset());
        Some(end == Some(text.len()))
    }

    fn pcre2(pattern: &str, text: &[u8]) -> bool {
        RegexBuilder::new()
            .dotall(true)
            .build(&format!("^{pattern}\\z"))
            .unwrap_or_else(|e| panic!("{pattern:?}: {e}"))
            .is_match(text)
            .unwrap()
    }

    #[test]
    fn what_only_pcre2_understands_is_left_to_it() {
        for pattern in [
            "a|b",
            "a++",
            "a**",
            "a{,3}",
            "a{",
            "a{2",
            "a{1001}",
            "a{3,2}",
            "a}",
            "a]",
            "*a",
            "^a",
            "a$",
            "\\d",
            "\\Z",
            "\\/\\",
            "[]a]",
            "[^]a]",
            "[[:alpha:]]",
            "[a[b]",
            "[\\d]",
            "[z-a]",
            "[a-c-e]",
            "[a",
            "[.a.]",
            "[::]",
            "[=a=]",
            "(?=a)",
            "(?i)a",
            "(?#x)",
            "(*FAIL)",
            "(a",
            "a)",
            "(a)\\1",
            "(a*)*",
            "(a{1000}){1000}",
            "(|a)+",
            "a{ 2}",
            "(?>a)",
            "a?{2}",
        ] {
            assert!(read(pattern.as_bytes()).is_none(), "{pattern:?}");
        }
        assert!(read("(".repeat(100).as_bytes()).is_none());
    }

    #[test]
    fn every_ascii_character_means_the_same_escaped_and_plain() {
        for byte in 1..0x80_u8 {
            let c = char::from(byte);
            for pattern in
                [format!("{c}"), format!("\\{c}"), format!("[x{c}]"), format!("[\\{c}x]")]
            {
                for text in [&[byte][..], b"x", b"\\", b"", b"\n"] {
                    if let Some(found) = linear(&pattern, text) {
                        assert_eq!(found, pcre2(&pattern, text), "{pattern:?} {text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_class_costs_what_its_states_take() {
        assert_eq!(cost(b"[a-z]{10}"), Some(12));
        assert_eq!(cost(b"[aceg_i]{10}"), Some(23));
        assert_eq!(
            cost(b"[abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ]{1000}"),
            Some(13_014)
        );
    }

    fn patterns() -> impl Strategy<Value = String> {
        let atom = prop_oneof![
            4 => "[ab/]",
            1 => Just(".".to_owned()),
            2 => "\\[\\^?[ab/.-]{1,3}(a-c)?-?\\]",
            1 => "\\\\[-./(_,\\[]",
            1 => "[\\[\\](){}|?*+^$\\\\,=!:<>0-9-]",
        ];
        let atom = atom.prop_recursive(3, 12, 3, |inner| {
            let many = prop::collection::vec(inner, 0..3).prop_map(|parts| parts.concat());
            prop_oneof![
                (many.clone(), many.clone()).prop_map(|(a, b)| format!("({a}|{b})")),
                many.prop_map(|a| format!("(?:{a})")),
            ]
        });
        let quantifier = prop_oneof![
            6 => Just(String::new()),
            3 => "[*+?]\\??",
            1 => "\\{[0-3](,[0-4]?)?\\}\\??",
        ];
        prop::collection::vec((atom, quantifier), 0..6).prop_map(|items| {
            items.into_iter().map(|(atom, quantifier)| atom + &quantifier).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_pattern_that_is_read_means_what_pcre2_says(
            pattern in patterns(),
            texts in prop::collection::vec("[ab/.\\-c\n]{0,7}", 8),
        ) {
            for text in texts {
                if let Some(found) = linear(&pattern, text.as_bytes()) {
                    prop_assert_eq!(found, pcre2(&pattern, text.as_bytes()), "{:?}", text);
                }
            }
        }
    }
}
