#!/bin/bash
# Measures this program and its peers side by side, whole processes in turns, and prints medians
# and ratios: the table of docs/performance.md.
#
#   benches/erofs/compare.sh LAYERS NAME [ROUNDS]
#
# LAYERS is the directory of layers.sh, best on a tmpfs. OCI2SYSEXT and MKFS say which programs
# (default: target/release/oci2sysext, mkfs.erofs). A peer that is not installed is left out.
set -euo pipefail
layers=$1 name=$2 rounds=${3:-5}
here=$(cd "$(dirname "$0")" && pwd)
ours=${OCI2SYSEXT:-$here/../../target/release/oci2sysext}
mkfs=${MKFS:-mkfs.erofs}
work=$(mktemp -d "$layers/compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
gz=$layers/$name.tar.gz

convert() {
    "$ours" --insecure-skip-signature --selinux none --force -q --threads 2 \
        -o "$work/x.raw" "$@" "oci:$layers/$name.gz" 2>/dev/null
}
tar_mode() {
    rm -f "$work/x.raw"
    "$mkfs" --quiet --workers=2 -U 00000000-0000-0000-0000-000000000001 --tar=f --ungzip "$@" \
        "$work/x.raw" "$gz" >/dev/null 2>&1
}
squash() {
    rm -f "$work/x.raw"
    "$inflate" -dc "$gz" | sqfstar -comp zstd -Xcompression-level 3 \
        -quiet -no-progress -processors 2 "$work/x.raw" >/dev/null
}
inflate=$(command -v igzip || command -v pigz || command -v gzip)

cases=(
    "ours default|convert"
    "ours none|convert --compress none"
    "ours zstd:3 6.15|convert --compress zstd:3 --min-kernel 6.15"
    "b lz4hc,6 64K fragments|tar_mode -zlz4hc,6 -C65536 -Eztailpacking,fragments"
    "b none|tar_mode"
    "b zstd,3 128K 48bit fragments|tar_mode -zzstd,3 -C131072 -E48bit,fragments"
)
if command -v sqfstar >/dev/null; then
    cases+=("c ${inflate##*/} | sqfstar zstd:3|squash")
fi

export -f convert tar_mode squash
export ours mkfs work layers name gz inflate
for ((round = 0; round <= rounds; round++)); do
    for case in "${cases[@]}"; do
        label=${case%|*} command=${case##*|}
        if ! /usr/bin/time -o "$work/time" -f '%U %S %e %M' bash -c "$command" 2>/dev/null; then
            ((round > 0)) || echo "not run: $label (it cannot)" >&2
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
medians = {}
for label, runs in rows.items():
    medians[label] = [statistics.median(column) for column in zip(*runs)]
    cpu, wall, peak, size = medians[label]
    print(f"| {label} | {cpu:.2f} | {wall:.2f} | {peak:.0f} | {size:.2f} |")
print("\n| ratio | CPU | wall | peak | size |\n|---|---|---|---|---|")
pairs = [("ours default", "b lz4hc"), ("ours none", "b none"), ("ours zstd", "b zstd"), ("ours zstd", "c ")]
for a, b in pairs:
    one = next((l for l in rows if l.startswith(a)), None)
    two = next((l for l in rows if l.startswith(b)), None)
    if one and two:
        # Pair by pair, so that a machine whose speed drifts does not matter.
        ratios = [statistics.median(x[i] / y[i] for x, y in zip(rows[one], rows[two])) for i in range(4)]
        print(f"| {one} / {two} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
PYTHON
