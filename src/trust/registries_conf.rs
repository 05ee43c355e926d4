//! containers-registries.conf(5): from which places an image's bytes may come.
//!
//! The name that was asked for stays the name that must be signed; a mirror only serves bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Error;
use super::MAX_CONFIGURATION;
use super::file::{self, Owner};
use super::locations::RegistriesConfFiles;
use crate::escape::Escaped;
use crate::oci::{Place, Reference, Repository};
use crate::verify::SignedName;

/// What `registries.conf` and the files of `registries.conf.d` say, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesConf {
    registries: BTreeMap<String, Registry>,
}

/// A registry, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

/// A place with the same images.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(rename = "pull-from-mirror")]
    pulls: Option<PullFromMirror>,
}

/// Which images a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    All,
    DigestOnly,
    TagOnly,
}

/// A file. What is about short names, which are refused, and about helpers is only read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    registry: Vec<Registry>,
    #[serde(default, rename = "unqualified-search-registries")]
    _search: Vec<String>,
    #[serde(default, rename = "credential-helpers")]
    _helpers: Vec<String>,
    #[serde(rename = "short-name-mode")]
    _short_name_mode: Option<ShortNameMode>,
    #[serde(rename = "additional-layer-store-auth-helper")]
    _layer_store: Option<String>,
    #[serde(default, rename = "aliases")]
    _aliases: BTreeMap<String, String>,
    #[serde(rename = "registries")]
    version_1: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShortNameMode {
    Disabled,
    Enforcing,
    Permissive,
}

impl RegistriesConf {
    /// Reads the files; a later one has the last word on a prefix.
    pub(super) fn load(files: &RegistriesConfFiles) -> Result<Self, Error> {
        let mut paths: Vec<PathBuf> = files.main.iter().cloned().collect();
        for directory in &files.directories {
            paths.extend(file::list(directory, ".conf")?.unwrap_or_default());
        }
        let mut all = Self::default();
        for path in paths {
            let bytes = file::read(&path, MAX_CONFIGURATION, false, Owner::Anybody)?;
            let refuse = |problem| Error::Configuration { path: path.clone(), problem };
            all.registries.extend(Self::parse(&bytes).map_err(refuse)?.registries);
        }
        Ok(all)
    }

    /// Reads one file; the error says what was found and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = toml::from_slice(bytes).map_err(|error| shown(error.message()))?;
        if document.version_1.is_some() {
            return Err("found [registries], the first version of this format; expected \
                        [[registry]]"
                .to_owned());
        }
        let mut registries: BTreeMap<String, Registry> = BTreeMap::new();
        let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for registry in document.registry {
            let registry = registry.checked()?;
            let place = [&registry.location, &registry.prefix];
            let place =
                place.into_iter().find(|text| !text.is_empty()).cloned().unwrap_or_default();
            let says = (registry.insecure, registry.blocked);
            if *seen.entry(place.clone()).or_insert(says) != says {
                return Err(format!(
                    "{:?}: found insecure or blocked in two ways, expected one",
                    shown(&place)
                ));
            }
            registries.entry(registry.prefix.clone()).or_insert(registry);
        }
        Ok(Self { registries })
    }

    /// Where an image may be fetched from, in the order in which to try; its own place is the
    /// last.
    pub fn places(&self, reference: &Reference) -> Result<Vec<Place>, Problem> {
        let Reference::Registry { repository, digest, .. } = reference else {
            return Ok(Vec::new());
        };
        let asked = SignedName::asked(repository, None, None).repository.to_string();
        let Some((registry, end)) = self.find(&asked) else {
            return Ok(vec![Place { repository: repository.clone(), insecure: false }]);
        };
        if registry.blocked {
            return Err(Problem::Blocked { prefix: registry.prefix.clone() });
        }
        let rest = asked.get(end..).unwrap_or_default();
        let mut places = Vec::new();
        for mirror in &registry.mirror {
            let is_for = match mirror.pulls {
                None if registry.mirror_by_digest_only => digest.is_some(),
                None | Some(PullFromMirror::All) => true,
                Some(PullFromMirror::DigestOnly) => digest.is_some(),
                Some(PullFromMirror::TagOnly) => digest.is_none(),
            };
            if is_for {
                places.push(place(&mirror.location, rest, mirror.insecure)?);
            }
        }
        places.push(if registry.location.is_empty() {
            place(&asked, "", registry.insecure)?
        } else {
            place(&registry.location, rest, registry.insecure)?
        });
        // A mirror that is blocked itself is not asked.
        let blocked = |place: &Place| {
            let name = place.repository.to_string();
            self.find(&name).filter(|(registry, _)| registry.blocked).map(|(found, _)| found)
        };
        if let Some(found) = places.last().and_then(blocked) {
            return Err(Problem::Blocked { prefix: found.prefix.clone() });
        }
        places.retain(|place| blocked(place).is_none());
        Ok(places)
    }

    /// The registry with the longest prefix, and how much of `name` that is.
    fn find(&self, name: &str) -> Option<(&Registry, usize)> {
        self.registries
            .values()
            .filter_map(|registry| Some((registry, matches(name, &registry.prefix)?)))
            .max_by_key(|(registry, _)| registry.prefix.len())
    }
}

impl Registry {
    fn checked(mut self) -> Result<Self, String> {
        self.location = location(&self.location)?;
        self.prefix = location(&self.prefix)?;
        if self.prefix.is_empty() {
            if self.location.is_empty() {
                return Err("[[registry]]: expected prefix or location".to_owned());
            }
            self.prefix.clone_from(&self.location);
        }
        let name = shown(&self.prefix);
        let is_wildcard = self.prefix.starts_with("*.");
        if is_wildcard && self.prefix.contains(['/', '@', ':']) {
            return Err(format!("{name:?}: expected a wildcard like *.example.com"));
        }
        if !is_wildcard && self.location.is_empty() {
            return Err(format!("{name:?}: expected location, or a prefix like *.example.com"));
        }
        for mirror in &mut self.mirror {
            mirror.location = location(&mirror.location)?;
            if mirror.location.is_empty() {
                return Err(format!("{name:?}: found a mirror without location"));
            }
            if self.mirror_by_digest_only && mirror.pulls.is_some() {
                return Err(format!(
                    "{name:?}: found mirror-by-digest-only and pull-from-mirror, expected one"
                ));
            }
        }
        Ok(self)
    }
}

/// Why there is no place to fetch an image from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// `blocked = true`
    Blocked {
        /// The prefix that is blocked.
        prefix: String,
    },
    /// A location is no name, or gives none together with the image's.
    Location {
        /// The location.
        location: String,
    },
}

fn location(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(format!("found {:?}, expected HOST[/PATH] without http", shown(text)));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn place(location: &str, rest: &str, insecure: bool) -> Result<Place, Problem> {
    format!("{location}{rest}")
        .parse::<Repository>()
        .map(|repository| Place { repository, insecure })
        .map_err(|_| Problem::Location { location: shown(location) })
}

/// How much of `name` a prefix is, if it is one: up to a `/`, a port, or the end.
fn matches(name: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*') {
        Some(domain) if domain.starts_with('.') => {
            let at = name.find(domain)?;
            if name.get(..at)?.contains('/') {
                return None;
            }
            at.checked_add(domain.len())?
        }
        _ => name.starts_with(prefix).then_some(prefix.len())?,
    };
    matches!(name.as_bytes().get(end), None | Some(b'/' | b':' | b'@')).then_some(end)
}

/// The beginning of a text from a file, safe to print.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(200).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"
        unqualified-search-registries = ["docker.io"]
        short-name-mode = "enforcing"
        [aliases]
        "fedora" = "registry.fedoraproject.org/fedora"

        [[registry]]
        prefix = "q.io/travier"
        location = "q.io/travier"
        [[registry.mirror]]
        location = "m1.test:5000/t"
        insecure = true
        [[registry.mirror]]
        location = "m2.test/"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "m3.test"
        pull-from-mirror = "tag-only"

        [[registry]]
        location = "bad.test"
        blocked = true

        [[registry]]
        prefix = "*.corp.test"
        insecure = true
    "#;

    fn places(text: &str, reference: &str) -> Result<Vec<String>, Problem> {
        let found = RegistriesConf::parse(text.as_bytes()).unwrap();
        let places = found.places(&reference.parse().unwrap())?;
        Ok(places
            .iter()
            .map(|place| format!("{}{}", place.repository, if place.insecure { "!" } else { "" }))
            .collect())
    }

    #[test]
    fn mirrors_come_before_the_place_itself() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        assert_eq!(
            places(GOOD, "q.io/travier/a:1").unwrap(),
            ["m1.test:5000/t/a!", "m3.test/a", "q.io/travier/a"]
        );
        assert_eq!(
            places(GOOD, &format!("q.io/travier/a{digest}")).unwrap(),
            ["m1.test:5000/t/a!", "m2.test/a", "q.io/travier/a"]
        );
        assert_eq!(places(GOOD, "q.io/travier2/a").unwrap(), ["q.io/travier2/a"]);
        assert_eq!(places(GOOD, "x.corp.test/a").unwrap(), ["x.corp.test/a!"]);
        assert_eq!(places(GOOD, "x.corp.test:5/a").unwrap(), ["x.corp.test:5/a!"]);
        assert_eq!(places(GOOD, "corp.test/a").unwrap(), ["corp.test/a"]);
        assert_eq!(places(GOOD, "q.io/a.corp.test").unwrap(), ["q.io/a.corp.test"]);
        let blocked = Problem::Blocked { prefix: "bad.test".to_owned() };
        assert_eq!(places(GOOD, "bad.test/a"), Err(blocked));
        assert_eq!(places(GOOD, "oci:/x"), Ok(Vec::new()));
        // Docker Hub under its long name.
        let hub = "[[registry]]\nprefix = 'docker.io/library'\nlocation = 'm.test/hub'";
        assert_eq!(places(hub, "docker.io/alpine").unwrap(), ["m.test/hub/alpine"]);
        let digests = "[[registry]]\nlocation = 'q.io'\nmirror-by-digest-only = true\n\
                       [[registry.mirror]]\nlocation = 'm.test'";
        assert_eq!(places(digests, "q.io/a:1").unwrap(), ["q.io/a"]);
        assert_eq!(places(digests, &format!("q.io/a{digest}")).unwrap(), ["m.test/a", "q.io/a"]);
        let indirect = "[[registry]]\nlocation = 'q.io'\n[[registry.mirror]]\nlocation = 'bad.test'\n\
                        [[registry]]\nlocation = 'bad.test'\nblocked = true";
        assert_eq!(places(indirect, "q.io/a").unwrap(), ["q.io/a"]);
        let nameless = "[[registry]]\nprefix = 'q.io/a'\nlocation = 'host'";
        assert!(matches!(places(nameless, "q.io/a"), Err(Problem::Location { .. })));
    }

    #[test]
    fn the_longest_prefix_counts_and_the_first_of_equals() {
        let text = "[[registry]]\nprefix = 'q.io'\nlocation = 'a.test'\n\
                    [[registry]]\nprefix = 'q.io/x'\nlocation = 'b.test'\n\
                    [[registry]]\nprefix = 'q.io/x'\nlocation = 'c.test'";
        assert_eq!(places(text, "q.io/x/y").unwrap(), ["b.test/y"]);
        assert_eq!(places(text, "q.io/z").unwrap(), ["a.test/z"]);
    }

    #[test]
    fn every_other_text_is_refused() {
        for bad in [
            "[[registry]]",
            "[[registry]]\nprefix = 'q.io'",
            "[[registry]]\nlocation = 1",
            "[[registry]]\nlocation = 'https://q.io'",
            "[[registry]]\nlocation = 'http://q.io'",
            "[[registry]]\nlocation = 'q.io'\nblocked = 'true'",
            "[[registry]]\nlocation = 'q.io'\nblockd = true",
            "[[registry]]\nlocation = 'q.io'\nBlocked = true",
            "[[registry]]\nlocation = 'q.io'\nblocked = true\nblocked = false",
            "[[registry]]\nlocation = 'q.io'\npull-from-mirror = 'all'",
            "[[registry]]\nprefix = '*.q.io/a'\nlocation = 'x.test'",
            "[[registry]]\nprefix = '*.q.io:5'",
            "[registry]\nlocation = 'q.io'",
            "[[registries]]\nlocation = 'q.io'",
            "[[registry]]\nlocation = 'q.io'\n[[registry.mirror]]",
            "[[registry]]\nlocation = 'q.io'\n[[registry.mirror]]\nlocation = ''",
            "[[registry]]\nlocation = 'q.io'\n[[registry.mirror]]\nlocation = 'https://m.test'",
            "[[registry]]\nlocation = 'q.io'\n[[registry.mirrors]]\nlocation = 'm.test'",
            "[[registry]]\nlocation = 'q.io'\n[[registry.mirror]]\nlocation = 'm.test'\npull-from-mirror = 'tags'",
            "[[registry]]\nlocation = 'q.io'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'm.test'\npull-from-mirror = 'all'",
            "[[registry]]\nlocation = 'q.io'\nblocked = true\n[[registry]]\nprefix = 'b.test'\nlocation = 'q.io'",
            "[[registry]]\nlocation = 'q.io'\ninsecure = true\n[[registry]]\nprefix = 'b.test'\nlocation = 'q.io'",
            "[registries.search]\nregistries = ['q.io']",
            "short-name-mode = 'sometimes'",
            "unqualified-search-registries = 'docker.io'",
            "unknown = true",
            "[[registry]\nlocation = 'q.io'",
        ] {
            assert!(RegistriesConf::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(RegistriesConf::parse(b"# \xff").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = RegistriesConf::parse(text.as_bytes());
        }

        #[test]
        fn no_changed_file_panics(at in 0..GOOD.len(), byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(conf) = RegistriesConf::parse(&bytes) {
                let _ = conf.places(&"q.io/travier/a:1".parse().unwrap());
            }
        }
    }
}
