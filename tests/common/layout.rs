//! Signed OCI layouts as `cosign save` writes them, correct unless a test spoils something.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::command::sha256;
use super::sign::Key;
use super::tarball::{Tarball, gzip};

/// The repository that the signatures name.
pub const REPOSITORY: &str = "registry.example/test/image";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// An OCI layout in a temporary directory.
#[derive(Debug)]
pub struct Layout {
    root: TempDir,
    index: Vec<Value>,
}

/// An image's documents before they are written.
#[derive(Clone, Debug)]
pub struct Image {
    /// The configuration.
    pub config: Value,
    /// The manifest; its `config` member is filled in when it is written.
    pub manifest: Value,
    blobs: Vec<Vec<u8>>,
}

impl Image {
    /// A base and, above it, a layer made of `tar`.
    pub fn new(tar: &[u8]) -> Self {
        let base = Tarball::base().finish();
        Self::of_blobs(&[(gzip(&base), base), (gzip(tar), tar.to_vec())])
    }

    /// Layers as they are stored, each with its uncompressed bytes.
    pub fn of_blobs(layers: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|(_, tar)| digest(tar)).collect();
        let blobs: Vec<_> = layers.iter().map(|(stored, _)| stored.clone()).collect();
        let descriptors: Vec<_> = blobs.iter().map(|blob| descriptor(LAYER, blob)).collect();
        Self {
            config: json!({
                "created": "2026-01-01T00:00:00Z",
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
            }),
            manifest: json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors }),
            blobs,
        }
    }

    /// The descriptor of the last layer.
    pub fn layer(&mut self) -> &mut Value {
        let layers = self.manifest.get_mut("layers").and_then(Value::as_array_mut);
        layers.and_then(|layers| layers.last_mut()).expect("a layer")
    }
}

impl Layout {
    /// An empty layout.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(root.path().join("blobs/sha256")).expect("a new directory");
        let layout = Self { root, index: Vec::new() };
        layout.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    /// A layout that holds an image and a good signature.
    pub fn signed(key: &Key, image: &Image) -> Self {
        let mut layout = Self::new();
        let digest = layout.add_image(image);
        layout.sign(key, &digest);
        layout
    }

    /// As references name it.
    pub fn reference(&self) -> String {
        format!("oci:{}", self.root.path().display())
    }

    /// Gives the last image a name, by which tools that know no others find it; the directory.
    pub fn tagged(&mut self, name: &str) -> PathBuf {
        let entry = self.index.last_mut().expect("an image");
        let annotations = entry.pointer_mut("/annotations").and_then(Value::as_object_mut);
        let key = "org.opencontainers.image.ref.name".to_owned();
        annotations.expect("annotations").insert(key, json!(name));
        self.write_index();
        self.root.path().to_owned()
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        self.root.path().join("blobs/sha256").join(hex)
    }

    /// Adds an image; the digest of its manifest.
    pub fn add_image(&mut self, image: &Image) -> String {
        let manifest = self.add_parts(image);
        self.add_document(&manifest, MANIFEST, "dev.cosignproject.cosign/image")
    }

    /// Adds the parts of an image; its manifest.
    fn add_parts(&self, image: &Image) -> String {
        for blob in &image.blobs {
            self.add_blob(blob);
        }
        let config = image.config.to_string();
        self.add_blob(config.as_bytes());
        let mut manifest = image.manifest.clone();
        let members = manifest.as_object_mut().expect("a manifest");
        members.entry("config").or_insert_with(|| descriptor(CONFIG, config.as_bytes()));
        manifest.to_string()
    }

    /// The entry of an index for an image, which is added without its manifest being an image of
    /// the layout.
    pub fn instance(&self, image: &Image, architecture: &str) -> Value {
        let manifest = self.add_parts(image);
        self.add_blob(manifest.as_bytes());
        let mut entry = descriptor(MANIFEST, manifest.as_bytes());
        let platform = json!({ "os": "linux", "architecture": architecture });
        entry.as_object_mut().expect("a descriptor").insert("platform".to_owned(), platform);
        entry
    }

    /// Adds an index as the image; its digest.
    pub fn add_index(&mut self, entries: &[Value]) -> String {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        self.add_document(&index.to_string(), INDEX, "dev.cosignproject.cosign/imageIndex")
    }

    /// Adds a good signature of what has a digest.
    pub fn sign(&mut self, key: &Key, digest: &str) {
        let payload = payload(digest);
        let signature = key.sign(payload.as_bytes());
        self.add_signatures(&[(payload.as_bytes(), &signature)]);
    }

    /// Adds any document as the image; its digest.
    pub fn add_document(&mut self, text: &str, media_type: &str, kind: &str) -> String {
        self.add_blob(text.as_bytes());
        let mut entry = descriptor(media_type, text.as_bytes());
        let members = entry.as_object_mut().expect("a descriptor");
        members.insert("annotations".to_owned(), json!({ "kind": kind }));
        self.index.push(entry);
        self.write_index();
        digest(text.as_bytes())
    }

    /// Adds one manifest of signatures: payloads, and what their annotations say.
    pub fn add_signatures(&mut self, signatures: &[(&[u8], &str)]) {
        let layers: Vec<_> = signatures
            .iter()
            .map(|(payload, signature)| {
                self.add_blob(payload);
                let mut layer = descriptor(PAYLOAD, payload);
                let members = layer.as_object_mut().expect("a descriptor");
                let annotations = json!({ "dev.cosignproject.cosign/signature": signature });
                members.insert("annotations".to_owned(), annotations);
                layer
            })
            .collect();
        self.add_blob(b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, b"{}"),
            "layers": layers,
        });
        self.add_document(&manifest.to_string(), MANIFEST, "dev.cosignproject.cosign/sigs");
    }

    /// Adds a blob under its digest.
    pub fn add_blob(&self, bytes: &[u8]) {
        fs::write(self.blob(&digest(bytes)), bytes).expect("a written blob");
    }

    /// What a registry has of the layout, by path below the repository, each with its media type;
    /// the image is called `tag`, and its signatures are for the last image that was added.
    pub fn documents(&self, tag: &str) -> BTreeMap<String, (String, Vec<u8>)> {
        let mut documents = BTreeMap::new();
        let blobs = self.root.path().join("blobs/sha256");
        for entry in fs::read_dir(blobs).expect("a directory") {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a blob");
            let hex = path.file_name().expect("a name").to_string_lossy();
            let document = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
            if let Some(media_type) = document.get("mediaType").and_then(Value::as_str) {
                let document = (media_type.to_owned(), bytes.clone());
                documents.insert(format!("manifests/sha256:{hex}"), document);
            }
            let blob = ("application/octet-stream".to_owned(), bytes);
            documents.insert(format!("blobs/sha256:{hex}"), blob);
        }
        let mut image = String::new();
        for entry in &self.index {
            let text = |pointer| entry.pointer(pointer).and_then(Value::as_str).expect("a text");
            let digest = text("/digest");
            let document = documents.get(&format!("manifests/{digest}")).cloned();
            let name = if text("/annotations/kind").ends_with("sigs") {
                format!("{}.sig", image.replace(':', "-"))
            } else {
                digest.clone_into(&mut image);
                tag.to_owned()
            };
            documents.insert(format!("manifests/{name}"), document.expect("a document"));
        }
        documents
    }

    fn write_index(&self) {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": self.index,
        });
        self.write("index.json", index.to_string().as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.root.path().join(name), bytes).expect("a written file");
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::new()
    }
}

/// What cosign signs for an image of [`REPOSITORY`].
pub fn payload(digest: &str) -> String {
    format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"{REPOSITORY}\"}},\
         \"image\":{{\"docker-manifest-digest\":\"{digest}\"}},\
         \"type\":\"cosign container image signature\"}},\"optional\":null}}"
    )
}

/// `sha256:` and the digest of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// The descriptor of some bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "size": bytes.len(), "digest": digest(bytes) })
}
