//! Decompression: gzip, zstd, and none.
//!
//! Input: a byte that says how the rest is compressed.
//!
//! - Any reader of the same format that knows less of layers (`flate2`, `zstd`) gets the same
//!   bytes from what is accepted.
//! - How many bytes are asked for at a time changes nothing.
//! - No more bytes come than the limit allows.
//! - What is compressed comes back.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use oci2sysext::layer::{Compression, decompress};
use oci2sysext::limits::Limits;

use super::blob::gzip;

const MAX: u64 = 1 << 20;

fn limits() -> Limits {
    Limits { layer_uncompressed: MAX, zstd_window: 1 << 20, ..Limits::default() }
}

fn whole(stored: &[u8], compression: Compression, step: usize) -> Option<Vec<u8>> {
    let mut reader = decompress(stored, compression, &limits()).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; step];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Some(bytes),
            Ok(count) => bytes.extend(&buffer[..count]),
            Err(_) => {
                assert!(reader.read(&mut buffer).is_err(), "an error became an end");
                return None;
            }
        }
        assert!(u64::try_from(bytes.len()).unwrap() <= MAX);
    }
}

pub fn run(data: &[u8]) {
    let Some((&which, stored)) = data.split_first() else { return };
    let compression = match which % 4 {
        0 => Compression::None,
        1 => Compression::Gzip,
        2 => Compression::Zstd { chunked: false },
        _ => Compression::Zstd { chunked: true },
    };
    let bytes = whole(stored, compression, 64 << 10);
    assert_eq!(whole(stored, compression, 7), bytes);
    if let Some(bytes) = bytes {
        let mut others = Vec::new();
        match compression {
            Compression::None => others.extend(stored),
            Compression::Gzip => _ = MultiGzDecoder::new(stored).read_to_end(&mut others).unwrap(),
            Compression::Zstd { .. } => zstd::stream::copy_decode(stored, &mut others).unwrap(),
        }
        assert_eq!(bytes, others);
    }
    match which % 4 {
        1 => assert_eq!(whole(&gzip(stored), compression, 4096).unwrap(), stored),
        2 => {
            let zstd = zstd::encode_all(stored, 1).unwrap();
            assert_eq!(whole(&zstd, compression, 4096).unwrap(), stored);
        }
        _ => {}
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = b"what is to be compressed ".repeat(20);
    let zstd = zstd::encode_all(&*text, 3).unwrap();
    let skippable = [b"\x50\x2a\x4d\x18\x04\0\0\0skip", zstd.as_slice()].concat();
    let members = [gzip(&text), gzip(b"")].concat();
    [
        (0, text),
        (1, gzip(b"")),
        (1, members),
        (2, zstd.clone()),
        (2, skippable.clone()),
        (3, skippable),
    ]
    .map(|(which, stored)| [&[which], stored.as_slice()].concat())
    .into()
}
