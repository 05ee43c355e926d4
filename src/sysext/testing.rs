//! Layers and bases in a few words, for the tests of the transforms.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::sync::Arc;

use super::{Error, Fates, Sysext, SysextOptions, convert};
use crate::base::{Base, BaseKind, BasePath};
use crate::layer::{ContentSink, Fate, LayerTree, SinkError, Stored, Whiteout};
use crate::oci::Platform;
use crate::report::{Action, Changes};
use crate::tree::{Content, Directory, Inode, Stat, Timestamp, Tree, components, join};

/// Keeps contents in memory.
#[derive(Debug, Default)]
pub struct MemorySink;

impl ContentSink for MemorySink {
    type Content = Arc<[u8]>;

    fn store(&mut self, size: u64, contents: &mut dyn Read) -> Result<Arc<[u8]>, SinkError> {
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes).map_err(SinkError::Read)?;
        assert_eq!(u64::try_from(bytes.len()).unwrap(), size);
        Ok(bytes.into())
    }
}

/// A layer of lines such as `f PATH CONTENTS`, `d PATH [MODE]`, `l PATH TARGET`, `h PATH TARGET`
/// (a hard link), `c PATH` (a device), `w PATH` (a whiteout), `o PATH` (an opaque directory).
pub fn layer(text: &str) -> LayerTree<Arc<[u8]>> {
    let mut tree = Tree::new(Stat::directory());
    let (mut whiteouts, mut implied) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let (kind, path) = (words.next().unwrap(), words.next().unwrap().as_bytes());
        let rest = words.next().unwrap_or_default();
        if matches!(kind, "w" | "o") {
            whiteouts.push(Whiteout::new(path.to_vec(), kind == "o"));
            continue;
        }
        let mut at = Vec::new();
        let depth = components(path).count();
        for name in components(path).take(depth - 1) {
            at = join(&at, name);
            if tree.lookup(&at).is_none() {
                let content = Content::Directory(Directory::new());
                let ino = tree.add(Inode { stat: Stat::directory(), content });
                tree.link(&at, ino);
                implied.push(at.clone());
            }
        }
        if kind == "h" {
            let ino = tree.lookup(rest.as_bytes()).unwrap();
            tree.link(path, ino);
            continue;
        }
        let mtime = Timestamp { sec: 1000, nsec: 0 };
        let mut stat = Stat { mode: 0o644, mtime, ..Stat::default() };
        let content = match kind {
            "d" => {
                stat.mode = u16::from_str_radix(rest, 8).unwrap_or(0o755);
                Content::Directory(Directory::new())
            }
            "f" => Content::Regular(stored(path, rest.as_bytes())),
            "l" => Content::Symlink(rest.as_bytes().into()),
            "c" => Content::CharDevice { rdev: 0 },
            _ => panic!("{line}"),
        };
        let ino = tree.add(Inode { stat, content });
        tree.link(path, ino);
    }
    LayerTree { tree, whiteouts, implied }
}

fn stored(path: &[u8], bytes: &[u8]) -> Stored<Arc<[u8]>> {
    let size = u64::try_from(bytes.len()).unwrap();
    match (Fates { state: true, ..Fates::default() }).fate(path) {
        Fate::Keep => Stored::Sunk(bytes.into()),
        Fate::Hold => Stored::Held(bytes.to_vec().into()),
        Fate::Drop => Stored::Dropped { size },
    }
}

/// A Fedora of lines such as those of [`layer`].
pub fn base(text: &str) -> Base {
    base_with("ID=fedora\nVERSION_ID=43\n", text)
}

/// A base of an os-release and lines such as those of [`layer`].
pub fn base_with(os_release: &str, text: &str) -> Base {
    let layer = layer(text);
    let paths: BTreeMap<_, _> = layer
        .tree
        .walk()
        .map(|entry| {
            let kind = match &entry.inode.content {
                Content::Directory(_) if layer.implied.contains(&entry.path) => {
                    BaseKind::ImpliedDirectory
                }
                Content::Directory(_) => BaseKind::Directory,
                Content::Symlink(target) => BaseKind::Symlink(target.to_vec()),
                Content::Regular(_) => BaseKind::Regular,
                _ => BaseKind::Special,
            };
            (entry.path, BasePath { stat: entry.inode.stat.clone(), kind })
        })
        .collect();
    Base::of_test(os_release, paths)
}

pub fn options() -> SysextOptions<'static> {
    let platform =
        Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
    SysextOptions::plain("x", platform, Timestamp { sec: 77, nsec: 0 })
}

/// What came of a layer: the paths of the extension, the changes, the warnings.
#[derive(Debug)]
pub struct Outcome {
    pub sysext: Sysext<Arc<[u8]>>,
    pub changes: Changes,
}

pub fn run(text: &str, base: &Base, options: &SysextOptions<'_>) -> Result<Outcome, Error> {
    let mut changes = Changes::default();
    let sysext = convert(layer(text), base, options, &mut MemorySink, &mut changes)?;
    Ok(Outcome { sysext, changes })
}

impl Outcome {
    /// Every path but the release file's directory and its parents, with the type and what it
    /// holds.
    pub fn tree(&self) -> String {
        let mut text = String::new();
        for entry in self.sysext.tree().walk().skip(1) {
            let path = String::from_utf8(entry.path).unwrap();
            if path == "usr" || path == "usr/lib" || path.starts_with("usr/lib/extension-release.d")
            {
                continue;
            }
            match &entry.inode.content {
                Content::Directory(_) => writeln!(text, "d {path} {:o}", entry.inode.stat.mode),
                Content::Regular(bytes) => {
                    writeln!(text, "f {path} {}", String::from_utf8_lossy(bytes))
                }
                Content::Symlink(to) => writeln!(text, "l {path} {}", String::from_utf8_lossy(to)),
                _ => writeln!(text, "c {path}"),
            }
            .unwrap();
        }
        text
    }

    /// One line for each change: rule, what was done, path.
    pub fn changes(&self) -> String {
        let mut text = String::new();
        for change in self.changes.iter() {
            let path = String::from_utf8_lossy(change.path);
            let rule = change.rule;
            match &change.action {
                Action::Dropped => writeln!(text, "{rule} dropped {path}"),
                Action::Moved { to } => {
                    writeln!(text, "{rule} moved {path} {}", String::from_utf8_lossy(to))
                }
                Action::Changed => writeln!(text, "{rule} changed {path}"),
                Action::Added => writeln!(text, "{rule} added {path}"),
                Action::Kept => writeln!(text, "{rule} kept {path}"),
            }
            .unwrap();
        }
        text
    }

    pub fn warnings(&self) -> Vec<String> {
        self.changes.warnings.iter().map(|w| format!("{}: {}", w.rule, w.message)).collect()
    }

    /// The text of the release file, as it is in the tree.
    pub fn release(&self) -> String {
        let path = format!("usr/lib/extension-release.d/extension-release.{}", self.sysext.name());
        let tree = self.sysext.tree();
        match &tree.inode(tree.lookup(path.as_bytes()).unwrap()).content {
            Content::Regular(bytes) => {
                assert_eq!(**bytes, *self.sysext.release().as_bytes());
                self.sysext.release().to_owned()
            }
            other => panic!("{other:?}"),
        }
    }
}
