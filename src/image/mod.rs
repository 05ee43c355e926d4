//! From a sysext's tree to the bytes of an image: one folder or file per format.

pub mod composefs;
pub mod erofs;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;

/// An image that is written, read back and checked, but has no name yet.
#[derive(Debug)]
pub struct Staged {
    file: std::fs::File,
    size: u64,
}

impl Staged {
    fn new(file: std::fs::File, size: u64) -> Self {
        Self { file, size }
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

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image file cannot be written or read back.
    #[error("cannot write the image: {0}")]
    Io(std::io::Error),
    /// The object store cannot be read or written.
    #[error("object store {}: {error}", Escaped(path.as_os_str().as_bytes()))]
    Objects {
        /// The store.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The format cannot hold something of the tree.
    #[error("/{}: found {problem}", Escaped(path))]
    Unsupported {
        /// The path in the image.
        path: Vec<u8>,
        /// What was found, and what was expected.
        problem: String,
    },
    /// What was read back is not what was written.
    #[error("the image does not read back as it was written: /{}: {problem}", Escaped(path))]
    SelfCheck {
        /// The path in the image.
        path: Vec<u8>,
        /// What was found, and what was expected.
        problem: String,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Io(_) | Self::Objects { .. } => ExitCode::Io,
            Self::Unsupported { .. } => ExitCode::Limit,
            Self::SelfCheck { .. } => ExitCode::Integrity,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Io(_) => "image.io",
            Self::Objects { .. } => "image.objects",
            Self::Unsupported { .. } => "image.unsupported",
            Self::SelfCheck { .. } => "image.self-check",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Io(_) => "make room, or choose another place with -o",
            Self::Objects { .. } => "make room or get write access, or choose another --objects",
            Self::Unsupported { .. } => "choose another --format",
            Self::SelfCheck { .. } => {
                "nothing was published: check the disk, and report this if it happens again"
            }
        }
        .to_owned()
    }
}
