//! What the user means: the command line's words, checked against each other, with the defaults
//! filled in.

mod wanted;

pub use wanted::{Checks, Trust, Wanted};

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::base::Places;
use crate::base::boundary::Choice;
use crate::cli::{ConvertArgs, DenyArg, FormatArg, SelfCheckArg, WhiteoutsArg};
use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::image::erofs::{self, SelfCheck};
use crate::limits::Limits;
use crate::oci::name::extension_in_tag;
use crate::oci::{ImageName, Reference};
use crate::publish::IfLocked;
use crate::sysext::{Deny, Repair, Repairs, Whiteouts};
use crate::trust::{Locations, storages};

/// The variable for the latest time of anything that is built.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// A conversion, as the user means it.
#[derive(Debug)]
pub struct Request {
    /// Which image, and on whose word.
    pub image: Wanted,
    /// What is written, and where.
    pub output: Output,
    /// The extension's name.
    pub name: String,
    /// What becomes of it on the way.
    pub extension: Extension,
    /// Where listings of the base's layers are kept; none: nowhere.
    pub cache: Option<PathBuf>,
    /// Where copies of the base are looked for; none: nowhere.
    pub copies: Option<Places>,
    /// How much is accepted from outside.
    pub limits: Limits,
}

/// What becomes of layers on the way to an extension.
#[derive(Debug)]
pub struct Extension {
    /// Which layers it is made of (R28).
    pub layers: Choice,
    /// `ID` of the hosts, if it is not the base's.
    pub id: Option<String>,
    /// `VERSION_ID` of the hosts, if it is not the base's.
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL` of the hosts, if it is not the base's.
    pub sysext_level: Option<String>,
    /// Whether any host may merge it.
    pub any_host: bool,
    /// Whether caches that shadow the host's stay (R19).
    pub keep_caches: bool,
    /// What becomes of paths that the layer deletes (row 59a).
    pub whiteouts: Whiteouts,
    /// The latest time that a file may have, in seconds since 1970.
    pub latest: Option<i64>,
    /// What the extension is refused for.
    pub deny: Deny,
    /// Whether what it hides of the base is compared with it, and the whole base is read for that.
    pub audit_base: bool,
    /// What is added so that the extension works on the host.
    pub repairs: Repairs,
    /// Units to start though the layer does not enable them (R22).
    pub enable: Vec<String>,
    /// Units not to start though the layer enables them (R22).
    pub no_enable: Vec<String>,
    /// Where the labels come from.
    pub labels: Labels,
    /// What looks them up.
    #[cfg(feature = "libselinux")]
    pub engine: crate::cli::EngineArg,
}

/// Where the labels of files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// The policy inside the image (R30).
    Image,
    /// The policy of this host.
    Host,
    /// The policy in a directory.
    Directory(PathBuf),
    /// Nowhere: files are not labelled.
    None,
}

/// What is written, and where.
#[derive(Debug)]
pub struct Output {
    /// The image.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Whether an image that is there may be replaced.
    pub force: bool,
    /// What to do where another run writes into the same directory.
    pub if_locked: IfLocked,
    /// Whether anybody reads the digest of the image, which takes long of a large one.
    pub digest: bool,
}

/// The format of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One file with everything.
    Erofs(erofs::Options),
    /// A file with the metadata, and a store with the contents.
    Composefs {
        /// The store.
        objects: PathBuf,
    },
}

impl Format {
    /// What the names of such images end in.
    pub fn suffix(&self) -> &'static str {
        match self {
            Self::Erofs(_) => ".raw",
            Self::Composefs { .. } => ".cfs",
        }
    }

    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Erofs(_) => "erofs",
            Self::Composefs { .. } => "composefs",
        }
    }
}

impl Request {
    /// Finds the meaning of a command line.
    pub fn from_args(args: &ConvertArgs) -> crate::error::Result<Self> {
        let text = args.reference.as_deref().unwrap_or_default();
        let reference: Reference = text.parse()?;
        let format = format(args)?;
        let (path, name) = output(args, &reference, &format)?;
        let limits = Limits::with(&args.limit);
        let mut image =
            Wanted::new(reference, Some(name.clone()), &args.trust, &args.source, &limits)?;
        if args.insecure_skip_signature {
            image.trust = Trust::Nobody;
        }
        Ok(Self {
            image,
            extension: extension(args)?,
            output: Output {
                path,
                format,
                force: args.force,
                if_locked: if args.no_wait { IfLocked::Fail } else { IfLocked::Wait },
                digest: args.json || args.report.is_some(),
            },
            name,
            cache: cache(args),
            copies: copies(args),
            limits,
        })
    }
}

/// The directory of the cache: the one that is named, else this user's own.
fn cache(args: &ConvertArgs) -> Option<PathBuf> {
    let of_user = || Locations::of_user().cache;
    (!args.no_cache).then(|| args.cache_dir.clone().or_else(of_user)).flatten()
}

/// Where copies of the base are: what is named takes the place of what the system names.
fn copies(args: &ConvertArgs) -> Option<Places> {
    if args.no_local_base {
        return None;
    }
    let locations = Locations::of_user();
    let or = |named: &[PathBuf], of_system: &dyn Fn() -> Vec<PathBuf>| {
        if named.is_empty() { of_system() } else { named.to_owned() }
    };
    Some(Places {
        storages: or(&args.containers_storage, &|| storages(&locations.storages)),
        repositories: or(&args.ostree_repo, &|| locations.repositories.clone()),
    })
}

fn extension(args: &ConvertArgs) -> crate::error::Result<Extension> {
    let asks_for_units = !args.enable.is_empty() || !args.no_enable.is_empty();
    if asks_for_units && !args.repairs.has(Repair::Units) {
        return Err(Error::new(
            format!(
                "found --enable or --no-enable with --repairs {}, expected units among the repairs",
                args.repairs
            ),
            "add units to --repairs, or leave --enable and --no-enable away",
        )
        .into());
    }
    Ok(Extension {
        layers: match &args.base {
            Some(base) => Choice::Base(base.parse()?),
            None => args.layers.clone().unwrap_or_default(),
        },
        latest: latest(args, std::env::var_os(SOURCE_DATE_EPOCH).as_deref())?,
        id: args.id.clone(),
        version_id: args.version_id.clone(),
        sysext_level: args.sysext_level.clone(),
        any_host: args.any_host,
        keep_caches: args.keep_caches,
        whiteouts: match args.whiteouts {
            _ if args.deny.contains(&DenyArg::Whiteout) => Whiteouts::Refuse,
            WhiteoutsArg::Drop => Whiteouts::Drop,
            WhiteoutsArg::Keep => Whiteouts::Keep,
            WhiteoutsArg::Refuse => Whiteouts::Refuse,
        },
        deny: Deny {
            setuid: args.deny.contains(&DenyArg::Setuid),
            capabilities: args.deny.contains(&DenyArg::Caps),
            shadow: args.deny.contains(&DenyArg::Shadow),
        },
        audit_base: args.audit_base,
        repairs: args.repairs.clone(),
        enable: args.enable.clone(),
        no_enable: args.no_enable.clone(),
        labels: match &*args.selinux {
            "image" => Labels::Image,
            "host" => Labels::Host,
            "none" => Labels::None,
            directory => Labels::Directory(directory.into()),
        },
        #[cfg(feature = "libselinux")]
        engine: args.selinux_engine,
    })
}

/// `--mtime`, else what the environment says (reproducible-builds.org).
fn latest(args: &ConvertArgs, of_environment: Option<&OsStr>) -> Result<Option<i64>, Error> {
    if args.mtime.is_some() {
        return Ok(args.mtime);
    }
    let Some(text) = of_environment else { return Ok(None) };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(Error::new(
            format!(
                "found {SOURCE_DATE_EPOCH}={:?}, expected a number of seconds since 1970",
                text.display()
            ),
            "unset it, or set it to the output of \"date +%s\"",
        )),
    }
}

fn format(args: &ConvertArgs) -> Result<Format, Error> {
    let of_erofs = [
        ("--compress", args.compress.is_some()),
        ("--cluster-size", args.cluster_size.is_some()),
        ("--min-kernel", args.min_kernel.is_some()),
        ("--self-check", args.self_check != SelfCheckArg::Structure),
    ];
    let of_erofs = of_erofs.into_iter().find_map(|(name, given)| given.then_some(name));
    match (args.format, &args.objects, of_erofs) {
        (FormatArg::Erofs, Some(_), _) => Err(Error::new(
            "found --objects with --format erofs, expected it with --format composefs only",
            "add --format composefs, or leave --objects away",
        )),
        (FormatArg::Erofs, None, _) => Ok(Format::Erofs(erofs_options(args)?)),
        (FormatArg::Composefs, None, _) => Err(Error::new(
            "found --format composefs without --objects, expected both",
            "say where the files' contents are to be kept: --objects DIR",
        )),
        (FormatArg::Composefs, Some(_), Some(name)) => Err(Error::new(
            format!("found {name} with --format composefs, expected one of them"),
            format!("leave {name} away: composefs images are neither compressed nor EROFS of ours"),
        )),
        (FormatArg::Composefs, Some(objects), None) => {
            Ok(Format::Composefs { objects: objects.clone() })
        }
    }
}

fn erofs_options(args: &ConvertArgs) -> Result<erofs::Options, Error> {
    fn parsed<T: FromStr<Err = String>>(
        name: &str,
        text: Option<&String>,
    ) -> Result<Option<T>, Error> {
        let refused =
            |problem| Error::new(format!("{name}: {problem}"), "see --help for what it takes");
        text.map(|text| text.parse().map_err(refused)).transpose()
    }
    let defaults = erofs::Options::default();
    let threads = args.threads.and_then(|n| NonZeroUsize::new(n.into()));
    let compression = parsed("--compress", args.compress.as_ref())?.unwrap_or(defaults.compression);
    let options = erofs::Options {
        compression,
        cluster_size: parsed("--cluster-size", args.cluster_size.as_ref())?,
        min_kernel: parsed("--min-kernel", args.min_kernel.as_ref())?
            .unwrap_or(defaults.min_kernel.max(compression.oldest())),
        self_check: match args.self_check {
            SelfCheckArg::Structure => SelfCheck::Structure,
            SelfCheckArg::Full => SelfCheck::Full,
        },
        threads: threads.unwrap_or(defaults.threads),
    };
    match options.problem() {
        None => Ok(options),
        Some(problem) => Err(Error::new(
            problem,
            "give the oldest kernel that is to read the image with --min-kernel, and ask for \
             nothing that it cannot read",
        )),
    }
}

/// The image's path and the extension's name.
fn output(
    args: &ConvertArgs,
    reference: &Reference,
    format: &Format,
) -> Result<(PathBuf, String), Error> {
    let is_directory = |path: &Path| path.as_os_str().as_bytes().ends_with(b"/");
    let file = args.output.as_deref().filter(|path| !is_directory(path));
    let name = match (&args.name, file) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => stem(file)?,
        (None, None) => visible(name_of(reference))?,
    };
    let path = match (file, &args.output) {
        (Some(file), _) => file.to_owned(),
        (None, directory) => {
            let file = format!("{name}{}", format.suffix());
            if file.contains('/') {
                return Err(Error::new(
                    format!("found the name {name:?}, expected one without \"/\""),
                    "give the extension another name with --name",
                ));
            }
            directory.as_deref().unwrap_or(Path::new("")).join(file)
        }
    };
    if matches!(format, Format::Composefs { .. }) && path.as_os_str().as_bytes().ends_with(b".raw")
    {
        return Err(Error::new(
            format!(
                "found {} for a composefs image, expected a name like NAME.cfs",
                path.display()
            ),
            "systemd would take a .raw for a whole image, and one bad image stops every \
             extension of a host: choose another name with -o",
        ));
    }
    Ok((path, name))
}

/// The name of the extension that a file is for: its own without the suffix (R1).
fn stem(file: &Path) -> Result<String, Error> {
    let name = file.file_name().and_then(OsStr::to_str).ok_or_else(|| {
        Error::new(
            format!("found {}, expected a file name in UTF-8", file.display()),
            "choose another name with -o",
        )
    })?;
    let stem = [".sysext.raw", ".raw", ".cfs"].iter().find_map(|suffix| name.strip_suffix(suffix));
    Ok(stem.unwrap_or(name).to_owned())
}

/// The extension's name where the user gave none.
fn name_of(reference: &Reference) -> String {
    match reference {
        Reference::Registry { repository, tag, .. } => {
            let last = repository.path.rsplit('/').next();
            let tag = tag.as_deref().and_then(extension_in_tag);
            tag.or(last).unwrap_or_default().to_owned()
        }
        Reference::Layout { path, name } | Reference::Archive { path, name } => match name {
            Some(ImageName::Name(name)) => name_in_ref(name).to_owned(),
            _ => name_in_path(path),
        },
        Reference::Dir { path } => name_in_path(path),
    }
}

/// A name that systemd looks at: it skips hidden files.
fn visible(name: String) -> Result<String, Error> {
    if name.is_empty() || name.starts_with('.') {
        return Err(Error::new(
            format!(
                "found \"{}\" for the extension's name, expected one that does not start with \".\"",
                Escaped(name.as_bytes())
            ),
            "name the extension with --name, or with -o NAME.raw",
        ));
    }
    Ok(name)
}

/// The extension in a layout's ref name, which may be a tag or a whole reference.
fn name_in_ref(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    let (repository, tag) = last.split_once(':').unwrap_or((last, last));
    extension_in_tag(tag).unwrap_or(repository)
}

/// A hidden directory (`.tmpX`) gives a name that systemd looks at all the same.
fn name_in_path(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.trim_start_matches('.').to_owned()
}

/// A command line that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    problem: String,
    advice: String,
}

impl Error {
    /// `problem` says what was found and what was expected, `advice` what to do.
    pub fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { problem: problem.into(), advice: advice.into() }
    }
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn id(&self) -> &'static str {
        "usage"
    }

    fn advice(&self) -> String {
        self.advice.clone()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn request(args: &str) -> crate::error::Result<Request> {
        let words = std::iter::once("oci2sysext").chain(args.split(' '));
        Request::from_args(&Cli::try_parse_from(words).unwrap().convert)
    }

    fn path_and_name(args: &str) -> (String, String) {
        let request = request(args).unwrap();
        (request.output.path.display().to_string(), request.name)
    }

    #[test]
    fn the_name_comes_from_the_tag_after_its_release() {
        for (args, path, name) in [
            ("quay.io/travier/fedora-kinoite/sysexts:41.iwd", "iwd.raw", "iwd"),
            ("quay.io/t/sysexts:latest", "sysexts.raw", "sysexts"),
            ("quay.io/t/sysexts:41.1.2", "sysexts.raw", "sysexts"),
            ("oci:/a/layout:quay.io/t/sysexts:43.mc", "mc.raw", "mc"),
            ("oci:/a/layout:sysext", "sysext.raw", "sysext"),
            ("oci:/a/layout", "layout.raw", "layout"),
            ("dir:/a/copy", "copy.raw", "copy"),
            ("oci:/tmp/.tmpX", "tmpX.raw", "tmpX"),
            ("-o /x/y-1.raw quay.io/t/s:41.iwd", "/x/y-1.raw", "y-1"),
            ("-o /x/y.raw --name z quay.io/t/s:41.iwd", "/x/y.raw", "z"),
            ("-o /x/ quay.io/t/s:41.iwd", "/x/iwd.raw", "iwd"),
            ("--format composefs --objects o quay.io/t/s:41.iwd", "iwd.cfs", "iwd"),
        ] {
            assert_eq!(path_and_name(args), (path.to_owned(), name.to_owned()), "{args}");
        }
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for args in [
            "--format composefs quay.io/t/s:41.iwd",
            "--objects o quay.io/t/s:41.iwd",
            "--format composefs --objects o -o x.raw quay.io/t/s:41.iwd",
            "--format composefs --objects o --compress lz4 quay.io/t/s:41.iwd",
            "--compress zip quay.io/t/s:41.iwd",
            "--format composefs --objects o --min-kernel 6.1 quay.io/t/s:41.iwd",
            "--min-kernel 5.3 quay.io/t/s:41.iwd",
            "--min-kernel 6.9 --compress zstd quay.io/t/s:41.iwd",
            "--min-kernel 5.10 --cluster-size 64K quay.io/t/s:41.iwd",
            "--cluster-size 48K quay.io/t/s:41.iwd",
            "iwd",
            "travier/iwd:41",
            "dir:..",
        ] {
            assert_eq!(request(args).unwrap_err().fault().exit_code(), ExitCode::Usage, "{args}");
        }
    }

    #[test]
    fn the_option_goes_before_the_environment() {
        let args = |text: &str| {
            let words = text.split(' ').map(String::from);
            let words = std::iter::once("oci2sysext".to_owned()).chain(words);
            Cli::try_parse_from(words).unwrap().convert
        };
        let (with, without) = (args("--mtime 7 quay.io/t/s:1"), args("quay.io/t/s:1"));
        let of = |args, text: Option<&str>| latest(args, text.map(OsStr::new)).ok();
        assert_eq!(of(&with, Some("9")), Some(Some(7)));
        assert_eq!(of(&without, Some("9")), Some(Some(9)));
        assert_eq!(of(&without, None), Some(None));
        assert_eq!(of(&without, Some("today")), None);
    }
}
