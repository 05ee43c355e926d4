//! Registries: a real one (Debian's docker-registry, with images pushed by skopeo), and one that
//! fails on purpose. Each test of a row of bad-inputs.md is named after it.

#[path = "../common/registry_faults.rs"]
mod faults;
#[path = "../common/registry_tools.rs"]
mod tools;

mod credentials;
mod documents;
mod download;
mod real;
mod redirects;
mod tls;
