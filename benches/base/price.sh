#!/bin/bash
# What the base of an extension costs: bytes from a registry on loopback, and seconds.
#
#   benches/base/price.sh DIR GB CONTEXTS      the table of docs/performance.md
#
# CONTEXTS is a file_contexts. Needs docker-registry (target/tools will do), ostree, skopeo, python3,
# root and a release build; DIR takes four times the base.
set -euo pipefail
dir=$1 size=$2 contexts=$3
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../../target/tools
program=${O2S_PROGRAM:-$here/../../target/release/oci2sysext}
registry=$(PATH=$PATH:$tools/trixie/bin command -v docker-registry)
mkdir -p "$dir/out"
[ -d "$dir/data" ] || python3 "$here/image.py" "$dir" "$size" "$contexts"
cat >"$dir/config.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $dir/data}}
http: {addr: 127.0.0.1:5099}
END
"$registry" serve "$dir/config.yml" >"$dir/log" 2>&1 &
trap 'kill %1' EXIT
until curl -sf http://127.0.0.1:5099/v2/ >/dev/null; do sleep 0.2; done
rm -rf "$dir/cache"

# What an image's conversion costs; the extension's own layer is some hundred bytes.
row() {
    local what=$1 image=$2 before after start end
    shift 2
    before=$(wc -c <"$dir/log")
    start=$(date +%s.%N)
    TMPDIR=$dir "$program" "127.0.0.1:5099/base/$image:1.tool" --tls-verify=false \
        --insecure-skip-signature --force -q -o "$dir/out/tool.raw" --state-dir "$dir/state" "$@"
    end=$(date +%s.%N)
    sleep 0.5
    after=$(tail -c +$((before + 1)) "$dir/log" | grep '/blobs/' |
        sed -n 's/.*http.response.written=\([0-9]*\).*"GET.*\|.*http.response.written=\([0-9]*\).*/\1\2/p' |
        awk '{ sum += $1; count++ } END { printf "%.2f | %d", sum / 1e6, count }')
    echo "| $what | $after | $(echo "$end - $start" | bc) | $(sha256sum <"$dir/out/tool.raw" | cut -c1-8) |"
}

echo '| what | MB fetched | blobs | seconds | image |'
echo '|---|---|---|---|---|'
row 'first extension' one --cache-dir "$dir/cache"
row 'second extension of the same base' two --cache-dir "$dir/cache"
row 'first again, without a cache' one --no-cache
row 'first, labels of another policy' one --no-cache --selinux none
row 'first, its commit in a repository here' one --no-cache --ostree-repo "$dir/repo"
if [ ! -d "$dir/storage" ]; then
    # The mounts of the driver go with their namespace.
    unshare -m skopeo copy -q --insecure-policy --src-tls-verify=false \
        docker://127.0.0.1:5099/base/plain:1.tool \
        "containers-storage:[overlay@$dir/storage+$dir/storage.run]localhost/base:1"
fi
row 'first, its layers in a storage here, all read' plain --no-cache --containers-storage "$dir/storage"
row 'first, where nothing says what is where' plain --cache-dir "$dir/cache"
row 'the same again' plain --cache-dir "$dir/cache"
du -sh "$dir/cache" | awk '{ print "cache: " $1 }'
