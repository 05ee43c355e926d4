//! Which certificates a registry is checked with, and which one we show it (containers-certs.d(5)).

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use super::Error;

/// Bytes of a certificate, key or auth file.
const MAX_FILE: u64 = 1 << 20;

/// What a directory of certificates holds.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// CA certificates besides the system's (`*.crt`).
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
}

/// What we show the registry (`*.cert`, `*.key`).
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(identity)")
    }
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
                Some("crt") => found.roots.extend(certificates(&file)?),
                Some("cert") => {
                    let path = file.with_extension("key");
                    let key = PrivateKeyDer::from_pem_slice(&read_bounded(&path)?)
                        .map_err(|_| configuration(&path, "found no private key in PEM"))?;
                    let identity = Identity { chain: certificates(&file)?, key };
                    if found.identity.replace(identity).is_some() {
                        let problem = "found several *.cert files, expected one at most";
                        return Err(configuration(directory, problem));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// How TLS is spoken. `verify`: whether the other side must prove who it is; `home`: whether
    /// it is the registry itself, which may see our certificate.
    pub fn config(&self, verify: bool, home: bool) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let roots = || self.roots.iter().cloned();
        let authorities = verify
            .then(|| Verifier::new_with_extra_roots(roots(), Arc::clone(&provider)))
            .transpose()?;
        let judge = Judge { authorities, itself: self.roots.clone(), algorithms };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge));
        let mut config = match self.identity.as_ref().filter(|_| home) {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Judges the certificate of the other side.
#[derive(Debug)]
struct Judge {
    /// The system's CAs and the user's; none accepts whatever is shown.
    authorities: Option<Verifier>,
    /// Certificates that the user gave for this very registry.
    itself: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let result = authorities.verify_server_cert(certificate, intermediates, name, ocsp, now);
        // What `openssl req -x509` makes for a registry by itself is a CA too. If the user gave
        // that very certificate, only its name is left to check: webpki looks at the dates first.
        match &result {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(problem)))
                if problem.to_string().contains("CaUsedAsEndEntity")
                    && self.itself.iter().any(|given| given == certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificates of a file in PEM; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let broken = || configuration(path, "found no certificates in PEM, expected some");
    let pem = read_bounded(path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| broken())?;
    let mut parsed = RootCertStore::empty();
    if found.is_empty() || found.iter().any(|found| parsed.add(found.clone()).is_err()) {
        return Err(broken());
    }
    Ok(found)
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
