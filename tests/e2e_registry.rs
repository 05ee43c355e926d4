//! Images in a real registry with TLS and credentials, signed by real signers.

mod common;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::ca::Ca;
use common::command::{Outcome, Workdir};
use common::hub::{Hub, TAG};
use common::layout::{Image, Layout, REPOSITORY, payload};
use common::registry::{Options, PASSWORD, Registry, USER};
use common::sign::{Key, Signer};
use common::tarball::Tarball;
use common::{need, tools};
use serde_json::json;

/// A registry with TLS of a CA of its own and a password, and the files that open it.
struct Private {
    registry: Registry,
    work: Workdir,
}

impl Private {
    fn start() -> Option<Self> {
        tools::newest("skopeo").and(tools::system("openssl"))?;
        let options = Options { tls: true, basic: true, ..Options::default() };
        let private = Self { registry: Registry::start(&options)?, work: Workdir::new() };
        fs::write(private.auth_file(), private.credentials(PASSWORD)).expect("a written file");
        Some(private)
    }

    fn auth_file(&self) -> PathBuf {
        self.work.path("auth.json")
    }

    /// What `skopeo login` writes.
    fn credentials(&self, password: &str) -> String {
        let auth = STANDARD.encode(format!("{USER}:{password}"));
        let mut auths = serde_json::Map::new();
        auths.insert(self.registry.address().to_owned(), json!({ "auth": auth }));
        json!({ "auths": auths }).to_string()
    }

    fn push_signed(&self, signer: Signer, name: &str) -> Key {
        let key = signer.new_key().expect("a key");
        let layout = tempfile::tempdir().expect("a temporary directory");
        signer.push_signed(&self.registry, &key, &common::sample_image(layout.path()), name);
        key
    }

    /// The arguments that convert an image.
    fn arguments(&self, name: &str, key: &Path) -> Vec<String> {
        let mut arguments = self.without_credentials(name, key);
        arguments.push(format!("--authfile={}", self.auth_file().display()));
        arguments
    }

    fn without_credentials(&self, name: &str, key: &Path) -> Vec<String> {
        vec![
            format!("{}/{name}", self.registry.address()),
            "--force".to_owned(),
            "-o".to_owned(),
            "sample.raw".to_owned(),
            format!("--key={}", key.display()),
            self.work.state(),
            format!("--cert-dir={}", self.registry.cert_dir().display()),
        ]
    }
}

/// cosign 2, cosign 3, skopeo, openssl: each signature is accepted with its key only.
#[test]
fn the_signature_of_each_signer_is_accepted() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let stranger = Signer::OpenSsl.new_key().unwrap();
    for signer in Signer::ALL {
        if signer.program().is_none() || signer.new_key().is_none() {
            common::data::say_not_run(&format!("no {signer:?}"));
            continue;
        }
        let name = format!("test/{}:1.sample", format!("{signer:?}").to_lowercase());
        let key = private.push_signed(signer, &name);
        private.work.refuses(4, private.arguments(&name, &stranger.public()));
        private.work.converts(private.arguments(&name, &key.public()));
        fs::remove_file(private.work.out("sample.raw")).unwrap();
    }
}

/// A reference by digest is the image itself; another digest is nothing the registry has.
#[test]
fn a_reference_by_digest_converts() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let key = private.push_signed(Signer::OpenSsl, "test/digest:1.sample");
    let skopeo = tools::newest("skopeo").unwrap();
    let digest = private.registry.digest(&skopeo, "test/digest:1.sample");
    for name in [format!("test/digest@{digest}"), format!("test/digest:1.sample@{digest}")] {
        private.work.converts(private.arguments(&name, &key.public()));
    }
    let other = format!("test/digest@sha256:{}", "0".repeat(64));
    private.work.refuses(10, private.arguments(&other, &key.public()));
}

/// Credentials are found where podman and skopeo users keep them; without them: 11.
#[test]
fn credentials_come_from_the_usual_places() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let name = "test/auth:1.sample";
    let key = private.push_signed(Signer::OpenSsl, name);
    let work = &private.work;
    let bare = private.without_credentials(name, &key.public());
    work.refuses(11, &bare);

    let wrong = work.path("wrong.json");
    fs::write(&wrong, private.credentials("wrong")).unwrap();
    let refused =
        work.refuses(11, bare.iter().cloned().chain([format!("--authfile={}", wrong.display())]));
    assert!(!refused.stderr.contains("wrong\""), "the password is in {refused:#?}");

    work.converts(private.arguments(name, &key.public()));
    let by_environment = |variable: &str, value: PathBuf| {
        let outcome = Outcome::of(work.command().args(&bare).env(variable, value));
        assert_eq!(outcome.code, 0, "{variable}: {outcome:#?}");
    };
    by_environment("REGISTRY_AUTH_FILE", private.auth_file());
    let runtime = work.path("runtime");
    fs::create_dir_all(runtime.join("containers")).unwrap();
    fs::copy(private.auth_file(), runtime.join("containers/auth.json")).unwrap();
    by_environment("XDG_RUNTIME_DIR", runtime);
    let docker = work.path("docker");
    fs::create_dir_all(&docker).unwrap();
    fs::copy(private.auth_file(), docker.join("config.json")).unwrap();
    by_environment("DOCKER_CONFIG", docker);
}

/// A credential helper is asked for the host, and what it answers is used.
#[test]
fn a_credential_helper_is_asked() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let name = "test/helper:1.sample";
    let key = private.push_signed(Signer::OpenSsl, name);
    let work = &private.work;
    let bin = work.path("bin");
    fs::create_dir(&bin).unwrap();
    let helper = bin.join("docker-credential-o2s-test");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] || exit 1\nhost=$(cat)\n\
         echo '{{\"ServerURL\":\"'\"$host\"'\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let mut helpers = serde_json::Map::new();
    helpers.insert(private.registry.address().to_owned(), json!("o2s-test"));
    let auth = work.path("helpers.json");
    fs::write(&auth, json!({ "credHelpers": helpers }).to_string()).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = work.command();
    command.args(private.without_credentials(name, &key.public())).env("PATH", path);
    let outcome = Outcome::of(command.arg(format!("--authfile={}", auth.display())));
    assert_eq!(outcome.code, 0, "{outcome:#?}");
}

/// A proxy that leads every tunnel (CONNECT) to `registry`; gives its address and what it was asked.
fn tunnels(registry: &str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let registry = registry.to_owned();
    let (asked, seen) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a client");
            let registry = TcpStream::connect(&registry).expect("the registry");
            let asked = asked.clone();
            // A client that goes away ends its tunnel, and no test.
            thread::spawn(move || tunnel(client, &registry, &asked));
        }
    });
    (address, seen)
}

fn tunnel(
    mut client: TcpStream,
    mut registry: &TcpStream,
    asked: &mpsc::Sender<String>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    while reader.read_line(&mut request)? > 2 {}
    let _ = asked.send(request);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let mut answers = registry.try_clone()?;
    thread::spawn(move || {
        let copied = io::copy(&mut answers, &mut client);
        client.shutdown(Shutdown::Both).and(copied)
    });
    io::copy(&mut reader, &mut registry)?;
    registry.shutdown(Shutdown::Write)
}

/// Behind a proxy, which alone can resolve the name: TLS is with the registry all the same, and
/// only the proxy hears the proxy's password.
#[test]
fn a_proxy_leads_to_the_registry() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let key = private.push_signed(Signer::OpenSsl, "test/proxy:1.sample");
    let address = private.registry.address();
    let (proxy, asked) = tunnels(address);
    let credentials = private.credentials(PASSWORD).replace(address, "registry.test");
    fs::write(private.auth_file(), credentials).unwrap();
    let mut arguments = private.arguments("test/proxy:1.sample", &key.public());
    arguments[0] = "registry.test/test/proxy:1.sample".to_owned();
    arguments.push(format!("--signed-identity={address}/test/proxy"));

    let mut command = private.work.command();
    command.env("HTTPS_PROXY", format!("http://someone:word@{proxy}"));
    let outcome = Outcome::of(command.args(&arguments));
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let asked = asked.try_iter().collect::<Vec<_>>();
    assert!(!asked.is_empty());
    let word = format!("basic {}", STANDARD.encode("someone:word")).to_lowercase();
    for request in asked {
        assert!(request.starts_with("CONNECT registry.test:443 HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains(&format!("proxy-authorization: {word}\r\n")));
    }
    assert!(private.work.out("sample.raw").is_file());

    // Without it there is no such name; nor is there with a proxy that is not there.
    private.work.refuses(10, &arguments);
}

/// Docker Hub: its several names are one, and `library/` need not be written.
#[test]
fn docker_hub_is_asked_by_its_own_names() {
    let (key, ca) = need!(Signer::OpenSsl.new_key().zip(Ca::new()), "no openssl");
    ca.certificate("hub", "DNS:registry-1.docker.io", 30);
    let image = Image::new(&Tarball::minimal().finish());
    let signed_as = |name: &str| {
        let mut layout = Layout::new();
        let digest = layout.add_image(&image);
        let payload = payload(&digest).replace(REPOSITORY, name);
        layout.add_signatures(&[(payload.as_bytes(), &key.sign(payload.as_bytes()))]);
        layout
    };
    for (typed, signed, code) in [
        ("docker.io/alpine", "docker.io/library/alpine", 0),
        ("docker.io/alpine", "index.docker.io/library/alpine", 0),
        ("docker.io/alpine", "alpine", 0),
        ("docker.io/library/alpine", "docker.io/alpine", 0),
        ("index.docker.io/alpine", "docker.io/library/alpine", 0),
        ("index.docker.io/library/alpine", "index.docker.io/library/alpine", 0),
        ("registry-1.docker.io/library/alpine", "docker.io/library/alpine", 0),
        ("registry-1.docker.io/alpine", "registry-1.docker.io/library/alpine", 0),
        ("docker.io/alpine", "docker.io/user/alpine", 5),
        ("docker.io/alpine", "quay.io/library/alpine", 5),
        ("docker.io/user/alpine", "docker.io/library/alpine", 5),
    ] {
        let hub = Hub::failing_tls(ca.server("hub", false), &signed_as(signed), |_, _, it| it);
        let (proxy, asked) = tunnels(&hub.server.host());
        let work = Workdir::new();
        let mut command = work.command();
        command.env("HTTPS_PROXY", format!("http://{proxy}"));
        command.arg(format!("{typed}:{TAG}")).arg(format!("--key={}", key.public().display()));
        command.arg(format!("--cert-dir={}", ca.cert_dir().display())).args(["-o", "a.raw"]);
        if code == 0 {
            work.converts_command(&mut command);
        } else {
            work.refuses_command(code, &mut command);
        }
        for request in asked.try_iter() {
            assert!(request.starts_with("CONNECT registry-1.docker.io:443 "), "{request}");
        }
        let path = if typed.contains("user") { "/v2/user/alpine/" } else { "/v2/library/alpine/" };
        let requests = hub.server.requests();
        assert!(!requests.is_empty() && requests.iter().all(|it| it.path.starts_with(path)));
    }
}

/// Who the registry is must be certain (row 80), unless the user waives it.
#[test]
fn a_registry_of_an_unknown_authority_is_refused() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let name = "test/tls:1.sample";
    let key = private.push_signed(Signer::OpenSsl, name);
    let mut arguments = private.arguments(name, &key.public());
    arguments.retain(|argument| !argument.starts_with("--cert-dir"));
    private.work.refuses(10, &arguments);
    private.work.converts(arguments.iter().map(String::as_str).chain(["--tls-verify=false"]));

    let other = need!(Registry::start(&Options::default()), "no docker-registry");
    let plain = format!("{}/{name}", other.address());
    private
        .work
        .refuses(10, [plain.as_str(), "--force", "--key", &key.public().display().to_string()]);
}

/// One reference, two architectures: the index is signed, and `--platform` chooses (P4, P5).
#[test]
fn an_index_gives_the_image_of_the_platform() {
    let private = need!(Private::start(), "no docker-registry, htpasswd, openssl or skopeo");
    let mut layout = Layout::new();
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut image = Image::new(&Tarball::minimal().finish());
        if let Some(found) = image.config.get_mut("architecture") {
            *found = json!(architecture);
        }
        let digest = layout.add_image(&image);
        let size = fs::metadata(layout.blob(&digest)).unwrap().len();
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    let digest = layout.add_document(&index.to_string(), media_type, "index");

    let skopeo = tools::newest("skopeo").unwrap();
    let directory = layout.reference().trim_start_matches("oci:").to_owned();
    tools::shell(
        "jq '.manifests |= map(select(.annotations.kind == \"index\"))' \"$1/index.json\" >\"$1/new\"
         mv \"$1/new\" \"$1/index.json\"",
        [&directory],
    );
    let target = format!("{}/test/index", private.registry.address());
    let mut copy = Command::new(&skopeo);
    copy.args(["copy", "-q", "--all", "--preserve-digests"]);
    copy.args(private.registry.skopeo_flags("dest-"));
    tools::check(copy.arg(layout.reference()).arg(format!("docker://{target}:1.tool")));
    let key = Signer::OpenSsl.new_key().unwrap();
    common::sign::sign_with_openssl(&skopeo, &private.registry, &key, "test/index", &digest);

    let arguments = private.arguments("test/index:1.tool", &key.public());
    for (platform, architecture) in [("linux/amd64", "x86-64"), ("linux/arm64", "arm64")] {
        let more = ["--platform", platform, "--json"];
        let outcome = private.work.converts(arguments.iter().map(String::as_str).chain(more));
        let line = format!("ARCHITECTURE={architecture}");
        assert!(outcome.stdout.contains(&line), "{line} in {outcome:#?}");
    }
    let more = ["--platform", "linux/s390x"];
    let refused = private.work.refuses(7, arguments.iter().map(String::as_str).chain(more));
    for there in ["linux/amd64", "linux/arm64"] {
        assert!(refused.stderr.contains(there), "{there} in {refused:#?}");
    }
}
