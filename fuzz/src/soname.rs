//! The name in a library.
//!
//! - It is in the library, with its end.

use oci2sysext::base::soname;

pub fn run(data: &[u8]) {
    let Some(name) = soname(data) else { return };
    let name = [name.as_bytes(), b"\0"].concat();
    assert!(data.windows(name.len()).any(|part| part == name));
}

/// Libraries of both word lengths and byte orders: a header, a segment that has all of the file, and
/// a dynamic segment.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for wide in [true, false] {
        for little in [true, false] {
            seeds.push(library(wide, little));
        }
    }
    seeds
}

fn library(wide: bool, little: bool) -> Vec<u8> {
    let (header, segment, word) = if wide { (64, 56, 8) } else { (52, 32, 4) };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 2 - u8::from(little), 1];
    bytes.resize(16, 0);
    let mut put = |value: usize, length: usize| {
        let value = u64::try_from(value).unwrap();
        let all = if little { value.to_le_bytes() } else { value.to_be_bytes() };
        bytes.extend(if little { &all[..length] } else { &all[8 - length..] });
    };
    let dynamic = header + 2 * segment;
    let names = dynamic + 4 * 2 * word;
    let name = b"\0libx.so.1\0";
    let end = names + name.len();
    // e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize and so on.
    for (value, length) in [(3, 2), (62, 2), (1, 4), (0, word), (header, word), (0, word), (0, 4)] {
        put(value, length);
    }
    for value in [header, segment, 2, 0, 0, 0] {
        put(value, 2);
    }
    for (kind, at, length) in [(1, 0, end), (2, dynamic, names - dynamic)] {
        put(kind, 4);
        if wide {
            put(4, 4);
        }
        for value in [at, at, at, length, length] {
            put(value, word);
        }
        if !wide {
            put(4, 4);
        }
        put(1, word);
    }
    for (tag, value) in [(14, 1), (5, names), (10, name.len()), (0, 0)] {
        put(tag, word);
        put(value, word);
    }
    bytes.extend(name);
    assert_eq!(soname(&bytes).as_deref(), Some("libx.so.1"));
    bytes
}
