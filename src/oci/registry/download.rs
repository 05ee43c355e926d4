//! A blob, byte for byte and in order, over as many connections as it takes.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, HeaderValue};

use super::Error;
use super::http::Body;
use super::message::bounded;
use super::retry::{Failure, Tries};
use super::session::Session;
use crate::oci::Descriptor;

/// What a connection must bring to count as one that worked: this, or…
const ENOUGH: u64 = 1 << 20;
/// …this part of the blob. It bounds how often a blob is reconnected for without a wait.
const ENOUGH_PART: u64 = 128;

/// Why a connection ended before the blob did.
enum End<E> {
    Failure(Failure),
    Sink(E),
}

impl<E> From<Failure> for End<E> {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl<E> From<Error> for End<E> {
    fn from(error: Error) -> Self {
        Self::Failure(error.into())
    }
}

/// How far a blob is.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes that the sink has.
    offset: u64,
    /// Whether the beginning was already sent twice.
    discarded: bool,
}

impl Session {
    /// Gives a blob to `sink`: each byte once, at most one more than the descriptor says.
    ///
    /// Neither digest nor size are checked here.
    pub async fn blob<E: From<crate::oci::Error>>(
        &mut self,
        descriptor: &Descriptor,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = descriptor.size;
        let enough = ENOUGH.min(size / ENOUGH_PART).max(1);
        let place = format!("blobs/{}", descriptor.digest);
        let mut progress = Progress::default();
        let mut tries = self.budget.start();
        loop {
            let before = progress.offset;
            match self.part(&place, size, &mut progress, &mut tries, sink).await {
                Ok(()) => return Ok(()),
                Err(End::Sink(error)) => return Err(error),
                // Everything is here; what went wrong then does not matter.
                Err(End::Failure(_)) if size > 0 && progress.offset >= size => return Ok(()),
                Err(End::Failure(failure)) => {
                    let worked = progress.offset - before >= enough;
                    let paused = self.budget.pause(&mut tries, failure, worked).await;
                    paused.map_err(crate::oci::Error::from)?;
                }
            }
        }
    }

    /// A part of a blob, of which nothing is checked; none if the registry answers with something
    /// else.
    pub async fn range(
        &mut self,
        descriptor: &Descriptor,
        range: (u64, u64),
    ) -> Result<Option<Vec<u8>>, Error> {
        // Once more, but not for long: the whole layer is to be had, and needs the time for pauses.
        match self.try_range(descriptor, range).await {
            Ok(bytes) => Ok(bytes),
            Err(_) => Ok(self.try_range(descriptor, range).await.unwrap_or_default()),
        }
    }

    async fn try_range(
        &mut self,
        descriptor: &Descriptor,
        (first, last): (u64, u64),
    ) -> Result<Option<Vec<u8>>, Failure> {
        let place = format!("blobs/{}", descriptor.digest);
        let response = self.get(&place, None, Some((first, last))).await?;
        let content_range = response.headers().get(CONTENT_RANGE);
        if response.status() != StatusCode::PARTIAL_CONTENT
            || check_range(content_range, (first, last), descriptor.size).is_err()
        {
            return Ok(None);
        }
        let mut body = Body::new(response, self.stall);
        let mut bytes = Vec::new();
        let length = last.saturating_sub(first).saturating_add(1);
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
            if to_u64(bytes.len()) > length {
                return Ok(None);
            }
        }
        Ok((to_u64(bytes.len()) == length).then_some(bytes))
    }

    /// One connection.
    async fn part<E>(
        &mut self,
        place: &str,
        size: u64,
        progress: &mut Progress,
        tries: &mut Tries,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), End<E>> {
        let start = progress.offset;
        // A closed range: open ones fail on some registries.
        let range = (start > 0).then(|| (start, size.saturating_sub(1)));
        let response = self.get(place, None, range).await?;
        let status = response.status();
        let content_range = response.headers().get(CONTENT_RANGE).cloned();
        let mut body = Body::new(response, self.stall);
        let mut skip = 0;
        if range.is_some() {
            let expected = || format!("bytes {start}-{}/{size}", size.saturating_sub(1));
            if status == StatusCode::PARTIAL_CONTENT {
                if let Err(found) =
                    check_range(content_range.as_ref(), (start, size.saturating_sub(1)), size)
                {
                    let found = format!("Content-Range {found}");
                    return Err(
                        Error::Range { url: body.url(), found, expected: expected() }.into()
                    );
                }
            } else if progress.discarded {
                // Once more each time would be quadratic (containers/container-libs#1114).
                let found = "the whole blob, again".to_owned();
                return Err(Error::Range { url: body.url(), found, expected: expected() }.into());
            } else {
                progress.discarded = true;
                skip = start;
            }
        }
        while let Some(chunk) = body.chunk().await? {
            let chunk = chunk.as_ref();
            let skipped = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
            skip -= to_u64(skipped);
            let room = size.saturating_add(1).saturating_sub(progress.offset);
            let bytes = chunk.get(skipped..).unwrap_or_default();
            let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let bytes = bytes.get(..taken).unwrap_or_default();
            if bytes.is_empty() {
                continue;
            }
            sink(bytes).map_err(End::Sink)?;
            progress.offset += to_u64(bytes.len());
            tries.beat();
            if progress.offset > size {
                return Ok(());
            }
        }
        match body.cut() {
            Some(failure) if progress.offset < size => Err(failure.into()),
            _ => Ok(()),
        }
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Whether a `Content-Range` is the one asked for: the first and the last byte, of `size`. Else,
/// what it is.
fn check_range(
    value: Option<&HeaderValue>,
    (start, end): (u64, u64),
    size: u64,
) -> Result<(), String> {
    let value = value.ok_or("(none)")?;
    let text = value.to_str().map_err(|_| "(not ASCII)")?;
    let parse = || {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten()
        };
        let total = if total == "*" { size } else { number(total)? };
        Some((unit.eq_ignore_ascii_case("bytes"), number(first)?, number(last)?, total))
    };
    match parse() {
        Some((true, first, last, total)) if first == start && last == end && total == size => {
            Ok(())
        }
        _ => Err(bounded(&format!("{text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_that_was_asked_for_is_right() {
        let check =
            |text| check_range(Some(&HeaderValue::from_static(text)), (10, 99), 100).is_ok();
        assert!(check("bytes 10-99/100"));
        assert!(check("Bytes 10-99/*"));
        for bad in [
            "",
            "bytes",
            "bytes 10-99",
            "bytes 0-99/100",
            "bytes 11-99/100",
            "bytes 10-98/100",
            "bytes 10-100/101",
            "bytes 10-99/101",
            "bytes +10-99/100",
            "bytes */100",
            "items 10-99/100",
            "bytes 10-18446744073709551615/100",
            "bytes 10-99999999999999999999999/100",
        ] {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_range(None, (10, 99), 100).is_err());
        let part = HeaderValue::from_static("bytes 10-19/100");
        assert!(check_range(Some(&part), (10, 19), 100).is_ok());
        assert!(check_range(Some(&part), (10, 29), 100).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_other_range_is_right(start: u64, end: u64, size: u64, first: u64, last: u64, total: u64) {
            let is_right = |text: String| {
                check_range(Some(&HeaderValue::try_from(text).unwrap()), (start, end), size).is_ok()
            };
            let asked = first == start && last == end && total == size;
            proptest::prop_assert_eq!(is_right(format!("bytes {first}-{last}/{total}")), asked);
            let right = format!("bytes {start}-{end}/{size}");
            proptest::prop_assert!(is_right(right));
        }
    }
}
