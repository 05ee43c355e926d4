//! Bases as ostree-ext writes them (`ostree container encapsulate`), made of commits of the real
//! `ostree`, since Debian has no tool that encapsulates. One that ostree-ext wrote itself is in
//! `testdata/base/encapsulated`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::common::layout::{Image, digest};
use crate::common::tarball::gzip;
use crate::common::tools;

/// Where objects are in layers.
const OBJECTS: &str = "sysroot/ostree/repo/objects";

/// A tree that is to be committed, and whose files belong to packages.
pub struct Root {
    directory: tempfile::TempDir,
    owners: BTreeMap<String, &'static str>,
}

/// The layers of a commit: tar archives and the packages of each, and the commit's checksum.
pub struct Export {
    pub layers: Vec<(Vec<u8>, Option<String>)>,
    pub commit: String,
    /// Where the object of each file is.
    pub carriers: BTreeMap<String, String>,
}

impl Root {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, owners: BTreeMap::new() }
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.directory.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    /// A file of a package; of none where the name is empty.
    pub fn file(mut self, package: &'static str, path: &str, contents: &[u8]) -> Self {
        fs::write(self.place(path), contents).unwrap();
        self.owners.insert(path.to_owned(), package);
        self
    }

    pub fn symlink(mut self, package: &'static str, path: &str, target: &str) -> Self {
        symlink(target, self.place(path)).unwrap();
        self.owners.insert(path.to_owned(), package);
        self
    }

    /// Commits the tree to a new repository, the same commit in each mode; its checksum.
    pub fn commit(&self, ostree: &Path, mode: &str) -> (tempfile::TempDir, String) {
        let repository = tempfile::tempdir().unwrap();
        let repo = format!("--repo={}", repository.path().display());
        tools::run(ostree, [&repo, "init", &format!("--mode={mode}")]);
        let tree = format!("--tree=dir={}", self.directory.path().display());
        let arguments =
            ["--branch=base", "--owner-uid=0", "--owner-gid=0", "--no-xattrs", "--timestamp=@0"];
        let commit = tools::run(ostree, [&repo, "commit", &tree].into_iter().chain(arguments));
        (repository, commit.trim().to_owned())
    }

    /// Commits the tree and exports it in as many layers as there are groups of packages, and the
    /// first one with what belongs to none.
    pub fn export(&self, ostree: &Path, groups: &[&str]) -> Export {
        let (repository, commit) = self.commit(ostree, "archive");
        let repo = format!("--repo={}", repository.path().display());
        let listing = tools::run(ostree, [&repo, "ls", "-R", "-C", "base"]);
        let object = |checksum: &str, kind: &str| {
            let (first, rest) = checksum.split_at(2);
            let name = format!("{first}/{rest}.{kind}");
            let bytes = fs::read(repository.path().join("objects").join(&name));
            (format!("{OBJECTS}/{name}"), bytes.unwrap_or_default())
        };

        let mut first = Archive::new();
        first.directory("./", 0o755);
        for path in ["sysroot", "sysroot/ostree", "sysroot/ostree/repo", OBJECTS] {
            first.directory(path, 0o755);
        }
        let (path, bytes) = object(&commit, "commit");
        first.file(&path, &bytes, 0o644);
        let mut carriers = BTreeMap::new();
        let mut chunks: Vec<_> = groups.iter().map(|_| Archive::new()).collect();
        for line in listing.lines() {
            // TYPE+MODE UID GID SIZE CHECKSUM [CHECKSUM] /PATH [-> TARGET]
            let mut words = line.split_ascii_whitespace();
            let (kind, mode) = words.next().unwrap().split_at(1);
            let mode = u32::from_str_radix(mode, 8).unwrap();
            let checksum = words.nth(3).unwrap();
            if kind == "d" {
                let metadata = words.next().unwrap();
                for (checksum, kind) in [(checksum, "dirtree"), (metadata, "dirmeta")] {
                    let (path, bytes) = object(checksum, kind);
                    first.file(&path, &bytes, 0o644);
                }
                let path = words.next().unwrap().trim_start_matches('/');
                if !path.is_empty() {
                    first.directory(&as_in_layers(path), mode);
                }
                continue;
            }
            let path = words.next().unwrap().trim_start_matches('/');
            let package = self.owners[path];
            let group = groups.iter().position(|group| group.split(',').any(|it| it == package));
            let archive = group.map_or(&mut first, |group| &mut chunks[group]);
            let (carrier, _) = object(checksum, "file");
            carriers.insert(path.to_owned(), carrier.clone());
            let source = self.directory.path().join(path);
            if kind == "l" {
                archive.symlink(&carrier, &fs::read_link(source).unwrap());
            } else {
                let contents = fs::read(source).unwrap();
                archive.file(&carrier, &contents, mode);
                if contents.is_empty() {
                    archive.file(&as_in_layers(path), b"", mode);
                    continue;
                }
            }
            archive.hard_link(&as_in_layers(path), &carrier);
        }
        let mut layers = vec![(first.finish(), None)];
        for (archive, group) in chunks.into_iter().zip(groups) {
            layers.push((archive.finish(), Some((*group).to_owned())));
        }
        Export { layers, commit, carriers }
    }
}

impl Export {
    /// An image of the commit and more layers above; `labelled` or as if it were any other.
    pub fn image(&self, above: &[Vec<u8>], labelled: bool) -> Image {
        let tars = self.layers.iter().map(|(tar, _)| tar).chain(above);
        let blobs: Vec<_> = tars.map(|tar| (gzip(tar), tar.clone())).collect();
        let mut image = Image::of_blobs(&blobs);
        if labelled {
            let (last, _) = self.layers.last().unwrap();
            image.config["config"] = json!({ "Labels": {
                "ostree.commit": self.commit,
                "ostree.final-diffid": digest(last),
            }});
            for (index, (_, components)) in self.layers.iter().enumerate() {
                if let Some(components) = components {
                    image.manifest["layers"][index]["annotations"] =
                        json!({ "ostree.components": components });
                }
            }
        }
        image
    }
}

/// ostree's `/usr/etc` is `/etc` in layers.
fn as_in_layers(path: &str) -> String {
    match path.strip_prefix("usr/etc") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("etc{rest}"),
        _ => path.to_owned(),
    }
}

/// An archive as the `tar` crate writes it, which ostree-ext uses.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, size: usize, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(mode);
        header.set_size(size as u64);
        header
    }

    fn directory(&mut self, path: &str, mode: u32) {
        let mut header = Self::header(tar::EntryType::Directory, 0, mode);
        self.0.append_data(&mut header, path, &mut std::io::empty()).unwrap();
    }

    fn file(&mut self, path: &str, contents: &[u8], mode: u32) {
        let mut header = Self::header(tar::EntryType::Regular, contents.len(), mode);
        self.0.append_data(&mut header, path, contents).unwrap();
    }

    fn symlink(&mut self, path: &str, target: &Path) {
        let mut header = Self::header(tar::EntryType::Symlink, 0, 0o777);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    fn hard_link(&mut self, path: &str, target: &str) {
        let mut header = Self::header(tar::EntryType::Link, 0, 0o644);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
