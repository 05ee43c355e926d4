//! Registries: a real one (Debian's docker-registry, with images pushed by skopeo), and one that
//! fails on purpose. Each test of a row of bad-inputs.md is named after it.

#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;
mod tools;

mod credentials;
mod documents;
mod download;
mod real;
mod redirects;
mod tls;
