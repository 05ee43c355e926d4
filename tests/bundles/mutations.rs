//! Random mutations of good signatures, a bit or a field at a time: none may be accepted.
//!
//! `O2S_MUTATIONS` says how many of each kind; nothing in the good ones is there to be ignored.

use std::collections::BTreeMap;

use oci2sysext::oci::Digest;
use oci2sysext::verify::{self, Artifact, Candidate, Policy, image};
use serde_json::{Value, json};

use super::artifacts::logged_message;
use super::pki::Pki;
use super::world::*;

/// xorshift: the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end.max(1)
    }
}

fn rounds() -> usize {
    std::env::var("O2S_MUTATIONS").map_or(20_000, |rounds| rounds.parse().unwrap())
}

/// Every value inside of a value, by its path.
fn paths(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                paths(value, &format!("{path}/{key}"), all);
            }
        }
        Value::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                paths(value, &format!("{path}/{index}"), all);
            }
        }
        _ => {}
    }
}

/// Changes one field; false if that is no change.
fn change_field(value: &mut Value, random: &mut Random) -> bool {
    let mut all = Vec::new();
    paths(value, "", &mut all);
    let path = &all[random.below(all.len())];
    let before = value.clone();
    let other = before.pointer(&all[random.below(all.len())]).cloned().unwrap();
    let found = value.pointer_mut(path).unwrap();
    match random.below(6) {
        0 => *found = Value::Null,
        1 => *found = json!(""),
        2 => *found = other,
        3 => match found {
            Value::Object(object) => {
                let key = object.keys().nth(random.below(object.len())).cloned();
                key.map(|key| object.remove(&key));
            }
            Value::Array(array) if !array.is_empty() => {
                let one = array[random.below(array.len())].clone();
                array.push(one);
            }
            Value::String(text) => drop(text.pop()),
            _ => *found = json!(0),
        },
        4 => match found {
            Value::Object(object) => drop(object.insert("x".to_owned(), json!(1))),
            Value::Array(array) => array.clear(),
            Value::String(text) => text.push('A'),
            _ => *found = json!(-1),
        },
        _ => match found {
            Value::String(text) => *text = text.to_uppercase(),
            Value::Number(number) => *found = json!(number.as_i64().unwrap_or_default() + 1),
            _ => *found = json!([]),
        },
    }
    *value != before
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    bytes[at] ^= 1 << random.below(8);
}

fn strip(value: &mut Value) {
    if let Value::Object(object) = value {
        object.retain(|_, value| !value.is_null());
        object.values_mut().for_each(strip);
    }
    if let Value::Array(array) = value {
        array.iter_mut().for_each(strip);
    }
}

/// What a protojson reader takes for the same: a null, and an empty list that is not there.
fn same(bundle: &Value) -> Value {
    let mut bundle = bundle.clone();
    strip(&mut bundle);
    bundle
}

fn refuses(candidate: Candidate, policy: &Policy, what: &str) {
    let shown = match &candidate {
        Candidate::Bundle { bundle, .. } => String::from_utf8_lossy(bundle).into_owned(),
        other => format!("{other:?}"),
    };
    let verdict = image(&claim(), &[candidate], policy);
    assert!(verdict.is_err(), "{what}: {shown}");
}

/// Mutates the first; the others are as good.
fn bundles(what: &str, all: &[Value], policy: &Policy) {
    mutations(what, all, rounds(), &|bundle| {
        let candidate = Candidate::Bundle { origin: what.to_owned(), bundle };
        image(&claim(), &[candidate], policy).is_ok()
    });
}

/// Mutates the first, so many bits and a fourth as many fields.
fn mutations(what: &str, all: &[Value], rounds: usize, accepts: &dyn Fn(Vec<u8>) -> bool) {
    let good = &all[0];
    let text = serde_json::to_vec(good).unwrap();
    for good in all {
        assert!(accepts(serde_json::to_vec(good).unwrap()), "{what}: {good}");
    }
    let refuses = |bundle: Vec<u8>| {
        let shown = String::from_utf8_lossy(&bundle).into_owned();
        assert!(!accepts(bundle), "{what}: {shown}");
    };
    let mut random = Random(0x5eed_0001);
    for _ in 0..rounds {
        let mut bits = text.clone();
        flip(&mut bits, &mut random);
        refuses(bits);
    }
    for _ in 0..rounds / 4 {
        let mut fields = good.clone();
        if change_field(&mut fields, &mut random) && !all.contains(&same(&fields)) {
            refuses(serde_json::to_vec(&fields).unwrap());
        }
    }
}

/// A bundle about a file, of which the bytes or the digest are known.
#[test]
fn no_mutation_of_a_bundle_about_a_file_is_accepted() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let less = |bundle: &Value, of: &str, name: &str| {
        let mut less = bundle.clone();
        less.pointer_mut(of).unwrap().as_object_mut().unwrap().remove(name);
        less
    };
    let file = logged_message(&pki);
    let statement = certificate_bundle(&pki, &chain, &statement());
    // What a bundle says of its file is only a hint, and a promise is not needed beside a proof.
    let silent = less(&file, "/messageSignature", "messageDigest");
    let unpromised = less(&file, "/verificationMaterial/tlogEntries/0", "inclusionPromise");
    let by_certificate = certificate_policy(&pki.trusted_root(&chain));
    for artifact in [Artifact::Bytes(b"instance"), Artifact::Digest(Digest::of(b"instance"))] {
        let accepts =
            |policy: &Policy, bundle: Vec<u8>| verify::artifact(&bundle, artifact, policy).is_ok();
        let all = [file.clone(), silent.clone(), unpromised.clone()];
        mutations("a file", &all, rounds() / 4, &|it| accepts(&key_policy(&pki, true), it));
        let all = [statement.clone()];
        mutations("a statement", &all, rounds() / 4, &|it| accepts(&by_certificate, it));
    }
}

#[test]
fn no_mutation_of_a_bundle_by_key_is_accepted() {
    let pki = Pki::default();
    let good = logged_bundle(&pki, &statement());
    // A proof is enough where no time is needed: a promise beside it may go.
    let mut unpromised = good.clone();
    entry(&mut unpromised).as_object_mut().unwrap().remove("inclusionPromise");
    bundles("by key", &[good, unpromised], &key_policy(&pki, true));
}

#[test]
fn no_mutation_of_a_bundle_by_certificate_is_accepted() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    let policy = certificate_policy(&pki.trusted_root(&chain));
    bundles("by certificate", &[certificate_bundle(&pki, &chain, &statement())], &policy);
}

/// The older format, by key and by certificate: payload and annotations.
#[test]
fn no_mutation_of_the_older_format_is_accepted() {
    let pki = Pki::default();
    let chain = good_chain(&pki);
    for (good, policy) in [
        (older(&pki, None), key_policy(&pki, true)),
        (older(&pki, Some(&chain)), own_policy(&pki, &chain)),
    ] {
        let candidate = |payload, annotations| Candidate::Payload {
            origin: "older".to_owned(),
            payload,
            annotations,
        };
        let (payload, annotations) = &good;
        let whole = candidate(payload.clone(), annotations.clone());
        image(&claim(), &[whole], &policy).unwrap();
        let mut random = Random(0x5eed_0002);
        for _ in 0..rounds() / 2 {
            let (mut payload, mut annotations) = good.clone();
            let names: Vec<String> = annotations.keys().cloned().collect();
            match random.below(names.len() + 1) {
                0 => flip(&mut payload, &mut random),
                number => {
                    let name = &names[number - 1];
                    let mut text = annotations[name].clone().into_bytes();
                    // The last certificate of a chain is the root, which counts for nothing there.
                    let root = annotations[name].rfind("-----BEGIN").filter(|_| name == CHAIN);
                    let end = root.unwrap_or(text.len());
                    flip(&mut text[..end], &mut random);
                    let Ok(text) = String::from_utf8(text) else { continue };
                    annotations.insert(name.clone(), text);
                }
            }
            refuses(candidate(payload, annotations), &policy, "older");
        }
        // One annotation away, or in the place of another.
        for name in annotations.keys() {
            let mut less: BTreeMap<_, _> = annotations.clone();
            less.remove(name);
            refuses(candidate(payload.clone(), less), &policy, name);
            for other in annotations.keys().filter(|other| *other != name) {
                let mut swapped = annotations.clone();
                swapped.insert(name.clone(), annotations[other].clone());
                refuses(candidate(payload.clone(), swapped), &policy, name);
            }
        }
    }
}
