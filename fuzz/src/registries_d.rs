//! Files of registries.d.
//!
//! - Nothing is looked at where no namespace says so: an image of no scope has what
//!   `default-docker` says, and that is not said by a file without the word.
//! - A refusal is one line of printable text.

use oci2sysext::trust::RegistriesD;

pub fn run(data: &[u8]) {
    match RegistriesD::parse(data) {
        Ok(file) => {
            let text = std::str::from_utf8(data).unwrap();
            let says = |scope: &str| file.use_attachments(&[scope.to_owned()]);
            let can = text.to_lowercase().contains("true");
            for scope in ["q.io", "q.io/a", "x.test", ""] {
                assert!(can || !says(scope), "{text:?}");
            }
        }
        Err(line) => assert!(!line.chars().any(char::is_control), "{line:?}"),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "default-docker:\n  lookaside: https://x\n",
        "docker:\n  q.io:\n    use-sigstore-attachments: true\n  \"q.io/a\": {}\n",
        "# nothing\n---\ndocker: {q.io: {lookaside-staging: 'file:///x', use-sigstore-attachments: False}}\n...\n",
    ])
}
