//! Hostile sizes: each limit stops reading before memory or time are spent.

use std::io::Write;
use std::time::{Duration, Instant};

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::layer::{self, Fate, LayerOptions, Problem};
use oci2sysext::limits::Limits;

use crate::blob::{Layer, MemorySink};
use crate::tars::Tar;

fn refused(layer: &Layer, limits: &Limits) -> (&'static str, ExitCode) {
    let options = LayerOptions { limits, fate: &|_| Fate::Drop, keep_ima: false };
    let error = layer::read(&layer.blob(), &options, &mut MemorySink::default()).unwrap_err();
    match &error.problem {
        Problem::Limit { limit, .. } => (limit, error.exit_code()),
        other => panic!("{other}"),
    }
}

#[test]
fn row45_zeros_without_end_are_refused_in_time() {
    // The ratio is exceeded as soon as it is looked at.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let zeros = vec![0; 1 << 20];
    for _ in 0..300 {
        encoder.write_all(&zeros).unwrap();
    }
    let gzip = Layer::new(encoder.finish().unwrap(), "tar+gzip", b"");
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..300 {
        encoder.write_all(&zeros).unwrap();
    }
    let zstd = Layer::new(encoder.finish().unwrap(), "tar+zstd", b"");
    for layer in [gzip, zstd] {
        let start = Instant::now();
        assert_eq!(refused(&layer, &Limits::default()), ("ratio", ExitCode::Limit));
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        let limits = Limits { layer_uncompressed: 1 << 20, ..Limits::default() };
        assert_eq!(refused(&layer, &limits), ("layer-uncompressed", ExitCode::Limit));
    }
}

#[test]
fn row58_entries_and_names_are_counted() {
    let mut tar = Tar::new();
    for number in 0..100 {
        tar = tar.file(format!("usr/{number:0>60}").as_bytes(), b"");
    }
    let layer = Layer::tar(&tar.end());
    // The directory that nobody listed counts too.
    let limits = Limits { entries: 100, ..Limits::default() };
    assert_eq!(refused(&layer, &limits), ("entries", ExitCode::Limit));
    let limits = Limits { names: 6000, ..Limits::default() };
    assert_eq!(refused(&layer, &limits), ("names", ExitCode::Limit));
    let limits = Limits { entries: 101, ..Limits::default() };
    let options = LayerOptions { limits: &limits, fate: &|_| Fate::Drop, keep_ima: false };
    assert!(layer::read(&layer.blob(), &options, &mut MemorySink::default()).is_ok());
}

#[test]
fn row58_implied_directories_are_counted() {
    let mut tar = Tar::new();
    for number in 0..20 {
        let path = format!("{number}/{}x", "d/".repeat(120));
        tar = tar.pax(&[("path", path.as_bytes())]).file(b"x", b"");
    }
    let layer = Layer::tar(&tar.end());
    let limits = Limits { entries: 1000, ..Limits::default() };
    assert_eq!(refused(&layer, &limits), ("entries", ExitCode::Limit));
    let limits = Limits { names: 100_000, ..Limits::default() };
    assert_eq!(refused(&layer, &limits), ("names", ExitCode::Limit));
}

#[test]
fn row58_many_attributes_of_one_file_are_refused() {
    let value = vec![b'v'; 60_000];
    let names: Vec<_> = (0..5).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), &value[..])).collect();
    let layer = Layer::tar(&Tar::new().pax(&records).file(b"x", b"").end());
    assert_eq!(refused(&layer, &Limits::default()), ("xattrs", ExitCode::Limit));
}
