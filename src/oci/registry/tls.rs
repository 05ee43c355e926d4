//! Which certificates a registry is checked with, and which one we show it (containers-certs.d(5)).

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use super::Error;

/// Bytes of a certificate, key or auth file.
const MAX_FILE: u64 = 1 << 20;

/// What a directory of certificates holds.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// CA certificates besides the system's (`*.crt`).
    pub roots: Vec<Certificate>,
    /// What we show the registry, certificate and key (`*.cert`, `*.key`).
    pub identity: Option<Identity>,
}

impl Certificates {
    /// Reads `cert_dir`, else the first directory there is for `host` in the usual places.
    pub fn load(
        cert_dir: Option<&Path>,
        host: &str,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        match cert_dir {
            Some(directory) => Self::read(directory),
            None => match places(host, env).into_iter().find(|place| place.is_dir()) {
                Some(directory) => Self::read(&directory),
                None => Ok(Self::default()),
            },
        }
    }

    fn read(directory: &Path) -> Result<Self, Error> {
        let broken =
            |error: std::io::Error| configuration(directory, format!("cannot read: {error}"));
        let mut files = std::fs::read_dir(directory)
            .map_err(broken)?
            .map(|entry| Ok(entry.map_err(broken)?.path()))
            .collect::<Result<Vec<PathBuf>, Error>>()?;
        files.sort();
        let mut found = Self::default();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let certificates = Certificate::from_pem_bundle(&read_bounded(&file)?)
                        .ok()
                        .filter(|certificates| !certificates.is_empty())
                        .ok_or_else(|| {
                            configuration(&file, "found no certificate, expected some in PEM")
                        })?;
                    found.roots.extend(certificates);
                }
                Some("cert") => {
                    let mut pem = read_bounded(&file)?;
                    pem.push(b'\n');
                    pem.extend(read_bounded(&file.with_extension("key"))?);
                    let identity = Identity::from_pem(&pem).map_err(|_| {
                        configuration(&file, "expected a certificate, and its key in the .key file")
                    })?;
                    if found.identity.replace(identity).is_some() {
                        return Err(configuration(
                            directory,
                            "found several *.cert files, expected one at most",
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn places(host: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(env("HOME").map(|home| PathBuf::from(home).join(".config/containers/certs.d")));
    places.extend(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from));
    for place in &mut places {
        place.push(host);
    }
    places
}

/// The contents of a small file.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    let broken = |error: std::io::Error| configuration(path, format!("cannot read: {error}"));
    let mut bytes = Vec::new();
    File::open(path).map_err(broken)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(broken)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(configuration(path, format!("found more than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// What is wrong with a file or directory of the user.
pub(super) fn configuration(path: &Path, problem: impl Into<String>) -> Error {
    Error::Configuration { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_named_must_be_good() {
        let dir = tempfile::tempdir().unwrap();
        let none = |_: &str| None;
        assert!(Certificates::load(Some(&dir.path().join("missing")), "a", &none).is_err());
        std::fs::write(dir.path().join("README"), "x").unwrap();
        std::fs::write(dir.path().join("ca.key"), "alone").unwrap();
        let found = Certificates::load(Some(dir.path()), "a", &none).unwrap();
        assert!(found.roots.is_empty() && found.identity.is_none());
        std::fs::write(dir.path().join("ca.crt"), "no certificate").unwrap();
        assert!(Certificates::load(Some(dir.path()), "a", &none).is_err());
        std::fs::write(dir.path().join("ca.crt"), vec![b'\n'; 2 << 20]).unwrap();
        assert!(Certificates::load(Some(dir.path()), "a", &none).is_err());
    }

    #[test]
    fn the_usual_place_depends_on_host_and_port() {
        let home = tempfile::tempdir().unwrap();
        let env = |name: &str| (name == "HOME").then(|| home.path().into());
        let place = home.path().join(".config/containers/certs.d/r.test:5000");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("ca.crt"), "bad").unwrap();
        assert!(Certificates::load(None, "r.test:5000", &env).is_err());
        assert!(Certificates::load(None, "r.test", &env).is_ok());
    }
}
