//! The program under test, run in a directory of its own that is searched for leftovers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A directory to run the program in: `out` is the current directory, `tmp` is `$TMPDIR`.
#[derive(Debug)]
pub struct Workdir {
    root: TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `128 + n` where signal `n` ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Workdir {
    /// An empty one.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for name in ["out", "tmp", "home"] {
            fs::create_dir(root.path().join(name)).expect("an empty directory");
        }
        Self { root }
    }

    /// A path beside `out`, where leftovers are not looked for.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A path in the current directory of the program.
    pub fn out(&self, name: &str) -> PathBuf {
        self.root.path().join("out").join(name)
    }

    /// The program, ready to be given arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oci2sysext"));
        command.current_dir(self.path("out")).env("TMPDIR", self.path("tmp"));
        command.env("HOME", self.path("home"));
        for name in [
            "REGISTRY_AUTH_FILE",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "XDG_STATE_HOME",
            "CONTAINERS_POLICY_JSON",
            "CONTAINERS_REGISTRIES_CONF",
            "DOCKER_CONFIG",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program, with a state of its own: root's is this machine's.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut command = self.command();
        command.args(&args);
        let has_no_state = ["dump", "fsck"].map(OsStr::new);
        let is_state = |arg: &OsStr| arg.as_encoded_bytes().starts_with(b"--state-dir");
        if args.first().is_none_or(|first| !has_no_state.contains(&&**first))
            && !args.iter().any(|arg| is_state(arg))
        {
            command.arg(self.state());
        }
        Outcome::of(&mut command)
    }

    /// The word that gives a run a state beside `out`.
    pub fn state(&self) -> String {
        format!("--state-dir={}", self.path("state").display())
    }

    /// Runs the program, which must succeed and leave no temporary file.
    pub fn converts<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert_eq!(snapshot(&self.path("tmp")), BTreeMap::new(), "left in $TMPDIR");
        outcome
    }

    /// Runs the program, which must fail with `code` as every refusal does (bad-inputs.md, top):
    /// a line that says what was found, one that says what to do, and not a byte changed.
    pub fn refuses<S: AsRef<OsStr>>(
        &self,
        code: i32,
        args: impl IntoIterator<Item = S>,
    ) -> Outcome {
        let before = (snapshot(&self.path("out")), snapshot(&self.path("tmp")));
        let outcome = self.run(args);
        assert_eq!(outcome.code, code, "{outcome:#?}");
        let after = (snapshot(&self.path("out")), snapshot(&self.path("tmp")));
        assert_eq!(before, after, "files before and after a refusal\n{outcome:#?}");
        assert!(outcome.stderr.lines().count() >= 2, "found, and what to do: {outcome:#?}");
        let printable = |c: char| c == '\n' || !c.is_control();
        assert!(outcome.stderr.chars().all(printable), "raw control bytes: {outcome:#?}");
        outcome
    }
}

impl Default for Workdir {
    fn default() -> Self {
        Self::new()
    }
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let output = command.output().expect("the program starts");
        let status = output.status;
        Self {
            code: status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Every path below a directory with a digest of what it is.
pub fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("metadata");
            let what = if metadata.is_dir() {
                waiting.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("a target").display())
            } else if metadata.is_file() {
                sha256(&fs::read(&path).expect("a readable file"))
            } else {
                "special".to_owned()
            };
            all.insert(path, what);
        }
    }
    all
}

/// The SHA-256 of some bytes in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("strings take everything");
    }
    hex
}
