//! From a sysext's tree to the bytes of an image: one folder or file per format.

pub mod erofs;

use crate::error::{ExitCode, Fault};

/// An image that is written, read back and checked, but has no name yet.
#[derive(Debug)]
pub struct Staged {
    file: std::fs::File,
    size: u64,
}

impl Staged {
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
    Io(#[from] std::io::Error),
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Io(_) => ExitCode::Io,
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Io(_) => "image.io",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Io(_) => "make room, or choose another place with -o".to_owned(),
        }
    }
}
