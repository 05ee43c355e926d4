//! A source in a registry: one image of a repository, and the signatures beside it.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::referrers::{self, Referrers};
use super::registry::{Documents, ManifestName, Registry, RegistryOptions};
use super::source::{SourceOptions, Transport};
use super::{Descriptor, Digest, Error, RawManifest, Repository, Spool, attached};
use crate::limits::Limits;
use crate::verify::{Blob, Candidate, LayerDescriptor, Verified};

/// A place that serves an image: its own repository, or a mirror's
/// (containers-registries.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository there; credentials are those for its host.
    pub repository: Repository,
    /// Whether the configuration gives up on TLS there, which `--tls-verify=false` must confirm.
    pub insecure: bool,
}

/// An image in a registry.
#[derive(Debug)]
pub(super) struct Remote {
    registry: Registry,
    /// The places to try where this one does not have the image.
    others: VecDeque<Place>,
    options: RegistryOptions,
    tag: Option<String>,
    digest: Option<Digest>,
    spool: PathBuf,
    limits: Limits,
    /// Whether it has not yet refused to give a part of a blob.
    gives_parts: bool,
}

impl Remote {
    /// Nothing is sent yet. A digest wins over a tag, as in podman.
    pub(super) fn new(
        repository: &Repository,
        tag: Option<&str>,
        digest: Option<Digest>,
        options: &SourceOptions,
    ) -> Result<Self, Error> {
        let mut others: VecDeque<_> = options.places.iter().cloned().collect();
        let first = others.pop_front();
        let repository = first.as_ref().map_or(repository, |place| &place.repository);
        let remote = Self {
            registry: Registry::new(repository, &options.registry)?,
            others,
            options: options.registry.clone(),
            tag: tag.map(str::to_owned),
            digest,
            spool: options.spool.clone(),
            limits: options.limits.clone(),
            gives_parts: true,
        };
        remote.warn_of_insecure(first.as_ref());
        Ok(remote)
    }

    fn warn_of_insecure(&self, place: Option<&Place>) {
        if let Some(Place { repository, insecure: true }) = place
            && self.options.tls_verify
        {
            tracing::warn!(
                "registries.conf calls {repository} insecure: that counts with \
                 --tls-verify=false only"
            );
        }
    }

    fn root_here(&mut self) -> Result<RawManifest, Error> {
        let name = match (self.digest, &self.tag) {
            (Some(digest), _) => ManifestName::Digest(digest),
            (None, Some(tag)) => ManifestName::Tag(tag),
            (None, None) => ManifestName::Tag("latest"),
        };
        self.registry.manifest(name)?.ok_or_else(|| self.registry.absent(name))
    }
}

impl Transport for Remote {
    /// The first place that has it serves all the rest; the last one's failure is the run's.
    fn root(&mut self) -> Result<RawManifest, Error> {
        loop {
            match self.root_here() {
                Err(error) if !self.others.is_empty() => {
                    let repository = self.registry.repository();
                    tracing::warn!("the mirror {repository} does not serve the image: {error}");
                }
                result => return result,
            }
            if let Some(place) = self.others.pop_front() {
                self.registry = Registry::new(&place.repository, &self.options)?;
                self.warn_of_insecure(Some(&place));
            }
        }
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

    fn range(&mut self, layer: &Verified<LayerDescriptor>, range: (u64, u64)) -> Option<Vec<u8>> {
        if !self.gives_parts {
            return None;
        }
        let part = self.registry.range(&layer.descriptor, range).unwrap_or_else(|error| {
            tracing::warn!("no part of {} is to be had: {error}", layer.descriptor.digest);
            None
        });
        self.gives_parts = part.is_some();
        part
    }

    fn candidates(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        let Self { registry, limits, .. } = self;
        let signatures =
            registry.ask_for(Documents::OfSignatures, |it| signatures(it, digest, limits));
        let bundles = registry.ask_for(Documents::OfBundles, |it| bundles(it, digest, limits));
        attached::both(digest, signatures, bundles)
    }
}

/// The signatures in cosign's older format.
fn signatures(
    registry: &mut Registry,
    digest: &Digest,
    limits: &Limits,
) -> Result<Vec<Candidate>, Error> {
    let Some(manifest) = registry.signature_manifest(digest)? else {
        return Ok(Vec::new());
    };
    let mut fetch = |layer: &Descriptor| registry.blob_bytes(layer, limits.signature_size);
    Ok(attached::candidates(&manifest, &mut fetch, limits))
}

/// The signatures in its newer one.
fn bundles(
    registry: &mut Registry,
    digest: &Digest,
    limits: &Limits,
) -> Result<Vec<Candidate>, Error> {
    let mut found = Vec::new();
    for index in registry.referrers(digest)? {
        let entries = referrers::entries(&index).map_err(|problem| Error::Document {
            document: format!("referrers of {digest}"),
            problem,
        })?;
        found.extend(entries);
    }
    let mut source = Attached { registry, limit: limits.bundle_size };
    Ok(referrers::candidates(digest, found, &mut source, limits))
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
