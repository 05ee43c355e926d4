//! What a signature does not say: the name behind a tag (row 37) and the time (row 38).

use std::fs;

use serde_json::{Value, json};

use crate::common::command::Workdir;
use crate::common::layout::{Image, digest};
use crate::common::need;
use crate::common::tarball::Tarball;
use crate::{Site, image_of, site};

impl Site {
    /// The words of a conversion of `name` (`repository:tag`) in this registry.
    fn words(&self, name: &str) -> Vec<String> {
        vec![
            format!("{}/{name}", self.host()),
            "--tls-verify=false".to_owned(),
            "--force".to_owned(),
            format!("--key={}", self.first.public().display()),
        ]
    }
}

fn and<'w>(words: &'w [String], more: &[&'w str]) -> Vec<&'w str> {
    words.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

const TIME: &str = "2026-01-01T00:00:00Z";
const TITLE: &str = "org.opencontainers.image.title";

/// A signed image of another name, served under this tag.
#[test]
fn row_37_another_name() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let release = Tarball::minimal().file("usr/lib/extension-release.d/extension-release.gdb", b"");
    let shipped = Image::new(&release.finish());
    let titled = image_of(TIME, &json!({ TITLE: "gdb" }));
    let plain = image_of(TIME, &json!({}));
    let cases: [(&str, &Image, Value); 4] = [
        ("title", &titled, Value::Null),
        ("annotation", &plain, json!({ "name": "gdb" })),
        ("shipped", &shipped, Value::Null),
        ("none", &plain, Value::Null),
    ];
    for (what, image, optional) in &cases {
        let repository = format!("row37/{what}");
        // The registry serves what was signed as 41.gdb for both.
        for tag in ["41.gdb", "41.iwd"] {
            site.push_signed(&repository, tag, image, optional);
        }
        let work = Workdir::new();
        let (gdb, iwd) = (format!("{repository}:41.gdb"), format!("{repository}:41.iwd"));
        let (gdb, iwd) = (site.words(&gdb), site.words(&iwd));
        let right = work.converts(&gdb);
        if *what == "none" {
            let wrong = work.converts(&iwd);
            for outcome in [right, wrong] {
                assert!(outcome.stderr.contains("the tag is not signed"), "{outcome:#?}");
            }
            work.refuses(5, and(&iwd, &["--require-name"]));
            work.refuses(5, and(&gdb, &["--require-name"]));
            continue;
        }
        assert!(!right.stderr.contains("the tag is not signed"), "{what}: {right:#?}");
        work.converts(and(&gdb, &["--require-name"]));
        let refused = work.refuses(5, &iwd);
        assert!(refused.stderr.contains("gdb"), "{what}: {refused:#?}");
        work.refuses(5, and(&gdb, &["-o", "iwd.raw"]));
        work.refuses(5, and(&gdb, &["--name", "iwd"]));
        work.converts(and(&iwd, &["-o", "gdb.raw"]));
        let renamed = work.converts(and(&iwd, &["--rename", "--json"])).json();
        assert_eq!(renamed["extension"]["name"], "iwd", "{what}");
        let release = "usr/lib/extension-release.d/extension-release.iwd";
        assert_eq!(renamed["extension"]["release_file"], release, "{what}");
        let verified =
            work.run(and(&iwd, &["--json"]).iter().copied().filter(|w| *w != "--force").fold(
                vec!["verify"],
                |mut words, word| {
                    words.push(word);
                    words
                },
            ));
        // The layer is not fetched, so what it ships is not known.
        assert_eq!(verified.code, if *what == "shipped" { 0 } else { 5 }, "{what}: {verified:#?}");
    }
    // By digest nothing can be served in its place.
    let by_digest = format!("row37/none@{}", site.push("row37/none:41.iwd", &plain));
    let outcome = Workdir::new().converts(site.words(&by_digest));
    assert!(!outcome.stderr.contains("the tag is not signed"), "{outcome:#?}");
}

/// skopeo signs the tag: another extension's is no good.
#[test]
fn row_37_a_signed_tag() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let image = image_of("2026-01-01T00:00:00Z", &json!({}));
    for tag in ["41.gdb", "41.iwd", "latest"] {
        site.push(&format!("row37/tag:{tag}"), &image);
    }
    let digest = site.push("row37/tag:41.gdb", &image);
    let name = format!("{}/row37/tag:41.gdb", site.host());
    let payload = crate::payload(&name, &digest, &Value::Null);
    site.sign("row37/tag", &digest, &[(payload.clone(), site.first.sign(payload.as_bytes()))]);
    let work = Workdir::new();
    let right = work.converts(and(&site.words("row37/tag:41.gdb"), &["--require-name"]));
    assert!(!right.stderr.contains("the tag is not signed"), "{right:#?}");
    work.refuses(5, site.words("row37/tag:41.iwd"));
    work.converts(and(&site.words("row37/tag:41.iwd"), &["--rename"]));
    work.converts(and(&site.words("row37/tag:latest"), &["-o", "gdb.raw"]));
}

/// Forward only, for each tag; back when the user says so.
#[test]
fn row_38_an_older_image() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let (old, new) = (
        image_of("2026-01-01T00:00:00Z", &json!({})),
        image_of("2026-02-01T00:00:00Z", &json!({})),
    );
    let serve = |image: &Image| site.push_signed("row38/a", "1.tool", image, &Value::Null);
    let work = Workdir::new();
    let words = site.words("row38/a:1.tool");
    let old_digest = serve(&old);
    work.converts(&words);
    serve(&new);
    work.converts(&words);
    let published = fs::read(work.out("tool.raw")).unwrap();
    serve(&old);
    let refused = work.refuses(5, &words);
    assert!(refused.stderr.contains("--allow-downgrade"), "{refused:#?}");
    assert_eq!(fs::read(work.out("tool.raw")).unwrap(), published);
    // verify is of the same mind, and remembers as well.
    let verify: Vec<_> = std::iter::once("verify")
        .chain(and(&words, &[]).into_iter().filter(|w| *w != "--force"))
        .collect();
    assert_eq!(work.run(&verify).code, 5);
    // What a digest names is meant; it is not remembered.
    let by_digest = site.words(&format!("row38/a@{old_digest}"));
    work.converts(and(&by_digest, &["-o", "tool.raw"]));
    assert_eq!(work.run(&verify).code, 5);
    // Another tag of it, and another state.
    site.copy("row38/a:1.tool", "row38/a:2.tool");
    work.converts(site.words("row38/a:2.tool"));
    Workdir::new().converts(&words);
    // An image that nobody vouches for does not raise the mark.
    let skip = words.iter().filter(|word| !word.starts_with("--key"));
    let skip: Vec<_> = skip.map(String::as_str).chain(["--insecure-skip-signature"]).collect();
    work.converts(&skip);
    work.converts(and(&words, &["--allow-downgrade"]));
    work.converts(&words);
    // A failed run remembers nothing: the newer one is refused for another reason.
    serve(&new);
    work.refuses(5, and(&words, &["--require-name"]));
    serve(&old);
    work.converts(&words);

    // A state that somebody changed is no empty one.
    let state = work.path("state");
    let entries: Vec<_> =
        fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        fs::write(entry, "{}").unwrap();
    }
    let refused = work.refuses(3, &words);
    assert!(refused.stderr.contains("remove"), "{refused:#?}");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "a file").unwrap();
    work.refuses(12, &words);
}

/// Where two images say the same time of building, or none, nobody knows which is the older: the
/// user is told, once for each change.
#[test]
fn row_38_another_image_of_the_same_time() {
    const CHANGED: &str = "nothing says which of them is the older";
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let (one, other) =
        (image_of(TIME, &json!({})), image_of(TIME, &json!({ "description": "other" })));
    let serve = |image: &Image| site.push_signed("row38/same", "1.tool", image, &Value::Null);
    let work = Workdir::new();
    let words = site.words("row38/same:1.tool");
    let mut last: Option<String> = None;
    for (image, changed) in [(&one, false), (&one, false), (&other, true), (&other, false)] {
        let digest = serve(image);
        let outcome = work.converts(&words);
        assert_eq!(outcome.stderr.contains(CHANGED), changed, "{outcome:#?}");
        if let Some(last) = last.filter(|_| changed) {
            assert!(outcome.stderr.contains(&*last), "{outcome:#?}");
        }
        last = Some(digest);
    }
}

/// Revoked digests, ages and annotations.
#[test]
fn what_is_demanded_besides() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let image = image_of("2026-01-01T00:00:00Z", &json!({}));
    let optional = json!({ "name": "tool", "version": "1" });
    let signed = site.push_signed("demands/a", "1.tool", &image, &optional);
    let layer = image.manifest["layers"][1]["digest"].as_str().unwrap();
    let diff_id = image.config["rootfs"]["diff_ids"][0].as_str().unwrap();
    let work = Workdir::new();
    let words = site.words("demands/a:1.tool");
    let list = |digests: &[&str]| {
        let path = work.path("revoked");
        fs::write(&path, format!("# revoked\n{}\n", digests.join(" # why\n"))).unwrap();
        path.display().to_string()
    };
    let other = digest(b"other");
    work.converts(and(&words, &["--deny-digests", &list(&[&other])]));
    for revoked in [&*signed, layer, diff_id] {
        let refused = work.refuses(5, and(&words, &["--deny-digests", &list(&[&other, revoked])]));
        assert!(refused.stderr.contains(revoked), "{refused:#?}");
    }
    work.refuses(3, and(&words, &["--deny-digest-file", &list(&["sha256:0"])]));
    work.refuses(3, and(&words, &["--deny-digests", "missing"]));
    work.converts(and(&words, &["-a", "name=tool", "-a", "version=1", "--require-name"]));
    work.refuses(4, and(&words, &["-a", "version=2"]));
    work.refuses(4, and(&words, &["-a", "Version=1"]));
    work.refuses(2, and(&words, &["-a", "version=1", "-a", "version=2"]));
    work.refuses(5, and(&words, &["--max-age", "52w"]));
}

/// Who has no place for a state is told, and served; a place that was named must do.
#[test]
fn a_state_without_a_place() {
    let site = need!(site(), "no docker-registry, openssl or skopeo");
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let setpriv = need!(crate::tools::system("setpriv"), "no setpriv");
    if !rustix::process::geteuid().is_root() {
        crate::common::not_run!("needs root");
    }
    let image = image_of(TIME, &json!({}));
    site.push_signed("state/a", "1.tool", &image, &Value::Null);
    // Its key must be readable by others.
    let open = tempfile::tempdir().unwrap();
    let mode = |path: &std::path::Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(open.path(), 0o777);
    let (key, program) = (open.path().join("key.pub"), open.path().join("oci2sysext"));
    fs::copy(site.first.public(), &key).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_oci2sysext"), &program).unwrap();
    mode(&key, 0o644);
    mode(&program, 0o755);
    let run = |variable: &str, value: &str, more: &[&str]| {
        let mut command = std::process::Command::new(&setpriv);
        command.args(nobody).arg(&program).arg("verify").arg("--tls-verify=false");
        command.arg("--key").arg(&key).arg(format!("{}/state/a:1.tool", site.host()));
        command.args(more).current_dir(open.path()).env_clear().env(variable, value);
        crate::common::command::Outcome::of(&mut command)
    };
    for (variable, value) in [("HOME", "/nonexistent"), ("NONE", "")] {
        let outcome = run(variable, value, &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert!(outcome.stderr.contains("will not be noticed"), "{outcome:#?}");
    }
    assert_eq!(run("HOME", "/nonexistent", &["--state-dir", "/nonexistent/state"]).code, 12);
    let own = open.path().join("state").display().to_string();
    let outcome = run("XDG_STATE_HOME", &own, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(!outcome.stderr.contains("will not be noticed"), "{outcome:#?}");
    assert_eq!(fs::read_dir(open.path().join("state/oci2sysext")).unwrap().count(), 1);
}
