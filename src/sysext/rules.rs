//! Which paths never reach an extension, as told by their names alone: package databases (R18),
//! caches there can be only one of (R19), state of one machine (R20), os-release (R6).

use std::sync::OnceLock;

use crate::tree::{is_within, split};

/// Why a path is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The rule, such as `R20`.
    pub id: &'static str,
    /// Why, in words.
    pub reason: &'static str,
}

/// `usr/lib/os-release`, whatever it is: systemd refuses an image that has it (row 65).
pub(super) const OS_RELEASE: &[u8] = b"usr/lib/os-release";

/// Where release files are (R1).
pub(super) const RELEASE_DIRECTORY: &[u8] = b"usr/lib/extension-release.d";

/// The release file's name, up to the extension's.
pub(super) const RELEASE_PREFIX: &[u8] = b"extension-release.";

/// Where a package says which accounts it needs (R24).
pub(super) const SYSUSERS: &[u8] = b"usr/lib/sysusers.d";

/// Where a package says what it needs in `var` (R25).
pub(super) const TMPFILES: &[u8] = b"usr/lib/tmpfiles.d";

/// Where units are (R22).
pub(super) const UNITS: [&[u8]; 2] = [b"usr/lib/systemd/system", b"usr/lib/systemd/user"];

/// Every pattern covers the paths it matches and all below them.
static PACKAGE_DATABASES: Patterns = Patterns::new(&[
    "usr/share/rpm",
    "usr/lib/sysimage/rpm",
    "usr/lib/sysimage/rpm-ostree-base-db",
    "usr/lib/sysimage/libdnf5",
    "usr/lib/sysimage/zypp",
    "var/lib/rpm",
    "var/lib/dnf",
    "var/lib/zypp",
    "var/lib/dpkg",
    "var/cache/libdnf5",
]);

static CACHES: Patterns = Patterns::new(&[
    "usr/share/icons/*/icon-theme.cache",
    "usr/share/glib-2.0/schemas/gschemas.compiled",
    "usr/share/applications/mimeinfo.cache",
    "usr/share/mime/mime.cache",
    "usr/share/mime/XMLnamespaces",
    "usr/share/mime/aliases",
    "usr/share/mime/generic-icons",
    "usr/share/mime/globs",
    "usr/share/mime/globs2",
    "usr/share/mime/icons",
    "usr/share/mime/magic",
    "usr/share/mime/subclasses",
    "usr/share/mime/treemagic",
    "usr/share/mime/types",
    "usr/share/mime/version",
    "usr/lib/modules/*/modules.dep",
    "usr/lib/modules/*/modules.dep.bin",
    "usr/lib/modules/*/modules.alias",
    "usr/lib/modules/*/modules.alias.bin",
    "usr/lib/modules/*/modules.symbols",
    "usr/lib/modules/*/modules.symbols.bin",
    "usr/lib/modules/*/modules.softdep",
    "usr/lib/modules/*/modules.softdep.bin",
    "usr/lib/modules/*/modules.devname",
    "usr/lib/modules/*/modules.devname.bin",
    "usr/lib/modules/*/modules.weakdep",
    "usr/lib/modules/*/modules.weakdep.bin",
    "usr/lib/modules/*/modules.builtin.bin",
    "usr/lib/modules/*/modules.builtin.alias.bin",
    "usr/lib/udev/hwdb.bin",
    "usr/lib/locale/locale-archive",
    "usr/share/info/dir",
    "usr/lib/.build-id",
    "usr/lib64/gdk-pixbuf-2.0/*/loaders.cache",
    "usr/lib/gdk-pixbuf-2.0/*/loaders.cache",
    "usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache",
    "usr/lib64/gio/modules/giomodule.cache",
    "usr/lib/gio/modules/giomodule.cache",
    "usr/lib/*/gio/modules/giomodule.cache",
]);

/// Relative to `etc` or `usr/etc`.
static ETC_STATE: Patterns = Patterns::new(&[
    "passwd",
    "passwd-",
    "group",
    "group-",
    "subuid",
    "subuid-",
    "subgid",
    "subgid-",
    ".pwd.lock",
    ".updated",
    "ld.so.cache",
    "machine-id",
    "hostname",
    "hosts",
    "resolv.conf",
    "mtab",
    "ssh/ssh_host_*",
    "selinux",
    "alternatives",
    "pki/ca-trust/extracted",
    "udev/hwdb.bin",
    "systemd/**/*.wants",
    "systemd/**/*.requires",
    "**/*.rpmnew",
    "**/*.rpmsave",
    "**/*.rpmorig",
    "crypto-policies/state",
    ".rpm-ostree*",
]);

/// What of `var` is no package's, but of the build or of one machine (R25).
static VAR_STATE: Patterns = Patterns::new(&[
    "var/backups",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/dnf",
    "var/cache/fontconfig",
    "var/cache/ldconfig",
    "var/cache/libdnf5",
    "var/cache/man",
    "var/cache/yum",
    "var/cache/zypp",
    "var/home",
    "var/lib/alternatives",
    "var/lib/apt",
    "var/lib/dbus/machine-id",
    "var/lib/dnf",
    "var/lib/pacman",
    "var/lib/rpm-state",
    "var/lib/selinux",
    "var/lib/systemd",
    "var/lib/ucf",
    "var/lib/yum",
    "var/lock",
    "var/log/journal",
    "var/mnt",
    "var/roothome",
    "var/run",
    "var/tmp",
    "var/.updated",
]);

/// Directories that every host has in `var`, with modes of its own (hier(7)).
pub(super) fn is_of_every_var(path: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"cache",
        b"cache/private",
        b"db",
        b"empty",
        b"games",
        b"lib",
        b"lib/misc",
        b"lib/private",
        b"local",
        b"log",
        b"log/private",
        b"mail",
        b"opt",
        b"spool",
        b"spool/cron",
        b"spool/mail",
        b"usrlocal",
    ];
    path == b"var" || path.strip_prefix(b"var/").is_some_and(|name| NAMES.contains(&name))
}

/// R25: what of `var` no host gets: the build's own, and the contents of caches and logs, whose
/// directories a service may need.
pub(super) fn var_state(path: &[u8], is_directory: bool) -> Option<Rule> {
    let rule = |reason| Some(Rule { id: "R25", reason });
    if VAR_STATE.cover(path) {
        return rule("state of the build or of one machine");
    }
    let is_in = |top: &[u8]| is_within(path, top);
    if !is_directory && (is_in(b"var/cache") || is_in(b"var/log")) {
        return rule("a cache or a log of the build");
    }
    package_database(path)
}

/// R18: the package manager's own records of one installation.
pub(super) fn package_database(path: &[u8]) -> Option<Rule> {
    PACKAGE_DATABASES
        .cover(path)
        .then_some(Rule { id: "R18", reason: "the package database is the host's own" })
}

/// What building a layer leaves in `var`, and no host misses (R25): caches, temporary files, and
/// the package manager's logs, which have no directory of their own.
pub(super) fn left_by_a_build(path: &[u8]) -> bool {
    let is_log = |path: &[u8]| split(path).is_some_and(|(parent, _)| parent == b"var/log");
    is_within(path, b"var/cache")
        || is_within(path, b"var/tmp")
        || (is_log(path) && path.ends_with(b".log"))
}

/// R19: files that are computed from what all packages of a host ship.
pub(super) fn cache(path: &[u8]) -> Option<Rule> {
    CACHES.cover(path).then_some(Rule { id: "R19", reason: "a cache that would shadow the host's" })
}

/// R20: state of the machine that built the layer.
pub(super) fn etc_state(path: &[u8]) -> Option<Rule> {
    below_etc(path)
        .is_some_and(|path| ETC_STATE.cover(path) || has_passwords(path))
        .then_some(Rule { id: "R20", reason: "state of one machine, not a default" })
}

/// Files below `etc` with passwords, and what tools, editors and people call their copies.
pub(super) fn has_passwords(path: &[u8]) -> bool {
    let (name, below) = cut(path);
    if let (b"security", Some(below)) = (name, below) {
        return below.starts_with(b"opasswd");
    }
    let is_shadow = |word: &[u8]| {
        let word = word.strip_prefix(b"g").unwrap_or(word);
        let end = word.strip_prefix(b"shadow");
        end.is_some_and(|end| end == b"old" || end == b"bak" || end.iter().all(u8::is_ascii_digit))
    };
    // Others are called shadowsocks; and these are the hooks of shadow-utils.
    let mut words = name.split(|byte| !byte.is_ascii_alphanumeric());
    words.any(is_shadow) && name != b"shadow-maint"
}

/// What of a path is below `etc` or `usr/etc`.
pub(super) fn below_etc(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(b"etc/").or_else(|| path.strip_prefix(b"usr/etc/"))
}

/// Patterns of paths. `**` stands for any number of components, `*` for any bytes within one.
struct Patterns {
    text: &'static [&'static str],
    root: OnceLock<Node>,
}

/// What patterns that begin alike go on with. Thousands of paths are asked about, and each is
/// compared with those patterns alone that begin as it does.
#[derive(Default)]
struct Node {
    /// Whether a pattern ends here.
    ends: bool,
    below: Vec<(Component, Self)>,
}

#[derive(PartialEq)]
enum Component {
    Name(&'static [u8]),
    /// What a name starts and ends with.
    Ends(&'static [u8], &'static [u8]),
    /// Any number of components.
    Any,
}

impl Patterns {
    const fn new(text: &'static [&'static str]) -> Self {
        Self { text, root: OnceLock::new() }
    }

    /// Whether a path or one of its ancestors matches a pattern.
    fn cover(&self, path: &[u8]) -> bool {
        let root = self.root.get_or_init(|| {
            let mut root = Node::default();
            for pattern in self.text {
                let components = pattern.split('/').map(Component::new);
                components.fold(&mut root, Node::child).ends = true;
            }
            root
        });
        root.covers(path)
    }
}

impl Node {
    /// What goes on with a component, made if there is none yet.
    #[expect(clippy::indexing_slicing, reason = "it was found there, or just put there")]
    fn child(&mut self, component: Component) -> &mut Self {
        let known = self.below.iter().position(|(known, _)| *known == component);
        let at = known.unwrap_or_else(|| {
            self.below.push((component, Self::default()));
            self.below.len() - 1
        });
        &mut self.below[at].1
    }

    fn covers(&self, path: &[u8]) -> bool {
        let (name, below) = cut(path);
        let goes_on = |node: &Self| node.ends || below.is_some_and(|below| node.covers(below));
        self.below.iter().any(|(component, node)| match component {
            Component::Name(expected) => *expected == name && goes_on(node),
            Component::Ends(prefix, suffix) => {
                let rest = name.strip_prefix(*prefix);
                rest.is_some_and(|rest| rest.ends_with(suffix)) && goes_on(node)
            }
            Component::Any => {
                let mut ends = std::iter::successors(Some(path), |path| cut(path).1);
                ends.any(|end| node.covers(end))
            }
        })
    }
}

impl Component {
    fn new(pattern: &'static str) -> Self {
        match pattern.split_once('*') {
            None => Self::Name(pattern.as_bytes()),
            Some(("", "*")) => Self::Any,
            Some((prefix, suffix)) => Self::Ends(prefix.as_bytes(), suffix.as_bytes()),
        }
    }
}

fn cut(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(slash) => {
            let (first, rest) = path.split_at(slash);
            (first, rest.get(1..))
        }
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r18_package_databases_and_what_is_below_them() {
        for path in [
            "usr/share/rpm",
            "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
            "usr/lib/sysimage/libdnf5/packages.toml",
            "var/lib/dpkg/status",
        ] {
            assert!(package_database(path.as_bytes()).is_some(), "{path}");
        }
        for path in ["usr/share/rpmlint", "usr/lib/sysimage", "usr/lib/rpm/macros"] {
            assert!(package_database(path.as_bytes()).is_none(), "{path}");
        }
    }

    #[test]
    fn r19_caches() {
        for path in [
            "usr/share/icons/hicolor/icon-theme.cache",
            "usr/lib/modules/6.1/modules.dep.bin",
            "usr/lib/.build-id/ab/cdef",
            "usr/share/info/dir",
            "usr/lib64/gdk-pixbuf-2.0/2.10.0/loaders.cache",
            // As Debian has them, and what depmod writes since kmod 30.
            "usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0/2.10.0/loaders.cache",
            "usr/lib/x86_64-linux-gnu/gio/modules/giomodule.cache",
            "usr/lib/modules/6.1/modules.weakdep",
            "usr/lib/modules/6.1/modules.builtin.alias.bin",
        ] {
            assert!(cache(path.as_bytes()).is_some(), "{path}");
        }
        for path in [
            "usr/share/icons/icon-theme.cache",
            "usr/share/icons/a/b/icon-theme.cache",
            "usr/lib/modules/6.1/extra/modules.dep",
            "usr/lib/modules/6.1/modules.order",
            "usr/share/mime/packages/x.xml",
            "usr/share/info/dir.info",
        ] {
            assert!(cache(path.as_bytes()).is_none(), "{path}");
        }
    }

    #[test]
    fn r20_state_in_etc_and_in_usr_etc() {
        for path in [
            "etc/shadow",
            "usr/etc/shadow-",
            "etc/ssh/ssh_host_rsa_key",
            "etc/selinux",
            "etc/selinux/targeted/policy/policy.33",
            "etc/systemd/system/multi-user.target.wants",
            "etc/systemd/system/multi-user.target.wants/x.service",
            "etc/systemd/user/sockets.target.requires/x.socket",
            "etc/yum.repos.d/x.repo.rpmnew",
            "etc/x.rpmsave",
            "etc/.rpm-ostree-shadow-mode-fixed2.stamp",
            "etc/shadow.bak",
            "etc/old_gshadow",
            "etc/shadow1~",
            "etc/#shadow#",
            "usr/etc/.gshadow.swp",
            "etc/security/opasswd.old",
            "usr/etc/pki/ca-trust/extracted/pem/tls.pem",
        ] {
            assert!(etc_state(path.as_bytes()).is_some(), "{path}");
        }
        for path in [
            "etc",
            "etc/hosts.allow",
            "etc/shadow-maint/useradd-post.d/x",
            "etc/shadowsocks/config.json",
            "etc/security/access.conf",
            "etc/security/limits.conf",
            "etc/ssh/sshd_config",
            "etc/pki/ca-trust/source/x.pem",
            "etc/systemd/system/x.service",
            "etc/x.wants",
            "etc/pam.d/passwd",
            "usr/share/passwd",
            "etc/rpmnew",
        ] {
            assert!(etc_state(path.as_bytes()).is_none(), "{path}");
        }
    }
}
