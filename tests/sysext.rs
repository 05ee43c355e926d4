//! From layers to extensions: named rejects, bases of every shape, a real image.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "common/blob.rs"]
mod blob;
#[path = "common/data.rs"]
mod data;
#[path = "common/tars.rs"]
mod tars;

#[path = "sysext/bases.rs"]
mod bases;
#[path = "sysext/case.rs"]
mod case;
#[path = "sysext/random.rs"]
mod random;
#[path = "sysext/real.rs"]
mod real;
#[path = "sysext/rejects.rs"]
mod rejects;
