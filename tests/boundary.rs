//! Which layers are the extension's, and what several of them come to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

mod common;

#[path = "common/blob.rs"]
mod blob;
#[path = "common/tars.rs"]
mod tars;

#[path = "boundary/builders.rs"]
mod builders;
#[path = "boundary/dnf.rs"]
mod dnf;
#[path = "boundary/merging.rs"]
mod merging;
#[path = "boundary/model.rs"]
mod model;
#[path = "boundary/random.rs"]
mod random;
#[path = "boundary/rules.rs"]
mod rules;
