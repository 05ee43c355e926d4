//! What becomes of a path of a layer, before anything but its name is known: whether its
//! contents are stored at once, kept until the transforms have looked at it, or never read.

use super::{modules, rules};
use crate::layer::Fate;
use crate::tree::{is_within, split};

/// Tells the fate of paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fates {
    /// Whether caches that would shadow the host's stay (`--keep-caches`, R19).
    pub keep_caches: bool,
    /// Whether what is in `var` is for the host (`--repairs state`, R25).
    pub state: bool,
}

impl Fates {
    /// The fate of a path. It never drops what [`super::convert`] might still want.
    pub fn fate(self, path: &[u8]) -> Fate {
        if is_read(path) {
            return Fate::Hold;
        }
        let never = rules::etc_state(path).is_some()
            || rules::package_database(path).is_some()
            || (!self.keep_caches && rules::cache(path).is_some())
            || is_within(path, rules::OS_RELEASE);
        if never {
            return Fate::Drop;
        }
        let top: &[u8] = path.split(|&byte| byte == b'/').next().unwrap_or_default();
        match top {
            b"usr" => Fate::Keep,
            // Where these go depends on the base, and on what else the layer has (R21, R26).
            b"etc" | b"lib" | b"lib64" | b"bin" | b"sbin" => Fate::Hold,
            b"var" if self.state && rules::var_state(path, false).is_none() => Fate::Hold,
            _ => Fate::Drop,
        }
    }
}

/// Whether later rooms read the contents: policy (R30) and its modules (R34), units (R22), accounts
/// (R24), what makes files (R25), release files (row 69).
fn is_read(path: &[u8]) -> bool {
    let accounts = |name: &[u8]| {
        matches!(name, b"passwd" | b"group" | b"shadow" | b"gshadow" | b"subuid" | b"subgid")
    };
    let policy = |path: &[u8]| {
        path == b"selinux/config"
            || (path.starts_with(b"selinux/")
                && split(path).is_some_and(|(parent, name)| {
                    parent.ends_with(b"/contexts/files")
                        && name.starts_with(b"file_contexts")
                        && !name.ends_with(b".bin")
                }))
    };
    rules::below_etc(path).is_some_and(|below| accounts(below) || policy(below))
        || modules::is_module(path)
        || is_within(path, rules::RELEASE_DIRECTORY)
        || is_within(path, rules::SYSUSERS)
        || is_within(path, rules::TMPFILES)
        || split(path).is_some_and(|(parent, _)| rules::UNITS.contains(&parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fate_of_a_path_is_told_by_its_name() {
        let fates = Fates::default();
        for (path, fate) in [
            ("usr/bin/mc", Fate::Keep),
            ("usr", Fate::Keep),
            ("usrlocal", Fate::Drop),
            ("usr/lib/os-release", Fate::Drop),
            ("usr/lib/os-release/x", Fate::Drop),
            ("usr/lib/os-release.d", Fate::Keep),
            ("usr/lib/extension-release.d/extension-release.mc", Fate::Hold),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", Fate::Drop),
            ("usr/share/info/dir", Fate::Drop),
            ("usr/etc/mc/mc.ext", Fate::Keep),
            ("usr/etc/shadow", Fate::Hold),
            ("usr/etc/shadow-", Fate::Drop),
            ("usr/lib/systemd/system/a.service", Fate::Hold),
            ("usr/lib/systemd/system/a.service.d/a.conf", Fate::Keep),
            ("usr/etc/passwd", Fate::Hold),
            ("usr/share/selinux/packages/demo.pp.bz2", Fate::Hold),
            ("usr/share/selinux/devel/Makefile", Fate::Keep),
            ("etc/shadow", Fate::Hold),
            ("etc/.pwd.lock", Fate::Drop),
            ("etc/shadow.bak", Fate::Drop),
            ("var/lib/a/x", Fate::Drop),
            ("etc/group", Fate::Hold),
            ("etc/selinux/config", Fate::Hold),
            ("etc/selinux/targeted/contexts/files/file_contexts.local", Fate::Hold),
            ("etc/selinux/targeted/contexts/files/file_contexts.bin", Fate::Drop),
            ("etc/selinux/targeted/policy/policy.33", Fate::Drop),
            ("etc/mc/mc.ext", Fate::Hold),
            ("lib64/libx.so", Fate::Hold),
            ("var/lib/rpm/x", Fate::Drop),
            ("opt/x", Fate::Drop),
        ] {
            assert_eq!(fates.fate(path.as_bytes()), fate, "{path}");
        }
        let fates = Fates { keep_caches: true, state: true };
        assert_eq!(fates.fate(b"usr/share/info/dir"), Fate::Keep);
        assert_eq!(fates.fate(b"var/lib/a/x"), Fate::Hold);
        assert_eq!(fates.fate(b"var/lib/rpm/x"), Fate::Drop);
        assert_eq!(fates.fate(b"var/log/a/x"), Fate::Drop);
        assert_eq!(fates.fate(b"var/backups/shadow.bak"), Fate::Drop);
    }
}
