//! What is told of an image: unit files, sysusers.d and tmpfiles.d lines, release files.
//!
//! - Whatever they hold, no control character but the line end is printed.

use oci2sysext::explain::explain;
use oci2sysext::tree::{Content, Directory, Inode, Stat, Tree, components, join};

const FILES: [&str; 5] = [
    "usr/lib/extension-release.d/extension-release.x",
    "usr/lib/systemd/system/a.target.d/10-x-sysext.conf",
    "usr/lib/systemd/system/x-sysext-a.target",
    "usr/lib/sysusers.d/x.conf",
    "usr/lib/tmpfiles.d/x.conf",
];

pub fn run(data: &[u8]) {
    let mut tree: Tree<&[u8]> = Tree::new(Stat::directory());
    for path in FILES {
        let mut at = Vec::new();
        for name in components(path.as_bytes()) {
            at = join(&at, name);
            if tree.lookup(&at).is_none() {
                let content = Content::Directory(Directory::new());
                let ino = tree.add(Inode { stat: Stat::directory(), content });
                tree.link(&at, ino);
            }
        }
        let ino = tree.add(Inode { stat: Stat::default(), content: Content::Regular(data) });
        tree.link(path.as_bytes(), ino);
    }
    let found = explain(&tree, Some("x_1.raw"), &mut |text| Ok::<_, ()>(text.to_vec())).unwrap();
    assert!(!found.to_string().contains(|c: char| c.is_control() && c != '\n'));
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "ID=fedora\nVERSION_ID=43\nEXTENSION_RELOAD_MANAGER=1\n",
        "[Unit]\nUpholds=a.service b.service\nWants=c.service\nExecStart=-/usr/bin/x \"y\"\n",
        "# x\ng a 5\nu a 5:a \"A \\\"b\\\" %%\" /home/a /bin/sh\nm a b\n",
        "d /var/lib/a 0750 a :a\nC /etc/a\\x20b - - - - /usr/etc/a\nL /etc/l - - - - t\n",
    ])
}
