//! Where signatures are found beside a local image.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci2sysext::oci::{Source, SourceOptions};

use crate::common::need;
use crate::common::registry::{Options, Registry};
use crate::common::{shared, tools};
use crate::{AMD64, SIGNATURE, payloads, read_all};

/// containers/image's fixtures, and what openssl found in them.
#[test]
fn signature_files_of_a_directory_become_candidates() {
    let cosign = shared!("cosign");
    let fixtures = cosign.join("containers-image");
    let candidates = |path: &Path| {
        let reference = format!("dir:{}", path.display()).parse().unwrap();
        let mut source = Source::open(&reference, &SourceOptions::default()).unwrap();
        let digest = source.resolve(&AMD64.parse().unwrap()).unwrap().manifest.digest;
        source.signatures(&digest).unwrap()
    };
    let same_as_triple = |(payload, annotations): (&[u8], &BTreeMap<String, String>),
                          name: &str| {
        let triple = cosign.join("triples").join(name);
        assert_eq!(payload, fs::read(triple.join("payload")).unwrap(), "{name}");
        let signature = BASE64_STANDARD.decode(&annotations[SIGNATURE]).unwrap();
        assert_eq!(signature, fs::read(triple.join("signature.der")).unwrap(), "{name}");
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let valid = fixtures.join("dir-img-cosign-valid");
    for name in ["valid", "key-rekor-valid", "fulcio-rekor-valid"] {
        // Some of the fixtures' manifests are links in their repository, and no manifests here.
        let triple = cosign.join(format!("triples/ci-cosign-{name}-1"));
        fs::copy(triple.join("manifest.json"), file("manifest.json")).unwrap();
        let _ = fs::remove_file(file("signature-1"));
        assert!(candidates(folder.path()).is_empty());
        let signed = fixtures.join(format!("dir-img-cosign-{name}/signature-1"));
        fs::copy(signed, file("signature-1")).unwrap();
        let found = candidates(folder.path());
        assert_eq!(found.len(), 1, "{name}");
        same_as_triple(payloads(&found)[0], &format!("ci-cosign-{name}-1"));
    }

    fs::copy(valid.join("manifest.json"), file("manifest.json")).unwrap();
    fs::copy(fixtures.join("unknown-cosign-key.signature"), file("signature-1")).unwrap();
    fs::write(file("signature-2"), b"\x90\x0d\x03").unwrap();
    std::os::unix::fs::symlink(valid.join("signature-1"), file("signature-3")).unwrap();
    fs::copy(valid.join("signature-1"), file("signature-4")).unwrap();
    fs::copy(valid.join("signature-1"), file("signature-6")).unwrap();
    let found = candidates(folder.path());
    assert_eq!((found.len(), payloads(&found).len()), (4, 2));
    same_as_triple(payloads(&found)[0], "ci-unknown-cosign-key");
    same_as_triple(payloads(&found)[1], "ci-cosign-valid-1");
}

/// Where cosign, skopeo and oras put the signature of a real image when they copy it.
#[test]
fn copied_signatures_are_found() {
    let storage = shared!("images/registry-storage");
    let options = Options { storage: Some(storage), ..Options::default() };
    let registry = need!(Registry::start(&options), "no docker-registry");
    let repository = format!("{}/travier/fedora-kinoite/sysexts", registry.address());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let image = format!("{repository}:41.mc");
    let digest = "9fa2cc574093e860565bbd096196d1b4a42fd1fa119bac8bd2b604012aea198a";
    let tag = format!("sha256-{digest}.sig");
    let mut copies = Vec::new();
    if let Some(skopeo) = tools::newest("skopeo") {
        for (from, to) in [("41.mc", "41.mc"), (tag.as_str(), tag.as_str())] {
            let from = format!("docker://{repository}:{from}");
            let to = format!("oci:{path}/skopeo:{to}");
            tools::run(&skopeo, ["copy", "-q", "--src-tls-verify=false", &from, &to]);
        }
        copies.extend([format!("oci:{path}/skopeo"), format!("oci:{path}/skopeo:41.mc")]);
        // The directory transport keeps signatures where they are configured, and skopeo can.
        fs::create_dir(folder.path().join("registries.d")).unwrap();
        let host = registry.address();
        let text = format!("docker: {{'{host}': {{use-sigstore-attachments: true}}}}\n");
        fs::write(folder.path().join("registries.d/test.yaml"), text).unwrap();
        let configuration = format!("{path}/registries.d");
        let (from, to) = (format!("docker://{image}"), format!("dir:{path}/dir"));
        let arguments = ["--registries.d", &configuration, "copy", "-q", "--src-tls-verify=false"];
        tools::run(&skopeo, [arguments.as_slice(), &[&from, &to]].concat());
        if folder.path().join("dir/signature-1").exists() {
            copies.push(to);
        }
    }
    if let Some(oras) = tools::newest("oras") {
        for name in ["41.mc", &tag] {
            let (from, to) = (format!("{repository}:{name}"), format!("{path}/oras:{name}"));
            tools::run(&oras, ["copy", "--from-plain-http", &from, "--to-oci-layout", &to]);
        }
        copies.push(format!("oci:{path}/oras:41.mc"));
    }
    if let Some(cosign) = tools::newest("cosign") {
        tools::run(&cosign, ["save", "--dir", &format!("{path}/cosign"), &image]);
        copies.push(format!("oci:{path}/cosign"));
        let archive = format!("{path}/cosign.tar");
        tools::run(Path::new("tar"), ["-C", &format!("{path}/cosign"), "-cf", &archive, "."]);
        copies.push(format!("oci-archive:{archive}"));
    }
    for copy in &copies {
        let read = read_all(copy, None).unwrap_or_else(|error| panic!("{copy}: {error}"));
        assert_eq!(read.resolved.manifest.digest.hex(), digest, "{copy}");
        let found = payloads(&read.candidates);
        assert_eq!((found.len(), read.candidates.len()), (1, 1), "{copy}");
        assert!(found[0].0.windows(64).any(|window| window == digest.as_bytes()), "{copy}");
        assert!(found[0].1.contains_key(SIGNATURE), "{copy}");
    }
}
