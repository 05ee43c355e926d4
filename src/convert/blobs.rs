//! The layers' bytes: where the rooms of the extension and of its base get them.

use std::collections::HashMap;

use super::Progress;
use crate::error::{Error, Result};
use crate::oci::Source;
use crate::verify::{Blob, LayerDescriptor, Verified};
use crate::{base, image};

/// The layers of an image, each fetched when it is first asked for.
pub(super) struct Blobs<'a> {
    source: &'a mut Source,
    layers: &'a [Verified<LayerDescriptor>],
    fetched: HashMap<usize, Verified<Blob>>,
    progress: &'a mut dyn Progress,
}

impl<'a> Blobs<'a> {
    /// None is fetched.
    pub(super) fn new(
        source: &'a mut Source,
        layers: &'a [Verified<LayerDescriptor>],
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self { source, layers, fetched: HashMap::new(), progress }
    }

    /// What was asked for is being turned into an image.
    pub(super) fn converting(&mut self) {
        self.progress.converting();
    }

    /// A layer by its place in the image, 0 the lowest.
    pub(super) fn get(&mut self, index: usize) -> Result<Verified<Blob>> {
        if !self.fetched.contains_key(&index)
            && let Some(layer) = self.layers.get(index)
        {
            let progress = &mut *self.progress;
            let blob = self.source.layer(layer, &mut |done| progress.fetching(layer, done))?;
            self.fetched.insert(index, blob);
        }
        let blob = self.fetched.get(&index).ok_or(base::Error::NoLayers)?;
        Ok(blob.try_clone().map_err(image::Error::Io)?)
    }
}

impl base::Layers for Blobs<'_> {
    type Error = Error;

    fn descriptor(&self, index: usize) -> Option<&Verified<LayerDescriptor>> {
        self.layers.get(index)
    }

    fn blob(&mut self, index: usize) -> Result<Verified<Blob>> {
        self.get(index)
    }

    fn part(&mut self, index: usize, offset: u64, length: u64) -> Option<Vec<u8>> {
        self.source.range(self.layers.get(index)?, offset, length)
    }
}
