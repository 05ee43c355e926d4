//! The fuzz targets with their seeds, so that they cannot rot: no fuzzer is needed for that.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "a library of its own")]
mod fuzz;

#[test]
fn every_invariant_holds_for_the_seeds() {
    for target in fuzz::TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.len() > 1, "{}", target.name);
        (target.run)(b"");
        for seed in seeds {
            (target.run)(&seed);
            for end in [seed.len() / 3, seed.len() / 2, seed.len().saturating_sub(1)] {
                (target.run)(&seed[..end]);
            }
        }
    }
}

/// Changed seeds, always the same: `O2S_FUZZ_ROUNDS` says how many of each.
#[test]
fn every_invariant_holds_for_changed_seeds() {
    let rounds = std::env::var("O2S_FUZZ_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut state = 1u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap() % end.max(1)
    };
    for target in fuzz::TARGETS {
        for seed in (target.seeds)().iter().filter(|seed| !seed.is_empty()) {
            for _ in 0..rounds {
                let mut data = seed.clone();
                for _ in 0..=below(3) {
                    let at = below(data.len());
                    match below(4) {
                        0 => data[at] = u8::try_from(below(256)).unwrap(),
                        1 => data[at] ^= 1 << below(8),
                        2 => data[at] = seed[below(seed.len())],
                        _ => {
                            let end = at + below((data.len() - at).min(16));
                            let part = data[at..end].to_vec();
                            let to = below(data.len());
                            data.splice(to..to, part);
                        }
                    }
                }
                let result = std::panic::catch_unwind(|| (target.run)(&data));
                assert!(result.is_ok(), "{}: {}", target.name, data.escape_ascii());
            }
        }
    }
}

#[test]
fn every_target_can_be_run() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(fuzz.join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(fs::read_to_string(&path).unwrap().contains(&format!("::{name}::run(data)")));
        assert!(fuzz.join("src").join(format!("{name}.rs")).exists(), "{name}");
        files += 1;
    }
    for target in fuzz::TARGETS {
        assert!(fuzz.join("fuzz_targets").join(format!("{}.rs", target.name)).exists());
    }
    // Two have doors in the library, where their tests are.
    assert_eq!(files, fuzz::TARGETS.len() + 2);
}

/// `fuzz/seed`
#[test]
#[ignore = "writes fuzz/corpus"]
fn write_the_seeds() {
    for target in fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
        fs::create_dir_all(&corpus).unwrap();
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number:03}")), seed).unwrap();
        }
    }
}
