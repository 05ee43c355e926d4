//! Turns the layer of a signed container image into a systemd system extension.
//!
//! Data flows one way, through these rooms; [`convert`] is the corridor between them, and
//! [`admit`] its door.
//!
//! | room | takes | gives |
//! |---|---|---|
//! | [`oci`] | a reference | untrusted bytes, bounded; the only room with sockets |
//! | [`trust`] | files and flags | the [`trust::Decision`]: which keys, which names, for which image |
//! | [`verify`] | bytes and a policy | [`verify::Verified`]; pure, and the only origin of trust |
//! | [`layer`] | verified blobs | [`layer::LayerTree`], merged; contents go straight into a sink |
//! | [`base`] | the verified lower layers | [`base::Base`]: os-release, policy, directory metadata |
//! | [`selinux`] | a policy's file contexts | the label of a path |
//! | [`sysext`] | a layer tree and a base | [`sysext::Sysext`], by an ordered list of transforms |
//! | [`image`] | a sysext | [`image::Staged`], an EROFS or composefs image, read back and checked |
//! | [`publish`] | a staged image | [`publish::Published`], whole or not at all |
//!
//! [`tree`] is the plain data that the rooms hand on, [`report`] what they did, [`explain`] what
//! merging the extension does, and [`error`] what each failure means to a caller.

pub mod oci;
pub mod trust;
pub mod verify;
pub mod layer;
pub mod tree;
pub mod base;
pub mod selinux;
pub mod sysext;
pub mod image;
pub mod publish;

pub mod convert;
pub mod admit;
pub mod request;
pub mod report;
pub mod explain;

pub mod error;
pub mod escape;
pub mod json;
pub mod limits;
pub mod signals;
pub mod unnamed;

pub mod cli;
pub mod cmd;
