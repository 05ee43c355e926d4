//! A certificate authority and certificates that it signed, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use super::tools;

/// A CA; its files go with it.
#[derive(Debug)]
pub struct Ca {
    directory: TempDir,
}

impl Ca {
    /// A new CA and the certificate `server` for this machine, if there is an openssl.
    pub fn new() -> Option<Self> {
        tools::system("openssl")?;
        let ca = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        ca.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key \
             -out ca.crt -days 30 -subj /CN=test-CA -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign",
        );
        std::fs::create_dir(ca.path("certs.d")).expect("a new directory");
        std::fs::copy(ca.path("ca.crt"), ca.path("certs.d/ca.crt")).expect("a copied file");
        ca.certificate("server", "DNS:localhost,DNS:registry.test,IP:127.0.0.1,IP:::1", 30);
        Some(ca)
    }

    /// Makes NAME.crt and NAME.key for some names.
    pub fn certificate(&self, name: &str, names: &str, days: i32) {
        self.sign(name, names, days, "FALSE", "-CA ca.crt -CAkey ca.key -CAcreateserial");
    }

    /// Makes NAME.crt and NAME.key, signed by itself, as the manuals of registries say.
    pub fn self_signed(&self, name: &str, names: &str, days: i32) {
        self.sign(name, names, days, "TRUE", &format!("-signkey {name}.key"));
    }

    /// Makes NAME.crt and NAME.key for RSA, which every token service's library can use.
    pub fn self_signed_rsa(&self, name: &str) {
        self.openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.crt -days 30 \
             -subj /CN={name}"
        ));
    }

    fn sign(&self, name: &str, names: &str, days: i32, is_ca: &str, signer: &str) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -out {name}.csr -subj /CN={name}"
        ));
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:{is_ca}\n");
        std::fs::write(self.path("extensions"), extensions).expect("a written file");
        self.openssl(&format!(
            "x509 -req -in {name}.csr {signer} -out {name}.crt -extfile extensions -days {days}"
        ));
    }

    /// A file of the CA.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What `--cert-dir` takes.
    pub fn cert_dir(&self) -> PathBuf {
        self.path("certs.d")
    }

    /// What a server needs to show the certificate of a name; `clients` must show one of ours.
    pub fn server(&self, name: &str, clients: bool) -> Arc<rustls::ServerConfig> {
        let read = |file: &Path| CertificateDer::from_pem_file(file).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("a key");
        let config = if clients {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(read(&self.path("ca.crt"))).expect("a CA");
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots));
            rustls::ServerConfig::builder()
                .with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            rustls::ServerConfig::builder().with_no_client_auth()
        };
        let chain = vec![read(&self.path(&format!("{name}.crt")))];
        Arc::new(config.with_single_cert(chain, key).expect("a certificate with its key"))
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split_ascii_whitespace());
        tools::check(openssl.current_dir(self.directory.path()));
    }
}
