//! What the fuzz targets do, one module for each; `tests/fuzz.rs` does it with the seeds, too.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a finding is a panic"
)]

#[path = "../../tests/common/blob.rs"]
mod blob;
#[path = "../../tests/common/tars.rs"]
mod tars;
mod testdata;

#[cfg(fuzzing)]
pub mod auth_file;
pub mod base;
pub mod bundle;
pub mod certificate;
#[cfg(fuzzing)]
pub mod challenge;
pub mod decompress;
pub mod digest;
pub mod documents;
pub mod erofs;
pub mod explain;
pub mod file_contexts;
pub mod json;
pub mod layer;
mod layers;
pub mod listing;
pub mod os_release;
pub mod ostree;
pub mod policy_json;
pub mod policy_module;
pub mod public_key;
pub mod reference;
pub mod registries_conf;
pub mod registries_d;
pub mod repairs;
pub mod repository;
pub mod scan;
pub mod signature;
pub mod soname;
pub mod stack;
pub mod storage;
pub mod tar_split;
pub mod toc;
pub mod trust_root;

/// Something to fuzz.
pub struct Target {
    /// The name of its module, its file in `fuzz_targets/` and its corpus.
    pub name: &'static str,
    /// Panics if an invariant does not hold.
    pub run: fn(&[u8]),
    /// Inputs to start from, made from `testdata/`.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        /// All targets whose parsers have a public door.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),+];
    };
}

targets! {
    base, bundle, certificate, decompress, digest, documents, erofs, explain, file_contexts, json,
    layer, listing, os_release, ostree, policy_json, policy_module, public_key, reference, registries_conf,
    registries_d, repairs, repository, scan, signature, soname, stack, storage, tar_split, toc,
    trust_root,
}
