//! Times: a layer's own stay as they are; what the layer does not have gets the time at which
//! the image says it was built, else 0, so that nothing depends on the clock (design decision 8).

use crate::tree::{Timestamp, Tree};

/// Gives everything later than `latest` seconds that time, as `SOURCE_DATE_EPOCH` asks.
pub fn clamp<C>(tree: &mut Tree<C>, latest: Option<i64>) {
    let Some(sec) = latest else { return };
    let latest = Timestamp { sec, nsec: 0 };
    let inodes: Vec<_> = tree.walk().map(|entry| entry.ino).collect();
    for ino in inodes {
        let mtime = &mut tree.inode_mut(ino).stat.mtime;
        *mtime = (*mtime).min(latest);
    }
}

/// The time at which an image was built, in whole seconds; 0 where nobody knows, or before 1970.
pub fn created(built: Option<jiff::Timestamp>) -> Timestamp {
    let sec = built.map_or(0, |time| time.as_second().max(0));
    Timestamp { sec, nsec: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Inode, Stat};

    #[test]
    fn only_later_times_change() {
        let mut tree: Tree<()> = Tree::new(Stat::directory());
        for (name, sec, nsec) in [(&b"old"[..], 7, 9), (b"same", 8, 0), (b"new", 8, 1)] {
            let mtime = Timestamp { sec, nsec };
            let stat = Stat { mtime, ..Stat::default() };
            let ino = tree.add(Inode { stat, content: Content::Fifo });
            assert!(tree.link(name, ino));
        }
        clamp(&mut tree, None);
        let time = |tree: &Tree<()>, name: &[u8]| {
            let mtime = tree.inode(tree.lookup(name).unwrap()).stat.mtime;
            (mtime.sec, mtime.nsec)
        };
        assert_eq!(time(&tree, b"new"), (8, 1));
        clamp(&mut tree, Some(8));
        assert_eq!(time(&tree, b"old"), (7, 9));
        assert_eq!(time(&tree, b"same"), (8, 0));
        assert_eq!(time(&tree, b"new"), (8, 0));
    }

    #[test]
    fn created_is_read_in_whole_seconds() {
        for (text, sec) in [
            (Some("2026-11-21T02:12:35.192236478Z"), 1_795_227_155),
            (Some("2026-11-21T03:12:35+01:00"), 1_795_227_155),
            (Some("0001-01-01T00:00:00Z"), 0),
            (None::<&str>, 0),
        ] {
            assert_eq!(
                created(text.map(|text| text.parse().unwrap())),
                Timestamp { sec, nsec: 0 },
                "{text:?}"
            );
        }
    }
}
