//! Packages of our own, installed by real package managers with all that their scripts do; the
//! layer that this leaves, merged by a host, does the same there.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::command::Workdir;
use common::layout::{Image, Layout};
use common::registry::{Options, Registry};
use common::tarball::gzip;
use common::tools::FORKY;
use common::{need, not_run, repository, shared, tools};
use serde_json::Value;

/// Roots side by side: the base with packages installed, and with the extension merged instead.
struct Roots {
    work: Workdir,
    /// What is in `etc` and `var` of the base.
    before: BTreeMap<String, String>,
    /// What the conversion says of itself.
    report: Value,
    /// What merging does.
    explanation: Value,
}

impl Roots {
    fn installed(&self) -> PathBuf {
        self.work.path("installed")
    }

    fn merged(&self) -> PathBuf {
        self.work.path("merged")
    }
}

/// A root of Debian forky that calls itself otherwise, if there is one.
fn unpack(to: &Path) -> Option<()> {
    let archive = tools::root().join("vm/root.tar");
    if !archive.is_file() {
        return None;
    }
    fs::create_dir(to).unwrap();
    tools::shell("tar -xpf \"$1\" -C \"$2\"", [archive.as_path(), to]);
    fs::write(to.join("usr/lib/os-release"), "ID=example\nVERSION_ID=1\n").unwrap();
    Some(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs with a script (`$1` is the root, `$2` a directory for the package), makes a layer of
/// what this changed, converts it, and gives a root that has the extension.
fn install(script: &str) -> Option<Roots> {
    let fsck = tools::of(FORKY, "fsck.erofs")?;
    let work = Workdir::new();
    let (installed, package) = (work.path("installed"), work.path("package"));
    unpack(&installed)?;
    fs::create_dir(&package).unwrap();
    tools::shell("cp -a \"$1\" \"$2\"", [&installed, &work.path("merged")]);
    // Directories and links, and the few files that a conversion reads of a base.
    tools::shell(
        r#"cd "$1"
        find usr etc var -type d -print0 -o -type l -print0 -o -path 'etc/*' -print0 -o \
          -path usr/lib/os-release -print0 -o -path 'usr/lib/systemd/*' -print0 |
          tar --null --no-recursion --numeric-owner -T - -cf "$2/base.tar"
        touch "$2/before"; sleep 0.1"#,
        [&installed, &package],
    );
    tools::shell(script, [&installed, &package]);
    tools::shell(
        r#"cd "$1"
        find usr etc var -cnewer "$2/before" -print0 |
          tar --null --no-recursion --numeric-owner --xattrs -T - -cf "$2/layer.tar""#,
        [&installed, &package],
    );
    let layers = ["base.tar", "layer.tar"].map(|name| fs::read(package.join(name)).unwrap());
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&layers.map(|tar| (gzip(&tar), tar))));
    let reference = layout.reference();
    let arguments = [reference.as_str(), "--insecure-skip-signature", "--name=demo"];
    let roots = merge(&fsck, work, &[&arguments[..], &["--selinux=none"]].concat());
    Some(roots)
}

/// Converts an image and copies the extension over the root `merged`; then systemd's tools do in
/// both roots what they do at boot.
fn merge(fsck: &Path, work: Workdir, arguments: &[&str]) -> Roots {
    let before = files(&work.path("merged"));
    let more = ["-o", "demo.raw", "--json", "--rename"];
    let report = work.converts(arguments.iter().chain(&more)).json();
    let explained = work.run(["explain", "demo.raw", "--json"]);
    let to = format!("--extract={}", work.path("extension").display());
    let image = work.out("demo.raw");
    tools::run(fsck, [to.as_ref(), "--preserve".as_ref(), image.as_os_str()]);
    tools::shell("cp -a \"$1/usr\" \"$2/\"", [work.path("extension"), work.path("merged")]);
    let sysusers = tools::of(FORKY, "systemd-sysusers").unwrap();
    let tmpfiles = tools::of(FORKY, "systemd-tmpfiles").unwrap();
    for root in ["installed", "merged"] {
        let at = format!("--root={}", work.path(root).display());
        tools::run(&sysusers, [&at]);
        tools::shell(
            "\"$1\" \"$2\" --create --exclude-prefix=/{run,dev,proc,sys} 2>&1",
            [tmpfiles.as_os_str(), at.as_ref()],
        );
    }
    Roots { work, before, report, explanation: explained.json() }
}

/// The lines of an account file, by name.
fn accounts(root: &Path, file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(root.join("etc").join(file)).unwrap_or_default();
    text.lines().map(|line| (line.split(':').next().unwrap().to_owned(), line.to_owned())).collect()
}

/// Type, mode, owners by name, and contents or target of what is in `etc` and `var`.
fn files(root: &Path) -> BTreeMap<String, String> {
    let ids = |file| -> BTreeMap<u32, String> {
        let lines = accounts(root, file).into_iter();
        lines.map(|(name, line)| (line.split(':').nth(2).unwrap().parse().unwrap(), name)).collect()
    };
    let (users, groups) = (ids("passwd"), ids("group"));
    let name = |names: &BTreeMap<u32, String>, id: u32| {
        names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    };
    let mut found = BTreeMap::new();
    let mut pending = vec![root.join("etc"), root.join("var")];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut owners = (name(&users, meta.uid()), name(&groups, meta.gid()));
        let contents = if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if meta.is_symlink() {
            // Nobody asks for the owner of a link, and tmpfiles.d cannot give it.
            owners = Default::default();
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            format!("{:?}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
        };
        let (user, group) = owners;
        let path = path.strip_prefix(root).unwrap().display().to_string();
        found.insert(path, format!("{:o} {user} {group} {contents}", meta.mode()));
    }
    found
}

/// A name or path that is shown, where a backslash is doubled.
fn shown(text: &Value) -> String {
    text.as_str().unwrap().replace("\\\\", "\\")
}

/// What the installation left in `etc` and `var` and the merged root has not, or otherwise; all of
/// it must be in the report as dropped, or as a name of a unit that is in `usr` now.
fn differences(roots: &Roots) -> BTreeSet<String> {
    let (installed, merged) = (files(&roots.installed()), files(&roots.merged()));
    let dropped: BTreeSet<_> = roots.report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| {
            let is_alias = |to: &Value| to.as_str().is_some_and(|to| to.contains("/systemd/"));
            change["action"] == "dropped" || is_alias(&change["to"])
        })
        .map(|change| shown(&change["path"]))
        .collect();
    let mut found = BTreeSet::new();
    for (path, what) in installed {
        if roots.before.get(&path) == Some(&what) || merged.get(&path) == Some(&what) {
            continue;
        }
        let is_told = dropped.iter().any(|dropped| *dropped == path);
        assert!(is_told, "{path}: installed {what}, merged {:?}, not told", merged.get(&path));
        found.insert(path);
    }
    found
}

/// What a host does not get is what one machine alone can have: files of accounts, choices of
/// alternatives, links that enable, and what is `also` named.
fn one_machines_own(roots: &Roots, also: &[&str]) {
    let own = ["etc/alternatives", "etc/systemd/system", "var/log/alternatives.log"];
    let files = ["passwd", "group", "shadow", "gshadow"].map(|name| format!("etc/{name}"));
    for path in differences(roots) {
        let is_below = |top: &&str| path == **top || path.starts_with(&format!("{top}/"));
        let is_known = own.iter().chain(also).any(is_below)
            || files.iter().any(|file| path.trim_end_matches('-') == file);
        assert!(is_known, "{path}");
    }
}

/// Units that the installation enabled, by the links that it left.
fn enabled(roots: &Roots) -> BTreeSet<String> {
    let links = files(&roots.installed());
    let links = links.keys().filter(|path| !roots.before.contains_key(*path));
    links
        .filter_map(|path| path.strip_prefix("etc/systemd/system/")?.split_once('/'))
        .filter(|(directory, _)| [".wants", ".requires"].iter().any(|end| directory.ends_with(end)))
        .map(|(_, unit)| unit.to_owned())
        .collect()
}

/// Units that merging starts, but for those that the program added.
fn started(roots: &Roots) -> BTreeSet<String> {
    let starts = roots.explanation["starts"].as_array().unwrap();
    let units = starts.iter().map(|start| shown(&start["unit"]));
    units.filter(|unit| !unit.contains("-sysext-")).collect()
}

/// Where a link ends in a root.
fn end(root: &Path, link: &str) -> String {
    tools::run(
        Path::new("chroot"),
        [root.as_os_str(), "readlink".as_ref(), "-e".as_ref(), link.as_ref()],
    )
}

/// Accounts and memberships are the same; passwords are locked.
fn same_accounts(roots: &Roots, names: &[&str]) {
    let (installed, merged) = (roots.installed(), roots.merged());
    for file in ["passwd", "group"] {
        let sorted = |root: &Path| -> BTreeMap<_, _> {
            let lines = accounts(root, file).into_iter();
            // Members are a set.
            lines
                .map(|(name, line)| {
                    let (rest, members) = line.rsplit_once(':').unwrap();
                    let members: BTreeSet<_> = members.split(',').map(str::to_owned).collect();
                    (name, (rest.to_owned(), members))
                })
                .collect()
        };
        assert_eq!(sorted(&installed), sorted(&merged), "{file}");
    }
    let shadow = accounts(&merged, "shadow");
    for name in names {
        let password = shadow[*name].split(':').nth(1).unwrap();
        assert!(password.starts_with(['!', '*']), "{name}: {password}");
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An RPM with accounts, presets, alternatives, state and defaults.
#[test]
fn an_rpm_works_merged_as_installed() {
    if !is_root() {
        not_run!("package managers need root");
    }
    need!(tools::system("rpmbuild"), "no rpmbuild");
    let spec = repository("testdata/packages/demo.spec");
    let script = format!(
        r#"
        rpmbuild -bb --quiet --define "_topdir $2/rpm" --define '__os_install_post %{{nil}}' \
          --define '_buildshell /bin/bash' "{}"
        rpm --root "$1" --dbpath /usr/lib/sysimage/rpm --nodeps -i "$2"/rpm/RPMS/noarch/*.rpm
        "#,
        spec.display()
    );
    let roots = need!(install(&script), "no root to install into");
    same_accounts(&roots, &["demo", "demo-packaged"]);
    let units = set(&[
        "demo.service",
        "demo-once.service",
        "demo@blue.service",
        "demo@a\\x2db.service",
        "demo.socket",
        "demo.timer",
    ]);
    assert_eq!(enabled(&roots), units, "the presets did what is expected");
    assert_eq!(started(&roots), units);
    let alias = roots.merged().join("usr/lib/systemd/system/demo-alias.service");
    assert_eq!(fs::read_link(alias).unwrap(), Path::new("demo.service"));
    for link in ["/usr/bin/demo", "/usr/share/man/man1/demo.1"] {
        assert_eq!(end(&roots.merged(), link), end(&roots.installed(), link));
    }
    one_machines_own(
        &roots,
        &["etc/ld.so.cache", "var/cache/ldconfig", "var/lib/dpkg/alternatives"],
    );
}

/// A Debian package with a postinst as debhelper writes it.
#[test]
fn a_debian_package_works_merged_as_installed() {
    if !is_root() {
        not_run!("package managers need root");
    }
    need!(tools::system("dpkg-deb"), "no dpkg-deb");
    let build = repository("testdata/packages/debian/build");
    let script = format!(
        r#"
        "{}" "$2"
        dpkg --root="$1" --install "$2/demo.deb" >&2
        "#,
        build.display()
    );
    let roots = need!(install(&script), "no root to install into");
    same_accounts(&roots, &["demo"]);
    let units = set(&["demo.service"]);
    assert_eq!(enabled(&roots), units, "the scripts did what is expected");
    assert_eq!(started(&roots), units);
    for link in ["/usr/bin/demo", "/usr/share/man/man1/demo.1"] {
        assert_eq!(end(&roots.merged(), link), end(&roots.installed(), link));
    }
    one_machines_own(&roots, &["var/lib/dpkg", "var/lib/systemd/deb-systemd-helper-enabled"]);
}

/// The real image: seven packages of Fedora's, installed by rpm.
#[test]
fn the_packages_of_mc_work_merged_as_installed() {
    let storage = shared!("images/registry-storage");
    let key = need!(common::data::path("images/e2e-signing-key.pub"), "no shared data");
    if !is_root() {
        not_run!("files of other owners need root");
    }
    let fsck = need!(tools::of(FORKY, "fsck.erofs"), "no fsck.erofs of Debian forky");
    let skopeo = need!(tools::newest("skopeo"), "no skopeo");
    let options = Options { storage: Some(storage), ..Options::default() };
    let registry = need!(Registry::start(&options), "no docker-registry");
    let work = Workdir::new();
    let image = format!("{}/travier/fedora-kinoite/sysexts:41.mc", registry.address());
    let (from, to) = (format!("docker://{image}"), format!("dir:{}", work.path("mc").display()));
    tools::run(
        &skopeo,
        ["copy", "-q", "--src-tls-verify=false", "--remove-signatures", &from, &to],
    );
    tools::shell(
        r#"cd "$1"
        mkdir installed merged
        layers=$(jq -r '.layers[].digest | ltrimstr("sha256:")' mc/manifest.json)
        for layer in $layers; do
          for root in installed merged; do
            [ "$root" = installed ] || [ "$layer" != "${layers##*$'\n'}" ] || continue
            tar -xpf "mc/$layer" --numeric-owner -C "$root"
          done
        done
        mkdir -p {installed,merged}/{etc,var}"#,
        [work.path("")],
    );
    let key = key.display().to_string();
    let arguments = [image.as_str(), "--key", &key, "--tls-verify=false", "--signed-identity=any"];
    let roots = merge(&fsck, work, &[&arguments[..], &["--selinux=none"]].concat());
    same_accounts(&roots, &[]);
    assert_eq!(enabled(&roots), started(&roots));
    one_machines_own(&roots, &["etc/ld.so.cache", "var/run"]);
}
