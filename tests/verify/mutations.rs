//! Random changes of good inputs, and random inputs: nothing is accepted, nothing panics.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci2sysext::verify::{Candidate, NamedKey, Policy, PublicKey, SignedIdentity, image};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{SIGNATURE, claim, good, key, testdata, vector};

fn flip(bytes: &mut [u8], bit: Index) {
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn is_accepted(payload: Vec<u8>, annotations: BTreeMap<String, String>, policy: &Policy) -> bool {
    let candidate = Candidate::Payload { origin: String::new(), payload, annotations };
    image(&claim(), &[candidate], policy).is_ok()
}

/// A hundredth of what `O2S_MUTATIONS` asks for of bundles, whose mutations are cheaper.
fn rounds() -> ProptestConfig {
    let asked = std::env::var("O2S_MUTATIONS").map_or(20_000, |rounds| rounds.parse().unwrap());
    ProptestConfig::with_cases(asked / 100)
}

proptest! {
    #![proptest_config(rounds())]

    #[test]
    fn no_key_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(PublicKey::from_pem(&bytes).is_err());
    }

    #[test]
    fn no_key_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), pkcs1: bool) {
        let label = if pkcs1 { "RSA PUBLIC KEY" } else { "PUBLIC KEY" };
        let text = STANDARD.encode(bytes);
        let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
        prop_assert!(PublicKey::from_pem(pem.as_bytes()).is_err());
    }

    /// A changed key is refused, or it is another key and accepts nothing of the first.
    #[test]
    fn a_changed_key_accepts_nothing(
        name in select(vec!["p256", "p384", "p521", "ed25519", "rsa2048"]),
        bit: Index,
    ) {
        let path = testdata(&format!("signatures/keys/{name}.pub"));
        let mut pem = fs::read(&path).unwrap();
        flip(&mut pem, bit);
        let changed = PublicKey::from_pem(&pem).ok().filter(|changed| *changed != key(&path).key);
        if let Some(changed) = changed {
                let good = if name.starts_with("p3") { "p384-sha384" } else { name };
                let good = if name.starts_with("p5") { "p521-sha512" } else { good };
                let good = vector("signatures/good", &format!("key-{good}")).candidate();
                let changed = NamedKey { name: String::new(), key: changed };
                let policy = Policy::new(changed, Vec::new(), SignedIdentity::Any);
                prop_assert!(image(&claim(), &[good], &policy).is_err());
        }
    }

    #[test]
    fn no_candidate_panics(
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        signature in "\\PC{0,100}",
    ) {
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature)]);
        prop_assert!(!is_accepted(payload, annotations, &good().policy()));
    }

    #[test]
    fn no_changed_payload_is_accepted(bit: Index) {
        let good = good();
        let mut payload = STANDARD.decode(&good.payload).unwrap();
        flip(&mut payload, bit);
        prop_assert!(!is_accepted(payload, good.annotations.clone(), &good.policy()));
    }

    #[test]
    fn no_changed_signature_is_accepted(
        name in select(vec!["p256", "p384-sha256", "p521-sha512", "ed25519", "rsa2048"]),
        bit: Index,
        as_text: bool,
    ) {
        let good = vector("signatures/good", &format!("key-{name}"));
        let payload = STANDARD.decode(&good.payload).unwrap();
        let text = good.annotations[SIGNATURE].clone();
        let changed = if as_text {
            let mut text = text.into_bytes();
            flip(&mut text, bit);
            String::from_utf8_lossy(&text).into_owned()
        } else {
            let mut bytes = STANDARD.decode(text).unwrap();
            flip(&mut bytes, bit);
            STANDARD.encode(bytes)
        };
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), changed)]);
        prop_assert!(!is_accepted(payload, annotations, &good.policy()));
    }
}
