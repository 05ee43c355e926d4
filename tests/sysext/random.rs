//! Layers of random paths: nothing panics, and every path is either in the extension or in the
//! report, where it should be and with what it had.

use std::collections::BTreeMap;

use oci2sysext::report::{Action, Change};
use oci2sysext::sysext::Whiteouts;
use oci2sysext::tree::{Content, is_within};
use proptest::prelude::*;

use crate::case::{Image, options};

/// Names that mean something to the rules, and a few that do not.
fn path() -> impl Strategy<Value = String> {
    let top = prop::sample::select(vec![
        "usr", "etc", "lib64", "sbin", "usr/sbin", "usr/etc", "var", "opt",
    ]);
    let name = prop::sample::select(vec![
        "bin",
        "lib",
        "lib64",
        "sbin",
        "etc",
        "share",
        "rpm",
        "a",
        "b",
        "passwd",
        "x.rpmnew",
        "selinux",
        "sysimage",
        "os-release",
        "extension-release.d",
        "systemd",
        "x.wants",
        "system",
        "x.service",
        "sysusers.d",
        "x.conf",
        "alternatives",
        "local",
    ]);
    (top, prop::collection::vec(name, 1..4))
        .prop_map(|(top, names)| format!("{top}/{}", names.join("/")))
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = (path(), 0..8u8, prop::sample::select(vec!["one", "two"])).prop_map(
        |(path, kind, word)| match kind {
            0..4 => format!("f {path} {word}"),
            4 => format!("d {path} 700"),
            5 => format!("l {path} {word}"),
            6 => format!("l {path} /usr/bin/a"),
            _ => format!("w {path}"),
        },
    );
    prop::collection::vec(line, 1..12)
}

const BASE: &str = "f usr/lib/os-release ID=a
l lib64 usr/lib64
l sbin usr/sbin
l usr/sbin bin
l usr/local ../var/usrlocal
d usr/bin 711
f usr/bin/a x";

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_path_is_accounted_for(lines in lines(), keep in any::<bool>(), repair in any::<bool>()) {
        let text = lines.join("\n");
        let mut options = options();
        if keep {
            options.whiteouts = Whiteouts::Keep;
        }
        if repair {
            options.repairs = "all,caches,selinux".parse().unwrap();
        }
        // Many are refused; what was not read is never one of the reasons.
        let done = match Image::new(&[BASE], &text).convert(&options, false) {
            Ok(done) => done,
            Err(error) => {
                prop_assert_ne!(error.fault().id(), "sysext.contents-dropped", "{}", text);
                return Ok(());
            }
        };
        let tree = done.sysext.tree();
        for entry in tree.walk().skip(1) {
            prop_assert!(is_within(&entry.path, b"usr"));
            let is_added = |change: Change<'_>| change.action == Action::Added && change.path == entry.path;
            if entry.path.ends_with(b"-sysext.conf") {
                prop_assert!(done.changes.iter().any(is_added), "{}", text);
            }
        }
        for stored in &done.sink.stored {
            let used = |content: &Content<Vec<u8>>| matches!(content, Content::Regular(bytes) if bytes == stored);
            prop_assert!(tree.walk().any(|entry| used(&entry.inode.content)), "{}", text);
        }
        let mut moves = BTreeMap::new();
        for change in done.changes.iter() {
            if let Action::Moved { to } = change.action {
                moves.insert(change.path, to);
            }
        }
        let dropped = |path: &[u8]| {
            done.changes.iter().any(|c| c.path == path && c.action == Action::Dropped)
        };
        for line in lines.iter().filter(|line| line.starts_with('f')) {
            let mut words = line.split(' ').skip(1);
            let (path, word) = (words.next().unwrap(), words.next().unwrap());
            let mut place = path.as_bytes().to_vec();
            while let Some(to) = moves.get(place.as_slice()) {
                place = to.to_vec();
            }
            match tree.lookup(&place).map(|ino| &tree.inode(ino).content) {
                Some(Content::Regular(bytes)) => prop_assert_eq!(bytes, word.as_bytes()),
                Some(other) => prop_assert!(dropped(&place), "{}: {:?}", path, other),
                None => prop_assert!(dropped(&place), "{}", path),
            }
        }
    }
}
