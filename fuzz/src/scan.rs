//! Base layers, as they are looked through.
//!
//! Input: a tar archive, as for `layer`.
//!
//! - All paths are plain, no longer than the limit, and at most as many as the limit.
//! - How much of the contents is read changes nothing of what is seen after it.
//! - Contents have the length that was announced, and all of them fit into the archive.
//! - Who stops is told so.

use std::ops::ControlFlow;

use oci2sysext::layer::{self, ScanEnd, ScanKind};

use super::blob::Layer;
use super::layer::{is_plain, limits, sealed};

pub fn run(data: &[u8]) {
    let tar = sealed(data);
    if tar.is_empty() {
        return;
    }
    let blob = Layer::tar(&tar).blob();
    let limits = limits();
    let see = |contents_of: u8| {
        let mut lines = Vec::new();
        let mut total = 0;
        let end = layer::scan::<()>(&blob, &limits, &mut |entry, contents| {
            assert!(is_plain(entry.path));
            assert!(u64::try_from(entry.path.len()).unwrap() <= limits.path);
            lines.push(format!("{:?} {:?} {:?}", entry.path, entry.kind, entry.stat));
            let size = if let ScanKind::Regular { size } = entry.kind { size } else { 0 };
            match contents_of {
                0 => {}
                1 => _ = contents.read(&mut [0; 3]),
                _ => {
                    let mut bytes = Vec::new();
                    if contents.read_to_end(&mut bytes).is_ok() {
                        assert_eq!(u64::try_from(bytes.len()).unwrap(), size);
                        total += bytes.len();
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        assert!(total <= tar.len());
        assert!(u64::try_from(lines.len()).unwrap() <= limits.entries);
        (lines, end.map_err(|error| format!("{error:?}")))
    };
    let seen = see(0);
    assert_eq!(see(1), seen);
    assert_eq!(see(2), seen);
    let first = layer::scan::<()>(&blob, &limits, &mut |_, _| Ok(ControlFlow::Break(())));
    if !seen.0.is_empty() {
        assert!(matches!(first, Ok(ScanEnd::Stopped)), "{first:?}");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::layer::seeds()
}
