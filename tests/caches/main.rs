//! Caches of which a host can have one only (R19): what its programs miss of an extension whose
//! caches are left out, and what helps, is what the report says; judged by the programs that
//! compute the caches and those that read them.

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::command::Workdir;
use common::layout::{Image, Layout};
use common::tarball::{Tarball, gzip};
use common::{need, not_run, repository, tools};

const ARCH: &str = "usr/lib/x86_64-linux-gnu";

const INFO: &str = "This is demo.info\n\nINFO-DIR-SECTION Demo\nSTART-INFO-DIR-ENTRY\n\
    * Demo: (demo).    Demo.\nEND-INFO-DIR-ENTRY\n\n\n\u{1f}\nFile: demo.info,  Node: Top\n\n\
    The manual of demo.\n";

const DESKTOP: &[u8] =
    b"[Desktop Entry]\nType=Application\nName=Demo\nExec=true\nMimeType=application/x-demo;\n";

/// Adds a directory of this system, with all in it.
fn copied(tar: Tarball, from: &Path, to: &str) -> Tarball {
    let mut tar = tar.dir(to);
    let mut entries: Vec<_> =
        fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{to}/{}", entry.file_name().display());
        tar = if entry.path().is_dir() {
            copied(tar, &entry.path(), &name)
        } else {
            tar.file(&name, &fs::read(entry.path()).expect("a file"))
        };
    }
    tar
}

/// An extension with something for each kind of cache, and the caches that its build made.
fn layer(files: &Path, readers: &Path, release: &str) -> Tarball {
    let modules = format!("usr/lib/modules/{release}");
    let loaders = format!("{ARCH}/gdk-pixbuf-2.0/2.10.0");
    let read = |name: &str| fs::read(files.join(name)).expect(name);
    let mut directories = BTreeSet::new();
    for path in [
        "usr/share/icons/hicolor/48x48/apps",
        &format!("{modules}/extra"),
        &format!("{loaders}/loaders"),
        &format!("{ARCH}/gio/modules"),
        "usr/lib/locale",
        "usr/share/applications",
        "usr/share/info",
    ] {
        let ancestors = Path::new(path).ancestors().map(|path| path.display().to_string());
        directories.extend(ancestors.filter(|path| !["", "usr"].contains(&path.as_str())));
    }
    let mut tar = directories.iter().fold(Tarball::minimal(), |tar, path| tar.dir(path));
    let cache = b"only the extension's";
    tar = tar
        .file("usr/share/icons/hicolor/48x48/apps/demo.png", b"")
        .file("usr/share/icons/hicolor/icon-theme.cache", cache)
        .file(&format!("{modules}/extra/demo.ko"), &read("demo.ko"))
        .file(&format!("{loaders}/loaders/libdemo.so"), &read("loader.so"))
        .file(&format!("{loaders}/loaders.cache"), cache)
        .file(&format!("{ARCH}/gio/modules/libdemo.so"), &read("gio.so"))
        .file(&format!("{ARCH}/gio/modules/giomodule.cache"), cache)
        .file("usr/lib/locale/locale-archive", cache)
        .file("usr/share/applications/demo.desktop", DESKTOP)
        .file("usr/share/applications/mimeinfo.cache", cache)
        .file("usr/share/info/demo.info", INFO.as_bytes())
        .file("usr/share/info/dir", cache);
    // What a shell could take for more than a name, in each place where a command looks.
    for (at, name) in
        ["$(touch mark)", ";touch mark;", "`touch mark`", "-f", "a b\n\"'\\x"].iter().enumerate()
    {
        tar = tar.file(&format!("usr/share/applications/{name}.desktop"), b"");
        tar = tar.dir(&format!("usr/share/icons/hicolor/{at}{name}"));
        tar = tar.file(&format!("usr/share/icons/hicolor/{at}{name}/{name}.png"), b"");
    }
    // What depmod writes.
    for name in ["dep", "dep.bin", "alias", "alias.bin", "symbols", "symbols.bin", "softdep"] {
        tar = tar.file(&format!("{modules}/modules.{name}"), cache);
    }
    for name in ["devname", "weakdep", "builtin.bin", "builtin.alias.bin"] {
        tar = tar.file(&format!("{modules}/modules.{name}"), cache);
    }
    copied(tar, &readers.join("root/usr/lib/locale/C.utf8"), "usr/lib/locale/xx_XX.utf8")
}

#[test]
fn programs_find_what_the_report_says_that_they_find() {
    if !tools::can_mount() {
        not_run!("mounting needs root and loop devices");
    }
    let readers = tools::root().join("readers");
    if !readers.join("stamp").is_file() || !readers.join("root").join(ARCH).is_dir() {
        not_run!("nothing that reads caches (.ci/setup test)");
    }
    let cc = need!(tools::system("cc"), "no C compiler");
    let work = Workdir::new();
    let files = work.path("files");
    fs::create_dir(&files).expect("a new directory");
    let compile = |source: &str, to: &str, how: &[&str]| {
        let (source, to) = (repository("tests/caches").join(source), files.join(to));
        let paths = [source.as_os_str(), "-o".as_ref(), to.as_os_str()];
        tools::run(&cc, how.iter().map(OsStr::new).chain(paths));
    };
    compile("reader.c", "reader", &["-ldl"]);
    compile("loader.c", "loader.so", &["-shared", "-fPIC"]);
    compile("gio.c", "gio.so", &["-shared", "-fPIC"]);
    compile("kernel.c", "demo.ko", &["-c"]);
    fs::write(files.join("demo.info"), INFO).expect("a written file");

    let release = tools::run(Path::new("uname"), ["-r"]);
    let release = release.trim();
    let base = Tarball::base().finish();
    let layer = layer(&files, &readers, release).finish();
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
    let reference = layout.reference();
    let convert = |repairs: &str| {
        let common = [&reference, "--insecure-skip-signature", "-o", "demo.raw", "--force"];
        work.converts(common.iter().chain(&["--json", "--selinux=none", "--repairs", repairs]))
    };
    let report = convert("all").json();
    let warnings = report["warnings"].to_string();
    let kept: Vec<_> = report["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter(|change| change["action"] == "dropped" && change["rule"] == "R19")
        .map(|change| change["path"].to_string())
        .collect();
    assert_eq!(kept.len(), 17, "{kept:#?}");

    convert("all,caches");
    let mut check = Command::new("unshare");
    check.args(["--mount", "--propagation", "private"]).arg(repository("tests/caches/check"));
    check.arg(&readers).arg(&files).arg(work.out("demo.raw"));
    let found = tools::check(&mut check);
    println!("{found}");
    let expected = format!(
        "icons: host missing
modules: missing
formats: missing
GIO modules: demo loaded
locale in a directory: UTF-8
locale in an archive: missing
applications: missing
manuals: missing
module by its path: insmod /usr/lib/modules/{release}/extra/demo.ko
manual by its name: The manual of demo.
formats of a file: demo
gtk-update-icon-cache: cannot
depmod: cannot
gio-querymodules: cannot
localedef: cannot
update-desktop-database: cannot
marks: 0
links: 10
own file: Name=Own
after
icons: host demo
modules: missing
formats: missing
GIO modules: demo loaded
locale in a directory: UTF-8
locale in an archive: missing
applications: Default application for “application/x-demo”: demo.desktop
manuals: missing
unmerged
icons: host missing
applications: No default applications for “application/x-demo”
applications of the host: Default application for “text/plain”: host.desktop
"
    );
    assert_eq!(found, expected);

    // The report says the same: what is missing, and which of it can be computed.
    let rebuilt = |missed: &str, command: &str| {
        assert!(warnings.contains(&format!("may miss {missed}")), "{missed} in {warnings}");
        assert!(warnings.contains(command), "{command} in {warnings}");
    };
    rebuilt("the icons of the extension", "; ln -s /usr/share/icons/hicolor/*/");
    rebuilt("which types of files", "update-desktop-database /usr/local/share/applications writes");
    let nowhere = |missed: &str, hint: &str| {
        let nowhere = "; its readers look at no place that can be written; ";
        let told = warnings.split(&format!("may miss {missed}")).nth(1).expect(missed);
        assert!(told.contains(&format!("{nowhere}{hint}")), "{missed} in {warnings}");
    };
    nowhere(
        "the extension's kernel modules by name",
        "insmod takes a path (modprobe too, from kmod 31)",
    );
    nowhere("the image formats", "gdk-pixbuf-query-loaders >FILE");
    nowhere("nothing: programs load", "nothing has to be done");
    nowhere("the locales in it", "a locale in a directory of its own is found");
    nowhere("the extension's manuals in the list of info", "info finds each by its name");
}
