//! Who gets which credentials: rows 76 and 79, token services, helpers, proxies.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use oci2sysext::error::ExitCode;
use oci2sysext::oci::{Error, ManifestName, RegistryOptions};

use crate::common::ca::Ca;
use crate::common::faults::{Reply, Request, Server, descriptor, noise};
use crate::common::registry::authfile;
use crate::common::{need, tools as outside};
use crate::tools::{code, options, registry};

/// `user:pass`
const USER: &str = "Basic dXNlcjpwYXNz";

/// A registry that wants `Bearer good`, and says where to get it.
fn bearer(realm: &str) -> impl Fn(&Request, usize) -> Reply + Send + Sync + 'static {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"ignored:x:push\"");
    move |request, _| match request.header("authorization") {
        Some("Bearer good") => Reply::ok("{}"),
        _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge),
    }
}

fn ask(server: &Server, options: &RegistryOptions) -> Result<(), Error> {
    registry(&server.host(), options).manifest(ManifestName::Tag("latest")).map(|_| ())
}

#[test]
fn a_token_service_of_the_registry_gets_its_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Server::http(|_, _| Reply::ok(r#"{"token":"good","expires_in":300}"#));
    let server = Server::http(bearer(&tokens.url("127.0.0.1", "/token?x=y")));
    let mut options = options();
    options.authfile = Some(authfile(dir.path(), &[(&server.host(), "user:pass")]));
    let mut registry = registry(&server.host(), &options);
    for _ in 0..3 {
        registry.manifest(ManifestName::Tag("latest")).unwrap().unwrap();
    }
    let asked = tokens.requests();
    assert_eq!(asked.len(), 1, "a token is used until its end");
    assert_eq!(asked[0].header("authorization"), Some(USER));
    assert_eq!(
        asked[0].path,
        "/token?x=y&service=test&scope=repository%3Aa%2Fb%3Apull&account=user"
    );
    // The ping, a challenge, then three times the manifest.
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn without_credentials_a_token_is_asked_for_anonymously() {
    let tokens = Server::http(|_, _| Reply::ok(r#"{"access_token":"good"}"#));
    let server = Server::http(bearer(&tokens.url("127.0.0.1", "/token")));
    ask(&server, &options()).unwrap();
    assert_eq!(tokens.requests()[0].header("authorization"), None);
}

#[test]
fn an_identity_token_is_posted() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Server::http(|request, _| match request.body.as_str() {
        body if body.contains("refresh_token=r%2Fs&") => Reply::ok(r#"{"access_token":"good"}"#),
        _ => Reply::error(401, "UNAUTHORIZED"),
    });
    let server = Server::http(bearer(&tokens.url("127.0.0.1", "/token")));
    let path = dir.path().join("auth.json");
    let auths = serde_json::json!({"auths": {server.host(): {"identitytoken": "r/s"}}});
    std::fs::write(&path, auths.to_string()).unwrap();
    ask(&server, &RegistryOptions { authfile: Some(path), ..options() }).unwrap();
    let asked = tokens.requests().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/token"));
    assert!(asked.body.contains("scope=repository%3Aa%2Fb%3Apull"), "{}", asked.body);
}

#[test]
fn row_76_a_token_that_ends_in_the_middle_of_a_blob_is_renewed() {
    let blob = noise(10_000);
    for (tokens_given, expected) in [(2, None), (1, Some(ExitCode::Auth))] {
        let given = Arc::new(AtomicUsize::new(0));
        let tokens = Server::http({
            let given = Arc::clone(&given);
            move |_, _| {
                let number = given.fetch_add(1, Ordering::SeqCst);
                Reply::ok(format!(r#"{{"token":"t{}"}}"#, number.min(tokens_given - 1)))
            }
        });
        let challenge = format!("Bearer realm=\"{}\"", tokens.url("127.0.0.1", "/token"));
        let content = blob.clone();
        let server = Server::http(move |request, _| {
            let token = request.header("authorization").unwrap_or_default().to_owned();
            match (request.range_start(), token.as_str()) {
                _ if request.path == "/v2/" => Reply::ok(""),
                (None, "Bearer t0") => Reply::blob(request, &content).cut(5000),
                (Some(_), "Bearer t1") => Reply::blob(request, &content),
                _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge),
            }
        });
        let mut registry = registry(&server.host(), &options());
        let result = registry.blob_bytes(&descriptor(&blob), 1 << 20);
        match expected {
            None => assert_eq!(result.unwrap(), blob),
            Some(expected) => assert_eq!(code(result), expected),
        }
        assert_eq!(given.load(Ordering::SeqCst), 2, "once for each request");
    }
}

#[test]
fn row_79_a_realm_on_http_is_refused() {
    let ca = need!(Ca::new(), "no openssl");
    let dir = tempfile::tempdir().unwrap();
    let tokens = Server::http(|_, _| Reply::ok(r#"{"token":"good"}"#));
    let realm = tokens.url("127.0.0.1", "/token");
    let server = Server::https(ca.server("server", false), bearer(&realm));
    for tls_verify in [true, false] {
        let options = RegistryOptions {
            tls_verify,
            cert_dir: Some(ca.cert_dir()),
            authfile: Some(authfile(dir.path(), &[(&server.host(), "user:pass")])),
            ..options()
        };
        assert_eq!(code(ask(&server, &options)), ExitCode::Auth);
    }
    assert!(tokens.requests().is_empty());
}

#[test]
fn row_79_a_foreign_realm_gets_no_credentials_but_its_own() {
    let ca = need!(Ca::new(), "no openssl");
    let dir = tempfile::tempdir().unwrap();
    let start = |host: &str| {
        let tokens =
            Server::https(ca.server("server", false), |_, _| Reply::ok(r#"{"token":"good"}"#));
        let realm = tokens.url(host, "/token");
        let server = Server::https(ca.server("server", false), bearer(&realm));
        (tokens, server)
    };
    // `localhost` is not `127.0.0.1`, and has no registrable domain.
    for (host, own_entry, expected) in [
        ("localhost", false, None),
        ("localhost", true, Some("Basic b3duOnNlY3JldA==")),
        ("127.0.0.1", false, Some(USER)),
    ] {
        let (tokens, server) = start(host);
        let realm_host = format!("{host}:{}", tokens.address.port());
        let registry_host = server.host();
        let mut entries = vec![(registry_host.as_str(), "user:pass")];
        if own_entry {
            entries.push((&realm_host, "own:secret"));
        }
        let options = RegistryOptions {
            tls_verify: true,
            cert_dir: Some(ca.cert_dir()),
            authfile: Some(authfile(dir.path(), &entries)),
            ..options()
        };
        ask(&server, &options).unwrap();
        assert_eq!(tokens.requests()[0].header("authorization"), expected, "{host}");
        assert_eq!(tokens.requests()[0].path.contains("user"), expected == Some(USER));
    }
}

#[test]
fn token_services_that_fail() {
    for (reply, expected) in [
        (Reply::error(401, "UNAUTHORIZED"), ExitCode::Auth),
        (Reply::error(403, "DENIED"), ExitCode::Auth),
        // A 404 here must not look like an image without signatures.
        (Reply::error(404, "MANIFEST_UNKNOWN"), ExitCode::Auth),
        (Reply::new(400, ""), ExitCode::Auth),
        (Reply::ok("{}"), ExitCode::Auth),
        (Reply::ok("no JSON"), ExitCode::Auth),
        (Reply::ok(r#"{"token":"a b"}"#), ExitCode::Auth),
        (Reply::ok(vec![b' '; 2 << 20]), ExitCode::Auth),
        (Reply::redirect("http://169.254.169.254/"), ExitCode::Auth),
        (Reply::ok(r#"{"token":"bad"}"#), ExitCode::Auth),
        (Reply::error(503, "UNAVAILABLE"), ExitCode::Network),
    ] {
        let shown = format!("{} {:.40}", reply.status, String::from_utf8_lossy(&reply.body));
        let tokens = Server::http(move |_, _| reply.clone());
        let server = Server::http(bearer(&tokens.url("127.0.0.1", "/token")));
        let mut options = options();
        options.retry.budget = std::time::Duration::from_millis(100);
        assert_eq!(code(ask(&server, &options)), expected, "{shown}");
    }
}

#[test]
fn realms_that_are_none() {
    for challenge in [
        "Bearer",
        "Bearer realm=\"\"",
        "Bearer realm=\"/token\"",
        "Bearer realm=\"ftp://127.0.0.1/\"",
        "Bearer realm=\"http://169.254.169.254/token\"",
        "Bearer realm=\"http://127.0.0.1:1/\", Bearer realm=\"http://127.0.0.1:2/\"",
        "Negotiate",
        "Basic realm=\"unclosed",
    ] {
        let server = Server::http(move |_, _| {
            Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge)
        });
        assert_eq!(code(ask(&server, &options())), ExitCode::Auth, "{challenge}");
        assert_eq!(server.requests().len(), 2);
    }
    let server = Server::http(|_, _| Reply::error(401, "UNAUTHORIZED"));
    assert_eq!(code(ask(&server, &options())), ExitCode::Auth);
}

#[test]
fn wrong_credentials_are_refused_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::http(|_, _| {
        Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"test\"")
    });
    let mut options = options();
    options.authfile = Some(authfile(dir.path(), &[(&server.host(), "user:hunter2")]));
    let mut registry = registry(&server.host(), &options);
    let result = registry.manifest(ManifestName::Tag("latest"));
    let text = format!("{} {:?} {registry:?}", result.as_ref().unwrap_err(), result);
    assert!(text.contains("auth.json"), "{text}");
    // As it is, and as it is sent.
    assert!(!text.contains("hunter2") && !text.contains("dXNlcjpodW50ZXIy"), "{text}");
    assert_eq!(code(result), ExitCode::Auth);
    // The ping, without, and with.
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn an_auth_file_that_is_named_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let options = RegistryOptions { authfile: Some(dir.path().join("missing")), ..options() };
    let repository = crate::tools::repository("localhost:1");
    assert_eq!(code(oci2sysext::oci::Registry::new(&repository, &options)), ExitCode::Trust);
    let options = RegistryOptions { cert_dir: Some(dir.path().join("missing")), ..self::options() };
    assert_eq!(code(oci2sysext::oci::Registry::new(&repository, &options)), ExitCode::Trust);
}

/// Runs one ignored test of this file in a process of its own, with an environment of its own.
fn in_child(test: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", &format!("credentials::{test}")])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_credential_helper_is_asked() {
    need!(outside::system("sh"), "no sh");
    let dir = tempfile::tempdir().unwrap();
    let helper = |name: &str, script: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\nread -r server\n{script}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    helper("good", r#"[ "$1" = get ] && echo '{"Username":"user","Secret":"pass"}'"#);
    helper("none", "echo credentials not found in native keychain; exit 1");
    helper("bad", "echo hunter2; exit 1");
    helper("long", "head -c 100000 /dev/zero");
    helper("junk", "echo hunter2");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    in_child("helpers_in_the_path", &[("PATH", &path)]);
}

#[test]
#[ignore = "run by a_credential_helper_is_asked"]
fn helpers_in_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::http(|request, _| match request.header("authorization") {
        Some(USER) => Reply::ok("{}"),
        _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"test\""),
    });
    let ask = |json: serde_json::Value| {
        let path = dir.path().join("auth.json");
        std::fs::write(&path, json.to_string()).unwrap();
        ask(&server, &RegistryOptions { authfile: Some(path), ..options() })
    };
    let host = server.host();
    ask(serde_json::json!({"credHelpers": {&host: "good"}})).unwrap();
    ask(serde_json::json!({"credsStore": "good", "auths": {&host: {}}})).unwrap();
    assert_eq!(code(ask(serde_json::json!({"credHelpers": {&host: "none"}}))), ExitCode::Auth);
    assert_eq!(code(ask(serde_json::json!({"credsStore": "missing"}))), ExitCode::Auth);
    for name in ["bad", "long", "junk", "missing", "../good", ""] {
        let result = ask(serde_json::json!({"credHelpers": {&host: name}}));
        assert!(!format!("{result:?}").contains("hunter2"));
        assert_eq!(code(result), ExitCode::Trust, "{name}");
    }
}

#[test]
fn a_proxy_is_used_except_for_this_host() {
    let hosts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&hosts);
    let proxy = Server::http(move |request, _| {
        seen.lock().unwrap().push(request.path.clone());
        Reply::ok("{}")
    });
    let address = format!("http://{}", proxy.host());
    in_child("through_the_proxy", &[("HTTP_PROXY", &address), ("NO_PROXY", "direct.invalid")]);
    let hosts = hosts.lock().unwrap();
    assert!(hosts.iter().any(|host| host == "http://registry.invalid/v2/a/b/manifests/latest"));
    assert!(hosts.iter().all(|host| host.starts_with("http://registry.invalid/")), "{hosts:?}");
}

#[test]
#[ignore = "run by a_proxy_is_used_except_for_this_host"]
fn through_the_proxy() {
    let name = ManifestName::Tag("latest");
    registry("registry.invalid", &options()).manifest(name).unwrap().unwrap();
    assert_eq!(code(registry("direct.invalid", &options()).manifest(name)), ExitCode::Network);
    let server = Server::http(|_, _| Reply::ok("{}"));
    registry(&server.host(), &options()).manifest(name).unwrap().unwrap();
    assert_eq!(server.requests().len(), 2);
}
