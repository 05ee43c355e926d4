//! The data area: contents, one behind the other, from block 1 on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{BLOCK, len, size};

/// Writes the data area from front to back, so that small files need no system call each.
#[derive(Debug)]
pub struct Data {
    file: File,
    /// Where the area ends, what is in `buffer` included.
    end: u64,
    /// The last bytes of the area, which are not in the file yet.
    buffer: Vec<u8>,
}

impl Data {
    /// Bytes that are written at a time.
    const BUFFER: usize = 256 << 10;

    /// An empty data area.
    pub fn new(file: File) -> Self {
        Self { file, end: BLOCK, buffer: Vec::with_capacity(Self::BUFFER) }
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Writes bytes at the end.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let step = if self.buffer.is_empty() && bytes.len() >= Self::BUFFER {
                bytes.len() - bytes.len() % Self::BUFFER
            } else {
                bytes.len().min(Self::BUFFER - self.buffer.len())
            };
            let (now, rest) = bytes.split_at(step);
            if step >= Self::BUFFER {
                self.file.write_all_at(now, self.end)?;
            } else {
                self.buffer.extend_from_slice(now);
            }
            self.end += len(now);
            if self.buffer.len() == Self::BUFFER {
                self.flush()?;
            }
            bytes = rest;
        }
        // Addresses of blocks have 32 bits.
        if self.end / BLOCK >= u64::from(u32::MAX) {
            let problem = "found contents of more than 16 TiB, where the addresses of blocks end";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        Ok(())
    }

    /// Fills the last block with zeros.
    pub fn align(&mut self) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let gap = self.end.next_multiple_of(BLOCK) - self.end;
        self.write(ZEROS.get(..size(gap)).unwrap_or_default())
    }

    /// Takes back what was written from a place on.
    pub fn take_back(&mut self, from: u64) {
        let taken = size(self.end.saturating_sub(from));
        self.buffer.truncate(self.buffer.len().saturating_sub(taken));
        self.end = self.end.min(from);
    }

    /// Overwrites a part with zeros.
    pub fn zero(&mut self, mut position: u64, length: u64) -> io::Result<()> {
        self.flush()?;
        let zeros = vec![0; size(length.min(1 << 20))];
        let mut left = size(length);
        while left > 0 {
            let piece = zeros.get(..left.min(zeros.len())).unwrap_or(&zeros);
            self.file.write_all_at(piece, position)?;
            position += len(piece);
            left -= piece.len();
        }
        Ok(())
    }

    /// Reads what was written at a place.
    pub fn read(&mut self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        self.flush()?;
        self.file.read_exact_at(bytes, position)
    }

    /// The file, with all of the area in it.
    pub fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        Ok(self.file)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.end - len(&self.buffer))?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is written, taken back and zeroed, in whatever pieces.
    #[test]
    fn the_file_has_what_a_vector_would_have() {
        let mut data = Data::new(tempfile::tempfile().unwrap());
        let mut expected = vec![0; 4096];
        let noise = super::super::compress::noise(3 * Data::BUFFER);
        let lengths = [1, 4096, 100, Data::BUFFER, 70_000, 2 * Data::BUFFER + 17, 0, 300_000];
        for (round, &length) in lengths.iter().cycle().take(40).enumerate() {
            data.write(&noise[..length]).unwrap();
            expected.extend_from_slice(&noise[..length]);
            match round % 5 {
                1 => {
                    data.align().unwrap();
                    expected.resize(expected.len().next_multiple_of(4096), 0);
                }
                2 => {
                    let from = expected.len() - length.min(expected.len() - 4096) / 2;
                    data.take_back(len(&expected[..from]));
                    expected.truncate(from);
                }
                3 => {
                    let from = expected.len() - length.min(5000);
                    data.zero(len(&expected[..from]), 5000.min(len(&noise[..length]))).unwrap();
                    expected[from..].fill(0);
                }
                _ => {}
            }
            assert_eq!(data.end(), len(&expected));
        }
        let mut back = vec![1; 9000];
        let from = expected.len() - back.len();
        data.read(&mut back, len(&expected[..from])).unwrap();
        assert!(back == expected[from..]);
        let mut found = vec![0; expected.len()];
        let file = data.finish().unwrap();
        assert!(file.metadata().unwrap().len() >= len(&expected));
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
    }
}
