//! What an ostree repository says of itself and of files.
//!
//! Input: a configuration, the header of a file in an archive, or the metadata of a user's file.
//!
//! - Nothing panics.
//! - Metadata have what numbers need, and may have more.

use oci2sysext::base::repository::{self, Header};

pub fn run(data: &[u8]) {
    let _ = repository::mode(data);
    let _ = Header::read(&mut &*data);
    let metadata = Header::of_metadata(data, 0);
    assert_eq!(metadata.is_ok(), data.len() >= 12);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut header = vec![0, 0, 0, 31, 0, 0, 0, 0];
    // Size, owner, group, mode, device; a target, an attribute, and where the target ends.
    header
        .extend([0; 7].into_iter().chain([5]).chain([0; 8]).chain([0, 0, 0x81, 0xa4, 0, 0, 0, 0]));
    header.extend(b"\0a\0v\x02\x04");
    header.push(25);
    vec![
        b"[core]\nrepo_version=1\nmode=bare\n".to_vec(),
        b"[remote \"x\"]\nurl=x\n[core]\nmode = archive-z2\n".to_vec(),
        [&[0; 8][..], &[0, 0, 0x81, 0xed], b"user.a\0v\x07\x09"].concat(),
        header,
    ]
}
