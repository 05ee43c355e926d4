//! containers-storage.conf(5): where this host keeps the layers of images that it has pulled.
//!
//! It says where to look, and nothing counts for being found there: so a mistake in it is a warning,
//! and as good as no file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::MAX_CONFIGURATION;
use super::file::{self, Owner};
use super::locations::{StorageConf, StorageFiles};
use crate::escape::Escaped;

/// What is read of a file; much else may be in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    storage: Storage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    graphroot: Option<PathBuf>,
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    additionalimagestores: Vec<PathBuf>,
}

/// The directories of all storages, in the order in which they are asked.
pub fn storages(files: &StorageFiles) -> Vec<PathBuf> {
    let as_root = rustix::process::geteuid().is_root();
    let conf = files.files.iter().find(|conf| conf.path.try_exists().unwrap_or(true));
    let document = conf.map(|conf| (conf, read(&conf.path, as_root)));
    let (is_own, Storage { graphroot, options }) = match document {
        Some((StorageConf { is_own, .. }, Ok(document))) => (*is_own, document.storage),
        Some((StorageConf { path, .. }, Err(problem))) => {
            tracing::warn!("{}: {problem}: it is not read", path.display());
            (false, Storage::default())
        }
        None => (false, Storage::default()),
    };
    let graphroot = graphroot.filter(|_| is_own).or_else(|| files.graphroot.clone());
    let more = options.additionalimagestores.into_iter().chain(files.more.iter().cloned());
    let mut found = Vec::new();
    for path in graphroot.into_iter().chain(more).filter(|path| path.is_absolute()) {
        if !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

fn read(path: &Path, as_root: bool) -> Result<Document, String> {
    let bytes = file::read(path, MAX_CONFIGURATION, as_root, Owner::Root);
    parse(&bytes.map_err(|error| error.to_string())?)
}

fn parse(bytes: &[u8]) -> Result<Document, String> {
    toml::from_slice(bytes).map_err(|error| Escaped(error.message().as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn storages_are_where_the_first_file_says() {
        let place = tempfile::tempdir().unwrap();
        let conf = |name: &str, text: &str, is_own| {
            let path = place.path().join(name);
            fs::write(&path, text).unwrap();
            StorageConf { path, is_own }
        };
        let text = "[storage]\ndriver = \"overlay\"\ngraphroot = \"/graph\"\n\
                    [storage.options]\nadditionalimagestores = [\"/more\", \"less\", \"/bootc\"]\n";
        let found = |files: Vec<StorageConf>| {
            let graphroot = Some("/default".into());
            storages(&StorageFiles { files, graphroot, more: vec!["/bootc".into()] })
        };
        let absent = StorageConf { path: place.path().join("absent"), is_own: true };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(found(vec![]), paths(&["/default", "/bootc"]));
        let own = conf("own", text, true);
        assert_eq!(found(vec![absent.clone(), own]), paths(&["/graph", "/more", "/bootc"]));
        let system = conf("system", text, false);
        assert_eq!(found(vec![absent, system.clone()]), paths(&["/default", "/more", "/bootc"]));
        for bad in ["[storage", "storage = 1", "[storage]\ngraphroot = [1]\n", "\0"] {
            let bad = conf("bad", bad, true);
            assert_eq!(found(vec![bad, system.clone()]), paths(&["/default", "/bootc"]));
        }
    }

    #[test]
    fn named_rejects() {
        for (text, expected) in [
            ("[storage", "unclosed table"),
            ("storage = 1", "invalid type: integer"),
            ("[storage]\ngraphroot = [1]", "invalid type: sequence"),
            ("[storage.options]\nadditionalimagestores = \"/a\"", "invalid type: string"),
            ("[storage]\n[storage]", "duplicate key"),
        ] {
            let found = parse(text.as_bytes()).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
