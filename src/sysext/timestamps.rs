//! Times: a layer's own stay as they are; what the layer does not have gets the time at which
//! the image says it was built, else 0, so that nothing depends on the clock (design decision 8).

use crate::tree::Timestamp;

/// The time that an image configuration's `created` gives, in whole seconds; 0 where it gives
/// none, or one before 1970.
pub fn created(text: Option<&str>) -> Timestamp {
    let sec = text
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(0, |time| time.as_second().max(0));
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
            (Some("yesterday"), 0),
            (None, 0),
        ] {
            assert_eq!(created(text), Timestamp { sec, nsec: 0 }, "{text:?}");
        }
    }
}
