//! Outside tools: those of this system, and newer ones that `.ci/setup test` unpacked.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The Debian suite that has cosign 2, systemd 257 and docker-registry.
pub const TRIXIE: &str = "trixie";
/// The Debian suite that has cosign 3, erofs-utils 1.9, composefs and systemd 262.
pub const FORKY: &str = "forky";

/// A tool of this system.
pub fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH may lack the directories of mount, losetup and setfiles.
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Where `.ci/setup test` put tools: `$O2S_TOOLS`, else `target/tools`.
pub fn root() -> PathBuf {
    std::env::var_os("O2S_TOOLS").map_or_else(|| super::repository("target/tools"), PathBuf::from)
}

/// A tool of a later Debian suite.
pub fn of(suite: &str, name: &str) -> Option<PathBuf> {
    let file = root().join(suite).join("bin").join(name);
    file.exists().then_some(file)
}

/// The newest of a tool that there is.
pub fn newest(name: &str) -> Option<PathBuf> {
    of(FORKY, name).or_else(|| of(TRIXIE, name)).or_else(|| system(name))
}

/// Runs a tool that must succeed, and gives what it printed.
pub fn run<S: AsRef<OsStr>>(tool: &Path, args: impl IntoIterator<Item = S>) -> String {
    check(Command::new(tool).args(args))
}

/// Runs a command that must succeed, and gives what it printed.
pub fn check(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout
}

/// Runs a shell script that must succeed; it finds `$1`, `$2` … in `args`.
pub fn shell<S: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = S>) -> String {
    check(Command::new("bash").args(["-euo", "pipefail", "-c", script, "bash"]).args(args))
}

/// Whether this process may mount: root with `CAP_SYS_ADMIN`, loop devices, and EROFS.
pub fn can_mount() -> bool {
    let capable = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(bits.trim(), 16).ok()
        })
        .is_some_and(|bits| bits & (1 << 21) != 0);
    if !capable || !Path::new("/dev/loop-control").exists() {
        return false;
    }
    // Where EROFS is a module it is listed only once it is loaded.
    let _ = Command::new("modprobe").args(["-q", "erofs"]).output();
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\terofs\n"))
}
