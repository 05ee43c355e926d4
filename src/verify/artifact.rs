//! A bundle that signs a file: what `verify-bundle` verifies, and what no image can be converted on.

use super::bundle::{Bundle, Content, Material};
use super::envelope::{NOT_IN_BUNDLES, check_key, check_logged};
use super::image::Signatory;
use super::keyless::{self, Signed};
use super::rekor;
use super::signer::Signer;
use super::statement::{Expected, PAYLOAD_TYPE, Statement};
use super::{Error, Policy, Reason, Rejection};
use crate::oci::Digest;

/// What a bundle must sign.
#[derive(Clone, Copy, Debug)]
pub enum Artifact<'a> {
    /// A file's contents.
    Bytes(&'a [u8]),
    /// A file of which only the digest is known.
    Digest(Digest),
}

/// The proof that somebody who is trusted has signed a file.
///
/// It is none of an image: a statement about a file may say anything of it, as a bill of materials
/// does (CVE-2022-35929).
///
/// ```
/// use oci2sysext::verify::{self, Accepted, ArtifactProof};
/// fn digest(accepted: Accepted, manifest: &[u8]) {
///     verify::image_manifest(&accepted.digest, manifest).unwrap();
/// }
/// ```
///
/// ```compile_fail,E0308
/// use oci2sysext::verify::{self, ArtifactProof};
/// fn digest(proof: ArtifactProof, manifest: &[u8]) {
///     verify::image_manifest(&proof.digest, manifest).unwrap();
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ArtifactProof {
    /// The file's digest.
    pub digest: Digest,
    /// Who signed.
    pub signatory: Signatory,
}

impl Artifact<'_> {
    /// The SHA-256 of the contents.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Bytes(bytes) => Digest::of(bytes),
            Self::Digest(digest) => *digest,
        }
    }
}

/// Verifies that a bundle is a signature of a file: of its contents, or of a statement about it.
///
/// # Errors
///
/// [`Error::NoSignatureAccepted`] with the reason.
pub fn artifact(
    bundle: &[u8],
    artifact: Artifact<'_>,
    policy: &Policy,
) -> Result<ArtifactProof, Error> {
    match check(bundle, artifact, policy) {
        Ok(signatory) => Ok(ArtifactProof { digest: artifact.digest(), signatory }),
        Err(reason) => Err(Error::NoSignatureAccepted {
            image: artifact.digest(),
            rejections: vec![Rejection { origin: "bundle".to_owned(), reason }],
        }),
    }
}

fn check(bytes: &[u8], artifact: Artifact<'_>, policy: &Policy) -> Result<Signatory, Reason> {
    let bundle = Bundle::parse(bytes).map_err(|problem| Reason::Bundle { problem })?;
    let digest = artifact.digest();
    if let Content::Message { digest: Some(said), .. } = &bundle.content
        && (said.algorithm != "SHA2_256" || said.digest != digest.as_bytes())
    {
        return Err(Reason::OtherFile);
    }
    let signatory = match policy.signer() {
        Signer::Keys(keys) => {
            let key = match (&bundle.content, artifact) {
                (Content::Envelope { .. }, _) => check_key(&bundle, keys)?,
                _ if bundle.material != Material::Key => return Err(Reason::NoKey),
                (Content::Message { signature, .. }, artifact) => keys
                    .iter()
                    .find(|key| match artifact {
                        Artifact::Bytes(bytes) => key.key.is_signed(bytes, signature),
                        Artifact::Digest(digest) => {
                            key.key.is_digest_signed(digest.as_bytes(), signature)
                        }
                    })
                    .ok_or(Reason::OtherKey { keys: keys.iter().count(), certificate: false })?,
            };
            if let Some(logs) = policy.transparency() {
                let pae = bundle.pae();
                let content = match (&bundle.content, &pae, artifact) {
                    (Content::Envelope { payload, .. }, Some(pae), _) => {
                        rekor::Content::Envelope { payload, pae }
                    }
                    (_, _, Artifact::Bytes(bytes)) => rekor::Content::Message(bytes),
                    (_, _, Artifact::Digest(_)) => rekor::Content::Digest(digest.as_bytes()),
                };
                check_logged(&bundle, key, content, logs)?;
            }
            Signatory::Key(key.clone())
        }
        Signer::Certificate(signer) => {
            let library = Bundle::library(bytes).map_err(|problem| Reason::Bundle { problem })?;
            let what = match artifact {
                Artifact::Bytes(bytes) => Signed::Bytes(bytes),
                Artifact::Digest(digest) => Signed::Digest(digest),
            };
            Signatory::Certificate(keyless::check(&bundle, library, what, signer)?)
        }
        Signer::Pki(_) => return Err(Reason::Bundle { problem: NOT_IN_BUNDLES.to_owned() }),
    };
    if let Content::Envelope { payload_type, payload, .. } = &bundle.content {
        if payload_type != PAYLOAD_TYPE {
            let problem = format!("payloadType: found {payload_type:?}, expected {PAYLOAD_TYPE:?}");
            return Err(Reason::Bundle { problem });
        }
        let statement = Statement::parse(payload, Expected::Anything)
            .map_err(|problem| Reason::Payload { problem })?;
        if !statement.subjects.iter().any(|subject| subject.digest == Some(digest)) {
            return Err(Reason::OtherFile);
        }
    }
    Ok(signatory)
}
