#!/bin/bash
# Measures levels and cluster sizes: what an image costs to make, and what a host pays to read it.
#
#   benches/erofs/settings.sh LAYERS NAME [SETTINGS…]     e.g. lz4hc:6,64K zstd:3,128K,6.15
#
# Must be root: it mounts each image by a loop device and drops the page cache before each read.
# Reads are of all metadata, of 2,000 random blocks, and of everything. WORK is where the images are
# read from (default: /var/tmp), which should be the disk that hosts have.
set -euo pipefail
layers=$1 name=$2
shift 2
[ $# -gt 0 ] || set -- lz4,64K lz4hc:3,64K lz4hc:6,16K lz4hc:6,64K lz4hc:6,128K lz4hc:9,64K lz4hc:12,64K zstd:3,128K,6.15 none
here=$(cd "$(dirname "$0")" && pwd)
ours=${OCI2SYSEXT:-$here/../../target/release/oci2sysext}
work=$(mktemp -d "${WORK:-/var/tmp}/settings.XXXXXX")
trap 'umount "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/mnt"

echo "| setting | CPU s | size MB | metadata | random | all |"
echo "|---|---|---|---|---|---|"
for setting; do
    IFS=, read -r codec cluster kernel <<<"$setting"
    arguments=(--compress "$codec" ${cluster:+--cluster-size "$cluster"} ${kernel:+--min-kernel "$kernel"})
    rm -f "$work/x.raw"
    /usr/bin/time -o "$work/time" -f '%U %S' "$ours" --key "$layers/$name.gz/key.pub" -q --threads 2 \
        "${arguments[@]}" -o "$work/x.raw" "oci:$layers/$name.gz"
    python3 - "$setting" "$work" <<'PYTHON'
import os, random, subprocess, sys, time
setting, work = sys.argv[1:]
user, system = map(float, open(work + "/time").read().split())
image, mnt = work + "/x.raw", work + "/mnt"

def cold(read):
    # The best of three: others use this disk, too.
    times = []
    for _ in range(3):
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
        subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", image, mnt], check=True)
        started = time.monotonic()
        read()
        times.append(time.monotonic() - started)
        subprocess.run(["umount", mnt], check=True)
    return min(times)

def files():
    return [os.path.join(top, name) for top, _, names in os.walk(mnt) for name in names]

def metadata():
    for path in files():
        os.lstat(path)

subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", image, mnt], check=True)
sizes = [(path, os.lstat(path).st_size) for path in files() if not os.path.islink(path)]
subprocess.run(["umount", mnt], check=True)
blocks = [(path, block) for path, size in sizes for block in range(0, size, 4096)]
chosen = random.Random(1).sample(blocks, min(2000, len(blocks)))

def at_random():
    for path, block in chosen:
        with open(path, "rb") as file:
            file.seek(block)
            file.read(4096)

def everything():
    for path, _ in sizes:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass

size = os.path.getsize(image) / 1e6
times = " | ".join(f"{cold(read):.2f}" for read in (metadata, at_random, everything))
print(f"| {setting} | {user + system:.2f} | {size:.2f} | {times} |", flush=True)
PYTHON
done
