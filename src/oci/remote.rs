//! A source in a registry: one image of a repository, and the signatures beside it.

use std::path::PathBuf;

use super::referrers::{self, Referrers};
use super::registry::{ManifestName, Registry};
use super::source::{SourceOptions, Transport};
use super::{Descriptor, Digest, Error, RawManifest, Repository, Spool, attached};
use crate::limits::Limits;
use crate::verify::{Blob, Candidate, LayerDescriptor, Verified};

/// An image in a registry.
#[derive(Debug)]
pub(super) struct Remote {
    registry: Registry,
    tag: Option<String>,
    digest: Option<Digest>,
    spool: PathBuf,
    limits: Limits,
}

impl Remote {
    /// Nothing is sent yet. A digest wins over a tag, as in podman.
    pub(super) fn new(
        repository: &Repository,
        tag: Option<&str>,
        digest: Option<Digest>,
        options: &SourceOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            registry: Registry::new(repository, &options.registry)?,
            tag: tag.map(str::to_owned),
            digest,
            spool: options.spool.clone(),
            limits: options.limits.clone(),
        })
    }
}

impl Transport for Remote {
    fn root(&mut self) -> Result<RawManifest, Error> {
        let name = match (self.digest, &self.tag) {
            (Some(digest), _) => ManifestName::Digest(digest),
            (None, Some(tag)) => ManifestName::Tag(tag),
            (None, None) => ManifestName::Tag("latest"),
        };
        self.registry.manifest(name)?.ok_or_else(|| self.registry.absent(name))
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        let name = ManifestName::Digest(descriptor.digest);
        self.registry.manifest(name)?.ok_or_else(|| self.registry.absent(name))
    }

    fn blob_bytes(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.registry.blob_bytes(descriptor, descriptor.size)
    }

    fn layer(
        &mut self,
        layer: &Verified<LayerDescriptor>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified<Blob>, Error> {
        let mut spool = Spool::create(&self.spool, layer, &self.limits)?;
        self.registry.blob(&layer.descriptor, &mut |bytes| {
            spool.write(bytes)?;
            progress(spool.length());
            Ok::<(), Error>(())
        })?;
        spool.finish()
    }

    fn candidates(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        let signatures = self.signatures(digest);
        let bundles = self.bundles(digest);
        attached::both(digest, signatures, bundles)
    }
}

impl Remote {
    /// The signatures in cosign's older format.
    fn signatures(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        let Some(manifest) = self.registry.signature_manifest(digest)? else {
            return Ok(Vec::new());
        };
        let limit = self.limits.signature_size;
        let mut fetch = |layer: &Descriptor| self.registry.blob_bytes(layer, limit);
        Ok(attached::candidates(&manifest, &mut fetch, &self.limits))
    }

    /// The signatures in its newer one.
    fn bundles(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for index in self.registry.referrers(digest)? {
            let entries = referrers::entries(&index).map_err(|problem| Error::Document {
                document: format!("referrers of {digest}"),
                problem,
            })?;
            found.extend(entries);
        }
        let mut source = Attached { registry: &mut self.registry, limit: self.limits.bundle_size };
        Ok(referrers::candidates(digest, found, &mut source, &self.limits))
    }
}

/// The registry as the place of bundles.
struct Attached<'a> {
    registry: &'a mut Registry,
    limit: u64,
}

impl Referrers for Attached<'_> {
    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        let name = ManifestName::Digest(descriptor.digest);
        self.registry.manifest(name)?.ok_or_else(|| self.registry.absent(name))
    }

    fn blob(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.registry.blob_bytes(descriptor, self.limit)
    }
}
