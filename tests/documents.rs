//! References, documents and local sources, with judges from outside: the OCI image-spec's own
//! examples, skopeo, umoci, oras and cosign, containers/image's fixtures, and the bad images of
//! testdata/reject/documents.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci2sysext::error::{Error, ExitCode};
use oci2sysext::json;
use oci2sysext::limits::Limits;
use oci2sysext::oci::{
    self, Descriptor, Digest, Document, ImageConfig, ImageIndex, ImageManifest, Platform,
    RawManifest, Reference, Source, SourceOptions, Spool,
};
use oci2sysext::verify::{self, Candidate, LayerDescriptor, Unverified, Verified};

const AMD64: &str = "linux/amd64";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Shared data, or the end of the test that lacks it.
fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("O2S_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join("data").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("O2S_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{}", path.display());
    println!("not run: {test} (no shared data)");
    None
}

/// An outside tool: the newest that `$O2S_TOOLS`, else `target/tools`, or `PATH` has; or the
/// end of the test that lacks it.
fn tool(test: &str, name: &str) -> Option<PathBuf> {
    let unpacked = std::env::var_os("O2S_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"), PathBuf::from);
    let unpacked = ["forky", "trixie"].map(|suite| unpacked.join(suite).join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|directory| directory.join(name));
    let found = unpacked.into_iter().chain(installed).find(|path| path.is_file());
    if found.is_none() {
        println!("not run: {test} (no {name})");
    }
    found
}

fn run(program: &Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {talk}", program.display());
}

/// An image, read to the last byte of its last layer.
struct Image {
    resolved: oci::Resolved,
    config: ImageConfig,
    layers: Vec<Vec<u8>>,
    candidates: Vec<Candidate>,
}

/// Goes through all doors of a source, as a conversion does.
fn read(reference: &str, platform: Option<&str>, options: &SourceOptions) -> Result<Image, Error> {
    let asked = platform.map(str::parse::<Platform>).transpose()?;
    let mut source = Source::open(&reference.parse::<Reference>()?, options)?;
    let resolved = source.resolve(asked.as_ref().unwrap_or(&AMD64.parse().unwrap()))?;
    let digest = resolved.manifest.digest;
    let candidates = source.signatures(&digest)?;
    let manifest = Unverified::skip_signature(digest).image_manifest(&resolved.manifest.bytes)?;
    let config = verify::config(&manifest, &source.config(&manifest.config)?)?;
    resolved.check_platform(&config, asked.as_ref())?;
    let layers = verify::layers(&manifest, &config)?
        .iter()
        .map(|layer| {
            let mut seen = 0;
            let blob = source.layer(layer, &mut |bytes| seen = bytes)?;
            assert_eq!(seen, layer.descriptor.size);
            let mut bytes = Vec::new();
            (&blob.file).read_to_end(&mut bytes).unwrap();
            bytes.truncate(usize::try_from(layer.descriptor.size).unwrap());
            Ok(bytes)
        })
        .collect::<Result<_, Error>>()?;
    Ok(Image { resolved, config: config.clone(), layers, candidates })
}

fn read_all(reference: &str, platform: Option<&str>) -> Result<Image, Error> {
    let spool = tempfile::tempdir().unwrap();
    let options = SourceOptions { spool: spool.path().to_owned(), ..SourceOptions::default() };
    let image = read(reference, platform, &options);
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0, "{reference} left something behind");
    image
}

fn payloads(candidates: &[Candidate]) -> Vec<(&[u8], &BTreeMap<String, String>)> {
    candidates
        .iter()
        .filter_map(|candidate| match candidate {
            Candidate::Payload { payload, annotations, .. } => {
                Some((payload.as_slice(), annotations))
            }
            Candidate::Bundle { .. } | Candidate::Unusable { .. } => None,
        })
        .collect()
}

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
    const TEST: &str = "the_specification_s_examples_get_their_verdict";
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

    let Some(folder) = shared(TEST, "oci-spec") else { return };
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

/// skopeo's copies of one image are that image, whatever the transport.
#[test]
fn copies_by_skopeo_are_read_alike() {
    const TEST: &str = "copies_by_skopeo_are_read_alike";
    let Some(layout) = shared(TEST, "images/mc-layout") else { return };
    let original = read_all(&format!("oci:{}:sysext", layout.display()), None).unwrap();
    assert_eq!(original.layers.len(), 2);
    assert_eq!(original.config.created_at().unwrap().as_second(), 1_795_227_155);
    assert_eq!(original.config.created_at().unwrap().subsec_nanosecond(), 192_236_478);
    let Err(error) = read_all(&format!("oci:{}", layout.display()), None) else { panic!() };
    assert!(error.to_string().contains("base, sysext"), "{error}");

    let Some(skopeo) = tool(TEST, "skopeo") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let source = format!("oci:{}:sysext", layout.display());
    for copy in [
        format!("dir:{path}/dir"),
        format!("oci:{path}/layout:localhost:5000/x/y:41.mc"),
        format!("oci-archive:{path}/archive.tar:41.mc"),
        format!("oci-archive:{path}/nameless.tar"),
    ] {
        run(&skopeo, &["copy", "-q", &source, &copy]);
        let image = read_all(&copy, Some(AMD64)).unwrap_or_else(|error| panic!("{copy}: {error}"));
        assert_eq!(image.resolved.manifest.digest, original.resolved.manifest.digest, "{copy}");
        assert!(image.layers == original.layers, "{copy}");
        assert!(image.candidates.is_empty());
    }
    for name in ["", ":@0", &format!(":@{}", original.resolved.manifest.digest)] {
        read_all(&format!("oci:{path}/layout{name}"), None).unwrap();
    }
    let docker = format!("dir:{path}/docker");
    run(&skopeo, &["copy", "-q", "--format", "v2s2", &source, &docker]);
    let docker = read_all(&docker, None).unwrap();
    assert_ne!(docker.resolved.manifest.digest, original.resolved.manifest.digest);
    assert!(docker.layers == original.layers);
}

/// An index in a layout, with two platforms of which one lies; and skopeo's copy of it.
#[test]
fn a_platform_is_selected_from_an_index() {
    const TEST: &str = "a_platform_is_selected_from_an_index";
    let Some(original) = shared(TEST, "images/mc-layout") else { return };
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    copy_tree(&original, &layout);
    let mut index = ImageIndex::parse(&raw_index(&layout)).unwrap();
    let mut entries = std::mem::take(&mut index.manifests);
    for (entry, platform) in entries.iter_mut().zip(["linux/arm64/v8", AMD64]) {
        entry.platform = Some(platform.parse().unwrap());
        entry.annotations.clear();
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let nested = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "manifests": entries,
    });
    let entry = add_blob(&layout, media_type, nested.to_string().as_bytes());
    write_index(&layout, &[entry]);

    let source = format!("oci:{}", layout.display());
    let copies = [format!("{source}-copy"), format!("dir:{}/dir", folder.path().display())];
    let mut references = vec![source.clone()];
    if let Some(skopeo) = tool(TEST, "skopeo") {
        for copy in copies {
            run(&skopeo, &["copy", "-q", "--all", &source, &copy]);
            references.push(copy);
        }
    }
    for reference in references {
        let image = read_all(&reference, None).unwrap();
        assert_eq!(image.layers.len(), 2, "{reference}");
        assert_eq!(image.resolved.entry.unwrap().platform.unwrap().to_string(), AMD64);
        let root = Document::parse(&image.resolved.index.unwrap()).unwrap();
        assert!(matches!(root, Document::Index(_)));
        let code = |platform| read_all(&reference, Some(platform)).map(|_| ()).unwrap_err();
        assert_eq!(code("linux/aarch64").fault().exit_code(), ExitCode::Identity);
        let error = code("linux/s390x");
        assert_eq!(error.fault().exit_code(), ExitCode::Malformed);
        assert!(error.to_string().contains("linux/arm64, linux/amd64"), "{error}");
    }
}

/// buildah's images, made here: docker's format and OCI's, alone and in a list.
#[test]
fn images_by_buildah_are_read() {
    const TEST: &str = "images_by_buildah_are_read";
    let Some(buildah) = tool(TEST, "buildah") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let (root, runroot) = (format!("{path}/root"), format!("{path}/runroot"));
    let buildah = |arguments: &[&str]| {
        let storage = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        run(&buildah, &[storage.as_slice(), arguments].concat());
    };
    fs::write(folder.path().join("hello"), "hello\n").unwrap();
    buildah(&["from", "--name", "made", "scratch"]);
    buildah(&["copy", "-q", "made", &format!("{path}/hello"), "/usr/bin/hello"]);
    buildah(&["config", "--label", "a=b", "--env", "C=d", "made"]);
    buildah(&["commit", "-q", "--format", "docker", "made", "localhost/hello:docker"]);
    buildah(&["commit", "-q", "--format", "oci", "made", "localhost/hello:oci"]);
    buildah(&["manifest", "create", "localhost/hello:list", "localhost/hello:oci"]);
    let mut copies = Vec::new();
    for format in ["docker", "oci"] {
        let image = format!("localhost/hello:{format}");
        for to in ["dir:", "oci:", "oci-archive:"] {
            copies.push(format!("{to}{path}/{format}-{}", to.trim_end_matches(':')));
            buildah(&["push", "-q", &image, copies.last().unwrap()]);
        }
    }
    for to in ["dir:", "oci:"] {
        copies.push(format!("{to}{path}/list-{}", to.trim_end_matches(':')));
        let list = ["manifest", "push", "-q", "--all", "localhost/hello:list"];
        buildah(&[list.as_slice(), &[copies.last().unwrap()]].concat());
    }
    let host = Platform::host().to_string();
    for copy in copies {
        let image = read_all(&copy, Some(&host)).unwrap_or_else(|error| panic!("{copy}: {error}"));
        assert_eq!(image.layers.len(), 1, "{copy}");
        assert_eq!(image.config.label("a"), Some("b"), "{copy}");
        assert_eq!(image.resolved.index.is_some(), copy.contains("/list-"), "{copy}");
    }
    buildah(&["rm", "made"]);
}

/// umoci's images, made here.
#[test]
fn an_image_by_umoci_is_read() {
    const TEST: &str = "an_image_by_umoci_is_read";
    let Some(umoci) = tool(TEST, "umoci") else { return };
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout").display().to_string();
    let image = format!("{layout}:41.hello");
    let file = folder.path().join("hello");
    fs::write(&file, "hello\n").unwrap();
    run(&umoci, &["init", "--layout", &layout]);
    run(&umoci, &["new", "--image", &image]);
    run(&umoci, &["insert", "--image", &image, file.to_str().unwrap(), "/usr/bin/hello"]);
    let read = read_all(&format!("oci:{image}"), None).unwrap();
    assert_eq!(read.layers.len(), 1);
    assert!(read.config.created_at().unwrap().as_second() > 0);
}

/// containers/image's fixtures, and what openssl found in them.
#[test]
fn signature_files_of_a_directory_become_candidates() {
    const TEST: &str = "signature_files_of_a_directory_become_candidates";
    let Some(cosign) = shared(TEST, "cosign") else { return };
    let fixtures = cosign.join("containers-image");
    let candidates = |path: &Path| {
        let reference = format!("dir:{}", path.display()).parse().unwrap();
        let mut source = Source::open(&reference, &SourceOptions::default()).unwrap();
        let digest = source.resolve(&AMD64.parse().unwrap()).unwrap().manifest.digest;
        source.signatures(&digest).unwrap()
    };
    let same_as_triple = |(payload, annotations): (&[u8], &BTreeMap<String, String>),
                          name: &str| {
        let triple = cosign.join("triples").join(name);
        assert_eq!(payload, fs::read(triple.join("payload")).unwrap(), "{name}");
        let signature = BASE64_STANDARD.decode(&annotations[SIGNATURE]).unwrap();
        assert_eq!(signature, fs::read(triple.join("signature.der")).unwrap(), "{name}");
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let valid = fixtures.join("dir-img-cosign-valid");
    for name in ["valid", "key-rekor-valid", "fulcio-rekor-valid"] {
        // Some of the fixtures' manifests are links in their repository, and no manifests here.
        let triple = cosign.join(format!("triples/ci-cosign-{name}-1"));
        fs::copy(triple.join("manifest.json"), file("manifest.json")).unwrap();
        let _ = fs::remove_file(file("signature-1"));
        assert!(candidates(folder.path()).is_empty());
        let signed = fixtures.join(format!("dir-img-cosign-{name}/signature-1"));
        fs::copy(signed, file("signature-1")).unwrap();
        let found = candidates(folder.path());
        assert_eq!(found.len(), 1, "{name}");
        same_as_triple(payloads(&found)[0], &format!("ci-cosign-{name}-1"));
    }

    fs::copy(valid.join("manifest.json"), file("manifest.json")).unwrap();
    fs::copy(fixtures.join("unknown-cosign-key.signature"), file("signature-1")).unwrap();
    fs::write(file("signature-2"), b"\x90\x0d\x03").unwrap();
    std::os::unix::fs::symlink(valid.join("signature-1"), file("signature-3")).unwrap();
    fs::copy(valid.join("signature-1"), file("signature-4")).unwrap();
    fs::copy(valid.join("signature-1"), file("signature-6")).unwrap();
    let found = candidates(folder.path());
    assert_eq!((found.len(), payloads(&found).len()), (4, 2));
    same_as_triple(payloads(&found)[0], "ci-unknown-cosign-key");
    same_as_triple(payloads(&found)[1], "ci-cosign-valid-1");
}

/// A registry on loopback that serves a copy of the shared storage, until it is dropped.
struct Registry {
    server: Child,
    repository: String,
}

impl Registry {
    fn start(program: &Path, storage: &Path, folder: &Path) -> Self {
        copy_tree(storage, &folder.join("storage"));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let config = folder.join("registry.yml");
        let root = folder.join("storage").display().to_string();
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root:?}}}}}\n\
             http: {{addr: '{address}'}}\n"
        );
        fs::write(&config, text).unwrap();
        let server = Command::new(program)
            .args(["serve".as_ref(), config.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if std::net::TcpStream::connect(address).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Self { server, repository: format!("{address}/travier/fedora-kinoite/sysexts") }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Where cosign, skopeo and oras put the signature of a real image when they copy it.
#[test]
fn copied_signatures_are_found() {
    const TEST: &str = "copied_signatures_are_found";
    let Some(storage) = shared(TEST, "images/registry-storage") else { return };
    let Some(server) = tool(TEST, "docker-registry") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let registry = Registry::start(&server, &storage, folder.path());
    let image = format!("{}:41.mc", registry.repository);
    let digest = "9fa2cc574093e860565bbd096196d1b4a42fd1fa119bac8bd2b604012aea198a";
    let tag = format!("sha256-{digest}.sig");
    let mut copies = Vec::new();
    if let Some(skopeo) = tool(TEST, "skopeo") {
        for (from, to) in [("41.mc", "41.mc"), (tag.as_str(), tag.as_str())] {
            let from = format!("docker://{}:{from}", registry.repository);
            let to = format!("oci:{path}/skopeo:{to}");
            run(&skopeo, &["copy", "-q", "--src-tls-verify=false", &from, &to]);
        }
        copies.extend([format!("oci:{path}/skopeo"), format!("oci:{path}/skopeo:41.mc")]);
        // The directory transport keeps signatures where they are configured, and skopeo can.
        fs::create_dir(folder.path().join("registries.d")).unwrap();
        let host = registry.repository.split('/').next().unwrap();
        let text = format!("docker: {{'{host}': {{use-sigstore-attachments: true}}}}\n");
        fs::write(folder.path().join("registries.d/test.yaml"), text).unwrap();
        let configuration = format!("{path}/registries.d");
        let (from, to) = (format!("docker://{image}"), format!("dir:{path}/dir"));
        let arguments = ["--registries.d", &configuration, "copy", "-q", "--src-tls-verify=false"];
        run(&skopeo, &[arguments.as_slice(), &[&from, &to]].concat());
        if folder.path().join("dir/signature-1").exists() {
            copies.push(to);
        }
    }
    if let Some(oras) = tool(TEST, "oras") {
        for name in ["41.mc", &tag] {
            let (from, to) =
                (format!("{}:{name}", registry.repository), format!("{path}/oras:{name}"));
            run(&oras, &["copy", "--from-plain-http", &from, "--to-oci-layout", &to]);
        }
        copies.push(format!("oci:{path}/oras:41.mc"));
    }
    if let Some(cosign) = tool(TEST, "cosign") {
        run(&cosign, &["save", "--dir", &format!("{path}/cosign"), &image]);
        copies.push(format!("oci:{path}/cosign"));
        let archive = format!("{path}/cosign.tar");
        run(Path::new("tar"), &["-C", &format!("{path}/cosign"), "-cf", &archive, "."]);
        copies.push(format!("oci-archive:{archive}"));
    }
    for copy in &copies {
        let read = read_all(copy, None).unwrap_or_else(|error| panic!("{copy}: {error}"));
        assert_eq!(read.resolved.manifest.digest.hex(), digest, "{copy}");
        let found = payloads(&read.candidates);
        assert_eq!((found.len(), read.candidates.len()), (1, 1), "{copy}");
        assert!(found[0].0.windows(64).any(|window| window == digest.as_bytes()), "{copy}");
        assert!(found[0].1.contains_key(SIGNATURE), "{copy}");
    }
    println!("{TEST}: {}", copies.join(" "));
}

/// Rows 39 and 82, where the bytes arrive one after the other.
#[test]
fn a_spool_takes_what_fits_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = b"the bytes of a layer".as_slice();
    let layer = |size| verified_layer(Digest::of(bytes), size);
    let length = u64::try_from(bytes.len()).unwrap();
    let limits = Limits::default();
    let spool = |size| Spool::create(folder.path(), &layer(size), &limits);

    let mut good = spool(length).unwrap();
    for byte in bytes {
        good.write(&[*byte]).unwrap();
    }
    assert_eq!(good.length(), length);
    let blob = good.finish().unwrap();
    assert_eq!(blob.origin, verify::Origin::Spool);
    let mut back = Vec::new();
    (&blob.file).read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);

    let code = |error: oci::Error| Error::from(error).fault().exit_code();
    assert_eq!(code(spool(length - 1).unwrap().write(bytes).unwrap_err()), ExitCode::Integrity);
    let mut short = spool(length + 1).unwrap();
    short.write(bytes).unwrap();
    assert_eq!(code(short.finish().unwrap_err()), ExitCode::Integrity);
    let mut other = spool(length).unwrap();
    other.write(&[0; 20]).unwrap();
    assert_eq!(code(other.finish().unwrap_err()), ExitCode::Integrity);

    assert_eq!(code(spool(limits.layer_size + 1).unwrap_err()), ExitCode::Limit);
    let limits = Limits { layer_size: u64::MAX, ..limits };
    let error = Spool::create(folder.path(), &layer(999 << 40), &limits).unwrap_err();
    assert_eq!(code(error), ExitCode::Io);
    let missing = Spool::create(&folder.path().join("missing"), &layer(1), &limits).unwrap_err();
    assert_eq!(code(missing), ExitCode::Io);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The layer of a made-up image, through the doors that every layer takes.
fn verified_layer(digest: Digest, size: u64) -> Verified<LayerDescriptor> {
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size,
        }],
    });
    let manifest = manifest.to_string();
    let trusted = Unverified::skip_signature(Digest::of(manifest.as_bytes()));
    let manifest = trusted.image_manifest(manifest.as_bytes()).unwrap();
    let config = verify::config(&manifest, &config).unwrap();
    verify::layers(&manifest, &config).unwrap().remove(0)
}

/// A layout whose parts are larger than their limits, and a fifo in place of a blob.
#[test]
fn a_layout_is_bounded() {
    const TEST: &str = "a_layout_is_bounded";
    let Some(original) = shared(TEST, "images/mc-layout") else { return };
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    copy_tree(&original, &layout);
    let reference = format!("oci:{}:base", layout.display());
    let code = |limits: Limits| {
        let spool = folder.path().to_owned();
        let read =
            read(&reference, None, &SourceOptions { limits, spool, ..SourceOptions::default() });
        read.map(|_| ()).unwrap_err().fault().exit_code()
    };
    let limits = Limits::default;
    assert_eq!(code(Limits { manifest_size: 100, ..limits() }), ExitCode::Limit);
    assert_eq!(code(Limits { manifest_size: 347, ..limits() }), ExitCode::Limit);
    assert_eq!(code(Limits { config_size: 200, ..limits() }), ExitCode::Limit);
    assert_eq!(code(Limits { layer_size: 865_766, ..limits() }), ExitCode::Limit);

    let index = ImageIndex::parse(&raw_index(&layout)).unwrap();
    let manifest = layout.join("blobs/sha256").join(index.manifests[0].digest.hex());
    fs::remove_file(&manifest).unwrap();
    run(Path::new("mkfifo"), &[manifest.to_str().unwrap()]);
    assert_eq!(code(limits()), ExitCode::Malformed);
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            let mut file = File::create(&target).unwrap();
            std::io::copy(&mut File::open(entry.path()).unwrap(), &mut file).unwrap();
        }
    }
}

fn raw_index(layout: &Path) -> RawManifest {
    RawManifest::new(fs::read(layout.join("index.json")).unwrap(), None)
}

fn write_index(layout: &Path, entries: &[Descriptor]) {
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

fn add_blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    let text = serde_json::json!({
        "mediaType": media_type, "digest": digest, "size": bytes.len(),
    });
    json::parse(text.to_string().as_bytes(), json::DEEPEST).unwrap()
}
