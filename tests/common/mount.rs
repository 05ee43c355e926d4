//! Mounts that end with the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::tools;

/// A mounted file system; dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    point: TempDir,
}

impl Mounted {
    /// An EROFS image, by the kernel and a loop device.
    pub fn erofs(image: &Path) -> Self {
        Self::by(|point| {
            let mut mount = Command::new("mount");
            mount.args(["-t", "erofs", "-o", "ro,loop"]).args([image, point]);
            mount
        })
    }

    /// A composefs image with its objects, by composefs' own tool.
    pub fn composefs(tool: &Path, image: &Path, objects: &Path) -> Self {
        Self::by(|point| {
            let mut mount = Command::new(tool);
            mount.args([image, point]).arg("-o").arg(format!("basedir={}", objects.display()));
            mount
        })
    }

    /// Directories one over the other, the topmost first.
    pub fn overlay(directories: &[&Path]) -> Self {
        let paths: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
        Self::by(|point| {
            let mut mount = Command::new("mount");
            mount.args(["-t", "overlay", "-o"]).arg(format!("ro,lowerdir={}", paths.join(":")));
            mount.arg("overlay").arg(point);
            mount
        })
    }

    /// A tmpfs with mount options, such as `size=64k`.
    pub fn tmpfs(options: &str) -> Self {
        Self::by(|point| {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(point);
            mount
        })
    }

    fn by(command: impl FnOnce(&Path) -> Command) -> Self {
        let point = tempfile::tempdir().expect("a temporary directory");
        tools::check(&mut command(point.path()));
        Self { point }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.point.path().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, so that the directory below can be removed whatever still looks at the mount.
        let _ = Command::new("umount").arg("-l").arg(self.point.path()).status();
    }
}
