//! From a policy file to what [`crate::verify`] is asked: the requirements of one image.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::file::{self, Owner};
use super::locations::existing;
use super::policy_json::{Material, PolicyFile, Requirement, Signer, SigstoreSigned};
use super::registries_d::RegistriesD;
use super::scopes::Scopes;
use super::{Decision, Error, MAX_CONFIGURATION, TrustOrigin, TrustSources, Words, keys};
use crate::verify::{
    Authorities, CertificateIdentity, CertificateSigner, Logs, Matcher, NamedKey, PkiSigner,
    PkiSubject, Policy, PublicKey, SignedIdentity, TrustRoot,
};

/// What a policy file says of an image; none if it accepts any, which is no reason to trust it.
pub(super) fn by_policy(
    sources: &TrustSources,
    words: &Words,
    path: &Path,
    scopes: &Scopes,
) -> Result<Option<Decision>, Error> {
    // A file that the user named may be the user's.
    let owner = if words.policy.is_some() { Owner::Anybody } else { Owner::Root };
    let bytes = file::read(path, MAX_CONFIGURATION, sources.as_root, owner)?;
    let file = PolicyFile::parse(&bytes)
        .map_err(|problem| Error::Configuration { path: path.to_owned(), problem })?;
    let (scope, required) = file.requirements(scopes.transport, &scopes.names);
    let mut policies = Vec::new();
    for requirement in required {
        let unsupported = |what: &'static str| Error::Unsupported {
            path: path.to_owned(),
            scope: scope.clone(),
            what,
        };
        match requirement {
            Requirement::AcceptAnything => {}
            Requirement::Reject => {
                return Err(Error::Rejected { path: path.to_owned(), scope: scope.clone() });
            }
            Requirement::SignedBy => {
                return Err(unsupported("signedBy, a GPG signature (simple signing)"));
            }
            Requirement::SignedBaseLayer => return Err(unsupported("signedBaseLayer")),
            Requirement::Sigstore(signed) => {
                let identity = signed.identity.identity(scopes.asked.as_ref());
                let policy = by_sigstore(signed, identity, path, sources.as_root)?;
                // What the command line demands of signatures by key, no policy takes back.
                let policy = match signed.signer {
                    Signer::Keys(_) => words.signer.with_transparency(policy, sources)?,
                    _ => policy,
                };
                policies.push(policy.with_demands(words.demands.clone()));
            }
        }
    }
    let mut policies = policies.into_iter();
    let Some(first) = policies.next() else { return Ok(None) };
    Ok(Some(Decision {
        origin: TrustOrigin::Policy { path: path.to_owned(), scope },
        first,
        others: policies.collect(),
        index: false,
        attachments: attachments(sources, words, scopes)?,
    }))
}

/// What a requirement of a sigstore signature means.
fn by_sigstore(
    signed: &SigstoreSigned,
    identity: SignedIdentity,
    path: &Path,
    as_root: bool,
) -> Result<Policy, Error> {
    let logs = || -> Result<Vec<PublicKey>, Error> {
        let keys = signed.rekor_keys.iter().enumerate();
        keys.map(|(index, key)| Ok(load_one("rekorPublicKeyData", index, key, as_root)?.key))
            .collect()
    };
    let now = Timestamp::now();
    let unusable = |part: &str, problem| Error::Root {
        name: format!("{part} of {}", super::shown(path)),
        problem,
    };
    match &signed.signer {
        Signer::Keys(keys) => {
            let (first, others) = load(keys, as_root)?;
            let policy = Policy::new(first, others, identity);
            let mut logs = logs()?.into_iter();
            Ok(match logs.next() {
                Some(first) => policy.with_transparency(Logs::of_keys(first, logs.collect())),
                None => policy,
            })
        }
        Signer::Fulcio { ca, oidc_issuer, subject_email } => {
            let roots = contents(ca, as_root)?;
            let parts = Authorities { roots, logs: logs()?, ..Authorities::default() };
            let root = TrustRoot::of(&parts)
                .and_then(|root| root.check_current(now).map(|()| root))
                .map_err(|problem| unusable("fulcio", problem))?;
            let broken = |option| move |problem| Error::Matcher { option, problem };
            let holder = CertificateSigner {
                identity: CertificateIdentity {
                    subject: Matcher::email(subject_email).map_err(broken("subjectEmail"))?,
                    issuer: Matcher::exact(oidc_issuer).map_err(broken("oidcIssuer"))?,
                },
                root,
                now,
            };
            Ok(Policy::keyless(holder, identity))
        }
        Signer::Pki { roots, intermediates, subject_email, subject_hostname } => {
            let roots = contents(roots, as_root)?;
            let intermediates = intermediates.as_ref().map(|file| contents(file, as_root));
            let intermediates = intermediates.transpose()?.unwrap_or_default();
            let subject = PkiSubject::new(subject_email.as_deref(), subject_hostname.as_deref())
                .map_err(|problem| Error::Matcher { option: "pki", problem })?;
            let holder = PkiSigner::new(&roots, &intermediates, subject, now)
                .map_err(|problem| unusable("pki", problem))?;
            Ok(Policy::pki(holder, identity))
        }
    }
}

/// Certificates of a requirement.
fn contents(material: &Material, as_root: bool) -> Result<Vec<u8>, Error> {
    match material {
        Material::File(path) => file::read(path, MAX_CONFIGURATION, as_root, Owner::Anybody),
        Material::Data(bytes) => Ok(bytes.clone()),
    }
}

/// The keys of a requirement. One that cannot be used is an error, so that it is noticed (P6).
fn load(keys: &[Material], as_root: bool) -> Result<(NamedKey, Vec<NamedKey>), Error> {
    let mut loaded =
        keys.iter().enumerate().map(|(index, key)| load_one("keyData", index, key, as_root));
    let none = || Error::NoTrust { reference: "this scope".to_owned() };
    let first = loaded.next().ok_or_else(none)??;
    Ok((first, loaded.collect::<Result<_, _>>()?))
}

fn load_one(name: &str, index: usize, key: &Material, as_root: bool) -> Result<NamedKey, Error> {
    match key {
        Material::File(path) => keys::from_file(path, as_root),
        Material::Data(bytes) => {
            keys::parse(&PathBuf::from(format!("{name} {}", index.saturating_add(1))), bytes)
        }
    }
}

/// Whether the signatures beside an image are looked at.
fn attachments(sources: &TrustSources, words: &Words, scopes: &Scopes) -> Result<bool, Error> {
    if scopes.transport != "docker" {
        return Ok(true);
    }
    let mut candidates = sources.locations.registries_d.iter().cloned();
    let found = words.registries_d.clone().or_else(|| candidates.find_map(existing));
    let registries_d = match found {
        Some(directory) => RegistriesD::load(&directory, sources.as_root)?,
        None => RegistriesD::default(),
    };
    Ok(registries_d.use_attachments(&scopes.names))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};

    use super::*;
    use crate::error::{ExitCode, Fault};
    use crate::trust::{Locations, decide};

    fn key(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata/signatures/keys")
            .join(format!("{name}.pub"))
    }

    /// A root with configuration of its own.
    struct Place {
        root: tempfile::TempDir,
        sources: TrustSources,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let at = |name: &str| root.path().join(name);
            let locations = Locations {
                policies: vec![at("own.json"), at("etc.json")],
                registries_d: vec![at("own.d"), at("etc.d")],
                ..Locations::default()
            };
            let keys_dir = at("keys");
            let sources = TrustSources { keys_dir, locations, compiled_in: vec![], as_root: false };
            Self { root, sources }
        }

        fn write(&self, name: &str, policy: &Value) -> PathBuf {
            let path = self.root.path().join(name);
            fs::write(&path, policy.to_string()).unwrap();
            path
        }

        fn decide(&self, words: &Words) -> Result<(TrustOrigin, Vec<String>), Error> {
            let decision = decide(&self.sources, words, &"q.io/a:1".parse().unwrap())?;
            let keys = decision.requirements().flat_map(Policy::keys);
            Ok((decision.origin.clone(), keys.map(|key| key.name.clone()).collect()))
        }

        fn keys(&self, words: &Words) -> Vec<String> {
            self.decide(words).unwrap().1
        }
    }

    fn by_key(name: &str) -> Value {
        json!([{ "type": "sigstoreSigned", "keyPath": key(name) }])
    }

    #[test]
    fn the_policy_decides_before_the_keys_directory_and_after_the_command_line() {
        let place = Place::new();
        let nothing = Words::default();
        fs::create_dir(&place.sources.keys_dir).unwrap();
        fs::copy(key("p384"), place.sources.keys_dir.join("dir.pub")).unwrap();
        assert_eq!(place.keys(&nothing), ["dir.pub"]);
        place.write("etc.json", &json!({ "default": by_key("p256") }));
        assert_eq!(place.keys(&nothing), ["p256.pub"]);
        // Only the first file that exists counts.
        let own = json!({ "default": [{ "type": "reject" }],
            "transports": { "docker": { "q.io": by_key("ed25519") } } });
        let own = place.write("own.json", &own);
        let (origin, keys) = place.decide(&nothing).unwrap();
        assert_eq!(keys, ["ed25519.pub"]);
        assert_eq!(origin, TrustOrigin::Policy { path: own, scope: "docker:q.io".to_owned() });
        let words = Words { keys: vec![key("rsa2048")], ..Words::default() };
        assert_eq!(place.keys(&words), ["rsa2048.pub"]);
        let named = place.write("named.json", &json!({ "default": by_key("p521") }));
        let words = Words { policy: Some(named), ..Words::default() };
        assert_eq!(place.keys(&words), ["p521.pub"]);
        let words = Words { keys: vec![key("rsa2048")], ..words };
        assert_eq!(place.keys(&words), ["rsa2048.pub"]);
    }

    /// Row 17: that a policy accepts anything is no reason to trust; the next source is asked.
    #[test]
    fn row_17_a_policy_that_accepts_anything_leaves_it_to_the_next() {
        let mut place = Place::new();
        let anything = json!({ "default": [{ "type": "insecureAcceptAnything" }] });
        let file = place.write("etc.json", &anything);
        let error = place.decide(&Words::default()).unwrap_err();
        assert!(matches!(error, Error::NoTrust { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Trust);
        fs::create_dir(&place.sources.keys_dir).unwrap();
        fs::copy(key("p384"), place.sources.keys_dir.join("dir.pub")).unwrap();
        assert_eq!(place.keys(&Words::default()), ["dir.pub"]);
        // The one of the command line is final.
        let words = Words { policy: Some(file.clone()), ..Words::default() };
        assert!(matches!(place.decide(&words).unwrap_err(), Error::AcceptsAnything { .. }));
        // One that is named must be there.
        place.sources.locations.named_policy = Some(file.with_file_name("missing.json"));
        assert!(matches!(place.decide(&Words::default()), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn a_policy_that_cannot_be_used_is_not_passed_over() {
        let place = Place::new();
        fs::create_dir(&place.sources.keys_dir).unwrap();
        fs::copy(key("p384"), place.sources.keys_dir.join("dir.pub")).unwrap();
        let verdict = |policy: &Value| {
            place.write("etc.json", policy);
            let error = place.decide(&Words::default()).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Trust, "{error}");
            assert!(!error.to_string().contains('\n') && !error.advice().is_empty());
            error.id()
        };
        let reject = json!([{ "type": "reject" }]);
        let gpg = json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/gpg" });
        let missing = json!([{ "type": "sigstoreSigned", "keyPath": "/nonexistent" }]);
        assert_eq!(verdict(&json!({ "default": reject })), "trust.rejected");
        assert_eq!(verdict(&json!({ "default": [gpg] })), "trust.unsupported");
        assert_eq!(verdict(&json!({ "default": missing })), "trust.unreadable");
        assert_eq!(verdict(&json!({ "default": [] })), "trust.configuration");
        assert_eq!(verdict(&json!("nonsense")), "trust.configuration");
        // GPG elsewhere is only parsed, as in the files of Fedora and RHEL.
        let stock = json!({ "default": [{ "type": "insecureAcceptAnything" }],
            "transports": { "docker": { "registry.redhat.io": [gpg] } } });
        place.write("etc.json", &stock);
        assert_eq!(place.keys(&Words::default()), ["dir.pub"]);
    }

    #[test]
    fn root_uses_no_policy_that_others_can_write() {
        let mut place = Place::new();
        place.sources.as_root = true;
        let path = place.write("etc.json", &json!({ "default": by_key("p256") }));
        for (mode, is_safe) in [(0o644, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let root_owns = rustix::process::geteuid().is_root();
            let decision = place.decide(&Words::default());
            assert_eq!(decision.is_ok(), is_safe && root_owns, "{mode:o}: {decision:?}");
        }
    }

    #[test]
    fn registries_d_says_where_signatures_are_and_only_for_registries() {
        let place = Place::new();
        place.write("etc.json", &json!({ "default": by_key("p256") }));
        let attachments = |reference: &str| {
            let reference = reference.parse().unwrap();
            decide(&place.sources, &Words::default(), &reference).unwrap().attachments
        };
        assert!(!attachments("q.io/a:1"));
        assert!(attachments("oci:/nonexistent/layout"));
        let yes = "docker: {q.io: {use-sigstore-attachments: true}}";
        for (directory, text, expected) in [("etc.d", yes, true), ("own.d", "docker: {}", false)] {
            let directory = place.root.path().join(directory);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("a.yaml"), text).unwrap();
            assert_eq!(attachments("q.io/a:1"), expected, "the first directory counts alone");
        }
    }
}
