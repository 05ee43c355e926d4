//! The helpers of the end-to-end tests, held against outside tools: a helper that is wrong would
//! make the program look right.

mod common;

use std::process::Command;

use common::registry::{Options, Registry};
use common::sign::Signer;
use common::{need, tools};

/// Every signer's signature is one that cosign itself accepts, with that key and no other.
#[test]
fn cosign_accepts_what_each_signer_writes() {
    let cosign = need!(Signer::Cosign2.program(), "no cosign 2");
    let layout = tempfile::tempdir().unwrap();
    let source = common::sample_image(layout.path());
    let registry = need!(
        Registry::start(&Options { tls: true, basic: true, ..Options::default() }),
        "no docker-registry"
    );
    for signer in Signer::ALL {
        if signer.program().is_none() {
            common::say_not_run(&format!("no {signer:?}"));
            continue;
        }
        let key = signer.new_key().unwrap();
        let name = format!("test/{}:v1", format!("{signer:?}").to_lowercase());
        signer.push_signed(&registry, &key, &source, &name);
        let mut verify = Command::new(&cosign);
        verify.args(["verify", "--insecure-ignore-tlog=true", "--key"]).arg(key.public());
        verify.arg("--registry-cacert").arg(registry.cert_dir().join("ca.crt"));
        verify.args(["--registry-username", "tester", "--registry-password", "s3cret"]);
        tools::check(verify.arg(format!("{}/{name}", registry.address())));
    }
}
