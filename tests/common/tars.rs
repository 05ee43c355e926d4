//! Archives made by hand, good and bad, one block at a time.

#![allow(dead_code, reason = "each test uses a part")]

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

/// The fields of a ustar header that a test changes.
#[derive(Clone)]
pub struct Header(pub [u8; 512]);

impl Header {
    pub fn new(flag: u8, name: &[u8], size: u64) -> Self {
        let mut header = Self([0; 512]);
        header.set(0, name);
        header.set(100, if flag == b'5' { b"0000755\0" } else { b"0000644\0" });
        header.set(108, b"0000000\0").set(116, b"0000000\0");
        header.set(124, format!("{size:011o}\0").as_bytes()).set(136, b"00000000000\0");
        header.set(156, &[flag]).set(257, b"ustar\x0000");
        header
    }

    pub fn set(&mut self, offset: usize, bytes: &[u8]) -> &mut Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn link(mut self, target: &[u8]) -> Self {
        self.set(157, target);
        self
    }

    pub fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.set(offset, bytes);
        self
    }

    fn sealed(mut self) -> [u8; 512] {
        self.set(148, b"        ");
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.set(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(mut self, header: Header) -> Self {
        self.0.extend(header.sealed());
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Contents and their padding.
    pub fn data(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &[u8], contents: &[u8]) -> Self {
        let size = u64::try_from(contents.len()).unwrap();
        self.header(Header::new(b'0', name, size)).data(contents)
    }

    pub fn dir(self, name: &[u8]) -> Self {
        self.header(Header::new(b'5', name, 0))
    }

    pub fn symlink(self, name: &[u8], target: &[u8]) -> Self {
        self.header(Header::new(b'2', name, 0).link(target))
    }

    pub fn hard_link(self, name: &[u8], target: &[u8]) -> Self {
        self.header(Header::new(b'1', name, 0).link(target))
    }

    /// An extended header of any kind: `x`, `g`, `L`, `K`.
    pub fn extension(self, flag: u8, data: &[u8]) -> Self {
        let size = u64::try_from(data.len()).unwrap();
        self.header(Header::new(flag, b"././@ext", size)).data(data)
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.extension(b'x', &data)
    }

    /// The end marker.
    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

/// One PAX record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let tail = 1 + key.len() + 1 + value.len() + 1;
    let length = (tail..tail + 10).find(|n| n.to_string().len() + tail == *n).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
