#!/bin/bash
# A base and an extension as dnf installs them, of packages by rpmbuild: $1/base.tar and $1/tool.tar.
# $1 is an empty directory; $2 is one like /etc/selinux, which the base has.
set -euo pipefail
cd "$1"
export HOME=$1
mkdir -p rpm/SPECS repo cache root
# Fedora's place of the database; Debian's rpm has another.
echo '%_dbpath %{_usr}/lib/sysimage/rpm' > .rpmmacros
build() { # NAME, PROVIDES; the script that installs, and the list of files, from standard input
    { printf 'Name: %s\nVersion: 41\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\nAutoReqProv: no\n' "$1"
      [ -z "$2" ] || printf 'Provides: %s\n' "$2"
      printf '%%description\nx\n%%install\n'; cat; } > "rpm/SPECS/$1.spec"
    rpmbuild -bb --quiet --define "_topdir $PWD/rpm" --define '_buildshell /bin/bash' \
        --define '__os_install_post %{nil}' "rpm/SPECS/$1.spec" >&2
}
build example-release 'system-release(releasever) = 41' <<'S'
mkdir -p %{buildroot}/usr/lib %{buildroot}/usr/bin %{buildroot}/etc
printf 'ID=fedora\nVERSION_ID=41\n' > %{buildroot}/usr/lib/os-release
ln -s ../usr/lib/os-release %{buildroot}/etc/os-release
%files
/usr/lib/os-release
/etc/os-release
%dir %attr(0711,root,root) /usr/bin
S
build selinux-policy-targeted '' <<S
mkdir -p %{buildroot}/etc
cp -r $2 %{buildroot}/etc/selinux
%files
/etc/selinux
S
build tool '' <<'S'
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/lib/systemd/system %{buildroot}/usr/share/tool %{buildroot}/etc/tool %{buildroot}/var/lib/tool
echo '#!/bin/sh' > %{buildroot}/usr/bin/tool
ln -s tool %{buildroot}/usr/bin/alias
printf '[Service]\nExecStart=/usr/bin/tool\n[Install]\nWantedBy=multi-user.target\n' > %{buildroot}/usr/lib/systemd/system/tool.service
echo data > %{buildroot}/usr/share/tool/data
echo default > %{buildroot}/etc/tool/tool.conf
echo state > %{buildroot}/var/lib/tool/state
%files
%attr(0755,root,root) /usr/bin/tool
/usr/bin/alias
/usr/lib/systemd/system/tool.service
/usr/share/tool
%config(noreplace) /etc/tool/tool.conf
/var/lib/tool/state
S
cp rpm/RPMS/noarch/*.rpm repo/
createrepo_c -q repo
install() {
    dnf -q -y --installroot="$PWD/root" --releasever=41 --repofrompath="t,file://$PWD/repo" --repo=t --nogpgcheck \
        --setopt=cachedir="$PWD/cache" --setopt=install_weak_deps=0 install "$@" >&2
}
layer() { # NAME, and what find takes
    name=$1; shift
    (cd root && find . -mindepth 1 "$@" -printf '%P\0' | tar --null --no-recursion --numeric-owner --xattrs -T - -cf "../$name.tar")
}
install example-release selinux-policy-targeted
layer base
touch before
sleep 0.1
install tool
layer tool -cnewer "$PWD/before"
