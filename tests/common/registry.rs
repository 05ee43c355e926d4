//! A real registry on a loopback port: Debian's docker-registry (Fedora's is called `registry`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::ca::Ca;
use super::tools;

/// The user of a registry that asks for one.
pub const USER: &str = "tester";
/// The password of a registry that asks for one.
pub const PASSWORD: &str = "s3cret";

/// What a registry should be like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Speak TLS, with a certificate of a CA of its own.
    pub tls: bool,
    /// Ask for [`USER`] and [`PASSWORD`] (basic authentication).
    pub basic: bool,
    /// Ask for tokens: the `token` section of its configuration.
    pub token: Option<String>,
    /// Start with a copy of this storage.
    pub storage: Option<PathBuf>,
}

/// A running registry; dropping it stops it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    root: TempDir,
    ca: Option<Ca>,
    address: String,
}

impl Registry {
    /// Starts a registry, if there is one to be started. A fixed port that is taken is waited for.
    pub fn start(options: &Options) -> Option<Self> {
        let program = tools::newest("docker-registry").or_else(|| tools::system("registry"))?;
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().display();
        if let Some(storage) = &options.storage {
            tools::shell("cp -r \"$1\" \"$2\"", [storage.clone(), root.path().join("data")]);
        }
        let ca = if options.tls { Some(Ca::new()?) } else { None };
        let tls = ca.as_ref().map_or_else(String::new, |ca| {
            let [certificate, key] = ["server.crt", "server.key"].map(|name| ca.path(name));
            format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display())
        });
        let mut auth = String::new();
        if let Some(token) = &options.token {
            auth = format!("auth: {{token: {{{token}}}}}\n");
        }
        if options.basic {
            let htpasswd = tools::system("htpasswd")?;
            let line = tools::run(&htpasswd, ["-Bbn", USER, PASSWORD]);
            fs::write(root.path().join("htpasswd"), line).expect("a written file");
            auth = format!("auth: {{htpasswd: {{realm: test, path: {path}/htpasswd}}}}\n");
        }
        let port = options.port;
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n{tls}{auth}"
        );
        fs::write(root.path().join("config.yml"), config).expect("a written file");

        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match serve(&program, root.path()) {
                Ok((child, address)) => return Some(Self { child, root, ca, address }),
                Err(log) => {
                    assert!(Instant::now() < deadline, "the registry does not start: {log}");
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Host and port, as references name them.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The registry's CA, if it speaks TLS.
    pub fn ca(&self) -> Option<&Ca> {
        self.ca.as_ref()
    }

    /// The certificate of the registry's CA, alone in a directory as `--cert-dir` wants it.
    pub fn cert_dir(&self) -> PathBuf {
        self.ca.as_ref().expect("a registry with TLS").cert_dir()
    }

    /// The lines that the registry logged, requests among them.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).expect("a readable log")
    }

    /// Copies an image from elsewhere (`oci:…`, `dir:…`) to `name` in this registry, bit for bit.
    pub fn push(&self, skopeo: &Path, source: &str, name: &str) {
        let mut command = Command::new(skopeo);
        command.args(["copy", "-q", "--preserve-digests"]).args(self.skopeo_flags("dest-"));
        tools::check(command.arg(source).arg(format!("docker://{}/{name}", self.address)));
    }

    /// The digest of an image in this registry.
    pub fn digest(&self, skopeo: &Path, name: &str) -> String {
        let mut command = Command::new(skopeo);
        command.args(["inspect", "--format", "{{.Digest}}"]).args(self.skopeo_flags(""));
        tools::check(command.arg(format!("docker://{}/{name}", self.address))).trim().to_owned()
    }

    /// How skopeo reaches this registry; `prefix` is `src-`, `dest-` or empty.
    pub fn skopeo_flags(&self, prefix: &str) -> Vec<String> {
        let mut flags = vec![format!("--{prefix}creds={USER}:{PASSWORD}")];
        flags.push(match &self.ca {
            Some(ca) => format!("--{prefix}cert-dir={}", ca.cert_dir().display()),
            None => format!("--{prefix}tls-verify=false"),
        });
        flags
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Starts the program and waits for the line that tells its address; its log if it ends instead.
fn serve(program: &Path, root: &Path) -> Result<(Child, String), String> {
    let log = root.join("log");
    let file = File::create(&log).expect("a new log");
    // The shell outlives a test that is killed, and ends the registry when our end of its
    // standard input is gone.
    let script =
        "exec 3<&0; \"$0\" serve \"$1\" </dev/null & cat <&3 >/dev/null & wait -n; kill $(jobs -p)";
    let mut child = Command::new("bash")
        .args(["-c", script])
        .args([program, &root.join("config.yml")])
        .stdin(Stdio::piped())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .spawn()
        .expect("the registry starts");
    loop {
        let text = fs::read_to_string(&log).expect("a readable log");
        if let Some((_, rest)) = text.split_once("listening on ") {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
            if let Some(address) = end.and_then(|end| rest.get(..end)) {
                return Ok((child, address.to_owned()));
            }
        }
        if child.try_wait().expect("a child").is_some() {
            return Err(text);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes an auth file with `user:password` for each key.
pub fn authfile(directory: &Path, entries: &[(&str, &str)]) -> PathBuf {
    let entry = |(key, pair): &(&str, &str)| {
        ((*key).to_owned(), serde_json::json!({ "auth": STANDARD.encode(pair) }))
    };
    let auths: serde_json::Map<String, serde_json::Value> = entries.iter().map(entry).collect();
    let path = directory.join("auth.json");
    fs::write(&path, serde_json::json!({ "auths": auths }).to_string()).expect("a written file");
    path
}
