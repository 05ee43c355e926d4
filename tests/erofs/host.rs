//! Directories of this host: read into trees, and compared with each other.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output};

use oci2sysext::image::erofs::{Contents, Writer};
use oci2sysext::layer::ContentSink;
use oci2sysext::tree::{Content, Directory, Ino, Inode, Stat, Timestamp, Tree, Xattrs};

/// Reads a directory into a tree, contents into the writer.
pub fn load(writer: &mut Writer, directory: &Path) -> Tree<Contents> {
    let mut tree = Tree::new(stat(directory, &fs::symlink_metadata(directory).unwrap()));
    let mut seen = HashMap::new();
    load_entries(writer, directory, &mut tree, Tree::<Contents>::ROOT, &mut seen);
    tree
}

fn load_entries(
    writer: &mut Writer,
    directory: &Path,
    tree: &mut Tree<Contents>,
    parent: Ino,
    seen: &mut HashMap<(u64, u64), Ino>,
) {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.file_name().unwrap().as_bytes();
        let key = (metadata.dev(), metadata.ino());
        let ino = seen.get(&key).copied().unwrap_or_else(|| {
            let stat = stat(&path, &metadata);
            tree.add(Inode { stat, content: content(writer, &path, &metadata) })
        });
        if !metadata.is_dir() && metadata.nlink() > 1 {
            seen.insert(key, ino);
        }
        tree.directory_mut(parent).unwrap().insert(name, ino);
        if metadata.is_dir() {
            load_entries(writer, &path, tree, ino, seen);
        }
    }
}

fn content(writer: &mut Writer, path: &Path, metadata: &Metadata) -> Content<Contents> {
    let kind = metadata.file_type();
    let rdev = metadata.rdev();
    if kind.is_dir() {
        Content::Directory(Directory::new())
    } else if kind.is_file() {
        let mut file = File::open(path).unwrap();
        Content::Regular(writer.store(metadata.len(), &mut file).unwrap())
    } else if kind.is_symlink() {
        Content::Symlink(fs::read_link(path).unwrap().as_os_str().as_bytes().into())
    } else if kind.is_char_device() {
        Content::CharDevice { rdev }
    } else if kind.is_block_device() {
        Content::BlockDevice { rdev }
    } else if kind.is_fifo() {
        Content::Fifo
    } else {
        Content::Socket
    }
}

fn stat(path: &Path, metadata: &Metadata) -> Stat {
    Stat {
        mode: u16::try_from(metadata.mode() & 0o7777).unwrap(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Timestamp {
            sec: metadata.mtime(),
            nsec: u32::try_from(metadata.mtime_nsec()).unwrap(),
        },
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> Xattrs {
    let mut names = vec![0; 1 << 16];
    let n = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs = Xattrs::default();
    for name in names[..n].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let n = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        xattrs.insert(name, &value[..n]);
    }
    xattrs
}

/// Every path below a directory with everything that `stat`, `getxattr` and `read` say of it.
pub fn facts(directory: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut facts = BTreeMap::new();
    let mut names_of = HashMap::new();
    let mut below = vec![directory.to_owned()];
    while let Some(path) = below.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(directory).unwrap().as_os_str().as_bytes().to_vec();
        let kind = metadata.file_type();
        let mut fact = format!("{:?}", stat(&path, &metadata));
        fact += &format!(" {:o} rdev {}", metadata.mode(), metadata.rdev());
        if kind.is_dir() {
            below.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            fact += &format!(" links {} size {}", metadata.nlink(), metadata.len());
            names_of.entry(metadata.ino()).or_insert_with(Vec::new).push(relative.clone());
        }
        if kind.is_symlink() {
            fact += &format!(
                " -> {}",
                fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii()
            );
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            fact += &format!(" {}", blake3::hash(&bytes));
        }
        facts.insert(relative, fact);
    }
    for mut names in names_of.into_values().filter(|names| names.len() > 1) {
        names.sort();
        let shown: Vec<_> = names.iter().map(|name| name.escape_ascii().to_string()).collect();
        for name in names {
            facts.entry(name).or_default().push_str(&format!(" is {}", shown.join(" = ")));
        }
    }
    facts
}

/// Every path below a directory with its type, and what can be read from it: what `fsck.erofs`
/// extracts whoever runs it.
pub fn contents(directory: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut contents = BTreeMap::new();
    let mut below = vec![directory.to_owned()];
    while let Some(path) = below.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let mut fact = format!("{:o}", metadata.mode() & 0o170_000);
        if kind.is_dir() {
            below.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if kind.is_symlink() {
            fact +=
                &fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
        } else if kind.is_file() {
            fact += &blake3::hash(&fs::read(&path).unwrap()).to_string();
        }
        let relative = path.strip_prefix(directory).unwrap().as_os_str().as_bytes().to_vec();
        contents.insert(relative, fact);
    }
    contents
}

/// Fails at the first path that is not the same in both.
pub fn assert_same(
    what: &str,
    expected: &BTreeMap<Vec<u8>, String>,
    found: &BTreeMap<Vec<u8>, String>,
) {
    for (path, fact) in expected {
        let path_shown = path.escape_ascii();
        assert_eq!(found.get(path), Some(fact), "{what}: {path_shown}");
    }
    for path in found.keys() {
        assert!(expected.contains_key(path), "{what}: extra {}", path.escape_ascii());
    }
}

/// Runs a command; none if there is no such program.
pub fn run(program: &str, arguments: &[&OsStr]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

/// Runs a command that must succeed, if there is such a program; whether there is.
pub fn judge(program: &str, arguments: &[&OsStr]) -> bool {
    let Some(output) = run(program, arguments) else { return false };
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
