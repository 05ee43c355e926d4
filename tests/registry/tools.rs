//! How the tests of registries ask, and what they expect of failures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::oci::{Error, Registry, RegistryOptions, Repository, RetryPolicy};

/// Options that wait a hundredth of the usual time, and read none of the user's files.
pub fn options() -> RegistryOptions {
    RegistryOptions {
        tls_verify: false,
        retry: RetryPolicy {
            base: Duration::from_millis(10),
            budget: Duration::from_secs(4),
            stall: Duration::from_millis(300),
        },
        authfile: Some(empty_authfile()),
        ..RegistryOptions::default()
    }
}

fn empty_authfile() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-auth.json");
    if !path.exists() {
        // Several tests may write it at once: each writes the same.
        let own = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(own.path(), "{}").unwrap();
        own.persist(&path).unwrap();
    }
    path
}

/// The repository `a/b` of a host.
pub fn repository(host: &str) -> Repository {
    Repository { host: host.to_owned(), path: "a/b".to_owned() }
}

pub fn registry(host: &str, options: &RegistryOptions) -> Registry {
    Registry::new(&repository(host), options).unwrap()
}

/// The exit code of a failure, which must fit one line.
pub fn code<T>(result: Result<T, Error>) -> ExitCode {
    let error = result.err().expect("a failure");
    let text = error.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    assert!(!error.advice().is_empty() && error.id().starts_with("registry."));
    error.exit_code()
}
