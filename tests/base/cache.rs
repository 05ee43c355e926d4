//! The cache of listings.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::need;
use crate::{Shop, base, over};

const SIZE: usize = 1 << 20;
/// More than documents, headers and the extension.
const LITTLE: u64 = 20 << 10;

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    entries
}

/// The first extension of a base reads all of it, another one nothing; the bytes are the same as
/// without a cache, and the policy is the topmost layer's.
#[test]
fn the_second_extension_of_a_base_fetches_nothing_of_it() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let base = base(SIZE);
    shop.push("first", &over(&base, b"one"));
    shop.push("second", &over(&base, b"another"));
    let cache = shop.cache();
    let (_, bytes) = shop.convert("first", &[&cache]);
    assert!(bytes > 2 * SIZE as u64, "{bytes}");
    let (cached, bytes) = shop.convert("second", &[&cache]);
    assert!(bytes < LITTLE, "{bytes}");
    let (fresh, bytes) = shop.convert("second", &["--no-cache"]);
    assert!(bytes > 2 * SIZE as u64, "{bytes}");
    assert!(cached == fresh, "the cache changes bytes");
    let dump = shop.work.run(["dump", "tool.raw"]);
    assert!(dump.stdout.contains("local_bin_t"), "{dump:#?}");
    let directory = fs::metadata(shop.work.path("cache")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o700);
}

/// Row 88: an entry that is damaged, cut, empty, another layer's, of another version or somebody
/// else's to write is not believed, and written anew.
#[test]
fn row_88_a_bad_entry_is_written_anew() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    shop.push("bad", &over(&base(SIZE), b"tool"));
    let cache = shop.cache();
    let (good, _) = shop.convert("bad", &[&cache]);
    let directory = shop.work.path("cache");
    let kept = entries(&directory);
    assert_eq!(kept.len(), 3);
    let originals: Vec<_> = kept.iter().map(|path| fs::read(path).unwrap()).collect();
    let largest = (0..3).max_by_key(|&index| originals[index].len()).unwrap();
    let (path, original) = (&kept[largest], &originals[largest]);
    let other = &originals[(largest + 1) % 3];
    let flipped = |at: usize| {
        let mut bytes = original.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cut = |end: usize| original[..end].to_vec();
    for bad in [
        flipped(19),
        flipped(30),
        flipped(original.len() / 2),
        flipped(original.len() - 1),
        cut(original.len() - 1),
        cut(60),
        cut(10),
        Vec::new(),
        other.clone(),
        [original.as_slice(), b"x"].concat(),
    ] {
        fs::write(path, &bad).unwrap();
        let (again, bytes) = shop.convert("bad", &[&cache]);
        assert!(again == good && bytes > LITTLE, "{bytes}");
        assert_eq!(&fs::read(path).unwrap(), original);
        assert!(shop.convert("bad", &[&cache]).1 < LITTLE);
    }
    // What another may write, and what is no file.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(shop.convert("bad", &[&cache]).1 > LITTLE);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = shop.work.path("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
    assert!(shop.convert("bad", &[&cache]).1 > LITTLE);
    assert!(fs::symlink_metadata(path).unwrap().is_file());
    assert_eq!(&fs::read(&elsewhere).unwrap(), original);
}

/// A directory that others can look into, a symlink and a file are no caches: a warning says so,
/// and nothing is written there.
#[test]
fn a_directory_of_others_is_no_cache() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    shop.push("open", &over(&base(100), b"tool"));
    let (good, _) = shop.convert("open", &["--no-cache"]);
    let (open, link, file) =
        (shop.work.path("open"), shop.work.path("link"), shop.work.path("file"));
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    let own = shop.work.path("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&own, &link).unwrap();
    fs::write(&file, "").unwrap();
    for path in [&open, &link, &file] {
        let outcome = shop.run("open", &[&format!("--cache-dir={}", path.display())]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert!(outcome.stderr.contains("is not used as a cache"), "{outcome:#?}");
        assert!(fs::read(shop.work.out("tool.raw")).unwrap() == good);
    }
    assert!(entries(&open).is_empty() && entries(&own).is_empty());
}

/// Runs that fill and read one cache at the same time.
#[test]
fn concurrent_runs_share_a_cache() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    shop.push("shared", &over(&base(SIZE), b"tool"));
    let (good, _) = shop.convert("shared", &["--no-cache"]);
    let cache = shop.cache();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (shop, cache, good) = (&shop, &cache, &good);
            scope.spawn(move || {
                let name = format!("{number}/tool.raw");
                fs::create_dir(shop.work.out(&number.to_string())).unwrap();
                let outcome = shop.run("shared", &[cache, "-o", &name]);
                assert_eq!(outcome.code, 0, "{outcome:#?}");
                assert!(fs::read(shop.work.out(&name)).unwrap() == *good);
            });
        }
    });
    assert_eq!(entries(&shop.work.path("cache")).len(), 3);
    assert!(shop.convert("shared", &[&cache]).1 < LITTLE);
}

/// A layer whose `diff_id` is wrong leaves nothing in the cache.
#[test]
fn what_is_not_checked_to_its_end_is_not_kept() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let mut image = over(&base(100), b"tool");
    image.config["rootfs"]["diff_ids"][0] = serde_json::json!(format!("sha256:{}", "0".repeat(64)));
    shop.push("wrong", &image);
    let outcome = shop.run("wrong", &[&shop.cache()]);
    assert_eq!(outcome.code, 6, "{outcome:#?}");
    assert_eq!(entries(&shop.work.path("cache")).len(), 2);
}
