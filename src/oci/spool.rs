//! A spool: an unnamed file that takes a layer's bytes as they arrive, hashing them (decision 3).

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{self, FallocateFlags};

use super::Error;
use crate::limits::Limits;
use crate::unnamed;
use crate::verify::{Blob, BlobHasher, LayerDescriptor, Origin, Verified};

/// An unnamed file that is filled with the bytes of one layer.
#[derive(Debug)]
pub struct Spool {
    file: File,
    directory: PathBuf,
    hasher: BlobHasher,
}

impl Spool {
    /// Makes an unnamed file in `directory`, with room for all of the layer.
    ///
    /// Fails before a byte is fetched if the layer is larger than its limit, or than the disk's
    /// free space (row 82).
    pub fn create(
        directory: &Path,
        layer: &Verified<LayerDescriptor>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let needed = layer.descriptor.size;
        check_size(layer, limits)?;
        let io = |action| io_error(directory, action);
        let file = unnamed::file(directory).map_err(io("cannot make a temporary file"))?;
        let space = fs::fstatvfs(&file).map_err(|e| io("cannot ask for free space")(e.into()))?;
        let available = space.f_bavail.saturating_mul(space.f_frsize);
        // A file system without a size (tmpfs with size=0, some in user space) has no blocks.
        if space.f_blocks > 0 && needed > available {
            return Err(Error::NoSpace { path: directory.to_owned(), available, needed });
        }
        if needed > 0 {
            match fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, needed) {
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) | Ok(()) => {}
                Err(error) => return Err(io("cannot reserve space")(error.into())),
            }
        }
        let hasher = BlobHasher::new(layer);
        Ok(Self { file, directory: directory.to_owned(), hasher })
    }

    /// Takes the next bytes; fails as soon as there are more than the descriptor says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes)?;
        self.file.write_all(bytes).map_err(io_error(&self.directory, "cannot write a layer"))
    }

    /// How many bytes were taken.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Ends the layer: size and digest must be the descriptor's.
    pub fn finish(mut self) -> Result<Verified<Blob>, Error> {
        self.file.rewind().map_err(io_error(&self.directory, "cannot read a layer"))?;
        Ok(self.hasher.finish(self.file, Origin::Spool)?)
    }
}

/// Refuses a layer that says that it is larger than the limit.
pub(super) fn check_size(layer: &Verified<LayerDescriptor>, limits: &Limits) -> Result<(), Error> {
    let (found, max) = (layer.descriptor.size, limits.layer_size);
    if found > max {
        let what = format!("layer {}, bytes", layer.descriptor.digest);
        return Err(Error::Limit { what, found, max, limit: "layer-size" });
    }
    Ok(())
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), action, source }
}
