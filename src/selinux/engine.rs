//! Finds the specification that decides a path's label, in the order of libselinux 3.8 and newer.
//!
//! A specification without meta characters is a *literal*: a hash map has them all, and they come
//! first. The others hang in a tree of *nodes*, by the first literal components (at most three) of
//! their pattern. A path is compared with the nodes on its way, deepest first, and the last
//! matching specification of all wins; but a `<<none>>` that is met ends the search, even where
//! a node further up has a later specification.
//!
//! The patterns of a node are one lazily built automaton, which tells all that match in one pass
//! over the rest of the path; those that it cannot express go to PCRE2 one by one.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use regex_automata::hybrid::dfa::{self, Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind};

use super::parse::{self, Kind, Spec};
use super::pattern;
use super::slow::{SlowPattern, Spent};
use super::substitutions::Substitutions;
use super::{Error, Lookup, PolicyFiles};

/// Components of a stem (libselinux's `SPEC_NODE_MAX_DEPTH`).
const MAX_DEPTH: usize = 3;
/// States of all automata before they are made deterministic, roughly; Fedora has 200,000.
const MAX_STATES: usize = 2_000_000;
/// Patterns for PCRE2; Fedora has none.
const MAX_SLOW: usize = 1000;
/// Bytes of one automaton's deterministic states, and of all those of a thread.
pub(super) const CACHE: usize = 32 << 20;
/// How often a thread forgets all states and starts again; with real policies, never.
pub(super) const MAX_CLEARS: usize = 3;

/// The labels of a policy, ready to be looked up from any thread.
pub struct FileContexts {
    specs: usize,
    literals: HashMap<Box<[u8]>, Vec<Literal>>,
    /// The root is first.
    nodes: Vec<Node>,
    substitutions: [Substitutions; 2],
    spent: Spent,
    caches: Pool<Caches, fn() -> Caches>,
}

/// A context, or None for `<<none>>`.
type Label = Option<Box<[u8]>>;

#[derive(Debug)]
struct Literal {
    kind: Kind,
    label: Label,
    /// The number of its file, the later of which is the stronger.
    input: usize,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<[u8]>, usize>,
    /// In the order of the files.
    rules: Vec<Rule>,
    /// What the automaton is made of: the pattern after the stem, and the rule's index.
    linear: Vec<(Box<[u8]>, usize)>,
    /// The whole pattern, and the rule's index.
    slow: Vec<(SlowPattern, usize)>,
    automaton: OnceLock<Option<DFA>>,
}

#[derive(Debug)]
struct Rule {
    kind: Kind,
    label: Label,
    /// Its place among the specifications of all files.
    order: usize,
}

/// A node on the way of a path.
#[derive(Clone, Copy)]
struct Step<'a> {
    node: usize,
    /// The path after the node's stem; None where what is before is not simply that stem.
    rest: Option<&'a [u8]>,
}

/// What a thread knows of the automata, by node.
#[derive(Debug, Default)]
struct Caches {
    by_node: Vec<Option<Cache>>,
    size: usize,
    clears: usize,
}

/// The search of a path had to be given up.
struct GaveUp;

impl FileContexts {
    /// Reads and compiles a policy.
    ///
    /// Fails where a line is not understood (row 70), or the policy is too big.
    pub fn parse(policy: &PolicyFiles) -> Result<Self, Error> {
        let subs = |file, text: &Option<Vec<u8>>| {
            Substitutions::parse(file, text.as_deref().unwrap_or_default())
        };
        let mut contexts = Self {
            specs: 0,
            literals: HashMap::new(),
            nodes: vec![Node::default()],
            substitutions: [
                subs("file_contexts.subs", &policy.subs)?,
                subs("file_contexts.subs_dist", &policy.subs_dist)?,
            ],
            spent: Spent::default(),
            caches: Pool::new(Caches::default),
        };
        let files = [
            ("file_contexts", Some(&policy.file_contexts)),
            ("file_contexts.homedirs", policy.homedirs.as_ref()),
            ("file_contexts.local", policy.local.as_ref()),
        ];
        let mut size = Size::default();
        for (input, (file, text)) in files.into_iter().enumerate() {
            for spec in parse::specs(file, text.map_or(&[], Vec::as_slice))? {
                contexts.insert(&spec?, input, &mut size)?;
            }
        }
        for literals in contexts.literals.values_mut() {
            literals.sort_by_key(|literal| Reverse(literal.input));
        }
        Ok(contexts)
    }

    /// The label of an absolute path of a file with these type bits of `st_mode`; with none of
    /// them, specifications for any type match.
    ///
    /// After a search that cost too much, answers are missing: see [`Self::check`].
    pub fn lookup(&self, path: &[u8], file_type: u16) -> Lookup<'_> {
        if path.is_empty() || self.specs == 0 {
            return Lookup::NoMatch;
        }
        let kind = Kind::of_mode(file_type);
        let mut path = cleaned(path);
        for substitutions in &self.substitutions {
            path = substitutions.apply(path);
        }
        let literal = self.literals.get(&*path).into_iter().flatten();
        if let Some(literal) = literal.into_iter().find(|literal| literal.kind.covers(kind)) {
            return literal.label.as_deref().map_or(Lookup::None, Lookup::Label);
        }
        self.search(&path, kind).unwrap_or_else(|GaveUp| {
            self.spent.give_up();
            Lookup::NoMatch
        })
    }

    /// Fails if a lookup so far, on any thread, was given up because it cost too much. Its answer,
    /// and those after it, were then [`Lookup::NoMatch`] for want of a better one.
    pub fn check(&self) -> Result<(), Error> {
        self.spent.check()
    }

    fn insert(&mut self, spec: &Spec<'_>, input: usize, size: &mut Size) -> Result<(), Error> {
        let order = self.specs;
        self.specs = order.saturating_add(1);
        let kind = spec.kind;
        let label = spec.context.map(Box::from);
        if let Some(literal) = literal(spec.pattern.as_bytes()) {
            self.literals.entry(literal.as_ref().into()).or_default().push(Literal {
                kind,
                label,
                input,
            });
            return Ok(());
        }
        let (index, rest) = self.node_for(spec.pattern.as_bytes());
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        let rule = node.rules.len();
        node.rules.push(Rule { kind, label, order });
        if let Some((pattern, cost)) = rest.and_then(|rest| Some((rest, pattern::cost(rest)?))) {
            size.add_states(spec, cost)?;
            node.linear.push((pattern.into(), rule));
        } else {
            size.add_slow(spec)?;
            let slow = SlowPattern::new(spec.pattern).map_err(|problem| {
                let pattern = crate::escape::Escaped(spec.pattern.as_bytes());
                spec.place.error(format!("found the invalid pattern {pattern:?}: {problem}"))
            })?;
            node.slow.push((slow, rule));
        }
        Ok(())
    }

    /// The node that a pattern belongs to, and what of it comes after the node's stem; None where
    /// the part before is not simply that stem.
    fn node_for<'a>(&mut self, pattern: &'a [u8]) -> (usize, Option<&'a [u8]>) {
        let mut node = 0;
        let mut rest = pattern;
        let mut plain = pattern.starts_with(b"/");
        let mut depth = 0;
        // As in libselinux, the first byte of `rest` is taken for a slash.
        while depth < MAX_DEPTH {
            let Some((component, next)) = first_component(rest) else { break };
            if component.is_empty() {
                plain = false;
                rest = next;
                continue;
            }
            let Some(stem) = literal(component) else { break };
            node = self.child(node, &stem);
            rest = next;
            depth = depth.saturating_add(1);
        }
        if node == 0 { (node, Some(pattern)) } else { (node, plain.then_some(rest)) }
    }

    fn child(&mut self, node: usize, stem: &[u8]) -> usize {
        let new = self.nodes.len();
        let Some(node) = self.nodes.get_mut(node) else { return 0 };
        if let Some(&child) = node.children.get(stem) {
            return child;
        }
        node.children.insert(stem.into(), new);
        self.nodes.push(Node::default());
        new
    }

    /// The nodes on a path's way, root first.
    fn way<'a>(&self, path: &'a [u8]) -> [Option<Step<'a>>; MAX_DEPTH + 1] {
        let mut way = [None; MAX_DEPTH + 1];
        let mut steps = way.iter_mut();
        let mut node = 0;
        let mut rest = path;
        let mut plain = true;
        if let Some(step) = steps.next() {
            *step = Some(Step { node, rest: Some(path) });
        }
        while rest.starts_with(b"/") {
            let Some((component, next)) = first_component(rest) else { break };
            if component.is_empty() {
                plain = false;
            } else {
                let child = self.nodes.get(node).and_then(|node| node.children.get(component));
                let (Some(&child), Some(step)) = (child, steps.next()) else { break };
                node = child;
                *step = Some(Step { node, rest: plain.then_some(next) });
            }
            rest = next;
        }
        way
    }

    fn search(&self, path: &[u8], kind: Kind) -> Result<Lookup<'_>, GaveUp> {
        self.spent.check().map_err(|_| GaveUp)?;
        let mut found: Option<&Rule> = None;
        let mut caches = None;
        for Step { node: index, rest } in self.way(path).into_iter().rev().flatten() {
            let Some(node) = self.nodes.get(index) else { continue };
            // Nothing here can be later than what was found further down.
            let last = node.rules.last().map(|rule| rule.order);
            if last <= found.map(|rule| rule.order) {
                continue;
            }
            let mut best = None;
            if let Some(rest) = rest.filter(|_| !node.linear.is_empty()) {
                let caches = caches.get_or_insert_with(|| self.caches.get());
                best = caches.search(index, node, rest, kind, &self.spent)?;
                // `$` matches before a final newline too.
                if let Some(rest) = rest.strip_suffix(b"\n") {
                    best = best.max(caches.search(index, node, rest, kind, &self.spent)?);
                }
            }
            for (pattern, rule) in node.slow.iter().rev() {
                let Some(candidate) = node.rules.get(*rule) else { continue };
                if best > Some(*rule) || found.is_some_and(|found| found.order > candidate.order) {
                    break;
                }
                if candidate.kind.covers(kind)
                    && pattern.is_match(path, &self.spent).ok_or(GaveUp)?
                {
                    best = Some(*rule);
                    break;
                }
            }
            let Some(best) = best.and_then(|best| node.rules.get(best)) else { continue };
            if found.is_none_or(|found| found.order < best.order) {
                if best.label.is_none() {
                    return Ok(Lookup::None);
                }
                found = Some(best);
            }
        }
        let label = found.and_then(|rule| rule.label.as_deref());
        Ok(label.map_or(Lookup::NoMatch, Lookup::Label))
    }
}

impl fmt::Debug for FileContexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContexts")
            .field("specs", &self.specs)
            .field("literals", &self.literals.len())
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Built when it is first needed: many nodes never are.
    fn automaton(&self) -> Option<&DFA> {
        let build = || {
            let patterns: Option<Vec<_>> =
                self.linear.iter().map(|(pattern, _)| pattern::read(pattern)).collect();
            let nfa = thompson::Compiler::new()
                .configure(
                    thompson::Config::new()
                        .utf8(false)
                        .which_captures(thompson::WhichCaptures::None),
                )
                .build_many_from_hir(&patterns?)
                .ok()?;
            dfa::Builder::new()
                .configure(
                    dfa::Config::new()
                        .match_kind(MatchKind::All)
                        .cache_capacity(CACHE)
                        .skip_cache_capacity_check(true)
                        .minimum_cache_clear_count(Some(MAX_CLEARS)),
                )
                .build_from_nfa(nfa)
                .ok()
        };
        self.automaton.get_or_init(build).as_ref()
    }
}

impl Caches {
    /// The last rule of a node whose automaton matches all of `rest`.
    fn search(
        &mut self,
        index: usize,
        node: &Node,
        rest: &[u8],
        kind: Kind,
        spent: &Spent,
    ) -> Result<Option<usize>, GaveUp> {
        let automaton = node.automaton().ok_or(GaveUp)?;
        if self.by_node.len() <= index {
            self.by_node.resize_with(index.saturating_add(1), || None);
        }
        let slot = self.by_node.get_mut(index).ok_or(GaveUp)?;
        let before = slot.as_ref().map_or(0, Cache::memory_usage);
        let cache = slot.get_or_insert_with(|| automaton.create_cache());
        let found = last_match(automaton, cache, rest, spent, |pattern| {
            let (_, rule) = node.linear.get(pattern)?;
            node.rules.get(*rule)?.kind.covers(kind).then_some(*rule)
        });
        self.size = self.size.saturating_add(cache.memory_usage()).saturating_sub(before);
        if self.size > CACHE {
            self.by_node.clear();
            self.size = 0;
            self.clears = self.clears.saturating_add(1);
        }
        if self.clears > MAX_CLEARS { Err(GaveUp) } else { found }
    }
}

/// The greatest of what `accept` makes of the patterns that match all of the text.
fn last_match(
    automaton: &DFA,
    cache: &mut Cache,
    text: &[u8],
    spent: &Spent,
    accept: impl Fn(usize) -> Option<usize>,
) -> Result<Option<usize>, GaveUp> {
    let start = Input::new(text).anchored(Anchored::Yes);
    let mut state = automaton.start_state_forward(cache, &start).map_err(|_| GaveUp)?;
    for &byte in text {
        state = automaton.next_state(cache, state, byte).map_err(|_| GaveUp)?;
        if state.is_dead() {
            return Ok(None);
        }
    }
    state = automaton.next_eoi_state(cache, state).map_err(|_| GaveUp)?;
    if !state.is_match() {
        return Ok(None);
    }
    // All of a policy's patterns may match, for each of a million paths.
    let count = automaton.match_len(cache, state);
    if !spent.add(u64::try_from(count).unwrap_or(u64::MAX)) {
        return Err(GaveUp);
    }
    let patterns = (0..count).map(|index| automaton.match_pattern(cache, state, index).as_usize());
    Ok(patterns.filter_map(accept).max())
}

/// How big a policy is, in what it costs later.
#[derive(Default)]
struct Size {
    states: usize,
    slow: usize,
}

impl Size {
    fn add_states(&mut self, spec: &Spec<'_>, states: usize) -> Result<(), Error> {
        self.states = self.states.saturating_add(states);
        Self::check(spec, self.states, "automaton states", MAX_STATES)
    }

    fn add_slow(&mut self, spec: &Spec<'_>) -> Result<(), Error> {
        self.slow = self.slow.saturating_add(1);
        Self::check(spec, self.slow, "patterns that need PCRE2", MAX_SLOW)
    }

    fn check(spec: &Spec<'_>, found: usize, unit: &'static str, limit: usize) -> Result<(), Error> {
        let file = spec.place.file;
        if found > limit { Err(Error::TooBig { file, found, unit, limit }) } else { Ok(()) }
    }
}

/// The text that a pattern stands for; None if it has meta characters, or escapes that
/// libselinux does not take for plain ones.
fn literal(pattern: &[u8]) -> Option<Cow<'_, [u8]>> {
    let special = pattern.iter().position(|&byte| byte == b'\\' || is_meta(byte));
    let Some((plain, rest)) = special.map(|at| pattern.split_at(at)) else {
        return Some(pattern.into());
    };
    let mut literal = plain.to_vec();
    let mut bytes = rest.iter();
    while let Some(&byte) = bytes.next() {
        literal.push(match byte {
            b'\\' => *bytes.next().filter(|&&byte| is_meta(byte) || b"-_,".contains(&byte))?,
            byte if is_meta(byte) => return None,
            byte => byte,
        });
    }
    Some(literal.into())
}

fn is_meta(byte: u8) -> bool {
    b".^$?*+|[({])}".contains(&byte)
}

/// What is between the first byte and the next slash, and the rest from that slash.
fn first_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let below = path.get(1..)?;
    let end = below.iter().position(|&byte| byte == b'/')?;
    below.split_at_checked(end)
}

/// A path without repeated slashes and without one at the end.
fn cleaned(path: &[u8]) -> Cow<'_, [u8]> {
    let mut path = Cow::Borrowed(path);
    if path.windows(2).any(|pair| pair == b"//") {
        let path = path.to_mut();
        path.dedup_by(|next, byte| (*next, *byte) == (b'/', b'/'));
    }
    if let [_, .., b'/'] = &*path {
        match &mut path {
            Cow::Borrowed(path) => *path = path.strip_suffix(b"/").unwrap_or(path),
            Cow::Owned(path) => _ = path.pop(),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selinux::slow::BUDGET;

    #[test]
    fn a_path_is_cleaned() {
        for (path, clean) in
            [("/", "/"), ("//", "/"), ("///", "/"), ("/a//b///c/", "/a/b/c"), ("/a/", "/a")]
        {
            assert_eq!(cleaned(path.as_bytes()), clean.as_bytes());
        }
    }

    #[test]
    fn patterns_that_all_match_every_path_have_a_budget() {
        let file_contexts = "/.* u:r:t:s0\n".repeat(1000).into_bytes();
        let policy = PolicyFiles { file_contexts, ..PolicyFiles::default() };
        let contexts = FileContexts::parse(&policy).unwrap();
        assert!(contexts.spent.add(BUDGET - 9500));
        for path in ["/a", "/b", "/c", "/a/b", "/a/c", "/d", "/e", "/f", "/g"] {
            assert!(matches!(contexts.lookup(path.as_bytes(), 0), Lookup::Label(_)));
            contexts.check().unwrap();
        }
        assert!(matches!(contexts.lookup(b"/h", 0), Lookup::NoMatch));
        assert!(matches!(contexts.check(), Err(Error::TooSlow { .. })));
    }

    #[test]
    fn a_literal_is_recognised() {
        assert_eq!(literal(br"/a\.b\-c\_d\,e"), Some(b"/a.b-c_d,e".into()));
        assert_eq!(literal(br"/a\/b"), None);
        assert_eq!(literal(br"/a\"), None);
        assert_eq!(literal(b"/a.b"), None);
    }
}
