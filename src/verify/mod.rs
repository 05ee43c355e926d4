//! The only origin of trust: from bytes and a [`Policy`] to [`Verified`] values.
//!
//! Pure: no I/O and no clock. What has not been through here cannot reach the layers, because
//! their readers ask for a `Verified` value, and only this room can make one.

#![forbid(unsafe_code)]

mod blob;
mod candidate;
mod crypto;
mod document;
mod error;
mod fields;
mod identity;
mod image;
mod key;
mod policy;
mod simple_signing;
mod verified;

pub use blob::{Blob, BlobHasher, Origin};
pub use candidate::Candidate;
pub use document::{LayerDescriptor, Unverified, config, image_manifest, layers, select};
pub use error::{Error, Reason, Rejection};
pub use identity::SignedName;
pub use image::{Accepted, Claim, Comparison, Signed, image};
pub use key::{KeyError, KeyType, NamedKey, PublicKey};
pub use policy::{Policy, SignedIdentity};
pub use verified::Verified;
