//! Command lines and keys that are refused before anything is fetched: rows 18, 33, 93, 100.

use std::fs;

use crate::common::command::{Outcome, Workdir};
use crate::common::layout::{Image, Layout};
use crate::common::sign::Key;
use crate::common::tarball::Tarball;
use crate::common::{need, tools};
use crate::{expect_run, key};

fn signed(key: &Key) -> Layout {
    Layout::signed(key, &Image::new(&Tarball::minimal().finish()))
}

/// Row 18 and P6: one key that is none ends it, whatever the others are.
#[test]
fn row_18_files_that_are_no_keys() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let reference = layout.reference();
    let work = Workdir::new();
    let write = |name: &str, text: &[u8]| {
        let path = work.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let make = |name: &str, script: &str| {
        let path = work.path(name).display().to_string();
        tools::shell(&format!("{{ {script}; }} 2>/dev/null >\"$1\""), [&path]);
        path
    };
    let good = key.public().display().to_string();
    let two = format!("{0}{0}", fs::read_to_string(&good).unwrap());
    let elliptic =
        |curve| format!("openssl ecparam -name {curve} -genkey -noout | openssl ec -pubout");
    for (file, id) in [
        (write("empty.pub", b""), "trust.key"),
        (write("private.pub", &fs::read(key.private()).unwrap()), "trust.key"),
        (write("text.pub", b"not a key\n"), "trust.key"),
        (write("two.pub", two.as_bytes()), "trust.key"),
        (write("large.pub", &vec![b'\n'; 1 << 20]), "trust.unreadable"),
        (make("small.pub", "openssl genrsa 1024 | openssl rsa -pubout"), "trust.key"),
        (make("p224.pub", &elliptic("secp224r1")), "trust.key"),
        (make("k1.pub", &elliptic("secp256k1")), "trust.key"),
        (work.path("missing.pub").display().to_string(), "trust.unreadable"),
        (work.path("out").display().to_string(), "trust.unreadable"),
    ] {
        let want = format!("3 {id}");
        expect_run("18", &want, [&*reference, "--key", &file, "-o", "image.raw"]);
        let beside = [&*reference, "--key", &good, "--key", &file, "-o", "image.raw"];
        expect_run("18", &want, beside);
    }
}

/// Row 93: nobody says whose signature to expect.
#[test]
fn row_93_no_trust() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let outcome = expect_run("93", "3 trust.none", [&*layout.reference(), "-o", "image.raw"]);
    assert!(outcome.stderr.contains("--key"), "{outcome:#?}");
    // Nothing is asked of a registry then: nobody listens there.
    for reference in ["127.0.0.1:1/test/image:1.tool", "registry.invalid/test/image:1.tool"] {
        expect_run("93", "3 trust.none", [reference, "-o", "image.raw"]);
    }
}

/// Row 33, as typed, and row 100: references that name nothing that may be asked for.
#[test]
fn rows_33_and_100_references_that_are_none() {
    let key = need!(key(), "no openssl");
    let key = key.public().display().to_string();
    let hex = "0123456789abcdef".repeat(4);
    let digests = [
        "sha256:../../x".to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("SHA256:{hex}"),
        "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        String::new(),
    ];
    let images = digests.iter().map(|digest| format!("127.0.0.1:1/image@{digest}"));
    for reference in images {
        expect_run("33", "2 oci.usage", [&*reference, "--key", &key, "-o", "image.raw"]);
    }
    for reference in ["fedora", "fedora:41", "library/fedora:41", "user/image@sha256:00", ""] {
        let outcome =
            expect_run("100", "2 oci.usage", [reference, "--key", &key, "-o", "image.raw"]);
        assert!(outcome.stderr.contains("HOST"), "{outcome:#?}");
    }
}

/// Flags that are wrong or exclude each other, said for people and for machines.
#[test]
fn a_usage_error_names_the_argument() {
    let work = Workdir::new();
    for (arguments, named) in [
        (vec!["q.io/a", "--no-such-flag"], "--no-such-flag"),
        (vec!["q.io/a", "--limit", "nothing=1"], "nothing"),
        (vec!["q.io/a", "--threads", "0"], "--threads"),
        (vec!["q.io/a", "--format", "zip"], "zip"),
        (vec!["q.io/a", "--insecure-skip-signature", "--key", "k"], "--insecure-skip-signature"),
        (vec!["q.io/a", "--any-host", "--id", "x"], "--any-host"),
        (vec!["q.io/a", "q.io/b"], "q.io/b"),
        (vec!["--quiet"], "REFERENCE"),
        (vec!["dump"], "IMAGE"),
        (vec!["q.io/a", "--name"], "--name"),
        (vec!["q.io/a", "--no-such\u{1b}[31m"], "--no-such"),
    ] {
        let outcome = work.refuses(2, &arguments);
        let json = outcome.json();
        let message = json.pointer("/error/message").and_then(|it| it.as_str()).unwrap();
        assert!(message.contains(named), "{named} in {outcome:#?}");
        assert_eq!(outcome.id(), "usage");
        let text = Outcome::of(work.command().args(&arguments));
        assert_eq!((text.code, &*text.stdout), (2, ""), "{text:#?}");
        assert!(text.stderr.contains(named), "{text:#?}");
    }
}

/// Without `--json` standard output is empty; with it, the two lines are there all the same.
#[test]
fn a_refusal_for_people_says_nothing_on_standard_output() {
    let work = Workdir::new();
    let text = work.run(["oci:/nonexistent", "--insecure-skip-signature"]);
    assert_eq!((text.code, &*text.stdout), (12, ""), "{text:#?}");
    let json = work.refuses(12, ["oci:/nonexistent", "--insecure-skip-signature"]);
    assert_eq!(text.stderr, json.stderr);
}

/// A key may come through a pipe, which is read once, and no further than any key reaches.
#[test]
fn keys_come_through_pipes() {
    let key = need!(key(), "no openssl");
    let layout = signed(&key);
    let work = Workdir::new();
    let program = work.command().get_program().to_owned();
    let run = |script: &str| {
        let mut command = std::process::Command::new("timeout");
        command.args(["60", "bash", "-c", script]).arg(&program).arg(key.public());
        command.arg(layout.reference()).arg(work.path("fifo"));
        command.current_dir(work.path("out")).env("TMPDIR", work.path("tmp"));
        Outcome::of(&mut command)
    };
    for good in [
        "\"$0\" \"$2\" --key <(cat \"$1\") -o a.raw --force",
        "\"$0\" \"$2\" --key <(sleep 0.3; cat \"$1\") -o a.raw --force",
        "cat \"$1\" | \"$0\" \"$2\" --key /dev/stdin -o a.raw --force",
        "\"$0\" \"$2\" --key /dev/stdin -o a.raw --force <\"$1\"",
        "\"$0\" \"$2\" --key <(openssl ecparam -name prime256v1 -genkey -noout | \
            openssl ec -pubout 2>/dev/null) --key <(cat \"$1\") -o a.raw --force",
        "mkfifo \"$3\"; cat \"$1\" >\"$3\" & \"$0\" \"$2\" --key \"$3\" -o a.raw --force",
    ] {
        let outcome = run(good);
        assert_eq!(outcome.code, 0, "{good}: {outcome:#?}");
    }
    for bad in [
        "\"$0\" \"$2\" --key <(cat /dev/zero) -o a.raw --force",
        "\"$0\" \"$2\" --key <(true) -o a.raw --force",
        "true | \"$0\" \"$2\" --key /dev/stdin -o a.raw --force",
        "\"$0\" \"$2\" --key /dev/zero -o a.raw --force",
        "\"$0\" \"$2\" --key /dev/null -o a.raw --force",
    ] {
        let outcome = run(bad);
        assert_eq!(outcome.code, 3, "{bad}: {outcome:#?}");
    }
}
