//! From a sysext's tree to the bytes of an image: one folder or file per format.

pub mod composefs;
pub mod erofs;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;

/// An image that is written, read back and checked, but has no name yet.
///
/// Only the self-checks of this room make one, so what asks for it cannot get an unchecked image:
///
/// ```
/// fn length(image: &oci2sysext::image::Staged) -> u64 {
///     image.size()
/// }
/// ```
///
/// ```compile_fail
/// let file = std::fs::File::open("unchecked.raw").unwrap();
/// let image = oci2sysext::image::Staged { file, size: 0 };
/// ```
#[derive(Debug)]
pub struct Staged {
    file: std::fs::File,
    size: u64,
}

impl Staged {
    /// The only maker: called with an image that was read back and is what it was made from.
    fn checked(file: std::fs::File) -> std::io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    /// The image.
    pub fn file(&self) -> &std::fs::File {
        &self.file
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The image, to be given a name.
    pub(crate) fn into_file(self) -> std::fs::File {
        self.file
    }
}

/// Why an image cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image file cannot be written or read back.
    #[error("cannot write or read the image: {0}")]
    Io(#[from] std::io::Error),
    /// There is no image to be read.
    #[error("cannot read {}: {error}", Escaped(path.as_os_str().as_bytes()))]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The object store cannot be read or written.
    #[error("object store {}: {error}", Escaped(path.as_os_str().as_bytes()))]
    Objects {
        /// The store.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The format has no way to say what the tree says.
    #[error("{path}: {problem}")]
    Unwritable {
        /// The path, escaped.
        path: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The self-check failed: the image that was read back is not the tree.
    #[error("self-check: {path}: found {what} {found} in the image, expected {expected}")]
    Mismatch {
        /// The path, escaped.
        path: String,
        /// Which of its facts.
        what: &'static str,
        /// As the image has it.
        found: String,
        /// As the tree has it.
        expected: String,
    },
    /// Something is not an image, or a broken one.
    #[error("not a valid EROFS image: {problem}")]
    Corrupt {
        /// What was found, and what was expected.
        problem: String,
    },
    /// An image has a feature that is not known.
    #[error("cannot read this EROFS image: {problem}")]
    Unsupported {
        /// What was found, and what was expected.
        problem: String,
    },
    /// An image has more of something than is accepted.
    #[error("the image is above the limit: found more than {limit} for {name}")]
    Limit {
        /// The limit's name.
        name: &'static str,
        /// Its value.
        limit: u64,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Io(_) | Self::Open { .. } | Self::Objects { .. } => ExitCode::Io,
            Self::Mismatch { .. } => ExitCode::Integrity,
            Self::Unwritable { .. } | Self::Corrupt { .. } | Self::Unsupported { .. } => {
                ExitCode::Malformed
            }
            Self::Limit { .. } => ExitCode::Limit,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Io(_) => "image.io",
            Self::Open { .. } => "image.open",
            Self::Objects { .. } => "image.objects",
            Self::Unwritable { .. } => "image.unwritable",
            Self::Mismatch { .. } => "image.mismatch",
            Self::Corrupt { .. } => "image.corrupt",
            Self::Unsupported { .. } => "image.unsupported",
            Self::Limit { .. } => "image.limit",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Io(_) => "make room, or choose another place with -o".to_owned(),
            Self::Open { .. } => "give the path of an image that you may read".to_owned(),
            Self::Objects { .. } => {
                "make room or get write access, or choose another place with --objects".to_owned()
            }
            Self::Unwritable { .. } => "ask the image's publisher to build it anew".to_owned(),
            Self::Mismatch { .. } => {
                "check the disk and the memory of this machine; if they are well, report a bug"
                    .to_owned()
            }
            Self::Corrupt { .. } => "make the image anew".to_owned(),
            Self::Unsupported { .. } => "read it with dump.erofs of a newer erofs-utils".to_owned(),
            Self::Limit { name, .. } => format!("raise it with --limit {name}=N"),
        }
    }
}
