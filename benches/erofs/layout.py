"""Makes an unsigned OCI layout of a base layer that names a release, and of one more layer.

layout.py TAR COMPRESSED LAYOUT
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

tar, compressed, layout = sys.argv[1:]
blobs = os.path.join(layout, "blobs", "sha256")
os.makedirs(blobs, exist_ok=True)


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(data, media_type):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as file:
        file.write(data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}


def put_file(path, media_type):
    digest = digest_of(path)
    place = os.path.join(blobs, digest)
    if os.path.exists(place):
        os.unlink(place)
    os.link(path, place)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": os.path.getsize(path)}


base = io.BytesIO()
with tarfile.open(fileobj=base, mode="w") as archive:
    for name in ["usr", "usr/lib"]:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    text = b'ID=debian\nVERSION_ID="12"\n'
    info = tarfile.TarInfo("usr/lib/os-release")
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text))
base = base.getvalue()

kind = "application/vnd.oci.image.layer.v1.tar+"
last = kind + ("zstd" if compressed.endswith(".zst") else "gzip")
layers = [put(gzip.compress(base, mtime=0), kind + "gzip"), put_file(compressed, last)]
config = {
    "architecture": "amd64",
    "os": "linux",
    "rootfs": {
        "type": "layers",
        "diff_ids": [
            "sha256:" + hashlib.sha256(base).hexdigest(),
            "sha256:" + digest_of(tar),
        ],
    },
}
config = put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
manifest_type = "application/vnd.oci.image.manifest.v1+json"
manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers}
manifest = put(json.dumps(manifest).encode(), manifest_type)
index = {"schemaVersion": 2, "manifests": [manifest]}
with open(os.path.join(layout, "index.json"), "w") as file:
    json.dump(index, file)
with open(os.path.join(layout, "oci-layout"), "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
