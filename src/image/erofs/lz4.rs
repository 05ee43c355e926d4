//! LZ4 blocks by the C library: as much input as fits into an output of a given size.
//!
//! `lz4-sys` builds the library but does not declare these functions of it.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

use lz4_sys::LZ4_decompress_safe;

unsafe extern "C" {
    fn LZ4_compress_destSize(
        src: *const c_char,
        dst: *mut c_char,
        src_size: *mut c_int,
        dst_size: c_int,
    ) -> c_int;
    fn LZ4_createStreamHC() -> *mut c_void;
    fn LZ4_freeStreamHC(stream: *mut c_void) -> c_int;
    fn LZ4_resetStreamHC_fast(stream: *mut c_void, level: c_int);
    fn LZ4_compress_HC_continue_destSize(
        stream: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_size: *mut c_int,
        dst_size: c_int,
    ) -> c_int;
    fn LZ4_decompress_safe_partial(
        src: *const c_char,
        dst: *mut c_char,
        src_size: c_int,
        target_size: c_int,
        dst_capacity: c_int,
    ) -> c_int;
}

/// A compressor, one for each thread.
#[derive(Debug)]
pub struct Compressor {
    /// The state of LZ4HC and its level; none for LZ4.
    high: Option<(NonNull<c_void>, c_int)>,
}

impl Compressor {
    /// Plain LZ4.
    pub fn fast() -> Self {
        Self { high: None }
    }

    /// LZ4HC at a level of 1 to 12; none if there is no memory.
    pub fn high(level: u8) -> Option<Self> {
        // SAFETY: takes nothing; gives null or a state that `drop` frees.
        let stream = NonNull::new(unsafe { LZ4_createStreamHC() })?;
        Some(Self { high: Some((stream, c_int::from(level))) })
    }

    /// Compresses as much of the start of `input` as fits into `output`.
    ///
    /// Returns how many bytes it took and how many it gave; none if it could take nothing. The
    /// result depends on the arguments alone, not on what was compressed before.
    pub fn fill(&mut self, input: &[u8], output: &mut [u8]) -> Option<(usize, usize)> {
        let mut taken = c_int::try_from(input.len()).ok()?;
        let room = c_int::try_from(output.len()).ok()?;
        let (src, dst) = (input.as_ptr().cast(), output.as_mut_ptr().cast());
        let given = match self.high {
            // SAFETY: `src` is readable for `taken` bytes and `dst` writable for `room`, for they
            // are those slices and their lengths; the function keeps to both.
            None => unsafe { LZ4_compress_destSize(src, dst, &raw mut taken, room) },
            // SAFETY: the slices as above; `stream` is a live state that `&mut self` makes ours
            // alone. The reset forgets the input before, which may be gone, without clearing
            // the 256 KiB of tables: indexes from before it are out of reach of every match.
            Some((stream, level)) => unsafe {
                LZ4_resetStreamHC_fast(stream.as_ptr(), level);
                LZ4_compress_HC_continue_destSize(stream.as_ptr(), src, dst, &raw mut taken, room)
            },
        };
        let (taken, given) = (usize::try_from(taken).ok()?, usize::try_from(given).ok()?);
        (given > 0 && given <= output.len() && taken <= input.len()).then_some((taken, given))
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        if let Some((stream, _)) = self.high {
            // SAFETY: the state came from LZ4_createStreamHC and nobody else has it.
            unsafe { LZ4_freeStreamHC(stream.as_ptr()) };
        }
    }
}

/// Decompresses a block; whether it is one of exactly `output.len()` bytes.
pub fn decompress(input: &[u8], output: &mut [u8]) -> bool {
    let (Ok(src_size), Ok(capacity)) =
        (c_int::try_from(input.len()), c_int::try_from(output.len()))
    else {
        return false;
    };
    let (src, dst) = (input.as_ptr().cast(), output.as_mut_ptr().cast());
    // SAFETY: the pointers and lengths are those of the slices, and the function stays within
    // both on any input.
    let given = unsafe { LZ4_decompress_safe(src, dst, src_size, capacity) };
    given == capacity
}

/// Decompresses the first `output.len()` bytes of a block; whether it has as many.
pub fn decompress_start(input: &[u8], output: &mut [u8]) -> bool {
    let (Ok(src_size), Ok(capacity)) =
        (c_int::try_from(input.len()), c_int::try_from(output.len()))
    else {
        return false;
    };
    let (src, dst) = (input.as_ptr().cast(), output.as_mut_ptr().cast());
    // SAFETY: as above.
    let given = unsafe { LZ4_decompress_safe_partial(src, dst, src_size, capacity, capacity) };
    given == capacity
}

#[cfg(test)]
mod tests {
    use super::{Compressor, decompress, decompress_start};

    fn text() -> Vec<u8> {
        (0..40_000u32).flat_map(|n| format!("{} ", n % 977 * (n % 13)).into_bytes()).collect()
    }

    #[test]
    fn what_fits_comes_back() {
        let text = text();
        for level in [0, 1, 3, 9, 12] {
            let mut lz4 =
                if level == 0 { Compressor::fast() } else { Compressor::high(level).unwrap() };
            let mut output = vec![0; 4096];
            let (taken, given) = lz4.fill(&text, &mut output).unwrap();
            assert!(taken > 4096 && given <= 4096, "{level}: {taken} in {given}");
            let mut back = vec![0; taken];
            assert!(decompress(&output[..given], &mut back));
            assert_eq!(back, text[..taken]);
            assert!(!decompress(&output[..given - 1], &mut back));
            assert!(!decompress(&output[..given], &mut back[..100]));
            assert!(decompress_start(&output[..given], &mut back[..100]));
        }
    }

    #[test]
    fn a_used_state_gives_what_a_new_one_gives() {
        let text = text();
        for level in [1, 2, 3, 9, 10, 12] {
            let mut used = Compressor::high(level).unwrap();
            for start in (0..text.len() - 5000).step_by(7001) {
                let (mut a, mut b) = (vec![0; 8192], vec![0; 8192]);
                let with_used = used.fill(&text[start..], &mut a);
                let with_new = Compressor::high(level).unwrap().fill(&text[start..], &mut b);
                assert_eq!((with_used, a), (with_new, b), "level {level} at {start}");
            }
        }
    }
}
