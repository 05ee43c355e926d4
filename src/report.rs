//! What a run did: every path that was dropped, moved or changed, with its rule; every warning.

use serde::{Serialize, Serializer};

use crate::escape::Escaped;

/// What the transforms did to a tree, in the order they did it.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// The changed paths.
    pub changes: Vec<Change>,
    /// What the user should know, though nothing was changed.
    pub warnings: Vec<Warning>,
}

/// One path that is not in the image as it was in the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path in the layer.
    #[serde(serialize_with = "escaped")]
    pub path: Vec<u8>,
    /// What was done.
    #[serde(flatten)]
    pub action: Action,
    /// The rule, such as `R20`.
    pub rule: &'static str,
    /// Why, in words.
    pub reason: String,
}

/// What was done to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// It is not in the image.
    Dropped,
    /// It is in the image under another path.
    Moved {
        /// The path in the image.
        #[serde(serialize_with = "escaped")]
        to: Vec<u8>,
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
    /// Notes a change.
    pub fn note(
        &mut self,
        path: &[u8],
        action: Action,
        rule: &'static str,
        reason: impl Into<String>,
    ) {
        self.changes.push(Change { path: path.to_vec(), action, rule, reason: reason.into() });
    }

    /// Notes a warning.
    pub fn warn(&mut self, rule: &'static str, message: impl Into<String>) {
        self.warnings.push(Warning { rule, message: message.into() });
    }
}

fn escaped<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(path))
}
