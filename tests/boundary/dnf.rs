//! A base that dnf installed, and a package that dnf installed upon it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::blob::gzip;
use crate::common::command::Workdir;
use crate::common::layout::{Image, Layout};
use crate::common::{data, need, not_run, tools};

#[test]
fn a_base_that_dnf_installed_gives_policy_release_and_modes() {
    for tool in ["dnf", "createrepo_c", "rpmbuild"] {
        need!(tools::system(tool), "no dnf, createrepo_c or rpmbuild");
    }
    let judge = need!(tools::of(tools::FORKY, "matchpathcon"), "no new matchpathcon");
    let selinux = need!(data::needed("selinux/fedora-37/etc/selinux"), "no policy");
    if !rustix::process::geteuid().is_root() {
        not_run!("dnf --installroot needs root");
    }
    let work = Workdir::new();
    let made = work.path("made");
    fs::create_dir(&made).unwrap();
    tools::shell(include_str!("dnf.sh"), [&made, &selinux]);
    let layers = ["base.tar", "tool.tar"].map(|name| fs::read(made.join(name)).unwrap());
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&layers.map(|tar| (gzip(&tar), tar))));
    let reference = layout.reference();
    let options = ["--insecure-skip-signature", "--name=tool", "--repairs=none", "--json"];
    let report = work.converts([&[&*reference, "-o", "tool.raw"], &options[..]].concat()).json();
    let release = report["extension"]["release"].as_str().unwrap();
    assert!(release.contains("ID=fedora\nVERSION_ID=41\n"), "{release}");
    let dropped = |path: &str, rule: &str| {
        let changes = report["changes"].as_array().unwrap();
        changes.iter().any(|change| change["path"] == path && change["rule"] == rule)
    };
    assert!(dropped("usr/lib/sysimage/rpm/rpmdb.sqlite", "R18"), "{report:#}");
    assert!(dropped("var/lib/dnf/history.sqlite", "R18"), "{report:#}");

    // Types and labels, by path.
    let dump = work.converts(["dump", "tool.raw"]).stdout;
    let paths: BTreeMap<&str, (u32, &str)> = dump
        .lines()
        .map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let label = fields.iter().find_map(|field| field.strip_prefix("security.selinux="));
            let label = label.and_then(|label| label.strip_suffix("\\x00")).unwrap();
            (fields[0], (u32::from_str_radix(fields[2], 8).unwrap(), label))
        })
        .collect();
    let files = paths.iter().filter(|(_, (mode, _))| mode & 0o170_000 != 0o040_000);
    let files: Vec<_> = files.map(|(path, _)| *path).collect();
    assert_eq!(
        files,
        [
            "/usr/bin/alias",
            "/usr/bin/tool",
            "/usr/etc/tool/tool.conf",
            "/usr/lib/extension-release.d/extension-release.tool",
            "/usr/lib/systemd/system/tool.service",
            "/usr/share/tool/data",
        ]
    );
    assert_eq!(paths["/usr/bin"].0, 0o040_711);
    let contexts = selinux.join("targeted/contexts/files/file_contexts");
    for (path, (mode, label)) in paths.into_iter().filter(|(path, _)| *path != "/") {
        let kind = match mode & 0o170_000 {
            0o040_000 => "dir",
            0o120_000 => "link",
            _ => "file",
        };
        // What is in usr/etc is labelled as what the host copies from there (R32).
        let named = path.strip_prefix("/usr").filter(|path| path.starts_with("/etc"));
        let expected = tools::check(
            Command::new(&judge)
                .arg("-n")
                .args(["-m", kind, "-f"])
                .arg(&contexts)
                .arg(named.unwrap_or(path)),
        );
        assert_eq!(label, expected.trim(), "{path}");
    }
}
