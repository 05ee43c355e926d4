//! Real signers, each writing cosign's tag scheme: cosign 2, cosign 3, skopeo, and openssl alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::command::sha256;
use super::registry::{PASSWORD, Registry, USER};
use super::tools::{self, FORKY, TRIXIE};

/// A program that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// cosign 2.
    Cosign2,
    /// cosign 3, told to write the older format.
    Cosign3,
    /// skopeo, which signs while it pushes.
    Skopeo,
    /// openssl; the signature's manifest is written by hand.
    OpenSsl,
}

/// A key pair; the files go with it.
#[derive(Debug)]
pub struct Key {
    directory: TempDir,
}

impl Key {
    /// The public key, as PEM.
    pub fn public(&self) -> PathBuf {
        self.directory.path().join("cosign.pub")
    }

    /// The signature of some bytes by openssl, as the annotation holds it. For the keys of
    /// [`Signer::OpenSsl`]: those of cosign are encrypted.
    pub fn sign(&self, bytes: &[u8]) -> String {
        let file = self.directory.path().join(sha256(bytes));
        fs::write(&file, bytes).expect("a written file");
        let output = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .args([self.private(), file])
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{output:?}");
        STANDARD.encode(output.stdout)
    }

    /// The private key.
    pub fn private(&self) -> PathBuf {
        self.directory.path().join("cosign.key")
    }
}

impl Signer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cosign2, Self::Cosign3, Self::Skopeo, Self::OpenSsl];

    /// The program, if it is here.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Cosign2 => tools::of(TRIXIE, "cosign"),
            Self::Cosign3 => tools::of(FORKY, "cosign"),
            // Debian's skopeo 1.9 cannot sign so.
            Self::Skopeo => tools::of(FORKY, "skopeo"),
            Self::OpenSsl => tools::system("openssl"),
        }
    }

    /// A new key pair for this signer, P-256, if the program that makes it is here.
    pub fn new_key(self) -> Option<Key> {
        self.program()?;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let key = Key { directory };
        if self == Self::OpenSsl {
            tools::shell(
                r#"
                openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" ||
                    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
                openssl pkey -in "$1" -pubout -out "$2"
                "#,
                [key.private(), key.public()],
            );
        } else {
            let cosign = Self::Cosign2.program().or_else(|| Self::Cosign3.program())?;
            let mut command = Command::new(cosign);
            command.env("COSIGN_PASSWORD", "").arg("generate-key-pair");
            tools::check(command.current_dir(key.directory.path()));
        }
        Some(key)
    }

    /// Pushes an image to `name` (`repository:tag`) of a registry and signs it there.
    pub fn push_signed(self, registry: &Registry, key: &Key, source: &str, name: &str) {
        let program = self.program().expect("an installed signer");
        let skopeo = tools::newest("skopeo").expect("skopeo");
        if self == Self::Skopeo {
            return sign_with_skopeo(&program, registry, key, source, name);
        }
        registry.push(&skopeo, source, name);
        let digest = registry.digest(&skopeo, name);
        let (repository, _) = name.rsplit_once(':').expect("a tag");
        if self == Self::OpenSsl {
            return sign_with_openssl(&skopeo, registry, key, repository, &digest);
        }
        let mut command = Command::new(program);
        command.env("COSIGN_PASSWORD", "").args(["sign", "--tlog-upload=false", "-y", "--key"]);
        command.arg(key.private());
        if self == Self::Cosign3 {
            command.args(["--use-signing-config=false", "--new-bundle-format=false"]);
        }
        command.args(["--registry-username", USER, "--registry-password", PASSWORD]);
        if let Some(ca) = registry.ca() {
            command.arg("--registry-cacert").arg(ca.path("ca.crt"));
        }
        tools::check(command.arg(format!("{}/{repository}@{digest}", registry.address())));
    }
}

fn sign_with_skopeo(skopeo: &Path, registry: &Registry, key: &Key, source: &str, name: &str) {
    let work = tempfile::tempdir().expect("a temporary directory");
    let attachments =
        format!("docker: {{\"{}\": {{use-sigstore-attachments: true}}}}\n", registry.address());
    fs::write(work.path().join("test.yaml"), attachments).expect("a written file");
    fs::write(work.path().join("password"), "").expect("a written file");
    let mut command = Command::new(skopeo);
    command.arg("--registries.d").arg(work.path());
    command.args(["copy", "-q", "--preserve-digests"]).args(registry.skopeo_flags("dest-"));
    command.arg("--sign-by-sigstore-private-key").arg(key.private());
    command.arg("--sign-passphrase-file").arg(work.path().join("password"));
    tools::check(command.arg(source).arg(format!("docker://{}/{name}", registry.address())));
}

/// Signs what has `digest` in a repository with openssl alone, under the repository's own name.
pub fn sign_with_openssl(
    skopeo: &Path,
    registry: &Registry,
    key: &Key,
    repository: &str,
    digest: &str,
) {
    let payload = serde_json::json!({
        "critical": {
            "identity": { "docker-reference": format!("{}/{repository}", registry.address()) },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string();
    let image = openssl_signature(key, payload.as_bytes());
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let source = format!("dir:{}", image.path().display());
    registry.push(skopeo, &source, &format!("{repository}:{tag}"));
}

/// The image of a signature over `payload`, as containers' directory transport keeps images.
pub fn openssl_signature(key: &Key, payload: &[u8]) -> TempDir {
    let image = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(image.path().join(name), bytes).expect("a written file");
    };
    let payload_digest = sha256(payload);
    write(&payload_digest, payload);
    let config = serde_json::json!({
        "architecture": "", "os": "", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{payload_digest}")] },
    })
    .to_string();
    write(&sha256(config.as_bytes()), config.as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": config.len(),
            "digest": format!("sha256:{}", sha256(config.as_bytes())),
        },
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "size": payload.len(),
            "digest": format!("sha256:{payload_digest}"),
            "annotations": {
                "dev.cosignproject.cosign/signature": key.sign(payload),
            },
        }],
    });
    write("manifest.json", manifest.to_string().as_bytes());
    write("version", b"Directory Transport Version: 1.1\n");
    image
}
