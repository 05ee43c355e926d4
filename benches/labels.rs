//! How long a policy takes to compile, and how long its labels take to be found.
//!
//! `cargo bench --bench labels [-- DIRECTORY LIST]`: a directory with `file_contexts`, and a file (or
//! `-` for none) with a mode in octal, a tab and a path on each line. Without them, the shared data.

use std::path::Path;
use std::time::{Duration, Instant};

use oci2sysext::selinux::{FileContexts, Lookup, PolicyFiles};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [directory, list] = &arguments[..] else {
        println!("usage: labels DIRECTORY LIST");
        return;
    };
    let policy = policy(Path::new(directory));
    let text = std::fs::read(list).expect("a readable list");
    let paths: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(path).collect();

    let rounds = 9;
    let mut times = [(); 4].map(|()| Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        let contexts = FileContexts::parse(&policy).expect("a good policy");
        times[0].push(started.elapsed());
        for round in 0..2 {
            let started = Instant::now();
            let labelled = paths
                .iter()
                .filter(|(path, mode)| matches!(contexts.lookup(path, *mode), Lookup::Label(_)));
            let labelled = std::hint::black_box(labelled.count());
            times[1 + round].push(started.elapsed());
            assert!(labelled <= paths.len());
        }
        times[3].push(started.elapsed());
        contexts.check().expect("a policy that can be matched");
    }
    let [parse, cold, warm, _] = times.map(median);
    let each = |time: Duration| time.as_secs_f64() * 1e9 / paths.len() as f64;
    println!("{} paths, medians of {rounds}", paths.len());
    println!("parse          {parse:?}");
    println!("first lookups  {cold:?}, {:.0} ns each", each(cold));
    println!("again          {warm:?}, {:.0} ns each", each(warm));
    println!("parse + first  {:?}, {:.0} ns each", parse + cold, each(parse + cold));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn policy(directory: &Path) -> PolicyFiles {
    let read = |name: &str| std::fs::read(directory.join(name)).ok();
    PolicyFiles {
        policy_type: String::new(),
        file_contexts: read("file_contexts").expect("a file_contexts"),
        homedirs: read("file_contexts.homedirs"),
        local: read("file_contexts.local"),
        subs: read("file_contexts.subs"),
        subs_dist: read("file_contexts.subs_dist"),
    }
}

fn path(line: &[u8]) -> Option<(&[u8], u16)> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let mode = std::str::from_utf8(&line[..tab]).ok()?;
    Some((&line[tab + 1..], u16::from_str_radix(mode, 8).ok()?))
}
