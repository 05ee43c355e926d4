//! Why a layer cannot become a system extension.

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::layer::{Flaw, SinkError};

/// Why a layer cannot become a system extension.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing below `usr` (row 64).
    #[error("the layer has no usr: found {found}, expected files below usr/")]
    NoUsr {
        /// What the layer has at its top level.
        found: String,
    },
    /// A top-level path belongs below `usr`, where there is another already (R26).
    #[error(
        "{} ({found}) belongs to {}, which is another {there}, expected a link to it or an equal file",
        Escaped(path),
        Escaped(target)
    )]
    Clash {
        /// The path.
        path: Vec<u8>,
        /// Its type.
        found: &'static str,
        /// Where it belongs.
        target: Vec<u8>,
        /// The type of what is there.
        there: &'static str,
    },
    /// A default is in `etc` and in `usr/etc` (row 68).
    #[error(
        "found both {} ({found}) and {} ({there}), expected one of them",
        Escaped(path),
        Escaped(target)
    )]
    TwoPlaces {
        /// The path in `etc`.
        path: Vec<u8>,
        /// Its type.
        found: &'static str,
        /// The path in `usr/etc`.
        target: Vec<u8>,
        /// The type of what is there.
        there: &'static str,
    },
    /// A path has another type than in the base (R16).
    #[error("{} is a {found}, expected a {base} as in the base image", Escaped(path))]
    TypeConflict {
        /// The path.
        path: Vec<u8>,
        /// Its type in the layer.
        found: &'static str,
        /// Its type in the base.
        base: String,
    },
    /// Something stands where a directory is needed.
    #[error("{} is a {found}, expected a directory", Escaped(path))]
    NotDirectory {
        /// The path.
        path: Vec<u8>,
        /// Its type.
        found: &'static str,
    },
    /// A path is what no extension may have (rows 59, 60, archive rule 10).
    #[error("{}: {flaw}", Escaped(path))]
    Unfit {
        /// The path.
        path: Vec<u8>,
        /// What was found, and what was expected.
        flaw: Flaw,
    },
    /// The layer deletes paths of the base, and the user does not allow that (row 59a).
    #[error("the layer deletes {} from the base, expected no whiteouts", Escaped(path))]
    Whiteout {
        /// The first such path.
        path: Vec<u8>,
    },
    /// The layer deletes a directory that every host has its os-release in (R6).
    #[error(
        "the layer deletes {} from the base, expected usr/lib/os-release kept: no extension would be \
         merged any more",
        Escaped(path)
    )]
    NoRelease {
        /// The directory.
        path: Vec<u8>,
    },
    /// A file gives its user more rights, and the user does not allow that (row 61).
    #[error("{} has {what}, expected none with --deny {deny}", Escaped(path))]
    Privileged {
        /// The path.
        path: Vec<u8>,
        /// What gives the rights.
        what: &'static str,
        /// What the user said.
        deny: &'static str,
    },
    /// A file or link hides one of the base, and the user does not allow that (row 66).
    #[error(
        "{} hides {what} of the base, expected none that does with --deny shadow",
        Escaped(path)
    )]
    Shadow {
        /// The path.
        path: Vec<u8>,
        /// What it hides, in words.
        what: String,
    },
    /// The extension's name is none (R1).
    #[error("{name:?} cannot be an extension's name: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What was found, and what was expected.
        problem: &'static str,
    },
    /// A value that the user gave cannot be in a release file.
    #[error("found {value:?} as {key}, expected {expected}")]
    Option {
        /// The variable.
        key: &'static str,
        /// The value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The layer has a file where one is to be added for the host.
    #[error(
        "{} is in the layer already, expected a free name for what the host needs",
        Escaped(path)
    )]
    Taken {
        /// The path.
        path: Vec<u8>,
    },
    /// Another name of a file of passwords would bring them into the image.
    #[error(
        "{} is a hard link to {}, expected passwords under no other name",
        Escaped(path),
        Escaped(of)
    )]
    Passwords {
        /// The path.
        path: Vec<u8>,
        /// The file of passwords.
        of: Vec<u8>,
    },
    /// A unit that the user named is not the extension's.
    #[error("{option} {unit:?}: {problem}")]
    Unit {
        /// The option.
        option: &'static str,
        /// The unit.
        unit: String,
        /// What was found, and what was expected.
        problem: &'static str,
    },
    /// A value from the image cannot be in a release file.
    #[error("the {source_of} has {key}={value:?}, expected {expected}")]
    Value {
        /// Where it comes from.
        source_of: &'static str,
        /// The variable.
        key: String,
        /// The value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The layer ships a release file for an extension of another name (row 69).
    #[error("the layer ships {}, expected none but extension-release.{expected}", Escaped(path))]
    OtherRelease {
        /// The path.
        path: Vec<u8>,
        /// The extension's name.
        expected: String,
    },
    /// The layer ships a release file for other hosts (row 69).
    #[error("the layer's release file has {key}={found:?}, expected {expected}")]
    ReleaseMismatch {
        /// The variable.
        key: String,
        /// Its value in the layer.
        found: String,
        /// Its value in the base or the image.
        expected: String,
    },
    /// The layer's release file cannot be read (row 69).
    #[error("{}: {problem}", Escaped(path))]
    ReleaseFile {
        /// The path.
        path: Vec<u8>,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The image runs on something that systemd has no name for (R3).
    #[error("found the architecture {architecture:?}, expected one that systemd knows")]
    Architecture {
        /// The architecture, by Go's name.
        architecture: String,
    },
    /// The policy labels a path with something that is no label.
    #[error(
        "the policy labels {} with {}, expected a label without NUL",
        Escaped(path),
        Escaped(label)
    )]
    Label {
        /// The path in the image.
        path: Vec<u8>,
        /// The label.
        label: Vec<u8>,
    },
    /// The policy has no label for a path (R35, row 95).
    #[error("the policy has no label for {}, expected one for every path", Escaped(path))]
    NoLabel {
        /// The path, as it was looked up.
        path: Vec<u8>,
    },
    /// The contents of a file that stays were not read.
    #[error(
        "the contents of {} were dropped while the layer was read, expected them",
        Escaped(path)
    )]
    ContentsDropped {
        /// The path.
        path: Vec<u8>,
    },
    /// The contents of a file could not be stored.
    #[error("{}: {source}", Escaped(path))]
    Store {
        /// The path.
        path: Vec<u8>,
        /// What failed.
        source: SinkError,
    },
    /// The base does not say what an extension needs to know of it.
    #[error(transparent)]
    Base(#[from] crate::base::Error),
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoUsr { .. }
            | Self::Clash { .. }
            | Self::TwoPlaces { .. }
            | Self::TypeConflict { .. }
            | Self::NotDirectory { .. }
            | Self::Taken { .. }
            | Self::Passwords { .. }
            | Self::Unfit { .. }
            | Self::Value { .. }
            | Self::ReleaseFile { .. }
            | Self::Architecture { .. }
            | Self::Label { .. }
            | Self::NoLabel { .. }
            | Self::ContentsDropped { .. } => ExitCode::Malformed,
            Self::Whiteout { .. }
            | Self::NoRelease { .. }
            | Self::Privileged { .. }
            | Self::Shadow { .. } => ExitCode::Audit,
            Self::Name { .. } | Self::Option { .. } | Self::Unit { .. } => ExitCode::Usage,
            Self::OtherRelease { .. } | Self::ReleaseMismatch { .. } => ExitCode::Identity,
            Self::Store { .. } => ExitCode::Io,
            Self::Base(error) => error.exit_code(),
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NoUsr { .. } => "sysext.no-usr",
            Self::Clash { .. } => "sysext.clash",
            Self::TwoPlaces { .. } => "sysext.two-places",
            Self::TypeConflict { .. } => "sysext.type-conflict",
            Self::NotDirectory { .. } => "sysext.not-directory",
            Self::Taken { .. } => "sysext.taken",
            Self::Passwords { .. } => "sysext.passwords",
            Self::Unit { .. } => "sysext.unit",
            Self::Unfit { .. } => "sysext.unfit",
            Self::Whiteout { .. } => "sysext.whiteout",
            Self::NoRelease { .. } => "sysext.no-release",
            Self::Privileged { .. } => "sysext.privileged",
            Self::Shadow { .. } => "sysext.shadow",
            Self::Name { .. } => "sysext.name",
            Self::Option { .. } => "sysext.option",
            Self::Value { .. } => "sysext.value",
            Self::OtherRelease { .. } => "sysext.other-release",
            Self::ReleaseMismatch { .. } => "sysext.release-mismatch",
            Self::ReleaseFile { .. } => "sysext.release-file",
            Self::Architecture { .. } => "sysext.architecture",
            Self::Label { .. } => "sysext.label",
            Self::NoLabel { .. } => "sysext.no-label",
            Self::ContentsDropped { .. } => "sysext.contents-dropped",
            Self::Store { .. } => "sysext.store",
            Self::Base(error) => error.id(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoUsr { .. } => {
                "a system extension can only add to /usr: check that the right layer was taken (--layers)"
            }
            Self::Clash { .. } | Self::TwoPlaces { .. } | Self::NotDirectory { .. } => {
                "ask the image's publisher to ship the path in one place only"
            }
            Self::TypeConflict { .. } => {
                "ask the image's publisher to leave the base's path as it is: \
                 the extension would hide what it leads to"
            }
            Self::Unfit { .. } | Self::Passwords { .. } | Self::Value { .. } => {
                "ask the image's publisher to build it anew without it"
            }
            Self::Whiteout { .. } => {
                "leave them out with --whiteouts=drop, or hide the host's files with --whiteouts=keep"
            }
            Self::NoRelease { .. } => "leave whiteouts out with --whiteouts=drop",
            Self::Privileged { .. } => {
                "check the file, and run again without --deny if it may have these rights"
            }
            Self::Shadow { .. } => {
                "compare the two (--audit-base), and run again without --deny shadow if the \
                 extension's may take the place of the base's"
            }
            Self::Taken { .. } => "choose another name with --name, or leave the repair away (--repairs)",
            Self::Unit { .. } => "name a unit file of the extension; with -v the report lists those that are not enabled",
            Self::Name { .. } => "choose another name with --name",
            Self::Option { .. } => "give another value",
            Self::OtherRelease { .. } => {
                "this may be another extension than the one asked for: check the reference, \
                 or give the layer's own name with --name"
            }
            Self::ReleaseMismatch { .. } => {
                "this extension is made for other hosts: check the reference, \
                 or ask the image's publisher to build it anew"
            }
            Self::ReleaseFile { .. } => "ask the image's publisher to repair the release file",
            Self::Architecture { .. } => "choose another platform of the image with --platform",
            Self::Label { .. } | Self::NoLabel { .. } => {
                "label with another policy (--selinux host|DIR), or not at all (--selinux none)"
            }
            Self::ContentsDropped { .. } => "this is a fault of oci2sysext: please report it",
            Self::Store { .. } => "make room, or choose another place with -o or $TMPDIR",
            Self::Base(error) => return error.advice(),
        }
        .to_owned()
    }
}
