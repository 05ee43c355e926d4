//! The corridor: from a reference to a published image, one room after the other.

mod audit;
mod blobs;
mod labelling;

use blobs::Blobs;
use labelling::Labelling;

use std::fs::File;

use crate::admit::{self, Admitted, Bound, Found};
use crate::base::boundary::{self, Choice, Rule};
use crate::base::{self, Base, Boundary, NamedBase, OstreeLabels};
use crate::error::Result;
use crate::escape::Escaped;
use crate::image::composefs::{self, Objects, Verity};
use crate::image::{self, Staged, erofs};
use crate::layer::{self, ContentSink, LayerOptions};
use crate::oci::{Digest, ImageConfig, Reference, Resolved, Source};
use crate::publish::{Published, Target};
use crate::report::{self, Changes, Report};
use crate::request::{Format, Labels, Request, Trust};
use crate::sysext::{self, Deny, Fates, Repair, Sysext, SysextOptions};
use crate::tree::{Content, Tree};
use crate::unnamed;
use crate::verify::{LayerDescriptor, Verified};

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
    let mut blobs = Blobs::new(&mut source, &image.layers, progress);
    let built = match &request.output.format {
        Format::Erofs(options) => {
            let mut writer = erofs::Writer::new(destination.stage()?, options)?;
            let extension = image.extension(&mut blobs, &mut writer, &mut changes)?;
            let staged = writer.finish(extension.sysext.tree())?;
            let audit = || {
                let file = staged.file().try_clone().map_err(image::Error::Io)?;
                let reader = erofs::Reader::open(file)?;
                let tree = reader.image(&audit::unlimited(&request.limits))?.tree;
                let open = |located: &_| -> audit::Contents<'_> {
                    Ok(Box::new(reader.contents(located)?))
                };
                image.audit(&tree, &open, &mut blobs)
            };
            let audit = request.extension.audit_base.then(audit).transpose()?;
            extension.built(staged, None, audit, erofs::Contents::size)
        }
        Format::Composefs { objects } => {
            let mut store = Objects::open(objects)?;
            let extension = image.extension(&mut blobs, &mut store, &mut changes)?;
            let tree = extension.sysext.tree();
            let audit = || image.audit(tree, &|contents| store.read(contents), &mut blobs);
            let audit = request.extension.audit_base.then(audit).transpose()?;
            let composefs::Image { staged, digest, verity: of_image } =
                composefs::write(tree, destination.stage()?)?;
            let of_objects = store.commit(tree)?;
            let verity = [of_image, of_objects].iter().all(|verity| *verity == Verity::Enabled);
            let objects = report::Objects { path: objects.clone(), verity };
            extension.built(staged, Some((digest, objects)), audit, |contents| contents.size)
        }
    };

    let sha256 = request.output.digest.then(|| digest_of(built.staged.file())).transpose();
    let sha256 = sha256.map_err(image::Error::Io)?;
    let Published { path, size } = destination.publish(built.staged)?;
    let layers = image.report();
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
        layers,
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
        audit: built.audit,
        changes,
    })
}

/// Converts an image into a file without a name, which is gone when it is closed.
pub fn draft(
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<(Staged, report::Layers, Changes)> {
    let Opened { mut source, image, .. } = Opened::open(request)?;
    let file = unnamed::file(&unnamed::directory()).map_err(image::Error::Io)?;
    let options =
        erofs::Options { compression: erofs::Compression::None, ..erofs::Options::default() };
    let (mut changes, mut writer) = (Changes::default(), erofs::Writer::new(file, &options)?);
    warn_of_kernels(&request.output.format, &mut changes);
    let mut blobs = Blobs::new(&mut source, &image.layers, progress);
    let extension = image.extension(&mut blobs, &mut writer, &mut changes)?;
    Ok((writer.finish(extension.sysext.tree())?, image.report(), changes))
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
        let Admitted { source, resolved, signature, manifest, config, layers, bound, .. } =
            admitted;
        let choice = &request.extension.layers;
        let boundary = boundary::draw(choice, &manifest.annotations, &config, &mut |base| {
            named_base(request, &config, base)
        })?;
        layer::check_sizes(layers.iter().skip(boundary.lower).map(|it| &**it), &request.limits)?;
        let local = Local::of(request);
        let image = VerifiedImage { request, config, layers, boundary, bound, local };
        Ok(Self { source, resolved, signature, image })
    }
}

/// The registry of a reference.
fn host(reference: &Reference) -> Option<&str> {
    match reference {
        Reference::Registry { repository, .. } => Some(&repository.host),
        _ => None,
    }
}

/// What a base says of its layers, asked as the image itself was, for the same machines.
fn named_base(request: &Request, config: &ImageConfig, base: &Reference) -> Result<NamedBase> {
    // Flags for the image's host are not for another one that the image names.
    let by_image = !matches!(request.extension.layers, Choice::Base(_));
    let of_image = host(&request.image.reference);
    let by_user = !by_image || of_image.is_none() || of_image == host(base);
    admit::open(&request.image, base, by_user)
        .and_then(|mut source| Ok(NamedBase::fetch(&mut source, &config.platform)?))
        .map_err(|error| {
            let base = base.to_string();
            base::Error::NotFetched { base, error: Box::new(error) }.into()
        })
}

/// An image whose documents are verified, and whose layers therefore can be.
struct VerifiedImage<'a> {
    request: &'a Request,
    config: Verified<ImageConfig>,
    layers: Vec<Verified<LayerDescriptor>>,
    boundary: Boundary,
    bound: Bound<'a>,
    local: Local,
}

impl VerifiedImage<'_> {
    /// Which layers the extension is made of.
    fn report(&self) -> report::Layers {
        report::Layers::new(&self.layers, &self.boundary)
    }

    /// Makes an extension of the layers above the boundary (R28), its contents in `sink`.
    fn extension<S: ContentSink>(
        &self,
        blobs: &mut Blobs<'_>,
        sink: &mut S,
        changes: &mut Changes,
    ) -> Result<Extension<S::Content>> {
        let request = self.request;
        let lower = self.boundary.lower;
        let of_extension: Vec<_> =
            (lower..self.layers.len()).map(|index| blobs.get(index)).collect::<Result<_>>()?;
        blobs.converting();

        let fates = Fates {
            keep_caches: request.extension.keep_caches,
            state: request.extension.repairs.has(Repair::State),
        };
        let fate = |path: &[u8]| fates.fate(path);
        let options = LayerOptions { limits: &request.limits, fate: &fate, keep_ima: false };
        let tree = layer::read_all(&of_extension, &options, sink)?;
        sink.pause().map_err(image::Error::Io)?;

        let query = base::Query {
            extension: &tree,
            lower_layers: lower,
            policy: request.extension.labels == Labels::Image,
            ostree: self.ostree_labels(),
            sources: self.local.sources(),
            limits: &request.limits,
        };
        let base = base::read(&query, blobs)?;
        blobs.converting();
        self.warn_of_guess(&base, changes);

        let labelling = Labelling::of(request, &base, &tree.tree, changes)?;
        let lookup = labelling
            .as_ref()
            .map(|labelling| move |path: &[u8], file_type: u16| labelling.lookup(path, file_type));
        let options = SysextOptions {
            labeller: lookup.as_ref().map(|lookup| -> &sysext::Labeller<'_> { lookup }),
            policy_change: labelling.as_ref().and_then(Labelling::policy_change),
            ..self.sysext_options()
        };
        let sysext = sysext::convert(tree, &base, &options, sink, changes)?;
        if let Some(labelling) = &labelling {
            labelling.check()?;
        }
        let selinux = labelling.as_ref().map_or("none", Labelling::from);
        if let Some(warning) = self.bound.check_name(sysext.name_is_shipped())? {
            changes.warn("row 37", warning);
        }
        let release_file = Escaped(&sysext::release_path(sysext.name())).to_string();
        Ok(Extension {
            base: report::Base::new(base.os_release(), selinux.to_owned()),
            release: sysext.release().to_owned(),
            release_file,
            sysext,
        })
    }

    /// Compares the extension with the whole base.
    fn audit<C>(
        &self,
        tree: &Tree<C>,
        open: &audit::Open<'_, C>,
        blobs: &mut Blobs<'_>,
    ) -> Result<report::Audit> {
        let Request { limits, extension, .. } = self.request;
        let mut base = base::Audit::new(blobs, self.boundary.lower, self.local.sources(), limits);
        audit::run(tree, open, &mut base, limits, extension.deny.shadow)
    }

    fn ostree_labels(&self) -> Option<OstreeLabels<'_>> {
        Some(OstreeLabels {
            commit: self.config.label("ostree.commit")?,
            final_diffid: self.config.label("ostree.final-diffid")?,
        })
    }

    /// Warns where the boundary was not said by anybody, and may be another: of two layers, the
    /// lower one is the base's if it has an os-release.
    fn warn_of_guess(&self, base: &Base, changes: &mut Changes) {
        let is_certain = self.boundary.lower < 2 && base.os_release().is_some();
        if self.boundary.rule == Rule::Guess && !is_certain && self.layers.len() > 1 {
            let message = format!(
                "nothing says which layers were added to the base: the last of {} was taken alone; \
                 if the build made several, say how many: --layers N, or --base REFERENCE",
                self.layers.len()
            );
            changes.warn("R28", message);
        }
    }

    fn sysext_options(&self) -> SysextOptions<'_> {
        let of_extension = self.layers.iter().skip(self.boundary.lower).map(|layer| &**layer);
        let layer = layer::chain_id(of_extension).map(|id| id.to_string()).unwrap_or_default();
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
            // What is hidden is compared first, if it is compared.
            deny: Deny { shadow: extension.deny.shadow && !extension.audit_base, ..extension.deny },
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

/// What of bases is on this host.
struct Local {
    cache: Option<base::Cache>,
    copies: Option<base::Copies>,
}

impl Local {
    fn of(request: &Request) -> Self {
        Self {
            cache: request.cache.as_deref().and_then(base::Cache::open),
            copies: request.copies.clone().map(base::Copies::new),
        }
    }

    fn sources(&self) -> base::Sources<'_> {
        base::Sources { cache: self.cache.as_ref(), copies: self.copies.as_ref() }
    }
}

/// An extension, and what the report says of it.
struct Extension<C> {
    sysext: Sysext<C>,
    release_file: String,
    release: String,
    base: report::Base,
}

/// An image without a name, and what the report says of it.
struct Built {
    staged: Staged,
    composefs: Option<(String, report::Objects)>,
    audit: Option<report::Audit>,
    extension: report::Extension,
    base: report::Base,
}

impl<C> Extension<C> {
    fn built(
        self,
        staged: Staged,
        composefs: Option<(String, report::Objects)>,
        audit: Option<report::Audit>,
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
        Built { staged, composefs, audit, extension, base: self.base }
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
    Digest::of_reader(&mut file)
}
