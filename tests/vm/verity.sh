# The payload of tests/e2e_verity.rs: each line that it prints begins with a name that the test knows.
mkdir -p out objects /run/m /run/n
convert() { oci2sysext "$IMAGE" --key key.pub --name sample --format composefs --objects objects "$@" 2>&1; }
mounted() { composefs mount.composefs out/sample.cfs /run/m -o "basedir=objects,digest=$1" 2>&1; }
listing() { (cd "$1" && find . | sort | xargs stat -c '%n %F %a %u %g' && find . -type f | sort | xargs sha256sum); }
unreadable() { find /run/m -type f | while read -r file; do cat "$file" >/dev/null 2>&1 || echo "$file"; done; }

TMPDIR=/mnt convert -o out/ | sed 's/^/convert: /'
digest=$(composefs composefs-info measure-file out/sample.cfs)
echo "digest: $digest"

mounted "$digest" && echo 'digest accepted'
echo "options: $(grep ' /run/m ' /proc/mounts)"
oci2sysext "$IMAGE" -q --key key.pub --name sample -o out/ && mount -t erofs -o loop,ro out/sample.raw /run/n
listing /run/m >/run/composefs
listing /run/n >/run/erofs
cmp /run/composefs /run/erofs && echo "same as EROFS: $(grep -c . /run/erofs) lines"
umount /run/m

mounted "$(echo "$digest" | tr 0-9a-f 1-9a-f0)" | sed 's/^/wrong digest: /'
sh -c 'echo x >>out/sample.cfs' 2>&1 | sed 's/^/write to image: /'
for object in $(find objects -type f); do
  dd if=/dev/zero "of=$object" bs=1 count=1 conv=notrunc 2>/dev/null && echo "writable: $object"
done

object=$(find objects -type f | sort | head -1)
cp "$object" /run/object && rm "$object" && (cat /run/object && echo evil) >"$object"
mounted "$digest" && echo "replaced object: $(unreadable | wc -l) unreadable"
umount /run/m
convert -q -o out/ --force
mounted "$digest" && echo "converted again: $(unreadable | wc -l) unreadable"
umount /run/m
