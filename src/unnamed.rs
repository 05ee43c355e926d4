//! A temporary file without a name, so that nothing is left behind however the run ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

/// Where temporary files are: `$TMPDIR`, else `/var/tmp`, which survives a small `/tmp` in memory.
pub fn directory() -> PathBuf {
    std::env::var_os("TMPDIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Makes one; with a name for a moment where the file system knows no other way.
///
/// # Errors
/// The directory is not there, or takes no files.
pub fn file(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    match fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // open(2): how file systems and kernels without O_TMPFILE answer.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => named_then_unlinked(directory),
        Err(error) => Err(error.into()),
    }
}

fn named_then_unlinked(directory: &Path) -> io::Result<File> {
    tempfile::Builder::new()
        .prefix(".#oci2sysext-")
        .tempfile_in(directory)
        .map(tempfile::NamedTempFile::into_file)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn no_name_is_left() {
        let folder = tempfile::tempdir().unwrap();
        for make in [file, named_then_unlinked] {
            let mut file = make(folder.path()).unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            file.write_all(b"bytes").unwrap();
            file.rewind().unwrap();
            let mut back = String::new();
            file.read_to_string(&mut back).unwrap();
            assert_eq!(back, "bytes");
        }
        assert!(file(Path::new("/proc")).is_err());
    }
}
