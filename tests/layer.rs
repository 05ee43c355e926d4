//! Reading layers: what is refused, what is read, and what outside judges say of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

#[path = "common/blob.rs"]
mod blob;
#[path = "common/data.rs"]
mod data;
#[path = "common/tars.rs"]
mod tars;

#[path = "layer/budgets.rs"]
mod budgets;
#[path = "layer/corpus.rs"]
mod corpus;
#[path = "layer/judges.rs"]
mod judges;
#[path = "layer/random.rs"]
mod random;
#[path = "layer/reading.rs"]
mod reading;
#[path = "layer/real.rs"]
mod real;
#[path = "layer/rejects.rs"]
mod rejects;
#[path = "layer/scanning.rs"]
mod scanning;
