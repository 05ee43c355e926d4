//! registries.conf.
//!
//! - Every place of an image can be written as a reference and is read back as the same.
//! - What is blocked has no place; every other image has at least one.
//! - A refusal is one line of printable text.

use oci2sysext::oci::Repository;
use oci2sysext::trust::RegistriesConf;

pub fn run(data: &[u8]) {
    let conf = match RegistriesConf::parse(data) {
        Ok(conf) => conf,
        Err(line) => {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            return;
        }
    };
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for name in ["q.io/a/b:1", "docker.io/alpine", "[::1]:5/a", &format!("m.q.io:5/a@{digest}")] {
        if let Ok(places) = conf.places(&name.parse().unwrap()) {
            assert!(!places.is_empty());
            for place in places {
                let printed = place.repository.to_string();
                assert_eq!(printed.parse::<Repository>().unwrap(), place.repository);
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "unqualified-search-registries = ['docker.io']\n[aliases]\n'a' = 'q.io/a'\n",
        "[[registry]]\nprefix = 'q.io/a'\nlocation = 'm.test:5/x'\n[[registry.mirror]]\nlocation = 'n.test'\npull-from-mirror = 'digest-only'\ninsecure = true\n",
        "[[registry]]\nprefix = '*.q.io'\nblocked = true\n[[registry]]\nlocation = 'docker.io/library'\nmirror-by-digest-only = true\n",
    ])
}
