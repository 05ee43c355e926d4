//! tar-split, and the archives that are assembled by it.
//!
//! Input: its lines, decompressed.
//!
//! - No file is opened without contents, or by a name that is longer than the limit.
//! - What is assembled is no longer than the lines and the files that were opened.

use std::cell::Cell;
use std::io::{self, Read};

use oci2sysext::base::tar_split::{Assembly, Parts};
use oci2sysext::limits::Limits;

/// No file is longer.
const SIZE: u64 = 1000;

pub fn run(data: &[u8]) {
    let limits = Limits { path: 20, entries: 10, ..Limits::default() };
    let opened = Cell::new(0);
    let open = |name: &[u8], size: u64| -> io::Result<Box<dyn Read>> {
        assert!(size > 0 && name.len() <= 20);
        if size > SIZE {
            return Err(io::Error::other("found another size"));
        }
        opened.set(opened.get() + size);
        // One of them ends early.
        let size = if name == b"short" { size / 2 } else { size };
        Ok(Box::new(io::repeat(7).take(size)))
    };
    let mut assembly = Assembly::new(Parts::new(data, &limits), Box::new(open));
    let length = io::copy(&mut assembly, &mut io::sink());
    if let Ok(length) = length {
        assert!(length <= opened.get() + u64::try_from(data.len()).unwrap());
    }
    assert!(opened.get() <= SIZE * 44);
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "{\"type\":2,\"payload\":\"aGVhZA==\",\"position\":0}\n\
         {\"type\":1,\"name\":\"./usr/a\",\"size\":3,\"payload\":\"AAAAAAAAAAA=\",\"position\":1}\n\
         {\"type\":2,\"payload\":\"\",\"position\":2}\n",
        "{\"type\":1,\"name_raw\":\"/w==\",\"size\":100,\"payload\":\"\",\"position\":1}\n\
         {\"type\":1,\"name\":\"none\",\"payload\":null}\n\
         {\"type\":1,\"name\":\"short\",\"size\":9}",
    ])
}
