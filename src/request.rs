//! What the user means: the command line's words, checked against each other, with the defaults
//! filled in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cli::{
    ConvertArgs, DenyArg, FormatArg, SourceArgs, TrustArgs, VerifyArgs, WhiteoutsArg,
};
use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::image::erofs::{self, Compression};
use crate::limits::Limits;
use crate::oci::name::extension_in_tag;
use crate::oci::{ImageName, Platform, Reference, RegistryOptions, RetryPolicy, SourceOptions};
use crate::publish::IfLocked;
use crate::sysext::{Repair, Repairs, Whiteouts};
use crate::trust::{SignerOptions, Words};
use crate::verify::{Demands, SignedIdentity};

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
    /// How much is accepted from outside.
    pub limits: Limits,
    /// How many threads compress.
    pub threads: NonZeroUsize,
}

/// An image, and on whose word it is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// Which image.
    pub reference: Reference,
    /// For which machines, if the user said so.
    pub platform: Option<Platform>,
    /// How the image is fetched.
    pub source: SourceOptions,
    /// `--registries-conf`: the places to fetch it from.
    pub registries_conf: Option<PathBuf>,
    /// Whose word counts.
    pub trust: Trust,
    /// What is demanded besides a signature.
    pub checks: Checks,
}

/// Whose word counts.
#[derive(Debug)]
pub enum Trust {
    /// That of whom these words name, or of the configured ones if they name nobody.
    Signature(Box<Words>),
    /// Nobody's (`--insecure-skip-signature`).
    Nobody,
}

/// What is demanded of an image besides a signature (verification.md §1.6).
#[derive(Debug)]
pub struct Checks {
    /// The extension's name, which the image must not contradict; none: it is not compared.
    pub name: Option<String>,
    /// `--rename`
    pub rename: bool,
    /// `--require-name`
    pub require_name: bool,
    /// `--deny-digests`
    pub revoked: Vec<PathBuf>,
    /// `--allow-downgrade`
    pub allow_downgrade: bool,
    /// `--state-dir`
    pub state: Option<PathBuf>,
}

/// What becomes of a layer on the way to an extension.
#[derive(Debug)]
pub struct Extension {
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
    /// Whether a layer with set-uid files and the like is refused (row 61).
    pub deny_setuid: bool,
    /// What is added so that the extension works on the host.
    pub repairs: Repairs,
    /// Units to start though the layer does not enable them (R22).
    pub enable: Vec<String>,
    /// Units not to start though the layer enables them (R22).
    pub no_enable: Vec<String>,
    /// Where the labels come from.
    pub labels: Labels,
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
}

/// The format of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One file with everything.
    Erofs(Compression),
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
        let threads = match args.threads.and_then(|n| NonZeroUsize::new(n.into())) {
            Some(threads) => threads,
            None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        };
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
            },
            name,
            limits,
            threads,
        })
    }
}

impl Wanted {
    /// Finds the meaning of a verification's words.
    pub fn from_args(args: &VerifyArgs) -> crate::error::Result<Self> {
        let reference: Reference = args.reference.parse()?;
        let limits = Limits::with(&args.limit);
        // Where a copy lies says nothing of what it is called.
        let of_reference = match reference {
            Reference::Registry { .. } => Some(name_of(&reference)),
            _ => None,
        };
        let name = args.name.clone().or(of_reference);
        Self::new(reference, name, &args.trust, &args.source, &limits)
    }

    fn new(
        reference: Reference,
        name: Option<String>,
        trust: &TrustArgs,
        source: &SourceArgs,
        limits: &Limits,
    ) -> crate::error::Result<Self> {
        let registry = RegistryOptions {
            authfile: source.authfile.clone(),
            cert_dir: source.cert_dir.clone(),
            tls_verify: source.tls_verify,
            retry: RetryPolicy {
                budget: Duration::from_secs(limits.retry_seconds),
                ..RetryPolicy::default()
            },
            limits: limits.clone(),
            ..RegistryOptions::default()
        };
        let words = Words {
            demands: demands(&reference, name.clone(), trust)?,
            signer: SignerOptions::from_args(&trust.signer)?,
            keys: trust.key.clone(),
            policy: trust.policy.clone(),
            registries_d: trust.registries_d.clone(),
            identity: signed_identity(trust)?,
        };
        Ok(Self {
            reference,
            platform: source.platform.as_deref().map(str::parse).transpose()?,
            source: SourceOptions { limits: limits.clone(), registry, ..SourceOptions::default() },
            registries_conf: source.registries_conf.clone(),
            trust: Trust::Signature(Box::new(words)),
            checks: Checks {
                name,
                rename: trust.rename,
                require_name: trust.require_name,
                revoked: trust.deny_digests.clone(),
                allow_downgrade: trust.allow_downgrade,
                state: trust.state_dir.clone(),
            },
        })
    }
}

fn signed_identity(args: &TrustArgs) -> Result<SignedIdentity, Error> {
    let Some(text) = &args.signed_identity else { return Ok(SignedIdentity::Asked) };
    text.parse().map_err(|problem| {
        Error::new(
            format!("--signed-identity: {problem}"),
            "give a repository, such as quay.io/travier/sysexts, or \"any\"",
        )
    })
}

/// What a signature must say besides the image; `name` is the extension's.
fn demands(
    reference: &Reference,
    name: Option<String>,
    args: &TrustArgs,
) -> Result<Demands, Error> {
    let mut annotations = BTreeMap::new();
    for (key, value) in &args.annotation {
        if annotations.insert(key.clone(), value.clone()).is_some_and(|other| other != *value) {
            return Err(Error::new(
                format!("--annotation: found {key:?} with two values, expected one"),
                "a signature says each thing once: leave one of them away",
            ));
        }
    }
    Ok(Demands {
        annotations,
        earliest: args.max_age.map(|max_age| earliest(max_age, Timestamp::now())),
        extension: name.filter(|_| !args.rename),
        tag: reference.followed().map(|(_, tag)| tag.to_owned()),
    })
}

/// When a signature may have been made at the earliest, if none may be older than `max_age`.
fn earliest(max_age: Duration, now: Timestamp) -> Timestamp {
    let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
    now.checked_sub(max_age).unwrap_or(Timestamp::MIN)
}

fn extension(args: &ConvertArgs) -> Result<Extension, Error> {
    let asks_for_units = !args.enable.is_empty() || !args.no_enable.is_empty();
    if asks_for_units && !args.repairs.has(Repair::Units) {
        return Err(Error::new(
            format!(
                "found --enable or --no-enable with --repairs {}, expected units among the repairs",
                args.repairs
            ),
            "add units to --repairs, or leave --enable and --no-enable away",
        ));
    }
    Ok(Extension {
        id: args.id.clone(),
        version_id: args.version_id.clone(),
        sysext_level: args.sysext_level.clone(),
        any_host: args.any_host,
        keep_caches: args.keep_caches,
        whiteouts: match args.whiteouts {
            WhiteoutsArg::Drop => Whiteouts::Drop,
            WhiteoutsArg::Keep => Whiteouts::Keep,
            WhiteoutsArg::Refuse => Whiteouts::Refuse,
        },
        deny_setuid: args.deny.contains(&DenyArg::Setuid),
        repairs: args.repairs.clone(),
        enable: args.enable.clone(),
        no_enable: args.no_enable.clone(),
        labels: match &*args.selinux {
            "image" => Labels::Image,
            "host" => Labels::Host,
            "none" => Labels::None,
            directory => Labels::Directory(directory.into()),
        },
    })
}

fn format(args: &ConvertArgs) -> Result<Format, Error> {
    match (args.format, &args.objects, &args.compress) {
        (FormatArg::Erofs, Some(_), _) => Err(Error::new(
            "found --objects with --format erofs, expected it with --format composefs only",
            "add --format composefs, or leave --objects away",
        )),
        (FormatArg::Erofs, None, compress) => Ok(Format::Erofs(match compress {
            None => erofs::Options::default().compression,
            Some(text) => text.parse().map_err(|problem: String| {
                Error::new(format!("--compress: {problem}"), "see --help for the codecs")
            })?,
        })),
        (FormatArg::Composefs, None, _) => Err(Error::new(
            "found --format composefs without --objects, expected both",
            "say where the files' contents are to be kept: --objects DIR",
        )),
        (FormatArg::Composefs, Some(_), Some(_)) => Err(Error::new(
            "found --compress with --format composefs, expected one of them",
            "leave --compress away: composefs images are not compressed",
        )),
        (FormatArg::Composefs, Some(objects), None) => {
            Ok(Format::Composefs { objects: objects.clone() })
        }
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
            "iwd",
            "travier/iwd:41",
            "dir:..",
        ] {
            assert_eq!(request(args).unwrap_err().fault().exit_code(), ExitCode::Usage, "{args}");
        }
    }
}
