//! What the tests of registries share: options, certificates, a real registry.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{Error, Registry, RegistryOptions, Repository, RetryPolicy};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Options that wait a hundredth of the usual time, and read none of the user's files.
pub fn options() -> RegistryOptions {
    RegistryOptions {
        tls_verify: false,
        retry: RetryPolicy {
            base: Duration::from_millis(10),
            budget: Duration::from_secs(4),
            stall: Duration::from_millis(300),
        },
        authfile: Some(empty_authfile()),
        ..RegistryOptions::default()
    }
}

fn empty_authfile() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-auth.json");
    if !path.exists() {
        // Several tests may write it at once: each writes the same.
        let own = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(own.path(), "{}").unwrap();
        own.persist(&path).unwrap();
    }
    path
}

/// The repository `a/b` of a host.
pub fn repository(host: &str) -> Repository {
    Repository { host: host.to_owned(), path: "a/b".to_owned() }
}

pub fn registry(host: &str, options: &RegistryOptions) -> Registry {
    Registry::new(&repository(host), options).unwrap()
}

/// The exit code of a failure, which must fit one line.
pub fn code<T>(result: Result<T, Error>) -> ExitCode {
    let error = result.err().expect("a failure");
    let text = error.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    assert!(!error.advice().is_empty() && error.id().starts_with("registry."));
    error.exit_code()
}

/// Writes an auth file with `user:password` for each key.
pub fn authfile(dir: &Path, entries: &[(&str, &str)]) -> PathBuf {
    use base64::Engine as _;
    let auths: serde_json::Map<String, serde_json::Value> = entries
        .iter()
        .map(|(key, pair)| {
            let auth = base64::prelude::BASE64_STANDARD.encode(pair);
            ((*key).to_owned(), serde_json::json!({ "auth": auth }))
        })
        .collect();
    let path = dir.join("auth.json");
    std::fs::write(&path, serde_json::json!({ "auths": auths }).to_string()).unwrap();
    path
}

/// Whether a test can run; says so, or fails where everything must run.
pub fn available(what: &str, is_there: bool) -> bool {
    if !is_there {
        assert!(std::env::var_os("O2S_REQUIRE_SHARED").is_none(), "missing: {what}");
        println!("not run: {} (no {what})", std::thread::current().name().unwrap_or_default());
    }
    is_there
}

/// A tool of `PATH`, else one that `.ci/setup test` unpacked.
fn tool(name: &str) -> Option<PathBuf> {
    let unpacked = std::env::var_os("O2S_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["forky/bin", "trixie/bin"].map(|suite| unpacked.join(suite)))
        .map(|directory| directory.join(name))
        .find(|file| file.exists())
}

pub fn has_tools(tools: &[&str]) -> bool {
    tools.iter().all(|name| available(name, tool(name).is_some()))
}

/// A file or directory of the shared data.
pub fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("O2S_SHARED").map(PathBuf::from);
    root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join(path)
}

/// A CA and certificates that it signed, made by openssl.
pub struct Ca {
    pub dir: tempfile::TempDir,
}

impl Ca {
    pub fn new() -> Option<Self> {
        if !has_tools(&["openssl"]) {
            return None;
        }
        let ca = Self { dir: tempfile::tempdir().unwrap() };
        ca.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key \
             -out ca.crt -days 30 -subj /CN=test-CA -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign",
        );
        std::fs::create_dir(ca.path("certs.d")).unwrap();
        std::fs::copy(ca.path("ca.crt"), ca.path("certs.d/ca.crt")).unwrap();
        ca.certificate("server", "IP:127.0.0.1,DNS:localhost", 30);
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
        std::fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "x509 -req -in {name}.csr {signer} -out {name}.crt -extfile extensions -days {days}"
        ));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `--cert-dir` takes.
    pub fn cert_dir(&self) -> PathBuf {
        self.path("certs.d")
    }

    /// What a server needs to show the certificate of a name; `clients` must show one of ours.
    pub fn server(&self, name: &str, clients: bool) -> Arc<rustls::ServerConfig> {
        let read = |file: String| CertificateDer::from_pem_file(self.path(&file)).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let config = if clients {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(read("ca.crt".to_owned())).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots));
            rustls::ServerConfig::builder().with_client_cert_verifier(verifier.build().unwrap())
        } else {
            rustls::ServerConfig::builder().with_no_client_auth()
        };
        Arc::new(config.with_single_cert(vec![read(format!("{name}.crt"))], key).unwrap())
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_ascii_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Debian's docker-registry, until it is dropped.
pub struct Distribution {
    pub host: String,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Distribution {
    /// `storage`: what it has already. `extra`: lines of its configuration, below `http:` for
    /// those that are indented.
    pub fn start(storage: Option<&Path>, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        match storage {
            Some(storage) => {
                let status = Command::new("cp").arg("-r").args([storage, &data]).status();
                assert!(status.unwrap().success());
            }
            None => std::fs::create_dir(&data).unwrap(),
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {host}\n{extra}",
            data.display()
        );
        let path = dir.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new(tool("docker-registry").unwrap())
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { host, child, _dir: dir };
        let started = Instant::now();
        while TcpStream::connect(&registry.host).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
