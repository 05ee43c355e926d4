//! Verdicts on bundles, certificates and log entries: sigstore's own cases, real signers, and
//! mutations of good ones made with an instance of our own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic, too")]
#![allow(
    clippy::too_many_lines,
    clippy::semicolon_if_nothing_returned,
    clippy::type_complexity,
    reason = "a table is as long as its cases, and each of them short"
)]

mod common;

#[path = "bundles/artifacts.rs"]
mod artifacts;
#[path = "bundles/certificates.rs"]
mod certificates;
#[path = "bundles/conformance.rs"]
mod conformance;
#[path = "bundles/demands.rs"]
mod demands;
#[path = "bundles/logs.rs"]
mod logs;
#[path = "bundles/mutations.rs"]
mod mutations;
#[path = "bundles/own_authority.rs"]
mod own_authority;
#[path = "bundles/pki.rs"]
mod pki;
#[path = "bundles/real.rs"]
mod real;
#[path = "bundles/rejects.rs"]
mod rejects;
#[path = "bundles/rows.rs"]
mod rows;
#[path = "bundles/signers.rs"]
mod signers;
#[path = "bundles/update.rs"]
mod update;
#[path = "bundles/world.rs"]
mod world;
