//! Scopes: the names under which containers' configuration knows an image
//! (containers-policy.json(5), containers-registries.d(5)).

use std::path::{Path, PathBuf};

use crate::oci::Reference;
use crate::verify::SignedName;

/// An image as containers' configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// `docker`, `oci`, `oci-archive` or `dir`.
    pub transport: &'static str,
    /// What may be said of it, the most specific first; all images (`""`) are not among them.
    pub names: Vec<String>,
    /// The name it is asked for by, if it is in a registry.
    pub asked: Option<SignedName>,
}

impl Scopes {
    /// The scopes of an image.
    pub fn of(reference: &Reference) -> Self {
        match reference {
            Reference::Registry { repository, tag, digest } => {
                let asked = SignedName::asked(repository, tag.as_deref(), *digest);
                let names = of_name(&asked);
                Self { transport: "docker", names, asked: Some(asked) }
            }
            Reference::Layout { path, .. } => Self::of_path("oci", path),
            Reference::Archive { path, .. } => Self::of_path("oci-archive", path),
            Reference::Dir { path } => Self::of_path("dir", path),
        }
    }

    fn of_path(transport: &'static str, path: &Path) -> Self {
        let names = explicit(path)
            .ancestors()
            // What is no UTF-8 is in no policy.
            .filter_map(Path::to_str)
            .filter(|path| *path != "/")
            .map(str::to_owned)
            .collect();
        Self { transport, names, asked: None }
    }
}

/// The path without symlinks; where it does not exist, its directory's, for the message to come.
fn explicit(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent().map(Path::canonicalize), absolute.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// The image, its repository, what is above it, its host, and the domains of the host.
fn of_name(asked: &SignedName) -> Vec<String> {
    let name = asked.repository.to_string();
    let mut names = Vec::new();
    names.extend(asked.digest.map(|digest| format!("{name}@{digest}")));
    names.extend(asked.tag.as_ref().map(|tag| format!("{name}:{tag}")));
    let mut rest = name.as_str();
    names.push(rest.to_owned());
    while let Some((above, _)) = rest.rsplit_once('/') {
        rest = above;
        names.push(rest.to_owned());
    }
    let mut domain = rest.split_once(':').map_or(rest, |(host, _)| host);
    while let Some((_, above)) = domain.split_once('.') {
        domain = above;
        names.push(format!("*.{domain}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(reference: &str) -> Vec<String> {
        Scopes::of(&reference.parse().unwrap()).names
    }

    #[test]
    fn the_most_specific_scope_is_first() {
        assert_eq!(
            scopes("a.b.test:5000/ns/img:1"),
            [
                "a.b.test:5000/ns/img:1",
                "a.b.test:5000/ns/img",
                "a.b.test:5000/ns",
                "a.b.test:5000",
                "*.b.test",
                "*.test"
            ]
        );
        assert_eq!(
            scopes("docker.io/alpine"),
            [
                "docker.io/library/alpine:latest",
                "docker.io/library/alpine",
                "docker.io/library",
                "docker.io",
                "*.io"
            ]
        );
        assert_eq!(scopes("localhost/a")[1..], ["localhost/a", "localhost"]);
        let digest = format!("q.io/a@sha256:{}", "0".repeat(64));
        assert_eq!(scopes(&digest)[..2], [digest.as_str(), "q.io/a"]);
    }

    #[test]
    fn a_local_image_is_known_by_where_it_really_is() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("image")).unwrap();
        std::os::unix::fs::symlink("image", real.join("link")).unwrap();
        for (name, expected) in [("link", "image"), ("image/.", "image"), ("missing", "missing")] {
            let names = scopes(&format!("dir:{}", directory.path().join(name).display()));
            assert_eq!(Path::new(&names[0]), real.join(expected));
            assert_eq!(Path::new(&names[1]), real);
            assert!(names.iter().all(|name| name != "/" && !name.is_empty()));
        }
        assert_eq!(Scopes::of(&"oci-archive:/x:y".parse().unwrap()).transport, "oci-archive");
    }
}
