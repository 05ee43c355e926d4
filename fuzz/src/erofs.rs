//! The reader of EROFS images.
//!
//! Input: an image. Its magic number is made right, and the flag of the superblock's checksum is
//! cleared, or nothing else would be looked at.
//!
//! - Inodes and names are within their limits, and no more memory is taken than those allow.
//! - Contents that are read without an error are as long as their inode says, and the same in
//!   steps of any size.
//! - The dump has one line for each path, and is the same every time.
//! - What our writer accepts of what was read, written anew and read again, has the same dump.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use oci2sysext::image::erofs::{self, Compression, Image, Options, Reader, Writer};
use oci2sysext::layer::ContentSink;
use oci2sysext::limits::Limits;
use oci2sysext::tree::{Content, Directory, Inode, Stat, Tree};
use rustix::fs::{MemfdFlags, memfd_create};

/// Larger contents are not read to the end.
const MAX: u64 = 256 << 10;
const MAGIC: [u8; 4] = 0xe0f5_e1e2u32.to_le_bytes();

fn limits() -> Limits {
    Limits { entries: 200, names: 20_000, depth: 20, ..Limits::default() }
}

fn memory(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file
}

pub fn run(data: &[u8]) {
    let mut image = data.to_vec();
    if let Some(superblock) = image.get_mut(1024..1152) {
        superblock[..4].copy_from_slice(&MAGIC);
        superblock[8] &= !1;
    }
    let Ok(reader) = Reader::open(memory(&image)) else { return };
    let limits = limits();
    let Ok(image) = reader.image(&limits) else { return };
    assert!(u64::try_from(image.tree.len()).unwrap() <= limits.entries + 1);
    let mut total = 0;
    let mut whole = true;
    for entry in image.tree.walk() {
        let Content::Regular(located) = &entry.inode.content else { continue };
        let mut bytes = Vec::new();
        let contents = reader.contents(located);
        let read = contents.and_then(|file| Ok(file.take(MAX + 1).read_to_end(&mut bytes)?));
        let length = u64::try_from(bytes.len()).unwrap();
        total += length;
        if read.is_err() || length > MAX || total > 4 * MAX {
            whole = false;
            break;
        }
        let mut again = Vec::new();
        let mut file = reader.contents(located).unwrap();
        let mut step = [0; 1000];
        while let n @ 1.. = file.read(&mut step).unwrap() {
            again.extend_from_slice(&step[..n]);
        }
        assert!(bytes == again);
    }
    if !whole {
        return;
    }
    let dump = dump(&reader);
    assert_eq!(dump.lines().count(), image.tree.walk().count());
    if let Some(file) = rewritten(&reader, &image) {
        let again = self::dump(&Reader::open(file).unwrap());
        assert_eq!(again, dump);
    }
}

fn dump(reader: &Reader) -> String {
    let mut text = String::new();
    erofs::dump(reader, &limits(), &mut text).unwrap();
    text
}

/// The same tree in an image of ours, if it can be.
fn rewritten(reader: &Reader, image: &Image) -> Option<File> {
    let options = Options { compression: Compression::None, ..Options::default() };
    let file = memory(b"");
    let mut writer = Writer::new(file.try_clone().unwrap(), &options).unwrap();
    let mut tree = Tree::new(image.tree.inode(Tree::<()>::ROOT).stat.clone());
    let mut known = HashMap::new();
    for entry in image.tree.walk().filter(|entry| !entry.path.is_empty()) {
        let ino = *known.entry(entry.ino).or_insert_with(|| {
            let content = match &entry.inode.content {
                Content::Regular(located) => {
                    let mut contents = reader.contents(located).unwrap();
                    let size = std::io::copy(&mut contents, &mut std::io::sink()).unwrap();
                    let mut contents = reader.contents(located).unwrap();
                    Content::Regular(writer.store(size, &mut contents).unwrap())
                }
                Content::Directory(_) => Content::Directory(Directory::new()),
                Content::Symlink(target) => Content::Symlink(target.clone()),
                Content::CharDevice { rdev } => Content::CharDevice { rdev: *rdev },
                Content::BlockDevice { rdev } => Content::BlockDevice { rdev: *rdev },
                Content::Fifo => Content::Fifo,
                Content::Socket => Content::Socket,
            };
            tree.add(Inode { stat: entry.inode.stat.clone(), content })
        });
        assert!(tree.link(&entry.path, ino));
    }
    writer.finish(&tree).ok()?;
    Some(file)
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        ("none", "5.4"),
        ("lz4", "5.4"),
        ("lz4hc", "5.17"),
        ("lz4hc", "6.1"),
        ("zstd", "6.10"),
        ("zstd", "6.15"),
    ]
    .map(|(codec, kernel)| {
        let options = Options {
            compression: codec.parse().unwrap(),
            min_kernel: kernel.parse().unwrap(),
            cluster_size: Some("4K".parse().unwrap()),
            ..Options::default()
        };
        let file = memory(b"");
        let mut writer = Writer::new(file.try_clone().unwrap(), &options).unwrap();
        let text = b"contents, compressed ".repeat(600);
        let mut tree = Tree::new(Stat::directory());
        let contents = [text, b"short".to_vec(), (0..5000u32).flat_map(u32::to_le_bytes).collect()];
        let usr = Inode { stat: Stat::directory(), content: Content::Directory(Directory::new()) };
        let usr = tree.add(usr);
        assert!(tree.link(b"usr", usr));
        for (name, bytes) in [b"usr/a", b"usr/b", b"usr/c"].iter().zip(&contents) {
            let size = u64::try_from(bytes.len()).unwrap();
            let content = Content::Regular(writer.store(size, &mut bytes.as_slice()).unwrap());
            let mut stat = Stat::directory();
            stat.mode = 0o644;
            stat.xattrs.insert(b"security.selinux", b"system_u:object_r:usr_t:s0");
            let ino = tree.add(Inode { stat, content });
            assert!(tree.link(*name, ino));
            assert!(tree.link(&[*name, &b"2"[..]].concat(), ino));
        }
        let link = Content::Symlink(b"a".to_vec().into());
        let ino = tree.add(Inode { stat: Stat::directory(), content: link });
        assert!(tree.link(b"usr/l", ino));
        writer.finish(&tree).unwrap();
        let mut image = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut image, 0).unwrap();
        image
    })
    .into()
}
