//! Configuration files: read whole, bounded, and only where nobody else could have written them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Error;

/// Who may own a file that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A file that the user named may be the user's.
    Anybody,
    /// A file that is looked for is root's.
    Root,
}

/// The bytes of a file, at most `max`. As root, nobody but root, and the owner where it may be
/// anybody, can write it.
pub(super) fn read(path: &Path, max: u64, as_root: bool, owner: Owner) -> Result<Vec<u8>, Error> {
    let unreadable = |problem: String| Error::Unreadable { path: path.to_owned(), problem };
    // What is checked is what is read: both by the same descriptor. Only a pipe that the user
    // named (`<(…)`, /dev/stdin) is waited for.
    let may_wait = owner == Owner::Anybody
        && fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let flags = if may_wait { OFlags::empty() } else { OFlags::NONBLOCK };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| unreadable(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    let is_pipe = may_wait && metadata.file_type().is_fifo();
    if !metadata.is_file() && !is_pipe {
        return Err(unreadable("found no regular file, expected one".to_owned()));
    }
    if as_root {
        check_writers(path, &metadata, owner)?;
    }
    read_bounded(file, max).map_err(|error| unreadable(error.to_string()))
}

fn read_bounded(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) {
        Ok(bytes)
    } else {
        Err(io::Error::other(format!("found more than {max} bytes, expected less")))
    }
}

/// The entries of a directory whose names end in `suffix`, hidden ones too, sorted; none if there
/// is no such directory.
pub(super) fn list(directory: &Path, suffix: &str) -> Result<Option<Vec<PathBuf>>, Error> {
    let unreadable = |error: io::Error| Error::Unreadable {
        path: directory.to_owned(),
        problem: error.to_string(),
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().as_encoded_bytes().ends_with(suffix.as_bytes()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(Some(paths))
}

/// Root must not trust what somebody else can replace.
pub(super) fn check_writers(path: &Path, metadata: &Metadata, owner: Owner) -> Result<(), Error> {
    let problem = if metadata.mode() & 0o022 != 0 {
        format!("has mode {:04o}", metadata.mode() & 0o7777)
    } else if owner == Owner::Root && metadata.uid() != 0 {
        format!("is owned by uid {}", metadata.uid())
    } else {
        return Ok(());
    };
    Err(Error::Unsafe { path: path.to_owned(), problem })
}
