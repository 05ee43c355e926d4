//! libselinux as a second engine, and as the judge of ours in the tests.
//!
//! Which answers it gives depends on its release (R31): only 3.8.1 and newer agree with ours.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{fmt, fs};

use selinux::label::{Labeler, back_end};

use super::{Lookup, PolicyFiles};

/// `SELABEL_OPT_PATH` of `selinux/label.h`.
const OPT_PATH: i32 = 3;

/// A policy, opened by libselinux.
pub struct Libselinux {
    labeler: Labeler<back_end::File>,
    /// Labels that our engine does not give.
    others: Mutex<HashSet<&'static [u8]>>,
}

impl Libselinux {
    /// Opens a policy. libselinux reads files only: they are written to a directory that is removed
    /// again. It checks patterns when it first uses them, and contexts never.
    pub fn open(policy: &PolicyFiles) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("file_contexts");
        write(&file, policy)?;
        let path = CString::new(file.as_os_str().as_bytes())?;
        let labeler = Labeler::new(&[(OPT_PATH, path.as_ptr().cast())], true)
            .map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Self { labeler, others: Mutex::default() })
    }

    /// The context of a path of a file with these type bits of `st_mode`. libselinux does not tell
    /// `<<none>>` from no match: both are None.
    pub fn lookup(&self, path: &[u8], file_type: u16) -> Option<Vec<u8>> {
        let path = CString::new(path).ok()?;
        let context = self.labeler.look_up(&path, file_type.into()).ok()?;
        Some(context.to_c_string().ok()??.into_owned().into_bytes())
    }
}

impl Libselinux {
    /// Its own answer instead of `ours`, which tells what it does not: whether a path without a
    /// label is so by a `<<none>>`.
    pub fn lookup_instead<'a>(
        &'a self,
        path: &[u8],
        file_type: u16,
        ours: Lookup<'a>,
    ) -> Lookup<'a> {
        match (self.lookup(path, file_type), ours) {
            (None, Lookup::None) => Lookup::None,
            (None, _) => Lookup::NoMatch,
            (Some(label), Lookup::Label(ours)) if label == ours => Lookup::Label(ours),
            (Some(label), _) => {
                let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
                let known = others.get(&*label).copied();
                // Kept for ever: there are no more than a policy has.
                Lookup::Label(known.unwrap_or_else(|| {
                    let label: &'static [u8] = label.leak();
                    others.insert(label);
                    label
                }))
            }
        }
    }
}

impl fmt::Debug for Libselinux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Libselinux").finish_non_exhaustive()
    }
}

fn write(file: &Path, policy: &PolicyFiles) -> io::Result<()> {
    fs::write(file, &policy.file_contexts)?;
    for (suffix, text) in [
        ("homedirs", &policy.homedirs),
        ("local", &policy.local),
        ("subs", &policy.subs),
        ("subs_dist", &policy.subs_dist),
    ] {
        if let Some(text) = text {
            fs::write(file.with_extension(suffix), text)?;
        }
    }
    Ok(())
}
