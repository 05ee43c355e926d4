//! What was done to the paths of a layer, in little memory: it may have a million of them.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::escaped;
use crate::escape::Escaped;

/// What the transforms did to a tree, in the order they did it.
#[derive(Default)]
pub struct Changes {
    records: Vec<Record>,
    /// The paths of all records.
    paths: Vec<u8>,
    /// Rules, and why.
    reasons: Vec<(&'static str, Cow<'static, str>)>,
    /// What the user should know, though nothing was changed.
    pub warnings: Vec<Warning>,
    /// The records of the paths that were moved, by where they are now.
    moved: HashTable<u32>,
    random: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where in `paths` the path is, and behind it the one that it was moved to; or that one
    /// alone, if it ends with the path, as most do.
    at: u64,
    path: u32,
    to: u32,
    is_end: bool,
    done: Done,
    /// Which of `reasons`.
    reason: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Dropped,
    Moved,
    Changed,
    Added,
    Kept,
}

/// One path that is not in the image as it was in the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change<'a> {
    /// The path: in the layer if it was dropped or moved, else in the image.
    #[serde(serialize_with = "escaped")]
    pub path: &'a [u8],
    /// What was done.
    #[serde(flatten)]
    pub action: Action<'a>,
    /// The rule, such as `R20`.
    pub rule: &'static str,
    /// Why, in words.
    pub reason: &'a str,
}

/// What was done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action<'a> {
    /// It is not in the image.
    Dropped,
    /// It is in the image under another path.
    Moved {
        /// The path in the image.
        #[serde(serialize_with = "escaped")]
        to: &'a [u8],
    },
    /// Its metadata or contents are others.
    Changed,
    /// It is in the image, but not in the layer.
    Added,
    /// It is in the image as in the layer; somebody may want to know (set-uid bits and the like).
    Kept,
}

/// What the user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The rule, such as `R22`.
    pub rule: &'static str,
    /// What was found, in words.
    pub message: String,
}

impl Changes {
    /// The changed paths.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.records.iter().map(|record| {
            let reason = self.reasons.get(index(record.reason));
            let (rule, reason) = reason.map_or(("", ""), |(rule, reason)| (rule, reason));
            let action = match record.done {
                Done::Dropped => Action::Dropped,
                Done::Moved => Action::Moved { to: record.to(&self.paths) },
                Done::Changed => Action::Changed,
                Done::Added => Action::Added,
                Done::Kept => Action::Kept,
            };
            Change { path: record.path(&self.paths), action, rule, reason }
        })
    }

    /// Notes what was done to a path.
    ///
    /// # Panics
    /// At 2³² changes, or a path of 4 GiB, far above any limit that a caller sets.
    pub fn note(
        &mut self,
        path: &[u8],
        action: Action<'_>,
        rule: &'static str,
        reason: impl Into<Cow<'static, str>>,
    ) {
        let (done, to) = match action {
            Action::Dropped => (Done::Dropped, &[][..]),
            Action::Moved { to } => (Done::Moved, to),
            Action::Changed => (Done::Changed, &[][..]),
            Action::Added => (Done::Added, &[][..]),
            Action::Kept => (Done::Kept, &[][..]),
        };
        let reason = self.reason(rule, reason.into());
        let record = Record::new(&mut self.paths, path, to, done, reason);
        self.records.push(record);
    }

    /// Notes that a path is now at `to`; one that was moved before is told of once.
    pub fn note_moved(&mut self, path: &[u8], to: &[u8], rule: &'static str, reason: &'static str) {
        let moved = number(self.note_merged(path, to, rule, reason));
        let Self { records, paths, moved: all, random, .. } = self;
        let to_of = |&of: &u32| records.get(index(of)).map_or(&[][..], |it| it.to(paths));
        let hash = |of: &u32| random.hash_one(to_of(of));
        match all.entry(random.hash_one(to), |of| to_of(of) == to, hash) {
            Entry::Occupied(mut entry) => *entry.get_mut() = moved,
            Entry::Vacant(entry) => {
                entry.insert(moved);
            }
        }
    }

    /// Notes that a directory's entries are now in `to`, which the layer has too; returns the
    /// index of the change.
    pub fn note_merged(
        &mut self,
        path: &[u8],
        to: &[u8],
        rule: &'static str,
        reason: &'static str,
    ) -> usize {
        let Some(moved) = self.take_moved(path) else {
            self.note(path, Action::Moved { to }, rule, reason);
            return self.records.len().saturating_sub(1);
        };
        if let Some(record) = self.records.get_mut(moved) {
            let path = record.path(&self.paths).to_vec();
            *record = Record::new(&mut self.paths, &path, to, record.done, record.reason);
        }
        moved
    }

    /// Notes that a path is dropped, under the name that it has in the layer.
    pub fn note_dropped(&mut self, path: &[u8], rule: &'static str, reason: &'static str) {
        let Some(moved) = self.take_moved(path) else {
            return self.note(path, Action::Dropped, rule, reason);
        };
        let reason = self.reason(rule, reason.into());
        if let Some(record) = self.records.get_mut(moved) {
            (record.done, record.reason) = (Done::Dropped, reason);
        }
    }

    /// Forgets where paths are now: no more are moved.
    pub fn end_moves(&mut self) {
        self.moved = HashTable::new();
    }

    /// Notes a warning.
    pub fn warn(&mut self, rule: &'static str, message: impl Into<String>) {
        self.warnings.push(Warning { rule, message: message.into() });
    }

    /// The record of what was moved to a path, which is not there any more.
    fn take_moved(&mut self, path: &[u8]) -> Option<usize> {
        let Self { records, paths, moved, random, .. } = self;
        let is_it = |&of: &u32| records.get(index(of)).is_some_and(|it| it.to(paths) == path);
        let found = moved.find_entry(random.hash_one(path), is_it).ok()?;
        Some(index(found.remove().0))
    }

    /// The number of a reason; most are the same as one of the last.
    fn reason(&mut self, rule: &'static str, reason: Cow<'static, str>) -> u32 {
        let last = self.reasons.len().saturating_sub(32);
        let reason = (rule, reason);
        let known = self.reasons.iter().skip(last).position(|known| *known == reason);
        number(known.map_or_else(
            || {
                self.reasons.push(reason);
                self.reasons.len() - 1
            },
            |known| last + known,
        ))
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).entries(&self.warnings).finish()
    }
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct List<'a>(&'a Changes);
        impl Serialize for List<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter())
            }
        }
        let mut fields = serializer.serialize_struct("Changes", 2)?;
        fields.serialize_field("changes", &List(self))?;
        fields.serialize_field("warnings", &self.warnings)?;
        fields.end()
    }
}

impl Record {
    fn new(paths: &mut Vec<u8>, path: &[u8], to: &[u8], done: Done, reason: u32) -> Self {
        let at = u64::try_from(paths.len()).expect("less than 2⁶⁴ bytes");
        let is_end = to.ends_with(path);
        if !is_end {
            paths.extend_from_slice(path);
        }
        paths.extend_from_slice(to);
        Self { at, path: number(path.len()), to: number(to.len()), is_end, done, reason }
    }

    fn path<'p>(&self, paths: &'p [u8]) -> &'p [u8] {
        let from = if self.is_end { index(self.to).saturating_sub(index(self.path)) } else { 0 };
        self.bytes(paths, from, index(self.path))
    }

    fn to<'p>(&self, paths: &'p [u8]) -> &'p [u8] {
        let from = if self.is_end { 0 } else { index(self.path) };
        self.bytes(paths, from, index(self.to))
    }

    fn bytes<'p>(&self, paths: &'p [u8], from: usize, length: usize) -> &'p [u8] {
        let rest = usize::try_from(self.at).ok().and_then(|at| paths.get(at..)?.get(from..));
        rest.and_then(|rest| rest.get(..length)).unwrap_or_default()
    }
}

impl Action<'_> {
    /// The action in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Moved { .. } => "moved",
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Kept => "kept",
        }
    }
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, action, rule, reason } = self;
        write!(f, "{} /{}", action.name(), Escaped(path))?;
        if let Action::Moved { to } = action {
            write!(f, " to /{}", Escaped(to))?;
        }
        write!(f, ": {reason} [{rule}]")
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("less than 2³²")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn lines(changes: &Changes) -> Vec<String> {
        changes.iter().map(|change| change.to_string()).collect()
    }

    #[test]
    fn what_is_moved_again_is_told_of_once() {
        let mut changes = Changes::default();
        changes.note_moved(b"a", b"usr/a", "R1", "one");
        changes.note_moved(b"b", b"usr/B", "R1", "one");
        changes.note_moved(b"usr/a", b"usr/lib/a", "R2", "two");
        changes.note_dropped(b"usr/B", "R3", "three");
        changes.note_dropped(b"c", "R3", "three");
        changes.note_moved(b"usr/lib/a", b"usr/a", "R2", "two");
        let expected =
            ["moved /a to /usr/a: one [R1]", "dropped /b: three [R3]", "dropped /c: three [R3]"];
        assert_eq!(lines(&changes), expected);
        // What is there now is another path.
        changes.note_moved(b"usr/d", b"usr/a", "R4", "four");
        changes.note_dropped(b"usr/a", "R5", "five");
        assert_eq!(lines(&changes)[3..], ["dropped /usr/d: five [R5]"]);
    }

    proptest! {
        /// Whatever is moved on top of what, and dropped, and moved again.
        #[test]
        fn moves_are_what_a_map_of_paths_would_tell(
            steps in prop::collection::vec((0..4u8, "(usr/)?[ab]?", "(usr/)?[ab]?"), 0..40)
        ) {
            let (mut changes, mut moved) = (Changes::default(), HashMap::new());
            let mut expected: Vec<(String, String)> = Vec::new();
            for (what, path, to) in steps {
                let (path, to) = (path.as_str(), to.as_str());
                let known = if what < 3 { moved.remove(path) } else { None };
                let at = known.unwrap_or_else(|| {
                    expected.push((path.to_owned(), String::new()));
                    expected.len() - 1
                });
                let (path, to) = (path.as_bytes(), to.as_bytes());
                expected[at].1 = match what {
                    0 | 1 => format!("moved to /{}", Escaped(to)),
                    2 => "dropped".to_owned(),
                    _ => "changed".to_owned(),
                };
                match what {
                    0 => {
                        changes.note_moved(path, to, "R1", "moved");
                        moved.insert(String::from_utf8(to.to_vec()).unwrap(), at);
                    }
                    1 => prop_assert_eq!(changes.note_merged(path, to, "R1", "merged"), at),
                    2 => changes.note_dropped(path, "R2", "dropped"),
                    _ => changes.note(path, Action::Changed, "R3", "changed"),
                }
                let found = changes.iter().map(|Change { path, action, .. }| {
                    let to = match action {
                        Action::Moved { to } => format!(" to /{}", Escaped(to)),
                        _ => String::new(),
                    };
                    (String::from_utf8(path.to_vec()).unwrap(), action.name().to_owned() + &to)
                });
                prop_assert!(found.eq(expected.iter().cloned()));
            }
        }
    }

    #[test]
    fn reasons_are_those_of_their_paths() {
        let mut changes = Changes::default();
        for n in 0..200 {
            changes.note(b"p", Action::Changed, "R1", format!("reason {}", n % 40));
            changes.note(b"q", Action::Kept, "R2", "always");
        }
        for (n, change) in changes.iter().enumerate() {
            let reason =
                if n % 2 == 0 { format!("reason {}", n / 2 % 40) } else { "always".to_owned() };
            assert_eq!(change.reason, reason);
        }
        assert!(changes.reasons.len() < 220);
    }

    #[test]
    fn a_report_lists_changes_and_warnings() {
        let mut changes = Changes::default();
        changes.note_moved(b"a", b"b", "R1", "one");
        changes.note(b"c", Action::Added, "R2", "two");
        changes.warn("R3", "three");
        let expected = serde_json::json!({
            "changes": [
                { "path": "a", "action": "moved", "to": "b", "rule": "R1", "reason": "one" },
                { "path": "c", "action": "added", "rule": "R2", "reason": "two" },
            ],
            "warnings": [{ "rule": "R3", "message": "three" }],
        });
        assert_eq!(serde_json::to_value(&changes).unwrap(), expected);
    }
}
