//! From stored to uncompressed bytes: gzip with all its members, zstd, or as they are.
//!
//! An error of a decoder stays an error: no later read takes it for the end (row 42).

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::source::Counted;
use super::zstd::Frames;
use super::{BUFFER, Problem, Spent};
use crate::limits::Limits;
use crate::oci::{Descriptor, LayerCompression};

/// Decompressed bytes that are let through before `ratio` is looked at (row 45).
const RATIO_FROM: u64 = 256 << 20;

/// Annotations that announce skippable frames: zstd:chunked's table of contents.
const CHUNKED: &str = "io.github.containers.zstd-chunked.";

/// How the bytes of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// gzip (RFC 1952), one or more members.
    Gzip,
    /// zstd (RFC 8878), one or more frames.
    Zstd {
        /// Whether skippable frames may occur, which are then passed over (zstd:chunked).
        chunked: bool,
    },
}

impl Compression {
    /// What a descriptor says; anything but a distributable, unencrypted tar layer without
    /// `urls` is refused (row 41, archive rule 4).
    pub fn of(descriptor: &Descriptor) -> Result<Self, Problem> {
        let compression = descriptor.tar_layer();
        Ok(match compression.map_err(|problem| Problem::Descriptor { problem })? {
            LayerCompression::None => Self::None,
            LayerCompression::Gzip => Self::Gzip,
            LayerCompression::Zstd => {
                let chunked = |key: &String| key.starts_with(CHUNKED);
                Self::Zstd { chunked: descriptor.annotations.keys().any(chunked) }
            }
        })
    }

    /// Whether stored bytes may become so many: whoever stores little must not cost much.
    pub(super) fn check_ratio(self, stored: u64, produced: u64, ratio: u64) -> Result<(), Problem> {
        let allowed = stored.saturating_mul(ratio).max(RATIO_FROM);
        if self == Self::None || produced <= allowed {
            return Ok(());
        }
        Err(Problem::Limit {
            limit: "ratio",
            path: None,
            found: produced.div_ceil(stored.max(1)),
            unit: "uncompressed bytes for each stored byte",
            maximum: ratio,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd { .. } => "zstd",
        }
    }
}

#[derive(Debug)]
enum Decoder<R> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
    Zstd(Box<Frames<BufReader<Counted<R>>>>),
}

/// The uncompressed bytes of a layer: counted, and limited.
#[derive(Debug)]
pub(super) struct Uncompressed<R> {
    decoder: Decoder<R>,
    compression: Compression,
    /// Of the layers before this one.
    spent: Spent,
    produced: u64,
    maximum: u64,
    ratio: u64,
    failed: bool,
}

impl<R: Read> Uncompressed<R> {
    pub(super) fn new(
        stored: R,
        compression: Compression,
        limits: &Limits,
        spent: Spent,
    ) -> Result<Self, Problem> {
        let stored = Counted::new(stored);
        let decoder = match compression {
            Compression::None => Decoder::Plain(stored),
            Compression::Gzip => {
                let stored = BufReader::with_capacity(BUFFER, stored);
                Decoder::Gzip(Box::new(MultiGzDecoder::new(stored)))
            }
            Compression::Zstd { chunked } => {
                let stored = BufReader::with_capacity(BUFFER, stored);
                let frames =
                    Frames::new(stored, limits.zstd_window, chunked).map_err(Problem::Read)?;
                Decoder::Zstd(Box::new(frames))
            }
        };
        Ok(Self {
            decoder,
            compression,
            spent,
            produced: 0,
            maximum: limits.layer_uncompressed,
            ratio: limits.ratio,
            failed: false,
        })
    }

    /// The stored bytes, wherever decoding stands.
    pub(super) fn stored_mut(&mut self) -> &mut R {
        match &mut self.decoder {
            Decoder::Plain(stored) => &mut stored.inner,
            Decoder::Gzip(gzip) => &mut gzip.get_mut().get_mut().inner,
            Decoder::Zstd(frames) => &mut frames.get_mut().get_mut().inner,
        }
    }

    fn stored_count(&self) -> u64 {
        match &self.decoder {
            Decoder::Plain(stored) => stored.count,
            Decoder::Gzip(gzip) => gzip.get_ref().get_ref().count,
            Decoder::Zstd(frames) => frames.get_ref().get_ref().count,
        }
    }

    fn decode(&mut self, buffer: &mut [u8]) -> Result<usize, Problem> {
        let result = match &mut self.decoder {
            Decoder::Plain(stored) => stored.read(buffer),
            Decoder::Gzip(gzip) => gzip.read(buffer),
            Decoder::Zstd(frames) => frames.read(buffer),
        };
        let count = result.map_err(|error| self.blame(error))?;
        self.produced = self.produced.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let produced = self.spent.uncompressed.saturating_add(self.produced);
        if produced > self.maximum {
            return Err(Problem::Limit {
                limit: "layer-uncompressed",
                path: None,
                found: produced,
                unit: "uncompressed bytes",
                maximum: self.maximum,
            });
        }
        let stored = self.spent.stored.saturating_add(self.stored_count());
        self.compression.check_ratio(stored, produced, self.ratio)?;
        Ok(count)
    }

    /// An error that is not from below the decoder is the decoder's own.
    fn blame(&self, error: io::Error) -> Problem {
        if self.compression == Compression::None {
            return Problem::from_io(error);
        }
        error.downcast::<Problem>().unwrap_or_else(|error| {
            let found = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the stored bytes end too early".to_owned(),
                _ => error.to_string(),
            };
            let expected = "whole and intact compressed data, and nothing after it";
            Problem::Compressed { format: self.compression.name(), found, expected }
        })
    }
}

impl<R: Read> Read for Uncompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("reading failed before"));
        }
        self.decode(buffer).map_err(|problem| {
            self.failed = true;
            problem.into()
        })
    }
}
