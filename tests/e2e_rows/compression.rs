//! Compression that is broken, divided, or a bomb: rows 42, 43, 45.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::command::Workdir;
use crate::common::layout::{Image, Layout};
use crate::common::tarball::{Tarball, gzip};
use crate::common::{need, tools};
use crate::{expect, key};

/// An image with the sample base and a layer that is stored as `stored`.
fn image(stored: Vec<u8>, tar: Vec<u8>) -> Image {
    let base = Tarball::base().finish();
    Image::of_blobs(&[(gzip(&base), base), (stored, tar)])
}

/// Rows 42 and 43: one member or several, each whole, and nothing after them.
#[test]
fn rows_42_and_43_gzip() {
    let key = need!(key(), "no openssl");
    let tar = Tarball::minimal().finish();
    let good = gzip(&tar);
    let (head, tail) = tar.split_at(700);
    let with = |more: &[u8]| [good.as_slice(), more].concat();
    let flipped = |from_end: usize| {
        let mut bytes = good.clone();
        let at = bytes.len() - from_end;
        bytes[at] ^= 0xff;
        bytes
    };
    for (row, want, stored) in [
        ("42", "7 layer.compression", with(b"garbage")),
        ("42", "7 layer.compression", with(&[0; 512])),
        ("42", "7 layer.compression", flipped(8)),
        ("42", "7 layer.compression", flipped(4)),
        ("42", "7 layer.compression", good[..good.len() - 9].to_vec()),
        ("42", "7 layer.compression", good[..good.len() / 2].to_vec()),
        ("42", "7 layer.compression", with(&gzip(b"")[..9])),
        ("42", "7 layer.compression", tar.clone()),
        ("43", "0", [gzip(head), gzip(tail)].concat()),
        ("43", "0", [gzip(b""), gzip(head), gzip(b""), gzip(tail)].concat()),
    ] {
        expect(row, want, &Layout::signed(&key, &image(stored, tar.clone())), &key, &[]);
    }
}

/// Row 45: 10 GiB of zeros in 10 MiB, with the limits as they are.
#[test]
fn row_45_ten_gigabytes_of_zeros() {
    let key = need!(key(), "no openssl");
    let prlimit = need!(tools::system("prlimit"), "no prlimit");
    // More than eleven octal digits: the size is in a PAX record, the field is 0.
    let start = Tarball::minimal().pax_record("size", &(10_u64 << 30).to_string());
    let start = start.file("usr/zeros", b"").unfinished();
    let mut zeros = GzEncoder::new(Vec::new(), Compression::best());
    zeros.write_all(&vec![0; 64 << 20]).unwrap();
    let zeros = zeros.finish().unwrap();
    let mut stored = gzip(&start);
    for _ in 0..160 {
        stored.extend_from_slice(&zeros);
    }
    assert!(stored.len() < 12 << 20, "{}", stored.len());
    let layout = Layout::signed(&key, &image(stored, Vec::new()));

    let work = Workdir::new();
    fs::write(work.out("image.raw"), "an older image").unwrap();
    let program = work.command();
    let mut command = Command::new(prlimit);
    // Of addresses, of which those that are resident are a part.
    command.arg("--as=1500000000").arg(program.get_program()).args([
        &*layout.reference(),
        "--key",
        &key.public().display().to_string(),
        "--threads=2",
        "--force",
        "--output=image.raw",
    ]);
    command.current_dir(work.path("out")).env("TMPDIR", work.path("tmp"));
    let started = Instant::now();
    let outcome = work.refuses_command(9, &mut command);
    let time = started.elapsed();
    assert!(time < Duration::from_secs(60), "{time:?}");
    assert_eq!(outcome.id(), "layer.limit");
    assert!(outcome.stderr.contains("--limit ratio=N"), "{outcome:#?}");
}

/// Row 45: the limits are the user's to set, and hold before the disk is full.
#[test]
fn row_45_limits_are_the_users() {
    let key = need!(key(), "no openssl");
    let zeros = vec![0; 8 << 20];
    let bomb = Tarball::new().dir("usr").file("usr/zeros", &zeros).finish();
    let layout = Layout::signed(&key, &Image::new(&bomb));
    expect("45", "0", &layout, &key, &[]);
    expect("45", "9 layer.limit", &layout, &key, &["--limit", "layer-uncompressed=4M"]);
    expect("45", "9 oci.limit", &layout, &key, &["--limit", "layer-size=1K"]);
}
