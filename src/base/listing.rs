//! A listing of a layer: every entry it has, in the order of the archive, and the contents of the
//! few files that an extension may ask for. It is read instead of the layer, and is what is cached.
//!
//! In a file: a line that tells the version, the key of the layer, records compressed by zstd, and
//! the SHA-256 of all that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};
use zstd::stream::{read::Decoder, write::Encoder};

use super::record::{Damage, Entry, EntryKind, Record, Records, Regular, TEXT_FILES};
use crate::layer::{ScanEntry, ScanKind};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::unnamed;
use crate::verify::{LayerDescriptor, Verified};

/// Another number where another version would read or write anything else.
const MAGIC: &[u8] = b"oci2sysext listing 1\n";

/// Fast, and a third of what is not compressed.
const LEVEL: i32 = 3;
/// The largest window that this level has.
const WINDOW_LOG: u32 = 21;

/// Bytes before the records.
const HEAD: u64 = 21 + 32;
const _: () = assert!(MAGIC.len() == 21);
/// Bytes after them.
const TAIL: u64 = 32;

/// What a listing is of: a layer, as one version of this program reads it, under some limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(Digest);

impl Key {
    /// The key of a layer that is read as `source` says: whole, or by a table of contents.
    pub fn new(layer: &Verified<LayerDescriptor>, source: &str, limits: &Limits) -> Self {
        let LayerDescriptor { descriptor, diff_id, .. } = &**layer;
        let text = format!(
            "{}\n{}\n{}\n{diff_id}\n{source}\n{limits:?}",
            env!("CARGO_PKG_VERSION"),
            descriptor.media_type,
            descriptor.digest
        );
        Self(Digest::of(text.as_bytes()))
    }

    /// The key of what is not cached.
    pub(super) fn none() -> Self {
        Self(Digest::of(b""))
    }

    /// The key of nothing, for tests.
    #[cfg(test)]
    pub(super) fn of_test(text: &str) -> Self {
        Self(Digest::of(text.as_bytes()))
    }

    /// As part of a file's name.
    pub(super) fn hex(&self) -> String {
        self.0.hex()
    }
}

/// A listing in a file.
#[derive(Debug)]
pub struct Listing {
    key: Key,
    file: File,
    /// Its length in bytes.
    length: u64,
}

impl Listing {
    /// Takes a file for the listing with this key, if every byte is right and every record good.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(file: File, key: Key, limits: &Limits) -> Result<Self, Damage> {
        let length = file.metadata()?.len();
        let listing = Self { key, file, length };
        let mut head = vec![0; MAGIC.len()];
        let mut reader = listing.section(0, length);
        reader.read_exact(&mut head)?;
        if head != MAGIC {
            return Err(Damage::Magic);
        }
        let mut found = [0; 32];
        reader.read_exact(&mut found)?;
        if found != *key.0.as_bytes() {
            return Err(Damage::Key);
        }
        let end = length.checked_sub(TAIL).filter(|&end| end >= HEAD);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let found = Digest::of_reader(&mut listing.section(0, end))?;
        let mut expected = [0; 32];
        listing.section(end, length).read_exact(&mut expected)?;
        if *found.as_bytes() != expected {
            return Err(Damage::Checksum);
        }
        listing.walk::<Damage>(limits, &mut |_| Ok(()))?;
        Ok(listing)
    }

    /// Shows every record to `visit`.
    ///
    /// # Errors
    /// Those of `visit`; [`Damage`] if the file cannot be read any more.
    pub fn walk<E: From<Damage>>(
        &self,
        limits: &Limits,
        visit: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let open = || -> io::Result<_> {
            let stored = self.section(HEAD, self.length.saturating_sub(TAIL));
            let mut decoder = Decoder::new(stored)?.single_frame();
            decoder.window_log_max(WINDOW_LOG)?;
            Ok(BufReader::with_capacity(64 << 10, decoder))
        };
        let mut records = Records::new(open().map_err(Damage::from)?, limits);
        while let Some(record) = records.read()? {
            visit(record)?;
        }
        Ok(())
    }

    /// The same listing with the contents of more files, and of those that it has behind its
    /// entries what it `keeps`.
    pub(super) fn with_contents(
        &self,
        contents: BTreeMap<Vec<u8>, Vec<u8>>,
        limits: &Limits,
        keeps: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Self, Damage> {
        let mut builder = Builder::new(self.key)?;
        self.walk::<Damage>(limits, &mut |record| match &record {
            Record::Contents { path, .. } if !keeps(path) => Ok(()),
            _ => Ok(builder.push(&record)?),
        })?;
        for (path, bytes) in contents {
            builder.push(&Record::Contents { path, bytes })?;
        }
        Ok(builder.finish()?)
    }

    /// Its key.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Its bytes, as they are stored.
    pub(super) fn stored(&self) -> impl Read {
        self.section(0, self.length)
    }

    fn section(&self, at: u64, end: u64) -> Section<'_> {
        Section { file: &self.file, at, end }
    }
}

/// A part of a file, read by position.
struct Section<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}

/// A listing that is being written, into a file without a name.
pub(super) struct Builder {
    key: Key,
    encoder: Encoder<'static, Hashing>,
    buffer: Vec<u8>,
    /// Bytes of all contents.
    text: u64,
}

impl Builder {
    pub fn new(key: Key) -> io::Result<Self> {
        let mut file = Hashing {
            file: unnamed::file(&unnamed::directory())?,
            hasher: Sha256::new(),
            length: 0,
        };
        file.write_all(MAGIC)?;
        file.write_all(key.0.as_bytes())?;
        let mut encoder = Encoder::new(file, LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        Ok(Self { key, encoder, buffer: Vec::new(), text: 0 })
    }

    /// Adds an entry of a layer that is being scanned: its contents are hashed, and kept if
    /// `wanted` or empty, unless they are more than limits allow.
    pub fn scanned(
        &mut self,
        entry: &ScanEntry<'_>,
        contents: &mut dyn Read,
        wanted: bool,
        limits: &Limits,
    ) -> io::Result<()> {
        let kind = match entry.kind {
            ScanKind::Directory => EntryKind::Directory,
            ScanKind::Symlink(target) => EntryKind::Symlink(target.to_vec()),
            ScanKind::HardLink(target) => EntryKind::HardLink(target.to_vec()),
            ScanKind::Special => EntryKind::Special,
            ScanKind::Whiteout => EntryKind::Whiteout,
            ScanKind::Opaque => EntryKind::Opaque,
            ScanKind::Regular { size } => {
                let text = self.text.saturating_add(size);
                let kept = (wanted || size == 0)
                    && size <= limits.text_file
                    && text <= limits.text_file.saturating_mul(TEXT_FILES);
                let (digest, contents) = if kept {
                    self.text = text;
                    let mut bytes = Vec::new();
                    contents.read_to_end(&mut bytes)?;
                    (Digest::of(&bytes), Some(bytes))
                } else {
                    (Digest::of_reader(contents)?, None)
                };
                EntryKind::Regular(Regular { size, digest: Some(digest), contents })
            }
        };
        let (path, stat) = (entry.path.to_vec(), entry.stat.clone());
        self.push(&Record::Entry(Entry { path, stat, kind }))
    }

    /// Adds a record.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        self.buffer.clear();
        record.write(&mut self.buffer);
        self.encoder.write_all(&self.buffer)
    }

    pub fn finish(mut self) -> io::Result<Listing> {
        self.buffer.clear();
        Record::write_end(&mut self.buffer);
        self.encoder.write_all(&self.buffer)?;
        let Hashing { mut file, hasher, length } = self.encoder.finish()?;
        file.write_all(&hasher.finalize())?;
        Ok(Listing { key: self.key, file, length: length + TAIL })
    }
}

/// A file whose bytes are hashed on their way.
struct Hashing {
    file: File,
    hasher: Sha256,
    length: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.length += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
