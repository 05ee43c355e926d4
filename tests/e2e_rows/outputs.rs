//! Where the image may not be put: rows 83, 94. Disks that fail are in `tests/e2e_faults.rs`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::command::Workdir;
use crate::common::layout::{Image, Layout};
use crate::common::need;
use crate::common::tarball::Tarball;
use crate::key;

/// Rows 83 and 94: the name is taken, by a file, or by something that is none.
#[test]
fn rows_83_and_94_a_name_that_is_taken() {
    let key = need!(key(), "no openssl");
    let layout = Layout::signed(&key, &Image::new(&Tarball::minimal().finish()));
    let public = key.public().display().to_string();
    let work = Workdir::new();
    let to = |output: &str| {
        vec![layout.reference(), "--key".into(), public.clone(), "-o".into(), output.into()]
    };
    let forced = |output| to(output).into_iter().chain(["--force".to_owned()]);
    fs::write(work.out("old.raw"), "old").unwrap();
    symlink("old.raw", work.out("link.raw")).unwrap();
    symlink("nowhere", work.out("dangling.raw")).unwrap();
    fs::create_dir(work.out("directory.raw")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        work.out("fifo.raw"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for (output, id) in [
        ("old.raw", "publish.exists"),
        ("link.raw", "publish.type"),
        ("dangling.raw", "publish.type"),
        ("directory.raw", "publish.type"),
        ("fifo.raw", "publish.type"),
        ("missing/image.raw", "publish.io"),
        ("old.raw/image.raw", "publish.io"),
    ] {
        assert_eq!(work.refuses(12, to(output)).id(), id, "{output}");
        let more = forced(output);
        if output != "old.raw" {
            assert_eq!(work.refuses(12, more).id(), id, "{output} --force");
        }
    }
    let text = work.refuses(12, to("old.raw")).stderr;
    assert!(text.contains("--force"), "{text}");
    work.converts(forced("old.raw"));
    assert_ne!(fs::read(work.out("old.raw")).unwrap(), b"old");
    // A directory: the image gets its default name in there.
    work.converts(to("directory.raw/"));
    assert_eq!(fs::read_dir(work.out("directory.raw")).unwrap().count(), 1);
}
