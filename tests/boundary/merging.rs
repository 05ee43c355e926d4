//! What several layers come to: whiteouts, opaque directories, replaced types, hard links across
//! them, and which contents reach the sink.

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::layer::{self, Error, Fate, LayerOptions, LayerTree, Stored, Whiteout};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Digest;
use oci2sysext::tree::Content;
use oci2sysext::verify::Origin;

use crate::blob::{Layer, MemorySink};
use crate::tars::{Header, Tar};

/// `usr` is kept, `etc` waits, the rest goes.
fn fate(path: &[u8]) -> Fate {
    match path.split(|&byte| byte == b'/').next() {
        Some(b"usr") => Fate::Keep,
        Some(b"etc") => Fate::Hold,
        _ => Fate::Drop,
    }
}

/// Merged layers, and what the sink was given.
struct Merged {
    tree: LayerTree<Vec<u8>>,
    stored: Vec<Vec<u8>>,
}

fn try_merge(layers: &[Layer], limits: &Limits) -> Result<Merged, Error> {
    let blobs: Vec<_> = layers.iter().map(Layer::blob).collect();
    let options = LayerOptions { limits, fate: &fate, keep_ima: false };
    let mut sink = MemorySink::default();
    let tree = layer::read_all(&blobs, &options, &mut sink)?;
    Ok(Merged { tree, stored: sink.stored })
}

fn merge(layers: impl IntoIterator<Item = Tar>) -> Merged {
    let layers: Vec<_> = layers.into_iter().map(|tar| Layer::gzip(&tar.end())).collect();
    try_merge(&layers, &Limits::default()).unwrap()
}

/// Which layer is refused, and why.
fn refused(layers: impl IntoIterator<Item = Tar>) -> (usize, String) {
    let layers: Vec<_> = layers.into_iter().map(|tar| Layer::tar(&tar.end())).collect();
    let error = try_merge(&layers, &Limits::default()).err().unwrap();
    assert_eq!(error.exit_code(), ExitCode::Malformed, "{error}");
    let digests = layers.iter().map(|layer| Digest::of(&layer.stored));
    let layer = digests.into_iter().position(|digest| digest == error.layer).unwrap();
    (layer, error.to_string())
}

impl Merged {
    /// Each path with a letter for its type; of files the contents, of symlinks the target.
    fn list(&self) -> Vec<String> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let entries = self.tree.tree.walk().filter(|entry| !entry.path.is_empty());
        let line = |entry: oci2sysext::tree::Entry<'_, Stored<Vec<u8>>>| {
            let path = text(&entry.path);
            match &entry.inode.content {
                Content::Directory(_) => format!("{path}/"),
                Content::Symlink(target) => format!("{path} -> {}", text(target)),
                Content::Regular(Stored::Sunk(content)) => {
                    format!("{path}: {}", text(content))
                }
                Content::Regular(Stored::Held(held)) => {
                    let mut bytes = Vec::new();
                    std::io::Read::read_to_end(&mut held.reader(), &mut bytes).unwrap();
                    format!("{path} waits: {}", text(&bytes))
                }
                Content::Regular(Stored::Dropped { size }) => format!("{path} dropped: {size}"),
                other => format!("{path} {}", other.type_name()),
            }
        };
        entries.map(line).collect()
    }

    fn stored(&self) -> Vec<&str> {
        self.stored.iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect()
    }

    /// What is deleted of the base: a `?` where the base may have nothing there.
    fn whiteouts(&self) -> Vec<String> {
        let line = |Whiteout { path, opaque, deletes_own }: &Whiteout| {
            let path = path.escape_ascii();
            let (kind, doubt) =
                (if *opaque { "/" } else { "" }, if *deletes_own { "?" } else { "" });
            format!("{path}{kind}{doubt}")
        };
        self.tree.whiteouts.iter().map(line).collect()
    }
}

#[test]
fn an_upper_layer_adds_replaces_and_deletes() {
    let merged = merge([
        Tar::new()
            .dir(b"usr")
            .file(b"usr/z", b"lower z")
            .file(b"usr/b", b"lower b")
            .file(b"usr/secret", b"SECRET")
            .file(b"etc/c", b"lower c")
            .file(b"var/d", b"lower d"),
        Tar::new()
            .dir(b"usr")
            .file(b"usr/.wh.secret", b"")
            .file(b"usr/.wh.of-the-base", b"")
            .file(b"usr/y", b"upper y")
            .file(b"usr/b", b"upper b")
            .file(b"etc/c", b"upper c"),
    ]);
    assert_eq!(
        merged.list(),
        [
            "etc/",
            "etc/c waits: upper c",
            "usr/",
            "usr/b: upper b",
            "usr/y: upper y",
            "usr/z: lower z",
            "var/",
            "var/d dropped: 7"
        ]
    );
    // In the order of the paths, and what is gone was never there.
    assert_eq!(merged.stored(), ["upper b", "upper y", "lower z"]);
    assert_eq!(merged.whiteouts(), ["usr/of-the-base", "usr/secret?"]);
}

#[test]
fn one_layer_is_read_as_ever() {
    let tar = Tar::new().file(b"usr/z", b"z").file(b"usr/a", b"a").file(b"usr/.wh.a", b"");
    let merged = merge([tar]);
    assert_eq!(merged.stored(), ["z", "a"]);
    assert_eq!(merged.whiteouts(), ["usr/a"]);
}

#[test]
fn a_deleted_directory_is_deleted_with_all_below() {
    let merged = merge([
        Tar::new().dir(b"usr").dir(b"usr/d").file(b"usr/d/x", b"old").file(b"usr/d/y", b"old"),
        Tar::new().file(b"usr/.wh.d", b""),
        Tar::new().dir(b"usr/d").file(b"usr/d/y", b"new"),
    ]);
    assert_eq!(merged.list(), ["usr/", "usr/d/", "usr/d/y: new"]);
    assert_eq!((merged.stored(), merged.whiteouts()), (vec!["new"], vec!["usr/d?".to_owned()]));
    // In one layer, whichever comes first.
    for tar in [
        Tar::new().file(b"usr/.wh.d", b"").dir(b"usr/d").file(b"usr/d/y", b"new"),
        Tar::new().dir(b"usr/d").file(b"usr/d/y", b"new").file(b"usr/.wh.d", b""),
        Tar::new().dir(b"usr/d").file(b"usr/d/y", b"new").file(b"usr/d/.wh..wh..opq", b""),
    ] {
        let merged = merge([Tar::new().dir(b"usr/d").file(b"usr/d/x", b"old"), tar]);
        assert_eq!(merged.list(), ["usr/", "usr/d/", "usr/d/y: new"]);
        assert_eq!(merged.stored(), ["new"]);
    }
}

#[test]
fn an_opaque_root_hides_all_lower_layers() {
    let merged = merge([
        Tar::new().file(b"usr/x", b"old").file(b"etc/x", b"old"),
        Tar::new().file(b".wh..wh..opq", b"").file(b"usr/y", b"new"),
    ]);
    assert_eq!(merged.list(), ["usr/", "usr/y: new"]);
    assert_eq!(merged.whiteouts(), ["/?"]);
}

#[test]
fn a_path_may_become_anything() {
    let merged = merge([
        Tar::new()
            .dir(b"usr/dir-link")
            .file(b"usr/dir-link/below", b"old")
            .symlink(b"usr/link-dir", b"dir-link")
            .dir(b"usr/dir-file")
            .file(b"usr/dir-file/below", b"old")
            .file(b"usr/file-dir", b"old")
            .dir(b"usr/dir-file-dir")
            .file(b"usr/dir-file-dir/below", b"old")
            .file(b"usr/file-link", b"old"),
        Tar::new()
            .symlink(b"usr/dir-link", b"elsewhere")
            .dir(b"usr/link-dir")
            .file(b"usr/link-dir/new", b"1")
            .file(b"usr/dir-file", b"2")
            .dir(b"usr/file-dir")
            .file(b"usr/dir-file-dir", b"in between")
            .symlink(b"usr/file-link", b"elsewhere"),
        Tar::new().dir(b"usr/dir-file-dir").file(b"usr/dir-file-dir/new", b"3"),
    ]);
    assert_eq!(
        merged.list(),
        [
            "usr/",
            "usr/dir-file: 2",
            "usr/dir-file-dir/",
            "usr/dir-file-dir/new: 3",
            "usr/dir-link -> elsewhere",
            "usr/file-dir/",
            "usr/file-link -> elsewhere",
            "usr/link-dir/",
            "usr/link-dir/new: 1"
        ]
    );
    assert_eq!(merged.stored(), ["2", "3", "1"]);
}

#[test]
fn a_parent_that_nobody_describes_is_a_directory_below() {
    for upper in [
        Tar::new().file(b"usr/x/y", b""),
        Tar::new().file(b"usr/x/.wh.y", b""),
        Tar::new().file(b"usr/x/.wh..wh..opq", b""),
    ] {
        let lower = Tar::new().dir(b"usr/real").symlink(b"usr/x", b"real");
        let (layer, error) = refused([lower, upper.clone()]);
        assert_eq!(layer, 1);
        assert!(error.contains("\"usr/x\" is a symlink, expected a directory"), "{error}");
        merge([Tar::new().dir(b"usr/x"), upper.clone()]);
        let described = Tar::new().dir(b"usr/x").raw(&upper.0);
        merge([Tar::new().symlink(b"usr/x", b"real"), described]);
    }
}

#[test]
fn the_topmost_description_of_a_directory_counts() {
    let dir = |mode: &[u8]| Tar::new().header(Header::new(b'5', b"usr/d", 0).with(100, mode));
    let merged = merge([
        dir(b"0000700\0"),
        dir(b"0000711\0"),
        Tar::new().file(b"usr/d/x", b"").file(b"usr/new/x", b""),
    ]);
    let mode = |path: &[u8]| {
        let tree = &merged.tree.tree;
        tree.inode(tree.lookup(path).unwrap()).stat.mode
    };
    assert_eq!((mode(b"usr/d"), mode(b"usr/new")), (0o711, 0o755));
    assert_eq!(merged.tree.implied, [&b""[..], b"usr", b"usr/new"]);
}

#[test]
fn hard_links_keep_what_another_name_loses() {
    let merged = merge([
        Tar::new()
            .file(b"usr/a", b"pair")
            .hard_link(b"usr/b", b"usr/a")
            .hard_link(b"usr/c", b"usr/a"),
        Tar::new().file(b"usr/a", b"alone").file(b"usr/.wh.b", b""),
    ]);
    assert_eq!(merged.list(), ["usr/", "usr/a: alone", "usr/c: pair"]);
    assert_eq!(merged.stored(), ["alone", "pair"]);
}

#[test]
fn hard_links_lead_into_lower_layers_of_the_extension() {
    let merged = merge([
        Tar::new()
            .file(b"usr/a", b"kept")
            .file(b"etc/a", b"held")
            .file(b"var/a", b"dropped")
            .symlink(b"usr/l", b"t"),
        Tar::new()
            .hard_link(b"usr/b", b"usr/a")
            .hard_link(b"usr/m", b"/usr/l")
            .hard_link(b"usr/e", b"etc/a")
            .hard_link(b"usr/v", b"./var/a")
            .hard_link(b"usr/w", b"usr/v"),
        // The name is gone, the file is not.
        Tar::new().file(b"usr/.wh.a", b"").hard_link(b"usr/c", b"usr/b"),
    ]);
    assert_eq!(
        merged.list(),
        [
            "etc/",
            "etc/a: held",
            "usr/",
            "usr/b: kept",
            "usr/c: kept",
            "usr/e: held",
            "usr/l -> t",
            "usr/m -> t",
            "usr/v: dropped",
            "usr/w: dropped",
            "var/",
            "var/a: dropped"
        ]
    );
    assert_eq!(merged.stored(), ["kept", "held", "dropped"]);
    let ino = |path: &[u8]| merged.tree.tree.lookup(path).unwrap();
    assert_eq!((ino(b"usr/b"), ino(b"usr/l")), (ino(b"usr/c"), ino(b"usr/m")));
    assert_eq!((ino(b"usr/v"), ino(b"usr/e")), (ino(b"var/a"), ino(b"etc/a")));
}

#[test]
fn hard_links_to_several_names_of_a_lower_file_need_all_of_these() {
    let lower = || Tar::new().symlink(b"usr/l", b"t").hard_link(b"usr/m", b"usr/l");
    let upper = || Tar::new().hard_link(b"usr/1", b"usr/l").hard_link(b"usr/2", b"usr/m");
    let merged = merge([lower(), upper()]);
    let ino = |path: &[u8]| merged.tree.tree.lookup(path).unwrap();
    assert_eq!((ino(b"usr/1"), ino(b"usr/2")), (ino(b"usr/l"), ino(b"usr/l")));
    let (layer, error) = refused([lower(), upper().file(b"usr/.wh.m", b"")]);
    assert!(layer == 1 && error.contains("found a hard link to \"usr/m\""), "{error}");
}

#[test]
fn hard_links_into_the_base_or_to_what_goes_are_refused() {
    let lower = || Tar::new().dir(b"usr/d").file(b"usr/a", b"a").file(b"usr/d/x", b"x");
    for (upper, reason) in [
        (Tar::new().hard_link(b"usr/b", b"usr/base"), "found a hard link to \"usr/base\""),
        (Tar::new().hard_link(b"usr/b", b"usr/d"), "found a hard link to the directory"),
        (Tar::new().hard_link(b"usr/a", b"usr/a"), "found a hard link to itself"),
        // Whether these are links depends on the order in which entries are taken.
        (
            Tar::new().hard_link(b"usr/b", b"usr/a").file(b"usr/a", b"new"),
            "found a hard link to \"usr/a\"",
        ),
        (
            Tar::new().hard_link(b"usr/b", b"usr/a").file(b"usr/.wh.a", b""),
            "found a hard link to \"usr/a\"",
        ),
        (
            Tar::new().file(b"usr/.wh.d", b"").hard_link(b"usr/b", b"usr/d/x"),
            "found a hard link to \"usr/d/x\"",
        ),
        (
            Tar::new().hard_link(b"usr/b", b"usr/d/x").file(b"usr/d/.wh..wh..opq", b""),
            "found a hard link to \"usr/d/x\"",
        ),
        (
            Tar::new().hard_link(b"usr/b", b"usr/d/x").file(b"usr/d", b"now a file"),
            "found a hard link to \"usr/d/x\"",
        ),
    ] {
        let (layer, error) = refused([lower(), upper]);
        assert!(layer == 1 && error.contains(reason), "{error}");
    }
    // The lowest layer is above the base alone.
    let (layer, error) = refused([Tar::new().hard_link(b"usr/b", b"usr/a"), lower()]);
    assert!(layer == 0 && error.contains("links into the base"), "{error}");
    // Deleted by a layer in between.
    let between = Tar::new().file(b"usr/.wh.a", b"");
    let (layer, _) = refused([lower(), between, Tar::new().hard_link(b"usr/b", b"usr/a")]);
    assert_eq!(layer, 2);
}

/// R27: of an ostree repository, and the same whatever the cut.
#[test]
fn contents_that_were_dropped_come_last_in_one_order() {
    let carriers = |tar: Tar| {
        tar.file(b"sysroot/1", b"one")
            .file(b"sysroot/2", b"two")
            .file(b"sysroot/3", b"nobody's")
            .file(b"sysroot/4", b"held")
    };
    let links = |tar: Tar| {
        tar.hard_link(b"etc/4", b"sysroot/4")
            .hard_link(b"usr/a", b"sysroot/2")
            .file(b"usr/b", b"b")
            .hard_link(b"usr/c", b"sysroot/1")
    };
    let whole = merge([links(carriers(Tar::new()))]);
    let cut = merge([carriers(Tar::new()), links(Tar::new())]);
    assert_eq!(whole.list(), cut.list());
    assert_eq!(cut.stored(), ["b", "one", "two"]);
    assert_eq!(cut.stored, whole.stored);
}

#[test]
fn what_waits_in_a_file_is_not_confused() {
    let large: Vec<u8> = (0..9u32 << 20).map(|n| (n >> 8).to_le_bytes()[0]).collect();
    let other: Vec<u8> = large.iter().map(|byte| !byte).collect();
    let merged = merge([
        Tar::new().file(b"usr/b", &large).file(b"usr/gone", &large),
        Tar::new().file(b"usr/a", &other).file(b"usr/.wh.gone", b"").file(b"usr/c", b"small"),
    ]);
    assert!(merged.stored == [other, large, b"small".to_vec()]);
}

#[test]
fn rows_59_to_61_are_about_what_is_kept() {
    let fifo = |name: &[u8]| Tar::new().dir(b"usr").header(Header::new(b'6', name, 0));
    let merged = merge([fifo(b"usr/x"), Tar::new().file(b"usr/.wh.x", b"")]);
    assert_eq!(merged.list(), ["usr/"]);
    merge([fifo(b"usr/x"), Tar::new().file(b"usr/x", b"")]);
    let (layer, error) = refused([fifo(b"usr/x"), Tar::new().file(b"usr/y", b"")]);
    assert!(layer == 0 && error.contains("\"usr/x\": at byte 512"), "{error}");
    let (layer, error) = refused([fifo(b"run/x"), Tar::new().hard_link(b"usr/x", b"run/x")]);
    assert!(layer == 0 && error.contains("found a fifo"), "{error}");
    let overlay = [("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..])];
    let (layer, _) = refused([Tar::new().dir(b"usr"), Tar::new().pax(&overlay).dir(b"usr")]);
    assert_eq!(layer, 1);
    // A description that is replaced does not count.
    merge([Tar::new().pax(&overlay).dir(b"usr"), Tar::new().dir(b"usr")]);
}

#[test]
fn what_is_deleted_of_the_base_is_told_once() {
    let merged = merge([
        Tar::new()
            .file(b"usr/.wh.twice", b"")
            .file(b"usr/d/.wh.below", b"")
            .file(b"usr/o/.wh..wh..opq", b"")
            .file(b"usr/p/.wh..wh..opq", b"")
            .file(b"usr/.wh.again", b"")
            .file(b"usr/.wh.dir", b"")
            .file(b"usr/q/.wh.now-a-file-above", b"")
            .dir(b"usr/q"),
        Tar::new()
            .file(b"usr/twice", b"own")
            .file(b"usr/.wh.d", b"")
            .file(b"usr/o/x", b"own")
            .file(b"usr/.wh.p", b"")
            .file(b"usr/again", b"new")
            .dir(b"usr/dir")
            .file(b"usr/q", b"file"),
        Tar::new().file(b"usr/.wh.twice", b"").file(b"usr/o/.wh..wh..opq", b""),
    ]);
    assert_eq!(merged.whiteouts(), ["usr/d", "usr/dir", "usr/o/", "usr/p", "usr/twice"]);
}

#[test]
fn whiteouts_of_odd_names_are_refused_in_any_layer() {
    for name in [&b"usr/.wh."[..], b"usr/.wh..", b"usr/.wh...", b"usr/.wh.x/y"] {
        let (layer, _) = refused([Tar::new().dir(b"usr"), Tar::new().file(name, b"")]);
        assert_eq!(layer, 1);
    }
}

#[test]
fn the_rules_of_one_layer_hold_for_each() {
    let lower = || Tar::new().dir(b"usr").file(b"usr/x", b"");
    for upper in [
        Tar::new().file(b"usr/x", b"").file(b"usr/x", b""),
        Tar::new().symlink(b"usr/l", b"x").file(b"usr/l/y", b""),
        Tar::new().file(b"../x", b""),
    ] {
        assert_eq!(refused([lower(), upper]).0, 1);
    }
    merge([lower(), lower(), lower()]);
}

#[test]
fn the_limits_are_for_all_layers_together() {
    let tar = Tar::new().dir(b"usr").file(b"usr/x", &[1; 3000]).end();
    let layers = [Layer::gzip(&tar), Layer::tar(&tar), Layer::zstd(&tar)];
    let length = u64::try_from(tar.len()).unwrap();
    for (limits, limit) in [
        (Limits { entries: 6, ..Limits::default() }, None),
        (Limits { entries: 5, ..Limits::default() }, Some("limit entries")),
        (Limits { names: 24, ..Limits::default() }, None),
        (Limits { names: 23, ..Limits::default() }, Some("limit names")),
        (Limits { layer_uncompressed: 3 * length, ..Limits::default() }, None),
        (
            Limits { layer_uncompressed: 3 * length - 1, ..Limits::default() },
            Some("limit layer-uncompressed"),
        ),
    ] {
        let error = try_merge(&layers, &limits).err();
        assert_eq!(error.as_ref().map(Fault::exit_code), limit.map(|_| ExitCode::Limit));
        assert!(error.is_none_or(|error| error.to_string().contains(limit.unwrap())));
    }
    let blobs = layers.each_ref().map(Layer::blob);
    let sizes: Vec<_> = layers.iter().map(|layer| layer.stored.len()).collect();
    let sum = u64::try_from(sizes.iter().sum::<usize>()).unwrap();
    for (layer_size, fits) in [(sum, true), (sum - 1, false)] {
        let limits = Limits { layer_size, ..Limits::default() };
        let result = layer::check_sizes(blobs.iter().map(|blob| &blob.layer), &limits);
        assert_eq!(result.is_ok(), fits);
        assert!(result.err().is_none_or(|error| error.exit_code() == ExitCode::Limit));
    }
}

#[test]
fn every_layer_is_the_one_that_was_verified() {
    let tar = |contents: &[u8]| Tar::new().dir(b"usr").file(b"usr/x", contents).end();
    for place in 0..3 {
        let mut layers = [b"1", b"2", b"3"].map(|contents| Layer::gzip(&tar(contents)));
        layers[place].diff_id = Digest::of(b"other");
        let error = try_merge(&layers, &Limits::default()).err().unwrap();
        assert_eq!((error.exit_code(), error.id()), (ExitCode::Integrity, "layer.diff-id"));
        assert_eq!(error.layer, Digest::of(&layers[place].stored));
    }
    // Read again for what was dropped, and changed meanwhile or not: the same file.
    let carrier = Tar::new().file(b"var/x", b"x").end();
    let link = Tar::new().hard_link(b"usr/x", b"var/x").end();
    let layers = [carrier, link].map(|tar| Layer { origin: Origin::Local, ..Layer::gzip(&tar) });
    let merged = try_merge(&layers, &Limits::default()).unwrap();
    assert_eq!(merged.stored(), ["x"]);
}

#[test]
fn what_stands_for_layers_is_their_chain_id() {
    let [a, b] = [b"a", b"b"].map(|name| Layer::tar(&Tar::new().dir(name).end()));
    let of = |layers: &[&Layer]| {
        let blobs: Vec<_> = layers.iter().map(|layer| layer.blob()).collect();
        layer::chain_id(blobs.iter().map(|blob| &blob.layer))
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[&a]), Some(a.diff_id));
    let text = format!("{} {}", a.diff_id, b.diff_id);
    assert_eq!(of(&[&a, &b]), Some(Digest::of(text.as_bytes())));
    assert_ne!(of(&[&a, &b]), of(&[&b, &a]));
}
