//! Whose credentials are for which registry (containers-auth.json(5), docker's config.json).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::tls::{configuration, read_bounded};
use super::{Error, helper};
use crate::json;

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What proves to a registry who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Where they were found, for messages.
    pub source: String,
    /// User name.
    pub username: String,
    /// The password, or a token that buys tokens.
    pub proof: Proof,
}

/// The secret half of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// For basic authentication, and for the token service.
    Password(Secret),
    /// A refresh token (RFC 6749), for the token service only.
    IdentityToken(Secret),
}

/// The files that hold credentials, in the order in which they are asked.
#[derive(Debug, Default)]
pub(super) struct AuthFiles(Vec<AuthFile>);

#[derive(Debug, Default, Deserialize)]
struct AuthFile {
    #[serde(skip)]
    path: PathBuf,
    /// A `.dockercfg`: keys are addresses.
    #[serde(skip)]
    legacy: bool,
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Secret,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: Secret,
    #[serde(default)]
    identitytoken: Secret,
}

impl AuthFiles {
    /// Reads `authfile`, else `REGISTRY_AUTH_FILE`, else those of the usual files that exist.
    ///
    /// A file that somebody named must exist and be well-formed.
    pub fn load(
        authfile: Option<&Path>,
        env: &dyn Fn(&str) -> Option<OsString>,
        uid: u32,
    ) -> Result<Self, Error> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = authfile.map(Path::to_owned).or_else(|| set("REGISTRY_AUTH_FILE")) {
            return Ok(Self(vec![AuthFile::read(&path, false)?]));
        }
        let home = set("HOME");
        let runtime =
            set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/containers/{uid}").into());
        // Without XDG_RUNTIME_DIR the directory is not shared with other programs of the user.
        let runtime = if set("XDG_RUNTIME_DIR").is_some() {
            runtime.join("containers/auth.json")
        } else {
            runtime.join("auth.json")
        };
        let config = set("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let docker = set("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
        let places = [
            (Some(runtime), false),
            (config.map(|path| path.join("containers/auth.json")), false),
            (docker.map(|path| path.join("config.json")), false),
            (home.map(|path| path.join(".dockercfg")), true),
        ];
        let mut files = Vec::new();
        for (path, legacy) in places {
            let Some(path) = path.filter(|path| path.exists()) else { continue };
            match AuthFile::read(&path, legacy) {
                Ok(file) => files.push(file),
                Err(error) => tracing::warn!("{error}; its credentials are not used"),
            }
        }
        Ok(Self(files))
    }

    /// The credentials for a registry, or for a repository of it: the first file that has some
    /// decides.
    pub fn find(&self, host: &str, path: Option<&str>) -> Result<Option<Credentials>, Error> {
        for file in &self.0 {
            if let Some(found) = file.find(host, path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl AuthFile {
    fn read(path: &Path, legacy: bool) -> Result<Self, Error> {
        Self::parse(path, &read_bounded(path)?, legacy)
    }

    fn parse(path: &Path, bytes: &[u8], legacy: bool) -> Result<Self, Error> {
        let file = if legacy {
            json::from_slice(bytes).map(|auths| Self { auths, ..Self::default() })
        } else {
            json::from_slice(bytes)
        };
        // serde_json's own words may quote what it found there.
        let file = file.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            configuration(path, format!("line {line}, column {column}: no auth file in JSON"))
        })?;
        Ok(Self { path: path.to_owned(), legacy, ..file })
    }

    fn find(&self, host: &str, path: Option<&str>) -> Result<Option<Credentials>, Error> {
        let is_host = |key: &str| normalized(key, self.legacy) == canonical(host);
        let helper = self.helpers.get_key_value(host);
        let helper = helper.or_else(|| self.helpers.iter().find(|(key, _)| is_host(key)));
        if let Some((key, name)) = helper {
            return helper::get(name, key);
        }
        let exact = if self.legacy { vec![host.to_owned()] } else { keys(host, path) };
        let exact = exact.iter().find_map(|key| self.auths.get_key_value(key));
        let entry = exact.or_else(|| self.auths.iter().find(|(key, _)| is_host(key)));
        if let Some((key, entry)) = entry
            && let Some(found) = self.credentials(key, entry)?
        {
            return Ok(Some(found));
        }
        if self.store.is_empty() {
            return Ok(None);
        }
        // What docker login stores for Docker Hub is under the address of its first API.
        let hub = canonical(host) == HUB;
        let server = if hub { "https://index.docker.io/v1/" } else { host };
        // Whoever has a store has it for everything; that it fails need not matter here.
        helper::get(&self.store, server).or_else(|error| {
            tracing::warn!("{error}");
            Ok(None)
        })
    }

    /// What an entry holds; an empty one says that the store has it.
    fn credentials(&self, key: &str, entry: &Entry) -> Result<Option<Credentials>, Error> {
        let source = format!("{} ({key})", self.path.display());
        let (username, password) = if entry.auth.0.is_empty() {
            (entry.username.clone(), entry.password.clone())
        } else {
            let decoded = BASE64_STANDARD.decode(entry.auth.0.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = text.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) = pair.ok_or_else(|| {
                let problem = format!("{key:?}: expected \"auth\" to be base64 of USER:PASSWORD");
                configuration(&self.path, problem)
            })?;
            (username.to_owned(), Secret(password.trim_end_matches('\0').to_owned()))
        };
        let proof = if !entry.identitytoken.0.is_empty() {
            Proof::IdentityToken(entry.identitytoken.clone())
        } else if username.is_empty() && password.0.is_empty() {
            return Ok(None);
        } else {
            Proof::Password(password)
        };
        Ok(Some(Credentials { source, username, proof }))
    }
}

/// Docker Hub, by the name its credentials have always had.
const HUB: &str = "index.docker.io";

fn canonical(host: &str) -> &str {
    match host {
        "docker.io" | "registry-1.docker.io" => HUB,
        _ => host,
    }
}

/// The host that a key means; docker login used to store addresses.
fn normalized(key: &str, legacy: bool) -> &str {
    let address = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match address {
        Some(address) => canonical(address.split('/').next().unwrap_or_default()),
        None if legacy => canonical(key.split('/').next().unwrap_or_default()),
        None => canonical(key),
    }
}

/// `host/a/b`, `host/a`, `host`: the most specific first.
fn keys(host: &str, path: Option<&str>) -> Vec<String> {
    let full = path.map_or_else(|| host.to_owned(), |path| format!("{host}/{path}"));
    let ends = full.rmatch_indices('/').map(|(end, _)| end);
    let parents: Vec<String> =
        ends.filter_map(|end| full.get(..end)).map(ToOwned::to_owned).collect();
    std::iter::once(full.clone()).chain(parents).collect()
}

/// A file with credentials that anybody may have written: first a host, a line end, then the file.
///
/// - No secret is in a message, nor in what is shown of the file.
/// - Credentials are for a key that names the host, or its address, and no other.
#[cfg(any(test, fuzzing))]
#[allow(clippy::missing_panics_doc, reason = "a finding")]
pub fn fuzz(data: &[u8]) {
    const SECRET: &str = "hunter2";
    let Some((host, json)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    for legacy in [false, true] {
        let file = match AuthFile::parse(Path::new("auth.json"), json.as_bytes(), legacy) {
            Ok(file) => file,
            Err(error) => {
                assert!(!error.to_string().contains(SECRET), "{error}");
                continue;
            }
        };
        // Helpers are programs.
        let file = AuthFile { helpers: BTreeMap::new(), store: String::new(), ..file };
        for entry in file.auths.values() {
            let Entry { auth, password, identitytoken, .. } = entry;
            for secret in [auth, password, identitytoken] {
                assert_eq!(format!("{secret:?}"), "(secret)");
            }
        }
        let Ok(Some(found)) = file.find(host, Some("a/b")) else { continue };
        let keys = file.auths.keys().filter(|key| found.source.contains(&format!("({key})")));
        let names = |key: &String| {
            key.contains(host) || (canonical(host) == HUB && normalized(key, legacy) == HUB)
        };
        assert!(keys.into_iter().any(names), "{host:?} {}", found.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fuzzed_holds() {
        for json in [
            r#"{"auths":{"quay.io":{"auth":"aHVudGVyMjpodW50ZXIy"}}}"#,
            r#"{"auths":{"quay.io/a":{"username":"u","password":"hunter2"}}}"#,
            r#"{"auths":{"https://index.docker.io/v1/":{"identitytoken":"hunter2"}}}"#,
            r#"{"https://quay.io/v1/":{"auth":"dTpw"}}"#,
            r#"{"auths":{"x":{"auth":["hunter2"]}}}"#,
        ] {
            for host in ["quay.io", "docker.io", "x", ""] {
                fuzz(format!("{host}\n{json}").as_bytes());
            }
        }
    }

    fn file(json: &str) -> AuthFiles {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, json).unwrap();
        AuthFiles::load(Some(&path), &|_| None, 0).unwrap()
    }

    fn entry(name: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, BASE64_STANDARD.encode(format!("{name}:pw:{name}")))
    }

    fn user(files: &AuthFiles, host: &str, path: &str) -> Option<String> {
        let found = files.find(host, Some(path)).unwrap()?;
        let name = found.username;
        assert_eq!(found.proof, Proof::Password(Secret(format!("pw:{name}"))));
        Some(name)
    }

    #[test]
    fn the_most_specific_key_wins() {
        let files = file(&format!(
            r#"{{"auths":{{"quay.io":{},"quay.io/org":{},"quay.io/org/repo":{},"a:5000":{},
                "https://old.test/v1/":{},"https://index.docker.io/v1/":{}}}}}"#,
            entry("host"),
            entry("org"),
            entry("repo"),
            entry("port"),
            entry("old"),
            entry("hub"),
        ));
        for (host, path, expected) in [
            ("quay.io", "org/repo", Some("repo")),
            ("quay.io", "org/other", Some("org")),
            ("quay.io", "organic/x", Some("host")),
            ("a:5000", "x", Some("port")),
            ("a", "x", None),
            ("old.test", "x", Some("old")),
            ("docker.io", "library/x", Some("hub")),
            ("evil-quay.io", "org/repo", None),
        ] {
            assert_eq!(user(&files, host, path).as_deref(), expected, "{host}/{path}");
        }
    }

    #[test]
    fn identity_tokens_and_bad_entries() {
        let files = file(
            r#"{"auths":{"a":{"auth":"MDA6","identitytoken":"t"},"b":{"auth":"bm9jb2xvbg=="},
                "c":{"auth":"%%"},"d":{},"e":{"username":"u","password":"p"}}}"#,
        );
        let found = files.find("a", None).unwrap().unwrap();
        assert_eq!(found.proof, Proof::IdentityToken(Secret("t".to_owned())));
        assert!(files.find("b", None).is_err());
        assert!(files.find("c", None).is_err());
        assert!(files.find("d", None).unwrap().is_none());
        assert_eq!(files.find("e", None).unwrap().unwrap().username, "u");
        assert!(!format!("{files:?}").contains("MDA6"));
    }

    #[test]
    fn a_named_file_must_be_good_and_its_contents_stay_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let load = || AuthFiles::load(Some(&path), &|_| None, 0);
        assert!(matches!(load(), Err(Error::Configuration { .. })));
        std::fs::write(&path, r#"{"auths":"hunter2"}"#).unwrap();
        let error = load().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        let env = |name: &str| (name == "REGISTRY_AUTH_FILE").then(|| path.clone().into());
        assert!(AuthFiles::load(None, &env, 0).is_err());
    }

    #[test]
    fn the_usual_places_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str| match name {
            "HOME" => Some(dir.path().join("home").into()),
            "XDG_RUNTIME_DIR" => Some(dir.path().join("run").into()),
            _ => None,
        };
        let write = |path: &str, text: String| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let auths = |name| format!(r#"{{"auths":{{"r":{}}}}}"#, entry(name));
        let found = || user(&AuthFiles::load(None, &env, 0).unwrap(), "r", "x");
        assert_eq!(found(), None);
        write("home/.dockercfg", format!(r#"{{"https://r/v1/":{}}}"#, entry("legacy")));
        assert_eq!(found().unwrap(), "legacy");
        write("home/.docker/config.json", auths("docker"));
        assert_eq!(found().unwrap(), "docker");
        write("home/.config/containers/auth.json", auths("config"));
        assert_eq!(found().unwrap(), "config");
        write("run/containers/auth.json", auths("run"));
        assert_eq!(found().unwrap(), "run");
        write("run/containers/auth.json", "broken".to_owned());
        assert_eq!(found().unwrap(), "config");
    }
}
