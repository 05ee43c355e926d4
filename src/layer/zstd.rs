//! zstd as layers use it (RFC 8878): one or more frames, no dictionary, nothing after them.
//!
//! The header of each frame is read here first, because libzstd would decode skippable frames as
//! nothing, and tells neither a window that is too large nor a dictionary from broken data.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Problem;

const MAGIC: u32 = 0xFD2F_B528;
/// `0x184D2A50` to `0x184D2A5F`.
const SKIPPABLE: u32 = 0x184D_2A50;
/// Magic, descriptor, window, dictionary and content size at their longest.
const MAX_HEADER: usize = 4 + 1 + 1 + 4 + 8;
/// libzstd's own maximum on 64-bit machines.
const MAX_WINDOW_LOG: u32 = 31;
const MIN_WINDOW_LOG: u32 = 10;

/// Decodes all frames of a reader; anything else in it is an error.
pub(super) struct Frames<R> {
    inner: R,
    decoder: Decoder<'static>,
    /// Largest window, in bytes.
    max_window: u64,
    /// Whether frames that hold no contents may occur (zstd:chunked).
    skippable: bool,
    state: State,
    /// How many frames have ended.
    count: u64,
}

enum State {
    /// Between frames.
    Boundary,
    /// The header was read, but not yet given to the decoder.
    Header {
        bytes: [u8; MAX_HEADER],
        length: usize,
        fed: usize,
    },
    /// In a frame.
    Body,
    /// This many bytes of a skippable frame are left.
    Skipping(u64),
    End,
}

impl<R> std::fmt::Debug for Frames<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(inner: R, max_window: u64, skippable: bool) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        let log = max_window.max(1).ilog2().clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG);
        // Rounded up: the exact size is compared in `header`.
        let log = if max_window > 1 << log { (log + 1).min(MAX_WINDOW_LOG) } else { log };
        decoder.set_parameter(DParameter::WindowLogMax(log))?;
        Ok(Self { inner, decoder, max_window, skippable, state: State::Boundary, count: 0 })
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.inner
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads what is in front of a frame and decides what it is.
    fn boundary(&mut self) -> io::Result<State> {
        if self.inner.fill_buf()?.is_empty() {
            if self.count == 0 {
                return Err(refuse("found no bytes", "a frame"));
            }
            return Ok(State::End);
        }
        let mut bytes = [0; MAX_HEADER];
        let [m0, m1, m2, m3, ..] = &mut bytes;
        let mut magic = [0; 4];
        self.fill(&mut magic)?;
        [*m0, *m1, *m2, *m3] = magic;
        let magic = u32::from_le_bytes(magic);
        if magic & !0xF == SKIPPABLE {
            if !self.skippable {
                return Err(refuse(
                    "found a skippable frame",
                    "one only in a layer with zstd:chunked annotations",
                ));
            }
            let mut size = [0; 4];
            self.fill(&mut size)?;
            return Ok(State::Skipping(u32::from_le_bytes(size).into()));
        }
        if magic != MAGIC {
            return Err(refuse(&format!("found {magic:#010x}"), "the magic number of a frame"));
        }
        let mut descriptor = [0; 1];
        self.fill(&mut descriptor)?;
        let [descriptor] = descriptor;
        let single_segment = descriptor & 0x20 != 0;
        let dictionary_length = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied().unwrap_or(0);
        let size_length: usize = match descriptor >> 6 {
            0 => usize::from(single_segment),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        let length = 5 + usize::from(!single_segment) + dictionary_length + size_length;
        if let Some(byte) = bytes.get_mut(4) {
            *byte = descriptor;
        }
        if let Some(rest) = bytes.get_mut(5..length) {
            self.fill(rest)?;
        }
        let field = |start: usize, length: usize| {
            let bytes = bytes.get(start..start + length).unwrap_or_default();
            bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
        };
        let dictionary_start = 5 + usize::from(!single_segment);
        if field(dictionary_start, dictionary_length) != 0 {
            return Err(refuse("found a frame with a dictionary", "one without"));
        }
        let window = if single_segment {
            let size = field(dictionary_start + dictionary_length, size_length);
            // RFC 8878, 3.1.1.1.4: the two-byte size starts at 256.
            if size_length == 2 { size + 256 } else { size }
        } else {
            let byte = field(5, 1);
            let base = 1u64 << (10 + (byte >> 3));
            base + base / 8 * (byte & 7)
        };
        let maximum = self.max_window.min(1 << MAX_WINDOW_LOG);
        if window > maximum {
            return Err(Problem::Limit {
                limit: "zstd-window",
                path: None,
                found: window,
                unit: "bytes of zstd window",
                maximum,
            }
            .into());
        }
        self.decoder.reinit()?;
        Ok(State::Header { bytes, length, fed: 0 })
    }

    /// `read_exact` that calls the end of the layer by its name.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => error,
        })
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                State::End => return Ok(0),
                State::Boundary => self.state = self.boundary()?,
                State::Skipping(0) => {
                    self.count += 1;
                    self.state = State::Boundary;
                }
                State::Skipping(left) => {
                    let available = self.inner.fill_buf()?.len();
                    if available == 0 {
                        return Err(truncated());
                    }
                    let count = available.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.inner.consume(count);
                    *left -= u64::try_from(count).unwrap_or(u64::MAX);
                }
                State::Header { bytes, length, fed } => {
                    let header = bytes.get(*fed..*length).unwrap_or_default();
                    let mut input = InBuffer::around(header);
                    let mut output = OutBuffer::around(&mut *buffer);
                    self.decoder.run(&mut input, &mut output)?;
                    *fed += input.pos();
                    if *fed == *length {
                        self.state = State::Body;
                    }
                }
                State::Body => {
                    let available = self.inner.fill_buf()?;
                    let at_end = available.is_empty();
                    let mut input = InBuffer::around(available);
                    let mut output = OutBuffer::around(&mut *buffer);
                    let hint = self.decoder.run(&mut input, &mut output)?;
                    let (consumed, count) = (input.pos(), output.pos());
                    self.inner.consume(consumed);
                    if hint == 0 {
                        self.count += 1;
                        self.state = State::Boundary;
                    } else if at_end && count == 0 {
                        return Err(truncated());
                    }
                    if count > 0 {
                        return Ok(count);
                    }
                }
            }
        }
    }
}

fn truncated() -> io::Error {
    refuse("the layer ends inside a frame", "all of it")
}

fn refuse(found: &str, expected: &'static str) -> io::Error {
    Problem::Compressed { format: "zstd", found: found.to_owned(), expected }.into()
}
