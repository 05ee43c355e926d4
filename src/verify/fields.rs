//! The fields of a JSON value: exactly those that are expected, of the expected kinds (L6).

use serde_json::{Map, Value};

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_another_kind_is_named() {
        for (value, kind) in [
            (json!(null), "null"),
            (json!(true), "a boolean"),
            (json!(1), "a number"),
            (json!("a"), "a string"),
            (json!([]), "an array"),
            (json!({}), "an object"),
        ] {
            let text = |expected| format!("x: found {kind}, expected {expected}");
            let (as_object, as_string) = (object("x", &value), string("x", &value));
            assert_eq!(as_object.err(), (kind != "an object").then(|| text("an object")));
            assert_eq!(as_string.err(), (kind != "a string").then(|| text("a string")));
        }
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
}
