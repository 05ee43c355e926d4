//! Layers with tables of contents, as real programs write them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::common::command::Workdir;
use crate::common::faults::{Reply, Request, Server};
use crate::common::layout::{Image, Layout, digest};
use crate::common::tarball::{Tarball, gzip};
use crate::common::{need, repository, tools};
use crate::{Shop, base, extension, over};

const SIZE: usize = 1 << 20;
/// More than documents, headers, tables and the extension.
const LITTLE: u64 = 60 << 10;

/// What a registry holds by the place below its repository.
type Shelf = BTreeMap<String, (String, Vec<u8>)>;

fn shelf(layout: &Path) -> Shelf {
    let read = |path: &Path| fs::read(path).unwrap();
    let index: serde_json::Value =
        serde_json::from_slice(&read(&layout.join("index.json"))).unwrap();
    let entry = &index["manifests"][0];
    let manifest = entry["digest"].as_str().unwrap();
    let mut shelf = Shelf::new();
    for file in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = file.unwrap().path();
        let name = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap());
        if name == manifest {
            let document = (entry["mediaType"].as_str().unwrap().to_owned(), read(&path));
            shelf.insert("manifests/1.tool".to_owned(), document.clone());
            shelf.insert(format!("manifests/{name}"), document);
        } else {
            let blob = ("application/octet-stream".to_owned(), read(&path));
            shelf.insert(format!("blobs/{name}"), blob);
        }
    }
    shelf
}

/// A registry with these things, whose answers to requests for parts are changed.
fn serve(shelf: Shelf, part: impl Fn(Reply, &[u8]) -> Reply + Send + Sync + 'static) -> Server {
    Server::http(move |request: &Request, _| {
        let place = request.path.strip_prefix("/v2/test/image/").unwrap_or_default();
        match shelf.get(place) {
            Some((media_type, bytes)) => {
                let reply = Reply::blob(request, bytes).with("Content-Type", media_type);
                if request.range_start().is_some() { part(reply, bytes) } else { reply }
            }
            None if request.path == "/v2/" => Reply::ok("{}"),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    })
}

fn convert(work: &Workdir, server: &Server) -> Vec<u8> {
    let mut command = work.command();
    command.arg(format!("{}/test/image:1.tool", server.host()));
    command.args(["--tls-verify=false", "--insecure-skip-signature", "--force", "--no-cache"]);
    work.converts_command(&mut command);
    fs::read(work.out("tool.raw")).unwrap()
}

/// The same image with zstd:chunked layers: the tables and the few files that are wanted are
/// fetched, and the extension is the same; also from a registry that gives no parts, or wrong ones,
/// or lies about which ones.
#[test]
fn of_a_zstd_chunked_base_only_tables_and_wanted_files_are_fetched() {
    let shop = need!(Shop::open(), "no docker-registry or skopeo");
    let skopeo = need!(tools::of(tools::FORKY, "skopeo"), "no skopeo 1.22");
    let image = over(&base(SIZE), b"tool");
    shop.push("gzip", &image);
    let (expected, _) = shop.convert("gzip", &["--no-cache"]);

    let mut layout = Layout::new();
    layout.add_image(&image);
    let chunked = shop.push_chunked(&skopeo, &layout.reference(), "chunked");
    let cache = shop.cache();
    let (made, bytes) = shop.convert("chunked", &[&cache]);
    assert!(bytes < LITTLE, "{bytes}");
    assert!(made == expected, "another extension by tables");
    let (made, again) = shop.convert("chunked", &[&cache]);
    assert!(made == expected && again < bytes, "{again} after {bytes}");

    let copied = tempfile::tempdir().unwrap();
    let mut copy = Command::new(&skopeo);
    copy.args(["copy", "-q", "--preserve-digests"]).args(shop.registry.skopeo_flags("src-"));
    tools::check(copy.arg(&chunked).arg(format!("oci:{}:1.tool", copied.path().display())));
    let shelf = shelf(copied.path());
    let convert = |server: &Server| convert(&shop.work, server);
    let good = serve(shelf.clone(), |reply, _| reply);
    assert!(convert(&good) == expected && good.sent() < LITTLE, "{}", good.sent());
    let none = serve(shelf.clone(), |_, whole| Reply::ok(whole));
    let wrong = serve(shelf.clone(), |mut reply, _| {
        reply.body[0] ^= 1;
        reply
    });
    let other = serve(shelf.clone(), |mut reply, _| {
        reply.headers.retain(|(name, _)| name != "Content-Range");
        reply.with("Content-Range", "bytes 0-9/10")
    });
    let short = serve(shelf.clone(), |mut reply, _| {
        reply.body.pop();
        reply
    });
    let failing = serve(shelf.clone(), |_, _| Reply::error(416, "RANGE_INVALID"));
    for server in [&none, &wrong, &other, &short, &failing] {
        assert!(convert(server) == expected);
        assert!(server.sent() > 2 * SIZE as u64, "{}", server.sent());
    }

    // A layout is on this machine: the same again.
    let mut command = shop.work.command();
    command.arg(format!("oci:{}:1.tool", copied.path().display())).arg("--name=tool");
    command.args(["--insecure-skip-signature", "--force", "--no-cache"]);
    shop.work.converts_command(&mut command);
    assert!(fs::read(shop.work.out("tool.raw")).unwrap() == expected);
}

/// The digest of the table in `testdata/base/estargz.tar.gz`, as stargz-snapshotter's `estargz`
/// said when it wrote the layer (0.12, with `WithChunkSize(4096)`).
const ESTARGZ: &str = "sha256:2afcb51a44227a6c4bc7f985f5ec86c1119bf28c6da902d61df486e0774d997c";

/// An eStargz layer by its table, and as the gzip layer that it is as well.
#[test]
fn of_an_estargz_base_only_the_table_and_wanted_files_are_fetched() {
    let stored = fs::read(repository("testdata/base/estargz.tar.gz")).unwrap();
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut tar).unwrap();
    let above = extension(b"tool");
    let plain = Image::of_blobs(&[(stored.clone(), tar), (gzip(&above), above)]);
    let with_digest = |digest: &str| {
        let mut image = plain.clone();
        image.manifest["layers"][0]["annotations"] =
            json!({ "containerd.io/snapshot/stargz/toc.digest": digest });
        image
    };
    let shelf = |image: &Image| {
        let mut layout = Layout::new();
        layout.add_image(image);
        layout.documents("1.tool")
    };
    let work = Workdir::new();
    let expected = convert(&work, &serve(shelf(&plain), |reply, _| reply));
    let server = serve(shelf(&with_digest(ESTARGZ)), |reply, _| reply);
    assert!(convert(&work, &server) == expected);
    assert!(server.sent() < stored.len() as u64 / 4, "{}", server.sent());
    let whole = serve(shelf(&with_digest(ESTARGZ)), |_, whole| Reply::ok(whole));
    assert!(convert(&work, &whole) == expected);
    // A table of another digest is none.
    let other = with_digest(&format!("sha256:{}", "0".repeat(64)));
    assert!(convert(&work, &serve(shelf(&other), |reply, _| reply)) == expected);
}

/// A table that has another digest for a file than the layer: whichever is meant, the other is not.
#[test]
fn a_table_that_contradicts_its_layer_is_refused() {
    let file =
        Tarball::new().file("usr/lib/os-release", b"ID=example\nVERSION_ID=1\n").unfinished();
    for (digest, code) in [(digest(b"ID=example\nVERSION_ID=1\n"), 0), (digest(b"ID=other\n"), 6)] {
        let entry = json!({
            "name": "usr/lib/os-release", "type": "reg", "size": 24, "offset": 0, "digest": digest,
        });
        let table = json!({ "version": 1, "entries": [entry] }).to_string();
        let table = table.as_bytes();
        let end = Tarball::new().file("stargz.index.json", table).finish();
        let first = gzip(&file);
        let footer = [
            &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0][..],
            format!("{:016x}STARGZ", first.len()).as_bytes(),
            &[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let stored = [first, gzip(&end), footer].concat();
        let above = extension(b"tool");
        let tar = [file.clone(), end].concat();
        let mut image = Image::of_blobs(&[(stored, tar), (gzip(&above), above)]);
        image.manifest["layers"][0]["annotations"] =
            json!({ "containerd.io/snapshot/stargz/toc.digest": self::digest(table) });
        let mut layout = Layout::new();
        layout.add_image(&image);
        let work = Workdir::new();
        let mut command = work.command();
        command.arg(layout.reference()).arg("--name=tool").arg("--selinux=none");
        command.arg("--insecure-skip-signature");
        if code == 0 {
            work.converts_command(&mut command);
        } else {
            let outcome = work.refuses_command(code, &mut command);
            assert_eq!(outcome.id(), "base.contents");
        }
    }
}
