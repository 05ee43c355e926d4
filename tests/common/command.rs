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
            "XDG_DATA_HOME",
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

    /// Runs the program, with a state of its own.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        let mut command = self.command();
        self.with_state(command.args(args));
        Outcome::of(&mut command)
    }

    /// Gives a run a state of its own and no cache, unless it has one or needs none: root's are this
    /// machine's.
    fn with_state(&self, command: &mut Command) {
        let is_needless = |first: &OsStr| ["dump", "fsck"].map(OsStr::new).contains(&first);
        let is_state = |arg: &OsStr| arg.as_encoded_bytes().starts_with(b"--state-dir");
        if !command.get_args().next().is_some_and(is_needless) && !command.get_args().any(is_state)
        {
            command.arg(self.state());
        }
        let is_other =
            |first: &OsStr| ["dump", "fsck", "verify", "trust"].map(OsStr::new).contains(&first);
        let is_cache = |arg: &OsStr| {
            let arg = arg.as_encoded_bytes();
            arg.starts_with(b"--cache-dir") || arg == b"--no-cache"
        };
        if !command.get_args().next().is_some_and(is_other) && !command.get_args().any(is_cache) {
            command.arg("--no-cache");
        }
    }

    /// The word that gives a run a state beside `out`.
    pub fn state(&self) -> String {
        format!("--state-dir={}", self.path("state").display())
    }

    /// Runs the program, which must succeed and leave no temporary file.
    pub fn converts<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        self.converts_command(self.command().args(args))
    }

    /// Runs a command that [`Self::command`] gave, which must succeed.
    #[track_caller]
    pub fn converts_command(&self, command: &mut Command) -> Outcome {
        self.with_state(command);
        let outcome = Outcome::of(command);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert_eq!(snapshot(&self.path("tmp")), BTreeMap::new(), "left in $TMPDIR");
        outcome
    }

    /// Runs the program, which must fail with `code` as every refusal does (bad-inputs.md, top).
    pub fn refuses<S: AsRef<OsStr>>(
        &self,
        code: i32,
        args: impl IntoIterator<Item = S>,
    ) -> Outcome {
        self.refuses_command(code, self.command().args(args))
    }

    /// Runs a command that [`Self::command`] gave, which must fail with `code`: with a line that
    /// says what was found and one that says what to do, the same for machines, not a byte
    /// changed, the lock released, and no secret told.
    #[track_caller]
    pub fn refuses_command(&self, code: i32, command: &mut Command) -> Outcome {
        self.with_state(command);
        if !command.get_args().any(|argument| argument == "--json") {
            command.arg("--json");
        }
        let places = ["out", "tmp", "home"].map(|name| self.path(name));
        let before = places.each_ref().map(|place| snapshot(place));
        let outcome = Outcome::of(command);
        assert_eq!(outcome.code, code, "{outcome:#?}");
        let after = places.each_ref().map(|place| snapshot(place));
        assert_eq!(before, after, "files before and after a refusal\n{outcome:#?}");

        let lines: Vec<_> = outcome.stderr.lines().collect();
        let [.., found, help] = lines.as_slice() else { panic!("two lines: {outcome:#?}") };
        let json = outcome.json();
        let text = |member: &str| json.pointer(member).and_then(|it| it.as_str().map(String::from));
        let said = |line: &str, start: &str| line.strip_prefix(start).map(str::to_owned);
        assert_eq!(text("/error/message"), said(found, "error: "), "{outcome:#?}");
        assert_eq!(text("/error/advice"), said(help, "  help: "), "{outcome:#?}");
        assert_eq!(json.pointer("/error/exit_code"), Some(&code.into()), "{outcome:#?}");
        let is_id = |id: &str| id.chars().all(|c| matches!(c, 'a'..='z' | '.' | '-'));
        assert!(!outcome.id().is_empty() && is_id(&outcome.id()), "{outcome:#?}");

        let printable = |c: char| c == '\n' || !c.is_control();
        for text in [&outcome.stdout, &outcome.stderr] {
            assert!(text.chars().all(printable), "raw control bytes: {outcome:#?}");
            assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "a secret: {outcome:#?}");
        }
        let out = fs::File::open(self.path("out")).expect("a directory");
        let locked = rustix::fs::flock(&out, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        assert!(locked.is_ok() || code == 13, "the lock is held after a refusal");
        outcome
    }
}

/// The secret of all tests as it is and, after `tester:`, in base64; and the start of keys.
const SECRETS: &[&str] = &["s3cret", "dGVzdGVyOnMzY3JldA", "MIGHAgEAMBMG"];

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

    /// The stable id of the error; empty where there is none.
    pub fn id(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.stdout).unwrap_or_default();
        json.pointer("/error/id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
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
