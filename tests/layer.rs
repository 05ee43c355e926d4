//! Reading layers: what is refused, what is read, and what outside judges say of it.

#[path = "common/blob.rs"]
mod blob;
#[path = "layer/corpus.rs"]
mod corpus;
#[path = "layer/rejects.rs"]
mod rejects;
#[path = "common/tars.rs"]
mod tars;
