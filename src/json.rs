//! Strict JSON: one text has one meaning, or none. UTF-8, every key once, nothing after the value.
//!
//! Go's parser takes the last of two equal keys and ignores their case, others take the first;
//! whoever signed a document must have read the same one as we do (CVE-2021-41190 and its kin;
//! L6, rows 8, 9, 11). A struct is an object ([`objects`]).

mod objects;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};

use crate::escape::Escaped;

/// Characters of a parser's message that are worth printing; it may quote the document.
const MESSAGE: usize = 300;

/// As many objects and arrays inside each other as `serde_json` reads at all.
pub const DEEPEST: usize = 127;

/// Reads a value of type `T` from `bytes`, with at most `max_depth` objects and arrays inside each
/// other; the error says what was found and what was expected.
///
/// Keys that `T` does not know are allowed if `T` allows them, but not twice, at any level.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], max_depth: usize) -> Result<T, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("found a byte that is not UTF-8 at {}", error.valid_up_to()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    UniqueKeys { depth_left: max_depth }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .and_then(|()| objects::read(&mut serde_json::Deserializer::from_str(text)))
        .map_err(|error| message(&error))
}

/// Reads a value of type `T` from what was parsed before, with the same rule for structs.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, String> {
    objects::read(value).map_err(|error| message(&error))
}

/// Reads a value of type `T` from what a program or service of the user's wrote, with the same rule
/// for structs and no other: keys may be there twice.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = objects::read(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The keys of the object in `bytes`; fails if one of them is `known` but for its case, which
/// some parsers (Go's) take for the same.
pub fn object_keys(bytes: &[u8], known: &[&str]) -> Result<HashSet<String>, String> {
    #[expect(clippy::zero_sized_map_values, reason = "serde reads sets from arrays only")]
    let object: BTreeMap<String, IgnoredAny> = parse(bytes, DEEPEST)?;
    for key in object.keys() {
        if let Some(exact) = known.iter().find(|known| known.eq_ignore_ascii_case(key))
            && exact != key
        {
            return Err(format!("found the key {key:?}, expected {exact:?} or another name"));
        }
    }
    Ok(object.into_keys().collect())
}

/// A parser's message, made short and safe to print.
pub fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.char_indices().nth(MESSAGE).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes()).to_string()
}

/// Any JSON value without a repeated key; keeps nothing of it.
#[derive(Clone, Copy)]
struct UniqueKeys {
    depth_left: usize,
}

impl UniqueKeys {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("too many objects and arrays inside each other")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for UniqueKeys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("found the key {key:?} twice")));
            }
            keys.insert(key);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_every_parser_reads_alike_is_accepted() {
        for good in [
            r#"{"a":1,"A":2,"b":{"a":1},"c":[{"a":-1},{"a":null,"b":1.5e3}]}"#,
            r#"["é",true,false,{}]"#,
            " 1 \n",
        ] {
            parse::<Value>(good.as_bytes(), DEEPEST).unwrap();
        }
        assert_eq!(
            parse::<Value>(b" {\"a\":[1,-2,0.5,null,true,\"\\u00e9\"]}\n", 2).unwrap(),
            json!({"a": [1, -2, 0.5, null, true, "é"]})
        );
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for bad in [
            &b""[..],
            b"{",
            b"{}{}",
            b"{} {}",
            b"{} x",
            b"{}\0",
            b"\xef\xbb\xbf{}",
            br#"{"a":1,"a":1}"#,
            br#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
            br#"{"a":1,"\u0061":2}"#,
            br#"{"b":{"a":1,"\u0061":1}}"#,
            br#"[{"a":1,"a":2}]"#,
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            br#""\ud800""#,
            b"{\"a\":\"\n\"}",
            b"{'a':1}",
            br#"{"a":1,}"#,
            br#"{"a":01}"#,
            br#"{"a":NaN}"#,
            br#"{"a":1e999}"#,
            b"{/**/}",
        ] {
            let text = String::from_utf8_lossy(bad);
            assert!(parse::<Value>(bad, DEEPEST).is_err(), "{text}");
        }
        let error = parse::<Value>(b"{\"a\":\"\xff\"}", DEEPEST).unwrap_err();
        assert!(error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse::<Value>(&b"[".repeat(1_000_000), usize::MAX).is_err());
        for max in [2, 8, DEEPEST] {
            assert!(parse::<Value>(nested(max).as_bytes(), max).is_ok());
            assert!(parse::<Value>(nested(max + 1).as_bytes(), max).is_err());
        }
        assert!(parse::<Value>(nested(DEEPEST + 1).as_bytes(), usize::MAX).is_err());
    }

    #[test]
    fn a_known_key_has_its_own_case() {
        assert!(object_keys(br#"{"layers":[],"x":1}"#, &["layers"]).unwrap().contains("layers"));
        assert!(object_keys(br#"{"Layers":[]}"#, &["layers"]).is_err());
        assert!(object_keys(br"[1]", &["layers"]).is_err());
    }

    #[test]
    fn messages_are_short_and_printable() {
        let document = format!("{{\"a\u{202e}\":\"{}\"}}", "x".repeat(10_000));
        let error = parse::<BTreeMap<String, u8>>(document.as_bytes(), DEEPEST).unwrap_err();
        assert!(error.len() < 400 && !error.contains('\u{202e}'), "{error}");
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<Value>(&bytes, 8);
        }

        /// What is accepted, serde_json reads in the same way.
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}\",:0-9a ]{0,24}") {
            if let Ok(value) = parse::<Value>(text.as_bytes(), 8) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
