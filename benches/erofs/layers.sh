#!/bin/sh
# Makes the layers that docs/performance.md measures, from Debian packages: DIR/NAME.tar, its
# gzip and zstd forms, and a signed OCI layout of each, with a policy in its base.
#
#   benches/erofs/layers.sh DIR SELINUX [NAME…]      small, medium, large; default: all
#
# SELINUX is a directory like Fedora's /etc/selinux. Needs apt-get, dpkg-deb, gzip, zstd, openssl,
# python3. The packages in DIR/debs are used if there.
set -eu
dir=$1
selinux=$2
shift 2
[ $# -gt 0 ] || set -- small medium large
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir/debs"
# The newest signed kernel, by its own name: a pattern would fetch all there are.
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
for name; do
    case $name in
    small) packages=iwd ;;
    medium) packages="qemu-system-x86 golang-1.19-src" ;;
    large) packages="chromium libreoffice-core $kernel golang-1.19-src" ;;
    *) echo "found the layer $name, expected small, medium or large" >&2; exit 2 ;;
    esac
    root=$dir/$name.root
    rm -rf "$root"
    mkdir -p "$root"
    for package in $packages; do
        set -- "$dir/debs/$package"_*.deb
        [ -e "$1" ] || (cd "$dir/debs" && apt-get download "$package")
        set -- "$dir/debs/$package"_*.deb
        dpkg-deb -x "$1" "$root"
    done
    # An extension has /usr only.
    if [ -d "$root/lib" ]; then cp -a "$root/lib" "$root/usr/"; fi
    find "$root" -mindepth 1 -maxdepth 1 ! -name usr -exec rm -rf {} +
    find "$root" ! -type d ! -type f ! -type l -delete
    tar -C "$root" --sort=name --numeric-owner --owner=0 --group=0 --format=pax \
        --pax-option=delete=atime,delete=ctime -cf "$dir/$name.tar" usr
    gzip -6 -n -c "$dir/$name.tar" >"$dir/$name.tar.gz"
    zstd -q -f -3 "$dir/$name.tar" -o "$dir/$name.tar.zst"
    for form in gz zst; do
        python3 "$here/layout.py" "$dir/$name.tar" "$dir/$name.tar.$form" "$dir/$name.$form" "$selinux"
    done
    rm -rf "$root"
    stat -c '%n %s' "$dir/$name.tar" "$dir/$name.tar.gz" "$dir/$name.tar.zst"
done
