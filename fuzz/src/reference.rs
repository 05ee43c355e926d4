//! References.
//!
//! - What is accepted, printed and read again is the same.
//! - No control character gets into a name that goes to a registry, and nothing that a URL would
//!   take for something else: the address of its manifest has the same path, and neither user,
//!   query nor fragment.
//! - A refusal is one line of printable text.

use oci2sysext::oci::Reference;
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let reference = match text.parse::<Reference>() {
        Ok(reference) => reference,
        Err(error) => {
            let line = error.to_string();
            assert!(!line.chars().any(char::is_control), "{line:?}");
            return;
        }
    };
    let printed = reference.to_string();
    assert_eq!(printed.parse::<Reference>().unwrap(), reference, "{printed:?}");
    if let Reference::Registry { repository, tag, .. } = &reference {
        assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()), "{printed:?}");
        let tag = tag.as_deref().unwrap_or("none");
        let path = format!("/v2/{}/manifests/{tag}", repository.path);
        let url = format!("https://{}{path}", repository.host);
        let url: Url = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(url.path(), path);
        assert!(url.username().is_empty() && url.password().is_none());
        assert!(url.query().is_none() && url.fragment().is_none());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::testdata::files("reject/documents", "/reference");
    seeds.extend(super::testdata::texts(&[
        "quay.io/travier/fedora-kinoite/sysexts:htop",
        "docker://[::1]:5000/a/b__c:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "localhost:5000/a-b.c",
        "oci:layout:name",
        "oci-archive:file.tar:@0",
        "dir:folder",
    ]));
    seeds
}
