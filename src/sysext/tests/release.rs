//! The release file.

use super::super::testing::base_with;
use super::*;
use crate::error::{ExitCode, Fault};

const LAYER: &str = "f usr/bin/a A";

fn shipped(lines: &str) -> crate::layer::LayerTree<std::sync::Arc<[u8]>> {
    let path = "usr/lib/extension-release.d/extension-release.x";
    let mut layer = super::super::testing::layer(&format!("{LAYER}\nf {path} A"));
    let ino = layer.tree.lookup(path.as_bytes()).unwrap();
    let held = crate::layer::Held::from(lines.as_bytes().to_vec());
    layer.tree.inode_mut(ino).content =
        crate::tree::Content::Regular(crate::layer::Stored::Held(held));
    layer
}

fn with_shipped(lines: &str, options: &SysextOptions<'_>) -> Result<Outcome, Error> {
    with_shipped_on("ID=fedora\nVERSION_ID=43\n", lines, options)
}

fn with_shipped_on(
    os_release: &str,
    lines: &str,
    options: &SysextOptions<'_>,
) -> Result<Outcome, Error> {
    let mut changes = Changes::default();
    let base = base_with(os_release, "");
    let sink = &mut super::super::testing::MemorySink;
    let sysext = convert(shipped(lines), &base, options, sink, &mut changes)?;
    Ok(Outcome { sysext, changes })
}

#[test]
fn r4_the_hosts_are_those_of_the_base() {
    for (os_release, text) in [
        ("ID=fedora\nVERSION_ID=43", "ID=fedora\nVERSION_ID=43\nARCHITECTURE=x86-64\n"),
        (
            "ID=\"opensuse-tumbleweed\"\nVERSION_ID=2026\nSYSEXT_LEVEL=glibc-2.42",
            "ID=opensuse-tumbleweed\nSYSEXT_LEVEL=glibc-2.42\nARCHITECTURE=x86-64\n",
        ),
        ("ID=a\nVERSION_ID='1 ~b'", "ID=a\nVERSION_ID=\"1 ~b\"\nARCHITECTURE=x86-64\n"),
    ] {
        let done = run(LAYER, &base_with(os_release, ""), &options()).unwrap();
        assert_eq!(done.release(), text);
        assert_eq!(done.warnings(), [""; 0]);
    }
}

#[test]
fn the_user_may_say_other_hosts() {
    let fedora = base_with("ID=fedora\nVERSION_ID=43\nSYSEXT_LEVEL=7", "");
    let some = |text: &str| Some(text.to_owned());
    for (options, text) in [
        (SysextOptions { id: some("ublue"), ..options() }, "ID=ublue\nSYSEXT_LEVEL=7\n"),
        (SysextOptions { version_id: some("44"), ..options() }, "ID=fedora\nVERSION_ID=44\n"),
        (SysextOptions { sysext_level: some("2"), ..options() }, "ID=fedora\nSYSEXT_LEVEL=2\n"),
        (SysextOptions { any_host: true, ..options() }, "ID=_any\n"),
    ] {
        let release = run(LAYER, &fedora, &options).unwrap().release();
        assert_eq!(release, format!("{text}ARCHITECTURE=x86-64\n"));
    }
    for bad in ["", "a b", "a\nID=_any", "a\"", "_any"] {
        let options = SysextOptions { id: some(bad), ..options() };
        let error = run(LAYER, &fedora, &options).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage, "{bad:?}");
    }
}

#[test]
fn row_96_a_base_without_os_release_needs_the_user() {
    let nothing = base_with("", "");
    let error = run(LAYER, &nothing, &options()).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Malformed);
    for name in ["--id", "--any-host", "--selinux"] {
        assert!(error.advice().contains(name), "{}", error.advice());
    }
    let any = SysextOptions { any_host: true, ..options() };
    run(LAYER, &nothing, &any).unwrap();
    let error = run(LAYER, &base_with("VERSION_ID=1", ""), &options()).unwrap_err();
    assert_eq!(error.id(), "base.no-id");
}

#[test]
fn row_97_a_rolling_base_has_no_version_line() {
    let done = run(LAYER, &base_with("ID=arch", ""), &options()).unwrap();
    assert_eq!(done.release(), "ID=arch\nARCHITECTURE=x86-64\n");
    assert!(done.warnings().concat().contains("neither VERSION_ID nor SYSEXT_LEVEL"));
}

#[test]
fn hostile_values_of_the_base_are_refused() {
    for value in ["'a\"b'", "'$(x)'", "\"a\\\\b\"", "'\u{7f}'", "_any"] {
        let base = base_with(&format!("ID=fedora\nVERSION_ID={value}"), "");
        let error = run(LAYER, &base, &options()).unwrap_err();
        assert!(matches!(error, Error::Value { .. }), "{value}: {error}");
    }
}

#[test]
fn r3_the_architecture_is_the_images_by_systemds_name() {
    let mut options = options();
    options.platform.architecture = "ppc64le".to_owned();
    let release = run(LAYER, &base(""), &options).unwrap().release();
    assert!(release.ends_with("ARCHITECTURE=ppc64-le\n"));
    options.platform.architecture = "wasm".to_owned();
    assert!(matches!(run(LAYER, &base(""), &options), Err(Error::Architecture { .. })));
}

#[test]
fn an_unchecked_signature_is_written_down() {
    let options = SysextOptions { unverified: true, ..options() };
    let release = run(LAYER, &base(""), &options).unwrap().release();
    assert!(release.starts_with("# The image's signature was not checked"));
}

#[test]
fn a_shipped_release_file_is_the_start_of_ours() {
    let done = with_shipped(
        "ID=fedora\nVERSION_ID=43\nARCHITECTURE=x86-64\nSYSEXT_SCOPE=\"system portable\"\n\
         EXTENSION_RELOAD_MANAGER=1\nEXTENSION_RESTART_UNITS=x\nSYSEXT_ID=a\nPRETTY_NAME=x\n",
        &options(),
    )
    .unwrap();
    assert_eq!(
        done.release(),
        "ID=fedora\nVERSION_ID=43\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\nSYSEXT_ID=a\n\
         SYSEXT_SCOPE=\"system portable\"\n"
    );
    assert!(
        done.changes
            .iter()
            .any(|c| c.reason.ends_with("left out: EXTENSION_RESTART_UNITS, PRETTY_NAME"))
    );
    // `_any` is narrowed to the base, unless the user wants it.
    let done = with_shipped("ID=_any\n", &options()).unwrap();
    assert_eq!(done.release(), "ID=fedora\nVERSION_ID=43\nARCHITECTURE=x86-64\n");
    let any = SysextOptions { any_host: true, ..options() };
    let done = with_shipped("ID=_any\nVERSION_ID=43\n", &any).unwrap();
    assert_eq!(done.release(), "ID=_any\nARCHITECTURE=x86-64\n");
    let done = with_shipped_on("", "ID=fedora\nVERSION_ID=43\n", &any).unwrap();
    assert_eq!(done.release(), "ID=_any\nARCHITECTURE=x86-64\n");
}

#[test]
fn row_69_a_release_file_for_others_is_refused() {
    for bad in ["ID=debian", "VERSION_ID=42", "SYSEXT_LEVEL=1", "ARCHITECTURE=arm64"] {
        let error = with_shipped(bad, &options()).unwrap_err();
        assert!(matches!(error, Error::ReleaseMismatch { .. }), "{bad}: {error}");
        assert_eq!(error.exit_code(), ExitCode::Identity);
    }
    let other = "f usr/lib/extension-release.d/extension-release.y A";
    let error = run(&format!("{LAYER}\n{other}"), &base(""), &options()).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Identity);
    assert_eq!(
        error.to_string(),
        "the layer ships usr/lib/extension-release.d/extension-release.y, \
         expected none but extension-release.x"
    );
    for bad in [
        "l usr/lib/extension-release.d/extension-release.x y",
        "d usr/lib/extension-release.d/extension-release.x",
        "f usr/lib/extension-release.d/extension-release.x no-assignment",
    ] {
        let error = run(&format!("{LAYER}\n{bad}"), &base(""), &options()).unwrap_err();
        assert!(matches!(error, Error::ReleaseFile { .. }), "{bad}: {error}");
    }
    let error = run("f usr/lib/extension-release.d A", &base(""), &options()).unwrap_err();
    assert!(matches!(error, Error::NotDirectory { .. }));
}

#[test]
fn r1_names() {
    for good in ["mc", "a.b-1+2_3", "grün"] {
        check_name(good).unwrap();
    }
    let long = "x".repeat(238);
    for bad in ["", ".", "..", "a/b", "a\nb", "a\u{85}", ".#x", long.as_str()] {
        assert!(matches!(check_name(bad), Err(Error::Name { .. })), "{bad:?}");
    }
    assert_eq!(image_name("mc.raw"), Some("mc"));
    assert_eq!(image_name("mc.sysext.raw"), Some("mc"));
    assert_eq!(image_name("mc.img"), None);
}

#[test]
fn r2_a_name_that_systemd_would_not_find_is_a_warning() {
    for (image, warning) in [
        ("x", None),
        ("x_1.2", Some("systemd before version 256 will not find")),
        ("x-1.2", Some("systemd will not find extension-release.x")),
    ] {
        let options = SysextOptions { image_name: Some(image.to_owned()), ..options() };
        let warnings = run(LAYER, &base(""), &options).unwrap().warnings().concat();
        match warning {
            None => assert_eq!(warnings, ""),
            Some(text) => assert!(warnings.contains(text), "{warnings}"),
        }
    }
}
