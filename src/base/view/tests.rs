//! Views of small layers.

use super::super::listing::{Builder, Key};
use super::*;

/// The listing of a layer of lines such as `f PATH CONTENTS`, `d PATH`, `l PATH TARGET`, `h PATH
/// TARGET` (a hard link), `w PATH` (a whiteout), `o PATH` (an opaque directory).
fn layer(text: &str) -> Listing {
    let mut builder = Builder::new(Key::none()).unwrap();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let (kind, path) = (words.next().unwrap(), words.next().unwrap().as_bytes().to_vec());
        let rest = words.next().unwrap_or_default().as_bytes().to_vec();
        let kind = match kind {
            "f" => {
                let (size, digest) = (u64::try_from(rest.len()).unwrap(), Digest::of(&rest));
                EntryKind::Regular(Regular { size, digest: Some(digest), contents: Some(rest) })
            }
            "d" => EntryKind::Directory,
            "l" => EntryKind::Symlink(rest),
            "h" => EntryKind::HardLink(rest),
            "w" => EntryKind::Whiteout,
            "o" => EntryKind::Opaque,
            _ => panic!("{line}"),
        };
        builder.push(&Record::Entry(Entry { path, stat: Stat::default(), kind })).unwrap();
    }
    builder.finish().unwrap()
}

/// What a view of layers, from the top down, has at a path, in a word.
fn kind(layers: &[&str], path: &str) -> &'static str {
    let (limits, all) = (Limits::default(), |_: &[u8]| true);
    let mut view = View::new(Wants::new(false, &all, &all), &limits);
    for (index, text) in layers.iter().rev().enumerate().rev() {
        view.add(&layer(text), index).unwrap();
    }
    match view.look(path.as_bytes()) {
        Seen::Node(node) => match node.kind {
            Kind::Directory => "directory",
            Kind::Symlink(_) => "symlink",
            Kind::Regular { .. } => "file",
            Kind::Elsewhere => "elsewhere",
            Kind::Special | Kind::Object(_) => "other",
        },
        Seen::ImpliedDirectory => "implied",
        Seen::Absent | Seen::Unknown => "nothing",
    }
}

/// Links to links were followed eight times, and what was left was not there.
#[test]
fn a_chain_of_links_is_followed_to_its_end() {
    let links: Vec<_> = (2..30).map(|n| format!("h a{n} a{}", n - 1)).collect();
    let chain = format!("f t text\nh a1 t\n{}", links.join("\n"));
    for n in 1..30 {
        assert_eq!(kind(&[&chain], &format!("a{n}")), "file", "a{n}");
        let other = format!("h b a{n}");
        assert_eq!(kind(&[&other, &chain, "f t other"], "b"), "file", "a{n}");
    }
    let ends_below = chain.replace("f t text\n", "");
    assert_eq!(kind(&[&ends_below, "l t to"], "a29"), "symlink");
}

/// What cannot be followed was not there, and so could be hidden or be of another type (R16).
#[test]
fn a_link_that_cannot_be_followed_is_there() {
    assert_eq!(kind(&["h a l/f", "l l d\nf d/f text"], "a"), "elsewhere");
    assert_eq!(kind(&["h a b\nh b c\nh c a"], "a"), "elsewhere");
    assert_eq!(kind(&["h a nowhere"], "a"), "elsewhere");
    assert_eq!(kind(&["h a nowhere\nw a"], "b"), "nothing");
}

/// Each link had a copy of the target.
#[test]
fn links_to_one_symlink_share_its_target() {
    let (limits, all) = (Limits::default(), |_: &[u8]| true);
    let mut view = View::new(Wants::new(false, &all, &all), &limits);
    view.add(&layer("l s target\nh a s\nh b s"), 0).unwrap();
    let target = |path: &[u8]| match view.look(path) {
        Seen::Node(Node { kind: Kind::Symlink(target), .. }) => target.as_ptr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(target(b"a"), target(b"b"));
}

/// A link was taken for one of the layer that it leads to, which then had something below it.
#[test]
fn a_link_belongs_to_its_own_layer() {
    let (limits, all) = (Limits::default(), |_: &[u8]| true);
    let mut view = View::new(Wants::new(false, &all, &all), &limits);
    view.add(&layer("h x t"), 1).unwrap();
    let files = [ostree::File { path: b"x/y".to_vec(), object: b"object".to_vec() }];
    view.add_with_files(&layer("f t text"), 0, &files).unwrap();
    assert!(matches!(view.look(b"x/y"), Seen::Absent), "{:?}", view.look(b"x/y"));
}

/// An opaque directory is a directory, whatever lower layers have in its place.
#[test]
fn a_link_does_not_lead_through_an_opaque_directory() {
    assert_eq!(kind(&["h a d", "o d", "f d text"], "a"), "elsewhere");
    assert_eq!(kind(&["h a d/f", "o d", "f d/f text"], "a"), "elsewhere");
    assert_eq!(kind(&["h a d/f", "o d\nf d/f text"], "a"), "file");
}

/// Ancestors that two entries share are looked up once; each has all of its own.
#[test]
fn directories_that_only_entries_tell_of_hide_files() {
    let upper = "f d/e/f/x text\nf d/e/g/x text\nf d/h/x text\nf i/e/x text";
    for directory in ["d", "d/e", "d/e/f", "d/e/g", "d/h", "i", "i/e"] {
        let lower = format!("f {directory} text");
        assert_eq!(kind(&[&format!("h a {directory}"), upper, &lower], "a"), "elsewhere");
    }
    assert_eq!(kind(&["h a d/h/y", upper, "f d/h/y text"], "a"), "file");
}
