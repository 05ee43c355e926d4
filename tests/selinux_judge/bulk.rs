//! libselinux's answers for many paths at once, by its `matchpathcon`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci2sysext::selinux::PolicyFiles;

use crate::common::tools;

/// A path without line ends, and the type bits of its mode.
pub type Asked = (String, u16);

/// As `matchpathcon -m` names file types.
const TYPES: [(u16, &str); 7] = [
    (0o060_000, "block_device"),
    (0o020_000, "char_device"),
    (0o040_000, "dir"),
    (0o010_000, "pipe"),
    (0o100_000, "file"),
    (0o140_000, "sock_file"),
    (0o120_000, "lnk_file"),
];

/// Bytes of arguments for one run; the system takes 2 MiB.
const ARGUMENTS: usize = 1_000_000;

/// A `matchpathcon`.
pub struct BulkJudge(PathBuf);

impl BulkJudge {
    /// That of the newest libselinux.
    pub fn newest() -> Option<Self> {
        tools::of(tools::FORKY, "matchpathcon").map(Self)
    }

    /// That of this system, if it is an older one: up to 3.7, libselinux takes the last match.
    pub fn old() -> Option<Self> {
        let judge = Self(tools::system("matchpathcon")?);
        let policy = PolicyFiles {
            file_contexts: b"/usr/x -- u:r:literal\n/usr/x u:r:last\n".to_vec(),
            ..PolicyFiles::default()
        };
        let answers = judge.answers(&policy, &[("/usr/x".to_owned(), 0o100_000)]);
        (answers == ["u:r:last"]).then_some(judge)
    }

    /// The contexts, in order; `<<none>>` where there is none.
    pub fn answers(&self, policy: &PolicyFiles, asked: &[Asked]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let file = super::write(directory.path(), policy);
        let mut by_type: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (index, (_, mode)) in asked.iter().enumerate() {
            by_type.entry(*mode).or_default().push(index);
        }
        let mut answers = vec![String::new(); asked.len()];
        for (mode, indices) in by_type {
            let name = TYPES.iter().find(|(bits, _)| *bits == mode).unwrap().1;
            let mut rest = &indices[..];
            while !rest.is_empty() {
                let mut bytes = 0;
                let fit = rest.iter().take_while(|&&index| {
                    bytes += asked[index].0.len() + 1;
                    bytes < ARGUMENTS
                });
                let (now, later) = rest.split_at(fit.count().max(1));
                let paths = now.iter().map(|&index| &*asked[index].0);
                for (index, answer) in now.iter().zip(self.run(&file, name, paths)) {
                    answers[*index] = answer;
                }
                rest = later;
            }
        }
        answers
    }

    fn run<'a>(
        &self,
        file: &Path,
        kind: &str,
        paths: impl Iterator<Item = &'a str>,
    ) -> Vec<String> {
        let paths: Vec<_> = paths.collect();
        let mut command = Command::new(&self.0);
        command.args(["-n", "-N", "-m", kind, "-f"]).arg(file).arg("--").args(&paths);
        let text = tools::check(&mut command);
        let answers: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(answers.len(), paths.len());
        answers
    }
}
