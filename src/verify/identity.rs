//! The name that was signed: a `docker-reference`, and whether it is the repository asked for.

use crate::oci::name::{Name, normal};
use crate::oci::{Digest, Repository};

/// A `docker-reference` taken apart (distribution's reference grammar).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedName {
    /// Host and path, in the form that [`normal`] gives.
    pub repository: Repository,
    /// cosign signs none, skopeo does; it is not compared (L6).
    pub tag: Option<String>,
    /// cosign signs none.
    pub digest: Option<Digest>,
}

impl SignedName {
    /// Parses `[HOST/]PATH[:TAG][@DIGEST]`; without a host it is Docker Hub's, as Docker has it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let name = Name::parse(text)?;
        let (tag, digest) = (name.tag.map(str::to_owned), name.digest);
        Ok(Self { repository: name.repository(), tag, digest })
    }

    /// Whether it names `repository`.
    pub(super) fn is_in(&self, repository: &Repository) -> bool {
        self.repository == normal(repository)
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
