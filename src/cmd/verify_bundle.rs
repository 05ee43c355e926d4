//! `oci2sysext verify-bundle`: whether a sigstore bundle signs a file, by the protocol of sigstore's
//! conformance tests.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;

use super::terminal;
use crate::cli::VerifyBundleArgs;
use crate::error::Result;
use crate::oci::{self, Digest};
use crate::trust::{self, SignerOptions};
use crate::verify::{self, Artifact, Signatory};

/// A larger bundle is none that anybody signs with (as for those of images).
const MAX_BUNDLE: u64 = 16 << 20;
/// Give the digest of a larger file.
const MAX_FILE: u64 = 256 << 20;

/// Verifies the bundle.
pub fn run(args: &VerifyBundleArgs) -> Result<()> {
    let signer = SignerOptions::from_args(&args.signer)?;
    let policy = trust::artifact_policy(&args.key, &signer, Timestamp::now())?;
    let bundle = start(&args.bundle, MAX_BUNDLE)?;
    let contents;
    let artifact = if let Ok(digest) = args.artifact.parse::<Digest>() {
        Artifact::Digest(digest)
    } else {
        contents = start(Path::new(&args.artifact), MAX_FILE)?;
        Artifact::Bytes(&contents)
    };
    let proof = verify::artifact(&bundle, artifact, &policy)?;
    let by = match &proof.signatory {
        Signatory::Key(key) => key.name.clone(),
        Signatory::Certificate(certified) => {
            let time = certified.time.map(|time| format!(", {time}")).unwrap_or_default();
            format!("{:?} by {:?}{time}", certified.subject, certified.issuer)
        }
    };
    terminal::say(format_args!("{}: signed by {by}\n", proof.digest));
    Ok(())
}

/// The bytes of a file of at most `max`.
fn start(path: &Path, max: u64) -> Result<Vec<u8>, oci::Error> {
    let failed = |source| oci::Error::Io { path: path.to_owned(), action: "read", source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found > max {
        let problem = format!("found more than {max} bytes, expected at most those");
        return Err(failed(std::io::Error::other(problem)));
    }
    Ok(bytes)
}
