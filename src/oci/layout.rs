//! An OCI image layout, in a directory or in a tar archive: `oci-layout`, `index.json` and blobs
//! (OCI image-spec, image layout).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::archive::Archive;
use super::attached;
use super::folder::{Folder, display, missing};
use super::referrers::{self, Artifact, Referrer, Referrers};
use super::source::{SourceOptions, Transport};
use super::{Descriptor, Digest, Error, ImageIndex, ImageName, RawManifest, resolve};
use crate::error::{ExitCode, Fault};
use crate::json;
use crate::limits::Limits;
use crate::verify::{Blob, Candidate, LayerDescriptor, Verified};

/// The annotation with an image's name in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation by which `cosign save` says what an entry is, and its values.
const KIND: &str = "kind";
const KIND_PREFIX: &str = "dev.cosignproject.cosign/";
const KIND_IMAGE: &str = "dev.cosignproject.cosign/image";
const KIND_INDEX: &str = "dev.cosignproject.cosign/imageIndex";
const KIND_SIGNATURES: &str = "dev.cosignproject.cosign/sigs";
/// How many entries of a layout are looked at for what refers to an image.
const MAX_SCANNED: usize = 1000;
/// How many images of a layout a message lists.
const LISTED: usize = 20;

/// One image of an OCI layout.
#[derive(Debug)]
pub struct Layout {
    place: Place,
    index: ImageIndex,
    image: Descriptor,
    limits: Limits,
    spool: PathBuf,
}

/// Where a layout is.
#[derive(Debug)]
enum Place {
    Directory { root: Folder, blobs: Option<Folder> },
    Archive(Archive),
}

impl Layout {
    /// Opens a layout in a directory.
    pub(super) fn open(
        path: &Path,
        name: Option<&ImageName>,
        options: &SourceOptions,
    ) -> Result<Self, Error> {
        let root = Folder::open(path)?;
        let blobs = match root.folder("blobs")? {
            Some(blobs) => blobs.folder("sha256")?,
            None => None,
        };
        Self::read(Place::Directory { root, blobs }, name, options)
    }

    /// Takes an archive for a layout.
    pub(super) fn open_archive(
        archive: Archive,
        name: Option<&ImageName>,
        options: &SourceOptions,
    ) -> Result<Self, Error> {
        Self::read(Place::Archive(archive), name, options)
    }

    fn read(
        place: Place,
        name: Option<&ImageName>,
        options: &SourceOptions,
    ) -> Result<Self, Error> {
        let document = |problem| Error::Place { place: display(place.path()), problem };
        let max = options.limits.manifest_size;
        let version = place.file("oci-layout", max)?;
        check_version(&version).map_err(|problem| document(format!("oci-layout: {problem}")))?;
        let index = place.file("index.json", max)?;
        let index = ImageIndex::read(&index, None)
            .map_err(|problem| document(format!("index.json: {problem}")))?;
        let limits = &options.limits;
        let image = if name.is_some() {
            choose(&index, name, place.path())?.clone()
        } else {
            // Without a name it is the only image, and what refers to an image is none.
            let mut images = index.clone();
            if index.manifests.len() > 1 && index.manifests.len() <= MAX_SCANNED {
                images.manifests.retain(|entry| !Self::is_referrer(&place, entry, limits));
            }
            choose(&images, None, place.path())?.clone()
        };
        let (limits, spool) = (options.limits.clone(), options.spool.clone());
        Ok(Self { place, index, image, limits, spool })
    }

    /// Whether an entry of index.json is a signature of `image`: as `cosign save` writes it, or
    /// a copied `.sig` tag. What it signs is for the verifier to see.
    fn is_signature(&self, entry: &Descriptor, image: &Digest) -> bool {
        let name = entry.annotations.get(REF_NAME);
        let tag = format!("sha256-{}.sig", image.hex());
        if name.is_some_and(|name| name.strip_suffix(&tag).is_some_and(is_repository)) {
            return true;
        }
        let of_image = match (name, self.image.annotations.get(REF_NAME)) {
            (Some(name), Some(image)) => name == image,
            _ => true,
        };
        entry.annotations.get(KIND).is_some_and(|kind| kind == KIND_SIGNATURES) && of_image
    }
}

/// What may stand in front of a tag in a name: nothing, or a repository and a colon.
fn is_repository(text: &str) -> bool {
    text.is_empty() || text.ends_with(':')
}

/// Checks the contents of an `oci-layout` file.
pub fn check_version(bytes: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct LayoutFile {
        image_layout_version: String,
    }
    let found: LayoutFile = json::parse(bytes, json::DEEPEST)?;
    if found.image_layout_version != "1.0.0" {
        let start: String = found.image_layout_version.chars().take(80).collect();
        return Err(format!("found imageLayoutVersion {start:?}, expected \"1.0.0\""));
    }
    Ok(())
}

/// The entry of index.json that `name` means; the only image if there is no name.
fn choose<'a>(
    index: &'a ImageIndex,
    name: Option<&ImageName>,
    path: &Path,
) -> Result<&'a Descriptor, Error> {
    let images = || index.manifests.iter().filter(|entry| is_image(entry));
    let matching: Vec<&Descriptor> = match name {
        None => images().collect(),
        Some(ImageName::Position(position)) => index.manifests.get(*position).into_iter().collect(),
        Some(ImageName::Digest(digest)) => images().filter(|e| e.digest == *digest).collect(),
        Some(ImageName::Name(name)) => {
            images().filter(|e| e.annotations.get(REF_NAME) == Some(name)).collect()
        }
    };
    let different: BTreeSet<_> = matching.iter().map(|entry| entry.digest).collect();
    if let (Some(entry), 1) = (matching.first(), different.len()) {
        return Ok(entry);
    }
    let place = display(path);
    let listing = listing(images());
    match name {
        None => Err(Error::NoImage {
            place,
            problem: format!("found {listing}, expected one image, or its REF in oci:PATH:REF"),
        }),
        Some(name) if different.is_empty() => {
            Err(Error::NoImage { place, problem: format!("found no {name}, but {listing}") })
        }
        Some(name) => Err(Error::Place {
            place,
            problem: format!("found {} images named {name}, expected one", different.len()),
        }),
    }
}

/// Whether an entry of index.json is an image, and not a signature, attestation or bill of
/// materials of one.
fn is_image(entry: &Descriptor) -> bool {
    let by_kind = match entry.annotations.get(KIND).map(String::as_str) {
        Some(KIND_IMAGE | KIND_INDEX) | None => true,
        Some(other) => !other.starts_with(KIND_PREFIX),
    };
    let tag = entry.annotations.get(REF_NAME).map(|name| name.rsplit(':').next().unwrap_or(name));
    let by_tag = tag.and_then(|tag| tag.strip_prefix("sha256-")).is_none_or(|rest| {
        let (hex, suffix) = rest.split_once('.').unwrap_or((rest, ""));
        // Without a suffix it is the index of what refers to an image.
        let attached = matches!(suffix, "" | "sig" | "att" | "sbom");
        !(attached && format!("sha256:{hex}").parse::<Digest>().is_ok())
    });
    let by_type = entry.media_type.is_manifest() || entry.media_type.is_index();
    by_kind && by_tag && by_type
}

fn listing<'a>(images: impl Iterator<Item = &'a Descriptor>) -> String {
    let mut names: Vec<_> = images
        .take(LISTED + 1)
        .map(|entry| match entry.annotations.get(REF_NAME) {
            Some(name) => {
                let start: String = name.chars().take(80).collect();
                crate::escape::Escaped(start.as_bytes()).to_string()
            }
            None => format!("@{}", entry.digest),
        })
        .collect();
    if names.len() > LISTED {
        names.truncate(LISTED);
        names.push("more".to_owned());
    }
    if names.is_empty() { "no image".to_owned() } else { names.join(", ") }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Directory { root, .. } => root.path(),
            Self::Archive(archive) => archive.path(),
        }
    }

    /// The bytes of `oci-layout` or `index.json`.
    fn file(&self, name: &'static str, max: u64) -> Result<Vec<u8>, Error> {
        let absent = || Error::NoImage {
            place: display(self.path()),
            problem: format!("found no {name}, expected an OCI image layout"),
        };
        match self {
            Self::Directory { root, .. } => root.file(name)?.ok_or_else(absent)?.read(max),
            Self::Archive(archive) => archive.file(name, max)?.ok_or_else(absent),
        }
    }

    /// The bytes of a blob, at most one more than `size`; none if there is no such blob.
    fn blob(&self, digest: &Digest, size: u64) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Directory { blobs, .. } => {
                let file = blobs.as_ref().map(|b| b.file(&digest.hex())).transpose()?.flatten();
                file.map(|file| file.start(size.saturating_add(1))).transpose()
            }
            Self::Archive(archive) => archive.blob(digest, size.saturating_add(1)),
        }
    }

    /// A manifest, checked against the descriptor that names it.
    fn manifest(&self, entry: &Descriptor, max: u64) -> Result<RawManifest, Error> {
        let &Descriptor { digest, size, .. } = entry;
        if size > max {
            let what = format!("manifest {digest}, bytes");
            return Err(Error::Limit { what, found: size, max, limit: "manifest-size" });
        }
        let bytes =
            self.blob(&digest, size)?.ok_or_else(|| missing(self.path(), "manifest", &digest))?;
        let raw = RawManifest::new(bytes, Some(entry.media_type.0.clone()));
        resolve::check(&raw, entry)?;
        Ok(raw)
    }
}

impl Transport for Layout {
    fn root(&mut self) -> Result<RawManifest, Error> {
        self.place.manifest(&self.image, self.limits.manifest_size)
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.place.manifest(descriptor, self.limits.manifest_size)
    }

    fn blob_bytes(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let &Descriptor { digest, size, .. } = descriptor;
        let blob = self.place.blob(&digest, size)?;
        blob.ok_or_else(|| missing(self.place.path(), "blob", &digest))
    }

    fn layer(
        &mut self,
        layer: &Verified<LayerDescriptor>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified<Blob>, Error> {
        let digest = &layer.descriptor.digest;
        let absent = || missing(self.place.path(), "layer", digest);
        match &self.place {
            Place::Directory { blobs, .. } => {
                let file = blobs.as_ref().map(|b| b.file(&digest.hex())).transpose()?.flatten();
                file.ok_or_else(absent)?.layer(layer, &self.limits, progress)
            }
            Place::Archive(archive) => {
                archive.layer(layer, &self.spool, &self.limits, progress)?.ok_or_else(absent)
            }
        }
    }

    fn candidates(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        let mut candidates = self.signatures(digest);
        candidates.extend(self.bundles(digest));
        Ok(candidates)
    }
}

impl Layout {
    /// The signatures in cosign's older format.
    fn signatures(&self, digest: &Digest) -> Vec<Candidate> {
        let max = usize::try_from(self.limits.signatures).unwrap_or(usize::MAX);
        let mut candidates = Vec::new();
        let entries = self.index.manifests.iter().filter(|entry| self.is_signature(entry, digest));
        for (count, entry) in entries.enumerate() {
            let origin = format!("signature manifest {}", entry.digest);
            if count >= max || candidates.len() >= max {
                candidates.push(Candidate::Unusable {
                    origin,
                    problem: format!("found more than {max} signatures: the rest is ignored"),
                    exit_code: ExitCode::Limit,
                });
                break;
            }
            match self.place.manifest(entry, self.limits.manifest_size) {
                Ok(manifest) => {
                    let mut fetch = |layer: &Descriptor| {
                        let blob = self.place.blob(&layer.digest, layer.size)?;
                        blob.ok_or_else(|| missing(self.place.path(), "blob", &layer.digest))
                    };
                    candidates.extend(attached::candidates(&manifest, &mut fetch, &self.limits));
                }
                Err(error) => candidates.push(Candidate::Unusable {
                    origin,
                    problem: error.to_string(),
                    exit_code: error.exit_code(),
                }),
            }
        }
        candidates
    }

    /// The signatures in its newer one: wherever in index.json what refers to the image is listed,
    /// as oras has it, or in an index of its own, as copied from a registry.
    fn bundles(&mut self, digest: &Digest) -> Vec<Candidate> {
        let (mut found, mut candidates) = (Vec::new(), Vec::new());
        let mut waiting: Vec<(Descriptor, bool)> =
            self.index.manifests.iter().rev().map(|entry| (entry.clone(), true)).collect();
        let mut seen = 0_usize;
        while let Some((entry, top)) = waiting.pop() {
            let origin = || format!("entry {} of the layout", entry.digest);
            if entry.digest == self.image.digest {
                continue;
            }
            seen = seen.saturating_add(1);
            if seen > MAX_SCANNED {
                candidates.push(Candidate::Unusable {
                    origin: origin(),
                    problem: format!("found more than {MAX_SCANNED} entries, expected fewer"),
                    exit_code: ExitCode::Limit,
                });
                break;
            }
            let is_named = entry.annotations.contains_key(REF_NAME);
            match self.place.manifest(&entry, self.limits.manifest_size) {
                Ok(index) if entry.media_type.is_index() && top => {
                    // One that is not an index of referrers has none of this image's.
                    let entries = referrers::entries(&index).unwrap_or_default();
                    waiting.extend(entries.into_iter().rev().map(|it| (it.descriptor, false)));
                }
                Ok(manifest) => {
                    let subject = Artifact::of(&manifest.bytes).ok().and_then(|it| it.subject);
                    if subject.is_some_and(|subject| subject.digest == *digest) {
                        found.push(Referrer::new(entry));
                    }
                }
                // Another image may lack what it likes; what may be of this one is reported.
                Err(_) if is_named => {}
                Err(error) => candidates.push(Candidate::Unusable {
                    origin: origin(),
                    problem: error.to_string(),
                    exit_code: error.exit_code(),
                }),
            }
        }
        let limits = self.limits.clone();
        candidates.extend(referrers::candidates(digest, found, self, &limits));
        candidates
    }

    /// Whether an entry of index.json refers to another manifest, and so is no image to convert.
    fn is_referrer(place: &Place, entry: &Descriptor, limits: &Limits) -> bool {
        let manifest = place.manifest(entry, limits.manifest_size).ok();
        let artifact = manifest.and_then(|manifest| Artifact::of(&manifest.bytes).ok());
        artifact.is_some_and(|artifact| artifact.subject.is_some())
    }
}

impl Referrers for Layout {
    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.place.manifest(descriptor, self.limits.manifest_size)
    }

    fn blob(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.blob_bytes(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, &str)]) -> ImageIndex {
        let entries: Vec<_> = entries
            .iter()
            .map(|(content, annotations)| {
                let digest = Digest::of(content.as_bytes());
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,
                       "digest":"{digest}","annotations":{{{annotations}}}}}"#
                )
            })
            .collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        ImageIndex::read(text.as_bytes(), None).unwrap()
    }

    fn chosen(entries: &[(&str, &str)], reference: &str) -> Result<Digest, ExitCode> {
        let reference = format!("oci:p:{reference}").parse().unwrap();
        let super::super::Reference::Layout { name, .. } = reference else { unreachable!() };
        choose(&index(entries), name.as_ref(), Path::new("p"))
            .map(|entry| entry.digest)
            .map_err(|error| error.exit_code())
    }

    const A: (&str, &str) = ("a", r#""org.opencontainers.image.ref.name":"41.a""#);
    const B: (&str, &str) = ("b", r#""org.opencontainers.image.ref.name":"41.b""#);
    const IMAGE: (&str, &str) = ("i", r#""kind":"dev.cosignproject.cosign/image""#);
    const SIGNATURES: (&str, &str) = ("s", r#""kind":"dev.cosignproject.cosign/sigs""#);

    #[test]
    fn an_image_is_chosen_by_name_position_or_digest() {
        let digest = |content: &str| Ok(Digest::of(content.as_bytes()));
        assert_eq!(chosen(&[A, B], "41.b"), digest("b"));
        assert_eq!(chosen(&[A, B], "@0"), digest("a"));
        assert_eq!(chosen(&[A, B], &format!("@{}", Digest::of(b"b"))), digest("b"));
        assert_eq!(chosen(&[A], ""), digest("a"));
        assert_eq!(chosen(&[A, A], "41.a"), digest("a"));
        assert_eq!(chosen(&[SIGNATURES, IMAGE], ""), digest("i"));
    }

    /// Row 91.
    #[test]
    fn an_image_that_is_not_there_is_named_with_those_that_are() {
        assert_eq!(chosen(&[A, B], ""), Err(ExitCode::Io));
        assert_eq!(chosen(&[A, B], "41.c"), Err(ExitCode::Io));
        assert_eq!(chosen(&[A, B], "@2"), Err(ExitCode::Io));
        assert_eq!(chosen(&[], ""), Err(ExitCode::Io));
        assert_eq!(chosen(&[A, ("x", A.1)], "41.a"), Err(ExitCode::Malformed));
    }

    #[test]
    fn a_copied_signature_tag_is_no_image() {
        let tag = |suffix: &str| {
            let hex = Digest::of(b"a").hex();
            format!(r#""org.opencontainers.image.ref.name":"quay.io/x/y:sha256-{hex}.{suffix}""#)
        };
        let image = |annotations: &str| is_image(&index(&[("s", annotations)]).manifests[0]);
        assert!(!image(&tag("sig")) && !image(&tag("att")) && !image(&tag("sbom")));
        assert!(image(&tag("exe")) && image(A.1));
        assert!(image(r#""org.opencontainers.image.ref.name":"sha256-x.sig""#));
    }

    #[test]
    fn only_the_known_version_of_a_layout_is_read() {
        check_version(br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        for bad in [r#"{"imageLayoutVersion":"2.0.0"}"#, "{}", r#"{"imageLayoutVersion":1}"#] {
            assert!(check_version(bad.as_bytes()).is_err());
        }
    }
}
