//! From a verified digest to verified documents: manifest, configuration, layer descriptors.

use super::{Error, Verified};
use crate::oci::{Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest};

/// The digest of an image whose signature the user asked not to check.
///
/// The one way round a signature (`--insecure-skip-signature`); [`Unverified::image_manifest`]
/// is the one place that accepts it.
#[derive(Debug)]
pub struct Unverified(Digest);

impl Unverified {
    /// Takes the user's word for `digest`.
    pub fn skip_signature(digest: Digest) -> Self {
        Self(digest)
    }

    /// The manifest that has this digest: as whole as a verified one, but nobody vouches for it.
    pub fn image_manifest(&self, bytes: &[u8]) -> Result<Verified<ImageManifest>, Error> {
        parse_manifest(self.0, bytes)
    }
}

/// The manifest that has a verified digest.
pub fn image_manifest(
    digest: &Verified<Digest>,
    bytes: &[u8],
) -> Result<Verified<ImageManifest>, Error> {
    parse_manifest(**digest, bytes)
}

fn parse_manifest(digest: Digest, bytes: &[u8]) -> Result<Verified<ImageManifest>, Error> {
    parse("manifest", digest, bytes, |bytes| ImageManifest::read(bytes, None))
        .map(Verified::assertion)
}

/// The instance that was chosen from a verified index, if it is in there (P4).
///
/// `chosen` must be one of the index's entries as it is, and no index itself (row 35); which one
/// is right for a platform is decided where platforms are known.
pub fn select(
    index: &Verified<Digest>,
    bytes: &[u8],
    chosen: &Descriptor,
) -> Result<Verified<Digest>, Error> {
    const WHAT: &str = "index";
    let parsed: ImageIndex = parse(WHAT, **index, bytes, |bytes| ImageIndex::read(bytes, None))?;
    if chosen.media_type.is_index() {
        let problem = format!("entry {} is an index, expected a manifest", chosen.digest);
        return Err(Error::Document { what: WHAT, digest: **index, problem });
    }
    if !parsed.manifests.contains(chosen) {
        return Err(Error::NotInIndex { instance: chosen.digest, index: **index });
    }
    Ok(Verified::assertion(chosen.digest))
}

/// The configuration that a verified manifest names.
pub fn config(
    manifest: &Verified<ImageManifest>,
    bytes: &[u8],
) -> Result<Verified<ImageConfig>, Error> {
    const WHAT: &str = "image configuration";
    let Descriptor { digest, size: expected, .. } = manifest.config;
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found != expected {
        return Err(Error::SizeMismatch { what: WHAT, digest, found, expected });
    }
    parse(WHAT, digest, bytes, ImageConfig::read).map(Verified::assertion)
}

/// A layer of an image: its stored bytes, and what they must decompress to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// Its place in the image, 0 the lowest.
    pub index: usize,
    /// Media type, digest and size of the stored bytes.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed bytes.
    pub diff_id: Digest,
}

/// The layers of a verified image, lowest first.
pub fn layers(
    manifest: &Verified<ImageManifest>,
    config: &Verified<ImageConfig>,
) -> Result<Vec<Verified<LayerDescriptor>>, Error> {
    let (found, expected) = (config.rootfs.diff_ids.len(), manifest.layers.len());
    if found != expected {
        return Err(Error::LayerCount { found, expected });
    }
    Ok(manifest
        .layers
        .iter()
        .zip(&config.rootfs.diff_ids)
        .enumerate()
        .map(|(index, (descriptor, &diff_id))| {
            Verified::assertion(LayerDescriptor { index, descriptor: descriptor.clone(), diff_id })
        })
        .collect())
}

/// The document whose digest is `expected`.
fn parse<T>(
    what: &'static str,
    expected: Digest,
    bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, Error> {
    let found = Digest::of(bytes);
    if found != expected {
        return Err(Error::DigestMismatch { what, found, expected });
    }
    read(bytes).map_err(|problem| Error::Document { what, digest: expected, problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:ab00000000000000000000000000000000000000000000000000000000000000","size":1}]}"#;
    const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":7,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}"#;

    fn verified(bytes: &str) -> Verified<Digest> {
        Verified::assertion(Digest::of(bytes.as_bytes()))
    }

    fn manifest(bytes: &str) -> Result<Verified<ImageManifest>, Error> {
        image_manifest(&verified(bytes), bytes.as_bytes())
    }

    fn chosen() -> Descriptor {
        let index: ImageIndex = serde_json::from_str(INDEX).unwrap();
        index.manifests.into_iter().next().unwrap()
    }

    fn code(error: &Error) -> u8 {
        #[expect(clippy::as_conversions, reason = "repr(u8)")]
        let code = crate::error::Fault::exit_code(error) as u8;
        code
    }

    #[test]
    fn a_manifest_is_what_its_digest_says() {
        assert_eq!(manifest(MANIFEST).unwrap().layers.len(), 1);
        // Row 32.
        let error = image_manifest(&verified(INDEX), MANIFEST.as_bytes()).unwrap_err();
        assert_eq!(code(&error), 6);
    }

    #[test]
    fn a_manifest_is_nothing_else() {
        for (row, from, to) in [
            ("34", "\"layers\":", "\"manifests\":[],\"layers\":"),
            ("34, other order", "{\"schema", "{\"manifests\":null,\"schema"),
            ("two lists of layers", "\"layers\":", "\"layers\":[],\"layers\":"),
            ("no layers", "\"layers\":", "\"levels\":"),
            ("33", "sha256:e3", "sha256:../../e3"),
            ("33, uppercase", "sha256:e3b0", "sha256:E3B0"),
            ("33, short", "sha256:e3b0", "sha256:e3b"),
            ("33, md5", "sha256:e3b0", "md5:e3b0"),
            ("schema1", "\"schemaVersion\":2", "\"schemaVersion\":1"),
            ("media type", "image.manifest", "image.index"),
            ("trailing bytes", "1}]}", "1}]}{}"),
        ] {
            let bad = MANIFEST.replacen(from, to, 1);
            assert_ne!(bad, MANIFEST, "{row}");
            assert_eq!(code(&manifest(&bad).unwrap_err()), 7, "{row}");
        }
    }

    #[test]
    fn an_instance_is_selected_from_its_index() {
        let selected = select(&verified(INDEX), INDEX.as_bytes(), &chosen()).unwrap();
        assert_eq!(*selected, Digest::of(b""));
        let error = select(&verified(MANIFEST), INDEX.as_bytes(), &chosen()).unwrap_err();
        assert_eq!(code(&error), 6);
        let other_digest = Descriptor { digest: Digest::of(b"x"), ..chosen() };
        let other_size = Descriptor { size: 8, ..chosen() };
        let other_platform = Descriptor { platform: None, ..chosen() };
        for other in [other_digest, other_size, other_platform] {
            let error = select(&verified(INDEX), INDEX.as_bytes(), &other).unwrap_err();
            assert!(matches!(error, Error::NotInIndex { .. }), "{error}");
            assert_eq!(code(&error), 6);
        }
    }

    #[test]
    fn an_index_is_nothing_else() {
        // Row 35: an index in an index.
        let nested = INDEX.replace("image.manifest.v1", "image.index.v1");
        let entry =
            Descriptor { media_type: MediaType(MediaType::OCI_INDEX.to_owned()), ..chosen() };
        let error = select(&verified(&nested), nested.as_bytes(), &entry).unwrap_err();
        assert_eq!(code(&error), 7);
        for field in ["layers", "config"] {
            let bad = INDEX.replacen("\"manifests\"", &format!("\"{field}\":[],\"manifests\""), 1);
            let error = select(&verified(&bad), bad.as_bytes(), &chosen()).unwrap_err();
            assert_eq!(code(&error), 7, "row 34, {field}");
        }
        assert!(select(&verified(MANIFEST), MANIFEST.as_bytes(), &chosen()).is_err());
    }

    /// Row 40: as many `diff_ids` as layers, each for its own.
    #[test]
    fn row_40_each_layer_has_its_diff_id() {
        let bytes = MANIFEST.replacen("\"layers\":[{", "\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:cd00000000000000000000000000000000000000000000000000000000000000\",\"size\":2},{", 1);
        let manifest = manifest(&bytes).unwrap();
        let config = |count: u8| {
            let ids: Vec<_> = (0..count).map(|i| format!("\"{}\"", Digest::of(&[i]))).collect();
            let text = format!(
                r#"{{"os":"linux","architecture":"amd64","rootfs":{{"diff_ids":[{}]}}}}"#,
                ids.join(",")
            );
            Verified::assertion(ImageConfig::read(text.as_bytes()).unwrap())
        };
        let found = layers(&manifest, &config(2)).unwrap();
        assert_eq!(found.len(), 2);
        for (index, layer) in found.iter().enumerate() {
            assert_eq!(layer.index, index);
            assert_eq!(layer.descriptor, manifest.layers[index]);
            assert_eq!(layer.diff_id, Digest::of(&[u8::try_from(index).unwrap()]));
        }
        for count in [0, 1, 3] {
            let error = layers(&manifest, &config(count)).unwrap_err();
            assert_eq!(error, Error::LayerCount { found: count.into(), expected: 2 });
            assert_eq!(code(&error), 6);
        }
    }

    #[test]
    fn a_configuration_is_what_the_manifest_names() {
        let bytes = br#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}"#;
        let mut parsed = ImageManifest::clone(&manifest(MANIFEST).unwrap());
        parsed.config.digest = Digest::of(bytes);
        parsed.config.size = u64::try_from(bytes.len()).unwrap();
        let good = Verified::assertion(parsed.clone());
        assert!(config(&good, bytes).is_ok());
        assert_eq!(code(&config(&good, &bytes[1..]).unwrap_err()), 6);
        let mut other = *bytes;
        other[2] = b'O';
        assert_eq!(code(&config(&good, &other).unwrap_err()), 6);
        parsed.config.size += 1;
        assert_eq!(code(&config(&Verified::assertion(parsed), bytes).unwrap_err()), 6);
    }
}
