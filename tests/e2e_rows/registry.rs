//! Registries that fail, lie or lead elsewhere: rows 2, 31, 32, 63, 71, 72, 77–79, 82, 91, 92.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::common::ca::Ca;
use crate::common::command::Workdir;
use crate::common::faults::{Reply, Request, Server};
use crate::common::hub::{Hub, TAG, arguments};
use crate::common::layout::{Image, Layout, descriptor, digest};
use crate::common::mount::Mounted;
use crate::common::registry::{PASSWORD, USER, authfile};
use crate::common::sign::Key;
use crate::common::tarball::{Tarball, gzip};
use crate::common::{need, not_run, tools};
use crate::{expect_of, expect_run, key};

/// `tester:s3cret`
const BASIC: &str = "Basic dGVzdGVyOnMzY3JldA==";

fn signed(key: &Key) -> Layout {
    Layout::signed(key, &Image::new(&Tarball::minimal().finish()))
}

/// The digest of the layer of [`signed`].
fn layer() -> String {
    digest(&gzip(&Tarball::minimal().finish()))
}

/// An auth file with the one password for a host.
fn auth(directory: &Path, host: &str) -> PathBuf {
    authfile(directory, &[(host, &format!("{USER}:{PASSWORD}"))])
}

/// Row 2: a lookup of signatures that fails does not mean that there are none.
#[test]
fn row_2_a_signature_lookup_that_fails() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    for (id, bad) in [
        ("gave-up", Reply::error(500, "UNKNOWN")),
        ("gave-up", Reply::error(503, "UNAVAILABLE")),
        ("status", Reply::error(400, "UNSUPPORTED")),
        ("status", Reply::new(204, "")),
        ("status", Reply::new(418, "")),
        ("redirect", Reply::new(302, "")),
        ("gave-up", Reply::ok("12345").cut(2)),
        // Nothing for longer than anybody waits.
        ("gave-up", Reply::ok("x").stall(0, Duration::from_secs(60))),
    ] {
        let hub = Hub::failing(&layout, move |request, _, reply| {
            if request.path.contains("/manifests/sha256-") { bad.clone() } else { reply }
        });
        let want = format!("10 registry.{id}");
        let outcome = expect_of("2", &want, &hub, &key, &["--limit=retry-seconds=1"]);
        assert!(!outcome.stderr.contains("found no signature"), "{outcome:#?}");
        assert_eq!(hub.asked_for(&layer()), 0);
    }
}

/// Row 2: what comes too slowly is no more waited for than what does not come, and row 14: it hides
/// no good signature.
#[test]
fn rows_2_and_14_signatures_that_are_slow_together() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let started = Instant::now();
    for (slow, want) in [
        (&["/manifests/sha256-"][..], "10 registry.late"),
        (&["/blobs/"], "10 verify.signature-unusable"),
        (&["/referrers/"], "0"),
    ] {
        let hub = Hub::failing(&layout, move |request, _, reply| {
            if slow.iter().any(|part| request.path.contains(part)) {
                reply.stall(0, Duration::from_secs(20))
            } else {
                reply
            }
        });
        let outcome = expect_of("2", want, &hub, &key, &["--limit=document-seconds=2"]);
        assert!(outcome.stderr.contains("not here after 2 s"), "{outcome:#?}");
        assert!(!outcome.stderr.contains("found no signature"), "{outcome:#?}");
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// Row 14, the other way around: signatures of the older format that are slow together hide no good
/// bundle.
#[test]
fn row_14_slow_signatures_hide_no_bundle() {
    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const STATEMENT: &str = "application/vnd.in-toto+json";
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let image = layout.documents(TAG)[&format!("manifests/{TAG}")].1.clone();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest(&image).replace("sha256:", "") } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string();
    let pae = format!("DSSEv1 {} {STATEMENT} {} {statement}", STATEMENT.len(), statement.len());
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": { "publicKey": { "hint": "" } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": STATEMENT,
            "signatures": [{ "sig": key.sign(pae.as_bytes()) }],
        },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor(BUNDLE, bundle.as_bytes())],
        "subject": descriptor(MANIFEST, &image),
    })
    .to_string();
    layout.add_blob(bundle.as_bytes());
    layout.add_blob(manifest.as_bytes());
    let entries = [descriptor(MANIFEST, manifest.as_bytes())];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    let started = Instant::now();
    let hub = Hub::failing(&layout, move |request, _, reply| {
        if request.path.contains("/manifests/sha256-") {
            reply.stall(0, Duration::from_secs(20))
        } else if request.path.contains("/referrers/") {
            Reply::ok(&*index).with("Content-Type", INDEX)
        } else {
            reply
        }
    });
    let mut arguments = hub.arguments(&key);
    arguments.retain(|argument| !argument.starts_with("--signed-identity"));
    arguments.push("--limit=document-seconds=2".to_owned());
    let outcome = expect_run("14", "0", arguments);
    assert!(outcome.stderr.contains("its signatures are not here after 2 s"), "{outcome:#?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// Row 31: the tag is asked for once, and all else by digest.
#[test]
fn row_31_a_tag_that_moves() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let moved = json!({ "schemaVersion": 2, "layers": [] }).to_string();
    let hub = Hub::failing(&layout, move |request, before, reply| {
        if request.path.ends_with(TAG) && before > 0 { Reply::ok(&*moved) } else { reply }
    });
    let outcome = expect_of("31", "0", &hub, &key, &["--json"]);
    let manifest = digest(&layout.documents(TAG)[&format!("manifests/{TAG}")].1);
    assert_eq!(outcome.json().pointer("/source/manifest"), Some(&json!(manifest)));
    assert_eq!(hub.asked_for(TAG), 1);
}

/// Row 32: a digest is computed, and the registry's word for it not read.
#[test]
fn row_32_other_bytes_under_a_digest() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let wanted = digest(b"wanted");
    let header = wanted.clone();
    let documents = layout.documents(TAG);
    let hub = Hub::failing(&layout, move |request, _, reply| {
        if !request.path.ends_with(&header) {
            return reply;
        }
        let (media_type, bytes) = &documents[&format!("manifests/{TAG}")];
        Reply::ok(&**bytes).with("Content-Type", media_type).with("Docker-Content-Digest", &header)
    });
    let reference = format!("{}/test/image@{wanted}", hub.server.host());
    let outcome = expect_run("32", "6 registry.digest-mismatch", arguments(&reference, &key));
    assert!(outcome.stderr.contains(&wanted), "{outcome:#?}");
}

/// Row 63: a registry's words are made harmless. Row 92: a refusal.
#[test]
fn rows_63_and_92_a_refusal_in_wild_words() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let long = "x".repeat(100_000);
    for words in ["\\u001b]0;pwned\\u0007\\n\\u202e", long.as_str(), "no"] {
        for status in [401, 403] {
            let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{words}"}}]}}"#);
            let hub = Hub::failing(&layout, move |request, _, reply| {
                let basic = "Basic realm=\"test\"";
                match request.path.as_str() {
                    "/v2/" => reply,
                    _ => Reply::new(status, &*body).with("WWW-Authenticate", basic),
                }
            });
            let outcome = expect_of("92", "11 registry.refused", &hub, &key, &[]);
            assert!(outcome.stderr.len() < 2000, "{outcome:#?}");
        }
    }
}

/// Row 71: a busy registry is waited for, and the user told.
#[test]
fn row_71_a_busy_registry() {
    let key = need!(key(), "no openssl");
    let name = layer();
    let hub = Hub::failing(&signed(&key), move |request, before, reply| {
        match (request.path.ends_with(&name), before) {
            (true, 0) => Reply::error(429, "TOOMANYREQUESTS").with("Retry-After", "3"),
            (true, 1 | 2) => Reply::error(503, "UNAVAILABLE"),
            _ => reply,
        }
    });
    let started = Instant::now();
    let outcome = expect_of("71", "0", &hub, &key, &["-v"]);
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(hub.asked_for(&layer()), 4);
    assert!(outcome.stderr.contains("trying again in 3 s"), "{outcome:#?}");
}

/// Row 72: failures for ever end with the budget.
#[test]
fn row_72_a_registry_that_is_always_busy() {
    let key = need!(key(), "no openssl");
    for (reply, least) in [
        (Reply::error(503, "UNAVAILABLE"), 5),
        (Reply::error(429, "TOOMANYREQUESTS"), 5),
        (Reply::error(429, "TOOMANYREQUESTS").with("Retry-After", "3600"), 0),
    ] {
        let hub =
            Hub::failing(
                &signed(&key),
                move |request, _, good| {
                    if request.path == "/v2/" { good } else { reply.clone() }
                },
            );
        let started = Instant::now();
        let more = ["--limit=retry-seconds=10"];
        let outcome = expect_of("72", "10 registry.gave-up", &hub, &key, &more);
        let time = started.elapsed().as_secs();
        assert!((least..12).contains(&time), "{time} s: {outcome:#?}");
        assert!(outcome.stderr.contains("of the 10 s"), "{outcome:#?}");
    }
}

/// Basic authentication for everything.
fn guarded(request: &Request, reply: Reply) -> Reply {
    match request.header("authorization") {
        Some(BASIC) => reply,
        _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"test\""),
    }
}

/// Row 77: a redirect to another host takes no credentials along.
#[test]
fn row_77_a_redirect_to_another_host() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let documents = layout.documents(TAG);
    let storage = Server::http(move |request, _| {
        let (_, name) = request.path.rsplit_once('/').expect("a path");
        Reply::blob(request, &documents[&format!("blobs/{name}")].1)
    });
    let elsewhere = storage.url("localhost", "");
    let hub = Hub::failing(&layout, move |request, _, reply| {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let found = if request.is_for_blob() {
            Reply::redirect(&format!("{elsewhere}/{name}"))
        } else {
            reply
        };
        guarded(request, found)
    });
    let folder = tempfile::tempdir().unwrap();
    let auth = format!("--authfile={}", auth(folder.path(), &hub.server.host()).display());
    expect_of("77", "0", &hub, &key, &[&auth]);
    assert!(hub.server.requests().iter().any(|r| r.header("authorization") == Some(BASIC)));
    assert!(!storage.requests().is_empty());
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
        assert_eq!(request.header("cookie"), None, "{request:?}");
    }
    expect_of("77", "11 registry.refused", &hub, &key, &[]);
}

/// Row 78: redirects that lead nowhere good.
#[test]
fn row_78_redirects_that_are_not_followed() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    for location in [
        "?again",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
    ] {
        let hub = Hub::failing(&layout, move |request, _, reply| {
            if request.path.contains(&layer()) { Reply::redirect(location) } else { reply }
        });
        expect_of("78", "10 registry.redirect", &hub, &key, &[]);
    }

    let ca = need!(Ca::new(), "no openssl");
    let certificates = format!("--cert-dir={}", ca.cert_dir().display());
    let plain = Hub::new(&layout);
    let to = plain.server.url("127.0.0.1", "");
    let tls = Hub::failing_tls(ca.server("server", false), &layout, move |request, _, reply| {
        let location = format!("{to}{}", request.path);
        if request.path.contains(&layer()) { Reply::redirect(&location) } else { reply }
    });
    let verified = |arguments: Vec<String>| {
        arguments.into_iter().filter(|it| !it.starts_with("--tls-verify")).collect::<Vec<_>>()
    };
    for arguments in [tls.arguments(&key), verified(tls.arguments(&key))] {
        let arguments = arguments.iter().chain([&certificates]);
        expect_run("78", "10 registry.redirect", arguments);
    }
    assert!(plain.server.requests().is_empty());
}

/// Row 79: who asks for a password in the registry's name.
#[test]
fn row_79_token_services() {
    let key = need!(key(), "no openssl");
    let ca = need!(Ca::new(), "no openssl");
    let layout = signed(&key);
    let answer = |_: &Request, _| Reply::ok(r#"{"token":"s3cret-token"}"#);
    let plain = Server::http(answer);
    let foreign = Server::https(ca.server("server", false), answer);
    let folder = tempfile::tempdir().unwrap();
    for (realm, want) in [
        (plain.url("127.0.0.1", "/token"), "11 registry.login"),
        (plain.url("localhost", "/token"), "11 registry.login"),
        ("https://169.254.169.254/token".to_owned(), "11 registry.login"),
        (foreign.url("localhost", "/token"), "0"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
        let hub =
            Hub::failing_tls(ca.server("server", false), &layout, move |request, _, reply| {
                match request.header("authorization") {
                    Some("Bearer s3cret-token") => reply,
                    _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge),
                }
            });
        let auth = format!("--authfile={}", auth(folder.path(), &hub.server.host()).display());
        let certificates = format!("--cert-dir={}", ca.cert_dir().display());
        let arguments = hub.arguments(&key).into_iter().filter(|it| !it.starts_with("--tls"));
        expect_run("79", want, arguments.chain([auth, certificates, "-vv".to_owned()]));
        assert!(hub.server.requests().iter().all(|r| r.header("authorization") != Some(BASIC)));
    }
    assert!(plain.requests().is_empty());
    assert!(!foreign.requests().is_empty());
    for request in foreign.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
        assert!(!request.path.contains(USER), "{request:?}");
    }
}

/// Row 82: a layer that is too large, for its limit or for the disk, is not fetched.
#[test]
fn row_82_a_layer_that_has_no_room() {
    let key = need!(key(), "no openssl");
    let mut huge = Image::new(&Tarball::minimal().finish());
    let size = 999_u64 << 40;
    huge.layer().as_object_mut().unwrap().insert("size".to_owned(), json!(size));
    let hub = Hub::new(&Layout::signed(&key, &huge));
    let outcome = expect_of("82", "9 oci.limit", &hub, &key, &[]);
    assert!(outcome.stderr.contains("--limit layer-size=N"), "{outcome:#?}");
    let more = ["--limit=layer-size=1000000000000000"];
    expect_of(
        "82",
        "12 oci.no-space",
        &hub,
        &key,
        &[&more[0].replace("1000000000000000", "9999999G")],
    );
    assert_eq!(hub.asked_for(&layer()), 0);
}

/// Row 82: the same with a layer that is real and a disk that is small.
#[test]
fn row_82_a_spool_on_a_small_disk() {
    let key = need!(key(), "no openssl");
    if !tools::can_mount() {
        not_run!("mounting needs root");
    }
    let noise = crate::common::faults::noise(1 << 20);
    let tar = Tarball::minimal().file("usr/noise", &noise).finish();
    let hub = Hub::new(&Layout::signed(&key, &Image::new(&tar)));
    let small = Mounted::tmpfs("size=512k");
    let work = Workdir::new();
    let mut command = work.command();
    command.args(hub.arguments(&key)).env("TMPDIR", small.path());
    let outcome = work.refuses_command(12, &mut command);
    assert_eq!(outcome.id(), "oci.no-space");
    assert!(outcome.stderr.contains("TMPDIR"), "{outcome:#?}");
    assert_eq!(hub.asked_for(&digest(&gzip(&tar))), 0);
    assert!(crate::common::command::snapshot(&small.path()).is_empty());
}

/// Row 91: nothing of that name, in a registry and in a layout.
#[test]
fn row_91_a_name_that_is_not_there() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let hub = Hub::new(&layout);
    for rest in ["test/image:2.tool", "test/other:2.tool", "test/image"] {
        let reference = format!("{}/{rest}", hub.server.host());
        let outcome = expect_run("91", "10 registry.absent", arguments(&reference, &key));
        assert!(outcome.stderr.contains("not in the registry"), "{outcome:#?}");
    }
    for (reference, want) in [
        (format!("{}:no-such-name", layout.reference()), "12 oci.no-image"),
        ("oci:/nonexistent".to_owned(), "12 oci.io"),
        ("oci-archive:/nonexistent".to_owned(), "12 oci.io"),
        ("dir:/nonexistent".to_owned(), "12 oci.io"),
    ] {
        expect_run("91", want, arguments(&reference, &key));
    }
}

/// A lookup that fails hides no good signature elsewhere, and does not mean that there is none.
#[test]
fn a_failed_lookup_hides_no_signature() {
    let key = need!(key(), "no openssl");
    let mut layout = Layout::new();
    let image = Image::new(&Tarball::minimal().finish());
    let entry = layout.instance(&image, "amd64");
    let instance = entry.pointer("/digest").and_then(|it| it.as_str()).unwrap().to_owned();
    let index = layout.add_index(&[entry]);
    layout.sign(&key, &index);
    let of_index =
        layout.documents(TAG)[&format!("manifests/{}.sig", index.replace(':', "-"))].clone();
    layout.sign(&key, &instance);
    let of_instance =
        layout.documents(TAG)[&format!("manifests/{}.sig", index.replace(':', "-"))].clone();

    let [index, instance] = [index, instance].map(|it| format!("{}.sig", it.replace(':', "-")));
    let good = |(media_type, bytes): &(String, Vec<u8>)| {
        Reply::ok(&**bytes).with("Content-Type", media_type)
    };
    let (of_index, of_instance) = (good(&of_index), good(&of_instance));
    let absent = Reply::error(404, "MANIFEST_UNKNOWN");
    let failed = Reply::error(400, "UNSUPPORTED");
    for (index_reply, instance_reply, want) in [
        (&of_index, &absent, "0"),
        (&absent, &of_instance, "0"),
        (&of_index, &failed, "0"),
        (&failed, &of_instance, "0"),
        (&failed, &absent, "10 registry.status"),
        (&absent, &failed, "10 registry.status"),
        (&failed, &failed, "10 registry.status"),
        (&absent, &absent, "4 verify.unsigned"),
    ] {
        let places =
            [(index.clone(), index_reply.clone()), (instance.clone(), instance_reply.clone())];
        let hub = Hub::failing(&layout, move |request, _, reply| {
            let place = places.iter().find(|(name, _)| request.path.ends_with(name));
            place.map_or(reply, |(_, reply)| reply.clone())
        });
        let outcome = expect_of("2", want, &hub, &key, &["--platform", "linux/amd64"]);
        let warned = outcome.stderr.contains("WARN");
        let unsure = index_reply.status == 400 || instance_reply.status == 400;
        assert!(want != "0" || warned == unsure, "{outcome:#?}");
    }
}
