//! Builds by buildah, cut into layers and not: the same extension, byte for byte.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::common::command::Workdir;
use crate::common::{need, not_run, tools};

const BASE: &str = "\
FROM scratch
COPY busybox /usr/bin/busybox
COPY os-release /usr/lib/os-release
COPY selinux /etc/selinux
RUN [\"/usr/bin/busybox\", \"ln\", \"-s\", \"usr/bin\", \"/bin\"]
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/usr/bin\"]
RUN mkdir -p /usr/share/old/sub && echo old > /usr/share/old/sub/file && echo old > /usr/share/gone
";

/// Files that come and go, change, move, are linked and replaced, of all fates. (A hard link to a
/// file of an earlier step is a copy in the layers that buildah makes.)
const EXTENSION: &str = "\
FROM localhost/base
COPY files/ /usr/share/tool/
COPY files/secret /tmp/secret
RUN mkdir -p /usr/libexec /etc/tool /var/lib/tool && \
    mv /usr/share/tool/program /usr/libexec/tool && \
    ln /usr/libexec/tool /usr/libexec/same && \
    cp /usr/share/tool/large /var/lib/tool/large && \
    echo default > /etc/tool/tool.conf
RUN rm /usr/share/tool/secret /tmp/secret && \
    ln -s ../libexec/tool /usr/bin/tool && \
    chmod 700 /usr/share/tool/sub
RUN rm -r /usr/share/tool/sub && ln -s large /usr/share/tool/sub && \
    rm /usr/share/tool/link && mkdir /usr/share/tool/link && echo new > /usr/share/tool/link/new
COPY files/secret /usr/share/tool/link/secret
RUN rm -r /usr/share/tool/link/secret /usr/share/old /usr/share/gone && \
    mkdir /usr/share/old && echo new > /usr/share/old/new && \
    echo changed > /etc/tool/tool.conf
";

const CONTEXTS: &str =
    "/.*\tsystem_u:object_r:usr_t:s0\n/usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0\n";
const SECRET: &[u8] = b"a secret that nobody must find in an image, 5f1a9c";

fn write_context(directory: &Path, busybox: &Path) {
    let write = |name: &str, contents: &[u8]| {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    };
    write("Base", BASE.as_bytes());
    write("Extension", EXTENSION.as_bytes());
    write("os-release", b"ID=example\nVERSION_ID=1\n");
    write("selinux/config", b"SELINUXTYPE=targeted\n");
    write("selinux/targeted/contexts/files/file_contexts", CONTEXTS.as_bytes());
    write("files/program", b"#!/bin/sh\necho tool\n");
    write("files/secret", SECRET);
    let large: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    write("files/large", &large);
    write("files/sub/below", b"below");
    std::os::unix::fs::symlink("large", directory.join("files/link")).unwrap();
    fs::copy(busybox, directory.join("busybox")).unwrap();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.join("busybox"), mode).unwrap();
}

/// What the report says of whiteouts: each path, and what became of it.
fn deletions(report: &Value) -> BTreeSet<(String, String)> {
    let changes = report["changes"].as_array().unwrap().iter();
    let of_whiteouts =
        changes.filter(|change| ["row 59a", "R14"].contains(&change["rule"].as_str().unwrap()));
    let text = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
    of_whiteouts.map(|change| (text(change, "path"), text(change, "reason"))).collect()
}

#[test]
fn a_build_of_many_layers_gives_the_extension_of_one() {
    let buildah = need!(tools::newest("buildah"), "no buildah");
    let busybox = need!(tools::of(tools::TRIXIE, "busybox"), "no static busybox");
    if !rustix::process::geteuid().is_root() {
        not_run!("a build with RUN needs root");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    write_context(folder.path(), &busybox);
    let (root, runroot) = (format!("{path}/root"), format!("{path}/runroot"));
    let buildah = |arguments: &[&str]| {
        let storage = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        tools::run(&buildah, [storage.as_slice(), arguments].concat());
    };
    let build = |file: &str, layers: &str, tag: &str| {
        let file = format!("{path}/{file}");
        let tag = format!("localhost/{tag}");
        // Times are of the steps: one for all of them, or no two builds would be equal.
        let options = ["--isolation", "chroot", "--timestamp", "1000000000", layers];
        buildah(&[&["bud", "-q", "-f", &file, "-t", &tag], options.as_slice(), &[&path]].concat());
        let layout = format!("oci:{path}/{tag}");
        fs::create_dir_all(format!("{path}/localhost")).unwrap();
        buildah(&["push", "-q", &tag, &layout]);
        layout
    };
    let base = build("Base", "--layers=false", "base");
    let (one, many) =
        (build("Extension", "--layers=false", "one"), build("Extension", "--layers=true", "many"));
    let work = Workdir::new();
    let convert = |layout: &str, options: &[&str], output: &str| {
        let always = [layout, "--insecure-skip-signature", "--name=tool", "--json", "-o", output];
        let outcome = work.converts([always.as_slice(), options].concat());
        let report = outcome.json();
        let of = report["layers"]["extension"].as_array().unwrap().len();
        (fs::read(work.out(output)).unwrap(), of, deletions(&report))
    };
    for (number, options) in [
        &["--repairs=none"][..],
        &["--repairs=all"],
        &["--repairs=all", "--whiteouts=keep"],
        &["--repairs=none", "--compress=none", "--keep-caches"],
    ]
    .into_iter()
    .enumerate()
    {
        let output = |name: &str| format!("{name}{number}/tool.raw");
        let [(one, of_one, deleted_by_one), (many, of_many, deleted_by_many)] =
            [(&one, "one"), (&many, "many")].map(|(layout, name)| {
                fs::create_dir(work.out(&format!("{name}{number}"))).unwrap();
                convert(layout, &[options, &["--base", &base]].concat(), &output(name))
            });
        assert_eq!((of_one, of_many), (1, 7));
        assert_eq!(deleted_by_one, deleted_by_many, "{options:?}");
        let dump = |name: &str| work.converts(["dump", &output(name)]).stdout;
        assert_eq!(dump("one"), dump("many"), "{options:?}");
        assert!(one == many, "{options:?}");
        assert!(dump("many").contains("/usr/libexec/tool "), "{}", dump("many"));
        if options.contains(&"--compress=none") {
            assert!(!many.windows(SECRET.len()).any(|window| window == SECRET));
        }
    }
    let composefs = ["--base", &base, "--format=composefs", "--objects=objects"];
    let [one_cfs, many_cfs] = [(&one, "one.cfs"), (&many, "many.cfs")]
        .map(|(layout, output)| convert(layout, &composefs, output).0);
    assert!(one_cfs == many_cfs);
    // What was deleted of the extension's own is no whiteout.
    let refused = work.refuses(
        8,
        [&*many, "--insecure-skip-signature", "--base", &base, "--whiteouts=refuse", "-o", "x.raw"],
    );
    assert!(refused.stderr.contains("usr/share/gone"), "{refused:#?}");
    // The annotation of such a build names a step of it, where it should name the base.
    let named = ["--insecure-skip-signature", "-o", "x.raw"];
    for layout in [&one, &many] {
        let refused = work.refuses(10, [&[layout.as_str()], named.as_slice()].concat());
        assert_eq!(refused.id(), "base.not-fetched");
    }
}
