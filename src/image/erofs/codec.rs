//! The compressors behind one question: how much of this input fits into that much output?

use std::fmt;
use std::io;

use zstd::stream::raw::{CParameter, DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::{bulk, zstd_safe};

use super::lz4;
use super::options::Compression;

/// The largest window of a Zstandard frame: kernels keep no more than a cluster of 1 MiB.
const WINDOW_LOG: u32 = 20;

/// Compresses, with tables of its own; one for each thread.
pub enum Codec {
    /// LZ4 and LZ4HC.
    Lz4(lz4::Compressor),
    /// Zstandard.
    Zstd(bulk::Compressor<'static>),
}

impl Codec {
    /// A codec for inputs of about `piece` bytes. Needs memory for its tables.
    pub fn new(compression: Compression, piece: usize) -> io::Result<Option<Self>> {
        let no_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
        Ok(match compression {
            Compression::None => None,
            Compression::Lz4 => Some(Self::Lz4(lz4::Compressor::fast())),
            Compression::Lz4hc(level) => {
                Some(Self::Lz4(lz4::Compressor::high(level.number()).ok_or_else(no_memory)?))
            }
            Compression::Zstd(level) => {
                let mut zstd = bulk::Compressor::new(level.number().into())?;
                zstd.set_parameter(CParameter::WindowLog(window_log(piece)))?;
                Some(Self::Zstd(zstd))
            }
        })
    }

    /// Compresses as much of the start of `input` as fits into `output`, and gives how much it
    /// took and gave; none if that is nothing.
    ///
    /// LZ4 takes what fits; Zstandard takes all, or, after that failed, the length of `output`,
    /// so that no input is compressed more than twice.
    pub fn fill(&mut self, input: &[u8], output: &mut [u8]) -> Option<(usize, usize)> {
        match self {
            Self::Lz4(lz4) => lz4.fill(input, output),
            Self::Zstd(zstd) => {
                if let Ok(given) = zstd.compress_to_buffer(input, output) {
                    return Some((input.len(), given));
                }
                let less = input.get(..output.len()).filter(|less| less.len() < input.len())?;
                Some((less.len(), zstd.compress_to_buffer(less, output).ok()?))
            }
        }
    }

    /// How much input to offer for a cluster of `cluster` bytes.
    pub fn offer(&self, cluster: usize) -> usize {
        match self {
            Self::Lz4(_) => usize::MAX,
            // Text shrinks to a third, programs to half: what comes out fits one cluster, and
            // the half block that its end wastes is little of it.
            Self::Zstd(_) => 2 * cluster,
        }
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lz4(_) => "Codec::Lz4",
            Self::Zstd(_) => "Codec::Zstd",
        })
    }
}

/// log₂ of the window for inputs of `piece` bytes.
pub fn window_log(piece: usize) -> u32 {
    piece.next_power_of_two().ilog2().clamp(10, WINDOW_LOG)
}

/// Decompresses the first `output.len()` bytes of a Zstandard frame; whether it has as many, and,
/// if it is `whole`, no more.
pub fn unzstd(input: &[u8], output: &mut [u8], whole: bool) -> bool {
    unzstd_within(WINDOW_LOG, input, output, whole)
}

/// Decompresses the first `output.len()` bytes of a Zstandard frame whose window has at most
/// 2^`window_log` bytes; whether it has as many, and, if it is `whole`, no more.
pub fn unzstd_within(window_log: u32, input: &[u8], output: &mut [u8], whole: bool) -> bool {
    // The library looks at the window only of frames that it cannot decompress in one go.
    let log = window_log.min(WINDOW_LOG);
    if window(input).is_none_or(|window| window > 1 << log) {
        return false;
    }
    let Ok(mut decoder) = Decoder::new() else { return false };
    if decoder.set_parameter(DParameter::WindowLogMax(log)).is_err() {
        return false;
    }
    let wanted = output.len();
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    loop {
        let before = (from.pos(), to.pos());
        let Ok(hint) = decoder.run(&mut from, &mut to) else { return false };
        let full = to.pos() == wanted;
        if hint == 0 {
            return full;
        }
        if full && !whole {
            return true;
        }
        if before == (from.pos(), to.pos()) {
            return false;
        }
    }
}

/// The window of a frame, by its header (RFC 8878, §3.1.1.1).
fn window(frame: &[u8]) -> Option<u64> {
    let &[0x28, 0xb5, 0x2f, 0xfd, descriptor, next, ..] = frame else { return None };
    if descriptor & 0x20 != 0 {
        // The window is the content.
        return zstd_safe::get_frame_content_size(frame).ok()?;
    }
    let base = 1 << (10 + (next >> 3));
    Some(base + base / 8 * u64::from(next & 7))
}

/// Decompresses the first `output.len()` bytes of a raw DEFLATE stream; whether it has as many.
pub fn inflate(input: &[u8], output: &mut [u8]) -> bool {
    let mut inflater = flate2::Decompress::new(false);
    let wanted = super::len(output);
    let status = inflater.decompress(input, output, flate2::FlushDecompress::Finish);
    status.is_ok() && inflater.total_out() == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstd_frames_come_back() {
        let text: Vec<u8> = (0..60_000u32).flat_map(|n| (n * n % 977).to_le_bytes()).collect();
        let mut codec = Codec::new("zstd:5".parse().unwrap(), 128 << 10).unwrap().unwrap();
        let mut output = vec![0; 128 << 10];
        let (taken, given) = codec.fill(&text, &mut output).unwrap();
        assert_eq!(taken, text.len());
        let frame = &output[..given];
        let mut back = vec![0; taken];
        assert!(unzstd(frame, &mut back, true));
        assert_eq!(back, text);
        assert!(unzstd(frame, &mut back[..100], false));
        assert!(!unzstd(frame, &mut back[..100], true));
        assert!(!unzstd(&frame[..given - 1], &mut back, true));
        assert!(unzstd_within(17, frame, &mut back, true));
        assert!(!unzstd_within(16, frame, &mut back, true));
        back.push(0);
        assert!(!unzstd(frame, &mut back, false));
        // No window but the content.
        let (taken, given) = codec.fill(&text[..20_000], &mut output).unwrap();
        let (frame, back) = (&output[..given], &mut back[..taken]);
        assert!(unzstd_within(15, frame, back, true));
        assert!(!unzstd_within(14, frame, back, true));
    }

    #[test]
    fn what_does_not_fit_is_tried_once_more() {
        let noise = super::super::compress::noise(8192);
        let mut codec = Codec::new("zstd".parse().unwrap(), 8192).unwrap().unwrap();
        assert_eq!(codec.fill(&noise, &mut [0; 4096]), None);
        let half = [&noise[..3000], &[0; 7000]].concat();
        assert!(matches!(codec.fill(&half, &mut [0; 4096]), Some((10_000, _))));
    }
}
