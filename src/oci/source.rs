//! A source: the place that a reference names, whatever its kind.
//!
//! Each kind implements [`Transport`]; the checks that hold for all of them are here.

use std::fmt;
use std::path::PathBuf;

use super::archive::Archive;
use super::dir::Dir;
use super::layout::Layout;
use super::registry::RegistryOptions;
use super::remote::{Place, Remote};
use super::resolve::{self, Resolved};
use super::{Descriptor, Digest, Error, Platform, RawManifest, Reference};
use crate::limits::Limits;
use crate::unnamed;
use crate::verify::{Blob, Candidate, LayerDescriptor, Verified};

/// How to read from a source.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// How much is accepted.
    pub limits: Limits,
    /// The directory of the spools.
    pub spool: PathBuf,
    /// How a registry is asked.
    pub registry: RegistryOptions,
    /// The places that serve a registry's image, in the order to try; none: its own alone.
    pub places: Vec<Place>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            spool: unnamed::directory(),
            registry: RegistryOptions::default(),
            places: Vec::new(),
        }
    }
}

/// The place that a reference names.
#[derive(Debug)]
pub struct Source {
    transport: Box<dyn Transport>,
    demanded: Option<Digest>,
    limits: Limits,
}

/// What each kind of source can do; [`Source`] checks what it gives.
pub(super) trait Transport: fmt::Debug {
    /// The manifest or index that the reference names; the same bytes each time.
    fn root(&mut self) -> Result<RawManifest, Error>;

    /// The manifest that an entry of the index names.
    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error>;

    /// The bytes of a blob, of which no more than one past the descriptor's size are read.
    fn blob_bytes(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;

    /// The bytes of a layer; `progress` is told how many of them have been seen so far.
    fn layer(
        &mut self,
        layer: &Verified<LayerDescriptor>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified<Blob>, Error>;

    /// A part of a layer, the first and the last byte, of which nothing is checked; none where
    /// that is not cheaper than all of it.
    fn range(&mut self, _layer: &Verified<LayerDescriptor>, _range: (u64, u64)) -> Option<Vec<u8>> {
        None
    }

    /// What is offered as signatures of the manifest or index with this digest.
    fn candidates(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error>;
}

impl Source {
    /// Opens the place that a reference names.
    pub fn open(reference: &Reference, options: &SourceOptions) -> Result<Self, Error> {
        let transport: Box<dyn Transport> = match reference {
            Reference::Registry { repository, tag, digest } => {
                Box::new(Remote::new(repository, tag.as_deref(), *digest, options)?)
            }
            Reference::Layout { path, name } => {
                Box::new(Layout::open(path, name.as_ref(), options)?)
            }
            Reference::Archive { path, name } => {
                let archive = Archive::open(path, &options.limits)?;
                Box::new(Layout::open_archive(archive, name.as_ref(), options)?)
            }
            Reference::Dir { path } => Box::new(Dir::open(path, options)?),
        };
        Ok(Self { transport, demanded: reference.digest(), limits: options.limits.clone() })
    }

    /// The image that the reference names, for one platform. Once: what is asked of the source
    /// afterwards is asked by digest (P2).
    pub fn resolve(&mut self, platform: &Platform) -> Result<Resolved, Error> {
        resolve::resolve(&mut *self.transport, self.demanded, platform)
    }

    /// What is offered as signatures of the manifest or index with this digest.
    ///
    /// An error means that it could not be found out; no signatures are an empty list (L1).
    pub fn signatures(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        self.transport.candidates(digest)
    }

    /// The bytes of an image configuration, which have the descriptor's size and digest.
    pub fn config(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        const WHAT: &str = "image configuration";
        let &Descriptor { digest, size, ref media_type, .. } = descriptor;
        if !media_type.is_image_config() {
            return Err(Error::Document {
                document: format!("{WHAT} {digest}"),
                problem: format!("found media type {media_type}, expected an image's"),
            });
        }
        let max = self.limits.config_size;
        if size > max {
            let what = format!("{WHAT} {digest}, bytes");
            return Err(Error::Limit { what, found: size, max, limit: "config-size" });
        }
        let bytes = self.transport.blob_bytes(descriptor)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length != size {
            return Err(Error::SizeMismatch { what: WHAT, digest, found: length, expected: size });
        }
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(Error::DigestMismatch { what: WHAT, found, expected: digest });
        }
        Ok(bytes)
    }

    /// The bytes of a layer, hashed; `progress` is told how many of them have been seen so far.
    pub fn layer(
        &mut self,
        layer: &Verified<LayerDescriptor>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified<Blob>, Error> {
        layer.descriptor.layer_compression()?;
        self.transport.layer(layer, progress)
    }

    /// A part of a layer's stored bytes, `length` from `offset` on, which nobody has checked: only
    /// what another digest covers may be believed. None where there are no parts to be had, for
    /// whatever reason: the whole layer is still to be had then.
    pub fn range(
        &mut self,
        layer: &Verified<LayerDescriptor>,
        offset: u64,
        length: u64,
    ) -> Option<Vec<u8>> {
        let end = offset.checked_add(length).filter(|&end| end <= layer.descriptor.size)?;
        let last = end.checked_sub(1).filter(|&last| last >= offset)?;
        self.transport.range(layer, (offset, last))
    }
}
