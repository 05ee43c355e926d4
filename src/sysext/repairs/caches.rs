//! Caches that are left out (R19): what the host may miss, and what computes them anew there, if
//! their readers look at a place that can be written.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::plan::{Plan, SYSTEM};
use super::{Repair, quote, unit_name};
use crate::escape::Escaped;
use crate::report::Changes;
use crate::sysext::work::Work;
use crate::sysext::{Error, SysextOptions, rules};
use crate::tree::{Content, components, is_within, split};

/// One kind of cache.
struct Cache {
    /// Tells its files, and what makes it necessary without any.
    is: fn(&[u8]) -> bool,
    /// What the host may miss without.
    missed: &'static str,
    remedy: Remedy,
}

enum Remedy {
    /// What computes it anew (for a shell), the directory that can be written, and what there is
    /// wrong when the extension is not merged, because it hides what the host has then. Names that
    /// are there already stay: they are the administrator's.
    Rebuild { command: &'static str, directory: &'static str, leaves: &'static str },
    /// Its readers look at no place that can be written; what helps all the same.
    Otherwise(&'static str),
}

use Remedy::{Otherwise, Rebuild};

fn ends(path: &[u8], top: &[u8], names: &[&[u8]]) -> bool {
    is_within(path, top) && split(path).is_some_and(|(_, name)| names.contains(&name))
}

/// Whether a path is in a directory of this name, or is such a directory.
fn has(path: &[u8], directory: &[u8]) -> bool {
    components(path).any(|name| name == directory)
}

const CACHES: &[Cache] = &[
    Cache {
        is: |path| is_within(path, HICOLOR) || ends(path, b"usr/share/icons", &[ICONS]),
        missed: "the icons of the extension, where the theme's cache is newer than its directory",
        // A second directory of the theme without a cache: its readers look for files there.
        remedy: Rebuild {
            command: "ln -s /usr/share/icons/hicolor/*/ /usr/local/share/icons/hicolor/ 2>/dev/null",
            directory: "/usr/local/share/icons/hicolor",
            leaves: "the links in /usr/local/share/icons/hicolor",
        },
    },
    Cache {
        is: |path| {
            ends(path, b"usr/share/glib-2.0/schemas", &[b"gschemas.compiled"])
                || (is_within(path, b"usr/share/glib-2.0/schemas")
                    && path.ends_with(b".gschema.xml"))
        },
        missed: "the settings of the extension (GSettings)",
        remedy: Rebuild {
            command: "glib-compile-schemas --targetdir=/usr/local/share/glib-2.0/schemas /usr/share/glib-2.0/schemas",
            directory: "/usr/local/share/glib-2.0/schemas",
            leaves: "/usr/local/share/glib-2.0/schemas/gschemas.compiled",
        },
    },
    Cache {
        is: |path| path == b"usr/share/applications/mimeinfo.cache",
        missed: "which types of files the extension's applications open",
        // A cache is made of the files beside it.
        remedy: Rebuild {
            command: "ln -s /usr/share/applications/*.desktop /usr/local/share/applications/ 2>/dev/null; update-desktop-database /usr/local/share/applications",
            directory: "/usr/local/share/applications",
            leaves: "mimeinfo.cache and the links in /usr/local/share/applications",
        },
    },
    Cache {
        is: |path| is_within(path, b"usr/share/mime"),
        missed: "the types of files that the extension defines",
        remedy: Rebuild {
            command: "ln -s /usr/share/mime/packages/*.xml /usr/local/share/mime/packages/ 2>/dev/null; update-mime-database /usr/local/share/mime",
            directory: "/usr/local/share/mime/packages",
            leaves: "the links in /usr/local/share/mime/packages (then run update-mime-database /usr/local/share/mime)",
        },
    },
    Cache {
        is: |path| {
            let name = split(path).map_or(&b""[..], |(_, name)| name);
            is_within(path, b"usr/lib/modules")
                && (name.starts_with(b"modules.dep")
                    || [&b".ko"[..], b".ko.xz", b".ko.zst", b".ko.gz"]
                        .iter()
                        .any(|end| name.ends_with(end)))
        },
        missed: "the extension's kernel modules by name, and what they depend on",
        remedy: Otherwise("insmod takes a path (modprobe too, from kmod 31)"),
    },
    Cache {
        is: |path| {
            path == b"usr/lib/udev/hwdb.bin"
                || path == b"etc/udev/hwdb.bin"
                || (is_within(path, b"usr/lib/udev/hwdb.d") && path.ends_with(b".hwdb"))
        },
        missed: "what the extension says of hardware (hwdb)",
        remedy: Rebuild {
            command: "systemd-hwdb update",
            directory: "/etc/udev",
            leaves: "/etc/udev/hwdb.bin",
        },
    },
    Cache {
        is: |path| is_within(path, b"var/cache/fontconfig") && path != b"var/cache/fontconfig",
        missed: "nothing, but programs look for the extension's fonts longer at first",
        remedy: Rebuild { command: "fc-cache -s", directory: "/var/cache/fontconfig", leaves: "" },
    },
    Cache {
        is: |path| {
            has(path, b"gdk-pixbuf-2.0")
                && (path.ends_with(b"/loaders.cache")
                    || (has(path, b"loaders") && path.ends_with(b".so")))
        },
        missed: "the image formats that the extension's loaders read",
        remedy: Otherwise(
            "gdk-pixbuf-query-loaders >FILE makes one for programs with GDK_PIXBUF_MODULE_FILE=FILE",
        ),
    },
    Cache {
        is: |path| path.ends_with(b"/gio/modules/giomodule.cache"),
        missed: "nothing: programs load the extension's GIO modules when they start, rather than when they need them",
        remedy: Otherwise("nothing has to be done"),
    },
    Cache {
        is: |path| path == b"usr/lib/locale/locale-archive",
        missed: "the locales in it",
        remedy: Otherwise(
            "a locale in a directory of its own is found (localedef --no-archive, in the build)",
        ),
    },
    Cache {
        is: |path| path == b"usr/share/info/dir",
        missed: "the extension's manuals in the list of info",
        remedy: Otherwise("info finds each by its name"),
    },
    Cache {
        is: |path| is_within(path, b"etc/ld.so.conf.d") && path.ends_with(b".conf"),
        missed: "libraries in the directories that the extension adds",
        remedy: Rebuild {
            command: "ldconfig",
            directory: "/etc",
            leaves: "its libraries from /etc/ld.so.cache (ldconfig does it)",
        },
    },
];

/// The theme that every other one falls back to, where packages put their icons.
const HICOLOR: &[u8] = b"usr/share/icons/hicolor";

const ICONS: &[u8] = b"icon-theme.cache";

pub(super) fn run<C>(
    work: &mut Work<C>,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    changes: &mut Changes,
) -> Result<(), Error> {
    // Of each cache: its first file, and whether a file of it is kept, which shadows the host's.
    let mut found: Vec<(Option<Vec<u8>>, bool)> = vec![(None, false); CACHES.len()];
    for entry in work.tree.walk() {
        if !matches!(entry.inode.content, Content::Regular(_)) {
            continue;
        }
        for (cache, (first, is_kept)) in CACHES.iter().zip(&mut found) {
            if (cache.is)(&entry.path) {
                *is_kept |= options.keep_caches && rules::cache(&entry.path).is_some();
                first.get_or_insert_with(|| entry.path.clone());
            }
        }
    }
    let mut commands = BTreeSet::new();
    for (cache, found) in CACHES.iter().zip(&found) {
        let (Some(path), false) = found else { continue };
        let path = Escaped(path);
        let missed = cache.missed;
        match cache.remedy {
            Otherwise(hint) => changes.warn("R19", format!("{path}: the host may miss {missed}; its readers look at no place that can be written; {hint}")),
            Rebuild { command, directory, leaves } if options.repairs.has(Repair::Caches) => {
                commands.insert((command, directory, leaves));
            }
            Rebuild { command, directory, .. } => changes.warn("R19", format!("{path}: the host may miss {missed}; {command} writes to {directory} there (--repairs all,caches)")),
        }
    }
    if commands.is_empty() {
        return Ok(());
    }
    let unit = format!("caches-{}.service", unit_name::version([&options.layer]));
    let unit = unit_name::added(&options.name, &unit, "R19", changes);
    let Some(unit) = unit else { return Ok(()) };
    let of = quote::description(&options.name);
    // What loads policy comes first, so that what is written has labels of it. A display manager
    // reads schemas when it starts, and ends if those it finds are older than it is.
    let after = plan.added.join(" ");
    let mut text = format!(
        "[Unit]\n\
         Description=Caches for the system extension {of} (oci2sysext)\n\
         After=local-fs.target systemd-sysext.service {after}\n\
         Before=display-manager.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n"
    );
    for (command, directory, _) in &commands {
        // A shell has a domain of its own under SELinux, whatever the program's label.
        let script = quote::exec(format!("mkdir -p {directory} && {command}").as_bytes());
        let _ = writeln!(text, "ExecStart=-/bin/sh -c {script}");
    }
    let why = commands
        .iter()
        .map(|(command, ..)| format!("runs {command}"))
        .collect::<Vec<_>>()
        .join("; ");
    let path = format!("{SYSTEM}/{unit}");
    work.add_file(&path, text.into_bytes(), options.created, ("R19", why), changes)?;
    let leaves = commands.iter().map(|(.., leaves)| *leaves).filter(|leaves| !leaves.is_empty());
    let leaves: Vec<_> = leaves.collect();
    if !leaves.is_empty() {
        let leaves = leaves.join("; ");
        changes.warn("R19", format!("{unit} leaves files on the host that hide newer ones of it: when the extension goes, remove {leaves}"));
    }
    // Sooner than the display manager starts, which multi-user.target may come after.
    let cause = ("R19", "caches of the host".to_owned());
    plan.uphold(SYSTEM, "sysinit.target", &unit, false, cause);
    plan.added.push(unit);
    Ok(())
}
