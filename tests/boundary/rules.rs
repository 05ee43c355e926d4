//! What draws the boundary, through the program itself (R28, rows 98 and 99).

use std::fs;

use serde_json::{Value, json};

use crate::common::command::{Outcome, Workdir};
use crate::common::faults::Reply;
use crate::common::hub::{Hub, TAG};
use crate::common::layout::{Image, Layout, digest};
use crate::common::sign::{Key, Signer};
use crate::common::tarball::{Tarball, gzip};
use crate::common::{need, tools};

const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

/// Four layers: two of a base, two of an extension.
fn tars() -> [Vec<u8>; 4] {
    [
        Tarball::base(),
        Tarball::new().dir("usr").dir("usr/share").file("usr/share/of-the-base", b"base"),
        Tarball::new().dir("usr").dir("usr/share").file("usr/share/one", b"one"),
        Tarball::minimal(),
    ]
    .map(Tarball::finish)
}

fn image(tars: &[Vec<u8>]) -> Image {
    Image::of_blobs(&tars.iter().map(|tar| (gzip(tar), tar.clone())).collect::<Vec<_>>())
}

fn whole() -> Image {
    image(&tars())
}

fn base() -> Image {
    image(&tars()[..2])
}

/// The base in a layout: what is there, and the digest of its manifest.
fn base_layout() -> (Layout, String) {
    let mut layout = Layout::new();
    let digest = layout.add_image(&base());
    (layout, digest)
}

fn labelled(mut image: Image, label: &str) -> Image {
    image.config["config"]["Labels"] = json!({ "ostree.final-diffid": label });
    image
}

fn annotated(mut image: Image, name: &str, digest: &str) -> Image {
    image.manifest["annotations"] = json!({ NAME: name, DIGEST: digest });
    image
}

struct Runner {
    key: Key,
}

impl Runner {
    fn new() -> Option<Self> {
        Some(Self { key: Signer::OpenSsl.new_key()? })
    }

    fn arguments(&self, layout: &Layout, more: &[&str]) -> Vec<String> {
        let key = self.key.public().display().to_string();
        let first = [layout.reference(), format!("--key={key}"), "--output=x.raw".to_owned()];
        first.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect()
    }

    /// Converts, and gives the report.
    #[track_caller]
    fn report(&self, image: &Image, more: &[&str]) -> (Value, Outcome) {
        let layout = Layout::signed(&self.key, image);
        let arguments = self.arguments(&layout, &[&["--json"], more].concat());
        let outcome = Workdir::new().converts(&arguments);
        (outcome.json(), outcome)
    }

    /// The rule, and the places of the extension's layers.
    #[track_caller]
    fn drawn(&self, image: &Image, more: &[&str]) -> (String, Vec<u64>) {
        let (report, _) = self.report(image, more);
        let layers = report["layers"]["extension"].as_array().unwrap();
        let places = layers.iter().map(|layer| layer["index"].as_u64().unwrap()).collect();
        (report["layers"]["rule"].as_str().unwrap().to_owned(), places)
    }

    /// The refusal's words.
    #[track_caller]
    fn refused(&self, image: &Image, want: &str, more: &[&str]) -> Outcome {
        let layout = Layout::signed(&self.key, image);
        let (code, id) = want.split_once(' ').unwrap();
        let arguments = self.arguments(&layout, more);
        let outcome = Workdir::new().refuses(code.parse().unwrap(), &arguments);
        assert_eq!(outcome.id(), id, "{outcome:#?}");
        outcome
    }
}

fn is(rule: &str, places: &[u64]) -> (String, Vec<u64>) {
    (rule.to_owned(), places.to_vec())
}

#[test]
fn the_user_or_the_image_says_which_layers() {
    let run = need!(Runner::new(), "no openssl");
    let last_of_base = digest(&tars()[1]);
    let said = labelled(whole(), &last_of_base);
    assert_eq!(run.drawn(&said, &[]), is("label", &[2, 3]));
    assert_eq!(run.drawn(&said, &["--layers", "derived"]), is("label", &[2, 3]));
    assert_eq!(run.drawn(&said, &["--layers", "last"]), is("last", &[3]));
    assert_eq!(run.drawn(&said, &["--layers", "1"]), is("top", &[3]));
    assert_eq!(run.drawn(&said, &["--layers", "3"]), is("top", &[1, 2, 3]));
    assert_eq!(run.drawn(&whole(), &[]), is("guess", &[3]));
    let all = ["--layers", "4", "--any-host", "--selinux", "none"];
    assert_eq!(run.drawn(&whole(), &all), is("top", &[0, 1, 2, 3]));
    run.refused(&whole(), "5 base.nothing-said", &["--layers", "derived"]);
    run.refused(&whole(), "2 base.fewer-layers", &["--layers", "5"]);
    for other in [digest(b"other"), "x".to_owned()] {
        run.refused(&labelled(whole(), &other), "5 base.label", &[]);
    }
    // Row 98.
    run.refused(&labelled(whole(), &digest(&tars()[3])), "7 base.nothing-above", &[]);
}

/// What draws the boundary is told, and a guess is warned of where it may be wrong.
#[test]
fn the_report_says_what_drew_the_boundary() {
    let run = need!(Runner::new(), "no openssl");
    let guess = "nothing says which layers were added to the base";
    let (report, outcome) = run.report(&whole(), &[]);
    assert!(outcome.stderr.contains("  from layer 4 of 4, the last\n"), "{outcome:#?}");
    assert!(outcome.stderr.contains(guess), "{outcome:#?}");
    assert_eq!(report["layers"]["of"], 4);
    let said = labelled(whole(), &digest(&tars()[1]));
    let (_, outcome) = run.report(&said, &[]);
    let words = "  from layers 3 to 4 of 4, by the image's label ostree.final-diffid\n";
    assert!(outcome.stderr.contains(words), "{outcome:#?}");
    for (image, options) in
        [(&said, &[][..]), (&whole(), &["--layers=last"]), (&whole(), &["--layers=2"])]
    {
        let (_, outcome) = run.report(image, options);
        assert!(!outcome.stderr.contains("R28"), "{outcome:#?}");
    }
    // A base has at least one layer: of two there is nothing to guess, if the lower one is a base.
    let two = [&tars()[0], &tars()[3]].map(Clone::clone);
    let (_, outcome) = run.report(&image(&two), &[]);
    assert!(!outcome.stderr.contains("R28"), "{outcome:#?}");
    let two = [&tars()[1], &tars()[3]].map(Clone::clone);
    let (_, outcome) = run.report(&image(&two), &["--any-host", "--selinux=none"]);
    assert!(outcome.stderr.contains(guess), "{outcome:#?}");
    let layout = Layout::signed(&run.key, &said);
    let explain = ["explain".to_owned()].into_iter().chain(run.arguments(&layout, &[]));
    let outcome = Workdir::new().converts(explain.collect::<Vec<_>>());
    assert!(outcome.stdout.contains(words), "{outcome:#?}");
}

/// What one step adds and a later one deletes is a whiteout of the base's only if the base has it.
#[test]
fn a_step_that_cleans_up_deletes_nothing_of_the_base() {
    let run = need!(Runner::new(), "no openssl");
    let [os, of_base, ..] = tars();
    let dirs = || Tarball::new().dir("usr").dir("usr/share");
    let adds = dirs().file("usr/share/of-the-base", b"another").file("usr/share/own", b"own");
    let cleans = Tarball::minimal()
        .dir("usr/share")
        .file("usr/share/.wh.of-the-base", b"")
        .file("usr/share/.wh.own", b"");
    let image = image(&[os, of_base, adds.finish(), cleans.finish()]);
    let refused = run.refused(&image, "8 sysext.whiteout", &["--layers=2", "--whiteouts=refuse"]);
    assert!(refused.stderr.contains("usr/share/of-the-base"), "{refused:#?}");
    let (report, _) = run.report(&image, &["--layers=2"]);
    let changes = report["changes"].as_array().unwrap().iter();
    let dropped: Vec<_> = changes.filter(|change| change["action"] == "dropped").collect();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(
        (&dropped[0]["path"], &dropped[0]["rule"]),
        (&json!("usr/share/of-the-base"), &json!("row 59a"))
    );
    let (report, _) = run.report(&image, &["--layers=2", "--whiteouts=keep"]);
    let added = report["changes"].as_array().unwrap().iter().filter(|it| it["rule"] == "R14");
    assert_eq!(added.map(|change| &change["path"]).collect::<Vec<_>>(), ["usr/share/of-the-base"]);
    assert_eq!(run.drawn(&image, &["--layers=1", "--whiteouts=drop"]), is("top", &[3]));
}

/// `--base` takes all that the program takes elsewhere.
#[test]
fn the_user_names_a_base() {
    let run = need!(Runner::new(), "no openssl");
    let (layout, of_base) = base_layout();
    let hub = Hub::new(&layout);
    let folder = tempfile::tempdir().unwrap();
    let mut references = vec![layout.reference(), hub.reference()];
    if let Some(skopeo) = tools::newest("skopeo") {
        for copy in ["dir:", "oci-archive:"] {
            let copy = format!("{copy}{}/{}", folder.path().display(), copy.trim_end_matches(':'));
            let from = layout.reference();
            tools::run(&skopeo, ["copy", "-q", "--preserve-digests", &from, &copy]);
            references.push(copy);
        }
    }
    // It has the last word.
    let said = labelled(whole(), &digest(&tars()[0]));
    for reference in &references {
        let (report, outcome) = run.report(&said, &["--tls-verify=false", "--base", reference]);
        let layers = &report["layers"];
        assert_eq!((&layers["rule"], &layers["base"]["digest"]), (&json!("base"), &json!(of_base)));
        assert_eq!(layers["extension"].as_array().unwrap().len(), 2);
        assert!(outcome.stderr.contains(", by --base\n"), "{outcome:#?}");
    }
    assert_eq!(hub.server.requests().iter().filter(|it| it.is_for_blob()).count(), 1, "the config");

    let with =
        |reference: &str| vec!["--tls-verify=false".to_owned(), format!("--base={reference}")];
    let refused = |image: &Image, want: &str, reference: &str| {
        let more = with(reference);
        run.refused(image, want, &more.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // Row 99.
    let absent = hub.reference().replace(TAG, "absent");
    for reference in [absent.as_str(), "127.0.0.1:1/x/y", "oci:/nowhere", "oci-archive:nowhere"] {
        let outcome = refused(&whole(), "10 base.not-fetched", reference);
        assert!(outcome.stderr.contains("--layers N"), "{outcome:#?}");
    }
    let mut other = Layout::new();
    other.add_image(&image(&[tars()[1].clone()]));
    refused(&whole(), "5 base.not-the-base", &other.reference());
    let mut more = Layout::new();
    more.add_image(&image(&[tars().as_slice(), &[Tarball::minimal().finish()]].concat()));
    refused(&whole(), "5 base.not-the-base", &more.reference());
    // Rows 98 and 100.
    refused(&base(), "7 base.nothing-above", &layout.reference());
    refused(&whole(), "2 oci.usage", "fedora:43");
    run.refused(&whole(), "2 usage", &["--base=oci:x", "--layers=2"]);
}

/// Annotations name a base in a registry, which is asked as the image is.
#[test]
fn the_image_names_its_base() {
    let run = need!(Runner::new(), "no openssl");
    let (layout, of_base) = base_layout();
    let hub = Hub::failing(&layout, |request, _, reply| match request.header("authorization") {
        Some("Basic dGVzdGVyOnMzY3JldA==") => reply,
        _ => Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"test\""),
    });
    let folder = tempfile::tempdir().unwrap();
    let authfile = folder.path().join("auth.json");
    let auth = json!({ "auths": { hub.server.host(): { "auth": "dGVzdGVyOnMzY3JldA==" } } });
    fs::write(&authfile, auth.to_string()).unwrap();
    let authfile = format!("--authfile={}", authfile.display());
    let asked = [authfile.as_str(), "--tls-verify=false"];

    // The tag is another image's by now: the digest counts.
    let repository = format!("{}/test/image", hub.server.host());
    let named = annotated(whole(), &format!("{repository}:moved"), &of_base);
    assert_eq!(run.drawn(&named, &asked), is("annotations", &[2, 3]));
    let derived = [asked.as_slice(), &["--layers=derived"]].concat();
    assert_eq!(run.drawn(&named, &derived), is("annotations", &[2, 3]));
    let pinned = format!("{repository}@{of_base}");
    assert_eq!(run.drawn(&annotated(whole(), &pinned, ""), &asked), is("annotations", &[2, 3]));
    assert_eq!(run.drawn(&named, &["--layers=3"]), is("top", &[1, 2, 3]));
    let labels = labelled(named.clone(), &digest(&tars()[0]));
    assert_eq!(run.drawn(&labels, &[]), is("label", &[1, 2, 3]));

    // Row 99: no silent fall to the last layer, whatever is wrong.
    for options in [&["--tls-verify=false"][..], &[authfile.as_str()]] {
        for more in [&[][..], &["--layers=derived"]] {
            let options = [options, more].concat();
            let outcome = run.refused(&named, "10 base.not-fetched", &options);
            assert!(outcome.stderr.contains("--layers N"), "{outcome:#?}");
        }
    }
    let absent = annotated(whole(), &repository, &digest(b"other"));
    run.refused(&absent, "10 base.not-fetched", &asked);
    run.refused(&annotated(whole(), "fedora:43", &of_base), "10 base.no-place", &asked);
    let local = annotated(whole(), &layout.reference(), &of_base);
    run.refused(&local, "10 base.no-place", &asked);
    for (name, digest) in [(repository.as_str(), ""), ("", &of_base), (&pinned, &digest(b""))] {
        run.refused(&annotated(whole(), name, digest), "5 base.annotations", &asked);
    }
    let other = annotated(image(&[&tars()[1..], &tars()[..1]].concat()), &repository, &of_base);
    run.refused(&other, "5 base.not-the-base", &asked);
    let nothing = annotated(base(), &repository, &of_base);
    run.refused(&nothing, "7 base.nothing-above", &asked);
    assert_eq!(run.drawn(&annotated(whole(), "", ""), &[]), is("guess", &[3]));
}

/// Whoever serves the base cannot give another, or say anything else than it does.
#[test]
fn a_registry_cannot_move_the_boundary() {
    let run = need!(Runner::new(), "no openssl");
    let (layout, of_base) = base_layout();
    let mut smaller = Layout::new();
    let of_smaller = smaller.add_image(&image(&tars()[..1]));
    let lie = smaller.documents(TAG)[&format!("manifests/{of_smaller}")].1.clone();
    let hub = Hub::failing(&layout, move |request, _, reply| {
        if request.path.contains("/manifests/") {
            Reply { body: lie.clone(), ..reply }
        } else {
            reply
        }
    });
    let named = annotated(whole(), &format!("{}/test/image", hub.server.host()), &of_base);
    run.refused(&named, "6 base.not-fetched", &["--tls-verify=false"]);
    let hub = Hub::failing(&layout, |request, _, reply| {
        let lie = String::from_utf8_lossy(&reply.body).replace("amd64", "arm64").into_bytes();
        if request.is_for_blob() { Reply { body: lie, ..reply } } else { reply }
    });
    let named = annotated(whole(), &format!("{}/test/image", hub.server.host()), &of_base);
    run.refused(&named, "6 base.not-fetched", &["--tls-verify=false"]);
    // A base that contradicts itself.
    let mut broken = base();
    broken.config["rootfs"]["diff_ids"] = json!([]);
    let mut layout = Layout::new();
    layout.add_image(&broken);
    let option = format!("--base={}", layout.reference());
    run.refused(&whole(), "7 base.not-fetched", &[&option]);
}

/// Of an index, the image for the same machines; mirrors and limits are those of the image.
#[test]
fn a_base_is_asked_for_as_the_image_is() {
    let run = need!(Runner::new(), "no openssl");
    let mut layout = Layout::new();
    let mut other = image(&tars()[1..2]);
    other.config["architecture"] = json!("arm64");
    let entries = [layout.instance(&other, "arm64"), layout.instance(&base(), "amd64")];
    let of_index = layout.add_index(&entries);
    let hub = Hub::new(&layout);
    let conf = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    };
    let mirrored = conf(&format!(
        "[[registry]]\nprefix = \"registry.example/os\"\nlocation = \"{}/test/image\"\n\
         insecure = true\n",
        hub.server.host()
    ));
    let registries = format!("--registries-conf={}", mirrored.path().display());
    let named = annotated(whole(), "registry.example/os:1", &of_index);
    let asked = [registries.as_str(), "--tls-verify=false"];
    assert_eq!(run.drawn(&named, &asked), is("annotations", &[2, 3]));
    // The machines are the image's, not this one's.
    let mut foreign = named.clone();
    foreign.config["architecture"] = json!("arm64");
    run.refused(&foreign, "5 base.not-the-base", &asked);
    let platform = [asked.as_slice(), &["--platform=linux/arm64"]].concat();
    run.refused(&foreign, "5 base.not-the-base", &platform);
    let mut large = base();
    large.config["author"] = json!("x".repeat(20_000));
    let mut layout = Layout::new();
    layout.add_image(&large);
    let large = format!("--base={}", layout.reference());
    run.refused(&whole(), "9 base.not-fetched", &[&large, "--limit=config-size=10K"]);
    let blocked = conf("[[registry]]\nprefix = \"registry.example\"\nblocked = true\n");
    let blocked = format!("--registries-conf={}", blocked.path().display());
    run.refused(&named, "3 base.not-fetched", &[&blocked, "--tls-verify=false"]);
}

/// A base that does not answer holds up nothing for longer than the limits say.
#[test]
fn a_base_has_the_time_of_an_image() {
    let run = need!(Runner::new(), "no openssl");
    let (layout, of_base) = base_layout();
    let busy = Hub::failing(&layout, |_, _, _| Reply::error(503, "UNAVAILABLE"));
    let named = annotated(whole(), &format!("{}/test/image", busy.server.host()), &of_base);
    let start = std::time::Instant::now();
    run.refused(&named, "10 base.not-fetched", &["--tls-verify=false", "--limit=retry-seconds=1"]);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// Row 82, of all layers together: refused before a byte of a layer is fetched.
#[test]
fn row_82_layers_that_are_too_large_together() {
    let run = need!(Runner::new(), "no openssl");
    let layout = Layout::signed(&run.key, &whole());
    let hub = Hub::new(&layout);
    let sum: usize = tars().iter().skip(1).map(|tar| gzip(tar).len()).sum();
    let limit = format!("--limit=layer-size={}", sum - 1);
    let mut arguments = hub.arguments(&run.key);
    arguments.extend([limit, "--layers=3".to_owned()]);
    let outcome = Workdir::new().refuses(9, &arguments);
    assert_eq!(outcome.id(), "layer.limit", "{outcome:#?}");
    let of_layer = tars().map(|tar| digest(&gzip(&tar)));
    assert!(of_layer.iter().all(|layer| hub.asked_for(layer) == 0));
}

/// `--tls-verify=false` is for the image's host: another one, which the image names, could be anybody
/// on the way, who would be told the password for it.
#[test]
fn another_host_that_the_image_names_is_checked() {
    let run = need!(Runner::new(), "no openssl");
    let (layout, of_base) = base_layout();
    let of_layout = Hub::new(&layout);
    let name = format!("{}/test/image", of_layout.server.host());
    let named = Hub::new(&Layout::signed(&run.key, &annotated(whole(), &name, &of_base)));
    let asked = named.arguments(&run.key);
    let outcome = Workdir::new().refuses(10, &asked);
    assert_eq!(outcome.id(), "base.not-fetched", "{outcome:#?}");
    let by_user = format!("--base={name}@{of_base}");
    Workdir::new().converts(asked.iter().chain([&by_user]));
}
