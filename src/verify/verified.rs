//! The proof: a value that only this room can make.

use std::ops::Deref;

/// A value that is covered by an accepted signature, or by a digest in something that is.
///
/// Anybody may look inside; nobody outside this room can make one, so a function that asks for
/// it cannot be called with anything else:
///
/// ```
/// fn layer_count(manifest: &oci2sysext::verify::Verified<oci2sysext::oci::ImageManifest>) -> usize {
///     manifest.layers.len()
/// }
/// ```
///
/// ```compile_fail
/// use oci2sysext::verify::Verified;
/// let digest = Verified(oci2sysext::oci::Digest::of(b""));
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
