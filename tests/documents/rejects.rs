//! Bad images, and the OCI image-spec's own examples: each gets its verdict.

use std::fs;
use std::path::Path;

use oci2sysext::json;
use oci2sysext::oci::{self, Descriptor, ImageConfig, ImageIndex, ImageManifest, RawManifest};

use crate::common::shared;
use crate::read_all;

/// Every refusal: one folder, one exit code, one line that says why and one that helps.
#[test]
fn bad_images_get_their_exit_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/reject/documents");
    let mut count = 0;
    for vector in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if !vector.is_dir() {
            continue;
        }
        count += 1;
        let name = vector.file_name().unwrap().to_str().unwrap();
        let text = |file: &str| {
            fs::read_to_string(vector.join(file)).ok().map(|text| text.trim().to_owned())
        };
        let reference = text("reference").unwrap();
        let reference = match reference.split_once(':') {
            Some((transport @ ("oci" | "oci-archive" | "dir"), path)) => {
                format!("{transport}:{}/{path}", vector.display())
            }
            _ => reference,
        };
        let expected: u8 = text("exit").unwrap().parse().unwrap();
        let Err(error) = read_all(&reference, text("platform").as_deref()) else {
            panic!("{name}: accepted, expected exit code {expected}");
        };
        let fault = error.fault();
        let message = error.to_string();
        let code = fault.exit_code();
        assert_eq!(
            std::process::ExitCode::from(code),
            std::process::ExitCode::from(expected),
            "{name}: {code:?}: {message}"
        );
        assert!(!message.is_empty() && !fault.advice().is_empty() && !fault.id().is_empty());
        assert!(!message.contains(char::is_control), "{name}: {message:?}");
        println!("{name}: {message} ({})", fault.advice());
    }
    assert!(count > 60, "{count}");
}

/// The image-spec's own examples, each with its verdict in its name.
#[test]
fn the_specification_s_examples_get_their_verdict() {
    // Valid, but no sha256 digests, which are the only ones we take (P1).
    const OTHER_DIGESTS: [&str; 6] = [
        "descriptor-22-valid",
        "descriptor-23-valid",
        "descriptor-24-valid",
        "descriptor-25-valid",
        "descriptor-26-valid",
        "descriptor-28-valid",
    ];
    // Called valid, but the file is two documents and some Go in between.
    const NO_JSON: [&str; 1] = ["manifest-07-valid"];

    let folder = shared!("oci-spec");
    let mut count = 0;
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let raw = || RawManifest::new(bytes.clone(), None);
        let verdict = match name.split('-').next().unwrap() {
            "manifest" => ImageManifest::parse(&raw()).map(|_| ()).map_err(|e| e.to_string()),
            "index" => ImageIndex::parse(&raw()).map(|_| ()).map_err(|e| e.to_string()),
            "config" => ImageConfig::parse(&bytes).map(|_| ()).map_err(|e| e.to_string()),
            "descriptor" => json::parse::<Descriptor>(&bytes, json::DEEPEST).map(|_| ()),
            "layout" => oci::check_version(&bytes),
            other => panic!("{other}"),
        };
        let exception = OTHER_DIGESTS.contains(&name) || NO_JSON.contains(&name);
        assert_eq!(verdict.is_ok(), name.ends_with("-valid") && !exception, "{name}: {verdict:?}");
        count += 1;
    }
    assert!(count > 60, "{count}");
}
