//! Verdicts on bundles, certificates and log entries: sigstore's own cases, real signers, and
//! mutations of good ones made with an instance of our own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic, too")]

mod common;
#[path = "common/registry_faults.rs"]
#[allow(dead_code, missing_debug_implementations, reason = "shared with other tests")]
mod registry_faults;

#[path = "bundles/certificates.rs"]
mod certificates;
#[path = "bundles/conformance.rs"]
mod conformance;
#[path = "bundles/logs.rs"]
mod logs;
#[path = "bundles/mutations.rs"]
mod mutations;
#[path = "bundles/real.rs"]
mod real;
#[path = "bundles/rejects.rs"]
mod rejects;
#[path = "bundles/rows.rs"]
mod rows;
#[path = "bundles/signers.rs"]
mod signers;
#[path = "bundles/world.rs"]
mod world;
