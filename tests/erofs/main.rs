//! EROFS images before their judges: the kernel and `fsck.erofs`.
#![allow(
    clippy::as_conversions,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;
mod host;
mod random;
mod vm;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use common::tools;
use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::image::erofs::{Compression, Contents, Options, Reader, SelfCheck, Writer, dump};
use oci2sysext::layer::ContentSink;
use oci2sysext::limits::Limits;
use oci2sysext::tree::{Content, Directory, Inode, Stat, Tree};
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, XattrFlags};
use tempfile::{NamedTempFile, TempDir};

fn options(compression: &str, cluster: &str, kernel: &str) -> Options {
    Options {
        compression: compression.parse().unwrap(),
        cluster_size: Some(cluster.parse().unwrap()),
        min_kernel: kernel.parse().unwrap(),
        self_check: SelfCheck::Full,
        threads: 2.try_into().unwrap(),
    }
}

/// All that is different to readers: codecs, sizes of clusters, and features.
fn variants() -> Vec<Options> {
    VARIANTS.map(|(compression, cluster, kernel)| options(compression, cluster, kernel)).into()
}

const VARIANTS: [(&str, &str, &str); 18] = [
    ("none", "4K", "5.4"),
    ("lz4", "4K", "5.4"),
    ("lz4", "64K", "5.15"),
    ("lz4hc:9", "64K", "5.15"),
    ("lz4", "4K", "5.17"),
    ("lz4hc:12", "16K", "5.17"),
    ("lz4hc:1", "64K", "6.0"),
    ("lz4", "4K", "6.1"),
    ("lz4hc:6", "64K", "6.1"),
    ("lz4hc:3", "1M", "6.12"),
    ("zstd:1", "4K", "6.10"),
    ("zstd:3", "128K", "6.12"),
    ("zstd:19", "1M", "6.14"),
    ("lz4", "4K", "6.15"),
    ("lz4hc:4", "64K", "6.15"),
    ("zstd:3", "128K", "6.15"),
    ("zstd:12", "1M", "6.18"),
    ("zstd:2", "8K", "7.0"),
];

fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(n)
    .collect()
}

/// Text whose pieces shrink by very different factors.
fn text(seed: u64, n: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(n + 9000);
    let mut round = seed;
    while text.len() < n {
        round += 1;
        match round % 5 {
            0 => text.extend(noise(round, 8192)),
            1 => text.extend(vec![b'x'; 9000]),
            _ => (0..800).for_each(|i| text.extend(format!("{} ", i * round % 4001).bytes())),
        }
    }
    text.truncate(n);
    text
}

/// A directory with one of everything that an inode can be.
fn source() -> TempDir {
    let source = tempfile::tempdir().unwrap();
    let root = source.path();
    let put = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).unwrap();
    for size in [0, 1, 31, 4031, 4032, 4033, 4064, 4095, 4096, 4097, 8191, 8192, 12_289, 65_536] {
        put(&format!("noise-{size}"), &noise(7, size));
        put(&format!("text-{size}"), &text(3, size));
        put(&format!("zero-{size}"), &vec![0; size]);
    }
    for size in [100_000, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5_500_001] {
        put(&format!("text-{size}"), &text(9, size));
    }
    // Small files, for several segments of each chain of the packed inode.
    fs::create_dir(root.join("small")).unwrap();
    for n in 0..200u64 {
        let size = usize::try_from(n * 7919 % 120_000).unwrap();
        let bytes = match n % 9 {
            4 => noise(n, size),
            5 => [vec![0; size], n.to_le_bytes().to_vec()].concat(),
            _ => text(n, size),
        };
        put(&format!("small/{n}"), &bytes);
    }
    // Compressed and plain segments in turns, and a tail of each kind.
    let (noise, zeros) = (noise(5, 2 << 20), vec![0; 2 << 20]);
    put("plain-then-zeros", &[&noise[..], &zeros, b"tail"].concat());
    put("zeros-then-plain", &[&zeros[..], &noise, b"tail"].concat());
    put("large-plain", &[&noise[..], &noise[..70_000]].concat());
    put("large-plain-twice", &[&noise[..], &noise[..70_000]].concat());
    fs::hard_link(root.join("text-4097"), root.join("hard link")).unwrap();
    symlink("text-1", root.join("short symlink")).unwrap();
    symlink("t/".repeat(2047), root.join("long symlink")).unwrap();
    fs::create_dir_all(root.join("deep/er/and/deeper")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for n in 0..3000 {
        fs::write(root.join(format!("many/{n:0>width$}", width = 1 + n % 200)), b"").unwrap();
    }
    for name in [&b"!"[..], b"-", b".a", b"..", b"...", b"\xff\xfe", b"new\nline"] {
        let path = root.join("deep").join(OsStr::from_bytes(name));
        if name != b".." {
            fs::write(path, name).unwrap();
        }
    }
    if host::is_root() {
        let device = rustix::fs::makedev(259, 70_000);
        let mode = Mode::from_raw_mode(0o640);
        for (name, kind, device) in [
            ("char", FileType::CharacterDevice, device),
            ("block", FileType::BlockDevice, device),
            ("fifo", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
        ] {
            rustix::fs::mknodat(CWD, root.join(name), kind, mode, device).unwrap();
        }
        let own = |name: &str, uid, gid| {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            rustix::fs::chown(root.join(name), Some(uid), Some(gid)).unwrap();
        };
        own("text-31", 65_536, 3);
        own("text-4096", 3, 4_000_000_000);
        own("deep", 65_535, 65_535);
        let mode = Mode::from_raw_mode(0o6755);
        rustix::fs::chmod(root.join("text-31"), mode).unwrap();
        for (name, label) in [("many", "a"), ("deep", "b"), ("char", "b"), ("short symlink", "b")] {
            let label = format!("system_u:object_r:{label}_t:s0\0");
            let (path, flags) = (root.join(name), XattrFlags::empty());
            rustix::fs::lsetxattr(path, "security.selinux", label.as_bytes(), flags).unwrap();
        }
        for n in 0..40 {
            let (path, flags) = (root.join("text-65536"), XattrFlags::empty());
            rustix::fs::setxattr(path, format!("user.{n}"), &[b'v'; 60], flags).unwrap();
        }
        let path = root.join("zero-4033");
        rustix::fs::setxattr(path, "trusted.t", b"", XattrFlags::empty()).unwrap();
    }
    for (n, name) in (0..).zip(["deep", "text-1", "noise-4096", "short symlink"]) {
        let time = rustix::fs::Timespec { tv_sec: 2 * n - 5, tv_nsec: n };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(CWD, root.join(name), &times, flags).unwrap();
    }
    source
}

fn write_directory(directory: &Path, options: &Options) -> (NamedTempFile, Tree<Contents>) {
    let file = NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), options).unwrap();
    let tree = host::load(&mut writer, directory);
    writer.finish(&tree).unwrap_or_else(|error| panic!("{error}: {options:?}"));
    (file, tree)
}

/// The programs of erofs-utils: the installed ones, and newer ones.
fn erofs_utils(program: &str) -> Vec<PathBuf> {
    let newer = [tools::TRIXIE, tools::FORKY].map(|suite| tools::of(suite, program));
    [tools::system(program)].into_iter().chain(newer).flatten().collect()
}

/// Whether a `fsck.erofs` is there that knows such images, and finds nothing wrong.
fn fsck(image: &Path) -> bool {
    extract(image, None)
}

/// Whether a `fsck.erofs` is there that knows such images; each that does must extract what
/// is expected.
fn extract(image: &Path, expected: Option<&BTreeMap<Vec<u8>, String>>) -> bool {
    let judged = |program: &PathBuf| {
        let to = tempfile::tempdir().unwrap();
        let mut option = OsString::from("--extract");
        if expected.is_some() {
            option.push("=");
            option.push(to.path());
        }
        let arguments = [&option, image.as_os_str()];
        let Some(output) = host::run(program.to_str().unwrap(), &arguments) else { return false };
        let said = String::from_utf8_lossy(&output.stderr);
        let too_old = ["unidentified incompatible feature", "unidentified algorithms"];
        if too_old.iter().any(|words| said.contains(words)) {
            return false;
        }
        assert!(output.status.success(), "{}: {said}", program.display());
        if let Some(expected) = expected {
            let what = format!("{} {}", program.display(), image.display());
            host::assert_same(&what, expected, &host::contents(to.path()));
        }
        true
    };
    erofs_utils("fsck.erofs").iter().filter(|program| judged(program)).count() > 0
}

/// An image that the kernel shows somewhere, until this is dropped.
struct Mounted(TempDir);

impl Mounted {
    fn by_loop_device(image: &Path) -> Self {
        Self::if_it_can(image).unwrap()
    }

    /// None if this kernel does not know all of the image's features.
    fn if_it_can(image: &Path) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let arguments = ["-t", "erofs", "-o", "ro,loop"].map(OsStr::new);
        let arguments = [&arguments[..], &[image.as_os_str(), place.path().as_os_str()]].concat();
        host::run("mount", &arguments)?.status.success().then_some(Self(place))
    }

    /// By mount(2) on the file itself (6.12); none if this kernel or host cannot.
    fn by_file(image: &Path) -> Option<Self> {
        const MOUNT: &str = "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); \
            sys.exit(libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), b'erofs', 1, None) and 1)";
        let place = tempfile::tempdir().unwrap();
        let arguments =
            [OsStr::new("-c"), OsStr::new(MOUNT), image.as_os_str(), place.path().as_os_str()];
        let output = host::run("python3", &arguments)?;
        output.status.success().then_some(Self(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        host::judge("umount", &[self.0.path().as_os_str()]);
    }
}

#[test]
fn the_kernel_shows_what_was_written() {
    if !host::is_root() {
        println!("not run: the_kernel_shows_what_was_written (not root)");
        return;
    }
    let source = source();
    let expected = host::facts(source.path());
    let contents = host::contents(source.path());
    for options in variants() {
        let what = format!("{options:?}");
        let (image, _) = write_directory(source.path(), &options);
        if !extract(image.path(), Some(&contents)) {
            println!("not run: fsck.erofs (not installed)");
        }
        let mounted = Mounted::by_loop_device(image.path());
        host::assert_same(&what, &expected, &host::facts(mounted.0.path()));
        drop(mounted);
        match Mounted::by_file(image.path()) {
            Some(mounted) => host::assert_same(&what, &expected, &host::facts(mounted.0.path())),
            None => println!("not run: a file-backed mount (not supported here)"),
        }
    }
}

/// That reader and writer are not merely wrong in the same way: structure and contents as in the
/// source; with fragments, which `mkfs.erofs` 1.9.4 mixes up now and then, contents as the kernel
/// shows them, or as `fsck.erofs` extracts them, which mixes up interlaced tails.
#[test]
fn images_of_mkfs_are_read() {
    let source = source();
    let (own, _) = write_directory(source.path(), &options("none", "4K", "5.4"));
    let (expected, own_digests) = structure_and_digests(own.path());
    let mut judged = 0;
    let all: [&[&str]; 18] = [
        &[],
        &["-zlz4"],
        &["-zlz4hc", "-C65536"],
        &["-zlz4", "-Elegacy-compress"],
        &["-zlz4", "-C16384", "-Elegacy-compress"],
        &["-zlz4hc", "-C65536", "-Eztailpacking"],
        &["-zlz4", "-C65536", "-Efragments,ztailpacking"],
        &["-zlz4", "-C65536", "-Eall-fragments,dedupe"],
        &["--chunksize=4096"],
        &["-zlz4hc,12", "-C1048576", "-Eztailpacking"],
        &["-zzstd,3", "-C65536", "-Eztailpacking"],
        &["-zzstd,3", "-C65536", "-Efragments"],
        &["-zzstd,3", "-C65536", "-Elegacy-compress"],
        &["-zdeflate,6", "-C65536", "-Efragments"],
        &["-zdeflate,6", "-C16384", "-Eztailpacking"],
        &["-zlz4hc,9", "-C65536", "-E48bit"],
        &["-zzstd,3", "-C131072", "-E48bit,fragments"],
        &["-E48bit"],
    ];
    for (mkfs, fsck) in erofs_utils("mkfs.erofs").into_iter().zip(erofs_utils("fsck.erofs")) {
        for arguments in all {
            let image = NamedTempFile::new().unwrap();
            let mut command: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            command.extend([image.path().as_os_str(), source.path().as_os_str()]);
            let Some(output) = host::run(mkfs.to_str().unwrap(), &command) else { continue };
            let what = format!("{} {arguments:?}", mkfs.display());
            if !output.status.success() {
                println!("not run: {what} (it cannot)");
                continue;
            }
            judged += 1;
            let extracted;
            let contents = if arguments.iter().any(|argument| argument.contains("fragments")) {
                let mounted = host::is_root().then(|| Mounted::if_it_can(image.path())).flatten();
                let directory = tempfile::tempdir().unwrap();
                if mounted.is_none() {
                    let to = format!("--extract={}", directory.path().display());
                    let arguments =
                        [to.as_ref(), OsStr::new("--overwrite"), image.path().as_os_str()];
                    assert!(host::judge(fsck.to_str().unwrap(), &arguments));
                }
                let shown = mounted.as_ref().map_or(directory.path(), |mounted| mounted.0.path());
                let (own, _) = write_directory(shown, &options("none", "4K", "5.4"));
                (_, extracted) = structure_and_digests(own.path());
                &extracted
            } else {
                &own_digests
            };
            let (structure, digests) = structure_and_digests(image.path());
            for (found, expected) in structure.iter().zip(&expected) {
                assert_eq!(found, expected, "{what}");
            }
            assert_eq!(structure.len(), expected.len(), "{what}");
            for (path, digest) in &digests {
                let shown = path.as_str();
                assert_eq!(contents.get(shown), Some(digest), "{what}: {shown}");
            }
        }
    }
    if judged == 0 {
        println!("not run: images_of_mkfs_are_read (no mkfs.erofs)");
    }
}

/// The lines of an image's dump without times and digests, and the digests by path.
///
/// `mkfs.erofs` gives every inode one time; `fsck.erofs` makes no hard links.
fn structure_and_digests(image: &Path) -> (Vec<String>, BTreeMap<String, String>) {
    let mut dumped = String::new();
    let reader = Reader::open(File::open(image).unwrap()).unwrap();
    dump(&reader, &Limits::default(), &mut dumped).unwrap();
    let mut digests = BTreeMap::new();
    let mut line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields[10] != "-" {
            digests.insert(fields[0].to_owned(), fields[10].to_owned());
        }
        let kept = fields.iter().enumerate().filter(|(i, _)| ![7, 10].contains(i));
        kept.map(|(_, field)| *field).collect::<Vec<_>>().join(" ")
    };
    let lines = dumped.lines().map(&mut line).collect();
    (lines, digests)
}

#[test]
fn threads_do_not_change_a_byte() {
    let source = source();
    for options in variants() {
        let read = |threads: usize| {
            let threads = threads.try_into().unwrap();
            let (image, _) =
                write_directory(source.path(), &Options { threads, ..options.clone() });
            fs::read(image.path()).unwrap()
        };
        let one = read(1);
        assert!(one == read(1) && one == read(8) && one == read(3), "{options:?}");
    }
}

fn store(writer: &mut Writer, bytes: &[u8]) -> Contents {
    writer.store(bytes.len() as u64, &mut &*bytes).unwrap()
}

#[test]
fn what_no_inode_has_is_not_in_the_image() {
    let marker = b"a secret that was deleted: 6f1ed002ab5595859014ebf0951522d9 ";
    for options in variants() {
        let file = NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), &options).unwrap();
        let mut tree = Tree::new(Stat::directory());
        // Enough small ones for every chain of the packed inode.
        let sizes = [40, 5000, 70_000, 4_500_000].into_iter().chain([70_001; 60]);
        for (n, size) in sizes.enumerate() {
            // Noise keeps the marker readable in compressed blocks too.
            let secret = [&marker[..], &noise(n as u64 + 9, size), marker].concat();
            store(&mut writer, &secret);
            let kept = store(&mut writer, &noise(n as u64 + 77, size));
            let stat = Stat::directory();
            let ino = tree.add(Inode { stat, content: Content::Regular(kept) });
            tree.link(format!("kept-{n}").as_bytes(), ino);
        }
        writer.finish(&tree).unwrap_or_else(|error| panic!("{error}: {options:?}"));
        let image = fs::read(file.path()).unwrap();
        let found =
            image.windows(32).position(|window| marker.windows(32).any(|part| part == window));
        assert_eq!(found, None, "{options:?}");
        fsck(file.path());
    }
}

/// Chains of the packed inode whose segments end anywhere: with nothing left over, plain, cut short.
#[test]
fn chains_of_any_lengths() {
    let tall = ["4K", "64K", "1M"].map(|cluster| options("lz4", cluster, "6.1"));
    for (seed, options) in (1..).zip(tall.iter().cycle().take(12)) {
        let file = NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), options).unwrap();
        let mut tree = Tree::new(Stat::directory());
        let lengths = noise(seed, 4 * 300);
        for (n, random) in lengths.chunks(4).enumerate() {
            let length = usize::from(u16::from_le_bytes([random[0], random[1]]));
            let n = n as u64;
            let bytes = match random[2] % 4 {
                0 => noise(seed * 1000 + n, length),
                1 => [vec![0; length], n.to_le_bytes().to_vec()].concat(),
                2 => [noise(seed * 1000 + n, length / 2), vec![b'x'; length / 2]].concat(),
                _ => text(seed * 1000 + n, length / 2),
            };
            let content = Content::Regular(store(&mut writer, &bytes));
            let ino = tree.add(Inode { stat: Stat::directory(), content });
            // Some are not in the image after all.
            if random[3] % 64 > 0 || n < 200 {
                tree.link(n.to_string().as_bytes(), ino);
            }
        }
        writer.finish(&tree).unwrap_or_else(|error| panic!("{seed}: {error}: {options:?}"));
        fsck(file.path());
    }
}

#[test]
fn equal_files_are_stored_once() {
    for options in variants() {
        let file = NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), &options).unwrap();
        let mut tree = Tree::new(Stat::directory());
        let (large, small) = (noise(3, 3_000_000), noise(4, 6000));
        let handles: Vec<_> =
            (0..6).flat_map(|_| [store(&mut writer, &large), store(&mut writer, &small)]).collect();
        // Kernels before 6.0 cannot read one compressed cluster for two inodes.
        let shares = options.compression == Compression::None
            || options.min_kernel >= "6.0".parse().unwrap();
        assert_eq!(handles.iter().skip(2).step_by(2).all(|handle| *handle == handles[0]), shares);
        assert_ne!(handles[0], handles[1]);
        for (n, handle) in handles.into_iter().enumerate() {
            let ino =
                tree.add(Inode { stat: Stat::directory(), content: Content::Regular(handle) });
            tree.link(n.to_string().as_bytes(), ino);
        }
        let staged = writer.finish(&tree).unwrap();
        // Each name has a tail of its own behind its inode, but no block.
        assert_eq!(staged.size() < 3_060_000, shares, "{options:?}: {}", staged.size());
        fsck(file.path());
    }
}

#[test]
fn directories_and_attributes_of_any_size() {
    let mut writer =
        Writer::new(tempfile::tempfile().unwrap(), &options("none", "4K", "5.4")).unwrap();
    let mut stat = Stat::directory();
    stat.xattrs.insert(b"security.selinux", b"system_u:object_r:lib_t:s0\0");
    let mut tree = Tree::new(stat.clone());
    let contents = store(&mut writer, b"the same in all");
    let mut directory = Directory::new();
    for n in 0..100_000 {
        let content = Content::Regular(contents);
        let ino = tree.add(Inode { stat: stat.clone(), content });
        directory.insert(format!("entry-{n}-{}", n % 977).as_bytes(), ino);
    }
    let ino = tree.add(Inode { stat: stat.clone(), content: Content::Directory(directory) });
    assert!(tree.link(b"many", ino));
    for (name, count, size) in [("large", 3, 65_535), ("many values", 300, 500), ("some", 20, 3000)]
    {
        let mut stat = Stat::directory();
        for n in 0..count {
            stat.xattrs.insert(format!("user.{n}").as_bytes(), &vec![b'v'; size]);
        }
        for n in 0..3 {
            let content = Content::Regular(contents);
            let ino = tree.add(Inode { stat: stat.clone(), content });
            assert!(tree.link(format!("{name}-{n}").as_bytes(), ino));
        }
    }
    let file = NamedTempFile::new().unwrap();
    let staged = writer.finish(&tree).unwrap();
    io::copy(&mut staged.file().try_clone().unwrap(), &mut file.reopen().unwrap()).unwrap();
    // 100,000 labels of 40 bytes would be 4 MB; each entry costs 64 bytes and its name.
    assert!(staged.size() < 10_500_000, "{}", staged.size());
    if !host::is_root() {
        println!("not run: the kernel's part of directories_and_attributes_of_any_size (not root)");
        return;
    }
    let mounted = Mounted::by_loop_device(file.path());
    let root = mounted.0.path();
    assert_eq!(fs::read_dir(root.join("many")).unwrap().count(), 100_000);
    for n in (0..100_000).step_by(3331) {
        let path = root.join(format!("many/entry-{n}-{}", n % 977));
        assert_eq!(fs::read(path).unwrap(), b"the same in all");
    }
    let mut value = vec![0; 1 << 16];
    let n = rustix::fs::getxattr(root.join("large-1"), "user.2", &mut value[..]).unwrap();
    assert_eq!((n, value[65_534]), (65_535, b'v'));
    let n = rustix::fs::getxattr(root.join("many values-2"), "user.299", &mut value[..]).unwrap();
    assert_eq!(n, 500);
}

#[test]
#[ignore = "writes and reads several GiB"]
fn files_and_images_over_4_gib() {
    let file = NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), &options("lz4", "64K", "6.1")).unwrap();
    let mut tree = Tree::new(Stat::directory());
    let size = (4 << 30) + 12_345;
    let mut add = |name: &str, contents| {
        let ino = tree.add(Inode { stat: Stat::directory(), content: Content::Regular(contents) });
        assert!(tree.link(name.as_bytes(), ino));
    };
    let mut zeros = io::repeat(0).take(size);
    add("zeros", writer.store(size, &mut zeros).unwrap());
    let block = noise(3, 1 << 20);
    let mut repeated = Repeated { block: &block, position: 0 }.take(size);
    add("noise", writer.store(size, &mut repeated).unwrap());
    add("last", store(&mut writer, b"behind 4 GiB"));
    let staged = writer.finish(&tree).unwrap();
    assert!(staged.size() > size);
    // That of 1.5, which cannot read an extent of 4 GiB, knows no packed inode.
    fsck(file.path());
    if host::is_root() {
        let mounted = Mounted::by_loop_device(file.path());
        let last = File::open(mounted.0.path().join("noise")).unwrap();
        let mut found = [0; 100];
        last.read_exact_at(&mut found, size - 100).unwrap();
        let start = usize::try_from((size - 100) % (1 << 20)).unwrap();
        assert_eq!(found, block[start..start + 100]);
    }
}

/// A block, again and again, each time with its number in it.
struct Repeated<'a> {
    block: &'a [u8],
    position: usize,
}

impl Read for Repeated<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let start = self.position % self.block.len();
        let n = bytes.len().min(self.block.len() - start);
        bytes[..n].copy_from_slice(&self.block[start..start + n]);
        self.position += n;
        Ok(n)
    }
}

/// Row 81.
#[test]
fn a_full_disk_is_a_fault_of_the_host() {
    let full = || File::options().read(true).write(true).open("/dev/full").unwrap();
    let tree = Tree::new(Stat::directory());
    let error =
        Writer::new(full(), &options("none", "4K", "5.4")).unwrap().finish(&tree).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Io, "{error}");
    for options in variants() {
        let mut writer = Writer::new(full(), &options).unwrap();
        let noise = noise(1, 30 << 20);
        let stored = writer.store(30 << 20, &mut &*noise);
        assert!(matches!(stored, Err(oci2sysext::layer::SinkError::Write(_))), "{stored:?}");
    }
}

#[test]
fn a_reader_that_fails_is_not_the_disk() {
    let mut writer =
        Writer::new(tempfile::tempfile().unwrap(), &options("lz4", "4K", "5.4")).unwrap();
    let stored = writer.store(10, &mut &b"short"[..]);
    assert!(matches!(stored, Err(oci2sysext::layer::SinkError::Read(_))), "{stored:?}");
}
