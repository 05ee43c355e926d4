//! Who the registry is: row 80, `--cert-dir`, `--tls-verify=false`.

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{ManifestName, RegistryOptions};

use crate::faults::{Reply, Server};
use crate::tools::{Ca, code, options, registry};

fn verifying(ca: Option<&Ca>) -> RegistryOptions {
    RegistryOptions { tls_verify: true, cert_dir: ca.map(Ca::cert_dir), ..options() }
}

fn ask(server: &Server, options: &RegistryOptions) -> Result<(), oci2sysext::oci::Error> {
    registry(&server.host(), options).manifest(ManifestName::Tag("latest")).map(|_| ())
}

#[test]
fn row_80_a_certificate_must_be_good() {
    let Some(ca) = Ca::new() else { return };
    let expired = ["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"];
    let has_dates = std::process::Command::new("openssl")
        .args(["x509", "-help"])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("-not_after"));
    // openssl before 3.4 makes no certificate of the past, but one that ends today.
    ca.certificate("expired", "IP:127.0.0.1", if has_dates { &expired } else { &["-days", "-1"] });
    ca.certificate("other", "DNS:other.test", &["-days", "30"]);
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
    let Some(ca) = Ca::new() else { return };
    let server = Server::https(ca.server("server", false), |_, _| Reply::ok("{}"));
    ask(&server, &verifying(Some(&ca))).unwrap();
}

#[test]
fn the_registry_is_shown_our_certificate_and_others_are_not() {
    let Some(ca) = Ca::new() else { return };
    ca.certificate("client", "DNS:client.test", &["-days", "30"]);
    std::fs::copy(ca.path("client.crt"), ca.path("certs.d/client.cert")).unwrap();
    std::fs::copy(ca.path("client.key"), ca.path("certs.d/client.key")).unwrap();
    let server = Server::https(ca.server("server", true), |_, _| Reply::ok("{}"));
    ask(&server, &verifying(Some(&ca))).unwrap();
    let url = server.url("localhost", "/");
    let redirecting = Server::https(ca.server("server", true), move |_, _| Reply::redirect(&url));
    assert_eq!(code(ask(&redirecting, &verifying(Some(&ca)))), ExitCode::Network);
}
