//! Files with credentials; what holds of them is at the door.

pub use oci2sysext::oci::fuzz::auth_file as run;
