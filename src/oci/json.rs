//! Strict JSON: UTF-8, every key once, nothing after the value.
//!
//! Parsers disagree on which of two equal keys counts, and on case; whoever signed a document
//! must have read the same one as we do (CVE-2021-41190 and its kin).

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Visitor};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess};

use crate::escape::Escaped;

/// Characters of a parser's message that are worth printing; it may quote the document.
const MESSAGE: usize = 300;

/// Reads a value of type `T` from `bytes`; the error says what was found and what was expected.
///
/// Keys that `T` does not know are allowed if `T` allows them, but not twice, at any level.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("found a byte that is not UTF-8 at {}", error.valid_up_to()))?;
    serde_json::from_str::<UniqueKeys>(text).map_err(|error| message(&error))?;
    serde_json::from_str(text).map_err(|error| message(&error))
}

/// The keys of the object in `bytes`; fails if one of them is `known` but for its case, which
/// some parsers (Go's) take for the same.
pub fn object_keys(bytes: &[u8], known: &[&str]) -> Result<HashSet<String>, String> {
    #[expect(clippy::zero_sized_map_values, reason = "serde reads sets from arrays only")]
    let object: BTreeMap<String, IgnoredAny> = parse(bytes)?;
    for key in object.keys() {
        if let Some(exact) = known.iter().find(|known| known.eq_ignore_ascii_case(key))
            && exact != key
        {
            return Err(format!("found the key {key:?}, expected {exact:?} or another name"));
        }
    }
    Ok(object.into_keys().collect())
}

fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.char_indices().nth(MESSAGE).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes()).to_string()
}

/// Any JSON value without a repeated key; keeps nothing of it. `serde_json` bounds the depth.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeysVisitor)
    }
}

struct UniqueKeysVisitor;

impl<'de> Visitor<'de> for UniqueKeysVisitor {
    type Value = UniqueKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueKeys, A::Error> {
        while seq.next_element::<UniqueKeys>()?.is_some() {}
        Ok(UniqueKeys)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("found the key {key:?} twice")));
            }
            keys.insert(key);
            map.next_value::<UniqueKeys>()?;
        }
        Ok(UniqueKeys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Value = serde_json::Value;

    #[test]
    fn what_every_parser_reads_alike_is_accepted() {
        for good in [
            r#"{"a":1,"A":2,"b":{"a":1},"c":[{"a":-1},{"a":null,"b":1.5e3}]}"#,
            r#"["é",true,false,{}]"#,
            " 1 \n",
        ] {
            parse::<Value>(good.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            "{} {}",
            "{}\0",
            "",
            "\u{feff}{}",
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#""\ud800""#,
        ] {
            assert!(parse::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse::<Value>(b"{\"a\":\"\xff\"}").unwrap_err().contains("UTF-8"));
        let deep = "[".repeat(100_000);
        assert!(parse::<Value>(deep.as_bytes()).is_err());
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
        let error = parse::<BTreeMap<String, u8>>(document.as_bytes()).unwrap_err();
        assert!(error.len() < 400 && !error.contains('\u{202e}'), "{error}");
    }
}
