//! Layers made byte by byte, hostile ones too: no name is refused, no header corrected.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

/// A tar archive that is being written.
#[derive(Clone, Debug, Default)]
pub struct Tarball(Vec<u8>);

impl Tarball {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An extension layer that converts: one program in `usr/bin`.
    pub fn minimal() -> Self {
        Self::new().dir("usr").dir("usr/bin").file("usr/bin/tool", b"#!/bin/sh\necho tool\n")
    }

    /// A base with an os-release and a policy: `ID=example`, `VERSION_ID=1`.
    pub fn base() -> Self {
        let contexts = b"/.*\tsystem_u:object_r:default_t:s0\n\
            /usr(/.*)?\tsystem_u:object_r:usr_t:s0\n\
            /etc(/.*)?\tsystem_u:object_r:etc_t:s0\n\
            /usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0\n";
        Self::new()
            .dir("usr")
            .dir("usr/bin")
            .dir("usr/lib")
            .file("usr/lib/os-release", b"ID=example\nVERSION_ID=1\n")
            .dir("etc")
            .dir("etc/selinux")
            .file("etc/selinux/config", b"SELINUXTYPE=targeted\n")
            .dir("etc/selinux/targeted")
            .dir("etc/selinux/targeted/contexts")
            .dir("etc/selinux/targeted/contexts/files")
            .file("etc/selinux/targeted/contexts/files/file_contexts", contexts)
    }

    /// Adds a directory, mode 0755.
    pub fn dir(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", b"", |header| header.set_mode(0o755))
    }

    /// Adds a regular file, mode 0755.
    pub fn file(self, name: &str, contents: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, "", contents, |header| header.set_mode(0o755))
    }

    /// Adds a symlink.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, target, b"", |_| {})
    }

    /// Adds a hard link.
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Link, target, b"", |_| {})
    }

    /// Adds PAX records, as they are, for the next entry.
    pub fn pax(self, records: &[u8]) -> Self {
        self.entry("PaxHeader", EntryType::XHeader, "", records, |_| {})
    }

    /// Adds one well-formed PAX record for the next entry.
    pub fn pax_record(self, key: &str, value: &str) -> Self {
        self.pax(pax_record(key, value).as_bytes())
    }

    /// Adds any entry; `edit` may spoil its header before the checksum is made.
    pub fn entry(
        mut self,
        name: &str,
        kind: EntryType,
        link: &str,
        contents: &[u8],
        edit: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        put(&mut header, 0, 100, name.as_bytes());
        put(&mut header, 157, 100, link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(u64::try_from(contents.len()).expect("a size"));
        edit(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The bytes with the end marker.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.0;
        bytes.extend_from_slice(&[0; 1024]);
        bytes
    }

    /// The bytes so far, without an end marker.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }
}

/// One PAX record: its length counts itself.
pub fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn put(header: &mut Header, start: usize, room: usize, bytes: &[u8]) {
    assert!(bytes.len() <= room, "a long name needs PAX records");
    let field = header.as_mut_bytes().get_mut(start..start + bytes.len());
    field.expect("a field of the header").copy_from_slice(bytes);
}
