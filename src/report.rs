//! What a run did: from which bytes, on whose word, and every path that was changed on the way.

mod changes;
mod signature;

pub use changes::{Action, Change, Changes, Warning};
pub use signature::{Certificate, Finding, Signature, Signer, Verification};

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::base::Boundary;
use crate::escape::Escaped;
use crate::oci::Digest;
use crate::verify::{LayerDescriptor, Verified};

/// A conversion, as `--json` and `--report` print it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The program and its version.
    pub tool: &'static str,
    /// The image that was asked for.
    pub source: Source,
    /// On whose word.
    pub signature: Signature,
    /// The layers that became the extension.
    pub layers: Layers,
    /// What the extension was fitted to.
    pub base: Base,
    /// The extension.
    pub extension: Extension,
    /// The file that was written.
    pub image: Image,
    /// What it hides of the whole base, where somebody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// What was done to the layer's paths, and what the user should know.
    #[serde(flatten)]
    pub changes: Changes,
}

/// The image that was asked for.
#[derive(Debug, Serialize)]
pub struct Source {
    /// The reference, as the user means it.
    pub reference: String,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The digest of the index that the manifest was selected from.
    pub index: Option<Digest>,
    /// What the image runs on.
    pub platform: String,
    /// When the image was built, as its configuration says.
    pub created: Option<String>,
}

/// The layers that became the extension, and why those (R28).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layers {
    /// What drew the boundary, in one word.
    pub rule: &'static str,
    /// The base that it names.
    pub base: Option<NamedBase>,
    /// How many layers the image has.
    pub of: usize,
    /// Those of the extension, the lowest first.
    pub extension: Vec<Layer>,
    /// What drew the boundary, in words.
    #[serde(skip)]
    reason: String,
}

/// A base that somebody names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedBase {
    /// Its name.
    pub reference: String,
    /// The digest of what has the name.
    pub digest: Digest,
}

impl Layers {
    /// The layers of an image, the lowest first, and its boundary.
    pub fn new(layers: &[Verified<LayerDescriptor>], boundary: &Boundary) -> Self {
        let Boundary { lower, rule } = boundary;
        Self {
            rule: rule.name(),
            base: rule
                .base()
                .map(|(reference, digest)| NamedBase { reference: reference.to_string(), digest }),
            of: layers.len(),
            extension: layers.iter().skip(*lower).map(|layer| Layer::new(layer)).collect(),
            reason: rule.to_string(),
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.of;
        match self.extension.as_slice() {
            [layer] => write!(f, "layer {} of {of}", layer.index + 1)?,
            layers => write!(f, "layers {} to {of} of {of}", of - layers.len() + 1)?,
        }
        write!(f, ", {}", self.reason)
    }
}

/// A layer of the extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its place in the image, 0 the lowest.
    pub index: usize,
    /// The digest of its stored bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The digest of its uncompressed bytes.
    pub diff_id: Digest,
}

impl Layer {
    fn new(layer: &LayerDescriptor) -> Self {
        let LayerDescriptor { index, descriptor, diff_id } = layer;
        let (digest, size) = (descriptor.digest, descriptor.size);
        Self { index: *index, digest, size, diff_id: *diff_id }
    }
}

/// What the extension was fitted to.
#[derive(Debug, Serialize)]
pub struct Base {
    /// `ID` of the base's os-release.
    pub id: Option<String>,
    /// `VERSION_ID` of the base's os-release.
    pub version_id: Option<String>,
    /// Where the labels are from, such as `image (targeted)`.
    pub selinux: String,
}

impl Base {
    /// A base with this os-release; `selinux` says where the labels are from.
    pub fn new(os_release: Option<&BTreeMap<String, String>>, selinux: String) -> Self {
        let field = |name: &str| os_release?.get(name).cloned();
        Self { id: field("ID"), version_id: field("VERSION_ID"), selinux }
    }
}

/// The extension.
#[derive(Debug, Serialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The path of its release file.
    pub release_file: String,
    /// What the release file says.
    pub release: String,
    /// Regular files, hard links counted once.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Bytes of all regular files.
    pub bytes: u64,
}

/// The file that was written.
#[derive(Debug, Serialize)]
pub struct Image {
    /// Its path.
    #[serde(serialize_with = "escaped_path")]
    pub path: PathBuf,
    /// `erofs` or `composefs`.
    pub format: &'static str,
    /// Its length in bytes.
    pub size: u64,
    /// The sha256 of its bytes, where somebody reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// The fs-verity digest of a composefs image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verity: Option<String>,
    /// The object store of a composefs image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Objects>,
}

/// The object store of a composefs image.
#[derive(Debug, Serialize)]
pub struct Objects {
    /// Its path.
    #[serde(serialize_with = "escaped_path")]
    pub path: PathBuf,
    /// Whether the kernel checks image and objects (fs-verity), so that `digest=` can be asked for.
    pub verity: bool,
}

/// What an extension hides of the whole base (`--audit-base`).
#[derive(Debug, Serialize)]
pub struct Audit {
    /// What it has in the place of paths of the base, or deletes of it.
    pub hidden: Vec<Hidden>,
    /// Its files that give whoever runs them rights that the base's do not give.
    pub privileged: Vec<Privileged>,
}

/// A path that the base has, and an extension hides.
#[derive(Debug, Serialize)]
pub struct Hidden {
    /// The path.
    #[serde(serialize_with = "escaped")]
    pub path: Vec<u8>,
    /// In what it is not the same: contents, target, type, mode, owner or attributes.
    pub differs: Vec<&'static str>,
    /// The names of a library, where they are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soname: Option<Soname>,
}

/// By what name programs ask for a library (`DT_SONAME`).
#[derive(Debug, Serialize)]
pub struct Soname {
    /// In the base.
    pub base: Option<String>,
    /// In the extension.
    pub extension: Option<String>,
}

/// A file that gives whoever runs it more rights.
#[derive(Debug, Serialize)]
pub struct Privileged {
    /// The path.
    #[serde(serialize_with = "escaped")]
    pub path: Vec<u8>,
    /// By what.
    pub gives: Vec<&'static str>,
}

/// The rule by which files are kept that give whoever runs them more rights.
pub const PRIVILEGED: &str = "row 61";

/// How many of one rule's warnings and of the privileged files the summary names.
const NAMED: usize = 3;

fn escaped_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(path.as_os_str().as_bytes()))
}

fn escaped<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(path))
}

/// A report for people.
#[derive(Debug)]
pub struct Summary<'a> {
    /// What was done.
    pub report: &'a Report,
    /// Whether every changed path is wanted.
    pub verbose: bool,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { signature, layers, base, extension, image, .. } = self.report;
        let path = Escaped(image.path.as_os_str().as_bytes());
        let size = indicatif::HumanBytes(image.size);
        writeln!(f, "{path}: {} ({}, {size})", extension.name, image.format)?;
        match signature {
            Signature::Verified { signer, identity, identity_compared, also_signed_by, .. } => {
                let by = std::iter::once(&**signer).chain(also_signed_by).map(Signer::name);
                let by = by.collect::<Vec<_>>().join(" and ");
                let name = match (identity.is_empty(), identity_compared) {
                    (true, _) => " (names no repository)".to_owned(),
                    (false, true) => format!(" as {identity}"),
                    (false, false) => format!(" as {identity} (not compared)"),
                };
                writeln!(f, "  signed by {by}{name}")?;
            }
            Signature::Skipped => writeln!(f, "  NOT VERIFIED: nobody vouches for this image")?,
        }
        writeln!(f, "  from {layers}")?;
        let release = extension.release.lines().filter(|line| !line.starts_with('#'));
        writeln!(f, "  for {}", release.collect::<Vec<_>>().join(" "))?;
        writeln!(
            f,
            "  {} files, {} directories, {} symlinks; labels: {}",
            extension.files, extension.directories, extension.symlinks, base.selinux
        )?;
        self.changes(f)?;
        self.audit(f)?;
        if let Some((digest, objects)) = image.verity.as_ref().zip(image.objects.as_ref()) {
            // The lines are for a unit or another directory as well.
            let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
            let (file, store) = (absolute(&image.path), absolute(&objects.path));
            let file = Escaped(file.as_os_str().as_bytes());
            let store = Escaped(store.as_os_str().as_bytes());
            let name = &extension.name;
            writeln!(f, "  fs-verity digest {digest}; to merge it:")?;
            writeln!(f, "    mkdir -p /run/extensions/{name}")?;
            let digest = if objects.verity { format!(",digest={digest}") } else { String::new() };
            writeln!(
                f,
                "    mount -t composefs -o basedir={store}{digest} {file} /run/extensions/{name}"
            )?;
            writeln!(f, "    systemd-sysext refresh")?;
        }
        self.warnings(f)
    }
}

impl Summary<'_> {
    /// What is hidden of the base, or the first few that are not the same.
    fn audit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Audit { hidden, privileged }) = &self.report.audit else { return Ok(()) };
        let others: Vec<_> = hidden.iter().filter(|it| !it.differs.is_empty()).collect();
        let (all, same) = (hidden.len(), hidden.len().saturating_sub(others.len()));
        writeln!(f, "  hides {all} paths of the base, {same} of them the same")?;
        let shown = |all: usize| if self.verbose { all } else { NAMED };
        for Hidden { path, differs, soname } in others.iter().take(shown(others.len())) {
            write!(f, "    /{}: not the same {}", Escaped(path), differs.join(", "))?;
            if let Some(Soname { base, extension }) = soname {
                let name = |name: &Option<String>| {
                    name.as_ref().map_or_else(
                        || "none".to_owned(),
                        |name| Escaped(name.as_bytes()).to_string(),
                    )
                };
                write!(f, "; its soname is {}, the base's {}", name(extension), name(base))?;
            }
            writeln!(f)?;
        }
        let more = others.len().saturating_sub(shown(others.len()));
        if more > 0 {
            writeln!(f, "    and {more} more (-v lists them)")?;
        }
        for Privileged { path, gives } in privileged.iter().take(shown(privileged.len())) {
            let gives = gives.join(", ");
            writeln!(f, "    /{} has {gives}, and the base's path does not", Escaped(path))?;
        }
        Ok(())
    }

    /// All warnings, or the first few of each rule: one kind does not drown the others.
    fn warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rules: Vec<(&str, Vec<&str>)> = Vec::new();
        for Warning { rule, message } in &self.report.changes.warnings {
            match rules.iter_mut().find(|(of, _)| of == rule) {
                Some((_, messages)) => messages.push(message),
                None => rules.push((rule, vec![message])),
            }
        }
        for (rule, messages) in rules {
            let shown = if self.verbose { messages.len() } else { NAMED };
            for message in messages.iter().take(shown) {
                writeln!(f, "  warning: {message} [{rule}]")?;
            }
            let more = messages.len().saturating_sub(shown);
            if more > 0 {
                writeln!(f, "  warning: and {more} more like these [{rule}] (-v lists them)")?;
            }
        }
        Ok(())
    }

    fn changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = &self.report.changes;
        if self.verbose {
            for change in changes.iter() {
                writeln!(f, "  {change}")?;
            }
            return Ok(());
        }
        let count = |name: &str| changes.iter().filter(|c| c.action.name() == name).count();
        let counts: Vec<_> = ["dropped", "moved", "changed"]
            .iter()
            .filter_map(|name| Some((count(name), name)).filter(|(count, _)| *count > 0))
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        if !counts.is_empty() {
            writeln!(f, "  paths of the layer: {} (-v lists them)", counts.join(", "))?;
        }
        let is_added =
            |c: &Change<'_>| c.action == Action::Added && c.rule != "R1" && c.rule != "R15";
        let added = changes.iter().filter(is_added).count();
        if added > 0 {
            let image = Escaped(self.report.image.path.as_os_str().as_bytes());
            writeln!(
                f,
                "  added for the host: {added} files (oci2sysext explain {image} says what they do)"
            )?;
        }
        let privileged: Vec<_> = changes.iter().filter(|c| c.rule == PRIVILEGED).collect();
        if !privileged.is_empty() {
            let named = privileged.iter().take(NAMED).map(|c| format!("/{}", Escaped(c.path)));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = match privileged.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more (-v lists them)"),
            };
            writeln!(f, "  set-uid, set-gid or with capabilities: {named}{more}")?;
        }
        Ok(())
    }
}
