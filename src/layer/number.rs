//! Numbers as tar headers and PAX records write them.
//!
//! Where parsers differ on a spelling (a sign, a digit 8, something after the end) it is refused.

use super::Flaw;
use crate::tree::Timestamp;

/// A field of a header: octal digits between spaces and NULs, or GNU's base-256 (first bit set);
/// none for a blank field. Base-256 may be negative.
pub(super) fn field(name: &'static str, bytes: &[u8]) -> Result<Option<i128>, Flaw> {
    match bytes {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let sign = if first & 0x40 == 0 { 0 } else { -0x80 };
            let start = i128::from(first & 0x7f) + sign;
            // At most twelve bytes: 95 bits.
            Ok(Some(rest.iter().fold(start, |value, &byte| value << 8 | i128::from(byte))))
        }
        _ => octal(name, bytes),
    }
}

fn octal(name: &'static str, bytes: &[u8]) -> Result<Option<i128>, Flaw> {
    let spaces = bytes.iter().take_while(|&&byte| byte == b' ').count();
    let digits = bytes.get(spaces..).unwrap_or_default();
    let length = digits.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (digits, rest) = digits.split_at_checked(length).unwrap_or_default();
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Err(flaw(name, bytes, "octal digits"));
    }
    let value = digits.iter().fold(0, |value, digit| value << 3 | i128::from(digit - b'0'));
    Ok((!digits.is_empty()).then_some(value))
}

/// A decimal number without sign.
pub(super) fn decimal(name: &'static str, text: &[u8]) -> Result<u64, Flaw> {
    digits(text).ok_or_else(|| flaw(name, text, "decimal digits"))
}

/// Seconds since 1970, possibly negative, possibly with a fraction, of which nine digits count.
pub(super) fn timestamp(name: &'static str, text: &[u8]) -> Result<Timestamp, Flaw> {
    let invalid = || flaw(name, text, "seconds since 1970, such as 1700000000.25");
    let (negative, number) = match text.strip_prefix(b"-") {
        Some(number) => (true, number),
        None => (false, text),
    };
    let mut parts = number.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().and_then(digits).ok_or_else(invalid)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let nsec = (0..9).fold(0u32, |value, place| {
        value * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'))
    });
    let sec = i64::try_from(whole).map_err(|_| invalid())?;
    Ok(match (negative, nsec) {
        (false, nsec) => Timestamp { sec, nsec },
        (true, 0) => Timestamp { sec: -sec, nsec: 0 },
        (true, nsec) => Timestamp { sec: -sec - 1, nsec: 1_000_000_000 - nsec },
    })
}

pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

pub(super) fn flaw(field: &'static str, found: &[u8], expected: &'static str) -> Flaw {
    let shown = found.get(..64).unwrap_or(found);
    Flaw::Number { field, found: shown.into(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_octal_or_base_256() {
        for (bytes, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", None),
            (b"        ", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x9c", Some(-100)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(0xffff_ffff_ffff_ffff)),
        ] {
            assert_eq!(field("size", bytes), Ok(value), "{}", bytes.escape_ascii());
        }
        for bytes in
            [&b"0000648\0"[..], b"-000644\0", b"+000644\0", b"644\0\x31\0\0\0", b"\x00644\0"]
        {
            assert!(field("size", bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_timestamp_is_rounded_down() {
        for (text, sec, nsec) in [
            ("1700000000", 1_700_000_000, 0),
            ("0.25", 0, 250_000_000),
            ("1.", 1, 0),
            ("-1.5", -2, 500_000_000),
            ("-3", -3, 0),
            ("1.1234567899", 1, 123_456_789),
        ] {
            assert_eq!(timestamp("mtime", text.as_bytes()), Ok(Timestamp { sec, nsec }), "{text}");
        }
        for text in ["", "-", ".5", "+1", "1e3", "1.2.3", "99999999999999999999", "0x1", "--1"] {
            assert!(timestamp("mtime", text.as_bytes()).is_err(), "{text}");
        }
    }
}
