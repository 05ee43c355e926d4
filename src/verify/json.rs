//! Strict JSON: one text has one meaning, or none.
//!
//! Go's decoder takes the last of two equal keys and ignores their case, others take the first;
//! a signed payload must not mean two things (L6, rows 8, 9, 11).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses one JSON text: UTF-8, no duplicate key at any level, nothing but white space after it,
/// and at most `max_depth` objects and arrays inside each other.
pub(super) fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { depth_left: max_depth }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| error.to_string())
}

/// The values of an object that has exactly the fields `names`.
pub(super) fn exact_fields<'v, const N: usize>(
    what: &str,
    value: &'v Value,
    names: [&str; N],
) -> Result<[&'v Value; N], String> {
    let object = object(what, value)?;
    if let Some(unknown) = object.keys().find(|key| !names.contains(&key.as_str())) {
        return Err(format!("{what}: found field {unknown:?}, expected only {}", names.join(", ")));
    }
    let mut values = [&Value::Null; N];
    for (slot, name) in values.iter_mut().zip(names) {
        *slot = object.get(name).ok_or_else(|| format!("{what}: expected field {name}"))?;
    }
    Ok(values)
}

/// The object that `value` must be.
pub(super) fn object<'v>(what: &str, value: &'v Value) -> Result<&'v Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what}: found {}, expected an object", kind(value)))
}

/// The string that `value` must be.
pub(super) fn string<'v>(what: &str, value: &'v Value) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("{what}: found {}, expected a string", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Makes a [`Value`] as `serde_json` does, but counts the depth and keeps no duplicate quiet.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("too many objects and arrays inside each other")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("field {key:?} is there twice")));
            }
            let value = map.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_meaning_or_none() {
        assert_eq!(
            parse(b" {\"a\":[1,-2,0.5,null,true,\"\\u00e9\"]}\n", 2).unwrap(),
            json!({"a": [1, -2, 0.5, null, true, "é"]})
        );
        for bad in [
            &b""[..],
            b"{",
            b"{}{}",
            b"{} x",
            b"{}\0",
            b"\xef\xbb\xbf{}",
            b"{\"a\":1,\"a\":1}",
            b"{\"b\":{\"a\":1,\"\\u0061\":1}}",
            b"[{\"a\":1,\"a\":2}]",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\n\"}",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"{\"a\":01}",
            b"{\"a\":NaN}",
            b"{\"a\":1e999}",
            b"{/**/}",
            b"[[[1]]]",
        ] {
            assert!(parse(bad, 2).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        assert!(parse(&b"[".repeat(1_000_000), usize::MAX).is_err());
        assert!(parse(b"[[[[[[[[]]]]]]]]", 8).is_ok());
        assert!(parse(b"[[[[[[[[[]]]]]]]]]", 8).is_err());
    }

    #[test]
    fn fields_are_exact() {
        let value = json!({"a": 1, "b": 2});
        assert_eq!(exact_fields("x", &value, ["b", "a"]).unwrap(), [&json!(2), &json!(1)]);
        for names in [&["a"][..], &["a", "B"], &["a", "b", "c"]] {
            let found = match *names {
                [a] => exact_fields("x", &value, [a]).is_ok(),
                [a, b] => exact_fields("x", &value, [a, b]).is_ok(),
                [a, b, c] => exact_fields("x", &value, [a, b, c]).is_ok(),
                _ => unreachable!(),
            };
            assert!(!found, "{names:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, 8);
        }

        /// What is accepted, serde_json reads in the same way.
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}\",:0-9a ]{0,24}") {
            if let Ok(value) = parse(text.as_bytes(), 8) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
