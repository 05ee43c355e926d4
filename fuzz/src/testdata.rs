//! Files of `testdata/`.

use std::fs;
use std::path::{Path, PathBuf};

/// A file or folder of `testdata/`, from this package or from the one above.
pub fn path(name: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root =
        if package.join("testdata").is_dir() { package.to_owned() } else { package.join("..") };
    root.join("testdata").join(name)
}

/// The contents of all files below a folder that have this ending, in the order of their paths.
pub fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![path(folder)];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Texts as seeds.
pub fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
