//! An in-toto statement: what the payload of an envelope says of which subjects (B6).

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields;
use crate::json;
use crate::oci::Digest;

/// The type of payload that holds a statement.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const TYPE: &str = "https://in-toto.io/Statement/v1";
const OLD_TYPE: &str = "https://in-toto.io/Statement/v0.1";
/// What cosign signs an image as. Other predicates (bills of materials, provenance) say something
/// about an image, and not that it is good (CVE-2022-35929).
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// As sigstore-go has them.
const MAX_SUBJECTS: usize = 1024;
const MAX_DIGESTS: usize = 32;
const MAX_DEPTH: usize = 32;

/// What a statement says.
#[derive(Debug, PartialEq)]
pub(super) struct Statement {
    /// Its subjects, at least one.
    pub subjects: Vec<Subject>,
}

/// A subject that a statement is about.
#[derive(Debug, PartialEq)]
pub(super) struct Subject {
    /// Its SHA-256; none if only other digests are given.
    pub digest: Option<Digest>,
    pub annotations: BTreeMap<String, Value>,
}

/// What a statement must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// cosign's signature of an image.
    Signature,
    /// Anything about a file.
    Anything,
}

impl Statement {
    pub fn parse(bytes: &[u8], expected: Expected) -> Result<Self, String> {
        const KNOWN: [&str; 4] = ["_type", "subject", "predicateType", "predicate"];
        let root: Value = json::parse(bytes, MAX_DEPTH)?;
        let root = fields::object("statement", &root)?;
        if let Some(unknown) = root.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!(
                "statement: found field {unknown:?}, expected {}",
                KNOWN.join(", ")
            ));
        }
        let field = |name: &str| root.get(name).ok_or(format!("statement: expected field {name}"));
        let kind = fields::string("_type", field("_type")?)?;
        if kind != TYPE && !(expected == Expected::Anything && kind == OLD_TYPE) {
            return Err(format!("_type: found {kind:?}, expected {TYPE:?}"));
        }
        let predicate = fields::string("predicateType", field("predicateType")?)?;
        if expected == Expected::Signature {
            if predicate != SIGNATURE {
                return Err(format!("predicateType: found {predicate:?}, expected {SIGNATURE:?}"));
            }
            // Older versions of cosign leave it out.
            let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
            if !root.get("predicate").is_none_or(|value| value.is_null() || is_empty(value)) {
                return Err("predicate: found contents, expected none".to_owned());
            }
        }
        let subjects = field("subject")?.as_array().ok_or("subject: expected an array")?;
        if subjects.is_empty() || subjects.len() > MAX_SUBJECTS {
            let found = subjects.len();
            return Err(format!("found {found} subjects, expected 1 to {MAX_SUBJECTS}"));
        }
        let subjects = subjects.iter().map(Subject::of).collect::<Result<_, _>>()?;
        Ok(Self { subjects })
    }
}

impl Subject {
    fn of(value: &Value) -> Result<Self, String> {
        const KNOWN: [&str; 7] =
            ["name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"];
        let subject = fields::object("subject", value)?;
        if let Some(unknown) = subject.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!("subject: found field {unknown:?}, expected {}", KNOWN.join(", ")));
        }
        let digests = subject.get("digest").ok_or("subject: expected field digest")?;
        let digests = fields::object("digest", digests)?;
        if digests.len() > MAX_DIGESTS {
            return Err(format!("found {} digests, expected at most {MAX_DIGESTS}", digests.len()));
        }
        for (name, value) in digests {
            fields::string(name, value)?;
        }
        let digest = match digests.get("sha256") {
            None => None,
            Some(hex) => {
                let hex = fields::string("sha256", hex)?;
                Some(format!("sha256:{hex}").parse().map_err(|error| format!("sha256: {error}"))?)
            }
        };
        let annotations = match subject.get("annotations") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(value) => fields::object("annotations", value)?.clone().into_iter().collect(),
        };
        Ok(Self { digest, annotations })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statement(kind: &str, subjects: usize, digests: usize) -> String {
        let hex = Digest::of(b"").hex();
        let others = (1..digests).map(|i| format!(r#""x{i}":"00""#));
        let digests: Vec<_> = others.chain([format!(r#""sha256":"{hex}""#)]).collect();
        let subject = format!(r#"{{"digest":{{{}}}}}"#, digests.join(","));
        let subjects = vec![subject; subjects].join(",");
        format!(r#"{{"_type":"{kind}","predicateType":"{SIGNATURE}","subject":[{subjects}]}}"#)
    }

    #[test]
    fn subjects_and_digests_are_bounded() {
        let parse = |text: &str| Statement::parse(text.as_bytes(), Expected::Signature);
        for (subjects, digests) in [(1, 1), (2, 2), (1024, 1), (1, 32)] {
            let found = parse(&statement(TYPE, subjects, digests)).unwrap();
            assert_eq!(found.subjects.len(), subjects);
            assert!(found.subjects.iter().all(|it| it.digest == Some(Digest::of(b""))));
        }
        for (subjects, digests) in [(0, 1), (1025, 1), (1, 33)] {
            assert!(parse(&statement(TYPE, subjects, digests)).is_err(), "{subjects} {digests}");
        }
    }

    /// The older version says something about files; no image is signed with it.
    #[test]
    fn only_of_files_may_a_statement_be_older() {
        for (kind, expected, is_good) in [
            (TYPE, Expected::Signature, true),
            (TYPE, Expected::Anything, true),
            (OLD_TYPE, Expected::Signature, false),
            (OLD_TYPE, Expected::Anything, true),
            ("x", Expected::Signature, false),
            ("x", Expected::Anything, false),
        ] {
            let found = Statement::parse(statement(kind, 1, 1).as_bytes(), expected);
            assert_eq!(found.is_ok(), is_good, "{kind} {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn no_statement_panics(
            bytes: Vec<u8>,
            subject in r#"[\[\]{}",:a-z0-9]{0,40}"#,
            kind in prop_oneof![Just(TYPE), Just(OLD_TYPE), Just("x")],
        ) {
            let text = format!(
                r#"{{"_type":"{kind}","predicateType":"{SIGNATURE}","subject":[{{"digest":{subject}}}]}}"#
            );
            for bytes in [&bytes[..], text.as_bytes()] {
                for expected in [Expected::Signature, Expected::Anything] {
                    let _ = Statement::parse(bytes, expected);
                }
            }
        }
    }
}
