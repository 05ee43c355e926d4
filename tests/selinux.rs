//! Labels against what libselinux gives: recorded cases, a real policy, and a judge where one of
//! the right age is installed.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests may panic")]

mod common;
mod selinux_judge;

use std::fmt::Write;
use std::io::Read;

use oci2sysext::error::{ExitCode, Fault};
use oci2sysext::selinux::{Error, FileContexts, Lookup, PolicyFiles};
use selinux_judge::{Judge, Question, contexts, generator};

struct Case {
    title: String,
    policy: PolicyFiles,
    questions: Vec<(Question, String)>,
}

/// The cases of testdata/selinux/cases.txt, which explains its format.
fn cases() -> Vec<Case> {
    let text = include_str!("../testdata/selinux/cases.txt");
    let (_, text) = text.split_once("\n== ").unwrap();
    text.split("\n== ").map(case).collect()
}

fn case(text: &str) -> Case {
    let (title, body) = text.split_once('\n').unwrap();
    let mut policy = PolicyFiles::default();
    let mut questions = Vec::new();
    let mut file = "";
    for line in body.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            file = name;
            continue;
        }
        let target = match file {
            "" => &mut policy.file_contexts,
            "homedirs" => policy.homedirs.get_or_insert_default(),
            "local" => policy.local.get_or_insert_default(),
            "subs" => policy.subs.get_or_insert_default(),
            "subs_dist" => policy.subs_dist.get_or_insert_default(),
            "?" => {
                if let [code, path, answer] = line.split(' ').collect::<Vec<_>>()[..] {
                    let question = Question { code: code.to_owned(), path: path.to_owned() };
                    questions.push((question, contexts(answer)));
                }
                continue;
            }
            other => panic!("{other}"),
        };
        target.extend_from_slice(contexts(line).as_bytes());
        target.push(b'\n');
    }
    Case { title: title.to_owned(), policy, questions }
}

/// The answer of ours, as the cases write it.
fn answer(contexts: &FileContexts, question: &Question) -> String {
    match contexts.lookup(question.path.as_bytes(), question.mode()) {
        Lookup::Label(label) => String::from_utf8(label.to_vec()).unwrap(),
        Lookup::None => "<<none>>".to_owned(),
        Lookup::NoMatch => "-".to_owned(),
    }
}

/// A policy, and path, mode and label of many files.
type Fedora = (PolicyFiles, Vec<(Vec<u8>, u16, Vec<u8>)>);

fn fedora() -> Option<Fedora> {
    let root = common::data::needed("selinux/fedora-37")?;
    let files = root.join("etc/selinux/targeted/contexts/files");
    let read = |suffix: &str| std::fs::read(files.join(format!("file_contexts{suffix}"))).ok();
    let policy = PolicyFiles {
        policy_type: "targeted".to_owned(),
        file_contexts: read("").unwrap(),
        homedirs: read(".homedirs"),
        local: read(".local"),
        subs: read(".subs"),
        subs_dist: read(".subs_dist"),
    };
    let mut table = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(root.join("labels.tsv.gz")).unwrap())
        .read_to_end(&mut table)
        .unwrap();
    let lines = table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let labels = lines.map(|line| {
        let mut fields = line.split(|&byte| byte == b'\t');
        let mut field = || fields.next().unwrap().to_vec();
        let (path, mode, label) = (field(), field(), field());
        let mode = u32::from_str_radix(str::from_utf8(&mode).unwrap(), 8).unwrap();
        (path, u16::try_from(mode).unwrap(), label)
    });
    Some((policy, labels.collect()))
}

#[test]
fn recorded_cases_are_answered_as_by_libselinux() {
    let judge = Judge::find();
    for case in cases() {
        assert!(!case.questions.is_empty(), "{}", case.title);
        let contexts = FileContexts::parse(&case.policy).unwrap();
        for (question, expected) in &case.questions {
            assert_eq!(answer(&contexts, question), *expected, "{}: {question:?}", case.title);
        }
        contexts.check().unwrap();
        if let Some(judge) = &judge {
            let questions: Vec<_> = case.questions.iter().map(|(question, _)| question).collect();
            for ((question, expected), judged) in
                case.questions.iter().zip(judge.answers(&case.policy, &questions))
            {
                let expected = if expected == "-" { "<<none>>" } else { expected };
                assert_eq!(judged, expected, "the judge on {}: {question:?}", case.title);
            }
        }
    }
}

#[test]
fn a_final_newline_is_passed_over() {
    let policy = PolicyFiles {
        file_contexts: b"/a/b.* u:r:b\n/a/[^c] u:r:c\n/a/d u:r:d\n".to_vec(),
        ..PolicyFiles::default()
    };
    let contexts = FileContexts::parse(&policy).unwrap();
    let label = |path: &[u8]| contexts.lookup(path, 0o100_644);
    assert_eq!(label(b"/a/b\n"), Lookup::Label(b"u:r:c"));
    assert_eq!(label(b"/a/b\n\n"), Lookup::Label(b"u:r:b"));
    assert_eq!(label(b"/a/x\n"), Lookup::Label(b"u:r:c"));
    assert_eq!(label(b"/a/\xff"), Lookup::Label(b"u:r:c"));
    assert_eq!(label(b"/a/d"), Lookup::Label(b"u:r:d"));
    assert_eq!(label(b"/a/d\n"), Lookup::Label(b"u:r:c"), "not of an exact path");
}

#[test]
fn every_label_of_a_fedora_host_is_found() {
    let Some((policy, labels)) = fedora() else { return };
    let contexts = FileContexts::parse(&policy).unwrap();
    assert_eq!(labels.len(), 22_010);
    for (path, mode, label) in &labels {
        let found = contexts.lookup(path, *mode);
        assert_eq!(found, Lookup::Label(label), "{}", String::from_utf8_lossy(path));
    }
    contexts.check().unwrap();
}

/// Every release agrees there; elsewhere only 3.8.1 and newer would (R31).
#[cfg(feature = "libselinux")]
#[test]
fn libselinux_agrees_on_a_fedora_host() {
    let Some((policy, labels)) = fedora() else { return };
    let judge = oci2sysext::selinux::libselinux::Libselinux::open(&policy).unwrap();
    // libselinux 3.4 takes 100 µs for each.
    for (path, mode, label) in labels.iter().step_by(7) {
        assert_eq!(judge.lookup(path, *mode).as_ref(), Some(label));
    }
    assert_eq!(judge.lookup(b"/proc/x", 0o100_000), None, "a <<none>>");
}

/// Also where it is of another mind than ours, as old releases are of such a policy (R31).
#[cfg(feature = "libselinux")]
#[test]
fn libselinux_labels_what_it_is_asked_to() {
    use common::layout::{Image, Layout};
    use common::tarball::{Tarball, gzip};
    let policy = PolicyFiles {
        file_contexts:
            b"/.* u:r:all:s0\n/usr/bin/tool -- u:r:literal:s0\n/usr/bin/tool u:r:last:s0\n".to_vec(),
        ..PolicyFiles::default()
    };
    let judge = oci2sysext::selinux::libselinux::Libselinux::open(&policy).unwrap();
    let label = String::from_utf8(judge.lookup(b"/usr/bin/tool", 0o100_000).unwrap()).unwrap();
    let base = Tarball::new()
        .file("etc/os-release", b"ID=x\nVERSION_ID=1\n")
        .file("etc/selinux/config", b"")
        .file("etc/selinux/targeted/contexts/files/file_contexts", &policy.file_contexts)
        .finish();
    let layer = Tarball::minimal().finish();
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
    let (work, reference) = (common::command::Workdir::new(), layout.reference());
    for (engine, label) in [("own", "u:r:literal:s0"), ("libselinux", &label)] {
        let arguments = ["--insecure-skip-signature", "--force", "-o", "demo.raw", &reference];
        work.converts(arguments.iter().chain(&["--selinux-engine", engine]));
        let dump = work.run(["dump", "demo.raw"]).stdout;
        let line = dump.lines().find(|line| line.starts_with("/usr/bin/tool ")).unwrap();
        assert!(line.ends_with(&format!("security.selinux={label}\\x00")), "{engine}: {line}");
    }
}

#[test]
fn threads_share_a_policy() {
    let Some((policy, labels)) = fedora() else { return };
    let contexts = FileContexts::parse(&policy).unwrap();
    std::thread::scope(|scope| {
        for part in labels.chunks(6000) {
            let contexts = &contexts;
            scope.spawn(move || {
                for (path, mode, label) in part {
                    assert_eq!(contexts.lookup(path, *mode), Lookup::Label(label));
                }
            });
        }
    });
}

#[test]
fn a_bad_policy_is_refused() {
    let parse = |text: &str| {
        let local = Some(text.as_bytes().to_vec());
        FileContexts::parse(&PolicyFiles { local, ..PolicyFiles::default() }).unwrap_err()
    };
    for text in ["/a/(b u:r:t", "# x\n/a/[b u:r:t", "/a/b** u:r:t", "/a", "/a -x u:r:t"] {
        let error = parse(text);
        assert_eq!(error.exit_code(), ExitCode::Malformed, "{error}");
        assert!(error.to_string().starts_with("file_contexts.local, line "), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let too_long = format!("/{}.* u:r:t", "a".repeat(4096));
    assert!(
        FileContexts::parse(&PolicyFiles {
            file_contexts: too_long.into_bytes(),
            ..PolicyFiles::default()
        })
        .is_ok(),
        "only PCRE2 has a limit"
    );
    assert_eq!(parse(&"/(?!a) u:r:t\n".repeat(1001)).exit_code(), ExitCode::Limit);
    assert_eq!(parse(&"/(a{1000}){15} u:r:t\n".repeat(1000)).exit_code(), ExitCode::Limit);
    assert_eq!(parse(&"\n".repeat(200_001)).exit_code(), ExitCode::Limit);
}

#[test]
fn a_hostile_policy_cannot_hang_a_lookup() {
    for pattern in ["/(?=a)(a|a)*b", "/.*a.{4000}"] {
        let mut text = format!("/ u:r:t\n{pattern} u:r:t\n");
        for n in 0..40 {
            writeln!(text, "/.*a[ab]{{{n}}}b.{{400}}c{n} u:r:t").unwrap();
        }
        let contexts = FileContexts::parse(&PolicyFiles {
            file_contexts: text.into(),
            ..PolicyFiles::default()
        })
        .unwrap();
        let started = std::time::Instant::now();
        let mut seed = 1_u32;
        for _ in 0..2000 {
            let path: String = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if seed & 0x1_0000 == 0 { 'a' } else { 'b' }
            })
            .take(1000)
            .collect();
            contexts.lookup(format!("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{path}c").as_bytes(), 0);
        }
        assert!(matches!(contexts.check(), Err(Error::TooSlow { .. })));
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }
}

/// With `O2S_SELINUX_CASES=N`, N generated policies are compared with the judge; else a few.
#[test]
fn generated_policies_are_answered_as_by_libselinux() {
    let Some(judge) = Judge::find() else {
        eprintln!("not run: generated policies (no selabel_lookup of libselinux 3.8.1 or newer)");
        return;
    };
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let count = variable("O2S_SELINUX_CASES").unwrap_or(20);
    let seed = variable("O2S_SELINUX_SEED").unwrap_or(1);
    let mut differences = 0;
    for number in 0..count {
        let (policy, questions) = generator::case(seed.wrapping_add(number));
        let contexts = FileContexts::parse(&policy);
        let questions: Vec<_> = questions.iter().collect();
        let judged = judge.answers(&policy, &questions);
        let contexts = match contexts {
            Ok(contexts) => contexts,
            Err(e) => panic!("case {number}: {e}\n{}", generator::show(&policy)),
        };
        for (question, judged) in questions.into_iter().zip(judged) {
            let ours = answer(&contexts, question);
            let ours = if ours == "-" { "<<none>>" } else { &ours };
            if ours != judged {
                differences += 1;
                eprintln!(
                    "case {number}: {question:?}: ours {ours}, judge {judged}\n{}",
                    generator::show(&policy)
                );
            }
        }
    }
    assert_eq!(differences, 0);
}
