//! One image in many places, by skopeo, buildah and umoci.

use std::fs;

use oci2sysext::error::ExitCode;
use oci2sysext::oci::{Document, ImageIndex, Platform};

use crate::common::{need, shared, tools};
use crate::{AMD64, add_blob, copy_tree, raw_index, read_all, write_index};

/// skopeo's copies of one image are that image, whatever the transport.
#[test]
fn copies_by_skopeo_are_read_alike() {
    let layout = shared!("images/mc-layout");
    let original = read_all(&format!("oci:{}:sysext", layout.display()), None).unwrap();
    assert_eq!(original.layers.len(), 2);
    assert_eq!(original.config.created_at().unwrap().as_second(), 1_795_227_155);
    assert_eq!(original.config.created_at().unwrap().subsec_nanosecond(), 192_236_478);
    let Err(error) = read_all(&format!("oci:{}", layout.display()), None) else { panic!() };
    assert!(error.to_string().contains("base, sysext"), "{error}");

    let skopeo = need!(tools::newest("skopeo"), "no skopeo");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let source = format!("oci:{}:sysext", layout.display());
    for copy in [
        format!("dir:{path}/dir"),
        format!("oci:{path}/layout:localhost:5000/x/y:41.mc"),
        format!("oci-archive:{path}/archive.tar:41.mc"),
        format!("oci-archive:{path}/nameless.tar"),
    ] {
        tools::run(&skopeo, ["copy", "-q", &source, &copy]);
        let image = read_all(&copy, Some(AMD64)).unwrap_or_else(|error| panic!("{copy}: {error}"));
        assert_eq!(image.resolved.manifest.digest, original.resolved.manifest.digest, "{copy}");
        assert!(image.layers == original.layers, "{copy}");
        assert!(image.candidates.is_empty());
    }
    for name in ["", ":@0", &format!(":@{}", original.resolved.manifest.digest)] {
        read_all(&format!("oci:{path}/layout{name}"), None).unwrap();
    }
    let docker = format!("dir:{path}/docker");
    tools::run(&skopeo, ["copy", "-q", "--format", "v2s2", &source, &docker]);
    let docker = read_all(&docker, None).unwrap();
    assert_ne!(docker.resolved.manifest.digest, original.resolved.manifest.digest);
    assert!(docker.layers == original.layers);
}

/// An index in a layout, with two platforms of which one lies; and skopeo's copy of it.
#[test]
fn a_platform_is_selected_from_an_index() {
    let original = shared!("images/mc-layout");
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
    if let Some(skopeo) = tools::newest("skopeo") {
        for copy in copies {
            tools::run(&skopeo, ["copy", "-q", "--all", &source, &copy]);
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
    let buildah = need!(tools::newest("buildah"), "no buildah");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let (root, runroot) = (format!("{path}/root"), format!("{path}/runroot"));
    let buildah = |arguments: &[&str]| {
        let storage = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        tools::run(&buildah, [storage.as_slice(), arguments].concat());
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
    let umoci = need!(tools::newest("umoci"), "no umoci");
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout").display().to_string();
    let image = format!("{layout}:41.hello");
    let file = folder.path().join("hello");
    fs::write(&file, "hello\n").unwrap();
    tools::run(&umoci, ["init", "--layout", &layout]);
    tools::run(&umoci, ["new", "--image", &image]);
    tools::run(&umoci, ["insert", "--image", &image, file.to_str().unwrap(), "/usr/bin/hello"]);
    let read = read_all(&format!("oci:{image}"), None).unwrap();
    assert_eq!(read.layers.len(), 1);
    assert!(read.config.created_at().unwrap().as_second() > 0);
}
