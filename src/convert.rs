//! The corridor: from a reference to a published image, one room after the other.

use std::collections::HashMap;
use std::fs::File;

use sha2::{Digest as _, Sha256};

use crate::admit::{Admitted, Bound, Found};
use crate::base::{self, Base};
use crate::error::Result;
use crate::escape::Escaped;
use crate::image::composefs::{self, Objects, Verity};
use crate::image::{self, Staged, erofs};
use crate::layer::{self, ContentSink, LayerOptions, Stored};
use crate::oci::{Digest, ImageConfig, Resolved, Source};
use crate::publish::{Published, Target};
use crate::report::{self, Changes, Report};
use crate::request::{Format, Labels, Request, Trust};
#[cfg(feature = "libselinux")]
use crate::selinux::libselinux::Libselinux;
use crate::selinux::{FileContexts, Lookup, PolicyFiles};
use crate::sysext::{self, Fates, PolicyChange, Repair, Sysext, SysextOptions, modules};
use crate::tree::{Content, Tree};
use crate::unnamed;
use crate::verify::{Blob, LayerDescriptor, Verified};

/// Hears how far a conversion is.
pub trait Progress {
    /// Of `layer`, `done` bytes are here.
    fn fetching(&mut self, layer: &LayerDescriptor, done: u64);
    /// What was fetched is being turned into an image.
    fn converting(&mut self);
}

/// Converts an image as requested.
pub fn convert(request: &Request, progress: &mut dyn Progress) -> Result<Report> {
    let target = Target::open(&request.output.path, request.output.force)?;
    let Opened { mut source, resolved, signature, image } = Opened::open(request)?;
    // A registry that is slow to say what it has holds up nobody else.
    let destination = target.lock(request.output.if_locked)?;

    let mut changes = Changes::default();
    warn_of_kernels(&request.output.format, &mut changes);
    let built = match &request.output.format {
        Format::Erofs(options) => {
            let mut writer = erofs::Writer::new(destination.stage()?, options)?;
            let extension = image.extension(&mut source, &mut writer, &mut changes, progress)?;
            let staged = writer.finish(extension.sysext.tree())?;
            extension.built(staged, None, erofs::Contents::size)
        }
        Format::Composefs { objects } => {
            let mut store = Objects::open(objects)?;
            let extension = image.extension(&mut source, &mut store, &mut changes, progress)?;
            let tree = extension.sysext.tree();
            let composefs::Image { staged, digest, verity: of_image } =
                composefs::write(tree, destination.stage()?)?;
            let of_objects = store.commit(tree)?;
            let verity = [of_image, of_objects].iter().all(|verity| *verity == Verity::Enabled);
            let objects = report::Objects { path: objects.clone(), verity };
            extension.built(staged, Some((digest, objects)), |contents| contents.size)
        }
    };

    let sha256 = request.output.digest.then(|| digest_of(built.staged.file())).transpose();
    let sha256 = sha256.map_err(image::Error::Io)?;
    let Published { path, size } = destination.publish(built.staged)?;
    image.bound.record();
    let (verity, objects) = built.composefs.unzip();
    Ok(Report {
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        source: report::Source {
            reference: request.image.reference.to_string(),
            manifest: resolved.manifest.digest,
            index: resolved.index.as_ref().map(|index| index.digest),
            platform: image.config.platform.to_string(),
            created: image.config.created.clone(),
        },
        signature,
        layer: built.layer,
        base: built.base,
        extension: built.extension,
        image: report::Image {
            path,
            format: request.output.format.name(),
            size,
            sha256,
            verity,
            objects,
        },
        changes,
    })
}

/// Converts an image into a file without a name, which is gone when it is closed.
pub fn draft(request: &Request, progress: &mut dyn Progress) -> Result<(Staged, Changes)> {
    let Opened { mut source, image, .. } = Opened::open(request)?;
    let file = unnamed::file(&unnamed::directory()).map_err(image::Error::Io)?;
    let options =
        erofs::Options { compression: erofs::Compression::None, ..erofs::Options::default() };
    let (mut changes, mut writer) = (Changes::default(), erofs::Writer::new(file, &options)?);
    warn_of_kernels(&request.output.format, &mut changes);
    let extension = image.extension(&mut source, &mut writer, &mut changes, progress)?;
    Ok((writer.finish(extension.sysext.tree())?, changes))
}

/// Warns of what kernels may lack that are recent enough for the image (R10).
fn warn_of_kernels(format: &Format, changes: &mut Changes) {
    if let Format::Erofs(options) = format
        && let Some(warning) = options.warning()
    {
        changes.warn("R10", warning);
    }
}

/// An image that was admitted, and where its layers come from.
struct Opened<'a> {
    source: Source,
    resolved: Resolved,
    signature: report::Signature,
    image: VerifiedImage<'a>,
}

impl<'a> Opened<'a> {
    fn open(request: &'a Request) -> Result<Self> {
        let admitted = Found::find(&request.image)?.examine()?.admit()?;
        let Admitted { source, resolved, signature, config, layers, bound, .. } = admitted;
        let image = VerifiedImage { request, config, layers, bound };
        Ok(Self { source, resolved, signature, image })
    }
}

/// An image whose documents are verified, and whose layers therefore can be.
struct VerifiedImage<'a> {
    request: &'a Request,
    config: Verified<ImageConfig>,
    layers: Vec<Verified<LayerDescriptor>>,
    bound: Bound<'a>,
}

impl VerifiedImage<'_> {
    /// Makes an extension of the last layer (R28), its contents in `sink`.
    fn extension<S: ContentSink>(
        &self,
        source: &mut Source,
        sink: &mut S,
        changes: &mut Changes,
        progress: &mut dyn Progress,
    ) -> Result<Extension<S::Content>> {
        let request = self.request;
        let Some((top, lower)) = self.layers.split_last() else {
            return Err(base::Error::NoLayers.into());
        };
        let mut blobs = Blobs { source, layers: &self.layers, fetched: HashMap::new(), progress };
        let blob = blobs.get(lower.len())?;
        blobs.progress.converting();

        let fates = Fates {
            keep_caches: request.extension.keep_caches,
            state: request.extension.repairs.has(Repair::State),
        };
        let fate = |path: &[u8]| fates.fate(path);
        let options = LayerOptions { limits: &request.limits, fate: &fate, keep_ima: false };
        let tree = layer::read(&blob, &options, sink)?;

        let query = base::Query {
            extension: &tree,
            lower_layers: lower.len(),
            policy: request.extension.labels == Labels::Image,
            limits: &request.limits,
        };
        let base = base::read(&query, &mut |index| blobs.get(index))?;
        blobs.progress.converting();

        let labelling = Labelling::of(request, &base, &tree.tree, changes)?;
        let lookup = labelling
            .as_ref()
            .map(|labelling| move |path: &[u8], file_type: u16| labelling.lookup(path, file_type));
        let options = SysextOptions {
            labeller: lookup.as_ref().map(|lookup| -> &sysext::Labeller<'_> { lookup }),
            policy_change: labelling.as_ref().and_then(Labelling::policy_change),
            ..self.sysext_options(top.diff_id.to_string())
        };
        let sysext = sysext::convert(tree, &base, &options, sink, changes)?;
        if let Some(labelling) = &labelling {
            labelling.contexts.check()?;
        }
        let selinux = labelling.as_ref().map_or("none", |labelling| &labelling.from);
        if let Some(warning) = self.bound.check_name(sysext.name_is_shipped())? {
            changes.warn("row 37", warning);
        }
        let release_file = Escaped(&sysext::release_path(sysext.name())).to_string();
        Ok(Extension {
            layer: report::Layer::new(top, self.layers.len()),
            base: report::Base::new(base.os_release(), selinux.to_owned()),
            release: sysext.release().to_owned(),
            release_file,
            sysext,
        })
    }

    fn sysext_options(&self, layer: String) -> SysextOptions<'_> {
        let Request { image, extension, output, name, limits, .. } = self.request;
        let file_name = output.path.file_name().and_then(|name| name.to_str());
        SysextOptions {
            name: name.clone(),
            image_name: file_name.and_then(sysext::image_name).map(str::to_owned),
            platform: self.config.platform.clone(),
            latest: extension.latest,
            layer,
            created: sysext::created(self.config.created_at()),
            id: extension.id.clone(),
            version_id: extension.version_id.clone(),
            sysext_level: extension.sysext_level.clone(),
            any_host: extension.any_host,
            keep_caches: extension.keep_caches,
            whiteouts: extension.whiteouts,
            deny_setuid: extension.deny_setuid,
            repairs: extension.repairs.clone(),
            enable: extension.enable.clone(),
            no_enable: extension.no_enable.clone(),
            rename: image.checks.rename,
            unverified: matches!(image.trust, Trust::Nobody),
            limits: limits.clone(),
            labeller: None,
            policy_change: None,
        }
    }
}

/// The layers' bytes, each fetched when it is first asked for.
struct Blobs<'a> {
    source: &'a mut Source,
    layers: &'a [Verified<LayerDescriptor>],
    fetched: HashMap<usize, Verified<Blob>>,
    progress: &'a mut dyn Progress,
}

impl Blobs<'_> {
    fn get(&mut self, index: usize) -> Result<Verified<Blob>> {
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

/// The rules for labels, and where they are from.
struct Labelling {
    contexts: FileContexts,
    from: String,
    /// The policy without what the layer brings.
    before: PolicyFiles,
    after: PolicyFiles,
    #[cfg(feature = "libselinux")]
    libselinux: Option<Libselinux>,
}

impl Labelling {
    /// None with `--selinux none`.
    fn of<C>(
        request: &Request,
        base: &Base,
        layer: &Tree<Stored<C>>,
        changes: &mut Changes,
    ) -> Result<Option<Self>> {
        let limits = &request.limits;
        let (mut after, from) = match &request.extension.labels {
            Labels::None => return Ok(None),
            Labels::Image => (base.require_policy()?.clone(), "image".to_owned()),
            Labels::Host => (base::policy::of_host(limits)?, "host".to_owned()),
            Labels::Directory(path) => {
                (base::policy::of_directory(path, limits)?, path.display().to_string())
            }
        };
        let mut from = format!("{from} ({})", after.policy_type);
        let before = base.lower_policy().unwrap_or(&after).clone();
        if let Some(used) = modules::add_contexts(&mut after, layer, limits, changes)? {
            from = format!("{from} and policy modules of the layer ({used})");
        }
        let contexts = FileContexts::parse(&after)?;
        Ok(Some(Self {
            #[cfg(feature = "libselinux")]
            libselinux: match request.extension.engine {
                crate::cli::EngineArg::Own => None,
                crate::cli::EngineArg::Libselinux => {
                    Some(Libselinux::open(&after).map_err(image::Error::Io)?)
                }
            },
            contexts,
            from,
            before,
            after,
        }))
    }

    fn lookup(&self, path: &[u8], file_type: u16) -> Lookup<'_> {
        let label = self.contexts.lookup(path, file_type);
        #[cfg(feature = "libselinux")]
        if let Some(libselinux) = &self.libselinux {
            return libselinux.lookup_instead(path, file_type, label);
        }
        label
    }

    /// What the layer makes of the policy, if anything.
    fn policy_change(&self) -> Option<PolicyChange<'_>> {
        let Self { before, after, .. } = self;
        (before != after).then_some(PolicyChange { before, after })
    }
}

/// An extension, and what the report says of it.
struct Extension<C> {
    sysext: Sysext<C>,
    release_file: String,
    release: String,
    layer: report::Layer,
    base: report::Base,
}

/// An image without a name, and what the report says of it.
struct Built {
    staged: Staged,
    composefs: Option<(String, report::Objects)>,
    extension: report::Extension,
    layer: report::Layer,
    base: report::Base,
}

impl<C> Extension<C> {
    fn built(
        self,
        staged: Staged,
        composefs: Option<(String, report::Objects)>,
        size: impl Fn(&C) -> u64,
    ) -> Built {
        let mut extension = report::Extension {
            name: self.sysext.name().to_owned(),
            release_file: self.release_file,
            release: self.release,
            files: 0,
            directories: 0,
            symlinks: 0,
            bytes: 0,
        };
        count(self.sysext.tree(), &mut extension, size);
        Built { staged, composefs, extension, layer: self.layer, base: self.base }
    }
}

fn count<C>(tree: &Tree<C>, extension: &mut report::Extension, size: impl Fn(&C) -> u64) {
    let mut seen = vec![false; tree.len()];
    for entry in tree.walk() {
        if seen.get_mut(entry.ino.index()).is_some_and(|seen| std::mem::replace(seen, true)) {
            continue;
        }
        match &entry.inode.content {
            Content::Regular(contents) => {
                extension.files += 1;
                extension.bytes += size(contents);
            }
            Content::Directory(_) => extension.directories += 1,
            Content::Symlink(_) => extension.symlinks += 1,
            _ => {}
        }
    }
}

fn digest_of(mut file: &File) -> std::io::Result<Digest> {
    std::io::Seek::rewind(&mut file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = std::io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}
