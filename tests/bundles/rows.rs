//! Rows 19 to 30 and 90 of the bad inputs, through the program; each test is named after its row.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use oci2sysext::oci::Digest;
use serde_json::{Value, json};

use super::common::command::{Outcome, Workdir, sha256};
use super::common::faults::{Reply, Server};
use super::common::{need, tools};
use super::pki::*;
use super::world::{PAYLOAD_TYPE, bundle, bytes};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout with the sample image and what refers to it, and an instance to sign with.
struct Place {
    work: Workdir,
    pki: Pki,
    chain: Chain,
    image: Value,
}

impl Place {
    fn new(certificates: &Certificates) -> Self {
        let work = Workdir::new();
        let layout = work.path("layout");
        fs::create_dir(&layout).unwrap();
        super::common::sample_image(&layout);
        let index = fs::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let pki = Pki::default();
        let chain = pki.chain(certificates);
        let image = index["manifests"][0].clone();
        let place = Self { work, pki, chain, image };
        place.write("key.pub", place.pki.signer.public_key_pem());
        place.write("log.pub", place.pki.log.public_key_pem());
        place.write("root.pem", pem(&place.chain.root));
        place.write("root.json", place.pki.trusted_root(&place.chain).to_string());
        place
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.work.path(name), text).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.work.path(name).display().to_string()
    }

    fn statement(&self) -> Value {
        let mut statement = super::world::statement();
        let digest = self.image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        statement["subject"][0]["digest"]["sha256"] = json!(digest);
        statement
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = sha256(bytes);
        fs::write(self.work.path("layout/blobs/sha256").join(&digest), bytes).unwrap();
        json!({ "mediaType": media_type, "size": bytes.len(), "digest": format!("sha256:{digest}") })
    }

    /// Puts these beside the image, each as a layer of this type.
    fn attach(&self, bundles: &[(Vec<u8>, &str)]) {
        let mut entries = vec![self.image.clone()];
        for (bundle, media_type) in bundles {
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": BUNDLE,
                "config": self.blob(b"{}", "application/vnd.oci.empty.v1+json"),
                "layers": [self.blob(bundle, media_type)],
                "subject": self.image,
            });
            entries.push(self.blob(manifest.to_string().as_bytes(), MANIFEST));
        }
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        self.write("layout/index.json", index.to_string());
    }

    fn attach_one(&self, bundle: &Value) {
        self.attach(&[(serde_json::to_vec(bundle).unwrap(), BUNDLE)]);
    }

    fn by_key(&self, statement: &Value) -> Value {
        bundle(&self.pki.signer, statement, PAYLOAD_TYPE, &json!({ "publicKey": { "hint": "x" } }))
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let image = format!("oci:{}", self.file("layout"));
        let fixed =
            [&image, "-o", "x.raw", "--force", "--rename", "--any-host", "--selinux", "none"];
        fixed.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    fn key(&self) -> Vec<String> {
        self.arguments(&["--key", &self.file("key.pub")])
    }

    fn key_and_log(&self) -> Vec<String> {
        let (key, log) = (self.file("key.pub"), self.file("log.pub"));
        self.arguments(&["--key", &key, "--rekor-key", &log])
    }

    fn certificate(&self, subject: &str) -> Vec<String> {
        let root = self.file("root.json");
        let subject = ["--certificate-identity", subject];
        let issuer = ["--certificate-oidc-issuer", ISSUER];
        self.arguments(&[&subject[..], &issuer, &["--trusted-root", &root]].concat())
    }

    fn by_certificate(&self) -> Value {
        super::world::certificate_bundle(&self.pki, &self.chain, &self.statement())
    }
}

fn place() -> Place {
    Place::new(&Certificates::default())
}

#[test]
fn good_bundles_convert() {
    let place = place();
    place.attach_one(&super::world::logged_bundle(&place.pki, &place.statement()));
    let outcome = place.work.converts(place.key());
    assert!(outcome.stderr.contains("the name is not signed"), "{outcome:#?}");
    place.work.converts(place.key_and_log());
    let root = place.file("root.json");
    let mut logs_of_root = place.key();
    logs_of_root.extend(["--trusted-root".to_owned(), root]);
    place.work.converts(logs_of_root);
    place.attach_one(&place.by_certificate());
    let mut arguments = place.certificate(SUBJECT);
    arguments.push("--json".to_owned());
    let report = place.work.converts(&arguments).json();
    assert_eq!(report["signature"]["certificate"]["subject"], SUBJECT);
    assert_eq!(report["signature"]["certificate"]["time"], "2026-06-01T00:00:00Z");
}

#[test]
fn row_19_a_log_is_demanded_and_has_nothing() {
    let place = place();
    place.attach_one(&place.by_key(&place.statement()));
    place.work.converts(place.key());
    let outcome = place.work.refuses(4, place.key_and_log());
    assert!(outcome.stderr.contains("transparency log"), "{outcome:#?}");
}

#[test]
fn row_20_a_promise_for_somebody_elses_entry() {
    let place = place();
    let mut bundle = super::world::logged_bundle(&place.pki, &place.statement());
    let body = dsse(b"x", b"y", &place.pki.other.public_key_pem());
    bundle["verificationMaterial"]["tlogEntries"] = json!([place.pki.entry(&body)]);
    place.attach_one(&bundle);
    place.work.refuses(4, place.key_and_log());
}

#[test]
fn row_21_a_promise_for_another_signature_or_key() {
    let place = place();
    let good = super::world::logged_bundle(&place.pki, &place.statement());
    let payload = bytes(&good["dsseEnvelope"]["payload"]);
    let signature = bytes(&good["dsseEnvelope"]["signatures"][0]["sig"]);
    let (own, other) = (place.pki.signer.public_key_pem(), place.pki.other.public_key_pem());
    for body in [dsse(&payload, b"x", &own), dsse(&payload, &signature, &other)] {
        let mut bundle = good.clone();
        bundle["verificationMaterial"]["tlogEntries"] = json!([place.pki.entry(&body)]);
        place.attach_one(&bundle);
        place.work.refuses(4, place.key_and_log());
    }
}

#[test]
fn row_22_an_attestation_by_the_same_key() {
    let place = place();
    for kind in ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"] {
        let mut statement = place.statement();
        statement["predicateType"] = json!(kind);
        place.attach_one(&place.by_key(&statement));
        let outcome = place.work.refuses(4, place.key());
        assert!(outcome.stderr.contains(kind), "{outcome:#?}");
    }
}

#[test]
fn row_23_no_signature_two_or_another_payload_type() {
    let place = place();
    let good = place.by_key(&place.statement());
    let one = good["dsseEnvelope"]["signatures"][0].clone();
    for signatures in [json!([]), json!([one, one])] {
        let mut bundle = good.clone();
        bundle["dsseEnvelope"]["signatures"] = signatures;
        place.attach_one(&bundle);
        place.work.refuses(4, place.key());
    }
    let material = json!({ "publicKey": {} });
    place.attach_one(&bundle(&place.pki.signer, &place.statement(), "text/plain", &material));
    place.work.refuses(4, place.key());
}

#[test]
fn row_24_another_subject() {
    let place = place();
    for digest in [json!({ "sha512": "00".repeat(64) }), json!({ "sha256": "00".repeat(32) })] {
        let mut statement = place.statement();
        statement["subject"][0]["digest"] = digest;
        place.attach_one(&place.by_key(&statement));
        place.work.refuses(4, place.key());
    }
}

#[test]
fn row_25_a_certificate_where_a_key_is_configured() {
    let place = place();
    place.attach_one(&place.by_certificate());
    let outcome = place.work.refuses(4, place.key());
    assert!(outcome.stderr.contains("by certificate"), "{outcome:#?}");
}

/// The bomb is never opened: 1 GiB would not fit the time.
#[test]
fn row_26_a_compressed_or_oversize_bundle() {
    let place = place();
    let good = serde_json::to_vec(&place.by_key(&place.statement())).unwrap();
    let bomb = super::common::tarball::gzip(&vec![b' '; 64 << 20]);
    for bytes in [super::common::tarball::gzip(&good), bomb.clone()] {
        place.attach(&[(bytes, "application/vnd.dev.sigstore.bundle.v0.3+json+gzip")]);
        place.work.refuses(4, place.key());
    }
    place.attach(&[(bomb, BUNDLE)]);
    place.work.refuses(4, place.key());
    place.attach(&[(vec![b' '; (1 << 20) + 1], BUNDLE)]);
    place.work.refuses(9, place.key());
    // Neither hides a good one (row 14).
    place.attach(&[(vec![b' '; (1 << 20) + 1], BUNDLE), (good, BUNDLE)]);
    let outcome = place.work.converts(place.key());
    assert!(outcome.stderr.contains("a signature was ignored"), "{outcome:#?}");
}

#[test]
fn row_27_a_chain_that_had_ended() {
    for certificates in [
        Certificates { leaf: (SIGNED - 600, SIGNED - 1), ..Certificates::default() },
        Certificates { intermediate: (SIGNED - 600, SIGNED - 1), ..Certificates::default() },
    ] {
        let place = Place::new(&certificates);
        place.attach_one(&place.by_certificate());
        // Beside an authority that lasts: it is the chain that is wrong, not the whole root (row 30).
        let lasting = Pki::default();
        let lasting = lasting.trusted_root(&lasting.chain(&Certificates::default()));
        let mut root = place.pki.trusted_root(&place.chain);
        let mut authorities = root["certificateAuthorities"].take();
        let more = lasting["certificateAuthorities"][0].clone();
        authorities.as_array_mut().unwrap().push(more);
        root["certificateAuthorities"] = authorities;
        place.write("root.json", root.to_string());
        place.work.refuses(4, place.certificate(SUBJECT));
    }
}

#[test]
fn row_28_no_timestamp_of_a_certificate_log_or_another_identity() {
    let place = Place::new(&Certificates { sct: None, ..Certificates::default() });
    place.attach_one(&place.by_certificate());
    place.work.refuses(4, place.certificate(SUBJECT));
    let place = self::place();
    place.attach_one(&place.by_certificate());
    for subject in [&SUBJECT[..SUBJECT.len() - 1], "you@example.test"] {
        let outcome = place.work.refuses(5, place.certificate(subject));
        assert!(outcome.stderr.contains("--certificate-identity"), "{outcome:#?}");
    }
    let mut arguments = place.certificate(SUBJECT);
    let at = arguments.iter().position(|argument| argument == ISSUER).unwrap();
    arguments[at] = "https://login.example".to_owned();
    place.work.refuses(5, arguments);
}

#[test]
fn row_29_version_2_of_the_log_without_a_timestamp() {
    let place = place();
    let mut bundle = place.by_certificate();
    let payload = bytes(&bundle["dsseEnvelope"]["payload"]);
    let signature = bytes(&bundle["dsseEnvelope"]["signatures"][0]["sig"]);
    let verifier = json!({
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": { "rawBytes": base64(&place.chain.leaf) },
    });
    let body = hashedrekord_v2(&pae(PAYLOAD_TYPE, &payload), &signature, &verifier);
    bundle["verificationMaterial"]["tlogEntries"] = json!([place.pki.entry(&body)]);
    place.attach_one(&bundle);
    place.work.refuses(4, place.certificate(SUBJECT));
}

#[test]
fn row_30_a_trust_root_that_is_missing_or_has_ended() {
    let place = place();
    place.attach_one(&place.by_certificate());
    let good = place.pki.trusted_root(&place.chain);
    let mut ended = good.clone();
    ended["certificateAuthorities"][0]["validFor"]["end"] = json!("2026-06-02T00:00:00Z");
    for text in [ended.to_string(), "{}".to_owned(), String::new()] {
        place.write("root.json", text);
        place.work.refuses(3, place.certificate(SUBJECT));
    }
    fs::remove_file(place.work.path("root.json")).unwrap();
    place.work.refuses(3, place.certificate(SUBJECT));
}

/// A library that gives the program another time.
fn clock(place: &Place) -> Option<PathBuf> {
    let compiler = tools::system("cc")?;
    place.write(
        "clock.c",
        "#include <stdlib.h>\n#include <time.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
         int clock_gettime(clockid_t id, struct timespec *now) {\n\
         if (id != CLOCK_REALTIME) return syscall(SYS_clock_gettime, id, now);\n\
         now->tv_sec = atoll(getenv(\"TEST_CLOCK\")); now->tv_nsec = 0; return 0;\n}\n",
    );
    let library = place.work.path("clock.so");
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(place.work.path("clock.c"));
    tools::check(&mut command);
    Some(library)
}

#[test]
fn row_90_a_clock_that_is_not_set() {
    let place = place();
    place.attach_one(&place.by_certificate());
    let library = need!(clock(&place), "no C compiler");
    let run = |second: u64, arguments: Vec<String>| {
        let mut command = place.work.command();
        command.env("LD_PRELOAD", &library).env("TEST_CLOCK", second.to_string());
        Outcome::of(command.args(arguments))
    };
    for second in [0, SIGNED - 1, 4_102_444_800] {
        let outcome = run(second, place.certificate(SUBJECT));
        assert!(outcome.code == 4 && outcome.stderr.contains("clock"), "{second}: {outcome:#?}");
        assert!(!place.work.out("x.raw").exists());
    }
    assert_eq!(run(SIGNED, place.certificate(SUBJECT)).code, 0);
    // A key needs no clock.
    place.attach_one(&place.by_key(&place.statement()));
    assert_eq!(run(0, place.key()).code, 0);
}

/// A registry with a listing of its own, over several pages (B1).
struct Listing {
    image: Vec<u8>,
    blobs: Vec<(String, Vec<u8>)>,
    good: Value,
    key: String,
}

fn listing(place: &Place) -> Listing {
    let blobs = place.work.path("layout/blobs/sha256");
    let digest = place.image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let image = fs::read(blobs.join(digest)).unwrap();
    let bundle = place.by_key(&place.statement());
    place.attach_one(&bundle);
    let index = fs::read(place.work.path("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let blobs = fs::read_dir(blobs)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
        })
        .collect();
    Listing { image, blobs, good: index["manifests"][1].clone(), key: place.file("key.pub") }
}

/// What the registry answers to the question for the listing; page 0 has no query.
fn serve(place: &Place, listing: Listing, page: fn(&Listing, usize) -> Reply) -> Outcome {
    let key = listing.key.clone();
    let registry = Server::http(move |request, _| {
        let path = &request.path;
        let (path, query) = path.split_once('?').unwrap_or((path, "page=0"));
        if path.contains("/referrers/") {
            return page(&listing, query.strip_prefix("page=").unwrap().parse().unwrap());
        }
        if path.ends_with("/manifests/1") {
            return Reply::ok(listing.image.clone()).with("Content-Type", MANIFEST);
        }
        let hex = path.rsplit(':').next().unwrap();
        match listing.blobs.iter().find(|(digest, _)| digest == hex) {
            Some((_, bytes)) if path.contains("/manifests/") => {
                Reply::ok(bytes.clone()).with("Content-Type", MANIFEST)
            }
            Some((_, bytes)) => Reply::blob(request, bytes),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    });
    let image = format!("{}/test/image:1", registry.host());
    let fixed = [
        "-o",
        "x.raw",
        "--force",
        "--rename",
        "--any-host",
        "--selinux=none",
        "--tls-verify=false",
    ];
    place.work.run([image.as_str(), "--key", &key].into_iter().chain(fixed))
}

fn index(entries: &[&Value]) -> Reply {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let reply = Reply::ok(index.to_string());
    reply.with("Content-Type", "application/vnd.oci.image.index.v1+json")
}

#[test]
fn a_listing_is_read_page_by_page() {
    let place = place();
    let run = |page| serve(&place, listing(&place), page).code;
    assert_eq!(run(|listing, _| index(&[&listing.good])), 0);
    assert_eq!(
        run(|listing, page| match page {
            2 => index(&[&listing.good]),
            page => index(&[]).with("Link", &format!("<?page={}>; rel=\"next\"", page + 1)),
        }),
        0
    );
    // Not for ever, and not elsewhere.
    assert_eq!(
        run(|_, page| index(&[]).with("Link", &format!("<?page={}>; rel=\"next\"", page + 1))),
        4
    );
    assert_eq!(
        run(|_, _| index(&[]).with("Link", "<https://evil.test/v2/x?page=1>; rel=\"next\"")),
        10
    );
    // No list is no signature; an answer that is none is not (row 2).
    assert_eq!(run(|_, _| index(&[])), 4);
    assert_eq!(run(|_, _| Reply::error(404, "METHOD_UNKNOWN")), 4);
    assert_eq!(run(|_, _| Reply::error(500, "UNKNOWN")), 10);
    assert_eq!(run(|_, _| Reply::error(403, "DENIED")), 11);
    assert_eq!(run(|_, _| Reply::ok("<html>")), 7);
}

#[test]
fn what_a_listing_says_is_not_believed() {
    let place = place();
    let run = |page| serve(&place, listing(&place), page).code;
    // Whatever type the list gives it (buildx #4010).
    assert_eq!(
        run(|listing, _| {
            let mut entry = listing.good.clone();
            entry["artifactType"] = json!("application/vnd.oci.empty.v1+json");
            index(&[&entry])
        }),
        0
    );
    // Another size than it has; something that is not there; a hundred others before it.
    assert_eq!(
        run(|listing, _| {
            let mut entry = listing.good.clone();
            entry["size"] = json!(1);
            index(&[&entry])
        }),
        6
    );
    let missing = |listing: &Listing, _| {
        let mut entry = listing.good.clone();
        entry["digest"] = json!(Digest::of(b"missing").to_string());
        index(&[&entry])
    };
    assert_eq!(run(missing), 10);
    assert_eq!(
        run(|listing, _| {
            let mut other = listing.good.clone();
            other["digest"] = json!(Digest::of(b"missing").to_string());
            other["artifactType"] = json!("application/spdx+json");
            let mut entries = vec![&other; 200];
            entries.push(&listing.good);
            index(&entries)
        }),
        0
    );
}

/// A timestamp of one's own authority proves the time where there is no log (`openssl ts`).
#[test]
fn a_timestamp_authority_of_ones_own_proves_the_time() {
    need!(tools::system("openssl"), "no openssl");
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    let certificates =
        Certificates { leaf: (now - 300, now + 300), sct: None, ..Certificates::default() };
    let place = Place::new(&certificates);
    let material = json!({ "certificate": { "rawBytes": base64(&place.chain.leaf) } });
    let mut good = bundle(&place.pki.signer, &place.statement(), PAYLOAD_TYPE, &material);
    let signature = bytes(&good["dsseEnvelope"]["signatures"][0]["sig"]);
    place.write("signature", &signature);
    place.write("intermediate.pem", pem(&place.chain.intermediate));
    tools::shell(
        r#"
        cd "$1"
        new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.crt -days 30 -subj '/CN=ca' \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
        openssl req $new -keyout tsa.key -out tsa.csr -subj /CN=tsa
        printf 'extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n' >ext
        openssl x509 -req -in tsa.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
            -extfile ext -out tsa.crt
        cat tsa.crt ca.crt >tsa.pem
        printf '[tsa]\ndefault_tsa=t\n[t]\nserial=%s/serial\ndigests=sha256\ndefault_policy=1.2.3.4.1\n' "$1" >c
        printf 'signer_digest=sha256\nsigner_cert=%s/tsa.crt\nsigner_key=%s/tsa.key\n' "$1" "$1" >>c
        echo 01 >serial
        openssl ts -query -data signature -sha256 -cert -out request
        openssl ts -reply -config c -queryfile request -out reply
        "#,
        [place.work.path("")],
    );
    let reply = fs::read(place.work.path("reply")).unwrap();
    good["verificationMaterial"]["timestampVerificationData"] =
        json!({ "rfc3161Timestamps": [{ "signedTimestamp": base64(reply) }] });
    place.attach_one(&good);
    let (root, intermediate) = (place.file("root.pem"), place.file("intermediate.pem"));
    let stamps = place.file("tsa.pem");
    let own = ["--ca-roots", &root, "--ca-intermediates", &intermediate];
    let identity =
        ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER].as_slice();
    let stamped = ["--timestamp-certificate-chain", &stamps];
    let arguments = place.arguments(&[&own[..], identity, &stamped].concat());
    let outcome = place.work.converts(&arguments);
    assert!(outcome.stderr.contains(&format!("signed by {SUBJECT}")), "{outcome:#?}");

    // Of another signature; and none.
    let mut other = good.clone();
    let again = bundle(&place.pki.signer, &place.statement(), PAYLOAD_TYPE, &material);
    other["dsseEnvelope"] = again["dsseEnvelope"].clone();
    place.attach_one(&other);
    place.work.refuses(4, &arguments);
    place.attach_one(&again);
    place.work.refuses(4, &arguments);
    // Without anything that could prove a time there is no use in asking.
    place.work.refuses(2, place.arguments(&[&own[..], identity].concat()));
}
