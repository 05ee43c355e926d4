//! Redirects: rows 77 and 78.

use oci2sysext::error::ExitCode;
use oci2sysext::oci::ManifestName;

use crate::common::ca::Ca;
use crate::common::faults::{Reply, Request, Server, descriptor};
use crate::common::need;
use crate::common::registry::authfile;
use crate::tools::{code, options, registry};

const BLOB: &[u8] = b"somewhere else";

/// Basic authentication for everything but what `reply` knows.
fn guarded(request: &Request, reply: Reply) -> Reply {
    match request.header("authorization") {
        Some("Basic dXNlcjpwYXNz") => reply,
        _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"test\""),
    }
}

#[test]
fn row_77_a_redirect_to_another_host_gets_no_credentials() {
    let dir = tempfile::tempdir().unwrap();
    for other_host in ["127.0.0.1", "localhost"] {
        let storage = Server::http(|_, _| Reply::ok(BLOB));
        let url = storage.url(other_host, "/store?signature=hidden");
        let server = Server::http(move |request, _| guarded(request, Reply::redirect(&url)));
        let mut options = options();
        options.authfile = Some(authfile(dir.path(), &[(&server.host(), "user:pass")]));
        let mut registry = registry(&server.host(), &options);
        assert_eq!(registry.blob_bytes(&descriptor(BLOB), 100).unwrap(), BLOB);
        let requests = storage.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].path, "/store?signature=hidden");
        assert_eq!(requests[0].header("authorization"), None);
        assert!(server.requests().iter().any(|r| r.header("authorization").is_some()));
    }
}

#[test]
fn row_77_credentials_do_not_come_back_after_a_detour() {
    let dir = tempfile::tempdir().unwrap();
    let back = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let location = std::sync::Arc::clone(&back);
    let storage = Server::http(move |_, _| Reply::redirect(location.get().unwrap()));
    let url = storage.url("localhost", "/");
    let server = Server::http(move |request, _| match request.path.as_str() {
        "/back" => Reply::ok(BLOB),
        _ => guarded(request, Reply::redirect(&url)),
    });
    back.set(server.url("127.0.0.1", "/back")).unwrap();
    let mut options = options();
    options.authfile = Some(authfile(dir.path(), &[(&server.host(), "user:pass")]));
    let mut registry = registry(&server.host(), &options);
    assert_eq!(registry.blob_bytes(&descriptor(BLOB), 100).unwrap(), BLOB);
    let last = server.requests().pop().unwrap();
    assert_eq!((last.path.as_str(), last.header("authorization")), ("/back", None));
}

#[test]
fn row_77_a_redirect_within_the_registry_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::http(move |request, _| match request.path.as_str() {
        "/elsewhere" => guarded(request, Reply::ok(BLOB)),
        _ => guarded(request, Reply::redirect("/elsewhere")),
    });
    let mut options = options();
    options.authfile = Some(authfile(dir.path(), &[(&server.host(), "user:pass")]));
    let mut registry = registry(&server.host(), &options);
    assert_eq!(registry.blob_bytes(&descriptor(BLOB), 100).unwrap(), BLOB);
}

#[test]
fn row_77_a_refusal_by_the_other_host_is_not_answered_with_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Server::http(|_, _| {
        Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"test\"")
    });
    let url = storage.url("localhost", "/");
    let server = Server::http(move |request, _| guarded(request, Reply::redirect(&url)));
    let mut options = options();
    options.authfile = Some(authfile(dir.path(), &[(&server.host(), "user:pass")]));
    let mut registry = registry(&server.host(), &options);
    assert_eq!(code(registry.blob_bytes(&descriptor(BLOB), 100)), ExitCode::Auth);
    assert!(storage.requests().iter().all(|r| r.header("authorization").is_none()));
}

#[test]
fn row_78_loops_and_addresses_that_are_too_near() {
    for location in [
        "/v2/a/b/manifests/latest",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
    ] {
        let server = Server::http(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::ok(""),
            _ => Reply::redirect(location),
        });
        let started = std::time::Instant::now();
        let result = registry(&server.host(), &options()).manifest(ManifestName::Tag("latest"));
        let text = result.as_ref().unwrap_err().to_string();
        assert!(text.contains("redirect not followed"), "{location}: {text}");
        assert_eq!(code(result), ExitCode::Network);
        assert!(started.elapsed().as_secs() < 2, "{location}");
        assert!(server.requests().len() <= 7);
    }
}

#[test]
fn row_78_https_does_not_lead_to_http() {
    let ca = need!(Ca::new(), "no openssl");
    let plain = Server::http(|_, _| Reply::ok("{}"));
    let url = plain.url("127.0.0.1", "/");
    let server = Server::https(ca.server("server", false), move |_, _| Reply::redirect(&url));
    for verify in [true, false] {
        let mut options = options();
        options.tls_verify = verify;
        options.cert_dir = Some(ca.cert_dir());
        let result = registry(&server.host(), &options).manifest(ManifestName::Tag("latest"));
        assert_eq!(code(result), ExitCode::Network);
    }
    assert!(plain.requests().is_empty());
}
