//! Small random policies in which much overlaps, and paths that hit them.

use std::fmt::Write;

use oci2sysext::selinux::PolicyFiles;

use super::Question;

const CODES: [&str; 8] = ["--", "-d", "-l", "-b", "-c", "-p", "-s", "any"];
const COMPONENTS: [&str; 9] = ["usr", "lib", "a", "b", "a.b", "ab", "c++", "x-y", "a_b"];
const META: [&str; 21] = [
    ".*",
    "[^/]*",
    "(/.*)?",
    "a?",
    ".",
    "[ab]",
    "(a|b)",
    "(usr|lib)",
    "a+",
    "[^a]",
    "(?:a|/b)+",
    ".*b",
    "a{1,2}",
    "(?!a).*",
    "(?=a)[^/]+",
    "(.)\\1?",
    "[[:alpha:]]+",
    "b*?",
    "a*+",
    "\\w+",
    "(/b)*",
];

/// xorshift64*
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.below(2);
        }
        random
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end
    }

    pub fn one_in(&mut self, end: usize) -> bool {
        self.below(end) == 0
    }

    pub fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// The policy and the questions of a seed.
pub fn case(seed: u64) -> (PolicyFiles, Vec<Question>) {
    let random = &mut Random::new(seed);
    let mut types = 0;
    let rules = 1 + random.below(8);
    let file_contexts = file(random, rules, &mut types);
    let mut optional = |random: &mut Random| {
        let rules = random.below(4);
        random.one_in(3).then(|| file(random, rules, &mut types))
    };
    let (homedirs, local) = (optional(random), optional(random));
    let subs = random.one_in(4).then(|| substitutions(random));
    let subs_dist = random.one_in(4).then(|| substitutions(random));
    let policy = PolicyFiles {
        policy_type: "generated".to_owned(),
        file_contexts,
        homedirs,
        local,
        subs,
        subs_dist,
    };
    let questions = (0..12).map(|_| question(random)).collect();
    (policy, questions)
}

/// A policy, to be read by people.
pub fn show(policy: &PolicyFiles) -> String {
    let mut text = String::from_utf8_lossy(&policy.file_contexts).into_owned();
    for (name, file) in [
        ("homedirs", &policy.homedirs),
        ("local", &policy.local),
        ("subs", &policy.subs),
        ("subs_dist", &policy.subs_dist),
    ] {
        if let Some(file) = file {
            let _ = write!(text, "[{name}]\n{}", String::from_utf8_lossy(file));
        }
    }
    text
}

fn file(random: &mut Random, rules: usize, types: &mut usize) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..rules {
        let pattern = pattern(random);
        let code = if random.one_in(2) { "" } else { CODES[random.below(7)] };
        *types += 1;
        let context =
            if random.one_in(6) { "<<none>>".to_owned() } else { format!("u:r:t{types}:s0") };
        let _ = writeln!(text, "{pattern}\t{code}\t{context}");
        // The same once more, perhaps for another type.
        if random.one_in(8) {
            let code = CODES[random.below(3)];
            let _ = writeln!(text, "{pattern} {code} u:r:twin{types}:s0");
        }
    }
    text.into_bytes()
}

fn pattern(random: &mut Random) -> String {
    let mut pattern = String::new();
    for _ in 0..=random.below(4) {
        pattern.push_str(if random.one_in(20) { "//" } else { "/" });
        for _ in 0..=usize::from(random.one_in(5)) {
            if random.one_in(4) {
                pattern.push_str(random.pick(&META));
            } else {
                let component = random.pick(&COMPONENTS);
                if random.one_in(8) {
                    pattern.push_str(&component.replace('+', "\\+"));
                } else {
                    pattern.push_str(
                        &component.replace('.', "\\.").replace('+', "\\+").replace('-', "\\-"),
                    );
                }
            }
        }
    }
    match random.below(24) {
        0..4 => pattern.push_str("(/.*)?"),
        4..7 => pattern.push_str("/.*"),
        7 => pattern.push_str("|/a/b"),
        8 => pattern.push('/'),
        9 => pattern.push('\\'),
        10 => pattern.insert(0, '^'),
        11 => pattern.insert_str(0, ".*"),
        12 => pattern.push('$'),
        13 => pattern.insert_str(0, "(/usr)?"),
        14 => pattern.push_str("\\/a"),
        _ => {}
    }
    pattern
}

fn plain_path(random: &mut Random) -> String {
    let components = 1 + random.below(4);
    (0..components).fold(String::new(), |path, _| path + "/" + random.pick(&COMPONENTS))
}

fn substitutions(random: &mut Random) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..=random.below(4) {
        let short = |random: &mut Random| {
            let mut path = plain_path(random);
            if random.one_in(2) {
                path.truncate(path[1..].find('/').map_or(path.len(), |end| end + 1));
            }
            match random.below(12) {
                0 => "/".to_owned(),
                1 => path + "/",
                _ => path,
            }
        };
        let (from, mut to) = (short(random), short(random));
        if random.one_in(16) {
            to.remove(0);
        }
        let _ = writeln!(text, "{from} {}", if to.is_empty() { "a" } else { &to });
    }
    text.into_bytes()
}

fn question(random: &mut Random) -> Question {
    let mut path = plain_path(random);
    match random.below(20) {
        0 => path.push('/'),
        1 => path = path.replacen('/', "//", 1 + random.below(3)),
        2 => path.push('\n'),
        3 => path.push_str("/a/b/a/b"),
        4 => path.truncate(1),
        5 => path.push('b'),
        _ => {}
    }
    Question { code: random.pick(&CODES).to_owned(), path }
}
