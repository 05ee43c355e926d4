//! The name that was signed: a `docker-reference`, and whether it is the repository asked for.

use std::fmt;

use crate::oci::name::{Name, is_host, is_path_component, normal};
use crate::oci::{Digest, Repository};

/// A `docker-reference` taken apart (distribution's reference grammar).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedName {
    /// Host and path; Docker Hub has one spelling.
    pub repository: Repository,
    /// cosign signs none, skopeo does; it is not compared (L6).
    pub tag: Option<String>,
    /// cosign signs none.
    pub digest: Option<Digest>,
}

impl SignedName {
    /// Parses `[HOST/]PATH[:TAG][@DIGEST]`; without a host it is Docker Hub's, as Docker has it.
    ///
    /// The error says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Docker takes such a text for the identifier of an image.
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("expected a name, not 64 hexadecimal digits".to_owned());
        }
        let name = Name::parse(text)?;
        let (tag, digest) = (name.tag.map(str::to_owned), name.digest);
        Ok(Self { repository: name.repository(), tag, digest })
    }

    /// The name that an image of a registry is asked for by.
    pub fn asked(repository: &Repository, tag: Option<&str>, digest: Option<Digest>) -> Self {
        Self { repository: normal(repository), tag: tag.map(str::to_owned), digest }
    }

    /// Whether it names no particular image of the repository.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// Whether a text is a host, or a host and the beginning of a path: what `remapIdentity` of
    /// containers-policy.json(5) takes for a prefix.
    pub fn is_prefix(text: &str) -> bool {
        match text.split_once('/') {
            Some((host, path)) => is_host(host) && path.split('/').all(is_path_component),
            None => is_host(text),
        }
    }

    /// Whether it names `repository`.
    pub(super) fn is_in(&self, repository: &Repository) -> bool {
        self.repository == normal(repository)
    }
}

impl fmt::Display for SignedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repository(host: &str, path: &str) -> Repository {
        Repository { host: host.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn names_are_taken_apart() {
        for (text, host, path, tag) in [
            ("quay.io/travier/x/sysexts", "quay.io", "travier/x/sysexts", None),
            ("127.0.0.1:15099/a/b:41.mc", "127.0.0.1:15099", "a/b", Some("41.mc")),
            ("localhost/a", "localhost", "a", None),
            ("[::1]:5000/a_b/c__d/e--f", "[::1]:5000", "a_b/c__d/e--f", None),
            ("Host/a", "Host", "a", None),
            ("alpine", "docker.io", "library/alpine", None),
            ("alpine:3", "docker.io", "library/alpine", Some("3")),
            ("docker.io/alpine", "docker.io", "library/alpine", None),
            ("index.docker.io/library/alpine", "docker.io", "library/alpine", None),
            ("user/alpine", "docker.io", "user/alpine", None),
            // Hexadecimal digits are a name, unless they are 64.
            ("cafe", "docker.io", "library/cafe", None),
            (&"0".repeat(63), "docker.io", &format!("library/{}", "0".repeat(63)), None),
            (&"x".repeat(64), "docker.io", &format!("library/{}", "x".repeat(64)), None),
        ] {
            let name = SignedName::parse(text).expect(text);
            assert_eq!(name.repository, repository(host, path), "{text}");
            assert_eq!(name.tag.as_deref(), tag, "{text}");
        }
        let digest = Digest::of(b"");
        let name = SignedName::parse(&format!("q.io/a:t@{digest}")).unwrap();
        assert_eq!((name.tag.as_deref(), name.digest), (Some("t"), Some(digest)));
        assert!(name.is_in(&repository("q.io", "a")));
        let library = SignedName::parse("docker.io/library/x").unwrap();
        assert!(library.is_in(&repository("docker.io", "x")));
        assert!(library.is_in(&repository("index.docker.io", "library/x")));
        assert!(!library.is_in(&repository("quay.io", "library/x")));
    }

    #[test]
    fn a_name_is_of_its_repository_and_no_other() {
        let digest = Digest::of(b"");
        for (text, is_name_only) in [
            ("q.io/a".to_owned(), true),
            ("q.io/a:t".to_owned(), false),
            (format!("q.io/a@{digest}"), false),
            (format!("q.io/a:t@{digest}"), false),
        ] {
            let name = SignedName::parse(&text).unwrap();
            assert_eq!(name.is_name_only(), is_name_only, "{text}");
            assert_eq!(name.to_string(), text);
            assert!(name.is_in(&repository("q.io", "a")), "{text}");
            assert!(!name.is_in(&repository("q.io", "b")), "{text}");
            assert!(!name.is_in(&repository("q.io:1", "a")), "{text}");
        }
        let asked = SignedName::asked(&repository("docker.io", "a"), Some("t"), Some(digest));
        assert_eq!(asked.to_string(), format!("docker.io/library/a:t@{digest}"));
    }

    #[test]
    fn a_prefix_is_a_host_or_begins_a_path() {
        for text in ["q.io", "q.io:5000", "localhost", "q.io/a", "q.io/a/b", "127.0.0.1:1/a"] {
            assert!(SignedName::is_prefix(text), "{text}");
        }
        for text in
            ["", "/", "q.io/", "/a", "q.io//a", "q.io/A", "q.io/a/", "q.io/a:t", "q io", "q.io:x/a"]
        {
            assert!(!SignedName::is_prefix(text), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_names() {
        let long = format!("q.io/{}", "a".repeat(251));
        let long_tag = format!("q.io/a:{}", "t".repeat(129));
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "q.io/",
            "q.io//a",
            "q.io/A",
            "q.io/a b",
            "q.io/a:",
            "q.io/a:b:c",
            "q.io/a:-t",
            "q.io/.a",
            "q.io/a.",
            "q.io/a..b",
            "q.io/a___b",
            "q.io/a._b",
            "q.io/../a",
            "q.io:/a",
            "q.io:x/a",
            "-q.io/a",
            "q-.io/a",
            "q..io/a",
            "[::1/a",
            "[]/a",
            "[::g]/a",
            "q.io/a@",
            "q.io/a@sha256:00",
            "q.io/a@md5:00",
            "q.io/a\n",
            " q.io/a",
            "q.io/ä",
            "https://q.io/a",
            "q_.io/a",
            &"0a".repeat(32),
            &long,
            &long_tag,
        ] {
            assert!(SignedName::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = SignedName::parse(&text);
            let _ = SignedName::is_prefix(&text);
        }

        /// A path below a prefix is a name, or a name's beginning.
        #[test]
        fn what_is_a_prefix_can_be_followed(text in "[a-b:/._0-9-]{1,12}") {
            if SignedName::is_prefix(&text) {
                prop_assert!(SignedName::parse(&format!("{text}/x")).is_ok(), "{text}");
            }
        }

        #[test]
        fn what_is_parsed_is_printed_and_parsed_again(text in "[a-c:/@.\\[\\]_-]{1,16}") {
            if let Ok(name) = SignedName::parse(&text) {
                let again = SignedName::parse(&name.repository.to_string()).unwrap();
                prop_assert_eq!(again.repository, name.repository);
            }
        }
    }
}
