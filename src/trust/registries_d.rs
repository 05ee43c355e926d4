//! containers-registries.d(5): whether an image's signatures are beside it in its registry.
//!
//! podman and skopeo look there only where `use-sigstore-attachments` says so; a policy.json that
//! demands a signature counts on that. `lookaside` is for simple signing, which we do not read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

use super::file::{self, Owner};
use super::{Error, MAX_CONFIGURATION};
use crate::escape::Escaped;

/// What the files of registries.d say, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesD {
    default: Option<Namespace>,
    docker: BTreeMap<String, Namespace>,
}

/// What is said of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Namespace {
    attachments: Option<bool>,
}

impl RegistriesD {
    /// Reads the `*.yaml` files of a directory; none is as good as an empty one.
    pub(super) fn load(directory: &Path, as_root: bool) -> Result<Self, Error> {
        let mut all = Self::default();
        let mut said_by: BTreeMap<Option<String>, PathBuf> = BTreeMap::new();
        for path in file::list(directory, ".yaml")?.unwrap_or_default() {
            let refuse = |problem: String| Error::Configuration { path: path.clone(), problem };
            let bytes = file::read(&path, MAX_CONFIGURATION, as_root, Owner::Anybody)?;
            let found = Self::parse(&bytes).map_err(refuse)?;
            let names = found.docker.keys().cloned().map(Some);
            for name in names.chain(found.default.map(|_| None)) {
                if let Some(other) = said_by.insert(name.clone(), path.clone()) {
                    let what = name.map_or_else(|| "default-docker".to_owned(), |n| shown(&n));
                    return Err(refuse(format!(
                        "found {what:?}, which {} has too; expected each once",
                        Escaped(other.as_os_str().as_encoded_bytes())
                    )));
                }
            }
            all.default = all.default.or(found.default);
            all.docker.extend(found.docker);
        }
        Ok(all)
    }

    /// Reads one file; the error says what was found and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            format!("found a byte that is not UTF-8 at {}", error.valid_up_to())
        })?;
        let mut reader = Reader(Parser::new_from_str(text));
        let mut file = Self::default();
        reader.document(|reader, key| {
            match key {
                "default-docker" => file.default = reader.namespace()?,
                "docker" => reader.mapping("docker", |reader, scope| {
                    let namespace = reader.namespace()?.unwrap_or_default();
                    file.docker.insert(scope.to_owned(), namespace);
                    Ok(())
                })?,
                _ => return Err(unknown(key, "default-docker or docker")),
            }
            Ok(())
        })?;
        Ok(file)
    }

    /// Whether signatures of an image are looked for beside it; `scopes` are the image's, the most
    /// specific first. The first that is there decides alone.
    pub fn use_attachments(&self, scopes: &[String]) -> bool {
        let namespace = scopes.iter().find_map(|scope| self.docker.get(scope)).copied();
        namespace.or(self.default).and_then(|namespace| namespace.attachments).unwrap_or(false)
    }
}

/// Reads the little YAML that such a file is made of: mappings of scalars in mappings.
struct Reader<'t>(Parser<std::str::Chars<'t>>);

/// A scalar, or the beginning of a mapping.
enum Node {
    Plain(String),
    Quoted(String),
    Mapping,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Event, String> {
        let (event, _) = self.0.next_token().map_err(|error| shown(&error.to_string()))?;
        match event {
            Event::Scalar(_, _, anchor, ref tag) if anchor > 0 || tag.is_some() => {
                Err("found an anchor or a tag, expected plain YAML".to_owned())
            }
            event => Ok(event),
        }
    }

    fn node(&mut self) -> Result<Node, String> {
        Self::node_of(self.next()?)
    }

    fn node_of(event: Event) -> Result<Node, String> {
        match event {
            Event::Scalar(text, TScalarStyle::Plain, ..) => Ok(Node::Plain(text)),
            Event::Scalar(text, ..) => Ok(Node::Quoted(text)),
            Event::MappingStart(0, None) => Ok(Node::Mapping),
            Event::SequenceStart(..) => Err("found a list, expected a mapping".to_owned()),
            _ => Err("found an anchor, alias or tag, expected plain YAML".to_owned()),
        }
    }

    /// The one document of a file, which may be empty.
    fn document(
        &mut self,
        entry: impl FnMut(&mut Self, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::Nothing => {}
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart => break,
                _ => return Err("expected a YAML document".to_owned()),
            }
        }
        self.mapping("the document", entry)?;
        match (self.next()?, self.next()?) {
            (Event::DocumentEnd, Event::StreamEnd) => Ok(()),
            _ => Err("found several documents, expected one".to_owned()),
        }
    }

    /// The entries of a mapping, none where there is nothing.
    fn mapping(
        &mut self,
        what: &str,
        mut entry: impl FnMut(&mut Self, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        match self.node()? {
            Node::Mapping => {}
            Node::Plain(text) if is_null(&text) => return Ok(()),
            Node::Plain(text) | Node::Quoted(text) => {
                return Err(format!("{what}: found {:?}, expected a mapping", shown(&text)));
            }
        }
        let mut seen = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                return Ok(());
            }
            let key = match Self::node_of(event)? {
                Node::Plain(text) | Node::Quoted(text) => text,
                Node::Mapping => return Err(format!("{what}: found a mapping for a key")),
            };
            if seen.contains(&key) {
                return Err(format!("{what}: found {:?} twice", shown(&key)));
            }
            entry(self, &key).map_err(|problem| format!("{:?}: {problem}", shown(&key)))?;
            seen.push(key);
        }
    }

    /// A namespace, none where there is nothing.
    fn namespace(&mut self) -> Result<Option<Namespace>, String> {
        let mut namespace = Namespace::default();
        let mut is_there = false;
        self.mapping("the namespace", |reader, key| {
            is_there = true;
            match (key, reader.node()?) {
                ("use-sigstore-attachments", Node::Plain(text)) => {
                    namespace.attachments = match text.as_str() {
                        "true" | "True" | "TRUE" => Some(true),
                        "false" | "False" | "FALSE" => Some(false),
                        _ if is_null(&text) => None,
                        _ => {
                            return Err(format!(
                                "found {:?}, expected true or false",
                                shown(&text)
                            ));
                        }
                    };
                    Ok(())
                }
                ("use-sigstore-attachments", _) => Err("expected true or false".to_owned()),
                (
                    "lookaside" | "lookaside-staging" | "sigstore" | "sigstore-staging",
                    Node::Plain(_) | Node::Quoted(_),
                ) => Ok(()),
                ("lookaside" | "lookaside-staging" | "sigstore" | "sigstore-staging", _) => {
                    Err("found a mapping, expected an address".to_owned())
                }
                _ => Err(unknown(key, "use-sigstore-attachments, lookaside or lookaside-staging")),
            }
        })?;
        Ok(is_there.then_some(namespace))
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn unknown(key: &str, expected: &str) -> String {
    format!("found {:?}, expected {expected}", shown(key))
}

/// The beginning of a text from a file, safe to print.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(200).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "# a comment\n\
        default-docker:\n  lookaside-staging: file:///var/lib/containers/sigstore\n\
        docker:\n  q.io/a:\n    use-sigstore-attachments: true\n\
        \n  q.io:\n    lookaside: https://q.io/sigs\n  \"*.test\": {use-sigstore-attachments: True}\n\
        \n  other.test:\n";

    fn says(text: &str, scopes: &[&str]) -> bool {
        let scopes: Vec<_> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        RegistriesD::parse(text.as_bytes()).unwrap().use_attachments(&scopes)
    }

    #[test]
    fn the_most_specific_namespace_decides_alone() {
        assert!(says(GOOD, &["q.io/a:1", "q.io/a", "q.io"]));
        assert!(!says(GOOD, &["q.io/b:1", "q.io/b", "q.io"]));
        assert!(says(GOOD, &["x.test/a", "x.test", "*.test"]));
        assert!(!says(GOOD, &["other.test/a", "other.test", "*.test"]));
        assert!(!says(GOOD, &["b.org/a"]));
        let wide = "default-docker: {use-sigstore-attachments: true}\n\
                    docker: {q.io: {lookaside: x}}\n";
        assert!(says(wide, &["b.org/a"]));
        assert!(!says(wide, &["q.io/a", "q.io"]));
        for empty in ["", "\n# nothing\n", "docker:\n", "---\n...\n", "~"] {
            assert!(!says(empty, &["q.io/a"]), "{empty:?}");
        }
    }

    #[test]
    fn every_other_text_is_refused() {
        for bad in [
            "- a",
            "text",
            "docker: [a]",
            "docker: text",
            "docker: {a: text}",
            "docker: {a: [use-sigstore-attachments]}",
            "docker: {a: {use-sigstore-attachments: yes}}",
            "docker: {a: {use-sigstore-attachments: 1}}",
            "docker: {a: {use-sigstore-attachments: \"true\"}}",
            "docker: {a: {use-sigstore-attachments: {}}}",
            "docker: {a: {use-sigstore-attachments: [true]}}",
            "docker: {a: {use-sigstore-attachment: true}}",
            "docker: {a: {Use-Sigstore-Attachments: true}}",
            "docker: {a: {lookaside: [x]}}",
            "docker: {a: {lookaside: {x: y}}}",
            "docker: {a: {lookaside: x, lookaside: x}}",
            "docker: {a: {}, a: {}}",
            "docker: {}\ndocker: {}",
            "dockers: {}",
            "docker: &x {a: {use-sigstore-attachments: true}}",
            "docker: {a: &x {use-sigstore-attachments: true}, b: *x}",
            "docker: {a: {use-sigstore-attachments: !!bool true}}",
            "docker: {a: {use-sigstore-attachments: &x true}}",
            "docker: {? {a: b} : {}}",
            "docker: {a: {use-sigstore-attachments: true}",
            "docker:\n\ta: {}",
            "---\ndocker: {}\n---\ndocker: {}",
        ] {
            assert!(RegistriesD::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(RegistriesD::parse(b"docker: {\xff: {}}").is_err());
    }

    #[test]
    fn a_namespace_is_in_one_file_only() {
        let directory = tempfile::tempdir().unwrap();
        let load = || RegistriesD::load(directory.path(), false);
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("a.yaml", "docker: {q.io: {use-sigstore-attachments: true}}");
        write("b.yaml", "docker: {x.test: {}}");
        write("c.yml", "not read");
        assert!(load().unwrap().use_attachments(&["q.io".to_owned()]));
        write("b.yaml", "docker: {q.io: {}}");
        assert!(load().unwrap_err().to_string().contains("a.yaml"));
        write("a.yaml", "default-docker: {lookaside: x}");
        write("b.yaml", "default-docker: {lookaside: x}");
        assert!(load().is_err());
        write("b.yaml", "nonsense");
        assert!(load().is_err());
        assert!(RegistriesD::load(Path::new("/nonexistent"), false).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = RegistriesD::parse(text.as_bytes());
        }

        #[test]
        fn no_changed_file_panics(at in 0..GOOD.len(), byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = RegistriesD::parse(&bytes);
        }
    }
}
