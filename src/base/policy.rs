//! Where the texts of a SELinux policy are: in an image (R30), on this host, or in a directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Error;
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::selinux::PolicyFiles;
use crate::tree::{is_within, split};

/// Where a system's policy is, relative to its root.
pub(super) const ETC: &str = "etc/selinux";

/// The same as the defaults of an ostree deployment.
pub(super) const USR_ETC: &str = "usr/etc/selinux";

const CONTEXTS: &str = "contexts/files";

/// The policy that this host uses: its `/etc/selinux`.
pub fn of_host(limits: &Limits) -> Result<PolicyFiles, Error> {
    of_directory(Path::new("/etc/selinux"), limits)
}

/// The policy in a directory: an `/etc/selinux` with its `config`, one policy's directory with
/// `contexts/files/file_contexts`, or just `file_contexts` and its siblings.
pub fn of_directory(directory: &Path, limits: &Limits) -> Result<PolicyFiles, Error> {
    let read = |path: PathBuf| read_file(&path, limits);
    let (policy_type, files) = if let Some(config) = read(directory.join("config"))? {
        let policy_type = policy_type(&config)?;
        let files = directory.join(&policy_type).join(CONTEXTS);
        (policy_type, files)
    } else {
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or("custom");
        let files = [directory.to_owned(), directory.join(CONTEXTS)]
            .into_iter()
            .find(|files| files.join("file_contexts").exists())
            .unwrap_or_else(|| directory.to_owned());
        (name.to_owned(), files)
    };
    gather(policy_type, |name| read(files.join(name)))?
        .ok_or_else(|| Error::NoPolicyDirectory { path: directory.to_owned() })
}

/// The texts of a policy, from whatever gives a file of `contexts/files` by its name; none if
/// there is no `file_contexts`.
pub(super) fn gather<E>(
    policy_type: String,
    mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<PolicyFiles>, E> {
    let Some(file_contexts) = read("file_contexts")? else { return Ok(None) };
    Ok(Some(PolicyFiles {
        policy_type,
        file_contexts,
        homedirs: read("file_contexts.homedirs")?,
        local: read("file_contexts.local")?,
        subs: read("file_contexts.subs")?,
        subs_dist: read("file_contexts.subs_dist")?,
    }))
}

/// Where a file of `contexts/files` is, relative to the root of a system.
pub(super) fn path(etc_selinux: &str, policy_type: &str, name: &str) -> Vec<u8> {
    format!("{etc_selinux}/{policy_type}/{CONTEXTS}/{name}").into_bytes()
}

/// `SELINUXTYPE` of an `etc/selinux/config`; as for libselinux the last one counts, and
/// `targeted` where there is none.
pub(super) fn policy_type(config: &[u8]) -> Result<String, Error> {
    const KEY: &[u8] = b"SELINUXTYPE=";
    let value = config
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let (key, value) = line.trim_ascii().split_at_checked(KEY.len())?;
            key.eq_ignore_ascii_case(KEY).then_some(value)
        })
        .next_back()
        .unwrap_or(b"targeted");
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match std::str::from_utf8(value) {
        Ok(name) if value.iter().all(plain) && !matches!(name, "" | "." | "..") => {
            Ok(name.to_owned())
        }
        _ => Err(Error::PolicyType { found: Escaped(value).to_string() }),
    }
}

/// Whether a path of an image is a file that [`gather`] reads, or the `config` before it.
pub(super) fn is_policy_file(path: &[u8]) -> bool {
    let Some(below) = below_selinux(path) else { return false };
    below == b"config"
        || split(below).is_some_and(|(parent, name)| {
            parent.ends_with(b"/contexts/files")
                && matches!(
                    name,
                    b"file_contexts"
                        | b"file_contexts.homedirs"
                        | b"file_contexts.local"
                        | b"file_contexts.subs"
                        | b"file_contexts.subs_dist"
                )
        })
}

/// Whether a path of an image may be on the way to such a file.
pub(super) fn is_near_policy(path: &[u8]) -> bool {
    [ETC, USR_ETC]
        .iter()
        .any(|root| is_within(path, root.as_bytes()) || is_within(root.as_bytes(), path))
}

fn below_selinux(path: &[u8]) -> Option<&[u8]> {
    let below = path.strip_prefix(b"usr/").unwrap_or(path);
    below.strip_prefix(b"etc/selinux/")
}

fn read_file(path: &Path, limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
    let error = |error| Error::ReadFile { path: path.to_owned(), error };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(error(e)),
    };
    let maximum = limits.text_file;
    let mut bytes = Vec::new();
    file.take(maximum.saturating_add(1)).read_to_end(&mut bytes).map_err(error)?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size > maximum {
        let path = path.as_os_str().as_encoded_bytes().to_vec();
        return Err(Error::TooLarge { path, size, maximum });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_read_as_libselinux_does() {
        let of = |text: &str| policy_type(text.as_bytes());
        assert_eq!(of("# SELINUXTYPE=a\nSELINUX=enforcing\n").unwrap(), "targeted");
        assert_eq!(of("SELINUXTYPE=mls\n  SELINUXTYPE=minimum \t\r\n").unwrap(), "minimum");
        for bad in ["SELINUXTYPE=\n", "SELINUXTYPE=../x", "SELINUXTYPE=..", "SELINUXTYPE=a b"] {
            assert!(matches!(of(bad), Err(Error::PolicyType { .. })), "{bad}");
        }
    }

    #[test]
    fn a_directory_is_a_policy_in_three_ways() {
        let root = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        assert!(matches!(of_directory(root.path(), &limits), Err(Error::NoPolicyDirectory { .. })));
        let files = root.path().join("mls/contexts/files");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("file_contexts"), "/.* x:y:z:s0\n").unwrap();
        std::fs::write(files.join("file_contexts.subs"), "/a /b\n").unwrap();
        std::fs::write(root.path().join("config"), "SELINUXTYPE=mls\n").unwrap();
        for directory in [root.path().to_owned(), root.path().join("mls"), files] {
            let found = of_directory(&directory, &limits).unwrap();
            assert_eq!(found.file_contexts, b"/.* x:y:z:s0\n");
            assert_eq!(found.subs.as_deref(), Some(&b"/a /b\n"[..]));
            assert_eq!(found.local, None);
        }
        let tight = Limits { text_file: 4, ..Limits::default() };
        assert!(matches!(of_directory(root.path(), &tight), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn the_files_of_a_policy_are_told_by_their_paths() {
        for path in [
            "etc/selinux/config",
            "usr/etc/selinux/targeted/contexts/files/file_contexts.subs_dist",
        ] {
            assert!(is_policy_file(path.as_bytes()) && is_near_policy(path.as_bytes()), "{path}");
        }
        for path in [
            "etc/selinux/targeted/contexts/files/file_contexts.bin",
            "etc/selinux/targeted/policy/policy.33",
            "etc/selinux",
        ] {
            assert!(!is_policy_file(path.as_bytes()) && is_near_policy(path.as_bytes()), "{path}");
        }
        assert!(is_near_policy(b"usr") && !is_near_policy(b"etc/selinuxx"));
    }
}
