//! How long a policy takes to compile, and how long its labels take to be found.
//!
//! `cargo bench --bench labels -- DIRECTORY LIST [once]`: a directory with `file_contexts`, and a file
//! with a mode in octal, a tab and a path on each line. `once` does it once, for
//! benches/selinux/compare.py to measure the whole process.

#![expect(clippy::indexing_slicing, reason = "a broken benchmark may panic")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use oci2sysext::selinux::{FileContexts, PolicyFiles};

const ROUNDS: usize = 9;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (directory, list, rounds) = match &arguments[..] {
        [directory, list] => (directory, list, ROUNDS),
        [directory, list, once] if once == "once" => (directory, list, 0),
        _ => {
            println!("not run: labels (expected DIRECTORY LIST [once])");
            return;
        }
    };
    let policy = policy(Path::new(directory));
    let text = std::fs::read(list).expect("a readable list");
    let paths: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(path).collect();

    if rounds == 0 {
        let contexts = FileContexts::parse(&policy).expect("a good policy");
        for &(path, mode) in &paths {
            black_box(contexts.lookup(path, mode));
        }
        contexts.check().expect("a policy that can be matched");
        return;
    }
    let (mut parse, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        let contexts = FileContexts::parse(&policy).expect("a good policy");
        parse.push(started.elapsed());
        for times in [&mut first, &mut again] {
            let started = Instant::now();
            for &(path, mode) in &paths {
                black_box(contexts.lookup(path, mode));
            }
            times.push(started.elapsed());
        }
        contexts.check().expect("a policy that can be matched");
    }
    let (parse, first, again) = (median(parse), median(first), median(again));
    let count = u32::try_from(paths.len()).expect("a list of less than 4 G paths").max(1);
    println!("{count} paths, medians of {rounds} rounds");
    println!("parse           {parse:?}");
    println!("lookups, first  {first:?}, {:?} each", first / count);
    println!("lookups, again  {again:?}, {:?} each", again / count);
    println!("parse and first {:?}, {:?} each", parse + first, (parse + first) / count);
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
