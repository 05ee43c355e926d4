//! The only origin of trust: from bytes and a [`Policy`] to [`Verified`] values.
//!
//! Pure: no I/O and no clock. What has not been through here cannot reach the layers, because
//! their readers ask for a `Verified` value, and only this room can make one.

#![forbid(unsafe_code)]

mod artifact;
mod blob;
mod bundle;
mod candidate;
mod certificate;
mod certified;
mod copy;
mod crypto;
mod demands;
mod document;
mod envelope;
mod error;
mod fields;
mod identity;
mod image;
mod key;
mod keyless;
mod pki;
mod policy;
mod rekor;
mod signer;
mod simple_signing;
mod statement;
mod trust_root;
mod verified;

pub use artifact::{Artifact, ArtifactProof, artifact};
pub use blob::{Blob, BlobHasher, Origin};
pub use candidate::Candidate;
pub use copy::{CopyHasher, LayerCopy};
pub use demands::Demands;
pub use document::{LayerDescriptor, Unverified, config, image_manifest, layers, select};
pub use error::{Error, Reason, Rejection};
pub use identity::SignedName;
pub use image::{Accepted, Claim, Comparison, Signatory, Signed, image};
pub use key::{KeyError, KeyType, NamedKey, PublicKey};
pub use keyless::Certified;
pub use pki::{PkiSigner, PkiSubject};
pub use policy::{Policy, SignedIdentity};
pub use rekor::Logs;
pub use signer::{CertificateIdentity, CertificateSigner, Keys, Matcher, Signer};
pub use trust_root::{Authorities, TrustRoot, TrustRootError, check_clock};
pub use verified::Verified;
