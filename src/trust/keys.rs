//! Key files: those that somebody named, those of a directory, and those in this program.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, Owner};
use super::{Error, TrustSources};
use crate::escape::Escaped;
use crate::oci::Reference;
use crate::verify::{NamedKey, PublicKey, SignedIdentity};

/// More than any public key needs: RSA of 8192 bits has 1.4 KiB.
const MAX_SIZE: u64 = 64 << 10;

/// The keys in files that somebody named.
pub(super) fn from_files(paths: &[PathBuf], as_root: bool) -> Result<Vec<NamedKey>, Error> {
    paths.iter().map(|path| from_file(path, as_root)).collect()
}

/// The key in a file that somebody named.
pub(super) fn from_file(path: &Path, as_root: bool) -> Result<NamedKey, Error> {
    read(path, as_root, Owner::Anybody)
}

/// The keys of a directory, by file name; none if it does not exist.
pub(super) fn from_directory(directory: &Path, as_root: bool) -> Result<Vec<NamedKey>, Error> {
    let Some(mut paths) = file::list(directory, ".pub")? else { return Ok(Vec::new()) };
    // As the shell reads `*.pub`.
    let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    paths.retain(|path| !path.file_name().is_some_and(is_hidden));
    if as_root {
        let metadata = fs::metadata(directory).map_err(|error| Error::Unreadable {
            path: directory.to_owned(),
            problem: error.to_string(),
        })?;
        file::check_writers(directory, &metadata, Owner::Root)?;
    }
    paths.iter().map(|path| read(path, as_root, Owner::Root)).collect()
}

/// The compiled-in keys that are for this image, by the name asked for or the name to be signed.
pub(super) fn compiled_in(
    sources: &TrustSources,
    identity: &SignedIdentity,
    reference: &Reference,
) -> Result<Vec<NamedKey>, Error> {
    let asked = match reference {
        Reference::Registry { repository, .. } => Some(repository),
        Reference::Layout { .. } | Reference::Archive { .. } | Reference::Dir { .. } => None,
    };
    let signed = match identity {
        SignedIdentity::Repository(repository) => Some(repository),
        // Those of a policy file come with its keys.
        _ => None,
    };
    sources
        .compiled_in
        .iter()
        .filter(|key| asked.into_iter().chain(signed).any(|repository| key.is_for(repository)))
        .map(|key| parse(Path::new(key.name), key.pem.as_bytes()))
        .collect()
}

fn read(path: &Path, as_root: bool, owner: Owner) -> Result<NamedKey, Error> {
    parse(path, &file::read(path, MAX_SIZE, as_root, owner)?)
}

/// The key in a PEM text; `path` is where it is from.
pub(super) fn parse(path: &Path, pem: &[u8]) -> Result<NamedKey, Error> {
    let key = PublicKey::from_pem(pem)
        .map_err(|problem| Error::Key { path: path.to_owned(), problem })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(NamedKey { name: Escaped(name.as_encoded_bytes()).to_string(), key })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::error::{ExitCode, Fault};
    use crate::oci::Repository;
    use crate::trust::{Decision, Locations, TrustOrigin, Words, decide};

    fn testdata(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
    }

    fn good(name: &str) -> PathBuf {
        testdata("signatures/keys").join(format!("{name}.pub"))
    }

    fn sources(keys_dir: &Path) -> TrustSources {
        let (keys_dir, locations) = (keys_dir.to_owned(), Locations::default());
        TrustSources { keys_dir, locations, as_root: false, ..TrustSources::default() }
    }

    fn image(host: &str, path: &str) -> Reference {
        let repository = Repository { host: host.to_owned(), path: path.to_owned() };
        Reference::Registry { repository, tag: None, digest: None }
    }

    fn layout() -> Reference {
        Reference::Layout { path: PathBuf::from("layout\n"), name: None }
    }

    /// Names of the keys, and where they are from.
    fn keys(
        sources: &TrustSources,
        files: &[PathBuf],
        identity: SignedIdentity,
        reference: &Reference,
    ) -> Result<(Vec<String>, TrustOrigin), Error> {
        let decision = policy(sources, files, identity, reference)?;
        Ok((decision.first.keys().map(|key| key.name.clone()).collect(), decision.origin))
    }

    fn policy(
        sources: &TrustSources,
        files: &[PathBuf],
        identity: SignedIdentity,
        reference: &Reference,
    ) -> Result<Decision, Error> {
        let words = Words { keys: files.to_vec(), identity, ..Words::default() };
        decide(sources, &words, reference)
    }

    fn copy(key: &Path, to: &Path, mode: u32) {
        fs::copy(key, to).unwrap();
        fs::set_permissions(to, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_source_that_has_a_say_decides() {
        let directory = tempfile::tempdir().unwrap();
        let none = sources(&directory.path().join("missing"));
        let here = sources(directory.path());
        let travier = image("quay.io", "travier/fedora-kinoite/sysexts");
        let asked = || SignedIdentity::Asked;
        let compiled_in = vec!["quay.io-travier-fedora-sysexts.pub".to_owned()];

        for sources in [&none, &here] {
            let found = keys(sources, &[], asked(), &travier).unwrap();
            assert_eq!(found, (compiled_in.clone(), TrustOrigin::CompiledIn));
        }
        copy(&good("p256"), &directory.path().join("b.pub"), 0o644);
        copy(&good("p384"), &directory.path().join("a.pub"), 0o644);
        fs::write(directory.path().join("README"), "no key").unwrap();
        fs::write(directory.path().join(".hidden.pub"), "no key").unwrap();
        let (names, origin) = keys(&here, &[], asked(), &travier).unwrap();
        assert_eq!(names, ["a.pub", "b.pub"]);
        assert_eq!(origin, TrustOrigin::Directory(directory.path().to_owned()));
        let files = [good("rsa2048"), good("ed25519")];
        let found = keys(&here, &files, asked(), &travier).unwrap();
        let names = vec!["rsa2048.pub".to_owned(), "ed25519.pub".to_owned()];
        assert_eq!(found, (names, TrustOrigin::CommandLine));
    }

    #[test]
    fn the_compiled_in_key_is_for_its_repositories() {
        let sources = sources(Path::new("/nonexistent/keys"));
        let travier = Repository { host: "quay.io".to_owned(), path: "travier/sysexts".to_owned() };
        let signed = SignedIdentity::Repository(travier);
        for (reference, identity, is_for) in [
            (image("quay.io", "travier/sysexts"), SignedIdentity::Asked, true),
            (image("quay.io", "travier/a/b"), SignedIdentity::Any, true),
            (image("quay.io", "travier"), SignedIdentity::Asked, false),
            (image("quay.io", "travier2/sysexts"), SignedIdentity::Asked, false),
            (image("quay.io", "other/travier/x"), SignedIdentity::Asked, false),
            (image("quay.io:443", "travier/sysexts"), SignedIdentity::Asked, false),
            (image("example.com", "travier/sysexts"), SignedIdentity::Asked, false),
            (image("mirror.example", "x"), signed.clone(), true),
            (layout(), signed, true),
            (layout(), SignedIdentity::Asked, false),
            (layout(), SignedIdentity::Any, false),
        ] {
            let found = keys(&sources, &[], identity, &reference);
            assert_eq!(found.is_ok(), is_for, "{reference:?}");
        }
    }

    #[test]
    fn row_93_no_trust() {
        let sources = sources(Path::new("/nonexistent/keys"));
        let error = keys(&sources, &[], SignedIdentity::Asked, &layout()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Trust);
        assert!(error.advice().contains("--key FILE"));
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    /// Row 18 and P6: one bad key among good ones ends it.
    #[test]
    fn one_unusable_key_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        copy(&good("p256"), &directory.path().join("a.pub"), 0o644);
        let reference = image("quay.io", "travier/sysexts");
        for name in ["empty", "private-key", "rsa-1024"] {
            let bad = testdata("reject/signatures/keys").join(format!("{name}.pub"));
            let files = [good("p256"), bad.clone()];
            let from_files =
                policy(&sources(directory.path()), &files, SignedIdentity::Asked, &reference);
            assert!(matches!(from_files.unwrap_err(), Error::Key { .. }), "{name}");
            let in_directory = directory.path().join("b.pub");
            copy(&bad, &in_directory, 0o644);
            let error = policy(&sources(directory.path()), &[], SignedIdentity::Asked, &reference)
                .unwrap_err();
            assert!(matches!(error, Error::Key { .. }), "{name}");
            assert_eq!(error.exit_code(), ExitCode::Trust);
            fs::remove_file(in_directory).unwrap();
        }
    }

    #[test]
    fn what_is_no_readable_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let reference = image("quay.io", "travier/sysexts");
        let error = |sources: &TrustSources, files: &[PathBuf]| {
            policy(sources, files, SignedIdentity::Asked, &reference).unwrap_err()
        };
        let here = sources(directory.path());
        assert!(matches!(error(&here, &[PathBuf::from("/nonexistent")]), Error::Unreadable { .. }));
        assert!(matches!(error(&here, &[directory.path().to_owned()]), Error::Unreadable { .. }));
        // In the keys directory a fifo is not waited for.
        let fifo = directory.path().join("fifo.pub");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(matches!(error(&here, &[]), Error::Unreadable { .. }));
        fs::remove_file(fifo).unwrap();
        let large = directory.path().join("large");
        fs::write(&large, vec![b' '; (64 << 10) + 1]).unwrap();
        assert!(matches!(error(&here, std::slice::from_ref(&large)), Error::Unreadable { .. }));
        // The keys directory is a file, or has a broken link.
        assert!(matches!(error(&sources(&large), &[]), Error::Unreadable { .. }));
        std::os::unix::fs::symlink("missing", directory.path().join("a.pub")).unwrap();
        assert!(matches!(error(&here, &[]), Error::Unreadable { .. }));
    }

    #[test]
    fn root_does_not_trust_what_others_can_write() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("a.pub");
        let reference = image("quay.io", "travier/sysexts");
        let as_root = TrustSources { as_root: true, ..sources(directory.path()) };
        let verdict =
            |files: &[PathBuf]| match policy(&as_root, files, SignedIdentity::Asked, &reference) {
                Ok(_) => true,
                Err(error @ Error::Unsafe { .. }) => {
                    assert_eq!(error.exit_code(), ExitCode::Trust);
                    assert!(error.advice().contains("chmod go-w"));
                    false
                }
                Err(error) => panic!("{error}"),
            };
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (bits, is_safe) in [(0o644, true), (0o444, true), (0o664, false), (0o646, false)] {
            copy(&good("p256"), &key, bits);
            assert_eq!(verdict(std::slice::from_ref(&key)), is_safe, "{bits:o}");
            let root_owns = key.metadata().unwrap().uid() == 0;
            assert_eq!(verdict(&[]), is_safe && root_owns, "{bits:o}");
            fs::remove_file(&key).unwrap();
        }
        copy(&good("p256"), &key, 0o644);
        mode(directory.path(), 0o777);
        assert!(!verdict(&[]));
        mode(directory.path(), 0o755);
        if key.metadata().unwrap().uid() == 0 {
            assert!(verdict(&[]));
            std::os::unix::fs::chown(&key, Some(65534), None).unwrap();
            assert!(!verdict(&[]));
            // What the user names may be the user's.
            assert!(verdict(&[key]));
        }
    }
}
