//! containers-policy.json(5), read as strictly as containers/image reads it: a key or type that
//! is not known, or a key that is there twice, makes the whole file worthless (row 16).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::names::ReferenceMatch;
use crate::escape::Escaped;
use crate::json;
use crate::verify::SignedName;

/// Deeper than any policy: file, transports, transport, scope, requirement, its members.
const MAX_DEPTH: usize = 12;

/// A policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// What is required where no scope matches.
    pub default: Requirements,
    /// What is required of a transport's images, by scope; `""` is all of them.
    pub transports: BTreeMap<String, BTreeMap<String, Requirements>>,
}

/// What is required: all of it, and not nothing.
pub type Requirements = Vec<Requirement>;

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `insecureAcceptAnything`
    AcceptAnything,
    /// `reject`
    Reject,
    /// `signedBy`: a GPG signature, which we do not check.
    SignedBy,
    /// `signedBaseLayer`, which nobody implements.
    SignedBaseLayer,
    /// `sigstoreSigned`
    Sigstore(Box<SigstoreSigned>),
}

/// A sigstore signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigstoreSigned {
    /// Whose.
    pub signer: Signer,
    /// The keys of transparency logs, one of which must have recorded it; none: not asked for.
    pub rekor_keys: Vec<Material>,
    /// Under which name.
    pub identity: ReferenceMatch,
}

/// Whose signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// One of these keys; at least one.
    Keys(Vec<Material>),
    /// `fulcio`: a certificate of an identity.
    Fulcio {
        /// The certificates of the authority.
        ca: Material,
        /// Who has seen the subject.
        oidc_issuer: String,
        /// The subject.
        subject_email: String,
    },
    /// `pki`: a certificate of one's own authority; at least one subject.
    Pki {
        /// The certificates of the authority.
        roots: Material,
        /// Certificates between it and the signer's.
        intermediates: Option<Material>,
        /// The subject's mail address.
        subject_email: Option<String>,
        /// The subject's host name.
        subject_hostname: Option<String>,
    },
}

/// A key or certificates: in a file, or in the policy itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// In this file.
    File(PathBuf),
    /// These bytes.
    Data(Vec<u8>),
}

impl PolicyFile {
    /// Reads a policy; the error says what was found and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value = json::parse(bytes, MAX_DEPTH)?;
        let mut root = Members::new("policy", value)?;
        let default = root.required("default").and_then(|value| requirements("default", value))?;
        let transports = match root.take("transports") {
            None => BTreeMap::new(),
            Some(value) => transports(value)?,
        };
        root.finish()?;
        Ok(Self { default, transports })
    }

    /// What is required of an image of a transport, and the scope that says so; `scopes` are the
    /// image's, the most specific first. Only the first that matches counts.
    pub fn requirements(&self, transport: &str, scopes: &[String]) -> (String, &Requirements) {
        if let Some(of_transport) = self.transports.get(transport) {
            for scope in scopes.iter().map(String::as_str).chain([""]) {
                if let Some(requirements) = of_transport.get(scope) {
                    return (format!("{transport}:{scope}"), requirements);
                }
            }
        }
        ("default".to_owned(), &self.default)
    }
}

fn transports(value: Value) -> Result<BTreeMap<String, BTreeMap<String, Requirements>>, String> {
    let mut transports = BTreeMap::new();
    for (transport, value) in Members::new("transports", value)?.members {
        let what = format!("transports {:?}", shown(&transport));
        let is_path = matches!(transport.as_str(), "dir" | "oci" | "oci-archive");
        let mut scopes = BTreeMap::new();
        for (scope, value) in Members::new(&what, value)?.members {
            let what = format!("{what}, scope {:?}", shown(&scope));
            if is_path && !scope.is_empty() && !is_plain_path(&scope) {
                return Err(format!("{what}: expected an absolute path without . and .."));
            }
            scopes.insert(scope, requirements(&what, value)?);
        }
        transports.insert(transport, scopes);
    }
    Ok(transports)
}

/// Whether a scope is a path that an image can have: `/` is `""` instead.
fn is_plain_path(scope: &str) -> bool {
    let path = Path::new(scope);
    let plain: PathBuf = path
        .components()
        .filter(|component| matches!(component, Component::RootDir | Component::Normal(_)))
        .collect();
    scope != "/" && scope.starts_with('/') && plain.as_os_str() == path.as_os_str()
}

fn requirements(what: &str, value: Value) -> Result<Requirements, String> {
    let Value::Array(values) = value else {
        return Err(format!("{what}: expected an array of requirements"));
    };
    if values.is_empty() {
        return Err(format!("{what}: found no requirement, expected at least one"));
    }
    values.into_iter().map(|value| requirement(what, value)).collect()
}

fn requirement(what: &str, value: Value) -> Result<Requirement, String> {
    let mut members = Members::new(what, value)?;
    let kind = members.string("type")?;
    let requirement = match kind.as_str() {
        "insecureAcceptAnything" => Requirement::AcceptAnything,
        "reject" => Requirement::Reject,
        "signedBy" => signed_by(&mut members)?,
        "signedBaseLayer" => {
            let identity = members.required("baseLayerIdentity")?;
            reference_match(what, identity)?;
            Requirement::SignedBaseLayer
        }
        "sigstoreSigned" => Requirement::Sigstore(Box::new(sigstore_signed(&mut members)?)),
        _ => {
            return Err(format!(
                "{what}: found the requirement {:?}, expected sigstoreSigned, signedBy, \
                 signedBaseLayer, reject or insecureAcceptAnything",
                shown(&kind)
            ));
        }
    };
    members.finish()?;
    Ok(requirement)
}

/// Parsed, so that a file with a mistake is refused, and not kept.
fn signed_by(members: &mut Members) -> Result<Requirement, String> {
    const TYPES: [&str; 4] = ["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"];
    let key_type = members.string("keyType")?;
    if !TYPES.contains(&key_type.as_str()) {
        return Err(members.problem(&format!("found keyType {:?}", shown(&key_type))));
    }
    let one = members.material("keyPath", "keyData")?.len();
    let several = usize::from(members.files("keyPaths")?.is_some());
    one_source(members, one + several, "keyPath, keyPaths and keyData")?;
    signed_identity(members)?;
    Ok(Requirement::SignedBy)
}

fn sigstore_signed(members: &mut Members) -> Result<SigstoreSigned, String> {
    let mut keys = members.materials("key")?;
    let fulcio = members.take("fulcio").map(fulcio).transpose()?;
    let pki = members.take("pki").map(pki).transpose()?;
    let sources = keys.len() + usize::from(fulcio.is_some()) + usize::from(pki.is_some());
    one_source(members, sources, "keyPath, keyPaths, keyData, keyDatas, fulcio and pki")?;
    let mut rekor = members.materials("rekorPublicKey")?;
    if rekor.len() > 1 {
        return Err(members.problem(
            "found several of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and \
             rekorPublicKeyDatas, expected at most one",
        ));
    }
    if fulcio.is_some() && rekor.is_empty() {
        return Err(members.problem("found fulcio alone, expected a rekorPublicKey… beside it"));
    }
    if pki.is_some() && !rekor.is_empty() {
        return Err(members.problem("found pki with a rekorPublicKey…, expected one of them"));
    }
    let signer = match fulcio.or(pki) {
        Some(signer) => signer,
        None => Signer::Keys(keys.pop().unwrap_or_default()),
    };
    let rekor_keys = rekor.pop().unwrap_or_default();
    Ok(SigstoreSigned { signer, rekor_keys, identity: signed_identity(members)? })
}

fn one_source(members: &Members, found: usize, names: &str) -> Result<(), String> {
    match found {
        1 => Ok(()),
        _ => Err(members.problem(&format!("found {found} of {names}, expected exactly one"))),
    }
}

fn fulcio(value: Value) -> Result<Signer, String> {
    let mut members = Members::new("fulcio", value)?;
    let ca = members.material("caPath", "caData")?;
    let [ca] = <[Material; 1]>::try_from(ca)
        .map_err(|_| members.problem("expected exactly one of caPath and caData"))?;
    let oidc_issuer = members.non_empty("oidcIssuer")?;
    let subject_email = members.non_empty("subjectEmail")?;
    members.finish()?;
    Ok(Signer::Fulcio { ca, oidc_issuer, subject_email })
}

fn pki(value: Value) -> Result<Signer, String> {
    let mut members = Members::new("pki", value)?;
    let roots = members.material("caRootsPath", "caRootsData")?;
    let [roots] = <[Material; 1]>::try_from(roots)
        .map_err(|_| members.problem("expected exactly one of caRootsPath and caRootsData"))?;
    let mut intermediates = members.material("caIntermediatesPath", "caIntermediatesData")?;
    if intermediates.len() > 1 {
        return Err(members.problem("expected one of caIntermediatesPath and caIntermediatesData"));
    }
    let mut subject = |name: &str| {
        let is_there = members.members.contains_key(name);
        is_there.then(|| members.non_empty(name)).transpose()
    };
    let (subject_email, subject_hostname) = (subject("subjectEmail")?, subject("subjectHostname")?);
    if subject_email.is_none() && subject_hostname.is_none() {
        return Err(members.problem("expected subjectEmail or subjectHostname"));
    }
    members.finish()?;
    Ok(Signer::Pki { roots, intermediates: intermediates.pop(), subject_email, subject_hostname })
}

fn signed_identity(members: &mut Members) -> Result<ReferenceMatch, String> {
    match members.take("signedIdentity") {
        None => Ok(ReferenceMatch::default()),
        Some(value) => reference_match("signedIdentity", value),
    }
}

fn reference_match(what: &str, value: Value) -> Result<ReferenceMatch, String> {
    let mut members = Members::new(what, value)?;
    let kind = members.string("type")?;
    let matching = match kind.as_str() {
        "matchExact" => ReferenceMatch::Exact,
        "matchRepoDigestOrExact" => ReferenceMatch::RepoDigestOrExact,
        "matchRepository" => ReferenceMatch::Repository,
        "exactReference" => {
            let name = members.name("dockerReference")?;
            if name.is_name_only() {
                return Err(members.problem("dockerReference: expected a tag or digest"));
            }
            ReferenceMatch::ExactReference(name)
        }
        "exactRepository" => ReferenceMatch::ExactRepository(members.name("dockerRepository")?),
        "remapIdentity" => ReferenceMatch::Remap {
            prefix: members.prefix("prefix")?,
            signed_prefix: members.prefix("signedPrefix")?,
        },
        _ => {
            return Err(members.problem(&format!("found the type {:?}", shown(&kind))));
        }
    };
    members.finish()?;
    Ok(matching)
}

/// The members of an object, taken one by one: what is left at the end is not known.
struct Members {
    what: String,
    members: Map<String, Value>,
}

impl Members {
    fn new(what: &str, value: Value) -> Result<Self, String> {
        match value {
            Value::Object(members) => Ok(Self { what: what.to_owned(), members }),
            _ => Err(format!("{what}: expected an object")),
        }
    }

    fn problem(&self, problem: &str) -> String {
        format!("{}: {problem}", self.what)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    fn required(&mut self, name: &str) -> Result<Value, String> {
        self.take(name).ok_or_else(|| self.problem(&format!("expected {name:?}")))
    }

    fn string(&mut self, name: &str) -> Result<String, String> {
        match self.required(name)? {
            Value::String(text) => Ok(text),
            _ => Err(self.problem(&format!("{name}: expected a string"))),
        }
    }

    fn non_empty(&mut self, name: &str) -> Result<String, String> {
        let text = self.string(name)?;
        if text.is_empty() {
            return Err(self.problem(&format!("{name}: found nothing, expected a text")));
        }
        Ok(text)
    }

    fn name(&mut self, name: &str) -> Result<SignedName, String> {
        let text = self.string(name)?;
        SignedName::parse(&text)
            .map_err(|problem| self.problem(&format!("{name}: {:?}: {problem}", shown(&text))))
    }

    fn prefix(&mut self, name: &str) -> Result<String, String> {
        let text = self.string(name)?;
        if !SignedName::is_prefix(&text) {
            let found = shown(&text);
            return Err(self.problem(&format!("{name}: found {found:?}, expected HOST[/PATH]")));
        }
        Ok(text)
    }

    fn file(&self, name: &str, value: Value) -> Result<Material, String> {
        match value {
            Value::String(path) if !path.is_empty() && !path.contains('\0') => {
                Ok(Material::File(path.into()))
            }
            _ => Err(self.problem(&format!("{name}: expected the path of a file"))),
        }
    }

    fn data(&self, name: &str, value: Value) -> Result<Material, String> {
        let Value::String(text) = value else {
            return Err(self.problem(&format!("{name}: expected a string")));
        };
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| self.problem(&format!("{name}: expected base64: {error}")))?;
        Ok(Material::Data(bytes))
    }

    fn list(
        &mut self,
        name: &str,
        read: impl Fn(&Self, Value) -> Result<Material, String>,
    ) -> Result<Option<Vec<Material>>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) if !values.is_empty() => values
                .into_iter()
                .map(|value| read(self, value))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(self.problem(&format!("{name}: expected an array that is not empty"))),
        }
    }

    fn files(&mut self, name: &str) -> Result<Option<Vec<Material>>, String> {
        self.list(name, |members, value| members.file(name, value))
    }

    /// What one of two members gives, or both, which is for the caller to refuse.
    fn material(&mut self, path: &str, data: &str) -> Result<Vec<Material>, String> {
        let file = self.take(path).map(|value| self.file(path, value)).transpose()?;
        let data = self.take(data).map(|value| self.data(data, value)).transpose()?;
        Ok(file.into_iter().chain(data).collect())
    }

    /// What each of `PREFIXPath`, `PREFIXPaths`, `PREFIXData` and `PREFIXDatas` gives.
    fn materials(&mut self, prefix: &str) -> Result<Vec<Vec<Material>>, String> {
        let mut all: Vec<_> = self
            .material(&format!("{prefix}Path"), &format!("{prefix}Data"))?
            .into_iter()
            .map(|one| vec![one])
            .collect();
        all.extend(self.files(&format!("{prefix}Paths"))?);
        let datas = format!("{prefix}Datas");
        all.extend(self.list(&datas, |members, value| members.data(&datas, value))?);
        Ok(all)
    }

    fn finish(self) -> Result<(), String> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(unknown) => {
                Err(self.problem(&format!("found {:?}, which is not known", shown(unknown))))
            }
        }
    }
}

/// The beginning of a text from a file, safe to print.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(80).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"default":[{"type":"reject"}],"transports":{
        "docker":{
            "":[{"type":"insecureAcceptAnything"}],
            "q.io/a":[{"type":"sigstoreSigned","keyPath":"/k.pub"},
                {"type":"sigstoreSigned","keyDatas":["YQ==","Yg=="],"rekorPublicKeyData":"Yw==",
                 "signedIdentity":{"type":"remapIdentity","prefix":"q.io","signedPrefix":"b.io/x"}}],
            "q.io/f":[{"type":"sigstoreSigned","rekorPublicKeyPaths":["/r"],"fulcio":
                {"caPath":"/ca","oidcIssuer":"https://i","subjectEmail":"a@b"}}],
            "q.io/p":[{"type":"sigstoreSigned","pki":
                {"caRootsData":"YQ==","caIntermediatesPath":"/i","subjectHostname":"h"}}],
            "q.io/g":[{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/g"]}],
            "q.io/b":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"exactReference",
                "dockerReference":"alpine:3"}}]},
        "dir":{"/a/b":[{"type":"reject"}]},
        "unknown":{"any thing":[{"type":"reject"}]}}}"#;

    fn requirements(scopes: &[&str]) -> (String, Requirements) {
        let scopes: Vec<_> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let file = PolicyFile::parse(GOOD.as_bytes()).unwrap();
        let (scope, found) = file.requirements("docker", &scopes);
        (scope, found.clone())
    }

    #[test]
    fn the_most_specific_scope_decides_alone() {
        let (scope, found) = requirements(&["q.io/a:1", "q.io/a", "q.io"]);
        assert_eq!(scope, "docker:q.io/a");
        let remap = ReferenceMatch::Remap { prefix: "q.io".into(), signed_prefix: "b.io/x".into() };
        let second = SigstoreSigned {
            signer: Signer::Keys(vec![Material::Data(b"a".into()), Material::Data(b"b".into())]),
            rekor_keys: vec![Material::Data(b"c".into())],
            identity: remap,
        };
        let first = SigstoreSigned {
            signer: Signer::Keys(vec![Material::File("/k.pub".into())]),
            rekor_keys: Vec::new(),
            identity: ReferenceMatch::RepoDigestOrExact,
        };
        assert_eq!(found, [first, second].map(|one| Requirement::Sigstore(Box::new(one))));
        assert_eq!(requirements(&["b.io/x"]).1, [Requirement::AcceptAnything]);
        assert_eq!(requirements(&["q.io/g"]).1, [Requirement::SignedBy]);
        assert_eq!(requirements(&["q.io/b"]).1, [Requirement::SignedBaseLayer]);
        let file = PolicyFile::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(file.requirements("oci", &["/a".into()]).0, "default");
        let signer = |scope: &str| match &requirements(&[scope]).1[..] {
            [Requirement::Sigstore(signed)] => signed.signer.clone(),
            other => panic!("{other:?}"),
        };
        assert!(matches!(signer("q.io/f"), Signer::Fulcio { .. }));
        assert!(matches!(signer("q.io/p"), Signer::Pki { subject_email: None, .. }));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = PolicyFile::parse(text.as_bytes());
        }

        /// What is changed in one byte and still accepted is no other file, or says other names.
        #[test]
        fn no_changed_file_panics(at in 0..GOOD.len(), byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = PolicyFile::parse(&bytes);
        }
    }
}
