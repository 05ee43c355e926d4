//! Looking through lower layers: what a visitor sees, and which failures win.

use std::ops::ControlFlow;

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::layer::{ScanEnd, ScanError, ScanKind, scan};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Digest;
use oci2sysext::verify::Origin;

use crate::blob::Layer;
use crate::tars::{Header, Tar};

/// A layer as real bases have them: with what an extension may not have.
fn base() -> Vec<u8> {
    Tar::new()
        .dir(b"./")
        .dir(b"./etc/")
        .dir(b"./etc/")
        .file(b"./etc/os-release", b"ID=fedora\n")
        .file(b"../evil", b"never shown")
        .file(b"/absolute", b"")
        .header(Header::new(b'3', b"dev/null", 0))
        .symlink(b"etc/link", b"os-release")
        .hard_link(b"etc/other", b"./etc/link")
        .hard_link(b"etc/lower", b"in/a/lower/layer")
        .file(b"etc/.wh.gone", b"")
        .file(b"usr/.wh..wh..opq", b"")
        .pax(&[("SCHILY.acl.access", b"user::rw-")])
        .file(b"var/x", &vec![b'x'; 100_000])
        .end()
}

#[test]
fn a_visitor_sees_each_entry_once_and_may_read_it() {
    let limits = Limits::default();
    let mut seen = Vec::new();
    let end = scan::<()>(&Layer::gzip(&base()).blob(), &limits, &mut |entry, contents| {
        let mut text = String::new();
        if entry.path == b"etc/os-release" {
            contents.read_to_string(&mut text).unwrap();
        } else {
            contents.read_exact(&mut [0; 3]).ok();
        }
        seen.push(format!("{} {:?} {text}", entry.path.escape_ascii(), entry.kind));
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(end, Ok(ScanEnd::Complete)), "{end:?}");
    assert_eq!(
        seen,
        [
            " Directory ",
            "etc Directory ",
            "etc Directory ",
            "etc/os-release Regular { size: 10 } ID=fedora\n",
            "dev/null Special ",
            &format!("etc/link {:?} ", ScanKind::Symlink(b"os-release")),
            &format!("etc/other {:?} ", ScanKind::HardLink(b"etc/link")),
            &format!("etc/lower {:?} ", ScanKind::HardLink(b"in/a/lower/layer")),
            "etc/gone Whiteout ",
            "usr Opaque ",
            "var/x Regular { size: 100000 } ",
        ]
    );
}

#[test]
fn a_visitor_may_stop_or_fail() {
    let limits = Limits::default();
    let mut layer = Layer::gzip(&base());
    // Only noticed where the layer is read to its end.
    layer.diff_id = Digest::of(b"other");
    let end = scan::<()>(&layer.blob(), &limits, &mut |_, _| Ok(ControlFlow::Break(())));
    assert!(matches!(end, Ok(ScanEnd::Stopped)));
    let end = scan(&layer.blob(), &limits, &mut |_, _| Err("no"));
    assert!(matches!(end, Err(ScanError::Visitor("no"))));
    let end = scan::<()>(&layer.blob(), &limits, &mut |_, _| Ok(ControlFlow::Continue(())));
    let Err(ScanError::Layer(error)) = end else { panic!("{end:?}") };
    assert_eq!(error.exit_code(), ExitCode::Integrity);
}

#[test]
fn the_layers_own_failure_wins_over_the_visitors() {
    let tar = Tar::new().header(Header::new(b'0', b"usr/x", 4096)).raw(&[1; 1000]).0;
    let limits = Limits::default();
    let end = scan(&Layer::tar(&tar).blob(), &limits, &mut |_, contents| {
        let error = std::io::copy(contents, &mut std::io::sink()).unwrap_err();
        Err(error.to_string())
    });
    let Err(ScanError::Layer(error)) = end else { panic!("{end:?}") };
    assert_eq!(error.exit_code(), ExitCode::Malformed);
    assert!(error.to_string().contains("ends inside contents"), "{error}");
}

#[test]
fn a_local_file_that_was_swapped_is_noticed_even_where_the_visitor_stopped() {
    let layer = Layer { origin: Origin::Local, ..Layer::tar(&base()) };
    let mut other = layer.stored.clone();
    *other.last_mut().unwrap() = 1;
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &other).unwrap();
    let limits = Limits::default();
    let end = scan::<()>(&layer.blob_in(file), &limits, &mut |_, _| Ok(ControlFlow::Break(())));
    let Err(ScanError::Layer(error)) = end else { panic!("{end:?}") };
    assert_eq!(error.exit_code(), ExitCode::Integrity);
}
