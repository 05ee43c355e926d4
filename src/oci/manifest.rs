//! The documents that describe an image: manifest, index, configuration.
//!
//! Parsed strictly (P3): JSON that every parser reads alike, of one kind only, and of the kind
//! that its media type says. Keys that the specification does not know are allowed, as it asks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Descriptor, Digest, Error, MediaType, Platform, RawManifest};
use crate::escape::Escaped;
use crate::json;

/// An image manifest: the configuration and the layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ManifestDocument")]
pub struct ImageManifest {
    /// 2
    pub schema_version: u32,
    /// What this document says it is.
    pub media_type: Option<MediaType>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form notes.
    pub annotations: BTreeMap<String, String>,
}

/// An image index: one manifest for each platform.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "IndexDocument")]
pub struct ImageIndex {
    /// 2
    pub schema_version: u32,
    /// What this document says it is.
    pub media_type: Option<MediaType>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Free-form notes.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or an index, whichever the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A manifest.
    Manifest(ImageManifest),
    /// An index.
    Index(ImageIndex),
}

impl Document {
    /// Reads a manifest or an index.
    pub fn parse(raw: &RawManifest) -> Result<Self, Error> {
        read_document(&raw.bytes, raw.media_type.as_deref()).map_err(|problem| Error::Document {
            document: format!("manifest {}", raw.digest),
            problem,
        })
    }
}

impl ImageManifest {
    /// Reads a manifest; refuses an index.
    pub fn parse(raw: &RawManifest) -> Result<Self, Error> {
        Self::read(&raw.bytes, raw.media_type.as_deref()).map_err(|problem| Error::Document {
            document: format!("manifest {}", raw.digest),
            problem,
        })
    }

    /// Like [`ImageManifest::parse`], for callers that say themselves which document it is.
    pub(crate) fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Self, String> {
        match read_document(bytes, media_type)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err("found an index, expected an image manifest".to_owned()),
        }
    }
}

impl ImageIndex {
    /// Reads an index; refuses a manifest.
    pub fn parse(raw: &RawManifest) -> Result<Self, Error> {
        Self::read(&raw.bytes, raw.media_type.as_deref()).map_err(|problem| Error::Document {
            document: format!("index {}", raw.digest),
            problem,
        })
    }

    /// Like [`ImageIndex::parse`], for callers that say themselves which document it is.
    pub(crate) fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Self, String> {
        match read_document(bytes, media_type)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err("found an image manifest, expected an index".to_owned()),
        }
    }
}

/// Reads a manifest or an index that came with `media_type`.
fn read_document(bytes: &[u8], media_type: Option<&str>) -> Result<Document, String> {
    const KNOWN: &[&str] = &[
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
    ];
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        schema_version: u32,
        media_type: Option<MediaType>,
    }

    let keys = json::object_keys(bytes, KNOWN)?;
    let kind: Kind = json::parse(bytes, json::DEEPEST)?;
    if kind.schema_version != 2 {
        return Err(format!("found schema version {}, expected 2", kind.schema_version));
    }
    // CVE-2021-41190: a document that is a manifest to one reader and an index to another.
    let is_index = keys.contains("manifests");
    let for_manifests = ["config", "layers", "fsLayers"].iter().find(|key| keys.contains(**key));
    if is_index && let Some(key) = for_manifests {
        return Err(format!("found both \"manifests\" and {key:?}, expected one kind of document"));
    }
    let came_with = media_type.map(|given| given.split(';').next().unwrap_or_default().trim());
    if let (Some(body), Some(given)) = (&kind.media_type, came_with)
        && body.0 != given
    {
        return Err(format!(
            "found mediaType {body}, expected {}, with which it came",
            Escaped(given.as_bytes())
        ));
    }
    let media_type = kind.media_type.or_else(|| came_with.map(|given| MediaType(given.to_owned())));
    if let Some(media_type) = media_type {
        let (fits, expected) = if is_index {
            (media_type.is_index(), "an index's, as there are \"manifests\"")
        } else {
            (media_type.is_manifest(), "an image manifest's, as there are no \"manifests\"")
        };
        if !fits {
            return Err(format!("found media type {media_type}, expected {expected}"));
        }
    }
    if is_index {
        json::parse(bytes, json::DEEPEST).map(Document::Index)
    } else {
        json::parse(bytes, json::DEEPEST).map(Document::Manifest)
    }
}

/// What we need of an image configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// What the image runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// When the image was built, RFC 3339.
    pub created: Option<String>,
    /// Labels and the like.
    #[serde(default)]
    pub config: Option<ContainerConfig>,
    /// The layers' contents.
    pub rootfs: RootFs,
}

/// What we need of the container configuration inside an image configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ContainerDocument")]
pub struct ContainerConfig {
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The layers' contents.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// The digest of each layer's uncompressed bytes, lowest first.
    pub diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads an image configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).map_err(|problem| Error::Document {
            document: format!("image configuration {}", Digest::of(bytes)),
            problem,
        })
    }

    /// Like [`ImageConfig::parse`], for callers that say themselves which document it is.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        const KNOWN: &[&str] = &[
            "architecture",
            "author",
            "config",
            "created",
            "history",
            "os",
            "os.features",
            "os.version",
            "rootfs",
            "variant",
        ];
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        struct Checked {
            #[serde(rename = "author")]
            _author: Option<String>,
            #[serde(rename = "history")]
            _history: Option<Vec<Object>>,
        }

        json::object_keys(bytes, KNOWN)?;
        json::parse::<Checked>(bytes, json::DEEPEST)?;
        let config: Self = json::parse(bytes, json::DEEPEST)?;
        config.moment()?;
        Ok(config)
    }

    /// When the image was built; none if it does not say.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.moment().ok().flatten()
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.as_ref()?.labels.as_ref()?.get(name).map(String::as_str)
    }

    fn moment(&self) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.created.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let start: String = text.chars().take(80).collect();
            format!("found created {start:?}, expected a date and time of RFC 3339")
        })
    }
}

/// An object whose contents do not matter.
type Object = serde_json::Map<String, serde_json::Value>;

/// A manifest as written, with the fields that are checked but not kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: u32,
    media_type: Option<MediaType>,
    #[serde(rename = "artifactType")]
    _artifact_type: Option<MediaType>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(rename = "subject")]
    _subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl TryFrom<ManifestDocument> for ImageManifest {
    type Error = &'static str;

    fn try_from(document: ManifestDocument) -> Result<Self, &'static str> {
        if document.layers.is_empty() {
            return Err("found no layers, expected at least one");
        }
        Ok(Self {
            schema_version: document.schema_version,
            media_type: document.media_type,
            config: document.config,
            layers: document.layers,
            annotations: document.annotations.unwrap_or_default(),
        })
    }
}

/// An index as written, with the fields that are checked but not kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexDocument {
    schema_version: u32,
    media_type: Option<MediaType>,
    #[serde(rename = "artifactType")]
    _artifact_type: Option<MediaType>,
    manifests: Vec<Descriptor>,
    #[serde(rename = "subject")]
    _subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<IndexDocument> for ImageIndex {
    fn from(document: IndexDocument) -> Self {
        Self {
            schema_version: document.schema_version,
            media_type: document.media_type,
            manifests: document.manifests,
            annotations: document.annotations.unwrap_or_default(),
        }
    }
}

/// A container configuration as written, with the fields that are checked but not kept.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerDocument {
    #[serde(rename = "User")]
    _user: Option<String>,
    #[serde(rename = "ExposedPorts")]
    _exposed_ports: Option<Object>,
    env: Option<Vec<String>>,
    #[serde(rename = "Entrypoint")]
    _entrypoint: Option<Vec<String>>,
    #[serde(rename = "Cmd")]
    _cmd: Option<Vec<String>>,
    #[serde(rename = "Volumes")]
    _volumes: Option<Object>,
    #[serde(rename = "WorkingDir")]
    _working_dir: Option<String>,
    #[serde(rename = "StopSignal")]
    _stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl TryFrom<ContainerDocument> for ContainerConfig {
    type Error = String;

    fn try_from(document: ContainerDocument) -> Result<Self, String> {
        let env = document.env.unwrap_or_default();
        if let Some(bad) = env.iter().find(|variable| !variable.contains('=')) {
            let start: String = bad.chars().take(80).collect();
            return Err(format!("found {start:?} in Env, expected NAME=VALUE"));
        }
        Ok(Self { labels: document.labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTOR: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","size":0,
        "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#;

    fn raw(body: &str, media_type: Option<&str>) -> RawManifest {
        let body = body.replace('@', DESCRIPTOR);
        RawManifest::new(body.into_bytes(), media_type.map(str::to_owned))
    }

    #[test]
    fn a_document_is_what_it_says() {
        let manifest = raw(r#"{"schemaVersion":2,"config":@,"layers":[@],"new":1}"#, None);
        assert_eq!(ImageManifest::parse(&manifest).unwrap().layers.len(), 1);
        assert!(ImageIndex::parse(&manifest).is_err());
        let list = r#"{"schemaVersion":2,"manifests":[@]}"#;
        let list = raw(list, Some("application/vnd.docker.distribution.manifest.list.v2+json"));
        assert!(matches!(Document::parse(&list).unwrap(), Document::Index(_)));
        let parameter = format!("{}; charset=utf-8", MediaType::OCI_MANIFEST);
        let manifest = raw(r#"{"schemaVersion":2,"config":@,"layers":[@]}"#, Some(&parameter));
        ImageManifest::parse(&manifest).unwrap();
    }

    /// Row 34 and its neighbours.
    #[test]
    fn a_document_of_two_kinds_or_another_kind_is_refused() {
        const OCI: Option<&str> = Some(MediaType::OCI_MANIFEST);
        for (body, media_type) in [
            (r#"{"schemaVersion":2,"config":@,"layers":[@],"manifests":[@]}"#, None),
            (r#"{"schemaVersion":2,"config":@,"manifests":[@]}"#, None),
            (r#"{"schemaVersion":2,"layers":[@],"manifests":[]}"#, None),
            (r#"{"schemaVersion":2,"config":@,"layers":[@],"Manifests":[@]}"#, None),
            (r#"{"schemaVersion":2,"manifests":[@]}"#, OCI),
            (r#"{"schemaVersion":2,"config":@,"layers":[@]}"#, Some("text/plain")),
            (r#"{"schemaVersion":2,"config":@,"layers":[@]}"#, Some(MediaType::OCI_INDEX)),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":@,"layers":[@]}"#,
                OCI,
            ),
            (r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"x"}],"history":[]}"#, None),
            (r#"{"schemaVersion":"2","config":@,"layers":[@]}"#, None),
            (r#"{"schemaVersion":2,"config":@,"layers":[]}"#, None),
            (r#"{"schemaVersion":2,"config":@,"layers":[@],"x":{"a":1,"a":1}}"#, None),
            (r#"{"schemaVersion":2,"config":@,"layers":[@]}x"#, None),
        ] {
            assert!(Document::parse(&raw(body, media_type)).is_err(), "{body}");
        }
        let huge = DESCRIPTOR.replace(":0,", ":9223372036854775808,");
        let body = format!(r#"{{"schemaVersion":2,"config":{huge},"layers":[@]}}"#);
        assert!(Document::parse(&raw(&body, None)).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

        /// One byte changed, put in or taken out: read as the same document, or refused.
        #[test]
        fn a_damaged_document_is_refused_or_the_same(
            place in 0..400_usize, byte in proptest::prelude::any::<u8>(), how in 0..3,
        ) {
            let body = r#"{"schemaVersion":2,"config":@,"layers":[@],"annotations":{"a":"b"}}"#;
            let mut raw = raw(body, Some(MediaType::OCI_MANIFEST));
            let place = place.min(raw.bytes.len() - 1);
            match how {
                0 => raw.bytes[place] = byte,
                1 => raw.bytes.insert(place, byte),
                _ => drop(raw.bytes.remove(place)),
            }
            if let Ok(manifest) = ImageManifest::parse(&raw) {
                let value: serde_json::Value = serde_json::from_slice(&raw.bytes).unwrap();
                proptest::prop_assert_eq!(&value["config"], &serde_json::to_value(manifest.config).unwrap());
                proptest::prop_assert!(value.get("manifests").is_none());
            }
        }
    }

    fn created(text: &str) -> Result<Option<Timestamp>, Error> {
        let body = format!(
            r#"{{"os":"linux","architecture":"amd64","created":{text},"config":{{"Labels":{{"a":"b"}},
               "Env":null}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        let config = ImageConfig::parse(body.as_bytes())?;
        assert_eq!(config.label("a"), Some("b"));
        Ok(config.created_at())
    }

    #[test]
    fn the_time_of_creation_counts_from_1970() {
        let at = |seconds, nanoseconds| Some(Timestamp::new(seconds, nanoseconds).unwrap());
        assert_eq!(created(r#""1970-01-01T00:00:01.5Z""#).unwrap(), at(1, 500_000_000));
        assert_eq!(created(r#""1969-12-31T23:59:58.25Z""#).unwrap(), at(-2, 250_000_000));
        assert_eq!(created(r#""2026-11-21T03:12:35+01:00""#).unwrap(), at(1_795_227_155, 0));
        assert_eq!(created(r#""0001-01-01T00:00:00Z""#).unwrap(), at(-62_135_596_800, 0));
        assert_eq!(created("null").unwrap(), None);
        assert!(created(r#""yesterday""#).is_err());
        assert!(created("5").is_err());
    }
}
