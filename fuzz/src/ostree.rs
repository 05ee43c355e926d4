//! Objects of an ostree commit.
//!
//! Input: an object, which is taken for the commit, and for its root directory.
//!
//! - Paths are plain, and so are those of their objects.
//! - What is found is no more than the limit, and no more than the object has bytes for.

use oci2sysext::base::ostree::{File, Objects};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Digest;

use super::layer::is_plain;

pub fn run(data: &[u8]) {
    let limits = Limits { entries: 20, ..Limits::default() };
    let digest = Digest::of(data);
    let commit = commit(digest);
    let objects: Objects = [data, &commit].map(<[u8]>::to_vec).into_iter().collect();
    for commit in [digest, Digest::of(&commit)] {
        let Ok(found) = objects.files(&commit.hex(), &limits, &|_| true) else { continue };
        assert!(found.len() <= 20 && found.len() * 33 <= data.len());
        for File { path, object } in found {
            assert!(is_plain(&path) && is_plain(&object));
        }
    }
}

/// A commit with a root directory and nothing else.
fn commit(root: Digest) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes.extend(root.as_bytes());
    bytes.extend([0; 32]);
    bytes.extend([48, 2, 1, 0, 0, 0]);
    bytes
}

/// A directory with files and directories of these names.
fn directory(files: &[&str], directories: &[&str]) -> Vec<u8> {
    let tuple = |name: &str, digests: usize| {
        let mut bytes = [name.as_bytes(), b"\0"].concat();
        let end = u8::try_from(bytes.len()).unwrap();
        bytes.resize(bytes.len() + 32 * digests, 7);
        if digests == 2 {
            bytes.push(end + 32);
        }
        bytes.push(end);
        bytes
    };
    let array = |elements: Vec<Vec<u8>>| {
        let mut offsets = Vec::new();
        let mut bytes = Vec::new();
        for element in elements {
            bytes.extend(element);
            offsets.push(u8::try_from(bytes.len()).unwrap());
        }
        [bytes, offsets].concat()
    };
    let files = array(files.iter().map(|name| tuple(name, 1)).collect());
    let end = u8::try_from(files.len()).unwrap();
    let directories = array(directories.iter().map(|name| tuple(name, 2)).collect());
    [files, directories, vec![end]].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        commit(Digest::of(b"")),
        directory(&[], &[]),
        directory(&["a"], &[]),
        directory(&["os-release", "b"], &["sysroot"]),
        directory(&[], &["usr"]),
    ]
}
