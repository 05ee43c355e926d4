//! Manifests: rows 2, 31, 32, 63, 91, 92, and the limits of what is read.

use std::time::{Duration, Instant};

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{
    Digest, Documents, Error, ManifestName, Registry, RegistryOptions, Repository,
};

use crate::common::faults::{Reply, Server, descriptor};
use crate::tools::{code, options, registry};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// A server that answers everything but the first ping with one reply.
fn always(reply: Reply) -> Server {
    Server::http(
        move |request, _| {
            if request.path == "/v2/" { Reply::ok("{}") } else { reply.clone() }
        },
    )
}

#[test]
fn row_2_a_signature_lookup_that_fails_is_no_unsigned_image() {
    let digest = Digest::of(b"image");
    let mut options = options();
    options.retry.budget = Duration::from_millis(200);
    for reply in [
        Reply::error(500, "UNKNOWN"),
        Reply::error(503, "UNAVAILABLE"),
        Reply::error(400, "UNSUPPORTED"),
        Reply::new(204, ""),
        Reply::new(302, ""),
        Reply::new(418, ""),
        Reply::ok("x").stall(0, Duration::from_secs(3)),
        Reply::ok("12345").cut(2),
    ] {
        let server = always(reply.clone());
        let result = registry(&server.host(), &options).signature_manifest(&digest);
        assert_eq!(code(result), ExitCode::Network, "{reply:?}");
    }
}

/// Each document comes fast enough, and all of them together do not.
#[test]
fn row_2_documents_that_take_too_long_together_are_not_waited_for() {
    let mut options = options();
    options.limits.document_seconds = 1;
    options.retry.stall = Duration::from_secs(30);
    let server = always(Reply::ok("x").stall(0, Duration::from_millis(300)));
    let mut registry = registry(&server.host(), &options);
    let until_late = |registry: &mut Registry| {
        let started = Instant::now();
        let mut found = 0;
        let late = loop {
            match registry.manifest(ManifestName::Tag("latest")) {
                Ok(manifest) => found += usize::from(manifest.is_some()),
                Err(error) => break error,
            }
        };
        // The time of one kind is not another's.
        assert!((2..=3).contains(&found), "{late}: {found}");
        assert!(started.elapsed() < Duration::from_secs(2), "{late}");
        assert_eq!((late.id(), late.exit_code()), ("registry.late", ExitCode::Network));
        assert!(late.advice().contains("document-seconds"), "{late}");
        // Nothing more is asked for, by whichever name.
        let asked = server.requests().len();
        let blob = descriptor(b"x");
        for late in [
            registry.signature_manifest(&blob.digest).map(|_| ()),
            registry.referrers(&blob.digest).map(|_| ()),
            registry.blob_bytes(&blob, 1).map(|_| ()),
        ] {
            assert_eq!(late.unwrap_err().id(), "registry.late");
        }
        assert_eq!(server.requests().len(), asked);
    };
    for kind in [Documents::OfSignatures, Documents::OfBundles] {
        registry.ask_for(kind, until_late);
    }
    until_late(&mut registry);
    // A layer is no document: it may take as long as it brings something.
    registry.blob(&descriptor(b"x"), &mut |_| Ok::<(), Error>(())).unwrap();
}

#[test]
fn row_1_an_absent_signature_is_none() {
    let digest = Digest::of(b"image");
    for reply in [
        Reply::error(404, "MANIFEST_UNKNOWN"),
        Reply::new(404, r#"{"errors":[{"code":"UNKNOWN","message":"Not Found"}]}"#),
        Reply::new(404, "404 page not found\n"),
        Reply::new(404, ""),
    ] {
        let server = always(reply);
        let found = registry(&server.host(), &options()).signature_manifest(&digest).unwrap();
        assert!(found.is_none());
        let path = &server.requests()[1].path;
        assert_eq!(*path, format!("/v2/a/b/manifests/sha256-{}.sig", digest.hex()));
    }
}

#[test]
fn row_31_a_tag_that_moves_does_not_change_what_we_hold() {
    let server = Server::http(|request, number| match request.path.as_str() {
        "/v2/" => Reply::ok(""),
        path if path.ends_with("/latest") => Reply::ok(format!("version {number}")),
        _ => Reply::ok("version 1"),
    });
    let mut registry = registry(&server.host(), &options());
    let first = registry.manifest(ManifestName::Tag("latest")).unwrap().unwrap();
    assert_eq!(first.digest, Digest::of(b"version 1"));
    let again = registry.manifest(ManifestName::Digest(first.digest)).unwrap().unwrap();
    assert_eq!(again.bytes, first.bytes);
    let moved = registry.manifest(ManifestName::Tag("latest")).unwrap().unwrap();
    assert_ne!(moved.digest, first.digest);
}

#[test]
fn row_32_a_digest_is_computed_and_not_believed() {
    let wanted = Digest::of(b"wanted");
    let server = always(
        Reply::ok("other")
            .with("Docker-Content-Digest", &wanted.to_string())
            .with("Content-Type", &format!("{OCI}; charset=utf-8")),
    );
    let mut registry = registry(&server.host(), &options());
    let result = registry.manifest(ManifestName::Digest(wanted));
    assert!(result.as_ref().unwrap_err().to_string().contains(&Digest::of(b"other").to_string()));
    assert_eq!(code(result), ExitCode::Integrity);
    let by_tag = registry.manifest(ManifestName::Tag("latest")).unwrap().unwrap();
    assert_eq!(by_tag.digest, Digest::of(b"other"));
    assert_eq!(by_tag.media_type.as_deref(), Some(OCI));
}

#[test]
fn row_63_the_words_of_a_registry_are_escaped_and_bounded() {
    let long = "x".repeat(100_000);
    for message in ["\\u001b]0;pwned\\u0007\\n\\u202e", long.as_str()] {
        let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}"#);
        let server = always(Reply::new(403, body));
        let result = registry(&server.host(), &options()).manifest(ManifestName::Tag("latest"));
        let text = result.as_ref().unwrap_err().to_string();
        assert!(text.len() < 1000, "{text}");
        assert_eq!(code(result), ExitCode::Auth);
    }
}

#[test]
fn row_91_a_tag_that_is_not_there() {
    let server = always(Reply::error(404, "MANIFEST_UNKNOWN"));
    let mut registry = registry(&server.host(), &options());
    let name = ManifestName::Tag("41.mc");
    assert_eq!(registry.manifest(name).unwrap(), None);
    let error = registry.absent(name);
    assert_eq!(error.exit_code(), ExitCode::Network);
    assert_eq!(error.to_string(), format!("{}/a/b:41.mc: not in the registry", server.host()));
}

#[test]
fn row_92_a_refusal() {
    for status in [401, 403] {
        let server =
            always(Reply::error(status, "DENIED").with("WWW-Authenticate", "Basic realm=\"test\""));
        let result = registry(&server.host(), &options()).manifest(ManifestName::Tag("latest"));
        let text = result.as_ref().unwrap_err().to_string();
        assert!(text.contains("DENIED: (test)") && text.contains("without credentials"), "{text}");
        assert_eq!(code(result), ExitCode::Auth);
    }
}

#[test]
fn a_manifest_is_bounded() {
    let mut options = options();
    options.limits.manifest_size = 1000;
    for endless in [false, true] {
        let server = always(Reply { endless, ..Reply::ok(vec![b' '; 1001]) });
        let result = registry(&server.host(), &options).manifest(ManifestName::Tag("latest"));
        assert_eq!(code(result), ExitCode::Limit);
        let server = always(Reply { endless, ..Reply::ok(vec![b' '; 1000]) });
        let result = registry(&server.host(), &options).manifest(ManifestName::Tag("latest"));
        assert_eq!(result.unwrap().unwrap().bytes.len(), 1000);
    }
}

#[test]
fn requests_are_polite() {
    let server = always(Reply::ok("{}"));
    let _ = registry(&server.host(), &options()).manifest(ManifestName::Tag("latest")).unwrap();
    let request = server.requests().pop().unwrap();
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.header("user-agent"),
        Some(concat!("oci2sysext/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    let accept = request.header("accept").unwrap();
    assert!(accept.contains(OCI) && accept.contains("docker.distribution.manifest.list.v2"));
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_sent() {
    let server = always(Reply::ok("{}"));
    let mut registry = registry(&server.host(), &options());
    for tag in ["../../x", "a?b", "", "a/b", "a\r\nHost: x"] {
        assert_eq!(code(registry.manifest(ManifestName::Tag(tag))), ExitCode::Usage);
    }
    for (host, path) in [("a/b", "c"), ("user@host", "c"), ("", "c"), ("host", "../c")] {
        let repository = Repository { host: host.to_owned(), path: path.to_owned() };
        let result = oci2sysext::oci::Registry::new(&repository, &RegistryOptions::default());
        assert_eq!(code(result), ExitCode::Usage, "{host} {path}");
    }
    assert!(server.requests().is_empty());
}
