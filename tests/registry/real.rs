//! A real registry: Debian's docker-registry, with real images.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};

use oci2sysext::error::ExitCode;
use oci2sysext::limits::Limits;
use oci2sysext::oci::{
    Digest, ImageManifest, ManifestName, Registry, RegistryOptions, Repository, candidates,
};
use oci2sysext::verify::Candidate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::common::ca::Ca;
use crate::common::faults::{Reply, Server};
use crate::common::registry::{self as local, PASSWORD, USER, authfile};
use crate::common::{need, tools as outside};
use crate::tools::{code, options};

const SYSEXTS: &str = "travier/fedora-kinoite/sysexts";
/// The same in a query.
const ENCODED: &str = "travier%2Ffedora-kinoite%2Fsysexts";

fn open(host: &str, path: &str, options: &RegistryOptions) -> Registry {
    let repository = Repository { host: host.to_owned(), path: path.to_owned() };
    Registry::new(&repository, options).unwrap()
}

/// The shared storage served over plain HTTP, if both are here.
fn sysexts(token: Option<String>) -> Option<local::Registry> {
    let storage = Some(crate::common::data::path("images/registry-storage")?);
    local::Registry::start(&local::Options { token, storage, ..local::Options::default() })
}

#[test]
fn a_signed_image_in_all_its_parts() {
    let server = need!(sysexts(None), "no docker-registry or shared data");
    let mut registry = open(server.address(), SYSEXTS, &options());
    let raw = registry.manifest(ManifestName::Tag("41.mc")).unwrap().unwrap();
    let by_digest = registry.manifest(ManifestName::Digest(raw.digest)).unwrap().unwrap();
    assert_eq!(raw, by_digest);
    let manifest: ImageManifest = serde_json::from_slice(&raw.bytes).unwrap();
    assert_eq!(raw.media_type.as_deref(), Some("application/vnd.oci.image.manifest.v1+json"));
    registry.blob_bytes(&manifest.config, 1 << 20).unwrap();
    for layer in &manifest.layers {
        let mut bytes = Vec::new();
        let downloaded = registry.blob(layer, &mut |chunk| {
            bytes.extend_from_slice(chunk);
            Ok::<(), oci2sysext::oci::Error>(())
        });
        downloaded.unwrap();
        assert_eq!(bytes.len() as u64, layer.size);
        assert_eq!(Digest::of(&bytes), layer.digest);
    }

    let limits = Limits::default();
    let signatures = registry.signature_manifest(&raw.digest).unwrap().unwrap();
    let mut fetch = |layer: &_| registry.blob_bytes(layer, limits.signature_size);
    let found = candidates(&signatures, &mut fetch, &limits);
    let [Candidate::Payload { payload, annotations, .. }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(String::from_utf8_lossy(payload).contains(&raw.digest.to_string()));
    assert!(annotations.contains_key("dev.cosignproject.cosign/signature"));
}

#[test]
fn row_1_an_unsigned_image_in_a_real_registry() {
    let server = need!(sysexts(None), "no docker-registry or shared data");
    let mut registry = open(server.address(), SYSEXTS, &options());
    let raw = registry.manifest(ManifestName::Tag("unsigned")).unwrap().unwrap();
    assert_eq!(registry.signature_manifest(&raw.digest).unwrap(), None);
    assert_eq!(registry.manifest(ManifestName::Tag("absent")).unwrap(), None);
    assert_eq!(registry.manifest(ManifestName::Digest(Digest::of(b"absent"))).unwrap(), None);
    let mut other = open(server.address(), "no/such/repository", &options());
    assert_eq!(other.manifest(ManifestName::Tag("latest")).unwrap(), None);
}

/// A token as docker-registry wants them (a JWT with its certificate), by openssl. It opens
/// `repository` for whoever pulls.
fn token(ca: &Ca, repository: &str) -> String {
    let certificate = CertificateDer::from_pem_file(ca.path("token.crt")).unwrap();
    let header =
        json!({"typ": "JWT", "alg": "RS256", "x5c": [BASE64_STANDARD.encode(certificate)]});
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    let claims = json!({
        "iss": "test-issuer", "sub": "tester", "aud": "test-registry", "jti": "1",
        "iat": now, "nbf": now - 60, "exp": now + 300,
        "access": [{"type": "repository", "name": repository, "actions": ["pull"]}]
    });
    let [header, claims] =
        [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(signed.path(), format!("{header}.{claims}")).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).args([&ca.path("token.key"), signed.path()]);
    let signature = openssl.output().unwrap().stdout;
    format!("{header}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A real registry believes a token service only, and that service a password.
#[test]
fn a_registry_that_takes_tokens_only() {
    let ca = need!(Ca::new(), "no openssl");
    ca.self_signed_rsa("token");
    let certificates = ca.path("token.crt").display().to_string();
    let tokens = Server::http(move |request, _| match request.header("authorization") {
        Some(_) if request.path.contains(&format!("scope=repository%3A{ENCODED}%3Apull")) => {
            Reply::ok(json!({"token": token(&ca, SYSEXTS), "expires_in": 300}).to_string())
        }
        _ => Reply::error(401, "UNAUTHORIZED"),
    });
    let realm = tokens.url("127.0.0.1", "/token");
    let configuration = format!(
        "realm: '{realm}', service: test-registry, issuer: test-issuer, \
         rootcertbundle: {certificates}"
    );
    let server = need!(sysexts(Some(configuration)), "no docker-registry or shared data");
    let dir = tempfile::tempdir().unwrap();
    let authfile =
        Some(authfile(dir.path(), &[(server.address(), &*format!("{USER}:{PASSWORD}"))]));
    let with = RegistryOptions { authfile, ..options() };
    let mut registry = open(server.address(), SYSEXTS, &with);
    let raw = registry.manifest(ManifestName::Tag("41.mc")).unwrap().unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&raw.bytes).unwrap();
    registry.blob_bytes(&manifest.config, 1 << 20).unwrap();
    assert!(registry.signature_manifest(&raw.digest).unwrap().is_some());
    assert_eq!(tokens.requests().len(), 1);

    let tag = ManifestName::Tag("41.mc");
    assert_eq!(code(open(server.address(), SYSEXTS, &options()).manifest(tag)), ExitCode::Auth);
    assert_eq!(code(open(server.address(), "another/one", &with).manifest(tag)), ExitCode::Auth);
}

/// An image layout with one small image, made here.
fn layout(dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        serde_json::json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let layer = vec![0; 10_240];
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(&layer, "application/vnd.oci.image.layer.v1.tar")]
    });
    let mut entry =
        blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "1"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn tls_with_a_ca_of_its_own_and_basic_authentication() {
    let skopeo = need!(outside::newest("skopeo"), "no skopeo");
    let with = local::Options { tls: true, basic: true, ..local::Options::default() };
    let server = need!(local::Registry::start(&with), "no docker-registry, htpasswd or openssl");
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    layout(&image);
    server.push(&skopeo, &format!("oci:{}:1", image.display()), "team/image:1");

    let ask = |options: &RegistryOptions| {
        open(server.address(), "team/image", options).manifest(ManifestName::Tag("1"))
    };
    let with = |entries: &[(&str, &str)]| RegistryOptions {
        tls_verify: true,
        cert_dir: Some(server.cert_dir()),
        authfile: Some(authfile(dir.path(), entries)),
        ..options()
    };
    let team = format!("{}/team", server.address());
    let good = with(&[(&team, &*format!("{USER}:{PASSWORD}")), (server.address(), "tester:wrong")]);
    let raw = ask(&good).unwrap().unwrap();
    assert_eq!(raw.media_type.as_deref(), Some("application/vnd.oci.image.manifest.v1+json"));
    let insecure = RegistryOptions { tls_verify: false, cert_dir: None, ..good.clone() };
    assert_eq!(ask(&insecure).unwrap().unwrap(), raw);
    let untrusted = RegistryOptions { cert_dir: None, ..good.clone() };
    assert_eq!(code(ask(&untrusted)), ExitCode::Network);
    assert_eq!(code(ask(&with(&[(server.address(), "tester:wrong")]))), ExitCode::Auth);
    assert_eq!(code(ask(&with(&[]))), ExitCode::Auth);
}
