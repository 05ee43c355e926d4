//! What an image is made of, field by field; and images that are not what they should be.

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use zerocopy::FromBytes;

use super::check::check;
use super::format::{InodeCompact, InodeExtended, SuperBlock};
use super::{
    BLOCK, Compression, Contents, Level, Options, Reader, SelfCheck, Writer, ZstdLevel, size,
};
use crate::image::Error;
use crate::layer::ContentSink;
use crate::limits::Limits;
use crate::tree::{Content, Inode, Stat, Timestamp, Tree};

pub fn options(compression: Compression) -> Options {
    Options {
        compression,
        self_check: SelfCheck::Full,
        threads: 2.try_into().unwrap(),
        ..Options::default()
    }
}

fn add(tree: &mut Tree<Contents>, path: &str, stat: &Stat, content: Content<Contents>) {
    let ino = tree.add(Inode { stat: stat.clone(), content });
    assert!(tree.link(path.as_bytes(), ino), "{path}");
}

/// A small tree with one of everything.
fn small(writer: &mut Writer) -> Tree<Contents> {
    let mtime = Timestamp { sec: 1_700_000_000, nsec: 5 };
    let mut stat = Stat { mode: 0o755, mtime, ..Stat::default() };
    stat.xattrs.insert(b"security.selinux", b"system_u:object_r:usr_t:s0\0");
    let mut tree = Tree::new(stat.clone());
    add(&mut tree, "usr", &stat, Content::Directory(crate::tree::Directory::new()));
    add(&mut tree, "usr/bin", &stat, Content::Directory(crate::tree::Directory::new()));
    let mut own = Stat { mode: 0o4711, uid: 70_000, gid: 7, ..stat.clone() };
    own.xattrs.insert(b"security.capability", b"\x01\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let text = "all work and no play makes a dull image\n".repeat(500);
    let mut store =
        |bytes: &[u8]| Content::Regular(writer.store(super::len(bytes), &mut &*bytes).unwrap());
    add(&mut tree, "usr/bin/text", &own, store(text.as_bytes()));
    add(&mut tree, "usr/bin/short", &stat, store(b"short\n"));
    add(&mut tree, "usr/bin/empty", &stat, store(b""));
    add(&mut tree, "usr/to", &stat, Content::Symlink((*b"bin/text").into()));
    let old = Stat { mtime: Timestamp { sec: -1, nsec: 0 }, ..stat.clone() };
    add(&mut tree, "usr/null", &old, Content::CharDevice { rdev: 0x103 });
    let text = tree.lookup(b"usr/bin/text").unwrap();
    assert!(tree.link(b"usr/hard", text));
    tree
}

fn image_with(options: &Options) -> (File, Tree<Contents>) {
    let mut writer = Writer::new(tempfile::tempfile().unwrap(), options).unwrap();
    let tree = small(&mut writer);
    (writer.finish(&tree).unwrap().file().try_clone().unwrap(), tree)
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; size(file.metadata().unwrap().len())];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The structures of an image, in the order of their places.
fn fields(image: &[u8]) -> String {
    let mut text = String::new();
    let superblock = SuperBlock::read_from_prefix(&image[1024..]).unwrap().0;
    writeln!(text, "{superblock:#?}").unwrap();
    let start = size(u64::from(superblock.meta_blkaddr.get()) * BLOCK);
    let mut place = start + 32;
    for _ in 0..superblock.inos.get() {
        while image[place..place + 32].iter().all(|&byte| byte == 0) {
            place += 32;
        }
        let compact = InodeCompact::read_from_prefix(&image[place..]).unwrap().0;
        let layout = compact.i_format.get() >> 1;
        let icount = usize::from(compact.i_xattr_icount.get());
        writeln!(text, "\n# inode {}", (place - start) / 32).unwrap();
        let (mut end, length) = if compact.i_format.get() & 1 == 0 {
            writeln!(text, "{compact:#?}").unwrap();
            (place + 32, size(u64::from(compact.i_size.get())))
        } else {
            let extended = InodeExtended::read_from_prefix(&image[place..]).unwrap().0;
            writeln!(text, "{extended:#?}").unwrap();
            (place + 64, size(extended.i_size.get()))
        };
        if icount > 0 {
            let body = &image[end..end + 12 + (icount - 1) * 4];
            writeln!(text, "attributes: {}", body.escape_ascii()).unwrap();
            end += body.len();
        }
        let behind = match layout {
            2 => length % size(BLOCK),
            // The whole file is in the packed inode.
            3 if image[end.next_multiple_of(8) + 7] & 0x80 != 0 => {
                end.next_multiple_of(8) - end + 8
            }
            3 => {
                (end.next_multiple_of(8) - end)
                    + 8
                    + size(super::index::Width::Narrow.length(
                        u64::try_from(end.next_multiple_of(8) + 8).unwrap(),
                        u64::try_from(length).unwrap(),
                    ))
            }
            _ => 0,
        };
        writeln!(text, "behind: {}", image[end..end + behind].escape_ascii()).unwrap();
        place = (end + behind).next_multiple_of(32);
    }
    text
}

fn assert_golden(name: &str, found: &str) {
    let path = format!("{}/testdata/golden/erofs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("O2S_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "{path}; O2S_UPDATE_GOLDEN=1 accepts a change");
}

/// The bytes of images are a promise: whoever converts the same layer with the same version of
/// this program gets the same image. They may change with the version, and then in CHANGELOG.
#[test]
fn images_are_as_they_were() {
    let level = Level::default();
    for (name, compression, kernel) in [
        ("none", Compression::None, "6.1"),
        ("lz4", Compression::Lz4, "5.15"),
        ("lz4hc", Compression::Lz4hc(level), "6.1"),
        ("zstd", Compression::Zstd(ZstdLevel::default()), "6.15"),
    ] {
        let min_kernel = kernel.parse().unwrap();
        let (file, _) = image_with(&Options { min_kernel, ..options(compression) });
        let bytes = bytes_of(&file);
        let mut lines = String::new();
        super::dump(&Reader::open(file).unwrap(), &Limits::default(), &mut lines).unwrap();
        assert_golden("small.dump", &lines);
        let digest = blake3::hash(&bytes);
        assert_golden(
            &format!("small-{name}.fields"),
            &format!("blake3 {digest}\n{}", fields(&bytes)),
        );
    }
}

/// What a kernel must know to read an image: no more than the oldest one does, and no codec that
/// nobody asked for.
#[test]
fn features_are_those_of_the_oldest_kernel() {
    const PADDING: u32 = 0x01;
    const CFGS: u32 = 0x02;
    const TAILPACKING: u32 = 0x10;
    const FRAGMENTS: u32 = 0x20;
    const WIDE: u32 = 0x80;
    const LZ4: u16 = 1 << 0;
    const ZSTD: u16 = 1 << 3;
    // The field is the farthest match of LZ4 where there are no configurations.
    const DISTANCE: u16 = u16::MAX;
    for (codec, cluster, kernel, features, algorithms) in [
        ("none", None, "5.4", 0, 0),
        ("none", None, "6.18", 0, 0),
        ("lz4", None, "5.4", PADDING, DISTANCE),
        ("lz4hc:12", Some("4K"), "5.16", PADDING, DISTANCE),
        ("lz4", Some("4K"), "5.17", PADDING | TAILPACKING, DISTANCE),
        ("lz4", Some("4K"), "6.1", PADDING | FRAGMENTS, DISTANCE),
        ("lz4", None, "5.13", PADDING | CFGS, LZ4),
        ("lz4hc", Some("1M"), "5.17", PADDING | CFGS | TAILPACKING, LZ4),
        ("lz4hc", None, "6.0", PADDING | CFGS | TAILPACKING, LZ4),
        ("lz4hc", None, "6.1", PADDING | CFGS | FRAGMENTS, LZ4),
        ("lz4hc", None, "6.14", PADDING | CFGS | FRAGMENTS, LZ4),
        ("lz4hc", None, "6.15", PADDING | CFGS | FRAGMENTS, LZ4),
        ("zstd", Some("4K"), "6.10", PADDING | CFGS | FRAGMENTS, ZSTD),
        ("zstd:19", None, "6.14", PADDING | CFGS | FRAGMENTS, ZSTD),
        ("zstd", None, "7.0", PADDING | CFGS | FRAGMENTS | WIDE, ZSTD),
    ] {
        let (file, _) = image_with(&Options {
            min_kernel: kernel.parse().unwrap(),
            cluster_size: cluster.map(|size| size.parse().unwrap()),
            ..options(codec.parse().unwrap())
        });
        let superblock = SuperBlock::read_from_prefix(&bytes_of(&file)[1024..]).unwrap().0;
        let found = (superblock.feature_incompat.get(), superblock.available_compr_algs.get());
        assert_eq!(found, (features, algorithms), "{codec} {cluster:?} {kernel}");
    }
}

/// Hostile images: a megabyte of zeros is a few bytes, and many inodes may share them.
#[test]
fn what_is_decompressed_again_counts_again() {
    let mut writer =
        Writer::new(tempfile::tempfile().unwrap(), &options("zstd".parse().unwrap())).unwrap();
    let mut tree = Tree::new(Stat::directory());
    let zeros = vec![0; 3 << 20];
    let content = Content::Regular(writer.store(super::len(&zeros), &mut &*zeros).unwrap());
    add(&mut tree, "zeros", &Stat::directory(), content);
    let file = writer.finish(&tree).unwrap().file().try_clone().unwrap();
    let reader = Reader::open(file).unwrap();
    let limits = Limits { layer_uncompressed: 5 << 20, ..Limits::default() };
    let image = reader.image(&limits).unwrap();
    let located = image.tree.walk().find_map(|entry| match &entry.inode.content {
        Content::Regular(located) => Some(located.clone()),
        _ => None,
    });
    let read = || {
        let mut contents = reader.contents(located.as_ref().unwrap()).unwrap();
        std::io::copy(&mut contents, &mut std::io::sink())
    };
    assert_eq!(read().unwrap(), 3 << 20);
    let error = read().unwrap_err();
    assert!(error.to_string().contains("layer-uncompressed"), "{error}");
}

/// Attributes and targets count as names do: they are all kept in memory.
#[test]
fn attributes_and_targets_are_names_too() {
    let mut writer =
        Writer::new(tempfile::tempfile().unwrap(), &options(Compression::None)).unwrap();
    let mut tree = small(&mut writer);
    let ino = tree.lookup(b"usr/to").unwrap();
    let mut stat = Stat::directory();
    stat.xattrs.insert(b"user.large", &vec![1; 60_000]);
    tree.inode_mut(ino).stat = stat;
    let file = writer.finish(&tree).unwrap().file().try_clone().unwrap();
    let reader = Reader::open(file).unwrap();
    let limits = |names| Limits { names, ..Limits::default() };
    assert!(reader.image(&limits(62_000)).is_ok());
    let refused = reader.image(&limits(59_000));
    assert!(matches!(refused, Err(Error::Limit { name: "names", .. })), "{refused:?}");
}

#[test]
fn a_changed_image_fails_the_self_check() {
    for compression in [Compression::None, Compression::Lz4] {
        let mut writer = Writer::new(tempfile::tempfile().unwrap(), &options(compression)).unwrap();
        let tree = small(&mut writer);
        let (file, digests) = writer.finish_unchecked(&tree).unwrap();
        let check = || check(&file, &tree, digests.as_deref());
        let bytes = bytes_of(&file);
        let mut found = 0;
        for place in (1024..bytes.len()).filter(|&place| bytes[place] != 0) {
            file.write_all_at(&[bytes[place] ^ 0x11], u64::try_from(place).unwrap()).unwrap();
            found += u32::from(check().is_err());
            file.write_all_at(&[bytes[place]], u64::try_from(place).unwrap()).unwrap();
        }
        check().unwrap();
        let changed =
            u32::try_from(bytes[1024..].iter().filter(|&&byte| byte != 0).count()).unwrap();
        // The numbers for 32-bit stat and addresses that nothing uses may say what they like.
        assert!(found * 10 > changed * 9, "{compression:?}: {found} of {changed}");
    }
}

type Change = fn(&mut Tree<Contents>);

#[test]
fn a_tree_that_is_not_the_image_is_noticed() {
    let (file, tree) = image_with(&options(Compression::Lz4));
    let facts: [(&str, Change); 7] = [
        ("mode", |tree| tree.inode_mut(tree.lookup(b"usr/to").unwrap()).stat.mode = 0o700),
        ("owner", |tree| tree.inode_mut(tree.lookup(b"usr").unwrap()).stat.gid = 1),
        ("mtime", |tree| tree.inode_mut(tree.lookup(b"usr/bin").unwrap()).stat.mtime.nsec = 6),
        ("extended attributes", |tree| {
            let ino = tree.lookup(b"usr/bin/short").unwrap();
            assert!(tree.inode_mut(ino).stat.xattrs.remove(b"security.selinux"));
        }),
        ("path", |tree| assert!(tree.remove(b"usr/bin/empty").is_some())),
        ("target", |tree| {
            let ino = tree.lookup(b"usr/to").unwrap();
            tree.inode_mut(ino).content = Content::Symlink((*b"bin/texz").into());
        }),
        ("links", |tree| assert!(tree.remove(b"usr/hard").is_some())),
    ];
    for (fact, change) in facts {
        let mut tree = tree.clone();
        change(&mut tree);
        match check(&file, &tree, None) {
            Err(Error::Mismatch { what, .. }) if what == fact || fact == "links" => {}
            other => panic!("{fact}: {other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_stored_is_refused() {
    for (name, value) in [(&b"system.other"[..], 1), (b"user.", 1), (b"user.long", 70_000)] {
        let mut writer =
            Writer::new(tempfile::tempfile().unwrap(), &options(Compression::None)).unwrap();
        let mut tree = small(&mut writer);
        let ino = tree.lookup(b"usr/to").unwrap();
        tree.inode_mut(ino).stat.xattrs.insert(name, &vec![1; value]);
        let error = writer.finish(&tree).unwrap_err();
        assert!(matches!(&error, Error::Unwritable { path, .. } if path == "usr/to"), "{error}");
    }
}

/// The blocks of its directory would never end.
#[test]
fn a_name_longer_than_a_block_is_refused() {
    for length in [255, 256, 4084, 4085, 9000] {
        let mut writer =
            Writer::new(tempfile::tempfile().unwrap(), &options(Compression::None)).unwrap();
        let mut tree = small(&mut writer);
        let path = format!("usr/bin/{}", "n".repeat(length));
        add(&mut tree, &path, &Stat::default(), Content::Fifo);
        match writer.finish(&tree) {
            Ok(_) => assert_eq!(length, 255),
            Err(error) => {
                let expected = format!("found a name of {length} bytes, expected at most 255");
                assert!(length > 255 && error.to_string().contains(&expected), "{error}");
            }
        }
    }
}

/// Directories of two and three blocks, the last of them full, nearly full and nearly empty.
#[test]
fn directories_end_where_blocks_do() {
    let mut lengths = std::collections::BTreeSet::new();
    for last in 1..=255 {
        let mut writer =
            Writer::new(tempfile::tempfile().unwrap(), &options(Compression::None)).unwrap();
        let mut tree = Tree::new(Stat::directory());
        writer.store(0, &mut &b""[..]).unwrap();
        for (n, width) in std::iter::repeat_n(252, 30).chain([last]).enumerate() {
            let name =
                format!("{}{}", char::from(b'A' + u8::try_from(n).unwrap()), "n".repeat(width - 1));
            add(&mut tree, &name, &Stat::default(), Content::Fifo);
        }
        let entries = tree.directory(Tree::<Contents>::ROOT).unwrap();
        let names = [&b"."[..], b".."].into_iter().chain(entries.names());
        lengths.insert(super::directory::length(names) % BLOCK);
        writer.finish(&tree).unwrap();
    }
    assert!([BLOCK - 1, 0].iter().all(|length| lengths.contains(length)), "{lengths:?}");
    assert!(lengths.len() > 200);
}

/// An image with one file.
fn image_of(contents: &[u8], options: &Options) -> Vec<u8> {
    let mut writer = Writer::new(tempfile::tempfile().unwrap(), options).unwrap();
    let mut tree = Tree::new(Stat::directory());
    let stored = writer.store(super::len(contents), &mut &*contents).unwrap();
    add(&mut tree, "file", &Stat::directory(), Content::Regular(stored));
    bytes_of(writer.finish(&tree).unwrap().file())
}

/// Text that shrinks, but not to nothing.
fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{} ", n.wrapping_mul(n) % 40_009).into_bytes()).collect()
}

/// Reads all of an image, whose superblock's checksum is made right before.
fn read(bytes: Vec<u8>) -> Result<String, Error> {
    read_within(bytes, &Limits::default())
}

fn read_within(mut bytes: Vec<u8>, limits: &Limits) -> Result<String, Error> {
    bytes[1028..1032].fill(0);
    let checksum = !crc32c::crc32c(&bytes[1024..4096]);
    bytes[1028..1032].copy_from_slice(&checksum.to_le_bytes());
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let mut lines = String::new();
    super::dump(&Reader::open(file)?, limits, &mut lines)?;
    Ok(lines)
}

/// Where the configuration of the first algorithm starts, with its length.
const CONFIGURATION: usize = 1024 + 128;

#[test]
fn clusters_are_no_larger_than_the_superblock_says() {
    let numbers = numbers(200_000);
    let lz4 = image_of(&numbers, &options("lz4".parse().unwrap()));
    let zstd = image_of(&numbers, &options("zstd".parse().unwrap()));
    read(lz4.clone()).unwrap();
    read(zstd.clone()).unwrap();
    let refused = |image: &[u8], place: usize, value: u8, problem: &str| {
        let mut image = image.to_owned();
        assert_ne!(image[place], value);
        image[place] = value;
        let error = read(image).unwrap_err().to_string();
        assert!(error.contains(problem), "{place}: {error}");
    };
    refused(&lz4, CONFIGURATION, 13, "found 13 bytes of configuration of LZ4");
    refused(&lz4, CONFIGURATION + 4, 15, "found 16 blocks of a cluster of LZ4");
    refused(&lz4, CONFIGURATION + 4, 0, "found 16 blocks of a cluster of LZ4");
    refused(&lz4, CONFIGURATION + 5, 1, "found clusters of 272 blocks");
    refused(&zstd, CONFIGURATION + 2, 1, "found the format 1");
    refused(&zstd, CONFIGURATION + 3, 11, "a window of 2^21 bytes");
    refused(&zstd, CONFIGURATION + 3, 7, "found a broken Zstandard cluster");
    // Bits of algorithms: another one, which takes the first configuration, and an unknown one.
    let little = image_of(b"", &options("zstd".parse().unwrap()));
    refused(&little, 1024 + 84, 1 << 2 | 1 << 3, "found 65536 bytes of configuration of Zstandard");
    refused(&lz4, 1024 + 85, 1, "found the algorithm 8 in the superblock");
    refused(&lz4, 1024 + 13, 200, "found a superblock of 3200 more than 128 bytes");
    // No configurations: the same bit says that there are no large clusters.
    refused(&lz4, 1024 + 80, lz4[1024 + 80] & !2, "found large clusters");
}

/// Kernels look for the end of the padding in a cluster's first block.
#[test]
fn a_cluster_that_starts_with_a_block_of_zeros_is_corrupt() {
    let numbers = numbers(200_000);
    for codec in ["lz4", "lz4hc:9", "zstd"] {
        let cluster_size = Some("64K".parse().unwrap());
        let options = Options { cluster_size, ..options(codec.parse().unwrap()) };
        let mut image = image_of(&numbers, &options);
        read(image.clone()).unwrap();
        image[4096..8192].fill(0);
        let error = read(image).unwrap_err().to_string();
        assert!(error.contains("found 4096 zeros"), "{codec}: {error}");
    }
}

#[test]
fn a_table_of_extents_is_searched_within_the_budget() {
    let numbers = numbers(200_000);
    let options = Options {
        cluster_size: Some("4K".parse().unwrap()),
        min_kernel: "6.15".parse().unwrap(),
        ..options("zstd".parse().unwrap())
    };
    let image = image_of(&numbers, &options);
    // Each of the 280 extents takes about a dozen looks.
    let read = |more| {
        let layer_uncompressed = super::len(&numbers) + more;
        read_within(image.clone(), &Limits { layer_uncompressed, ..Limits::default() })
    };
    read(300_000).unwrap();
    let refused = read(100_000);
    assert!(matches!(refused, Err(Error::Limit { name: "layer-uncompressed", .. })), "{refused:?}");
}

#[test]
fn nothing_of_a_file_is_in_the_superblocks_block() {
    let bytes = super::compress::noise(9000);
    let encoded = Options {
        cluster_size: Some("4K".parse().unwrap()),
        min_kernel: "6.15".parse().unwrap(),
        ..options("zstd".parse().unwrap())
    };
    let text = numbers(2000);
    // How the first address is stored.
    for (contents, options, address) in [
        (&bytes, &options(Compression::None), &1u32.to_le_bytes()[..]),
        (&text, &encoded, &4096u64.to_le_bytes()),
    ] {
        let mut image = image_of(contents, options);
        read(image.clone()).unwrap();
        let mut meta = [0; 4];
        meta.copy_from_slice(&image[1024 + 40..][..4]);
        let meta = size(u64::from(u32::from_le_bytes(meta)) * BLOCK);
        let is_file = |inode: &usize| image[inode + 5] & 0xf0 == 0x80;
        let file = (meta..image.len()).step_by(32).find(is_file).unwrap();
        let place = file + image[file..].windows(address.len()).position(|w| w == address).unwrap();
        image[place..place + address.len()].fill(0);
        let error = read(image).unwrap_err().to_string();
        assert!(error.contains("behind the superblock's block"), "{error}");
    }
    let mut image = image_of(&bytes, &options(Compression::None));
    image[1024 + 40..][..4].fill(0);
    image[1024 + 14] = 33;
    let error = read(image).unwrap_err().to_string();
    assert!(error.contains("found the inode number 33"), "{error}");
}

#[test]
fn what_a_kernel_needs_is_told_by_the_superblock() {
    const EROFS: &str = "CONFIG_EROFS_FS";
    const ZIP: &str = "CONFIG_EROFS_FS_ZIP";
    const ZSTD: &str = "CONFIG_EROFS_FS_ZIP_ZSTD";
    for (codec, cluster, kernel, since, options) in [
        ("none", "4K", "6.18", "5.4", &[EROFS][..]),
        ("lz4", "4K", "5.16", "5.4", &[EROFS, ZIP]),
        ("lz4", "16K", "5.16", "5.13", &[EROFS, ZIP]),
        ("lz4", "4K", "6.0", "5.17", &[EROFS, ZIP]),
        ("lz4hc", "64K", "6.18", "6.1", &[EROFS, ZIP]),
        ("zstd", "64K", "6.14", "6.10", &[EROFS, ZIP, ZSTD]),
        ("zstd", "64K", "7.0", "6.15", &[EROFS, ZIP, ZSTD]),
    ] {
        let (file, _) = image_with(&Options {
            min_kernel: kernel.parse().unwrap(),
            cluster_size: Some(cluster.parse().unwrap()),
            ..self::options(codec.parse().unwrap())
        });
        let needs = Reader::open(file).unwrap().needs();
        assert_eq!(needs.kernel.to_string(), since, "{codec} {cluster} {kernel}");
        assert_eq!(needs.options, options, "{codec} {cluster} {kernel}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is in an image: an error, or an answer that ends.
    #[test]
    fn hostile_images_do_no_harm(
        which in 0..6usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        thread_local! {
            static IMAGES: [Vec<u8>; 6] = [
                ("none", "5.4"), ("lz4", "5.15"), ("lz4", "5.17"), ("lz4hc", "6.1"), ("zstd", "6.10"),
                ("zstd", "6.15"),
            ].map(|(codec, kernel)| {
                let options = options(codec.parse().unwrap());
                let min_kernel = kernel.parse().unwrap();
                bytes_of(&image_with(&Options { min_kernel, ..options }).0)
            });
        }
        let mut bytes = IMAGES.with(|images| images[which].clone());
        // Only bytes that mean something; the superblock's checksum is made right again.
        let used: Vec<usize> = (1032..bytes.len()).filter(|&place| bytes[place] != 0).collect();
        for (place, value) in changes {
            bytes[used[place.index(used.len())]] = value;
        }
        bytes[1028..1032].fill(0);
        let checksum = !crc32c::crc32c(&bytes[1024..4096]);
        bytes[1028..1032].copy_from_slice(&checksum.to_le_bytes());
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        if let Ok(reader) = Reader::open(file) {
            let _ = super::dump(&reader, &Limits { entries: 1000, ..Limits::default() }, &mut String::new());
        }
    }
}
