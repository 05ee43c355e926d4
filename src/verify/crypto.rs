//! The one file that knows the cryptographic libraries.
//!
//! sigstore-verify does what it can; P-521, which it leaves out, is done by aws-lc-rs, the library
//! below it. The algorithm comes from the key, never from the message (L5).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA512_ASN1,
    EcdsaVerificationAlgorithm, ParsedPublicKey, UnparsedPublicKey,
};
use sigstore_verify::crypto::{SigningScheme, VerificationKey};
use sigstore_verify::types::{DerPublicKey, SignatureBytes};
use spki::der::asn1::{AnyRef, BitStringRef, UintRef};
use spki::der::{Decode, Encode, Reader, SliceReader};
use spki::{AlgorithmIdentifier, ObjectIdentifier, SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};

use super::{KeyError, KeyType};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// What we refuse by name; other algorithms are named by their number.
const REFUSED: &[(&str, &str)] = &[
    ("1.3.132.0.33", "the curve P-224"),
    ("1.3.132.0.10", "the curve secp256k1"),
    ("1.2.840.113549.1.1.10", "an RSASSA-PSS key"),
    ("1.2.840.10040.4.1", "a DSA key"),
    ("1.3.101.110", "an X25519 key"),
    ("1.3.101.113", "an Ed448 key"),
    ("2.16.840.1.101.3.4.3.17", "an ML-DSA-44 key"),
    ("2.16.840.1.101.3.4.3.18", "an ML-DSA-65 key"),
    ("2.16.840.1.101.3.4.3.19", "an ML-DSA-87 key"),
];

/// sigstore's algorithm registry starts at 2048 (L5); more than 8192 is more than aws-lc computes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The kind of a key that we can verify with.
pub(super) fn key_type(spki: &[u8]) -> Result<KeyType, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(structure)?;
    let key = info.subject_public_key.as_bytes().ok_or_else(|| KeyError::Structure {
        problem: "a bit string that ends within a byte".to_owned(),
    })?;
    let parameters = info.algorithm.parameters;
    match info.algorithm.oid {
        EC => {
            let curve = info.algorithm.parameters_oid().map_err(|_| KeyError::Structure {
                problem: "elliptic curve parameters that name no curve".to_owned(),
            })?;
            match curve {
                P256 => point(&ECDSA_P256_SHA256_ASN1, key).map(|()| KeyType::EcdsaP256),
                P384 => point(&ECDSA_P384_SHA384_ASN1, key).map(|()| KeyType::EcdsaP384),
                P521 => point(&ECDSA_P521_SHA512_ASN1, key).map(|()| KeyType::EcdsaP521),
                curve => Err(unsupported(curve)),
            }
        }
        ED25519 if parameters.is_some() => {
            Err(KeyError::Structure { problem: "an Ed25519 key with parameters".to_owned() })
        }
        ED25519 if key.len() != 32 => {
            let problem = format!("an Ed25519 key of {} bytes, expected 32", key.len());
            Err(KeyError::Structure { problem })
        }
        ED25519 => Ok(KeyType::Ed25519),
        RSA if parameters.is_some_and(|parameters| !parameters.is_null()) => {
            Err(KeyError::Structure { problem: "an RSA key with parameters".to_owned() })
        }
        RSA => {
            let bits = rsa_bits(key)?;
            if RSA_BITS.contains(&bits) {
                Ok(KeyType::Rsa { bits })
            } else {
                Err(KeyError::RsaSize { bits })
            }
        }
        other => Err(unsupported(other)),
    }
}

/// A bare RSA key (PKCS#1) as `SubjectPublicKeyInfo`.
pub(super) fn wrap_rsa(pkcs1: &[u8]) -> Result<Vec<u8>, KeyError> {
    let algorithm = AlgorithmIdentifier { oid: RSA, parameters: Some(AnyRef::NULL) };
    let subject_public_key = BitStringRef::from_bytes(pkcs1).map_err(structure)?;
    SubjectPublicKeyInfo { algorithm, subject_public_key }.to_der().map_err(structure)
}

/// Whether `signature` is this key's signature of `message`.
pub(super) fn is_signed(key_type: KeyType, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let sigstore = |scheme| {
        VerificationKey::from_spki_with_scheme(&DerPublicKey::from_bytes(spki), scheme)
            .and_then(|key| key.verify(message, &SignatureBytes::from_bytes(signature)))
            .is_ok()
    };
    let aws_lc = |algorithm: &'static EcdsaVerificationAlgorithm| {
        SubjectPublicKeyInfoRef::from_der(spki).is_ok_and(|info| {
            let point = info.subject_public_key.raw_bytes();
            UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
        })
    };
    // Two hashes for the larger curves only: cosign 2 and c/image sign them with SHA-256, cosign 3
    // with the curve's own (L5).
    match key_type {
        KeyType::EcdsaP256 => sigstore(SigningScheme::EcdsaP256Sha256),
        KeyType::EcdsaP384 => {
            sigstore(SigningScheme::EcdsaP384Sha384) || sigstore(SigningScheme::EcdsaP384Sha256)
        }
        KeyType::EcdsaP521 => aws_lc(&ECDSA_P521_SHA512_ASN1) || aws_lc(&ECDSA_P521_SHA256_ASN1),
        KeyType::Ed25519 => sigstore(SigningScheme::Ed25519),
        KeyType::Rsa { .. } => sigstore(SigningScheme::RsaPkcs1Sha256),
    }
}

/// Whether `signature` is this key's signature of the message with this SHA-256; false for keys
/// that sign a message itself, or another hash of it.
pub(super) fn is_digest_signed(
    key_type: KeyType,
    spki: &[u8],
    sha256: &[u8; 32],
    signature: &[u8],
) -> bool {
    let scheme = match key_type {
        KeyType::EcdsaP256 => SigningScheme::EcdsaP256Sha256,
        KeyType::EcdsaP384 => SigningScheme::EcdsaP384Sha256,
        KeyType::Rsa { .. } => SigningScheme::RsaPkcs1Sha256,
        KeyType::EcdsaP521 | KeyType::Ed25519 => return false,
    };
    VerificationKey::from_spki_with_scheme(&DerPublicKey::from_bytes(spki), scheme)
        .and_then(|key| key.verify_prehashed(sha256, &SignatureBytes::from_bytes(signature)))
        .is_ok()
}

/// Checks that the point is on the curve now, so that a broken key is no late "wrong signature".
fn point(curve: &'static EcdsaVerificationAlgorithm, point: &[u8]) -> Result<(), KeyError> {
    // sigstore-verify knows the uncompressed form only, as Go does.
    if point.first() != Some(&0x04) {
        let problem = "a point that is not in uncompressed form".to_owned();
        return Err(KeyError::Structure { problem });
    }
    ParsedPublicKey::new(curve, point).map(drop).map_err(|_| KeyError::Structure {
        problem: "a point that is not on the key's curve".to_owned(),
    })
}

/// The length of the modulus of an `RSAPublicKey` (RFC 8017).
fn rsa_bits(pkcs1: &[u8]) -> Result<usize, KeyError> {
    let mut reader = SliceReader::new(pkcs1).map_err(structure)?;
    let (modulus, exponent) = reader
        .sequence(|inner| Ok((UintRef::decode(inner)?, UintRef::decode(inner)?)))
        .and_then(|key| reader.finish(key))
        .map_err(structure)?;
    if exponent.as_bytes().last().is_none_or(|byte| byte % 2 == 0) || exponent.as_bytes() == [1] {
        return Err(KeyError::Structure {
            problem: "an RSA exponent that is no odd number above 1".to_owned(),
        });
    }
    let modulus = modulus.as_bytes();
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros());
    Ok(modulus.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or_default()))
}

fn structure(error: spki::der::Error) -> KeyError {
    KeyError::Structure { problem: error.to_string() }
}

fn unsupported(oid: ObjectIdentifier) -> KeyError {
    let number = oid.to_string();
    let known = REFUSED.iter().find(|(refused, _)| *refused == number);
    KeyError::Unsupported {
        algorithm: known
            .map_or_else(|| format!("the algorithm {number}"), |(_, name)| (*name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let length = match length {
            [0, short @ ..0x80] => vec![short],
            [0, one] => vec![0x81, one],
            [high, low] => vec![0x82, high, low],
        };
        [&[tag][..], &length, bytes].concat()
    }

    #[test]
    fn an_ed25519_key_has_32_bytes_and_no_parameters() {
        let spki = |length: usize, parameters: &[u8]| {
            let algorithm = tlv(0x30, &[&tlv(6, &[0x2b, 0x65, 0x70]), parameters].concat());
            tlv(0x30, &[algorithm, tlv(3, &vec![0; length + 1])].concat())
        };
        assert_eq!(key_type(&spki(32, &[])), Ok(KeyType::Ed25519));
        for bad in [spki(0, &[]), spki(31, &[]), spki(33, &[]), spki(32, &[5, 0])] {
            assert!(matches!(key_type(&bad), Err(KeyError::Structure { .. })));
        }
    }

    /// Nothing, or NULL (RFC 3279): what else may be there is a key of another kind.
    #[test]
    fn an_rsa_key_has_no_parameters() {
        let modulus = tlv(2, &[&[0][..], &[0xff; 256]].concat());
        let key = tlv(0x30, &[modulus, tlv(2, &[3])].concat());
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        let spki = |parameters: &[u8]| {
            let algorithm = tlv(0x30, &[&tlv(6, &rsa), parameters].concat());
            key_type(&tlv(0x30, &[algorithm, tlv(3, &[&[0][..], &key].concat())].concat()))
        };
        for good in [&[][..], &[5, 0]] {
            assert_eq!(spki(good), Ok(KeyType::Rsa { bits: 2048 }));
        }
        for bad in [&[4, 0][..], &[0x30, 0], &[2, 1, 0]] {
            assert!(matches!(spki(bad), Err(KeyError::Structure { .. })), "{bad:?}");
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        for (number, name) in [
            ("1.3.132.0.33", "the curve P-224"),
            ("2.16.840.1.101.3.4.3.19", "an ML-DSA-87 key"),
            ("1.2.3.4", "the algorithm 1.2.3.4"),
        ] {
            let algorithm = name.to_owned();
            let found = unsupported(ObjectIdentifier::new_unwrap(number));
            assert_eq!(found, KeyError::Unsupported { algorithm });
        }
    }

    /// The modulus has as many bits as it says, and the exponent is one that somebody could use.
    #[test]
    fn an_rsa_key_has_a_usable_modulus_and_exponent() {
        let kind = |bits: usize, exponent: &[u8]| {
            let mut modulus = vec![0xff; bits.div_ceil(8)];
            modulus[0] = u8::try_from((1_u16 << (1 + (bits - 1) % 8)) - 1).unwrap();
            if modulus[0] & 0x80 != 0 {
                modulus.insert(0, 0);
            }
            let key = tlv(0x30, &[tlv(2, &modulus), tlv(2, exponent)].concat());
            key_type(&wrap_rsa(&key).unwrap())
        };
        for bits in [2048, 2049, 2055, 3072, 8191, 8192] {
            assert_eq!(kind(bits, &[1, 0, 1]), Ok(KeyType::Rsa { bits }));
        }
        for bits in [1024, 2047, 8193] {
            assert_eq!(kind(bits, &[1, 0, 1]), Err(KeyError::RsaSize { bits }));
        }
        for exponent in [&[3][..], &[5], &[1, 1], &[0, 0x81]] {
            assert_eq!(kind(2048, exponent), Ok(KeyType::Rsa { bits: 2048 }), "{exponent:?}");
        }
        for exponent in [&[0][..], &[1], &[2], &[1, 0], &[0, 1], &[0xff]] {
            let found = kind(2048, exponent);
            assert!(matches!(found, Err(KeyError::Structure { .. })), "{exponent:?}: {found:?}");
        }
    }
}
