//! A name: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, by the grammar of distribution's `reference`
//! package. What is typed and what is signed are read by the same one.

use super::{Digest, Repository};
use crate::escape::Escaped;

/// A name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// What Docker takes for a host; none where the name is all path.
    pub host: Option<&'a str>,
    /// Path components, joined by `/`.
    pub path: &'a str,
    /// The tag, if there is one.
    pub tag: Option<&'a str>,
    /// The digest, if there is one.
    pub digest: Option<Digest>,
}

impl<'a> Name<'a> {
    /// Takes a name apart; the error says what was found and what was expected.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|e| format!("{e}"))?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; one before it, a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if name.len() > 255 {
            return Err(format!("found a name of {} bytes, expected at most 255", name.len()));
        }
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if is_host_like(host) => (Some(host), path),
            _ => (None, name),
        };
        if let Some(host) = host.filter(|host| !is_host(host)) {
            let host = Escaped(host.as_bytes());
            return Err(format!(
                "found the host {host:?}, expected a name or address, with a port or without"
            ));
        }
        if let Some(bad) = path.split('/').find(|component| !is_path_component(component)) {
            return Err(format!(
                "found the path component {:?}, expected lowercase letters and digits, with \
                 '.', '_', '__' or dashes between them",
                Escaped(bad.as_bytes())
            ));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            let start: String = tag.chars().take(300).collect();
            return Err(format!(
                "found the tag {:?}, expected up to 128 letters, digits, '_', '.' and '-', \
                 the first no '.' or '-'",
                Escaped(start.as_bytes())
            ));
        }
        Ok(Self { host, path, tag, digest })
    }

    /// The repository, in its one form; without a host it is Docker Hub's, as Docker has it.
    pub fn repository(&self) -> Repository {
        let host = self.host.unwrap_or("docker.io").to_owned();
        normal(&Repository { host, path: self.path.to_owned() })
    }
}

/// The one form of a repository's name: Docker Hub has several host names, and hides `library/`.
pub(crate) fn normal(repository: &Repository) -> Repository {
    let Repository { host, path } = repository;
    if !["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&&**host) {
        return repository.clone();
    }
    let library = if path.contains('/') { "" } else { "library/" };
    Repository { host: "docker.io".to_owned(), path: format!("{library}{path}") }
}

/// Whether the first component of a name is a host, and no part of a path on Docker Hub.
pub(crate) fn is_host_like(component: &str) -> bool {
    component == "localhost"
        || component.contains(['.', ':', '['])
        || component.chars().any(|c| c.is_ascii_uppercase())
}

/// Whether it is a host name or address, with a port or without.
pub(crate) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let (is_right, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address.parse::<std::net::Ipv6Addr>().is_ok(), None),
            Some((address, port)) => {
                let Some(port) = port.strip_prefix(':') else { return false };
                (address.parse::<std::net::Ipv6Addr>().is_ok(), Some(port))
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host.split('.').all(is_label), Some(port)),
            None => (text.split('.').all(is_label), None),
        },
    };
    is_right && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `[a-z0-9]+` joined by one `.`, one or two `_`, or any number of `-`.
pub(crate) fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.split(alphanumeric).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

/// The extension in a tag that starts with a release: `iwd` in `41.iwd`.
pub(crate) fn extension_in_tag(tag: &str) -> Option<&str> {
    let (release, name) = tag.split_once('.')?;
    let is_release = !release.is_empty() && release.bytes().all(|b| b.is_ascii_digit());
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let ends_well =
        name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'));
    (is_release && starts_well && ends_well).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_one_form() {
        for (text, expected) in [
            ("docker.io/alpine:3", "docker.io/library/alpine"),
            ("docker.io/library/alpine", "docker.io/library/alpine"),
            ("index.docker.io/alpine", "docker.io/library/alpine"),
            ("registry-1.docker.io/library/alpine", "docker.io/library/alpine"),
            ("registry-1.docker.io/user/image", "docker.io/user/image"),
            ("alpine", "docker.io/library/alpine"),
            ("user/alpine", "docker.io/user/alpine"),
            ("quay.io/alpine", "quay.io/alpine"),
            ("docker.io:443/alpine", "docker.io:443/alpine"),
            ("not-docker.io/alpine", "not-docker.io/alpine"),
        ] {
            assert_eq!(Name::parse(text).unwrap().repository().to_string(), expected, "{text}");
        }
    }
}
