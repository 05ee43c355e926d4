//! `signedIdentity` of containers-policy.json(5): which name a signature must carry.

use crate::verify::{SignedIdentity, SignedName};

/// Which name a signature must carry, as a policy says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReferenceMatch {
    /// `matchExact`: the name asked for, with its tag or digest.
    Exact,
    /// `matchRepoDigestOrExact`: as `matchExact`; where the image is asked for by digest only, any
    /// tag or digest of its repository.
    #[default]
    RepoDigestOrExact,
    /// `matchRepository`: the repository asked for.
    Repository,
    /// `exactReference`: this name, with its tag or digest.
    ExactReference(SignedName),
    /// `exactRepository`: this repository.
    ExactRepository(SignedName),
    /// `remapIdentity`: as `matchRepoDigestOrExact`, after one prefix was put in another's place.
    Remap {
        /// The beginning of the name asked for.
        prefix: String,
        /// What is signed in its place.
        signed_prefix: String,
    },
}

impl ReferenceMatch {
    /// What it means for an image; `asked` is its name, which images outside registries have not.
    pub fn identity(&self, asked: Option<&SignedName>) -> SignedIdentity {
        match (self, asked) {
            (Self::ExactReference(name), _) => SignedIdentity::Exactly(name.clone()),
            (Self::ExactRepository(name), _) => SignedIdentity::Repository(name.repository.clone()),
            (_, None) => SignedIdentity::Nameless,
            (Self::Exact, Some(asked)) => SignedIdentity::Exactly(asked.clone()),
            (Self::RepoDigestOrExact, Some(asked)) => repo_digest_or_exact(asked.clone()),
            (Self::Repository, Some(asked)) => SignedIdentity::Repository(asked.repository.clone()),
            (Self::Remap { prefix, signed_prefix }, Some(asked)) => {
                match remap(asked, prefix, signed_prefix) {
                    Some(name) => repo_digest_or_exact(name),
                    None => SignedIdentity::Nameless,
                }
            }
        }
    }
}

fn repo_digest_or_exact(asked: SignedName) -> SignedIdentity {
    if asked.tag.is_none() && asked.digest.is_some() {
        SignedIdentity::TagOrDigestIn(asked.repository)
    } else {
        SignedIdentity::Exactly(asked)
    }
}

/// The name with another prefix, if it has this one, which ends at a `/` or with the name; none
/// if the result is no name.
fn remap(asked: &SignedName, prefix: &str, signed_prefix: &str) -> Option<SignedName> {
    let name = asked.repository.to_string();
    match name.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let text = format!("{signed_prefix}{rest}");
            let renamed = SignedName::parse(&text).ok()?;
            // A short name would mean another registry.
            (renamed.to_string() == text).then_some(SignedName {
                repository: renamed.repository,
                tag: asked.tag.clone(),
                digest: asked.digest,
            })
        }
        _ => Some(asked.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SignedName {
        SignedName::parse(text).unwrap()
    }

    #[test]
    fn a_prefix_ends_where_a_component_ends() {
        let remapped = |asked: &str, prefix: &str, signed: &str| {
            remap(&name(asked), prefix, signed).map(|name| name.to_string())
        };
        for (asked, prefix, signed, expected) in [
            ("m.test:5/v/a:1", "m.test:5/v", "q.io/t", Some("q.io/t/a:1")),
            ("m.test:5/v/a:1", "m.test:5", "q.io", Some("q.io/v/a:1")),
            ("m.test:5/v/a:1", "m.test:5/v/a", "q.io/b", Some("q.io/b:1")),
            ("m.test:5/v/a:1", "m.test:5/v/a", "q.io", None),
            ("m.test:5/v/a:1", "m.test", "q.io", Some("m.test:5/v/a:1")),
            ("m.test:5/va/a:1", "m.test:5/v", "q.io/t", Some("m.test:5/va/a:1")),
            ("m.test/v/a:1", "m.test/v", "short", None),
            ("m.test/v/a:1", "m.test/v", "docker.io", None),
            ("m.test/v/a/b:1", "m.test/v", "docker.io", Some("docker.io/a/b:1")),
        ] {
            assert_eq!(remapped(asked, prefix, signed).as_deref(), expected, "{asked} {prefix}");
        }
    }

    #[test]
    fn a_digest_stands_for_any_tag_of_its_repository() {
        let digest = format!("q.io/a@sha256:{}", "0".repeat(64));
        let both = format!("q.io/a:t@sha256:{}", "0".repeat(64));
        let found = |text: &str| ReferenceMatch::RepoDigestOrExact.identity(Some(&name(text)));
        assert_eq!(found("q.io/a:t"), SignedIdentity::Exactly(name("q.io/a:t")));
        assert_eq!(found(&digest), SignedIdentity::TagOrDigestIn(name("q.io/a").repository));
        assert_eq!(found(&both), SignedIdentity::Exactly(name(&both)));
        for nameless in [
            ReferenceMatch::Exact,
            ReferenceMatch::RepoDigestOrExact,
            ReferenceMatch::Repository,
            ReferenceMatch::Remap { prefix: "a.b".into(), signed_prefix: "c.d".into() },
        ] {
            assert_eq!(nameless.identity(None), SignedIdentity::Nameless);
        }
        let exact = ReferenceMatch::ExactRepository(name("q.io/a:t"));
        assert_eq!(exact.identity(None), SignedIdentity::Repository(name("q.io/a").repository));
    }
}
