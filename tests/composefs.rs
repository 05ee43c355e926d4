//! composefs images against composefs' own golden files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

#[path = "common/dumpfile.rs"]
mod dumpfile;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use composefs::digest::Sha256;
use composefs::erofs::format::FormatVersion;
use composefs::fsverity::{Algorithm, FsVerityHashValue, Sha256HashValue, compute_verity};
use hex::FromHexError;
use oci2sysext::image::composefs::{Contents, Stored, default_version, encode};
use oci2sysext::oci::Digest;
use oci2sysext::tree::Tree;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An object of an ostree repository: `ab/cdef….file`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
struct OstreeObject([u8; 32]);

impl From<[u8; 32]> for OstreeObject {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FsVerityHashValue for OstreeObject {
    type Digest = Sha256;
    const ALGORITHM: Algorithm = Sha256HashValue::ALGORITHM;
    const EMPTY: Self = Self([0; 32]);

    fn from_object_pathname(pathname: impl AsRef<[u8]>) -> Result<Self, FromHexError> {
        let pathname = pathname.as_ref().strip_suffix(b".file").unwrap_or_default();
        let digest = Sha256HashValue::from_object_pathname(pathname)?;
        Ok(Self(digest.as_bytes().try_into().unwrap()))
    }

    fn to_object_pathname(&self) -> String {
        let hex = Digest::from_bytes(self.0).hex();
        format!("{}/{}.file", &hex[..2], &hex[2..])
    }
}

fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("O2S_SHARED").map_or("../shared".into(), PathBuf::from);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(shared).join("data/composefs");
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("O2S_REQUIRE_SHARED").is_none(), "no {}", path.display());
    None
}

fn read_dump(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut text).unwrap();
        return text;
    }
    bytes
}

fn image<H: FsVerityHashValue>(
    dump: &[u8],
    version: Option<FormatVersion>,
) -> Result<Box<[u8]>, String> {
    let tree = load::<H>(dump)?;
    encode(&tree, version.unwrap_or_else(|| default_version(&tree))).map_err(|e| e.to_string())
}

fn load<H: FsVerityHashValue>(text: &[u8]) -> Result<Tree<Contents<H>>, String> {
    dumpfile::load(text, |file| {
        let stored = match (file.digest, file.payload, file.inline) {
            (Some(digest), _, _) => Stored::Object(H::from_hex(digest).map_err(|e| e.to_string())?),
            (None, Some(payload), _) => {
                Stored::Unverified(H::from_object_pathname(payload).map_err(|e| e.to_string())?)
            }
            (None, None, Some(inline)) => Stored::Inline(Arc::from(inline)),
            (None, None, None) if file.size == 0 => Stored::Inline(Arc::from(&[][..])),
            (None, None, None) => Stored::Nowhere,
        };
        Ok(Contents { size: file.size, stored })
    })
}

#[test]
fn every_golden_dump_has_the_bytes_of_mkcomposefs() {
    let Some(data) = data() else {
        println!("not run: every_golden_dump_has_the_bytes_of_mkcomposefs (no shared data)");
        return;
    };
    let golden = std::fs::read_to_string(data.join("GOLDEN.txt")).unwrap();
    let mut count = 0;
    for line in golden.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [name, "OK", verity, size] = fields[..] else { panic!("{line}") };
        let version = std::fs::read_to_string(data.join(format!("{name}.version")));
        let version = match version.as_deref().map(str::trim) {
            Ok("0") => Some(FormatVersion::V0),
            Ok("1") => Some(FormatVersion::V1),
            _ => None,
        };
        let dump = read_dump(&data.join(name));
        let image = if dump.windows(6).any(|bytes| bytes == b".file ") {
            image::<OstreeObject>(&dump, version).unwrap()
        } else {
            image::<Sha256HashValue>(&dump, version).unwrap()
        };
        let sha256 = std::fs::read_to_string(data.join(format!("{name}.sha256"))).unwrap();
        assert_eq!(format!("size={}", image.len()), size, "{name}");
        assert_eq!(Digest::of(&image).hex(), sha256.trim(), "{name}");
        let digest = compute_verity::<Sha256HashValue>(&image).to_hex();
        assert_eq!(format!("fsverity={digest}"), verity, "{name}");
        count += 1;
    }
    assert!(count >= 12, "{count} golden dumps");
}

/// What `--whiteouts=keep` makes; the digest is what mkcomposefs 1.0.8 prints.
#[test]
fn opaque_directories_and_whiteouts_have_the_bytes_of_mkcomposefs() {
    let dump = b"/ 4096 40755 2 0 0 0 0.0 - - -\n\
        /a 4096 40755 2 0 0 0 0.0 - - - trusted.overlay.opaque=y\n\
        /a/n 3 100644 1 0 0 0 0.0 - new -\n\
        /b 4096 40755 2 0 0 0 0.0 - - -\n\
        /b/gone 0 20000 1 0 0 0 0.0 - - -\n";
    let image = image::<Sha256HashValue>(dump, None).unwrap();
    assert_eq!(
        compute_verity::<Sha256HashValue>(&image).to_hex(),
        "45e70258653035a0b3cd6930a94d0562893b02d686d9fa0803de3cc8f4ae9957"
    );
}

#[test]
fn what_mkcomposefs_refuses_is_refused() {
    let Some(data) = data() else {
        println!("not run: what_mkcomposefs_refuses_is_refused (no shared data)");
        return;
    };
    let mut count = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("should-fail-") {
            let image = image::<Sha256HashValue>(&read_dump(&path), None);
            assert!(image.is_err(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 5, "{count} dumps to refuse");
}
