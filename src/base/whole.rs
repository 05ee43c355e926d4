//! A listing that is made of a whole layer, wherever that is, and contents that are added to one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::ControlFlow;

use super::links::LayerLinks;
use super::listing::{Builder, Key, Listing};
use super::record::{Damage, Entry, EntryKind, Record, Regular, TEXT_FILES};
use super::storage::Archive;
use super::{Error, is_foreseen};
use crate::layer::{ScanEnd, ScanError, ScanKind, Visitor, scan, scan_copy};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::verify::{Blob, LayerCopy, Verified};

/// All of a layer.
#[derive(Clone, Copy)]
pub(super) enum Whole<'a> {
    /// As it was fetched.
    Blob(&'a Verified<Blob>),
    /// In a storage of this host.
    Copy(&'a Verified<LayerCopy<Archive>>),
}

impl Whole<'_> {
    fn scan(
        self,
        limits: &Limits,
        visit: &mut Visitor<'_, Error>,
    ) -> Result<ScanEnd, ScanError<Error>> {
        match self {
            Self::Blob(blob) => scan(blob, limits, visit),
            Self::Copy(copy) => scan_copy(copy, limits, visit),
        }
    }
}

/// Makes a listing of a whole layer. It is there only after the layer's digest and `diff_id` were
/// compared, and every entry was read.
pub(super) fn listing(
    layer: Whole<'_>,
    key: Key,
    limits: &Limits,
) -> Result<Listing, ScanError<Error>> {
    let mut builder = Builder::new(key).map_err(damage)?;
    layer.scan(limits, &mut |entry, contents| {
        let wanted = is_foreseen(entry.path);
        builder.scanned(entry, contents, wanted, limits).map_err(Damage::from)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let listing = builder.finish().map_err(damage)?;
    let targets = targets(&listing, limits).map_err(ScanError::Visitor)?;
    if targets.is_empty() {
        return Ok(listing);
    }
    let missing = Missing::of(&listing, &targets, limits).map_err(ScanError::Visitor)?;
    with_contents(&listing, layer, missing, limits)
}

/// What the hard links lead to whose contents may be asked for: on an ostree base objects (R29).
fn targets(listing: &Listing, limits: &Limits) -> Result<BTreeSet<Vec<u8>>, Error> {
    let mut links = BTreeMap::new();
    listing.walk::<Error>(limits, &mut |record| {
        if let Record::Entry(Entry { path, kind, .. }) = record
            && is_foreseen(&path)
        {
            match kind {
                EntryKind::HardLink(target) => links.insert(path, target),
                EntryKind::Whiteout | EntryKind::Opaque => None,
                _ => links.remove(&path),
            };
        }
        Ok(())
    })?;
    if links.is_empty() {
        return Ok(BTreeSet::new());
    }
    let layer = LayerLinks::of(listing, limits)?;
    let ends = layer.follow(links.values().map(Vec::as_slice));
    Ok(ends.into_values().flatten().map(<[u8]>::to_vec).collect())
}

/// A listing with the contents of more of its files.
pub(super) fn with_contents(
    listing: &Listing,
    layer: Whole<'_>,
    mut missing: Missing,
    limits: &Limits,
) -> Result<Listing, ScanError<Error>> {
    let found = missing.read_numbered(layer, limits)?;
    listing.with_contents(found, limits, &|path| missing.keeps(path, limits)).map_err(damage)
}

/// Files of a layer whose contents its listing lacks. What else was asked for before, be it by
/// another run, takes no room from them.
#[derive(Clone)]
pub(super) struct Missing {
    /// The number of each one's last entry, from 1, and the digest of its contents.
    pub files: BTreeMap<Vec<u8>, (u64, Option<Digest>)>,
    /// Their lengths in bytes.
    sizes: BTreeMap<Vec<u8>, u64>,
    /// Bytes of contents that every listing of the layer has, and of those that are asked for and
    /// known.
    text: u64,
    /// Paths of the latter that were asked for before, too.
    known: BTreeSet<Vec<u8>>,
    /// Bytes of what was asked for before, and is not now.
    others: u64,
}

impl Missing {
    /// Those of `paths` that are missing, and not longer than the limit.
    pub fn of(
        listing: &Listing,
        paths: &BTreeSet<Vec<u8>>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let (files, sizes, known) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut missing = Self { files, sizes, text: 0, known, others: 0 };
        let mut number = 0_u64;
        listing.walk::<Error>(limits, &mut |record| {
            match record {
                Record::Entry(Entry { path, kind, .. }) => {
                    number += 1;
                    if matches!(kind, EntryKind::Whiteout | EntryKind::Opaque) {
                        return Ok(());
                    }
                    if let EntryKind::Regular(Regular { contents: Some(bytes), .. }) = &kind {
                        missing.text = missing.text.saturating_add(to_u64(bytes.len()));
                    }
                    match kind {
                        EntryKind::Regular(Regular { size, digest, contents: None })
                            if size <= limits.text_file && paths.contains(&path) =>
                        {
                            missing.sizes.insert(path.clone(), size);
                            missing.files.insert(path, (number, digest));
                        }
                        _ => _ = missing.files.remove(&path),
                    }
                }
                Record::Contents { path, bytes } => {
                    let is_wanted = paths.contains(&path);
                    let text = if is_wanted { &mut missing.text } else { &mut missing.others };
                    *text = text.saturating_add(to_u64(bytes.len()));
                    missing.files.remove(&path);
                    if is_wanted {
                        missing.known.insert(path);
                    }
                }
            }
            Ok(())
        })?;
        Ok(missing)
    }

    /// Reads them from a layer of which the listing was made, until the last of them.
    fn read_numbered(
        &mut self,
        layer: Whole<'_>,
        limits: &Limits,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ScanError<Error>> {
        let mut numbers: BTreeSet<u64> = self.files.values().map(|(number, _)| *number).collect();
        let (mut found, mut number) = (BTreeMap::new(), 0_u64);
        if !numbers.is_empty() {
            layer.scan(limits, &mut |entry, contents| {
                number += 1;
                if numbers.remove(&number) {
                    let path = entry.path.to_vec();
                    found.insert(path.clone(), self.read(path, contents, limits)?);
                }
                let is_done = numbers.is_empty();
                Ok(if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        Ok(found)
    }

    /// Reads them from a layer whose listing is of its table of contents.
    pub fn read_all(
        &mut self,
        blob: &Verified<Blob>,
        limits: &Limits,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ScanError<Error>> {
        let mut found = BTreeMap::new();
        scan(blob, limits, &mut |entry, contents| {
            if let ScanKind::Regular { size } = entry.kind
                && size <= limits.text_file
                && self.files.contains_key(entry.path)
            {
                let path = entry.path.to_vec();
                found.insert(path.clone(), self.read(path, contents, limits)?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (path, bytes) in &found {
            let digest = Digest::of(bytes);
            if let Some((_, Some(expected))) = self.files.get(path)
                && *expected != digest
            {
                let (path, found, expected) = (path.clone(), digest, *expected);
                return Err(ScanError::Visitor(Error::Contents { path, found, expected }));
            }
        }
        for (path, (_, expected)) in &self.files {
            if let Some(expected) = *expected
                && !found.contains_key(path)
            {
                let (path, found) = (path.clone(), Digest::of(b""));
                return Err(ScanError::Visitor(Error::Contents { path, found, expected }));
            }
        }
        Ok(found)
    }

    fn read(
        &mut self,
        path: Vec<u8>,
        contents: &mut dyn Read,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if let Err(error) = contents.read_to_end(&mut bytes) {
            return Err(Error::Read { path, error });
        }
        self.count(&path, &bytes, limits)?;
        Ok(bytes)
    }

    /// Leaves those out that are more than limits allow.
    pub fn fit(&mut self, limits: &Limits) {
        let mut text = self.text;
        let maximum = limits.text_file.saturating_mul(TEXT_FILES);
        let Self { files, sizes, .. } = self;
        files.retain(|path, _| {
            let all = text.saturating_add(sizes.get(path).copied().unwrap_or_default());
            let fits = all <= maximum;
            text = if fits { all } else { text };
            fits
        });
    }

    /// Whether a listing that has those that were found keeps what it has of another path.
    pub fn keeps(&self, path: &[u8], limits: &Limits) -> bool {
        let all = self.text.saturating_add(self.others);
        all <= limits.text_file.saturating_mul(TEXT_FILES) || self.known.contains(path)
    }

    /// Counts contents that were found.
    pub fn count(&mut self, path: &[u8], bytes: &[u8], limits: &Limits) -> Result<(), Error> {
        self.text = self.text.saturating_add(to_u64(bytes.len()));
        let (size, maximum) = (self.text, limits.text_file.saturating_mul(TEXT_FILES));
        if size > maximum {
            return Err(Error::TooMuch { path: path.to_vec(), size, maximum });
        }
        Ok(())
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn damage(damage: impl Into<Damage>) -> ScanError<Error> {
    ScanError::Visitor(Error::Listing(damage.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Stat;

    /// What other extensions had asked for was counted, so that the next one's was too much where
    /// there was a cache.
    #[test]
    fn what_others_asked_for_takes_no_room() {
        let limits = Limits { text_file: 10, ..Limits::default() };
        let paths = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let mut builder = Builder::new(Key::none()).unwrap();
        for n in 0..9 {
            let path = format!("{n}").into_bytes();
            let kind = EntryKind::Regular(Regular { size: 10, digest: None, contents: None });
            builder.push(&Record::Entry(Entry { path, stat: Stat::default(), kind })).unwrap();
        }
        let mut listing = builder.finish().unwrap();
        let mut ask = |asked: &[&str]| {
            let mut missing = Missing::of(&listing, &paths(asked), &limits).unwrap();
            let files: Vec<_> = missing.files.keys().cloned().collect();
            let mut found = BTreeMap::new();
            for path in files {
                missing.count(&path, &[b'x'; 10], &limits)?;
                found.insert(path, vec![b'x'; 10]);
            }
            let keeps = |path: &[u8]| missing.keeps(path, &limits);
            listing = listing.with_contents(found, &limits, &keeps).unwrap();
            let mut known = Vec::new();
            listing
                .walk::<Error>(&limits, &mut |record| {
                    if let Record::Contents { path, .. } = record {
                        known.push(String::from_utf8(path).unwrap());
                    }
                    Ok(())
                })
                .unwrap();
            Ok::<_, Error>(known.concat())
        };
        assert_eq!(ask(&["0", "1", "2"]).unwrap(), "012");
        assert_eq!(ask(&["3"]).unwrap(), "0123");
        assert_eq!(ask(&["1", "4"]).unwrap(), "14");
        assert_eq!(ask(&["5", "6", "7", "8"]).unwrap(), "5678");
        for asked in [&["0", "1", "2", "3", "4"], &["4", "5", "6", "7", "8"]] {
            assert!(matches!(ask(asked), Err(Error::TooMuch { .. })), "{asked:?}");
        }
    }
}
