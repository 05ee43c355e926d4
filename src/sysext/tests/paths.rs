//! Which paths stay, move and go.

use super::*;
use crate::error::{ExitCode, Fault};
use crate::tree::Content;

fn ok(layer: &str, base_text: &str) -> Outcome {
    run(layer, &base(base_text), &options()).unwrap()
}

fn err(layer: &str, base_text: &str) -> Error {
    run(layer, &base(base_text), &options()).unwrap_err()
}

const MERGED: &str = "l lib64 usr/lib64\nl bin usr/bin\nl sbin usr/sbin\nl usr/sbin bin";

#[test]
fn r20_r21_state_of_etc_goes_and_defaults_move() {
    let done = ok(
        "d etc 755
         f etc/shadow x
         f etc/app/a.conf A
         l etc/app/b.conf a.conf
         d etc/systemd/system 750
         l etc/systemd/system/multi-user.target.wants/a.service /usr/lib/systemd/system/a.service
         f usr/bin/a A
         f usr/etc/machine-id x
         f usr/etc/app/c.conf C",
        "",
    );
    assert_eq!(
        done.tree(),
        "d usr/bin 755\nf usr/bin/a A\nd usr/etc 755\nd usr/etc/app 755\n\
         f usr/etc/app/a.conf A\nl usr/etc/app/b.conf a.conf\nf usr/etc/app/c.conf C\n\
         d usr/etc/systemd 755\nd usr/etc/systemd/system 750\n"
    );
    let changes = done.changes();
    for line in [
        "R20 dropped etc/shadow\n",
        "R20 dropped etc/systemd/system/multi-user.target.wants\n",
        "R20 dropped etc/systemd/system/multi-user.target.wants/a.service\n",
        "R20 dropped usr/etc/machine-id\n",
        "R21 moved etc usr/etc\n",
        "R21 moved etc/app usr/etc/app\n",
        "R21 moved etc/app/a.conf usr/etc/app/a.conf\n",
        "R21 moved etc/systemd/system usr/etc/systemd/system\n",
    ] {
        assert!(changes.contains(line), "{line}{changes}");
    }
    assert!(done.warnings().iter().any(|w| w.starts_with("R22: a.service is enabled by")));
}

#[test]
fn etc_is_moved_only_if_something_is_left_in_it() {
    let done = ok("d etc\nf etc/passwd root:x:0:0:\nf usr/bin/a A", "");
    assert_eq!(done.tree(), "d usr/bin 755\nf usr/bin/a A\n");
    assert!(done.changes().contains("R21 dropped etc\n"));
}

#[test]
fn row_68_a_default_in_both_places_is_refused() {
    for layer in [
        "f etc/x A\nf usr/etc/x A",
        "d etc/x\nf usr/etc/x A",
        "f etc/x A\nh usr/etc/x etc/x",
        "f etc/d/x A\nl usr/etc/d y",
    ] {
        let error = err(layer, "");
        assert!(matches!(error, Error::TwoPlaces { .. }), "{layer}: {error}");
        assert_eq!(error.exit_code(), ExitCode::Malformed);
    }
}

#[test]
fn row_64_a_layer_without_usr_is_refused() {
    for layer in ["", "f opt/x A\nf var/y B", "f etc/x A", "l usr etc\nf etc/x A", "f usr A"] {
        assert!(matches!(err(layer, ""), Error::NoUsr { .. }), "{layer}");
    }
    assert_eq!(
        err("f opt/x A\nf var/y B", "").to_string(),
        "the layer has no usr: found opt, var, expected files below usr/"
    );
}

#[test]
fn r25_everything_outside_usr_goes() {
    let done = ok(
        "f usr/bin/a A
         f opt/x/y A
         d run
         d tmp 1777
         f var/lib/a/x A
         f var/lib/rpm/x A
         d var/log/a 700
         l link usr
         c dev/null",
        "d var\nd var/lib",
    );
    assert_eq!(done.tree(), "d usr/bin 755\nf usr/bin/a A\n");
    for path in ["opt", "opt/x", "opt/x/y", "run", "tmp", "var/lib/a/x", "link", "dev/null"] {
        assert!(done.changes().contains(&format!("R25 dropped {path}\n")), "{path}");
    }
    let warnings = done.warnings().join("\n");
    assert!(warnings.contains("R25: var/lib/a, a directory with one file"), "{warnings}");
    assert!(warnings.contains("R25: var/log/a, an empty directory"), "{warnings}");
    assert!(!warnings.contains("rpm"), "{warnings}");
}

#[test]
fn r18_r19_databases_and_caches_go_and_emptied_directories_stay() {
    let layer = "f usr/lib/sysimage/rpm/rpmdb.sqlite A
         f usr/share/info/dir A
         f usr/share/icons/hicolor/icon-theme.cache A
         f usr/share/icons/hicolor/a.png A";
    let done = ok(layer, "");
    assert_eq!(
        done.tree(),
        "d usr/lib/sysimage 755\nd usr/share 755\nd usr/share/icons 755\n\
         d usr/share/icons/hicolor 755\nf usr/share/icons/hicolor/a.png A\nd usr/share/info 755\n"
    );
    assert!(done.changes().contains("R18 dropped usr/lib/sysimage/rpm\n"));
    assert!(done.changes().contains("R19 dropped usr/share/info/dir\n"));
    let keep = SysextOptions { keep_caches: true, ..options() };
    let error = run("f usr/share/info/dir A", &base(""), &keep).unwrap_err();
    // Read with a fate that dropped it: told, not silently empty.
    assert!(matches!(error, Error::ContentsDropped { .. }));
}

#[test]
fn row_65_os_release_goes_whatever_it_is() {
    for what in ["f usr/lib/os-release A", "l usr/lib/os-release x", "f usr/lib/os-release/x A"] {
        let done = ok(&format!("f usr/bin/a A\n{what}"), "f usr/lib/os-release x");
        assert_eq!(done.sysext.tree().lookup(b"usr/lib/os-release"), None, "{what}");
        assert!(done.changes().contains("R6 dropped usr/lib/os-release\n"), "{what}");
    }
}

#[test]
fn r26_top_level_directories_move_where_the_base_has_symlinks() {
    let layer = "f lib64/liba.so.1 A
         l lib64/liba.so liba.so.1
         h usr/share/copy lib64/liba.so.1
         f sbin/tool T
         f usr/sbin/other O
         f lib/x X";
    let done = ok(layer, MERGED);
    assert_eq!(
        done.tree(),
        "d usr/bin 755\nf usr/bin/other O\nf usr/bin/tool T\nd usr/lib64 755\n\
         l usr/lib64/liba.so liba.so.1\nf usr/lib64/liba.so.1 A\nd usr/share 755\n\
         f usr/share/copy A\n"
    );
    let tree = done.sysext.tree();
    assert_eq!(tree.lookup(b"usr/share/copy"), tree.lookup(b"usr/lib64/liba.so.1"));
    for line in [
        "R26 moved lib64/liba.so.1 usr/lib64/liba.so.1\n",
        "R26 moved sbin usr/bin\n",
        "R26 moved sbin/tool usr/bin/tool\n",
        "R26 moved usr/sbin/other usr/bin/other\n",
        "R25 dropped lib/x\n",
    ] {
        assert!(done.changes().contains(line), "{line}{}", done.changes());
    }
}

#[test]
fn r26_without_symlinks_in_the_base_top_level_directories_go() {
    let done = ok("f lib64/a A\nf usr/sbin/b B", "d lib64\nd usr/sbin");
    assert_eq!(done.tree(), "d usr/sbin 755\nf usr/sbin/b B\n");
}

#[test]
fn r26_links_to_the_target_and_equal_files_go() {
    for (layer, tree) in [
        ("f usr/lib64/a A\nl lib64/a /usr/lib64/a", "f usr/lib64/a A\n"),
        ("f usr/lib64/a A\nl lib64/a ../usr/lib64/a", "f usr/lib64/a A\n"),
        ("f usr/lib64/a A\nf lib64/a A", "f usr/lib64/a A\n"),
        ("f usr/lib64/a A\nh lib64/a usr/lib64/a", "f usr/lib64/a A\n"),
        ("l usr/lib64/a b\nl lib64/a b", "l usr/lib64/a b\n"),
    ] {
        let done = ok(layer, MERGED);
        assert_eq!(done.tree(), format!("d usr/lib64 755\n{tree}"), "{layer}");
        assert!(done.changes().contains("R26 dropped lib64/a\n"), "{layer}");
    }
    let done = ok("f usr/sbin/a A\nl usr/bin/a ../sbin/a", MERGED);
    assert_eq!(done.tree(), "d usr/bin 755\nf usr/bin/a A\n");
    assert!(done.changes().contains("R26 dropped usr/bin/a\n"));
    assert!(done.changes().contains("R26 moved usr/sbin/a usr/bin/a\n"));
}

#[test]
fn r26_another_file_at_the_target_is_refused() {
    for layer in [
        "f usr/lib64/a A\nf lib64/a B",
        "f usr/lib64/a A\nl lib64/a /usr/lib64/b",
        "f usr/lib64/a A\nd lib64/a",
        "f usr/sbin/a A\nf usr/bin/a B",
        "f usr/bin/a AA\nf bin/a B",
    ] {
        let error = err(layer, MERGED);
        assert!(matches!(error, Error::Clash { .. }), "{layer}: {error}");
        assert_eq!(error.exit_code(), ExitCode::Malformed);
    }
}

#[test]
fn r16_another_type_than_in_the_base_is_refused() {
    for (layer, base) in [
        ("f usr/local/bin/x A", "l usr/local ../var/usrlocal"),
        ("d usr/x\nf usr/bin/a A", "f usr/x A"),
        ("f usr/x A", "d usr/x"),
        ("f usr/x A", "l usr/x y"),
        ("l usr/x y", "f usr/x A"),
        ("l usr/sbin bin\nf usr/bin/a A", "d usr/sbin"),
    ] {
        let error = err(layer, base);
        assert!(matches!(error, Error::TypeConflict { .. }), "{layer}: {error}");
    }
    assert_eq!(
        err("f usr/local/bin/x A", "l usr/local ../var/usrlocal").to_string(),
        "usr/local is a directory, expected a symlink to ../var/usrlocal as in the base image"
    );
    // What is dropped anyway conflicts with nothing.
    ok("f usr/bin/a A\nf usr/lib/sysimage/rpm/x A", "l usr/lib/sysimage/rpm ../../share/rpm");
}

#[test]
fn r15_shared_directories_are_as_in_the_base() {
    let mut base_layer = base("d usr 750\nd usr/bin 711");
    let done =
        run("d usr 755\nd usr/bin 700\nd usr/own 700\nf usr/bin/a A", &base_layer, &options())
            .unwrap();
    assert_eq!(done.tree(), "d usr/bin 711\nf usr/bin/a A\nd usr/own 700\n");
    let tree = done.sysext.tree();
    let stat = |path: &[u8]| tree.inode(tree.lookup(path).unwrap()).stat.clone();
    assert_eq!((stat(b"usr").mode, stat(b"usr").mtime.sec), (0o750, 1000));
    // Not in the layer, not in the base: the image's time.
    assert_eq!((stat(b"usr/lib").mode, stat(b"usr/lib").mtime.sec), (0o755, 77));
    assert_eq!({ stat(b"usr/own").mtime.sec }, 1000);
    assert!(done.changes().contains("R15 changed usr/bin\n"));
    assert!(done.changes().contains("R15 added usr/lib/extension-release.d\n"));
    base_layer = base("d usr 755");
    let done = run("d usr 755\nf usr/a A", &base_layer, &options()).unwrap();
    assert!(!done.changes().contains("R15 changed usr\n"));
}

/// A base whose archive has no entry for a directory does not know its time.
#[test]
fn r15_an_implied_directory_of_the_base_has_no_time() {
    let base_layer = base("f usr/bin/sh S");
    let done = run("d usr 700\nf usr/bin/a A", &base_layer, &options()).unwrap();
    let tree = done.sysext.tree();
    let stat = |path: &[u8]| tree.inode(tree.lookup(path).unwrap()).stat.clone();
    assert_eq!((stat(b"usr").mode, stat(b"usr").mtime.sec), (0o755, 1000));
    assert_eq!((stat(b"usr/bin").mode, stat(b"usr/bin").mtime.sec), (0o755, 77));
}

#[test]
fn row_59a_whiteouts_are_dropped_kept_or_refused() {
    let layer = "f usr/bin/a A\nw usr/bin/sudo\no usr/share/doc\nw etc/motd\nw var/x
         w usr/lib/sysimage/rpm/x\nw lib64/gone";
    let done = ok(layer, MERGED);
    assert_eq!(done.tree(), "d usr/bin 755\nf usr/bin/a A\n");
    for line in [
        "row 59a dropped usr/bin/sudo\n",
        "row 59a dropped usr/share/doc\n",
        "R25 dropped etc/motd\n",
        "R25 dropped var/x\n",
        "R18 dropped usr/lib/sysimage/rpm/x\n",
    ] {
        assert!(done.changes().contains(line), "{line}{}", done.changes());
    }
    let keep = SysextOptions { whiteouts: Whiteouts::Keep, ..options() };
    let base = base(&format!("{MERGED}\nf usr/bin/sudo S\nd usr/share\nd usr/share/doc"));
    let done = run(&format!("{layer}\nf lib64/x X"), &base, &keep).unwrap();
    assert_eq!(
        done.tree(),
        "d usr/bin 755\nf usr/bin/a A\nc usr/bin/sudo\nd usr/lib64 755\nc usr/lib64/gone\n\
         f usr/lib64/x X\nd usr/share 755\nd usr/share/doc 755\n"
    );
    let tree = done.sysext.tree();
    let inode = |path: &[u8]| tree.inode(tree.lookup(path).unwrap());
    assert!(matches!(inode(b"usr/bin/sudo").content, Content::CharDevice { rdev: 0 }));
    let doc = &inode(b"usr/share/doc").stat.xattrs;
    assert_eq!(doc.get(b"trusted.overlay.opaque"), Some(&b"y"[..]));
    let refuse = SysextOptions { whiteouts: Whiteouts::Refuse, ..options() };
    let error = run(layer, &base, &refuse).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Audit);
    run("f usr/bin/a A\nw etc/motd\nw usr/share/rpm/x", &base, &refuse).unwrap();
}

/// The host would be left without one, and so without extensions.
#[test]
fn row59a_no_deletion_hides_the_hosts_os_release() {
    let keep = SysextOptions { whiteouts: Whiteouts::Keep, ..options() };
    for line in ["w usr/lib", "o usr/lib", "o usr", "w usr/lib\nd usr/lib\nf usr/lib/x X"] {
        let layer = format!("f usr/bin/a A\n{line}");
        let error = run(&layer, &base(MERGED), &keep).unwrap_err();
        assert!(matches!(error, Error::NoRelease { .. }), "{line}: {error}");
        assert_eq!(error.exit_code(), ExitCode::Audit);
        ok(&layer, MERGED);
    }
}

#[test]
fn rows_59_60_61_what_is_kept_is_audited() {
    assert!(matches!(err("c usr/dev", ""), Error::Unfit { .. }));
    let with = |mode: u16, xattr: Option<&[u8]>, options: &SysextOptions<'_>| {
        let mut layer = super::super::testing::layer("f usr/bin/a A");
        let ino = layer.tree.lookup(b"usr/bin/a").unwrap();
        let stat = &mut layer.tree.inode_mut(ino).stat;
        stat.mode = mode;
        if let Some(name) = xattr {
            stat.xattrs.insert(name, b"v");
        }
        let mut changes = Changes::default();
        let sink = &mut super::super::testing::MemorySink;
        let sysext = convert(layer, &base(""), options, sink, &mut changes)?;
        Ok::<_, Error>(Outcome { sysext, changes })
    };
    for (mode, xattr) in
        [(0o4755, None), (0o2755, None), (0o755, Some(&b"security.capability"[..]))]
    {
        let done = with(mode, xattr, &options()).unwrap();
        assert!(done.changes().contains("row 61 kept usr/bin/a\n"));
        let deny = SysextOptions { deny: Deny { setuid: true, ..Deny::default() }, ..options() };
        assert_eq!(with(mode, xattr, &deny).unwrap_err().exit_code(), ExitCode::Audit);
    }
    for name in [&b"trusted.overlay.opaque"[..], b"user.overlay.x", b"system.posix_acl_access"] {
        assert!(matches!(with(0o755, Some(name), &options()), Err(Error::Unfit { .. })));
    }
}

#[test]
fn r23_r24_what_the_host_lacks_is_told() {
    let mut layer = super::super::testing::layer(
        "l usr/bin/x /etc/alternatives/x
         l usr/bin/y ../../etc/alternatives/y
         f etc/passwd root:x:0:0::/:/bin/sh
         f etc/group new:x:970:
         f usr/lib/sysusers.d/x.conf g other -
         f usr/bin/a A",
    );
    let ino = layer.tree.lookup(b"usr/bin/a").unwrap();
    layer.tree.inode_mut(ino).stat.gid = 970;
    let mut changes = Changes::default();
    let sink = &mut super::super::testing::MemorySink;
    let sysext = convert(layer, &base(""), &options(), sink, &mut changes).unwrap();
    let warnings = Outcome { sysext, changes }.warnings();
    let starts: Vec<_> = warnings.iter().map(|w| w.split(", ").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "R23: usr/bin/x leads to /etc/alternatives/x",
            "R23: usr/bin/y leads to /etc/alternatives/y",
            "R24: etc/group adds the group new (970)",
            "R24: usr/bin/a belongs to group 970",
        ]
    );
    let covered = "f etc/group new:x:970:\nf usr/lib/sysusers.d/x.conf g new 970\nf usr/bin/a A";
    assert_eq!(ok(covered, "").warnings(), [""; 0]);
}

#[test]
fn a_path_that_is_moved_and_then_dropped_is_told_of_once() {
    let merged = "l lib usr/lib\nl sbin usr/sbin\nl usr/sbin bin";
    let done = ok(
        "f lib/os-release ID=x
         f lib/modules/6.1/modules.dep x
         f lib/x X
         f sbin/tool T
         f usr/bin/a A",
        merged,
    );
    let mut seen = std::collections::BTreeSet::new();
    for change in done.changes.iter() {
        let path = String::from_utf8_lossy(change.path);
        assert!(seen.insert(change.path), "{path} in {}", done.changes());
    }
    for line in [
        "R6 dropped lib/os-release\n",
        "R19 dropped lib/modules/6.1/modules.dep\n",
        "R26 moved lib/x usr/lib/x\n",
        "R26 moved sbin/tool usr/bin/tool\n",
    ] {
        assert!(done.changes().contains(line), "{line}{}", done.changes());
    }
}

#[test]
fn r18_package_databases_in_var_are_named_as_such() {
    let done = ok("f usr/bin/a A\nf var/lib/dpkg/status x\nf var/lib/x/y z", "");
    assert!(done.changes().contains("R18 dropped var/lib/dpkg/status\n"));
    assert!(done.changes().contains("R25 dropped var/lib/x/y\n"));
}

#[test]
fn r25_a_top_level_symlink_is_not_said_to_lack_one_in_the_base() {
    let done = ok("f usr/bin/a A\nl lib64 usr/lib64", MERGED);
    let of = |path: &[u8]| done.changes.iter().find(|c| c.path == path).unwrap();
    assert_eq!(of(b"lib64").reason, "outside usr");
}

#[test]
fn r25_what_the_build_left_in_var_and_what_tmpfiles_d_makes_needs_no_warning() {
    let done = ok(
        "f usr/bin/a A
         f usr/lib/tmpfiles.d/a.conf d /var/lib/made 0750 - -
         f var/lib/made/state x
         f var/cache/dnf/x y
         f var/log/dnf.log y
         d var/tmp 1777
         d var/log/a
         f var/lib/other/state x",
        "d var\nd var/lib\nd var/log",
    );
    let warnings = done.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("R25: var/lib/other, "), "{warnings:?}");
    assert!(warnings[1].starts_with("R25: var/log/a, "), "{warnings:?}");
}

/// What a host that ostree deploys has in `usr/etc` may be known of a link's path alone, where a copy
/// of the base tells it: the same link was let through where the layers told its target.
#[test]
fn row_66_the_same_link_in_usr_etc_is_denied_whoever_tells_of_it() {
    let of_base = base("d ostree\nl etc/link target\nl usr/bin/link target");
    let mut options = options();
    options.deny.shadow = true;
    let error = run("l usr/etc/link target", &of_base, &options).unwrap_err();
    assert!(matches!(error, Error::Shadow { .. }), "{error}");
    run("l usr/bin/link target", &of_base, &options).unwrap();
}

/// A directory of `usr/etc` had its own mode, and root's in place of nobody's, over the one that
/// the layers of an ostree base have in `etc`.
#[test]
fn r15_directories_of_usr_etc_are_as_in_etc_of_an_ostree_base() {
    for layer in [
        "d usr/etc/sudoers.d 755\nf usr/etc/sudoers.d/x X",
        "f usr/etc/sudoers.d/x X",
        "d usr\nd etc/sudoers.d 755\nf etc/sudoers.d/x X",
    ] {
        let mode = |of_base| {
            let tree = ok(layer, of_base).tree();
            let line = tree.lines().find(|line| line.starts_with("d usr/etc/sudoers.d "));
            line.unwrap().rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(mode("d ostree\nd etc/sudoers.d 750"), "750", "{layer}");
        assert_eq!(mode("d ostree\nd etc/sudoers.d 750\nd usr/etc/sudoers.d 700"), "700");
        assert_eq!(mode("d ostree\nf etc/sudoers.d A"), "755", "{layer}");
        assert_eq!(mode("d etc/sudoers.d 750"), "755", "{layer}");
    }
}
