"""Makes a signed OCI layout of a base layer with a release and a policy, and of one more layer.

layout.py TAR COMPRESSED LAYOUT SELINUX

SELINUX is a directory like /etc/selinux, which the base gets. The key that the image is signed
with is thrown away; its public half is LAYOUT/key.pub. Needs openssl.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

tar, compressed, layout, selinux = sys.argv[1:]
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


def plain(info):
    """A directory or file of the policy, whoever's it is here."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info if info.isdir() or info.isreg() else None


base = io.BytesIO()
with tarfile.open(fileobj=base, mode="w") as archive:
    for name in ["usr", "usr/lib", "etc"]:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    text = b'ID=debian\nVERSION_ID="12"\n'
    info = tarfile.TarInfo("usr/lib/os-release")
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text))
    archive.add(selinux, "etc/selinux", filter=plain)
base = base.getvalue()

kind = "application/vnd.oci.image.layer.v1.tar+"
last = kind + ("zstd" if compressed.endswith(".zst") else "gzip")
layers = [put(gzip.compress(base, mtime=0), kind + "gzip"), put_file(compressed, last)]
config_type = "application/vnd.oci.image.config.v1+json"
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
manifest_type = "application/vnd.oci.image.manifest.v1+json"


def put_manifest(config, layers, kind):
    config = put(json.dumps(config).encode(), config_type)
    manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers}
    descriptor = put(json.dumps(manifest).encode(), manifest_type)
    descriptor["annotations"] = {"kind": "dev.cosignproject.cosign/" + kind}
    return descriptor


image = put_manifest(config, layers, "image")
payload = {
    "critical": {
        "identity": {"docker-reference": "registry.example/bench"},
        "image": {"docker-manifest-digest": image["digest"]},
        "type": "cosign container image signature",
    },
    "optional": None,
}
payload = json.dumps(payload).encode()
with tempfile.TemporaryDirectory() as work:
    key, signed = os.path.join(work, "key"), os.path.join(work, "payload")
    with open(signed, "wb") as file:
        file.write(payload)

    def openssl(*arguments):
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout

    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key)
    openssl("ec", "-in", key, "-pubout", "-out", os.path.join(layout, "key.pub"))
    signature = openssl("dgst", "-sha256", "-sign", key, signed)
layer = put(payload, "application/vnd.dev.cosign.simplesigning.v1+json")
layer["annotations"] = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
signatures = put_manifest({"architecture": "", "os": "", "rootfs": rootfs}, [layer], "sigs")
with open(os.path.join(layout, "index.json"), "w") as file:
    json.dump({"schemaVersion": 2, "manifests": [image, signatures]}, file)
with open(os.path.join(layout, "oci-layout"), "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
