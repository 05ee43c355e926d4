//! The command line's words, and nothing that they mean; [`crate::request`] gives them meaning.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::boundary::Choice;
use crate::limits::LimitArg;
use crate::sysext::Repairs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done                             7  malformed or hostile content
  2  usage                            8  refused by an audit rule
  3  configuration or trust           9  a limit was exceeded
  4  no acceptable signature         10  network or registry
  5  another name, platform or age   11  authentication
  6  digest or size mismatch         12  local input or output
                                     13  another run holds the lock
  128+n  ended by signal n

Examples:
  oci2sysext quay.io/travier/fedora-kinoite/sysexts:41.iwd
  oci2sysext --key publisher.pub -o /var/lib/extensions/ registry.example/sysexts:42.htop
  oci2sysext --key publisher.pub oci:./layout:42.htop
  oci2sysext verify --key publisher.pub registry.example/sysexts:42.htop
  oci2sysext explain iwd.raw
  oci2sysext dump iwd.raw";

/// Turn the layer of a signed container image into a systemd system extension.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do instead of converting an image.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The conversion.
    #[command(flatten)]
    pub convert: ConvertArgs,
}

impl Cli {
    /// Whether an error is wanted as JSON; `verify` has it in its report.
    pub fn json(&self) -> bool {
        match &self.command {
            None => self.convert.json,
            Some(Command::Verify(_)) => false,
            Some(Command::Explain(args)) => args.json,
            Some(Command::Dump(args) | Command::Fsck(args)) => args.json,
            Some(Command::VerifyBundle(args)) => args.json,
            Some(Command::Trust(TrustCommand::Update(args))) => args.json,
        }
    }
}

/// What to do instead of converting an image.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check an image's signatures, and convert nothing
    Verify(Box<VerifyArgs>),
    /// Say what merging an extension does on a host: of an image, or of a reference, which is
    /// converted as always, but not published
    Explain(Box<ConvertArgs>),
    /// List what an EROFS image holds, one line a path (composefs-dump(5))
    Dump(ImageArgs),
    /// Read an EROFS image back, and decode and check all that it holds
    Fsck(ImageArgs),
    /// Whom to believe, besides keys
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Verify that a sigstore bundle signs a file (the client of sigstore's conformance tests)
    #[command(hide = true)]
    VerifyBundle(Box<VerifyBundleArgs>),
}

/// What to do about whom to believe.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Fetch the current authorities and logs of sigstore's public instance, or of another one (TUF)
    Update(UpdateArgs),
}

/// The words of an update.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Where to fetch from, as `cosign initialize` has it
    #[arg(long, value_name = "URL", default_value = "https://tuf-repo-cdn.sigstore.dev")]
    pub mirror: String,
    /// The first root of another instance (root.json), which everything is verified from
    #[arg(long, value_name = "FILE", requires = "mirror")]
    pub root: Option<PathBuf>,
    /// The file to write; default: the one that conversions look for
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Report errors as a JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// The image of a subcommand.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The image
    pub image: PathBuf,
    /// Change a limit, such as layer-uncompressed=128G
    #[arg(long, value_name = "NAME=N")]
    pub limit: Vec<LimitArg>,
    /// Report errors as a JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// The words of a verification.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The image: [docker://]HOST/REPOSITORY[:TAG][@DIGEST], oci:PATH[:REF],
    /// oci-archive:PATH[:REF] or dir:PATH
    pub reference: String,
    /// Whose word counts.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Where the image comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The extension's name, which the image must not contradict; default: as in a conversion
    #[arg(long)]
    pub name: Option<String>,
    /// Write the digest that is signed to a file, or to standard output ("-")
    #[arg(long, value_name = "FILE", visible_alias = "digestfile")]
    pub output_manifest_digest: Option<PathBuf>,
    /// Change a limit, such as signatures=10
    #[arg(long, value_name = "NAME=N")]
    pub limit: Vec<LimitArg>,
    /// Print what was found as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Say more; twice: what is fetched
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// Whose word counts, and for what.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The publisher's public key (PEM); any of several may have signed
    #[arg(long, help_heading = "Trust", value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Who else may have signed, and what must be in a log.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// What is required of which images (containers-policy.json(5)), instead of the system's
    #[arg(long, help_heading = "Trust", value_name = "FILE", conflicts_with_all = ["key", "signed_identity", "SignerArgs"])]
    pub policy: Option<PathBuf>,
    /// Where a policy's signatures are (containers-registries.d(5)), instead of the system's
    #[arg(long = "registries.d", help_heading = "Trust", value_name = "DIR")]
    pub registries_d: Option<PathBuf>,
    /// The repository that must have been signed, or "any"; default: the one asked for
    #[arg(long, help_heading = "Trust", value_name = "any|REPOSITORY")]
    pub signed_identity: Option<String>,
    /// What the signature must say, too
    #[arg(short, long, help_heading = "Trust", value_name = "KEY=VALUE", value_parser = key_value)]
    pub annotation: Vec<(String, String)>,
    /// Refuse images and layers whose digests are in this list
    #[arg(long, help_heading = "Trust", value_name = "FILE", visible_alias = "deny-digest-file")]
    pub deny_digests: Vec<PathBuf>,
    /// Refuse an image that was signed longer ago, or that does not say when: 30d, 12h
    #[arg(long, help_heading = "Trust", value_name = "TIME", value_parser = duration)]
    pub max_age: Option<std::time::Duration>,
    /// Accept an image that is older than the last one under its tag
    #[arg(long, help_heading = "Trust")]
    pub allow_downgrade: bool,
    /// Where the last image of each tag is remembered; default: root's /var/lib/oci2sysext/state,
    /// anybody else's ~/.local/state/oci2sysext
    #[arg(long, help_heading = "Trust", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Refuse an image that does not carry the extension's name; verify looks at no layer for it
    #[arg(long, help_heading = "Trust", conflicts_with = "rename")]
    pub require_name: bool,
    /// Accept an image that carries another name than the extension's
    #[arg(long, help_heading = "Trust")]
    pub rename: bool,
}

/// Where an image comes from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The image to take from a multi-architecture one; default: this host's
    #[arg(long, help_heading = "Source", value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// Credentials for registries (containers-auth.json(5))
    #[arg(long, help_heading = "Source", value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// CA certificates (*.crt) and client certificates (*.cert, *.key) for the registry
    #[arg(long, help_heading = "Source", value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Whether the registry must prove who it is; false also allows plain HTTP
    #[arg(long, help_heading = "Source", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub tls_verify: bool,
    /// Mirrors and blocked registries (containers-registries.conf(5)), instead of the system's
    #[arg(long, help_heading = "Source", value_name = "FILE")]
    pub registries_conf: Option<PathBuf>,
}

/// `KEY=VALUE`
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A number of seconds, minutes, hours, days or weeks.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let expected = || "expected a time such as 90m, 12h, 30d or 2w".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(end);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit).map(std::time::Duration::from_secs).ok_or_else(expected)
}

/// The words that say who must have signed, besides keys; as cosign has them.
#[derive(Debug, Default, Args)]
#[group(multiple = true)]
pub struct SignerArgs {
    /// Whose certificate the signature must be by, instead of a key: an e-mail address, a URI or a
    /// user name
    #[arg(long, value_name = "TEXT", conflicts_with = "key", help_heading = "Trust")]
    pub certificate_identity: Option<String>,
    /// The same as a regular expression that the whole must match
    #[arg(long, value_name = "REGEXP", help_heading = "Trust")]
    #[arg(conflicts_with_all = ["key", "certificate_identity"])]
    pub certificate_identity_regexp: Option<String>,
    /// Which provider must have vouched for that identity
    #[arg(long, value_name = "URL", conflicts_with = "key", help_heading = "Trust")]
    pub certificate_oidc_issuer: Option<String>,
    /// The same as a regular expression that the whole must match
    #[arg(long, value_name = "REGEXP", help_heading = "Trust")]
    #[arg(conflicts_with_all = ["key", "certificate_oidc_issuer"])]
    pub certificate_oidc_issuer_regexp: Option<String>,
    /// The authorities and logs of another sigstore instance (`trusted_root.json`)
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    #[arg(conflicts_with_all = ["rekor_key", "ca_roots"])]
    pub trusted_root: Option<PathBuf>,
    /// The certificates of your own authorities (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "key", help_heading = "Trust")]
    pub ca_roots: Option<PathBuf>,
    /// Certificates between those and the signers' (PEM)
    #[arg(long, value_name = "FILE", requires = "ca_roots", help_heading = "Trust")]
    pub ca_intermediates: Option<PathBuf>,
    /// The certificates of your own timestamp authority (PEM), its own first, the root last
    #[arg(long, value_name = "FILE", requires = "ca_roots", help_heading = "Trust")]
    pub timestamp_certificate_chain: Option<PathBuf>,
    /// The key of a transparency log of Rekor's version 1 (PEM); one of several must have the
    /// signature. A log of version 2 needs --trusted-root
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    pub rekor_key: Vec<PathBuf>,
}

/// A bundle and what it must sign.
#[derive(Debug, Args)]
pub struct VerifyBundleArgs {
    /// The sigstore bundle
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// The signer's public key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Who else may have signed.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// The file, or its digest (sha256:…)
    #[arg(value_name = "FILE_OR_DIGEST")]
    pub artifact: String,
    /// Report errors as a JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// The words of a conversion.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct ConvertArgs {
    /// The image: [docker://]HOST/REPOSITORY[:TAG][@DIGEST], oci:PATH[:REF],
    /// oci-archive:PATH[:REF] or dir:PATH
    #[arg(required = true, value_name = "REFERENCE")]
    pub reference: Option<String>,

    /// Whose word counts.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Convert an image that nobody vouches for
    #[arg(long, help_heading = "Trust", conflicts_with_all = [
        "key", "signed_identity", "SignerArgs", "policy", "annotation", "max_age", "require_name",
    ])]
    pub insecure_skip_signature: bool,
    /// Where the image comes from.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Where it is kept what was found in the layers of base images; default: root's
    /// /var/cache/oci2sysext, anybody else's ~/.cache/oci2sysext
    #[arg(long, help_heading = "Source", value_name = "DIR", conflicts_with = "no_cache")]
    pub cache_dir: Option<PathBuf>,
    /// Keep nothing, and read base images anew
    #[arg(long, help_heading = "Source")]
    pub no_cache: bool,

    /// Where podman and its kin keep layers: those of the base that are there need not be fetched;
    /// default: this user's storage
    #[arg(long, help_heading = "Source", value_name = "DIR", conflicts_with = "no_local_base")]
    pub containers_storage: Vec<PathBuf>,
    /// An ostree repository, which may have the base's commit; default: this host's
    #[arg(long, help_heading = "Source", value_name = "DIR", conflicts_with = "no_local_base")]
    pub ostree_repo: Vec<PathBuf>,
    /// Look for the base's layers nowhere on this host
    #[arg(long, help_heading = "Source")]
    pub no_local_base: bool,

    /// The image to write, or a directory ending in "/"; default: ./NAME.raw
    #[arg(short, long, value_name = "FILE|DIR/", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Replace an image that exists
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Fail instead of waiting for another run that writes into the same directory
    #[arg(long, help_heading = "Output")]
    pub no_wait: bool,
    /// The extension's name; default: the stem of -o FILE, else the tag after its release
    #[arg(long, help_heading = "Output")]
    pub name: Option<String>,
    /// The image's format
    #[arg(long, value_enum, default_value_t = FormatArg::Erofs, help_heading = "Output")]
    pub format: FormatArg,
    /// Where composefs keeps the files' contents: what mount.composefs takes as basedir=
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub objects: Option<PathBuf>,
    /// How EROFS data are compressed: none, lz4, lz4hc[:1-12], zstd[:1-19]; a kernel may be built
    /// without zstd
    #[arg(long, value_name = "CODEC", help_heading = "Output")]
    pub compress: Option<String>,
    /// The size of compressed clusters, 4K to 1M: larger is smaller, smaller is faster to read at
    /// random
    #[arg(long, value_name = "SIZE", help_heading = "Output")]
    pub cluster_size: Option<String>,
    /// The oldest Linux that is to read the EROFS image, from 5.4 on; decides which features of the
    /// format it may have [default: 6.1, with zstd 6.10]
    #[arg(long, value_name = "VERSION", help_heading = "Output")]
    pub min_kernel: Option<String>,
    /// No file gets a later time, in seconds since 1970; default: `SOURCE_DATE_EPOCH`, if it is set
    #[arg(long, value_name = "SECONDS", help_heading = "Output")]
    pub mtime: Option<i64>,
    /// How much of an EROFS image is read back before it is published
    #[arg(long, value_enum, default_value_t = SelfCheckArg::Structure, help_heading = "Output")]
    pub self_check: SelfCheckArg,

    /// Which layers are the extension's: the last one; those that the image says were added to its
    /// base (by the label ostree.final-diffid, or by annotations that name the base); or the N
    /// topmost. Default: as the image says, else the last one
    #[arg(long, value_name = "last|derived|N", help_heading = "Extension")]
    pub layers: Option<Choice>,
    /// The image that the extension was added to: the layers above its are the extension's. Only
    /// its manifest and configuration are read
    #[arg(long, value_name = "REFERENCE", help_heading = "Extension", conflicts_with = "layers")]
    pub base: Option<String>,
    /// Which hosts: ID; default: the base image's
    #[arg(long, conflicts_with = "any_host", help_heading = "Extension")]
    pub id: Option<String>,
    /// Which hosts: `VERSION_ID`; default: the base image's
    #[arg(long, conflicts_with = "any_host", help_heading = "Extension")]
    pub version_id: Option<String>,
    /// Which hosts: `SYSEXT_LEVEL`, instead of `VERSION_ID`
    #[arg(long, conflicts_with = "any_host", help_heading = "Extension")]
    pub sysext_level: Option<String>,
    /// Let any host merge the extension, whatever its version
    #[arg(long, help_heading = "Extension")]
    pub any_host: bool,
    /// Where the SELinux policy for the labels comes from
    #[arg(long, value_name = "image|host|DIR|none", default_value = "image")]
    #[arg(help_heading = "Extension")]
    pub selinux: String,
    /// What looks labels up in the policy: this program, or this host's libselinux
    #[cfg(feature = "libselinux")]
    #[arg(long, value_enum, default_value_t = EngineArg::Own, help_heading = "Extension")]
    pub selinux_engine: EngineArg,
    /// What becomes of paths that the layer deletes from its base
    #[arg(long, value_enum, default_value_t = WhiteoutsArg::Drop, help_heading = "Extension")]
    pub whiteouts: WhiteoutsArg,
    /// Refuse an extension that has such files, or hides or deletes such
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        value_delimiter = ',',
        help_heading = "Extension"
    )]
    pub deny: Vec<DenyArg>,
    /// Read the whole base, and report every file of it that the extension hides, and whether it
    /// is the same
    #[arg(long, help_heading = "Extension")]
    pub audit_base: bool,
    /// Keep caches that shadow the host's (icon cache, schemas, modules.dep …)
    #[arg(long, help_heading = "Extension")]
    pub keep_caches: bool,
    /// What is added so that services start, users and files exist and defaults arrive on the
    /// host: all, none, or some of units,alternatives,users,state,etc and, which are not in all,
    /// caches,selinux
    #[arg(long, value_name = "LIST", default_value = "all", help_heading = "Extension")]
    pub repairs: Repairs,
    /// Start a unit of the extension on the host, though the layer does not enable it
    #[arg(long, value_name = "UNIT", help_heading = "Extension")]
    pub enable: Vec<String>,
    /// Do not start a unit on the host, though the layer enables it
    #[arg(long, value_name = "UNIT", help_heading = "Extension")]
    pub no_enable: Vec<String>,

    /// Compression threads; default: one for each processor, at most 16
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Change a limit, such as layer-size=32G
    #[arg(long, value_name = "NAME=N")]
    pub limit: Vec<LimitArg>,
    /// Print the report (or the error) as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Write the report to a file as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Say more: every changed path; twice: what is fetched
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// The format of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// One file that systemd merges as it is
    Erofs,
    /// Metadata only; contents are shared between images in --objects
    Composefs,
}

/// What looks labels up.
#[cfg(feature = "libselinux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// As libselinux 3.8 and newer, whatever this host has
    Own,
    /// As this host's libselinux; up to 3.7 it answers some paths otherwise
    Libselinux,
}

/// How much of an image is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SelfCheckArg {
    /// Every inode, extent, attribute and directory
    Structure,
    /// All contents too
    Full,
}

/// What becomes of whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhiteoutsArg {
    /// Leave them out and report them
    Drop,
    /// Make them hide the host's files
    Keep,
    /// Refuse the layer
    Refuse,
}

/// What an extension may be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DenyArg {
    /// Set-user-ID and set-group-ID files and file capabilities
    Setuid,
    /// File capabilities
    Caps,
    /// Files, links and kept whiteouts that hide what the base has; equal files are let through with
    /// --audit-base
    Shadow,
    /// Deletions of paths of the base, as --whiteouts=refuse
    Whiteout,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
