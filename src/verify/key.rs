//! A public key: what a PEM file holds, if it is of a kind whose signatures we accept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::crypto;
use crate::escape::Escaped;
use crate::oci::Digest;

/// A public key that signatures can be verified with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key_type: KeyType,
    /// `SubjectPublicKeyInfo`, DER.
    spki: Vec<u8>,
}

/// The kinds of keys whose signatures are accepted (L5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256, with SHA-256.
    EcdsaP256,
    /// ECDSA on P-384, with SHA-384 or SHA-256.
    EcdsaP384,
    /// ECDSA on P-521, with SHA-512 or SHA-256.
    EcdsaP521,
    /// Ed25519 over the message itself.
    Ed25519,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rsa {
        /// Length of the modulus.
        bits: usize,
    },
}

/// A key with the name that messages and the report know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// Such as the name of its file.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Why some bytes are no public key that we accept (row 18).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing but white space.
    #[error("found nothing, expected a PEM public key")]
    Empty,
    /// No PEM at all.
    #[error("found no PEM, expected -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// A private key; its bytes are not looked at.
    #[error("found a private key ({}), expected a public one", Escaped(label.as_bytes()))]
    Private {
        /// The PEM label.
        label: String,
    },
    /// Something else in PEM.
    #[error("found PEM of {}, expected PUBLIC KEY", Escaped(label.as_bytes()))]
    OtherPem {
        /// The PEM label.
        label: String,
    },
    /// More than one PEM block.
    #[error("found {count} PEM blocks, expected one key in a file")]
    Several {
        /// How many there are.
        count: usize,
    },
    /// Text around the PEM block.
    #[error("found text {place} the PEM block, expected the block alone")]
    Surplus {
        /// `before` or `after`.
        place: &'static str,
    },
    /// The PEM block is broken.
    #[error("found a broken PEM block: {problem}")]
    BrokenPem {
        /// What was found.
        problem: String,
    },
    /// The DER inside is broken.
    #[error("found a malformed key: {problem}")]
    Structure {
        /// What was found.
        problem: String,
    },
    /// A kind of key that we do not accept.
    #[error("found {algorithm}, expected P-256, P-384, P-521, Ed25519 or RSA")]
    Unsupported {
        /// What was found, with its article.
        algorithm: String,
    },
    /// An RSA key that is too short to be safe, or too long to be used.
    #[error("found an RSA key of {bits} bits, expected 2048 to 8192")]
    RsaSize {
        /// Length of the modulus.
        bits: usize,
    },
}

impl PublicKey {
    /// Reads the one key of a PEM file: `PUBLIC KEY`, or `RSA PUBLIC KEY` as cosign does.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem_block(pem)?;
        let spki = match label {
            "PUBLIC KEY" => der,
            "RSA PUBLIC KEY" => crypto::wrap_rsa(&der)?,
            _ if label.ends_with("PRIVATE KEY") => {
                return Err(KeyError::Private { label: shown(label) });
            }
            _ => return Err(KeyError::OtherPem { label: shown(label) }),
        };
        let key_type = crypto::key_type(&spki)?;
        Ok(Self { key_type, spki })
    }

    /// Takes a `SubjectPublicKeyInfo`, DER.
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { key_type: crypto::key_type(spki)?, spki: spki.to_vec() })
    }

    /// Its `SubjectPublicKeyInfo`, DER.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether `signature` is this key's signature of a message of which only the SHA-256 is known;
    /// false for keys that sign the message itself.
    pub(super) fn is_digest_signed(&self, sha256: &[u8; 32], signature: &[u8]) -> bool {
        crypto::is_digest_signed(self.key_type, &self.spki, sha256, signature)
    }

    /// Its kind.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The sha256 of its `SubjectPublicKeyInfo`, as `openssl pkey -pubin -outform DER | sha256sum`
    /// gives it.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// Whether `signature` is this key's signature of `message`.
    pub(super) fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        crypto::is_signed(self.key_type, &self.spki, message, signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.key_type, self.fingerprint())
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
        }
    }
}

/// Label and contents of the one PEM block (RFC 7468), with nothing but white space around it.
///
/// A second block, or text that another tool would read as a key, must not go unnoticed (P6).
pub(super) fn pem_block(bytes: &[u8]) -> Result<(&str, Vec<u8>), KeyError> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Err(KeyError::Empty);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| KeyError::NotPem)?;
    let (before, rest) = text.split_once(BEGIN).ok_or(KeyError::NotPem)?;
    let count = text.matches(BEGIN).count();
    if count > 1 {
        return Err(KeyError::Several { count });
    }
    if !before.is_empty() {
        return Err(KeyError::Surplus { place: "before" });
    }
    let broken = |problem: &str| KeyError::BrokenPem { problem: problem.to_owned() };
    let (label, rest) = rest
        .split_once(DASHES)
        .filter(|(label, _)| !label.contains(['\n', '\r']))
        .ok_or_else(|| broken("its first line has no end"))?;
    let (body, after) = rest
        .split_once(&format!("{DASHES}END {label}{DASHES}"))
        .ok_or_else(|| broken("no END line with the same label"))?;
    if !after.is_empty() {
        return Err(KeyError::Surplus { place: "after" });
    }
    // A private key is refused by its label: nothing of it is decoded.
    if label.ends_with("PRIVATE KEY") {
        return Ok((label, Vec::new()));
    }
    if !body.starts_with(['\n', '\r']) || !body.ends_with('\n') {
        return Err(broken("its first and last line are not lines of their own"));
    }
    let base64: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).map_err(|error| broken(&format!("base64: {error}")))?;
    Ok((label, der))
}

/// The beginning of a PEM label, long enough for any real one.
fn shown(label: &str) -> String {
    label.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of it to know it by, and no more of a label than somebody would read.
    #[test]
    fn keys_and_labels_are_shown() {
        let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", &[9; 32][..]].concat();
        let key = PublicKey::from_spki(&spki).unwrap();
        assert_eq!(format!("{key:?}"), format!("PublicKey(Ed25519, {})", Digest::of(&spki)));
        let pem = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
        let private = format!("{} PRIVATE KEY", "X".repeat(80));
        for (label, error) in [
            ("EC PRIVATE KEY", KeyError::Private { label: "EC PRIVATE KEY".to_owned() }),
            (&private, KeyError::Private { label: "X".repeat(64) }),
            ("X", KeyError::OtherPem { label: "X".to_owned() }),
        ] {
            assert_eq!(PublicKey::from_pem(pem(label).as_bytes()), Err(error));
        }
    }

    #[test]
    fn the_lines_of_a_pem_block_are_lines_of_their_own() {
        let block = |body: &str| format!("-----BEGIN X-----{body}-----END X-----");
        for body in ["\nMAA=\n", "\r\nMAA=\r\n", "\nMA\nA=\n", "\n\nMAA=\n\n"] {
            assert_eq!(pem_block(block(body).as_bytes()), Ok(("X", vec![0x30, 0])), "{body:?}");
        }
        for body in ["MAA=", "MAA=\n", "\nMAA=", " \nMAA=\n", "\nMAA=\n ", ""] {
            let block = block(body);
            let found = pem_block(block.as_bytes());
            assert!(matches!(found, Err(KeyError::BrokenPem { .. })), "{body:?}: {found:?}");
        }
    }
}
