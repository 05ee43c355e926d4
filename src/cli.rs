//! The command line's words, and nothing that they mean; [`crate::request`] gives them meaning.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Whether results and errors are wanted as JSON.
    pub fn json(&self) -> bool {
        match &self.command {
            None => self.convert.json,
            Some(Command::Explain(args)) => args.json,
            Some(Command::Dump(args) | Command::Fsck(args)) => args.json,
        }
    }
}

/// What to do instead of converting an image.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what merging an extension does on a host: of an image, or of a reference, which is
    /// converted as always, but not published
    Explain(Box<ConvertArgs>),
    /// List what an EROFS image holds, one line a path (composefs-dump(5))
    Dump(ImageArgs),
    /// Read an EROFS image back, and decode and check all that it holds
    Fsck(ImageArgs),
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

/// The words of a conversion.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct ConvertArgs {
    /// The image: [docker://]HOST/REPOSITORY[:TAG][@DIGEST], oci:PATH[:REF],
    /// oci-archive:PATH[:REF] or dir:PATH
    #[arg(required = true, value_name = "REFERENCE")]
    pub reference: Option<String>,

    /// The publisher's public key (PEM); any of several may have signed
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    pub key: Vec<PathBuf>,
    /// The repository that must have been signed, or "any"; default: the one asked for
    #[arg(long, value_name = "any|REPOSITORY", help_heading = "Trust")]
    pub signed_identity: Option<String>,
    /// Convert an image that nobody vouches for
    #[arg(long, conflicts_with_all = ["key", "signed_identity"], help_heading = "Trust")]
    pub insecure_skip_signature: bool,

    /// The image to take from a multi-architecture one; default: this host's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Source")]
    pub platform: Option<String>,
    /// Credentials for registries (containers-auth.json(5))
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub authfile: Option<PathBuf>,
    /// CA certificates (*.crt) and client certificates (*.cert, *.key) for the registry
    #[arg(long, value_name = "DIR", help_heading = "Source")]
    pub cert_dir: Option<PathBuf>,
    /// Whether the registry must prove who it is; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Source")]
    pub tls_verify: bool,

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
    /// How EROFS data are compressed: none, lz4, lz4hc[:LEVEL]
    #[arg(long, value_name = "CODEC", help_heading = "Output")]
    pub compress: Option<String>,

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
    /// What becomes of paths that the layer deletes from its base
    #[arg(long, value_enum, default_value_t = WhiteoutsArg::Drop, help_heading = "Extension")]
    pub whiteouts: WhiteoutsArg,
    /// Refuse a layer that has such files
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Extension")]
    pub deny: Vec<DenyArg>,
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

    /// Compression threads; default: one for each processor
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

/// Files that a layer may be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DenyArg {
    /// Set-user-ID and set-group-ID files and file capabilities
    Setuid,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
