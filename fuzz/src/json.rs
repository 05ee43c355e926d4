//! Strict JSON.
//!
//! - What is accepted is UTF-8, and `serde_json` alone reads it and gets the same value.
//! - It does not nest deeper than is allowed.
//! - With any of its keys once more in front it is refused.
//! - With anything but white space behind it it is refused.
//! - A refusal is short and printable, whatever it quotes.

use oci2sysext::json;
use serde_json::Value;

/// As deep as values may nest.
const DEPTH: usize = 8;

pub fn run(data: &[u8]) {
    let value: Value = match json::parse(data, DEPTH) {
        Ok(value) => value,
        Err(line) => {
            assert!(line.len() < 2000 && !line.chars().any(char::is_control), "{line:?}");
            return;
        }
    };
    assert_eq!(serde_json::from_slice::<Value>(data).unwrap(), value);
    assert!(depth(&value) <= DEPTH);
    let text = std::str::from_utf8(data).unwrap();
    for more in ["1", "\0", "{}", "]"] {
        assert!(json::parse::<Value>(format!("{text} {more}").as_bytes(), DEPTH).is_err());
    }
    if let Value::Object(object) = &value {
        let (_, inside) = text.split_once('{').unwrap();
        for key in object.keys() {
            let key = Value::from(key.as_str());
            let twice = format!("{{{key}:null,{inside}");
            assert!(json::parse::<Value>(twice.as_bytes(), DEPTH).is_err(), "{twice}");
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::testdata::files("sample/layout", "index.json");
    seeds.extend(super::testdata::texts(&[
        r#"{"a":1,"A":2,"b":{"a":1},"c":[{"a":-1},{"a":null,"b":1.5e3}]}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"["é",true,false,{},"\ud83d\ude00"]"#,
    ]));
    seeds
}
