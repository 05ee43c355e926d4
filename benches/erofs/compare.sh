#!/bin/bash
# Measures this program, its peers and the floor side by side: whole processes in turns, medians,
# and ratios pair by pair. It prints the tables of docs/performance.md.
#
#   benches/erofs/compare.sh LAYERS NAME [ROUNDS]
#
# LAYERS is the directory of layers.sh, best on a tmpfs. These variables say which programs:
#   OCI2SYSEXT  target/release/oci2sysext
#   FLOOR       target/release/deps/floor-*  (cargo bench --bench floor --no-run)
#   MKFS        mkfs.erofs   the newest erofs-utils
#   MKFS_SEED   mkfs.erofs   that of the pipeline which users have today
#   SETFILES    setfiles     the newest libselinux
#   SETFILES_SEED, SQFSTAR, SELINUX (the directory that layers.sh got)
# Must be root, for setfiles. A peer that is not installed is left out, and said to be.
#
# The columns: CPU (user and system) and wall seconds of all processes; the peak memory of the
# largest process, which flatters pipelines; bytes written besides the output.
set -euo pipefail
layers=$1 name=$2 rounds=${3:-5}
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
ours=${OCI2SYSEXT:-$top/target/release/oci2sysext}
floor=${FLOOR:-$(ls -t "$top"/target/release/deps/floor-* 2>/dev/null | grep -v '\.d$' | head -n 1)}
mkfs=${MKFS:-mkfs.erofs} mkfs_seed=${MKFS_SEED:-mkfs.erofs}
setfiles=${SETFILES:-setfiles} setfiles_seed=${SETFILES_SEED:-setfiles}
sqfstar=${SQFSTAR:-sqfstar} selinux=${SELINUX:-/etc/selinux}
contexts=$(echo "$selinux"/*/contexts/files/file_contexts)
work=$(mktemp -d "$layers/compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
gz=$layers/$name.tar.gz
inflate=$(command -v igzip || command -v pigz || command -v gzip)
uuid=00000000-0000-0000-0000-000000000001

ours() { # signature, digests, diff_id, pruning, labels, the structure read back
    "$ours" --force -q --threads 2 --key "$layers/$name.gz/key.pub" -o "$work/x.raw" "$@" "oci:$layers/$name.gz"
}
ours_zst() {
    "$ours" --force -q --threads 2 --key "$layers/$name.zst/key.pub" -o "$work/x.raw" "$@" "oci:$layers/$name.zst"
}
seed() { # (a)
    rm -rf "$work/dir" "$work/root"
    skopeo --insecure-policy copy -q "oci:$layers/$name.plain" "dir:$work/dir"
    mkdir "$work/root"
    tar -xf "$work/dir/$(jq -r '.layers[-1].digest[7:]' "$work/dir/manifest.json")" -C "$work/root"
    "$setfiles_seed" -r "$work/root" "$contexts" "$work/root"
    "$mkfs_seed" --quiet -zlz4 "$work/x.raw" "$work/root"
    rm -rf "$work/dir" "$work/root"
}
tar_mode() { # (b)
    "$mkfs" --quiet --workers=2 -U "$uuid" --tar=f --ungzip "$@" "$work/x.raw" "$gz"
}
squash() { # (c)
    "$inflate" -dc "$gz" | "$sqfstar" -comp zstd -Xcompression-level 3 -quiet -no-progress -processors 2 "$work/x.raw"
}
best() { # (d)
    rm -rf "$work/root"
    mkdir "$work/root"
    "$inflate" -dc "$gz" | tar -x -C "$work/root"
    "$setfiles" -r "$work/root" "$contexts" "$work/root"
    "$mkfs" --quiet --workers=2 -U "$uuid" -zzstd,level=3 -C131072 -E48bit,fragments "$work/x.raw" "$work/root"
    rm -rf "$work/root"
}
floor() { # (e)
    "$floor" "$gz" "$work/x.raw" "$1" 2
}

# An image without signatures, which skopeo copies whole.
if [ ! -e "$layers/$name.plain" ]; then
    cp -al "$layers/$name.gz" "$layers/$name.plain"
    rm "$layers/$name.plain/index.json"
    jq -c '.manifests |= [.[0]]' "$layers/$name.gz/index.json" >"$layers/$name.plain/index.json"
fi
cases=(
    "ours default|ours"
    "ours none|ours --compress none"
    "ours zstd:3 6.15|ours --compress zstd:3 --min-kernel 6.15"
    "ours default, zstd layer|ours_zst"
    "a skopeo, tar, setfiles, mkfs.erofs lz4|seed"
    "b none|tar_mode"
    "b lz4hc,6 64K fragments|tar_mode -zlz4hc,level=6 -C65536 -Eztailpacking,fragments"
    "b zstd,3 128K 48bit fragments|tar_mode -zzstd,level=3 -C131072 -E48bit,fragments"
    "c ${inflate##*/}, sqfstar zstd:3|squash"
    "d ${inflate##*/}, tar, setfiles, mkfs.erofs zstd,3 48bit|best"
    "e floor none|floor none"
    "e floor lz4hc:6|floor lz4hc:6"
    "e floor zstd:3|floor zstd:3"
)
export -f ours ours_zst seed tar_mode squash best floor
export ours floor mkfs mkfs_seed setfiles setfiles_seed sqfstar contexts work layers name gz inflate uuid
for ((round = 0; round <= rounds; round++)); do
    for case in "${cases[@]}"; do
        label=${case%|*} command=${case##*|}
        rm -f "$work/x.raw"
        if ! /usr/bin/time -o "$work/time" -f '%U %S %e %M' bash -euo pipefail -c "$command" >"$work/said" 2>&1; then
            ((round > 0)) || echo "not run: $label ($(tail -n 1 "$work/said"))" >&2
            continue
        fi
        # The first round fills the caches.
        if ((round > 0)); then
            echo "$label|$(tail -n 1 "$work/time")|$(stat -c %s "$work/x.raw")" >>"$work/log"
        fi
    done
done
python3 - "$work/log" <<'PYTHON'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    label, times, size = line.rstrip("\n").rsplit("|", 2)
    user, system, wall, peak = map(float, times.split())
    rows.setdefault(label, []).append((user + system, wall, peak / 1024, int(size) / 1e6))
print("| what | CPU s | wall s | peak MiB | size MB |\n|---|---|---|---|---|")
for label, runs in rows.items():
    cpu, wall, peak, size = (statistics.median(column) for column in zip(*runs))
    print(f"| {label} | {cpu:.3f} | {wall:.3f} | {peak:.0f} | {size:.2f} |")
print("\n| ratio | CPU | wall | peak | size |\n|---|---|---|---|---|")
for one, two in [
    ("ours none", "e floor none"),
    ("ours default", "e floor lz4hc:6"),
    ("ours zstd:3 6.15", "e floor zstd:3"),
    ("ours default", "a "),
    ("ours none", "b none"),
    ("ours default", "b lz4hc"),
    ("ours zstd:3 6.15", "b zstd"),
    ("ours zstd:3 6.15", "c "),
    ("ours zstd:3 6.15", "d "),
]:
    two = next((label for label in rows if label.startswith(two)), None)
    if one in rows and two:
        # Pair by pair, so that a machine whose speed drifts does not matter.
        pairs = zip(rows[one], rows[two])
        ratios = [[x / y for x, y in zip(*pair)] for pair in pairs]
        medians = (statistics.median(column) for column in zip(*ratios))
        print(f"| {one} / {two} | " + " | ".join(f"{ratio:.3f}" for ratio in medians) + " |")
PYTHON
