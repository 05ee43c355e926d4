//! The policy: whose signatures are accepted, and for which names.

use std::str::FromStr;

use super::identity::SignedName;
use super::{CertificateSigner, Demands, Keys, Logs, NamedKey, PkiSigner, Signer};
use crate::oci::Repository;
use crate::oci::name::is_host_like;

/// Whose signatures are accepted, and for which names.
///
/// It has a signer, by its shape: no configuration can say "nothing is demanded" (P6, K4).
///
/// ```
/// use oci2sysext::verify::{NamedKey, Policy, SignedIdentity};
/// fn one_key(key: NamedKey) -> Policy {
///     Policy::new(key, Vec::new(), SignedIdentity::Asked)
/// }
/// ```
///
/// No list of keys makes one, because the list could be empty:
///
/// ```compile_fail,E0061
/// use oci2sysext::verify::{NamedKey, Policy, SignedIdentity};
/// fn no_key() -> Policy {
///     Policy::new(Vec::<NamedKey>::new(), SignedIdentity::Asked)
/// }
/// ```
///
/// ```compile_fail,E0599
/// oci2sysext::verify::Policy::default();
/// ```
///
/// ```compile_fail,E0277
/// serde_json::from_str::<oci2sysext::verify::Policy>("{}");
/// ```
#[derive(Debug)]
pub struct Policy {
    signer: Signer,
    transparency: Option<Logs>,
    identity: SignedIdentity,
    demands: Demands,
}

/// Which name a signature must carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SignedIdentity {
    /// The repository that was asked for; where the transport has no names, none.
    #[default]
    Asked,
    /// Any name (`--signed-identity any`).
    Any,
    /// This repository's, wherever the image comes from (`--signed-identity REPOSITORY`).
    Repository(Repository),
    /// This repository's with some tag or digest, as `matchRepoDigestOrExact` wants it where the
    /// image was asked for by its digest.
    TagOrDigestIn(Repository),
    /// Exactly this one, which has a tag or a digest (`matchExact`, `exactReference`).
    Exactly(SignedName),
    /// The name asked for, and there is none: no signature will do (containers-policy.json(5) of
    /// an image that is not in a registry).
    Nameless,
}

impl Policy {
    /// Accepts signatures by any of these keys.
    pub fn new(first: NamedKey, others: Vec<NamedKey>, identity: SignedIdentity) -> Self {
        Self::by(Signer::Keys(Keys::new(first, others)), identity)
    }

    /// Accepts signatures by whoever has a certificate for an identity.
    pub fn keyless(signer: CertificateSigner, identity: SignedIdentity) -> Self {
        Self::by(Signer::Certificate(Box::new(signer)), identity)
    }

    /// Accepts signatures by whoever has a certificate of an own authority that is valid now.
    pub fn pki(signer: PkiSigner, identity: SignedIdentity) -> Self {
        Self::by(Signer::Pki(Box::new(signer)), identity)
    }

    fn by(signer: Signer, identity: SignedIdentity) -> Self {
        Self { signer, transparency: None, identity, demands: Demands::default() }
    }

    /// Demands that one of these logs has a signature by key, too (L7, B7). A signature by
    /// certificate is held to the logs of its trust root.
    #[must_use]
    pub fn with_transparency(mut self, logs: Logs) -> Self {
        self.transparency = Some(logs);
        self
    }

    /// Demands more of the same signature.
    #[must_use]
    pub fn with_demands(mut self, demands: Demands) -> Self {
        self.demands = demands;
        self
    }

    /// Who must have signed.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The keys, if the signer is the holder of one.
    pub fn keys(&self) -> impl Iterator<Item = &NamedKey> {
        let keys = match &self.signer {
            Signer::Keys(keys) => Some(keys),
            Signer::Certificate(_) | Signer::Pki(_) => None,
        };
        keys.into_iter().flat_map(Keys::iter)
    }

    /// Which logs must have a signature by key, if any must.
    pub fn transparency(&self) -> Option<&Logs> {
        self.transparency.as_ref()
    }

    /// Which name a signature must carry.
    pub fn identity(&self) -> &SignedIdentity {
        &self.identity
    }

    /// What else a signature must say.
    pub fn demands(&self) -> &Demands {
        &self.demands
    }
}

impl FromStr for SignedIdentity {
    type Err = String;

    /// `any`, or a repository with its registry.
    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected \"any\" or a repository such as quay.io/travier/sysexts";
        if text == "any" {
            return Ok(Self::Any);
        }
        let name = SignedName::parse(text).map_err(|problem| format!("{problem}; {EXPECTED}"))?;
        if name.tag.is_some() || name.digest.is_some() {
            return Err(format!("found a tag or digest, {EXPECTED}"));
        }
        // What was typed must name its registry (row 100), though a signed name need not.
        if !text.split_once('/').is_some_and(|(host, _)| is_host_like(host)) {
            return Err(format!("found no registry, {EXPECTED}"));
        }
        Ok(Self::Repository(name.repository))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::PublicKey;
    use super::*;

    #[test]
    fn a_policy_has_all_of_its_keys() {
        let named = |name: &str, byte: u8| {
            let prefix = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
            let key = PublicKey::from_spki(&[prefix, &[byte; 32][..]].concat()).unwrap();
            NamedKey { name: name.to_owned(), key }
        };
        let (first, second, third) = (named("a", 1), named("b", 2), named("c", 3));
        let all = [&first, &second, &third];
        let others = vec![second.clone(), third.clone()];
        let policy = Policy::new(first.clone(), others, SignedIdentity::Any);
        assert_eq!(policy.keys().collect::<Vec<_>>(), all);
        let alone = Policy::new(third.clone(), Vec::new(), SignedIdentity::Any);
        assert_eq!(alone.keys().collect::<Vec<_>>(), [&third]);
    }

    #[test]
    fn a_signed_identity_is_any_or_a_repository() {
        assert_eq!("any".parse(), Ok(SignedIdentity::Any));
        let repository =
            |host: &str, path: &str| Repository { host: host.to_owned(), path: path.to_owned() };
        for (text, host, path) in [
            ("quay.io/travier/sysexts", "quay.io", "travier/sysexts"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", "a"),
            ("docker.io/alpine", "docker.io", "library/alpine"),
            ("index.docker.io/alpine", "docker.io", "library/alpine"),
        ] {
            assert_eq!(text.parse(), Ok(SignedIdentity::Repository(repository(host, path))));
        }
        for bad in [
            "",
            "Any",
            "alpine",
            "travier/sysexts",
            "quay.io/a:t",
            "quay.io/A",
            "quay.io",
            "docker.io",
        ] {
            assert!(bad.parse::<SignedIdentity>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// What was typed names a registry and a repository of it, or it is none.
        #[test]
        fn a_signed_identity_is_printed_and_parsed_again(text in "(any|[a-c.:/@-]{1,16}|\\PC{0,20})") {
            match text.parse::<SignedIdentity>() {
                Ok(SignedIdentity::Repository(repository)) => {
                    let again = repository.to_string().parse();
                    prop_assert_eq!(again, Ok(SignedIdentity::Repository(repository)));
                }
                Ok(other) => prop_assert_eq!((other, &*text), (SignedIdentity::Any, "any")),
                Err(_) => {}
            }
        }
    }
}
