//! Bytes from the layer as words of systemd's files: nothing in them ends a word or a line, or is
//! taken for a specifier.

use std::fmt::Write;

/// A path or link target for tmpfiles.d(5): every byte that could mean something is `\xNN`, which
/// both its words and its last field undo; a `%` is doubled. A lone `-` would mean that there is
/// none.
pub(super) fn tmpfiles(bytes: &[u8]) -> String {
    let mut text = String::new();
    if bytes == b"-" {
        return "\\x2d".to_owned();
    }
    for &byte in bytes {
        match byte {
            b'%' => text.push_str("%%"),
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'/'
            | b'.'
            | b'_'
            | b'-'
            | b'+'
            | b'@'
            | b':'
            | b','
            | b'='
            | b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// A field of sysusers.d(5), which knows quotes but no `\xNN`; none for what it cannot hold:
/// control characters, other than UTF-8, and the colon that ends a field of passwd.
pub(super) fn sysusers(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.contains(|c: char| c.is_control() || c == ':' || c == '\u{2028}' || c == '\u{2029}') {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=".contains(c);
    if !text.is_empty() && text != "-" && text.chars().all(plain) {
        return Some(text.to_owned());
    }
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    Some(format!("\"{text}\""))
}

/// An argument of `ExecStart=` (systemd.service(5), "Command lines"): quoted, nothing expanded.
pub(super) fn exec(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'%' => text.push_str("%%"),
            b'$' => text.push_str("$$"),
            b' '..=b'~' if byte != b'"' && byte != b'\\' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}

/// The text of a setting that is for people: nothing is a specifier, and no backslash ends it.
pub(super) fn description(text: &str) -> String {
    text.replace('%', "%%").replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_escaped_as_each_format_asks() {
        assert_eq!(tmpfiles(b"/a b\n%\"'\\$\xff"), "/a\\x20b\\x0a%%\\x22\\x27\\x5c\\x24\\xff");
        assert_eq!((tmpfiles(b"-"), tmpfiles(b"--")), ("\\x2d".to_owned(), "--".to_owned()));
        assert_eq!(exec(b"/a b%$\"\\\n"), "\"/a b%%$$\\x22\\x5c\\x0a\"");
        assert_eq!(sysusers(b"/var/lib/x").as_deref(), Some("/var/lib/x"));
        assert_eq!(sysusers(b"a \"b\" \\ %n").as_deref(), Some("\"a \\\"b\\\" \\\\ %%n\""));
        assert_eq!(sysusers(b"-").as_deref(), Some("\"-\""));
        for bad in [&b"a\nb"[..], b"a:b", b"\xff", b"a\x00", "\u{2028}".as_bytes()] {
            assert_eq!(sysusers(bad), None, "{bad:?}");
        }
    }

    /// What systemd makes of `\xNN`, and of `%%` and `$$`, here the strict way: nothing else that
    /// means something may be left.
    fn undone(text: &str, doubled: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text);
        while let Some(c) = rest.chars().next() {
            rest = &rest[1..];
            if c == '\\' {
                assert!(rest.starts_with('x'), "{text}");
                bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                rest = &rest[3..];
                continue;
            }
            if doubled.contains(c) {
                assert!(rest.starts_with(c), "{text}");
                rest = &rest[1..];
            }
            assert!(c.is_ascii() && !c.is_ascii_control() && c != '"', "{text}");
            bytes.push(u8::try_from(c).unwrap());
        }
        bytes
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_one_word(bytes: Vec<u8>) {
            let word = tmpfiles(&bytes);
            proptest::prop_assert!(!word.contains(['"', '\'', ' ']));
            proptest::prop_assert_eq!(undone(&word, "%"), &bytes[..]);
            let word = exec(&bytes);
            let inside = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap();
            proptest::prop_assert_eq!(undone(inside, "%$"), bytes);
        }
    }
}
