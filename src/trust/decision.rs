//! From a policy file to what [`crate::verify`] is asked: the requirements of one image.

use std::path::{Path, PathBuf};

use super::file::{self, Owner};
use super::locations::existing;
use super::policy_json::{Material, PolicyFile, Requirement, Signer, SigstoreSigned};
use super::registries_d::RegistriesD;
use super::scopes::Scopes;
use super::{Decision, Error, MAX_CONFIGURATION, TrustOrigin, TrustSources, Words, keys};
use crate::verify::{NamedKey, Policy};

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
                let keys = match &signed.signer {
                    Signer::Keys(keys) if signed.rekor_keys.is_empty() => keys,
                    _ => return Err(unsupported(beyond_keys(signed))),
                };
                let identity = signed.identity.identity(scopes.asked.as_ref());
                let (first, others) = load(keys, sources.as_root)?;
                let policy = Policy::new(first, others, identity);
                policies.push(policy.with_annotations(words.annotations.clone()));
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

/// What is demanded besides a key: certificates and transparency logs are not supported yet.
fn beyond_keys(signed: &SigstoreSigned) -> &'static str {
    match signed.signer {
        Signer::Keys(_) => "rekorPublicKey…, not supported yet",
        Signer::Fulcio { .. } => "fulcio, not supported yet",
        Signer::Pki { .. } => "pki, not supported yet",
    }
}

/// The keys of a requirement. One that cannot be used is an error, so that it is noticed (P6).
fn load(keys: &[Material], as_root: bool) -> Result<(NamedKey, Vec<NamedKey>), Error> {
    let mut loaded = keys.iter().enumerate().map(|(index, material)| match material {
        Material::File(path) => keys::from_file(path, as_root),
        Material::Data(bytes) => {
            keys::parse(&PathBuf::from(format!("keyData {}", index + 1)), bytes)
        }
    });
    let none = || Error::NoTrust { reference: "this scope".to_owned() };
    let first = loaded.next().ok_or_else(none)??;
    Ok((first, loaded.collect::<Result<_, _>>()?))
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
