//! Real policies: what ours says of real paths, and of paths made from each of their rules, against
//! two releases of libselinux. The newest decides; where the old one is of another mind (R31),
//! the case is printed with its rule.
//!
//! `O2S_SELINUX_PATHS=all` asks for every path, and the old release too; else it is a part of them.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci2sysext::selinux::module::Merged;
use oci2sysext::selinux::{FileContexts, Lookup, PolicyFiles};
use pcre2::bytes::RegexBuilder;

use super::bulk::{Asked, BulkJudge};
use super::expansions::{changed, expansion};
use super::generator::Random;
use crate::common::{data, tools};

/// Paths of one list, and those that the old release is asked about, which takes 200 µs for each.
const PATHS: usize = 30_000;
const OLD_PATHS: usize = 2_000;

/// Paths made from one rule.
const EXPANSIONS: usize = 3;

/// Differences of the old release that are printed.
const PRINTED: usize = 30;

/// The policies that there are, by name.
fn policies() -> Vec<(String, PolicyFiles)> {
    let mut policies = Vec::new();
    if let Some(root) = data::needed("selinux/fedora-37") {
        policies.push(("Fedora 37".to_owned(), policy(&root.join("etc/selinux/targeted"))));
    }
    for (suite, kind) in [("forky", "default"), ("trixie", "default"), ("trixie", "mls")] {
        let root = tools::root().join(format!("policies/{suite}-{kind}/etc/selinux/{kind}"));
        if root.exists() {
            policies.push((format!("Debian {suite} {kind}"), policy(&root)));
        }
    }
    policies
}

fn policy(root: &Path) -> PolicyFiles {
    let read = |suffix: &str| {
        std::fs::read(root.join("contexts/files").join(format!("file_contexts{suffix}"))).ok()
    };
    PolicyFiles {
        policy_type: root.file_name().unwrap().to_str().unwrap().to_owned(),
        file_contexts: read("").unwrap(),
        homedirs: read(".homedirs"),
        local: read(".local"),
        subs: read(".subs"),
        subs_dist: read(".subs_dist"),
    }
}

/// Lists of real paths: a Fedora host's, the files of Debian's packages, this host's `/usr`, and
/// what is in an image of the shared data.
fn lists() -> Vec<(&'static str, Vec<Asked>)> {
    let mut lists = Vec::new();
    if let Some((_, labels)) = crate::fedora() {
        let paths = labels
            .into_iter()
            .filter_map(|(path, mode, _)| Some((String::from_utf8(path).ok()?, mode & 0o170_000)));
        lists.push(("a Fedora host", paths.collect()));
    }
    let packages = tools::shell("cat /var/lib/dpkg/info/*.list 2>/dev/null || true", [""; 0]);
    let packages: BTreeSet<&str> = packages.lines().filter(|path| path.starts_with('/')).collect();
    if !packages.is_empty() {
        let paths = packages.into_iter().filter_map(|path| {
            let mode = std::fs::symlink_metadata(path).ok()?.mode();
            Some((path.to_owned(), u16::try_from(mode & 0o170_000).unwrap()))
        });
        lists.push(("the files of installed packages", paths.collect()));
    }
    let list = |directory: &Path| -> Vec<Asked> {
        let found = tools::shell(
            "find \"$1\" -regextype posix-extended -regex '[[:print:]]*' -printf '%y /%P\\n'",
            [directory],
        );
        let lines = found.lines().filter_map(|line| line.split_once(' '));
        lines.filter_map(|(kind, path)| Some((path.to_owned(), mode(kind)?))).collect()
    };
    let usr = list(Path::new("/usr")).into_iter();
    lists.push((
        "this host's /usr",
        usr.map(|(path, mode)| (format!("/usr{path}"), mode)).collect(),
    ));
    if let Some(layout) = data::needed("images/mc-layout") {
        let directory = tempfile::tempdir().unwrap();
        tools::shell(
            "for blob in \"$1\"/blobs/sha256/*; do tar -C \"$2\" -xzf \"$blob\" 2>/dev/null || true; done",
            [&*layout, directory.path()],
        );
        lists.push(("the image of mc", list(directory.path())));
    }
    lists
}

fn mode(kind: &str) -> Option<u16> {
    Some(match kind {
        "b" => 0o060_000,
        "c" => 0o020_000,
        "d" => 0o040_000,
        "p" => 0o010_000,
        "f" => 0o100_000,
        "s" => 0o140_000,
        "l" => 0o120_000,
        _ => return None,
    })
}

/// The patterns of a policy and their file types.
fn rules(policy: &PolicyFiles) -> Vec<(&str, Option<u16>)> {
    policy
        .specifications()
        .flat_map(|text| std::str::from_utf8(text).unwrap().lines())
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let pattern = fields.next().filter(|pattern| !pattern.starts_with('#'))?;
            let kind =
                fields.next().and_then(|code| code.strip_prefix('-')).filter(|c| c.len() == 1);
            Some((pattern, kind.and_then(|code| mode(if code == "-" { "f" } else { code }))))
        })
        .collect()
}

/// Paths that the rules of a policy match, or nearly, as some file type.
fn expansions(policy: &PolicyFiles) -> Vec<Asked> {
    let mut random = Random::new(1);
    let mut asked = BTreeSet::new();
    let rules = rules(policy);
    for (pattern, kind) in &rules {
        for _ in 0..EXPANSIONS {
            let Some(path) = expansion(pattern, &mut random) else { break };
            let any = [0o100_000, 0o040_000, 0o120_000][random.below(3)];
            asked.insert((changed(&path, &mut random), kind.unwrap_or(any)));
            asked.insert((path, if random.one_in(4) { any } else { kind.unwrap_or(any) }));
        }
    }
    assert!(asked.len() > rules.len() * 3, "{} paths of {} rules", asked.len(), rules.len());
    asked.into_iter().collect()
}

fn ours(contexts: &FileContexts, (path, mode): &Asked) -> String {
    match contexts.lookup(path.as_bytes(), *mode) {
        Lookup::Label(label) => String::from_utf8(label.to_vec()).unwrap(),
        Lookup::None | Lookup::NoMatch => "<<none>>".to_owned(),
    }
}

/// The last rule that matches a path, which is the one that old releases take.
fn last_rule<'a>(policy: &'a PolicyFiles, (path, mode): &Asked) -> &'a str {
    let is_match = |pattern: &str| {
        let regex = RegexBuilder::new().dotall(true).build(&format!("^{pattern}$"));
        regex.is_ok_and(|regex| regex.is_match(path.as_bytes()).unwrap_or(false))
    };
    rules(policy)
        .into_iter()
        .rev()
        .find(|(pattern, kind)| kind.is_none_or(|kind| kind == *mode) && is_match(pattern))
        .map_or("no rule for this path itself", |(pattern, _)| pattern)
}

/// At most `count` paths, from everywhere in the list.
fn some_of(asked: &[Asked], count: usize) -> Vec<Asked> {
    let all = std::env::var("O2S_SELINUX_PATHS").is_ok_and(|value| value == "all");
    let step = if all { 1 } else { asked.len().div_ceil(count).max(1) };
    asked.iter().step_by(step).cloned().collect()
}

#[test]
fn real_policies_are_answered_as_by_libselinux() {
    let Some(newest) = BulkJudge::newest() else {
        data::say_not_run("no matchpathcon of Debian forky");
        return;
    };
    let old = BulkJudge::old();
    let policies = policies();
    if policies.len() < 3 {
        data::say_not_run("fewer than three policies");
        return;
    }
    let mut lists = lists();
    lists.push(("made from the rules", Vec::new()));
    let mut differences = 0;
    for (name, policy) in &policies {
        let contexts = FileContexts::parse(policy).unwrap();
        let sorted = Merged::of(policy).unwrap().file_contexts();
        assert!(sorted == policy.file_contexts, "{name} is not in libsepol's order");
        for (list, asked) in &lists {
            let asked = if asked.is_empty() { expansions(policy) } else { some_of(asked, PATHS) };
            let answers = newest.answers(policy, &asked);
            for (asked, judged) in asked.iter().zip(&answers) {
                let ours = ours(&contexts, asked);
                if ours != *judged {
                    differences += 1;
                    eprintln!("{name}, {list}: {asked:?}: ours {ours}, the newest's {judged}");
                }
            }
            let mut others = 0;
            if let Some(old) = &old {
                let asked = some_of(&asked, OLD_PATHS);
                for (asked, judged) in asked.iter().zip(old.answers(policy, &asked)) {
                    let ours = ours(&contexts, asked);
                    if ours != judged {
                        others += 1;
                        if others <= PRINTED {
                            let rule = last_rule(policy, asked);
                            eprintln!(
                                "{name}, {list}: {asked:?}: ours {ours}, the old one's {judged} by {rule}"
                            );
                        }
                    }
                }
            }
            eprintln!("{name}, {list}: {} paths, {others} differ in the old release", asked.len());
        }
        contexts.check().unwrap();
    }
    assert_eq!(differences, 0);
}

/// The same by the `selinux` crate, in this process: every path of all lists.
#[cfg(feature = "libselinux")]
#[test]
fn libselinux_agrees_on_real_policies() {
    use oci2sysext::selinux::libselinux::Libselinux;
    let probe = PolicyFiles {
        file_contexts: b"/usr/x -- u:r:literal\n/usr/x u:r:last\n".to_vec(),
        ..PolicyFiles::default()
    };
    let answer = Libselinux::open(&probe).unwrap().lookup(b"/usr/x", 0o100_000);
    if answer.as_deref() != Some(b"u:r:literal") {
        data::say_not_run("a libselinux before 3.8.1, which is of another mind");
        return;
    }
    let mut differences = 0;
    let lists = lists();
    for (name, policy) in policies() {
        let (contexts, judge) =
            (FileContexts::parse(&policy).unwrap(), Libselinux::open(&policy).unwrap());
        let expansions = expansions(&policy);
        let mut count = 0;
        for asked in lists.iter().flat_map(|(_, asked)| asked).chain(&expansions) {
            count += 1;
            let judged = judge.lookup(asked.0.as_bytes(), asked.1);
            let judged = judged.map_or("<<none>>".to_owned(), |it| String::from_utf8(it).unwrap());
            let ours = ours(&contexts, asked);
            if ours != judged {
                differences += 1;
                eprintln!("{name}: {asked:?}: ours {ours}, libselinux' {judged}");
            }
        }
        eprintln!("{name}: {count} paths");
        contexts.check().unwrap();
    }
    assert_eq!(differences, 0);
}
