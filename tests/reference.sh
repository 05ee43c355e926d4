#!/bin/bash
# tests/reference.sh IMAGE TREE NAME : convert an image with standard tools only, to compare with.
#
# IMAGE is a directory as `skopeo copy … dir:IMAGE` writes it; its last layer is the extension.
# TREE becomes the extension's tree with its SELinux labels: GNU tar, find, and setfiles do all
# the work, as sysext-rules R6, R15, R18-R21, R25 and R32 say. Needs root. The release file of
# NAME is made empty, with its labels and times: what is in it is for the caller to say.
set -euo pipefail
shopt -s nullglob globstar dotglob
image=$(realpath "$1") tree=$2 name=$3
mkdir "$tree"
tree=$(realpath "$tree")
work=$(mktemp -d "$tree.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work"/{base,layer}

config=$(jq -r '.config.digest | ltrimstr("sha256:")' "$image/manifest.json")
# Whole seconds, as the program takes them.
created=$(jq -r '.created // "1970-01-01T00:00:00Z" | sub("[.][0-9]+"; "")' "$image/$config")

unpack() { # layer's digest, directory
  local whiteout
  tar -C "$2" --xattrs --xattrs-include='*' --numeric-owner --same-permissions --same-owner \
    --delay-directory-restore -xf "$image/${1#sha256:}"
  # Few archives describe the root; it is not as old as its making here.
  tar -tf "$image/${1#sha256:}" | grep -xE '\./?' >/dev/null || touch -d "$created" "$2"
  find "$2" -name '.wh.*' | while read -r whiteout; do
    rm -rf "$whiteout" "${whiteout%/*}/${whiteout##*/.wh.}"
  done
}

mapfile -t layers < <(jq -r '.layers[].digest' "$image/manifest.json")
for layer in "${layers[@]:0:${#layers[@]}-1}"; do unpack "$layer" "$work/base"; done
unpack "${layers[-1]}" "$work/layer"
cp -a "$work/layer/." "$tree"
cd "$tree"

# R25: only usr stays, and etc, which moves below it.
for path in *; do
  case $path in usr | etc) ;; *) rm -rf "$path" ;; esac
done

# R6, R18
rm -rf usr/lib/os-release usr/share/rpm usr/lib/sysimage/{rpm,rpm-ostree-base-db,libdnf5,zypp}
# R19
rm -rf usr/share/icons/*/icon-theme.cache usr/share/glib-2.0/schemas/gschemas.compiled \
  usr/share/applications/mimeinfo.cache usr/lib/udev/hwdb.bin usr/lib/locale/locale-archive \
  usr/share/mime/{XMLnamespaces,aliases,generic-icons,globs,globs2,icons,magic,mime.cache,subclasses,treemagic,types,version} \
  usr/lib/modules/*/modules.{dep,alias,symbols,softdep,devname}{,.bin} usr/share/info/dir usr/lib/.build-id \
  usr/lib64/gdk-pixbuf-2.0/*/loaders.cache usr/lib64/gio/modules/giomodule.cache
# R20
for etc in etc usr/etc; do
  [ -d "$etc" ] || continue
  rm -rf "$etc"/{passwd,group,shadow,gshadow,subuid,subgid}{,-} \
    "$etc"/{.pwd.lock,.updated,ld.so.cache,machine-id,hostname,hosts,resolv.conf,mtab} \
    "$etc"/ssh/ssh_host_* "$etc"/selinux "$etc"/alternatives "$etc"/pki/ca-trust/extracted \
    "$etc"/udev/hwdb.bin "$etc"/systemd/**/*.{wants,requires} "$etc"/**/*.{rpmnew,rpmsave,rpmorig} \
    "$etc"/crypto-policies/state "$etc"/.rpm-ostree*
done

mkdir -p usr/lib/extension-release.d
: >"usr/lib/extension-release.d/extension-release.$name"
chmod 755 usr/lib/extension-release.d
chmod 644 "usr/lib/extension-release.d/extension-release.$name"

# Labels while etc is in its place (R32), from the text of the policy: a compiled file that is
# older or newer than the text must not decide.
contexts=$(find "$work/base/etc/selinux" -name file_contexts)
rm -f "${contexts%/*}"/*.bin
setfiles -F -r "$tree" "$contexts" "$tree"

# R21
if [ -n "$(find etc -mindepth 1 -print -quit 2>/dev/null)" ]; then
  if [ -d usr/etc ]; then
    cp -a etc/. usr/etc
    rm -rf etc
  else
    mv etc usr/etc
  fi
fi
rm -rf etc

# R15: what the base says of a directory holds; else what the layer said before all this.
find . -depth -type d | while read -r directory; do
  case $directory in
    ./usr/etc | ./usr/etc/*) layer=$work/layer/etc/${directory#./usr/etc} ;;
    *) layer=$work/layer/$directory ;;
  esac
  if [ -d "$work/base/$directory" ] && [ ! -L "$work/base/$directory" ]; then
    chown --reference="$work/base/$directory" "$directory"
    chmod --reference="$work/base/$directory" "$directory"
    touch --reference="$work/base/$directory" "$directory"
  elif [ -e "$layer" ]; then
    touch --reference="$layer" "$directory"
  else
    touch -d "$created" "$directory"
  fi
done
touch -d "$created" "usr/lib/extension-release.d/extension-release.$name"
if [ ! -e "$work/layer/usr/lib/extension-release.d" ]; then touch -d "$created" usr/lib/extension-release.d; fi
