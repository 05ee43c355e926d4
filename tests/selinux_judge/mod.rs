//! libselinux's own answers, by its `selabel_lookup`, and policies to ask about.

pub mod bulk;
pub mod expansions;
pub mod generator;
mod modules;
mod real;

use std::path::{Path, PathBuf};
use std::process::Command;

use oci2sysext::selinux::PolicyFiles;

use crate::common::tools;

/// A path and its file type, as `file_contexts` writes it; `any` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub code: String,
    pub path: String,
}

impl Question {
    pub fn mode(&self) -> u16 {
        match self.code.as_str() {
            "-b" => 0o060_000,
            "-c" => 0o020_000,
            "-d" => 0o040_000,
            "-p" => 0o010_000,
            "--" => 0o100_000,
            "-s" => 0o140_000,
            "-l" => 0o120_000,
            "any" => 0,
            code => panic!("{code}"),
        }
    }
}

/// Words that end in `_t`, made contexts.
pub fn contexts(line: &str) -> String {
    let context = |word: &str| {
        if word.ends_with("_t") { format!("u:r:{word}:s0") } else { word.to_owned() }
    };
    line.split(' ').map(context).collect::<Vec<_>>().join(" ")
}

/// A `selabel_lookup` of libselinux 3.8.1 or newer.
pub struct Judge {
    program: PathBuf,
}

impl Judge {
    /// None where there is none, or only an older one, which disagrees by design (R31).
    pub fn find() -> Option<Self> {
        let judge = Self { program: tools::newest("selabel_lookup")? };
        judge.is_new().then_some(judge)
    }

    fn is_new(&self) -> bool {
        let text = "/usr/lib/foo/.* u:r:a\n/usr/.*\\.so u:r:b\n/usr/x -- u:r:a\n/usr/x u:r:b\n";
        let policy =
            PolicyFiles { file_contexts: text.as_bytes().to_vec(), ..PolicyFiles::default() };
        let question = |path: &str| Question { code: "--".to_owned(), path: path.to_owned() };
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), &policy);
        self.ask(&file, &question("/usr/lib/foo/x.so")).is_some_and(|answer| answer == "u:r:b")
            && self.ask(&file, &question("/usr/x")).is_some_and(|answer| answer == "u:r:a")
    }

    /// The contexts, or `<<none>>` where there is none.
    pub fn answers(&self, policy: &PolicyFiles, questions: &[&Question]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), policy);
        questions.iter().map(|question| self.ask(&file, question).unwrap()).collect()
    }

    fn ask(&self, file: &Path, question: &Question) -> Option<String> {
        let output = Command::new(&self.program)
            .args(["-r", "-b", "file", "-f"])
            .arg(file)
            .args(["-k", &question.path, "-t", &question.mode().to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let problem = String::from_utf8(output.stderr).ok()?;
        if problem.contains("failed to find a valid context") {
            return Some("<<none>>".to_owned());
        }
        let context = text.trim().strip_prefix("Default context: ");
        Some(context.unwrap_or_else(|| panic!("{question:?}: {text}{problem}")).to_owned())
    }
}

fn write(directory: &Path, policy: &PolicyFiles) -> PathBuf {
    let file = directory.join("file_contexts");
    std::fs::write(&file, &policy.file_contexts).unwrap();
    for (suffix, text) in [
        ("homedirs", &policy.homedirs),
        ("local", &policy.local),
        ("subs", &policy.subs),
        ("subs_dist", &policy.subs_dist),
    ] {
        if let Some(text) = text {
            std::fs::write(file.with_extension(suffix), text).unwrap();
        }
    }
    file
}
