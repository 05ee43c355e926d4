//! The lower layers as listings: from the cache, by a table of contents, or made of the whole layer,
//! which may be in a storage of this host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::cache::Cache;
use super::copies::Copies;
use super::listing::{Builder, Key, Listing};
use super::record::{Entry, Record};
use super::storage::Archive;
use super::toc::{Announced, Place, Toc};
use super::whole::{self, Missing, Whole};
use super::{Error, Sources};
use crate::layer::{self, ScanError};
use crate::limits::Limits;
use crate::verify::{Blob, LayerCopy, LayerDescriptor, Verified};

/// Where the lower layers come from; each is named by its place in the image, 0 the lowest.
pub trait Layers {
    /// What can go wrong.
    type Error: From<Error> + From<layer::Error>;

    /// What the image says of a layer; none where it is not known, so that nothing is cached.
    fn descriptor(&self, index: usize) -> Option<&Verified<LayerDescriptor>>;

    /// The whole layer.
    fn blob(&mut self, index: usize) -> Result<Verified<Blob>, Self::Error>;

    /// A part of a layer, `length` stored bytes from `offset` on, of which nothing was checked;
    /// none where that is not to be had, or costs as much as the whole layer.
    fn part(&mut self, _index: usize, _offset: u64, _length: u64) -> Option<Vec<u8>> {
        None
    }
}

/// Whole layers, and nothing known of them before.
impl<F, E> Layers for F
where
    F: FnMut(usize) -> Result<Verified<Blob>, E>,
    E: From<Error> + From<layer::Error>,
{
    type Error = E;

    fn descriptor(&self, _: usize) -> Option<&Verified<LayerDescriptor>> {
        None
    }

    fn blob(&mut self, index: usize) -> Result<Verified<Blob>, E> {
        self(index)
    }
}

/// The listings of the lower layers, each made when it is first asked for.
#[derive(Debug)]
pub struct Listings<'a, L> {
    layers: &'a mut L,
    cache: Option<&'a Cache>,
    copies: Option<&'a Copies>,
    limits: &'a Limits,
    made: BTreeMap<usize, Listing>,
    /// Layers that were looked for in the storages of this host; none where that is of no use.
    copied: BTreeMap<usize, Option<Arc<Verified<LayerCopy<Archive>>>>>,
    /// Where tables of contents say that files are; none for tables that are of no use.
    places: BTreeMap<usize, Option<Arc<Places>>>,
}

type Places = BTreeMap<Vec<u8>, Place>;

/// Makes a listing of a whole layer.
type Make<'m> = dyn Fn(Whole<'_>, &Limits) -> Result<Listing, ScanError<Error>> + 'm;

impl<'a, L: Layers> Listings<'a, L> {
    /// None was asked for.
    pub fn new(layers: &'a mut L, sources: Sources<'a>, limits: &'a Limits) -> Self {
        let Sources { cache, copies } = sources;
        let (made, copied, places) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { layers, cache, copies, limits, made, copied, places }
    }

    /// What the image says of a layer.
    pub(super) fn descriptor(&self, index: usize) -> Option<&LayerDescriptor> {
        self.layers.descriptor(index).map(|layer| &**layer)
    }

    /// The listing of a layer.
    ///
    /// # Errors
    /// Those of the layer's source and of reading it; [`Error::Listing`].
    pub fn get(&mut self, index: usize) -> Result<&Listing, L::Error> {
        if !self.made.contains_key(&index) {
            let listing = self.find(index)?;
            self.made.insert(index, listing);
        }
        self.made.get(&index).ok_or_else(|| Error::NoLayers.into())
    }

    fn find(&mut self, index: usize) -> Result<Listing, L::Error> {
        let announced = self.announced(index);
        let source = announced.map_or_else(|| "tar".to_owned(), |toc| toc.source());
        let key = self.layers.descriptor(index).map(|layer| Key::new(layer, &source, self.limits));
        if let Some(listing) = self.cache.zip(key).and_then(|(it, key)| it.get(key, self.limits)) {
            return Ok(listing);
        }
        let key = key.unwrap_or_else(Key::none);
        let listing = if let Some(entries) = self.entries(index, announced)? {
            listing_of(entries, key).map_err(|error| Error::Listing(error.into()))?
        } else {
            self.of_whole(index, &|layer, limits| whole::listing(layer, key, limits))?
        };
        self.keep(&listing);
        Ok(listing)
    }

    /// Adds the contents of files to the listing of a layer: what nobody could foresee.
    ///
    /// # Errors
    /// Those of the layer's source and of reading it; more than limits allow.
    pub(super) fn add_contents(
        &mut self,
        index: usize,
        paths: &BTreeSet<Vec<u8>>,
    ) -> Result<(), L::Error> {
        let limits = self.limits;
        let missing = Missing::of(self.get(index)?, paths, limits)?;
        let listing = self.with_contents(index, paths, missing)?;
        self.keep(&listing);
        self.made.insert(index, listing);
        Ok(())
    }

    /// The same for a report: as much as limits allow, and nothing of it is cached, or the next
    /// run would have less room.
    pub(super) fn lend_contents(
        &mut self,
        index: usize,
        paths: &BTreeSet<Vec<u8>>,
    ) -> Result<(), L::Error> {
        let limits = self.limits;
        let mut missing = Missing::of(self.get(index)?, paths, limits)?;
        missing.fit(limits);
        let listing = self.with_contents(index, paths, missing)?;
        self.made.insert(index, listing);
        Ok(())
    }

    fn with_contents(
        &mut self,
        index: usize,
        paths: &BTreeSet<Vec<u8>>,
        missing: Missing,
    ) -> Result<Listing, L::Error> {
        let announced = self.announced(index);
        if !self.places.contains_key(&index) {
            self.entries(index, announced)?;
        }
        let places = self.places.get(&index).cloned().flatten();
        if let Some((toc, places)) = announced.zip(places) {
            return self.contents_by_toc(index, toc, &places, paths, missing);
        }
        self.get(index)?;
        // Taken out, because the layer is looked for meanwhile.
        let listing = self.made.remove(&index).ok_or(Error::NoLayers)?;
        let more = self.of_whole(index, &|layer, limits| {
            whole::with_contents(&listing, layer, missing.clone(), limits)
        });
        self.made.insert(index, listing);
        more
    }

    /// What is made of a whole layer: of a copy on this host, else of what its source has. Nobody
    /// can tell which of them it was.
    fn of_whole(&mut self, index: usize, make: &Make<'_>) -> Result<Listing, L::Error> {
        let limits = self.limits;
        if let Some(copy) = self.copy(index) {
            match make(Whole::Copy(&copy), limits) {
                Ok(listing) => return Ok(listing),
                // Whatever it is, if it is about the layer, its source has it, too.
                Err(ScanError::Layer(error)) => self.refuse(index, &copy, &error),
                Err(ScanError::Visitor(error)) => self.refuse(index, &copy, &error),
            }
        }
        let blob = self.layers.blob(index)?;
        make(Whole::Blob(&blob), limits).map_err(failure::<L::Error>)
    }

    fn refuse(&mut self, index: usize, copy: &LayerCopy<Archive>, problem: &dyn Display) {
        if let Some(copies) = self.copies {
            copies.refuse(&copy.layer, problem);
        }
        self.copied.insert(index, None);
    }

    /// The copy of a layer on this host, if there is one and it has the right bytes.
    fn copy(&mut self, index: usize) -> Option<Arc<Verified<LayerCopy<Archive>>>> {
        if !self.copied.contains_key(&index) {
            let layer = self.layers.descriptor(index);
            let found = self.copies.zip(layer).and_then(|(it, layer)| it.layer(layer, self.limits));
            self.copied.insert(index, found.map(Arc::new));
        }
        self.copied.get(&index).cloned().flatten()
    }

    fn announced(&self, index: usize) -> Option<Announced> {
        Announced::of(&self.descriptor(index)?.descriptor)
    }

    /// The entries of a layer by its table of contents, if that is of use.
    fn entries(
        &mut self,
        index: usize,
        announced: Option<Announced>,
    ) -> Result<Option<Vec<Entry>>, L::Error> {
        let descriptor = self.descriptor(index).map(|layer| layer.descriptor.clone());
        let Some((announced, descriptor)) = announced.zip(descriptor) else { return Ok(None) };
        let (layers, limits) = (&mut *self.layers, self.limits);
        let mut part = |offset, length| layers.part(index, offset, length);
        let mut toc = announced.read(&descriptor, limits, &mut part);
        if toc.is_err() {
            let blob = layers.blob(index)?;
            toc = announced.read(&descriptor, limits, &mut |at, length| part_of(&blob, at, length));
        }
        let (entries, places) = match toc {
            Ok(Toc { entries, places }) => (Some(entries), Some(Arc::new(places))),
            Err(problem) => {
                tracing::debug!(
                    "the table of contents of {} is not used: {problem}",
                    descriptor.digest
                );
                (None, None)
            }
        };
        self.places.insert(index, places);
        Ok(entries)
    }

    /// The listing of a layer with the contents of more files, each from the part of the layer that
    /// the table names, be it fetched alone or with all of the layer.
    fn contents_by_toc(
        &mut self,
        index: usize,
        toc: Announced,
        places: &Places,
        paths: &BTreeSet<Vec<u8>>,
        mut wanted: Missing,
    ) -> Result<Listing, L::Error> {
        let limits = self.limits;
        let mut found = BTreeMap::new();
        // Stored bytes that are many more than the contents hold other files, too.
        let is_near = |place: &&Place| place.length / 2 <= place.size + (1 << 20);
        let mut take = |wanted: &mut Missing, part: &mut dyn FnMut(u64, u64) -> Option<Vec<u8>>| {
            for path in paths {
                let place = places.get(path).filter(is_near);
                let Some(place) = place.filter(|_| wanted.files.contains_key(path)) else {
                    continue;
                };
                let stored = part(place.offset, place.length);
                let bytes = stored.and_then(|stored| toc.contents(&stored, place, limits));
                if let Some(bytes) = bytes {
                    wanted.count(path, &bytes, limits)?;
                    wanted.files.remove(path);
                    found.insert(path.clone(), bytes);
                }
            }
            Ok::<_, Error>(())
        };
        take(&mut wanted, &mut |offset, length| self.layers.part(index, offset, length))?;
        if !wanted.files.is_empty() {
            let blob = self.layers.blob(index)?;
            take(&mut wanted, &mut |offset, length| part_of(&blob, offset, length))?;
            if !wanted.files.is_empty() {
                found.extend(wanted.read_all(&blob, limits).map_err(failure::<L::Error>)?);
            }
        }
        let keeps = |path: &[u8]| wanted.keeps(path, limits);
        Ok(self.get(index)?.with_contents(found, limits, &keeps).map_err(Error::Listing)?)
    }

    fn keep(&self, listing: &Listing) {
        if let Some(cache) = self.cache.filter(|_| listing.key() != Key::none()) {
            cache.put(listing);
        }
    }
}

fn listing_of(entries: Vec<Entry>, key: Key) -> io::Result<Listing> {
    let mut builder = Builder::new(key)?;
    for entry in entries {
        builder.push(&Record::Entry(entry))?;
    }
    builder.finish()
}

fn part_of(blob: &Blob, offset: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    blob.file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn failure<E: From<Error> + From<layer::Error>>(error: ScanError<Error>) -> E {
    match error {
        ScanError::Layer(error) => error.into(),
        ScanError::Visitor(error) => error.into(),
    }
}
