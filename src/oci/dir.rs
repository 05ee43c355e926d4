//! A directory as skopeo's `dir:` writes it: `manifest.json`, blobs by hexadecimal digest,
//! signatures as `signature-1`, `signature-2`, … (containers/image, directory transport).

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::folder::{Folder, display, missing};
use super::source::{SourceOptions, Transport};
use super::{Descriptor, Digest, Error, RawManifest, resolve};
use crate::error::{ExitCode, Fault};
use crate::escape::Escaped;
use crate::json;
use crate::limits::Limits;
use crate::verify::{Blob, Candidate, LayerDescriptor, Verified};

/// How the `version` file starts; a number of the form 1.N follows.
const VERSION: &str = "Directory Transport Version: ";
/// The media type of the payloads that we know.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What a signature file starts with that is not GPG's.
const SIGSTORE: &[u8] = b"\0sigstore-json\n";

/// The image in a directory.
#[derive(Debug)]
pub struct Dir {
    folder: Folder,
    root: RawManifest,
    limits: Limits,
}

impl Dir {
    /// Opens a directory and reads its manifest.
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, Error> {
        let folder = Folder::open(path)?;
        let limits = options.limits.clone();
        // Older versions, and fixtures, have no such file; skopeo does not ask for it either.
        if let Some(file) = folder.file("version")? {
            let text = file.read(limits.manifest_size)?;
            if !is_version(&text) {
                return Err(Error::Place {
                    place: display(path),
                    problem: format!(
                        "found the version {:?}, expected \"{VERSION}1.N\"",
                        Escaped(text.get(..80).unwrap_or(&text).trim_ascii())
                    ),
                });
            }
        }
        let manifest = folder.file("manifest.json")?.ok_or_else(|| Error::NoImage {
            place: display(path),
            problem: "found no manifest.json, expected a directory made by skopeo".to_owned(),
        })?;
        let root = RawManifest::new(manifest.read(limits.manifest_size)?, None);
        Ok(Self { folder, root, limits })
    }

    /// What the files of an index's instance start with.
    fn prefix(&self, digest: &Digest) -> String {
        if *digest == self.root.digest { String::new() } else { format!("{}.", digest.hex()) }
    }

    /// The signature in a file; none if there is no such file.
    fn candidate(&self, name: &str) -> Option<Candidate> {
        // In base64, with annotations that may hold certificate chains: bounded as a document.
        let max = self.limits.manifest_size;
        let read = match self.folder.file(name) {
            Ok(None) => return None,
            Ok(Some(file)) => file.read(max),
            Err(error) => Err(error),
        };
        let signature = match read {
            Ok(bytes) => signature(&bytes, self.limits.signature_size),
            Err(error @ Error::Place { .. }) => Err((ExitCode::Signature, error.to_string())),
            Err(error) => Err((error.exit_code(), error.to_string())),
        };
        let origin = name.to_owned();
        Some(match signature {
            Ok((payload, annotations)) => Candidate::Payload { origin, payload, annotations },
            Err((exit_code, problem)) => Candidate::Unusable { origin, problem, exit_code },
        })
    }
}

fn is_version(text: &[u8]) -> bool {
    let minor = text
        .strip_prefix(VERSION.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"1."))
        .and_then(|rest| rest.strip_suffix(b"\n"));
    minor.is_some_and(|minor| !minor.is_empty() && minor.iter().all(u8::is_ascii_digit))
}

/// The payload of a signature, and its annotations.
type Signature = (Vec<u8>, BTreeMap<String, String>);

/// Reads a signature file whose payload has at most `max` bytes.
fn signature(bytes: &[u8], max: u64) -> Result<Signature, (ExitCode, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct SignatureFile {
        mime_type: String,
        payload: String,
        annotations: BTreeMap<String, String>,
    }
    let refuse = |problem: String| (ExitCode::Signature, problem);
    let document = match (bytes.strip_prefix(SIGSTORE), bytes.first()) {
        (Some(document), _) => document,
        (None, Some(0)) => {
            let end = bytes.iter().take(64).position(|byte| *byte == b'\n').unwrap_or(1);
            let format = Escaped(bytes.get(1..end).unwrap_or_default());
            return Err(refuse(format!("found the format {format:?}, expected sigstore-json")));
        }
        (None, _) => {
            return Err(refuse("found a GPG signature, expected a sigstore one".to_owned()));
        }
    };
    let file: SignatureFile = json::parse(document, json::DEEPEST).map_err(refuse)?;
    if file.mime_type != SIMPLE_SIGNING {
        let start: String = file.mime_type.chars().take(80).collect();
        return Err(refuse(format!("found media type {start:?}, expected {SIMPLE_SIGNING}")));
    }
    let payload = BASE64_STANDARD
        .decode(&file.payload)
        .map_err(|error| refuse(format!("found a payload that is not base64: {error}")))?;
    let found = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    if found > max {
        let problem = format!("found a payload of {found} bytes, expected at most {max}");
        return Err((ExitCode::Limit, problem));
    }
    Ok((payload, file.annotations))
}

impl Transport for Dir {
    fn root(&mut self) -> Result<RawManifest, Error> {
        Ok(self.root.clone())
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        let &Descriptor { digest, ref media_type, .. } = descriptor;
        let name = format!("{}manifest.json", self.prefix(&digest));
        let file = self.folder.file(&name)?;
        let file = file.ok_or_else(|| missing(self.folder.path(), "manifest", &digest))?;
        let bytes = file.read(self.limits.manifest_size)?;
        let raw = RawManifest::new(bytes, Some(media_type.0.clone()));
        resolve::check(&raw, descriptor)?;
        Ok(raw)
    }

    fn blob_bytes(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let &Descriptor { digest, size, .. } = descriptor;
        let file = self.folder.file(&digest.hex())?;
        let file = file.ok_or_else(|| missing(self.folder.path(), "blob", &digest))?;
        file.start(size.saturating_add(1))
    }

    fn layer(
        &mut self,
        layer: &Verified<LayerDescriptor>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified<Blob>, Error> {
        let digest = &layer.descriptor.digest;
        let file = self.folder.file(&digest.hex())?;
        let file = file.ok_or_else(|| missing(self.folder.path(), "layer", digest))?;
        file.layer(layer, &self.limits, progress)
    }

    fn candidates(&mut self, digest: &Digest) -> Result<Vec<Candidate>, Error> {
        let prefix = self.prefix(digest);
        let max = self.limits.signatures;
        let mut candidates = Vec::new();
        for number in 1.. {
            let origin = format!("{prefix}signature-{number}");
            let Some(candidate) = self.candidate(&origin) else { break };
            if number > max {
                let problem = format!("found more than {max} signatures: the rest is ignored");
                let exit_code = ExitCode::Limit;
                candidates.push(Candidate::Unusable { origin, problem, exit_code });
                break;
            }
            candidates.push(candidate);
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mime_type: &str, payload: &str, more: &str) -> Vec<u8> {
        let payload = BASE64_STANDARD.encode(payload);
        let annotations = r#"{"dev.cosignproject.cosign/signature":"x"}"#;
        let document = format!(
            r#"{{"mimeType":"{mime_type}","payload":"{payload}","annotations":{annotations}{more}}}"#
        );
        [SIGSTORE, document.as_bytes()].concat()
    }

    #[test]
    fn a_signature_file_holds_payload_and_annotations() {
        let (payload, annotations) = signature(&file(SIMPLE_SIGNING, "text", ""), 4).unwrap();
        assert_eq!((payload.as_slice(), annotations.len()), (b"text".as_slice(), 1));
    }

    #[test]
    fn other_signature_files_are_refused() {
        let code = |bytes: &[u8]| signature(bytes, 4).unwrap_err().0;
        assert_eq!(code(&file(SIMPLE_SIGNING, "text+", "")), ExitCode::Limit);
        for bad in [
            file("text/plain", "text", ""),
            file(SIMPLE_SIGNING, "text", r#","payload":"""#),
            file(SIMPLE_SIGNING, "text", r#","new":1"#),
            file(SIMPLE_SIGNING, "text", "} {"),
            b"\0simple-signing\nx".to_vec(),
            b"\0".to_vec(),
            b"\x90\x0d".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(code(&bad), ExitCode::Signature);
        }
    }

    #[test]
    fn the_version_is_one_that_is_known() {
        assert!(is_version(b"Directory Transport Version: 1.1\n"));
        assert!(is_version(b"Directory Transport Version: 1.12\n"));
        for bad in
            ["", "1.1", "Directory Transport Version: 2.0\n", "Directory Transport Version: 1.\n"]
        {
            assert!(!is_version(bad.as_bytes()), "{bad}");
        }
    }
}
