"""Makes the storage of a registry with a base of 60 layers as rpm-ostree writes it, and extensions.

image.py DIR GB CONTEXTS

DIR/repo becomes a repository with the base's commit, and DIR/data docker-registry's storage:
base/one and base/two are images of two extensions of the same base, base/plain is the first without
labels and annotations, so that nothing says what is where. CONTEXTS is the base's file_contexts. The
commit is made by ostree; its layers are written as ostree-ext does, since Debian has no tool for
that. Contents do not compress, and gzip stores them.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

place, size, contexts = sys.argv[1:]
size = int(float(size) * 2**30)
data = os.path.join(place, "data", "docker", "registry", "v2")
OBJECTS = "sysroot/ostree/repo/objects"

# Packages by layer, the first of them the name of a directory with most of the layer's bytes.
# What os-release and the policy are in is small, as on Fedora; the last is initramfs and what no
# package owns.
groups = [["package%d" % (8 * n + k) for k in range(8)] for n in range(55)]
groups.insert(7, ["filesystem", "setup", "basesystem"])
groups.insert(20, ["selinux-policy", "selinux-policy-targeted"])
groups.insert(40, ["fedora-release-common", "fedora-release-identity-basic", "fedora-repos"])
groups.append(["initramfs", "rpmostree-unpackaged-content"])
small = {"filesystem": 1 << 20, "selinux-policy": 12 << 20, "fedora-release-common": 2 << 20}
share = (size - sum(small.values())) // (len(groups) - len(small))

files = {
    "usr/lib/os-release": ("fedora-release-common", b'ID=fedora\nVERSION_ID=43\n'),
    "usr/etc/passwd": ("setup", b"root:x:0:0:root:/root:/bin/bash\n"),
    "usr/etc/group": ("setup", b"root:x:0:\n"),
    "usr/lib/passwd": ("rpmostree-unpackaged-content", b"daemon:x:2:2:::\n"),
    "usr/etc/selinux/config": ("selinux-policy", b"SELINUXTYPE=targeted\n"),
    "usr/etc/selinux/targeted/contexts/files/file_contexts": (
        "selinux-policy-targeted", open(contexts, "rb").read()),
    "usr/share/remainder": ("", b"of no package\n"),
}
links = {
    "usr/etc/os-release": ("fedora-release-common", "../usr/lib/os-release"),
    "bin": ("filesystem", "usr/bin"), "sbin": ("filesystem", "usr/sbin"),
    "lib": ("filesystem", "usr/lib"), "usr/sbin": ("filesystem", "bin"),
}
owners = {path: package for path, (package, _) in (files | links).items()}
root = os.path.join(place, "root")
shutil.rmtree(root, ignore_errors=True)
for path, (_, contents) in files.items():
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    with open(os.path.join(root, path), "wb") as file:
        file.write(contents)
os.makedirs(os.path.join(root, "usr/bin"))
for path, (_, target) in links.items():
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    os.symlink(target, os.path.join(root, path))
# A thousand small files a layer for the listing, and one large one for the price.
for group in groups:
    directory = "usr/share/" + group[0]
    os.makedirs(os.path.join(root, directory))
    bulk = {"bulk": small.get(group[0], share)} | {"file%d" % n: 300 for n in range(1000)}
    for name, length in bulk.items():
        path = "%s/%s" % (directory, name)
        owners[path] = group[0]
        with open(os.path.join(root, path), "wb") as file:
            while length > 0:
                file.write(os.urandom(min(length, 1 << 20)))
                length -= 1 << 20

repo = os.path.join(place, "repo")
shutil.rmtree(repo, ignore_errors=True)


def ostree(*words):
    return subprocess.check_output(["ostree", "--repo=" + repo, *words], text=True)


ostree("init", "--mode=bare-user-only")
commit = ostree("commit", "--branch=base", "--owner-uid=0", "--owner-gid=0", "--no-xattrs",
                "--timestamp=@0", "--consume", "--canonical-permissions",
                "--tree=dir=" + root).strip()
listing = ostree("ls", "-R", "-C", "base").splitlines()


def object_name(checksum, kind):
    return "%s/%s.%s" % (checksum[:2], checksum[2:], kind)


class Layer:
    """A gzip layer that is written into the storage as it grows."""

    def __init__(self):
        self.file = open(os.path.join(place, "layer"), "wb")
        self.gzip = gzip.GzipFile("", "wb", 0, self.file, 0)
        self.diff = hashlib.sha256()
        self.tar = tarfile.open(mode="w|", fileobj=self, format=tarfile.GNU_FORMAT)

    def write(self, piece):
        self.diff.update(piece)
        return self.gzip.write(piece)

    def add(self, name, kind=tarfile.REGTYPE, mode=0o644, link="", source=None, contents=b""):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname = kind, mode, link
        if source:
            info.size = os.path.getsize(source)
            with open(source, "rb") as file:
                self.tar.addfile(info, file)
        else:
            info.size = len(contents)
            self.tar.addfile(info, io.BytesIO(contents))

    def finish(self):
        self.tar.close()
        self.gzip.close()
        self.file.close()
        with open(self.file.name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        descriptor = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                      "digest": "sha256:" + digest, "size": os.path.getsize(self.file.name)}
        os.makedirs(blob(digest), exist_ok=True)
        os.rename(self.file.name, os.path.join(blob(digest), "data"))
        return descriptor, "sha256:" + self.diff.hexdigest()


def blob(digest):
    return os.path.join(data, "blobs", "sha256", digest[:2], digest)


def put(contents, media_type):
    digest = hashlib.sha256(contents).hexdigest()
    os.makedirs(blob(digest), exist_ok=True)
    with open(os.path.join(blob(digest), "data"), "wb") as file:
        file.write(contents)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(contents)}


def link(path, digest):
    path = os.path.join(data, "repositories", path, "link")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(digest)


def in_layers(path):
    return path[4:] if path == "usr/etc" or path.startswith("usr/etc/") else path


first = Layer()
first.add("./", tarfile.DIRTYPE, 0o755)
for path in ["sysroot", "sysroot/ostree", "sysroot/ostree/repo", OBJECTS]:
    first.add(path, tarfile.DIRTYPE, 0o755)
written = set()


def metadata(checksum, kind):
    name = object_name(checksum, kind)
    if name not in written:
        written.add(name)
        first.add("%s/%s" % (OBJECTS, name), source=os.path.join(repo, "objects", name))


def content(layer, path, checksum, mode, target):
    carrier = "%s/%s" % (OBJECTS, object_name(checksum, "file"))
    if target is None:
        source = os.path.join(repo, "objects", object_name(checksum, "file"))
        layer.add(carrier, mode=mode, source=source)
    else:
        layer.add(carrier, tarfile.SYMTYPE, 0o777, target)
    layer.add(in_layers(path), tarfile.LNKTYPE, mode, carrier)


metadata(commit, "commit")
contents_of = {}
for line in listing:
    words = line.split()
    mode = int(words[0][1:], 8)
    if line[0] == "d":
        metadata(words[4], "dirtree")
        metadata(words[5], "dirmeta")
        if words[6] != "/":
            first.add(in_layers(words[6][1:]), tarfile.DIRTYPE, mode)
    else:
        path = words[5][1:]
        target = words[7] if line[0] == "l" else None
        package = owners[path]
        contents_of.setdefault(package, []).append((path, words[4], mode, target))
for entry in contents_of[""]:
    content(first, *entry)
base = [(*first.finish(), None)]
for group in groups:
    layer = Layer()
    for package in group:
        for entry in contents_of.get(package, []):
            content(layer, *entry)
    base.append((*layer.finish(), ",".join(group)))
shutil.rmtree(root, ignore_errors=True)

for name, labelled, program in [("one", True, b"1"), ("two", True, b"2"), ("plain", False, b"1")]:
    layer = Layer()
    for path in ["usr", "usr/bin"]:
        layer.add(path, tarfile.DIRTYPE, 0o755)
    layer.add("usr/bin/tool", mode=0o755, contents=program)
    layers = base + [(*layer.finish(), None)]
    config = {"os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
              "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff for _, diff, _ in layers]}}
    descriptors = [dict(descriptor) for descriptor, _, _ in layers]
    if labelled:
        config["config"]["Labels"] = {"ostree.commit": commit,
                                      "ostree.final-diffid": base[-1][1]}
        for descriptor, (_, _, components) in zip(descriptors, layers):
            if components:
                descriptor["annotations"] = {"ostree.components": components}
    config = put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config,
                               "layers": descriptors}).encode(), media_type)
    for descriptor in descriptors + [config]:
        link("base/%s/_layers/%s" % (name, descriptor["digest"].replace(":", "/")),
             descriptor["digest"])
    digest = manifest["digest"]
    link("base/%s/_manifests/revisions/%s" % (name, digest.replace(":", "/")), digest)
    link("base/%s/_manifests/tags/1.tool/current" % name, digest)
    link("base/%s/_manifests/tags/1.tool/index/%s" % (name, digest.replace(":", "/")), digest)
sizes = [descriptor["size"] for descriptor, _, _ in base]
print("%d layers, %.1f MB, the first %.1f MB" % (len(base), sum(sizes) / 1e6, sizes[0] / 1e6))
