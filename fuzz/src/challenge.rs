//! Challenges of registries; what holds of them is at the door.

pub use oci2sysext::oci::fuzz::challenge as run;
