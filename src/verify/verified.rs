//! The proof: a value that only this room can make.

use std::ops::Deref;

/// A value that is covered by an accepted signature, or by a digest in something that is.
///
/// Anybody may look inside; nobody outside this room can make one, so a function that asks for
/// it cannot be called with anything else. An image's digest:
///
/// ```
/// use oci2sysext::{oci::Digest, verify::{self, Accepted, Verified}};
/// fn signed(accepted: Accepted) -> Verified<Digest> {
///     accepted.digest
/// }
/// ```
///
/// ```compile_fail,E0423
/// use oci2sysext::{oci::Digest, verify::Verified};
/// fn signed(digest: Digest) -> Verified<Digest> {
///     Verified(digest)
/// }
/// ```
///
/// ```compile_fail,E0624
/// use oci2sysext::{oci::Digest, verify::Verified};
/// fn signed(digest: Digest) -> Verified<Digest> {
///     Verified::assertion(digest)
/// }
/// ```
///
/// A manifest, which needs a verified digest:
///
/// ```
/// use oci2sysext::{oci::{Digest, ImageManifest}, verify::{self, Verified}};
/// fn manifest(digest: Verified<Digest>, bytes: &[u8]) -> Verified<ImageManifest> {
///     verify::image_manifest(&digest, bytes).unwrap()
/// }
/// ```
///
/// ```compile_fail,E0308
/// use oci2sysext::{oci::{Digest, ImageManifest}, verify::{self, Verified}};
/// fn manifest(digest: Digest, bytes: &[u8]) -> Verified<ImageManifest> {
///     verify::image_manifest(&digest, bytes).unwrap()
/// }
/// ```
///
/// A layer's bytes, which need a verified descriptor:
///
/// ```
/// use oci2sysext::verify::{Blob, BlobHasher, LayerDescriptor, Origin, Verified};
/// fn blob(layer: Verified<LayerDescriptor>, file: std::fs::File) -> Verified<Blob> {
///     BlobHasher::new(&layer).finish(file, Origin::Spool).unwrap()
/// }
/// ```
///
/// ```compile_fail,E0308
/// use oci2sysext::verify::{Blob, BlobHasher, LayerDescriptor, Origin, Verified};
/// fn blob(layer: LayerDescriptor, file: std::fs::File) -> Verified<Blob> {
///     BlobHasher::new(&layer).finish(file, Origin::Spool).unwrap()
/// }
/// ```
///
/// ```compile_fail,E0423
/// use oci2sysext::verify::{Blob, Verified};
/// fn blob(blob: Blob) -> Verified<Blob> {
///     Verified(blob)
/// }
/// ```
///
/// The same for a copy of a layer:
///
/// ```
/// use oci2sysext::verify::{CopyHasher, LayerCopy, LayerDescriptor, Verified};
/// fn copy(layer: Verified<LayerDescriptor>) -> Verified<LayerCopy<()>> {
///     CopyHasher::new(&layer).finish(()).unwrap()
/// }
/// ```
///
/// ```compile_fail,E0308
/// use oci2sysext::verify::{CopyHasher, LayerCopy, LayerDescriptor, Verified};
/// fn copy(layer: LayerDescriptor) -> Verified<LayerCopy<()>> {
///     CopyHasher::new(&layer).finish(()).unwrap()
/// }
/// ```
///
/// There is no way round by a trait, and no way to change what is inside:
///
/// ```
/// use oci2sysext::{oci::Digest, verify::Verified};
/// fn has<T: std::ops::Deref + std::fmt::Debug>() {}
/// has::<Verified<Digest>>();
/// ```
///
/// ```compile_fail,E0277
/// use oci2sysext::{oci::Digest, verify::Verified};
/// fn has<T: From<Digest>>() {}
/// has::<Verified<Digest>>();
/// ```
///
/// ```compile_fail,E0277
/// use oci2sysext::{oci::ImageManifest, verify::Verified};
/// fn has<T: serde::de::DeserializeOwned>() {}
/// has::<Verified<ImageManifest>>();
/// ```
///
/// ```compile_fail,E0277
/// use oci2sysext::{oci::Digest, verify::Verified};
/// fn has<T: Clone>() {}
/// has::<Verified<Digest>>();
/// ```
///
/// ```compile_fail,E0277
/// use oci2sysext::verify::Verified;
/// fn has<T: Default>() {}
/// has::<Verified<Vec<u8>>>();
/// ```
///
/// ```compile_fail,E0277
/// use oci2sysext::{oci::Digest, verify::Verified};
/// fn has<T: std::ops::DerefMut>() {}
/// has::<Verified<Digest>>();
/// ```
///
/// ```compile_fail,E0639
/// use oci2sysext::verify::Accepted;
/// fn other(accepted: Accepted) -> Accepted {
///     Accepted { signed_reference: String::new(), ..accepted }
/// }
/// ```
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The origin of all trust: every call of this is an assertion that `value` is covered.
    pub(super) fn assertion(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
