//! Signatures that are absent, wrong, hostile or too many: rows 1–14.

use std::fs;

use crate::common::hub::{Hub, TAG};
use crate::common::layout::{Image, Layout, REPOSITORY, digest, payload};
use crate::common::need;
use crate::common::tarball::Tarball;
use crate::{expect, expect_of, expect_run, key};

/// Payloads, and what their annotations say.
type Offered<'a> = Vec<(&'a str, String)>;

fn minimal() -> Image {
    Image::new(&Tarball::minimal().finish())
}

/// Rows 1, 3, 4, 6, 8–12, 14: what is offered as a signature, in a layout and in a registry.
#[test]
fn rows_1_to_14_what_is_offered_as_a_signature() {
    let (key, stranger) = need!(key().zip(key()), "no openssl");
    let image = Layout::new().add_image(&minimal());
    let good = payload(&image);
    let sign = |payload: &str| key.sign(payload.as_bytes());
    let flipped = good.replacen("optional", "optionaL", 1);
    let other = payload(&digest(b"another image"));
    let twice = good.replacen("{\"critical\":", "{\"critical\":{},\"critical\":", 1);
    let inner = good.replacen("\"image\":{", "\"image\":{},\"image\":{", 1);
    let case = good.replacen("docker-manifest-digest", "Docker-Manifest-Digest", 1);
    let unknown = good.replacen("{\"identity\"", "{\"extra\":1,\"identity\"", 1);
    let kind = good.replacen("cosign container image signature", "atomic container signature", 1);
    let trailing = format!("{good} x");
    let two = format!("{good}{good}");
    let broken = sign(&good).replacen('M', "!", 1);
    let unpadded = format!("{}=", sign(&good).trim_end_matches('='));
    let foreign_name = good.replacen(REPOSITORY, "registry.example/another/image", 1);
    let folded = {
        let text = sign(&good);
        let (head, tail) = text.split_at(20);
        format!("{head}\r\n{tail}")
    };
    let spaced = sign(&good).replacen('M', " M", 1);
    let refused = "4 verify.signature";

    let cases: Vec<(&str, &str, Offered)> = vec![
        ("1", "4 verify.unsigned", vec![]),
        ("3", refused, vec![(&good, stranger.sign(good.as_bytes()))]),
        ("4", refused, vec![(&other, sign(&other))]),
        ("6", refused, vec![(&flipped, sign(&good))]),
        ("8", refused, vec![(&twice, sign(&twice))]),
        ("8", refused, vec![(&inner, sign(&inner))]),
        ("9", refused, vec![(&case, sign(&case))]),
        ("9", refused, vec![(&unknown, sign(&unknown))]),
        ("10", refused, vec![(&kind, sign(&kind))]),
        ("11", refused, vec![(&trailing, sign(&trailing))]),
        ("11", refused, vec![(&two, sign(&two))]),
        ("12", refused, vec![(&good, broken)]),
        ("12", refused, vec![(&good, unpadded + "===")]),
        ("12", refused, vec![(&good, spaced)]),
        ("12", refused, vec![(&good, String::new())]),
        ("12", "0", vec![(&good, folded)]),
        ("14", "0", vec![(&good, "Z2FyYmFnZQ==".to_owned()), (&good, sign(&good))]),
        ("good", "0", vec![(&good, sign(&good))]),
    ];
    for (row, want, signatures) in cases {
        let mut layout = Layout::new();
        layout.add_image(&minimal());
        let list: Vec<_> = signatures.iter().map(|(p, s)| (p.as_bytes(), s.as_str())).collect();
        if !list.is_empty() {
            layout.add_signatures(&list);
        }
        for outcome in [
            expect(row, want, &layout, &key, &[]),
            expect_of(row, want, &Hub::new(&layout), &key, &[]),
        ] {
            assert!(row != "14" || outcome.stderr.contains("WARN"), "{outcome:#?}");
        }
    }

    // A local layout has no name of its own.
    let mut layout = Layout::new();
    layout.add_image(&minimal());
    layout.add_signatures(&[(foreign_name.as_bytes(), &sign(&foreign_name))]);
    expect("5, local", "0", &layout, &key, &[]);
}

/// Row 5: a good signature, copied from another repository.
#[test]
fn row_5_a_signature_of_another_repository() {
    let key = need!(key(), "no openssl");
    let layout = Layout::signed(&key, &minimal());
    expect("5", "0", &layout, &key, &["--signed-identity", REPOSITORY]);
    let other = ["--signed-identity", "registry.example/another/image"];
    expect("5", "5 verify.signed-name", &layout, &key, &other);

    // The name asked for is the registry's own address, which nobody signed.
    let hub = Hub::new(&layout);
    let asked = hub.arguments(&key).into_iter().filter(|it| !it.starts_with("--signed-identity"));
    let outcome = expect_run("5", "5 verify.signed-name", asked);
    assert!(outcome.stderr.contains(REPOSITORY), "what was signed: {outcome:#?}");
    assert!(outcome.stderr.contains(&hub.server.host()), "what was asked for: {outcome:#?}");
}

/// Row 7: a signature's blob that is not what its descriptor says.
#[test]
fn row_7_a_changed_signature_blob() {
    let key = need!(key(), "no openssl");
    let mut layout = Layout::new();
    let image = layout.add_image(&minimal());
    layout.sign(&key, &image);
    let name = digest(payload(&image).as_bytes());
    let want = "6 verify.signature-unusable";
    for (from, to) in [("null", "nul1"), ("null", "null "), ("null", "nul")] {
        let spoilt = payload(&image).replace(from, to);
        let path = name.clone();
        let hub = Hub::failing(&layout, {
            let spoilt = spoilt.clone();
            move |request, _, reply| {
                if request.path.ends_with(&path) {
                    crate::common::faults::Reply::ok(&*spoilt)
                } else {
                    reply
                }
            }
        });
        expect_of("7", want, &hub, &key, &[]);
        fs::write(layout.blob(&name), &spoilt).unwrap();
        expect("7", want, &layout, &key, &[]);
        fs::write(layout.blob(&name), payload(&image)).unwrap();
    }
    expect("7", "0", &layout, &key, &[]);
}

/// Row 13: more signatures, or larger ones, than anybody makes.
#[test]
fn row_13_too_many_signatures_or_too_large() {
    let key = need!(key(), "no openssl");
    let want = "9 verify.signature-unusable";
    let mut layout = Layout::new();
    layout.add_image(&minimal());
    let payloads: Vec<_> = (0..200).map(|n| format!("{{\"n\":{n}}}")).collect();
    let list: Vec<_> = (0..10_000).map(|n| (payloads[n % 200].as_bytes(), "AAAA")).collect();
    layout.add_signatures(&list);
    expect("13", want, &layout, &key, &[]);
    let hub = Hub::new(&layout);
    expect_of("13", want, &hub, &key, &[]);
    assert!(hub.server.requests().len() < 120, "{}", hub.server.requests().len());

    // Too large as declared: it is not even asked for. Larger than declared: it is not believed.
    let mut layout = Layout::new();
    layout.add_image(&minimal());
    let large = vec![b' '; 1 << 20];
    layout.add_signatures(&[(&large, "AAAA")]);
    expect("13", want, &layout, &key, &[]);
    let hub = Hub::new(&layout);
    expect_of("13", want, &hub, &key, &[]);
    assert_eq!(hub.asked_for(&digest(&large)), 0);

    let mut layout = Layout::new();
    layout.add_image(&minimal());
    layout.add_signatures(&[(b"small", "AAAA")]);
    let name = digest(b"small");
    let hub = Hub::failing(&layout, move |request, _, reply| {
        let endless = vec![b' '; 200 << 20];
        if request.path.ends_with(&name) {
            crate::common::faults::Reply::ok(endless)
        } else {
            reply
        }
    });
    expect_of("13", "6 verify.signature-unusable", &hub, &key, &[]);
    assert_eq!(hub.asked_for(TAG), 1);
}
