//! What the end-to-end tests share: outside tools, a real registry, signers, and the program.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test program uses a part")]

pub mod ca;
pub mod data;
pub mod command;
pub mod faults;
pub mod hub;
pub mod layout;
pub mod listing;
pub mod meter;
pub mod mount;
pub mod reference;
pub mod registry;

pub mod sign;
pub mod tarball;
pub mod tools;

use std::path::{Path, PathBuf};

/// Ends a test that lacks something on this machine, and says so.
macro_rules! not_run {
    ($($reason:tt)+) => {{
        $crate::common::data::say_not_run(&format!($($reason)+));
        return;
    }};
}
pub(crate) use not_run;

/// The value of an `Option`; where there is none, the test ends as not run.
macro_rules! need {
    ($value:expr, $($reason:tt)+) => {
        match $value {
            Some(value) => value,
            None => $crate::common::not_run!($($reason)+),
        }
    };
}
pub(crate) use need;

/// A path below the shared `data`; where it is missing the test ends as not run, or fails where
/// `O2S_REQUIRE_SHARED=1`.
macro_rules! shared {
    ($path:expr) => {
        match $crate::common::data::needed($path) {
            Some(path) => path,
            None => return,
        }
    };
}
pub(crate) use shared;

/// A file or directory of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The sample image without its signature, as a source for skopeo; `directory` is where to make it.
pub fn sample_image(directory: &Path) -> String {
    let layout = repository("testdata/sample/layout");
    tools::shell("cp -r \"$1/.\" \"$2\"", [&layout, directory]);
    let index = std::fs::read(layout.join("index.json")).expect("the sample's index");
    let mut index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let images = index.get_mut("manifests").and_then(serde_json::Value::as_array_mut);
    images.expect("manifests").retain(|entry| {
        entry
            .pointer("/annotations/kind")
            .is_some_and(|kind| kind == "dev.cosignproject.cosign/image")
    });
    std::fs::write(directory.join("index.json"), index.to_string()).expect("a written index");
    format!("oci:{}", directory.display())
}
