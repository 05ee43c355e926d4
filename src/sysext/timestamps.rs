//! Times: a layer's own stay as they are; what the layer does not have gets the time at which
//! the image says it was built, else 0, so that nothing depends on the clock (design decision 8).

use crate::tree::Timestamp;

/// The time at which an image was built, in whole seconds; 0 where nobody knows, or before 1970.
pub fn created(built: Option<jiff::Timestamp>) -> Timestamp {
    let sec = built.map_or(0, |time| time.as_second().max(0));
    Timestamp { sec, nsec: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_is_read_in_whole_seconds() {
        for (text, sec) in [
            (Some("2026-11-21T02:12:35.192236478Z"), 1_795_227_155),
            (Some("2026-11-21T03:12:35+01:00"), 1_795_227_155),
            (Some("0001-01-01T00:00:00Z"), 0),
            (None::<&str>, 0),
        ] {
            assert_eq!(
                created(text.map(|text| text.parse().unwrap())),
                Timestamp { sec, nsec: 0 },
                "{text:?}"
            );
        }
    }
}
