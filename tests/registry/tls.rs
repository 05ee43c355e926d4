//! Who the registry is: row 80, `--cert-dir`, `--tls-verify=false`.

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{ManifestName, RegistryOptions};

use crate::common::ca::Ca;
use crate::common::faults::{Reply, Server};
use crate::common::need;
use crate::tools::{code, options, registry};

fn verifying(ca: Option<&Ca>) -> RegistryOptions {
    RegistryOptions { tls_verify: true, cert_dir: ca.map(Ca::cert_dir), ..options() }
}

fn ask(server: &Server, options: &RegistryOptions) -> Result<(), oci2sysext::oci::Error> {
    registry(&server.host(), options).manifest(ManifestName::Tag("latest")).map(|_| ())
}

#[test]
fn row_80_a_certificate_must_be_good() {
    let ca = need!(Ca::new(), "no openssl");
    ca.certificate("expired", "IP:127.0.0.1", -1);
    ca.certificate("other", "DNS:other.test", 30);
    for (name, trusted, word) in [
        ("expired", true, "has expired"),
        ("other", true, "not valid for name"),
        ("server", false, "unknown authority"),
    ] {
        let server = Server::https(ca.server(name, false), |_, _| Reply::ok("{}"));
        let result = ask(&server, &verifying(trusted.then_some(&ca)));
        let error = result.as_ref().unwrap_err();
        assert!(error.to_string().contains(word), "{name}: {error}");
        assert!(error.advice().contains("--cert-dir"));
        assert!(error.advice().contains("--tls-verify=false"));
        assert_eq!(code(result), ExitCode::Network);
        assert!(server.requests().is_empty());
        ask(&server, &options()).unwrap();
    }
}

#[test]
fn row_80_plain_http_is_no_https() {
    let server = Server::http(|_, _| Reply::ok("{}"));
    let result = ask(&server, &verifying(None));
    assert!(result.as_ref().unwrap_err().advice().contains("--tls-verify=false"));
    assert_eq!(code(result), ExitCode::Network);
    assert!(server.requests().is_empty());
    ask(&server, &options()).unwrap();
}

#[test]
fn a_certificate_of_our_ca_is_accepted() {
    let ca = need!(Ca::new(), "no openssl");
    let server = Server::https(ca.server("server", false), |_, _| Reply::ok("{}"));
    ask(&server, &verifying(Some(&ca))).unwrap();
}

#[test]
fn a_self_signed_certificate_is_its_own_ca_where_the_user_says_so() {
    let ca = need!(Ca::new(), "no openssl");
    ca.self_signed("itself", "IP:127.0.0.1", 30);
    ca.self_signed("other", "DNS:other.test", 30);
    ca.self_signed("expired", "IP:127.0.0.1", -1);
    for (name, given, word) in [
        ("itself", "itself", None),
        ("itself", "ca", Some("CaUsedAsEndEntity")),
        ("itself", "other", Some("CaUsedAsEndEntity")),
        ("other", "other", Some("not valid for name")),
        ("expired", "expired", Some("has expired")),
    ] {
        std::fs::copy(ca.path(&format!("{given}.crt")), ca.path("certs.d/ca.crt")).unwrap();
        let server = Server::https(ca.server(name, false), |_, _| Reply::ok("{}"));
        let result = ask(&server, &verifying(Some(&ca)));
        match word {
            None => result.unwrap(),
            Some(word) => {
                let text = result.as_ref().unwrap_err().to_string();
                assert!(text.contains(word), "{name} by {given}: {text}");
                assert_eq!(code(result), ExitCode::Network);
            }
        }
    }
}

#[test]
fn the_registry_is_shown_our_certificate_and_others_are_not() {
    let ca = need!(Ca::new(), "no openssl");
    ca.certificate("client", "DNS:client.test", 30);
    std::fs::copy(ca.path("client.crt"), ca.path("certs.d/client.cert")).unwrap();
    std::fs::copy(ca.path("client.key"), ca.path("certs.d/client.key")).unwrap();
    let server = Server::https(ca.server("server", true), |_, _| Reply::ok("{}"));
    ask(&server, &verifying(Some(&ca))).unwrap();
    let url = server.url("localhost", "/");
    let redirecting = Server::https(ca.server("server", true), move |_, _| Reply::redirect(&url));
    assert_eq!(code(ask(&redirecting, &verifying(Some(&ca)))), ExitCode::Network);
}
