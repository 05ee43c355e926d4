//! What standard tools make of an image, to compare with.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::tools;

/// What `tests/reference.sh` makes of an image: a tree, and an EROFS image of it by mkfs.erofs.
#[derive(Debug)]
pub struct Reference {
    root: TempDir,
}

impl Reference {
    /// Makes it from what skopeo fetches. `release` is what the release file must say.
    pub fn new(source: &str, name: &str, release: &str, mkfs: &Path) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (image, tree) = (root.path().join("image"), root.path().join("tree"));
        let skopeo = tools::newest("skopeo").expect("skopeo");
        let target = format!("dir:{}", image.display());
        tools::run(&skopeo, ["copy", "-q", "--src-tls-verify=false", source, &target]);
        tools::run(
            &super::repository("tests/reference.sh"),
            [image.as_os_str(), tree.as_ref(), name.as_ref()],
        );
        let file = tree.join(format!("usr/lib/extension-release.d/extension-release.{name}"));
        tools::shell(
            "time=$(stat -c %y \"$1\"); printf %s \"$2\" >\"$1\"; touch -d \"$time\" \"$1\"",
            [file.as_os_str(), release.as_ref()],
        );
        let image = root.path().join("reference.erofs");
        tools::run(mkfs, [image.as_os_str(), tree.as_ref()]);
        Self { root }
    }

    /// The image.
    pub fn image(&self) -> PathBuf {
        self.root.path().join("reference.erofs")
    }

    /// The tree.
    pub fn tree(&self) -> PathBuf {
        self.root.path().join("tree")
    }
}
