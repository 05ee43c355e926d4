#!/usr/bin/env python3
"""Makes the bad images in this folder; each is named after its row of bad inputs.

Every folder holds `reference` (what the user types, paths relative to the folder), `exit` (the
exit code that it must get) and, where one is asked for, `platform`. tests/documents.rs reads them.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OCI = "application/vnd.oci.image."
LAYER = b"\0" * 1024
REF = "org.opencontainers.image.ref.name"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)} | more


def dumps(value):
    return json.dumps(value, indent=1).encode() + b"\n"


def config(architecture="amd64", layers=1):
    diff_ids = [digest(LAYER)] * layers
    return dumps({"os": "linux", "architecture": architecture,
                  "rootfs": {"type": "layers", "diff_ids": diff_ids}})


def manifest(config=config(), layer=None, **more):
    layer = {} if layer is None else layer
    return {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": descriptor(OCI + "config.v1+json", config),
            "layers": [descriptor(OCI + "layer.v1.tar", LAYER) | layer]} | more


def index(*entries, **more):
    return {"schemaVersion": 2, "mediaType": OCI + "index.v1+json",
            "manifests": list(entries)} | more


def entry(data, architecture="amd64", media_type=OCI + "manifest.v1+json"):
    platform = {"os": "linux", "architecture": architecture}
    return descriptor(media_type, data, platform=platform)


def vector(name, exit, reference, files=(), links=(), platform=None):
    folder = HERE / name
    files = dict(files) | {"exit": f"{exit}\n".encode(), "reference": f"{reference}\n".encode()}
    if platform:
        files["platform"] = f"{platform}\n".encode()
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for path, target in dict(links).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, folder / path)


def directory(name, exit, document, blobs=(config(), LAYER), instances=(), more=(), platform=None):
    document = document if isinstance(document, bytes) else dumps(document)
    files = {"dir/manifest.json": document, "dir/version": b"Directory Transport Version: 1.1\n"}
    files |= {"dir/" + digest(blob)[7:]: blob for blob in blobs}
    files |= {"dir/" + digest(data)[7:] + ".manifest.json": data for data in instances}
    vector(name, exit, "dir:dir", files | dict(more), platform=platform)


def layout_files(entries=None, blobs=(), version="1.0.0"):
    image = dumps(manifest())
    entries = [descriptor(OCI + "manifest.v1+json", image)] if entries is None else entries
    files = {"oci-layout": json.dumps({"imageLayoutVersion": version}).encode(),
             "index.json": dumps(index(*entries))}
    return files | {"blobs/sha256/" + digest(b)[7:]: b for b in (image, config(), LAYER, *blobs)}


def layout(name, exit, files, reference="oci:layout", links=()):
    files = {"layout/" + path: data for path, data in files.items()}
    vector(name, exit, reference, files, {"layout/" + path: to for path, to in dict(links).items()})


def archive(name, exit, files, entries=(), compress=False):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in [*files.items(), *entries]:
            info = tarfile.TarInfo(path)
            if isinstance(data, str):
                info.type, info.linkname, data = tarfile.SYMTYPE, data, b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    # Two blocks of zeros end it; tarfile would write twenty.
    data = buffer.getvalue()[:end] + bytes(1024)
    data = gzip.compress(data, mtime=0) if compress else data
    vector(name, exit, "oci-archive:archive.tar", {"archive.tar": data})


def main():
    for folder in HERE.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    good, hexadecimal = dumps(manifest()), digest(LAYER)[7:]
    raw = lambda old, new: good.replace(old.encode(), new.encode())

    directory("32-index-entry-of-other-bytes", 6, index(entry(good)), platform="linux/amd64",
              more={"dir/" + digest(good)[7:] + ".manifest.json": good.replace(b"1024", b"1025")})
    for what, bad in {"path": "sha256:../../x", "uppercase": "sha256:" + hexadecimal.upper(),
                      "63-digits": "sha256:" + hexadecimal[1:],
                      "md5": "md5:d41d8cd98f00b204e9800998ecf8427e"}.items():
        directory(f"33-document-digest-{what}", 7, manifest(layer={"digest": bad}))
        vector(f"33-typed-digest-{what}", 2, f"quay.io/travier/sysexts@{bad}")
    directory("33-size-negative", 7, manifest(layer={"size": -1}))
    directory("33-size-huge", 7, manifest(layer={"size": 2**63}))
    directory("33-size-text", 7, manifest(layer={"size": "1024"}))
    directory("34-manifests-and-layers", 7, manifest(manifests=[entry(good)]))
    directory("34-manifests-and-config", 7,
              index(entry(good), config=descriptor(OCI + "config.v1+json", config())))
    directory("34-manifest-typed-as-index", 7, manifest(mediaType=OCI + "index.v1+json"))
    directory("34-index-typed-as-manifest", 7,
              index(entry(good), mediaType=OCI + "manifest.v1+json"))
    directory("34-layers-twice", 7, raw('"layers"', '"layers": [], "layers"'))
    directory("34-digest-twice-deep", 7, raw('"size"', f'"digest": "sha256:{hexadecimal}", "size"'))
    directory("34-layers-in-other-case", 7, manifest(Layers=[]))
    directory("34-trailing-bytes", 7, good + b"{}")
    directory("34-not-utf8", 7, good.replace(b"{", b'{"a":"\xff",', 1))
    directory("34-schema-1", 7, {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": []})
    directory("34-no-layers", 7, manifest(layers=[]))
    directory("34-artifact", 7, manifest(config=b"{}") | {
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}")}, blobs=[b"{}"])

    arm = dumps(manifest(annotations={"for": "arm64"}))
    nested = dumps(index(entry(good)))
    directory("35-index-in-index", 7, index(entry(nested, media_type=OCI + "index.v1+json")),
              instances=[nested], platform="linux/amd64")
    directory("35-index-typed-as-manifest-in-index", 7,
              index(entry(dumps({**index(entry(good)), "mediaType": None}))),
              instances=[dumps({**index(entry(good)), "mediaType": None})], platform="linux/amd64")
    directory("35-no-matching-platform", 7, index(entry(good), entry(arm, "arm64")),
              instances=[good, arm], platform="linux/s390x")
    directory("35-two-matching-platforms", 7, index(entry(good), entry(arm)),
              instances=[good, arm], platform="linux/amd64")
    directory("35-no-platform-in-entry", 7,
              index(descriptor(OCI + "manifest.v1+json", good)), instances=[good],
              platform="linux/amd64")
    directory("35-single-image-of-another-platform", 7, manifest(), platform="linux/arm64")
    directory("36-config-of-another-architecture", 5, index(entry(good, "arm64")),
              instances=[good], platform="linux/arm64")

    for kind, make in {"dir": directory, "layout": None}.items():
        for what, data in {"short": LAYER[1:], "long": LAYER + b"\0", "other": b"\1" + LAYER[1:]}.items():
            if make:
                make(f"39-{kind}-layer-{what}", 6, good, more={"dir/" + hexadecimal: data})
            else:
                files = layout_files() | {"blobs/sha256/" + hexadecimal: data}
                layout(f"39-{kind}-layer-{what}", 6, files)
                archive(f"39-archive-layer-{what}", 6, files)
    layout("39-layout-manifest-other", 6,
           layout_files() | {"blobs/sha256/" + digest(good)[7:]: good.replace(b"1024", b"1025")})
    layout("39-layout-config-other", 6,
           layout_files() | {"blobs/sha256/" + digest(config())[7:]: config("arm64")[:len(config())]})
    two = config(layers=2)
    directory("40-more-diff-ids-than-layers", 6, manifest(config=two), blobs=[two, LAYER])

    for what, media_type in {
            "foreign": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "nondistributable": OCI + "layer.nondistributable.v1.tar",
            "encrypted": OCI + "layer.v1.tar+encrypted",
            "unknown": OCI + "layer.v1.tar+xz"}.items():
        directory(f"41-{what}-layer", 7, manifest(layer={"mediaType": media_type}))
    directory("41-layer-with-urls", 7, manifest(layer={"urls": ["https://example.com/layer"]}))
    directory("82-layer-above-the-limit", 9, manifest(layer={"size": 17 << 30}))
    directory("82-config-above-the-limit", 9, manifest() | {
        "config": descriptor(OCI + "config.v1+json", config()) | {"size": 5 << 20}})

    a, b = (descriptor(OCI + "manifest.v1+json", good, annotations={REF: r}) for r in ("41.a", "41.b"))
    other = dumps(manifest(annotations={"a": "b"}))
    b = descriptor(OCI + "manifest.v1+json", other, annotations={REF: "41.b"})
    layout("91-no-such-ref", 12, layout_files([a]), "oci:layout:41.iwd")
    layout("91-no-such-position", 12, layout_files([a]), "oci:layout:@1")
    layout("91-no-ref-and-two-images", 12, layout_files([a, b], [other]))
    layout("91-no-image", 12, layout_files([]))
    vector("91-no-such-layout", 12, "oci:missing:41.iwd")
    vector("91-no-such-archive", 12, "oci-archive:missing.tar")
    vector("91-no-such-directory", 12, "dir:missing")
    files = layout_files()
    del files["blobs/sha256/" + hexadecimal]
    layout("91-no-such-layer", 12, files)
    layout("91-layer-is-a-link", 7, files, links={"blobs/sha256/" + hexadecimal: "../../index.json"})
    files = {"oci-layout": files["oci-layout"], "index.json": files["index.json"]}
    layout("91-blobs-is-a-link", 7, files, links={"blobs": "../../91-no-such-layer/layout/blobs"})
    layout("91-two-images-of-one-name", 7, layout_files([a, b | {"annotations": {REF: "41.a"}}], [other]),
           "oci:layout:41.a")
    layout("91-layout-of-version-2", 7, layout_files(version="2.0.0"))
    directory("91-directory-of-version-2", 7, good,
              more={"dir/version": b"Directory Transport Version: 2.0\n"})

    archive("archive-compressed", 7, layout_files(), compress=True)
    archive("archive-index-twice", 7, layout_files(), [("./index.json", b"{}")])
    archive("archive-link", 7, layout_files(), [("blobs/sha256/x", "/etc/passwd")])
    archive("archive-dot-dot", 7, layout_files(), [("../index.json", b"{}")])
    vector("100-short-name", 2, "travier/sysexts:41.iwd")
    vector("100-shorter-name", 2, "iwd")
    vector("100-other-transport", 2, "containers-storage:quay.io/travier/sysexts:41.iwd")


if __name__ == "__main__":
    main()
