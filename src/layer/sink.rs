//! Where the contents of files go while a layer is being read.

use std::io::{self, Read};

/// Takes the contents of files, one after the other.
///
/// For EROFS it is the data area of the staged image, for composefs the object store.
pub trait ContentSink {
    /// What is known of stored contents. Equal values mean equal contents.
    type Content: Clone + PartialEq + std::fmt::Debug;

    /// Takes `size` bytes from `contents`, which yields exactly that many or fails.
    fn store(&mut self, size: u64, contents: &mut dyn Read) -> Result<Self::Content, SinkError>;

    /// Called when the layer was read: hardly anything comes any more, so memory for more need
    /// not be kept while others want some.
    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Contents that could not be stored, and whose fault it was.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The contents could not be read; the reader knows why.
    #[error("cannot read: {0}")]
    Read(io::Error),
    /// The contents could not be written.
    #[error("cannot write: {0}")]
    Write(io::Error),
}
