//! The shared data, which nobody here wrote: where it is missing, tests are listed as not run.

use std::path::{Path, PathBuf};

/// Prints that the current test does not run; `.ci/test` collects these lines.
pub fn say_not_run(reason: &str) {
    let thread = std::thread::current();
    println!("not run: {} ({reason})", thread.name().unwrap_or("a test"));
}

/// A path below `data` of the shared folder, if it is there.
pub fn path(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("O2S_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join("data").join(path);
    let required = std::env::var_os("O2S_REQUIRE_SHARED").is_some_and(|value| value == "1");
    assert!(!required || path.exists(), "O2S_REQUIRE_SHARED=1, but there is no {}", path.display());
    path.exists().then_some(path)
}

/// The same; where it is missing, the current test is listed as not run.
pub fn needed(path: &str) -> Option<PathBuf> {
    let found = self::path(path);
    if found.is_none() {
        say_not_run("no shared data");
    }
    found
}
