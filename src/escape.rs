//! Bytes from outside, made safe to print: names, registry messages, PEM labels.

use std::fmt;

/// Displays bytes with everything that is not printable UTF-8 as `\xNN`, so that a hostile name
/// can neither break a line nor drive a terminal (bad-inputs rows 62, 63).
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' {
                    f.write_str("\\\\")?;
                } else if c.is_control() || is_format_char(c) {
                    let mut utf8 = [0; 4];
                    for byte in c.encode_utf8(&mut utf8).bytes() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Characters that reorder or hide text: bidirectional controls, zero-width, line separators.
fn is_format_char(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn control_characters_and_invalid_utf8_are_escaped() {
        assert_eq!(Escaped(b"a\n\x1b[31m\xffz\\").to_string(), "a\\x0a\\x1b[31m\\xffz\\\\");
        assert_eq!(Escaped("grün".as_bytes()).to_string(), "grün");
        assert_eq!(Escaped("a\u{202e}b".as_bytes()).to_string(), "a\\xe2\\x80\\xaeb");
    }
}
