//! Names that nobody should have, in each file that a repair writes: systemd's own tools make of it
//! exactly what the layer has, every line says what is meant and nothing else, and no command runs
//! but those that are meant.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a failed test may panic"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::command::{Outcome, Workdir};
use common::layout::{Image, Layout};
use common::tarball::{Tarball, gzip};
use common::tools::FORKY;
use common::{need, not_run, tools};
use tar::EntryType;

/// What breaks lines, words and quotes, expands, begins comments or options, is a pattern, is no
/// UTF-8, or is long.
const NAMES: &[&[u8]] = &[
    b"new\nline",
    b"x\n[Service]\nExecStart=touch mark",
    b"x\nd :etc:mark",
    b"quo\"te",
    b"apos'trophe",
    b"\"quoted\"",
    b"back\\slash",
    b"end\\",
    b"\\x41\\n\\",
    b"per%cent%n%h%%",
    b"dol$lar${HOME}$$",
    b"$(touch mark)",
    b"`touch mark`",
    b";touch mark;",
    b"&&touch mark",
    b"|touch mark",
    b">mark",
    b"#hash",
    b"sp ace",
    b" lead",
    b"trail ",
    b"-",
    b"-dash",
    b"--help",
    b"--",
    b"tab\there",
    b"\r",
    b"\x01\x1b[31m\x7f",
    b"non\xffutf8",
    b"\xe2\x80\xa8line",
    b"glob*?[a-z]",
    b"{a,b}",
    b"~",
    b"!!",
    b"co:lon",
    b"com,ma",
    b"equals=",
    b"...",
    "grün 🦀".as_bytes(),
    &[b'l'; 200],
    &[b'"'; 200],
];

/// What an entry is.
enum What<'a> {
    Directory,
    File(&'a [u8]),
    Link(&'a [u8]),
}

/// Adds an entry whose path, and target, may be any bytes.
fn add(tar: Tarball, path: &[u8], what: &What<'_>, mode: u32) -> Tarball {
    let mut records = record(b"path", path);
    if let What::Link(target) = what {
        records.extend(record(b"linkpath", target));
    }
    let tar = tar.pax(&records);
    let (kind, contents): (_, &[u8]) = match what {
        What::Directory => (EntryType::Directory, b""),
        What::File(contents) => (EntryType::Regular, contents),
        What::Link(_) => (EntryType::Symlink, b""),
    };
    tar.entry("x", kind, "", contents, |header| header.set_mode(mode))
}

/// A PAX record of any bytes.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

fn directories(tar: Tarball, paths: &[&str]) -> Tarball {
    let mut all = BTreeSet::new();
    for path in paths {
        let ancestors = Path::new(path).ancestors().map(|path| path.display().to_string());
        all.extend(ancestors.filter(|path| !["", "usr", "usr/bin"].contains(&path.as_str())));
    }
    all.iter().fold(tar, |tar, path| tar.dir(path))
}

/// The extension `demo` of a layer, and a root that has it.
struct Host {
    work: Workdir,
    outcome: Outcome,
    root: PathBuf,
}

fn convert(work: &Workdir, layer: Tarball, more: &[&str]) -> Outcome {
    let base = directories(Tarball::base(), &["var/lib", "var/log", "etc/systemd/system"])
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        .file("etc/group", b"root:x:0:\n")
        .finish();
    let layer = layer.finish();
    let mut layout = Layout::new();
    layout.add_image(&Image::of_blobs(&[(gzip(&base), base), (gzip(&layer), layer)]));
    let reference = layout.reference();
    let common = [&reference, "--insecure-skip-signature", "-o", "demo.raw", "--compress=none"];
    let common = common.iter().chain(&["--selinux=none", "--json", "--force"]);
    work.converts(common.chain(more))
}

fn host(layer: Tarball, more: &[&str]) -> Option<Host> {
    let fsck = tools::of(FORKY, "fsck.erofs")?;
    let work = Workdir::new();
    let outcome = convert(&work, layer, more);
    let root = work.path("root");
    let to = format!("--extract={}", root.display());
    let image = work.out("demo.raw");
    tools::run(&fsck, [to.as_ref(), "--preserve".as_ref(), image.as_os_str()]);
    for directory in ["etc", "var/lib", "run", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    Some(Host { work, outcome, root })
}

impl Host {
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The text of a unit that a repair added.
    fn added(&self, what: &str) -> String {
        let entries = fs::read_dir(self.root.join(UNITS)).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let start = format!("-sysext-{what}-");
        let mut is_it = |name: &String| name.contains(&start) && name.ends_with(".service");
        let name = names.find(&mut is_it).unwrap();
        self.text(&format!("{UNITS}/{name}"))
    }

    fn warnings(&self) -> String {
        self.outcome.json()["warnings"].to_string()
    }

    /// Runs a tool of systemd's for the root; it complains of nothing.
    #[track_caller]
    fn quietly(&self, tool: &Path, arguments: &[&str]) {
        let mut command = Command::new(tool);
        command.arg(format!("--root={}", self.root.display())).args(arguments);
        let outcome = Outcome::of(&mut command);
        let works = |line: &str| line.starts_with("Creating ") || line.starts_with("Would write ");
        let said = outcome.stderr.lines().filter(|line| !works(line));
        assert_eq!((outcome.code, said.collect::<Vec<_>>()), (0, vec![]));
    }
}

impl Host {
    /// systemd has nothing to say of units.
    #[track_caller]
    fn verify(&self, analyze: &Path, units: &[PathBuf]) {
        // What the added units run is the host's.
        for program in ["bin/sh", "usr/sbin/semodule", "usr/sbin/fixfiles", "usr/bin/tool"]
            .iter()
            .chain(&["usr/bin/systemd-sysusers", "usr/bin/systemd-tmpfiles"])
        {
            let program = self.root.join(program);
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::write(&program, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = Command::new(analyze);
        command.args(["verify", "--man=no", "--recursive-errors=no"]);
        command.arg(format!("--root={}", self.root.display())).args(units);
        let outcome = Outcome::of(&mut command);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:#?}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn path_of(parts: &[&[u8]]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(parts.concat()))
}

/// What is below a directory: type and mode, and contents or target.
fn listing(top: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let contents = if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else {
            fs::read(&path).unwrap()
        };
        found.insert(path.strip_prefix(top).unwrap().to_owned(), (meta.mode(), contents));
    }
    found
}

/// Fails with what is in one only.
#[track_caller]
fn same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) {
    let more: Vec<_> = found.iter().filter(|(k, v)| expected.get(k) != Some(v)).collect();
    let less: Vec<_> = expected.iter().filter(|(k, v)| found.get(k) != Some(v)).collect();
    assert!(more.is_empty() && less.is_empty(), "found {more:?}, expected {less:?}");
}

/// The same of lists of bytes.
#[track_caller]
fn same_words(found: &BTreeSet<Vec<u8>>, expected: &BTreeSet<Vec<u8>>) {
    let shown = |words: &BTreeSet<Vec<u8>>| -> BTreeSet<_> {
        words.iter().map(|word| word.escape_ascii().to_string()).collect()
    };
    let (found, expected) = (shown(found), shown(expected));
    let more: Vec<_> = found.difference(&expected).collect();
    let less: Vec<_> = expected.difference(&found).collect();
    assert!(more.is_empty() && less.is_empty(), "found {more:?}, expected {less:?}");
}

/// State and defaults: files, directories and links of every name, made by systemd-tmpfiles.
#[test]
fn paths_arrive_as_they_are() {
    if !is_root() {
        not_run!("files of other owners need root");
    }
    let tmpfiles = need!(tools::of(FORKY, "systemd-tmpfiles"), "no systemd-tmpfiles");
    let mut layer = directories(Tarball::minimal(), &["etc/demo", "var/lib/demo"]);
    let mut expected = BTreeMap::new();
    expected.insert(PathBuf::new(), (0o40755, Vec::new()));
    for name in NAMES {
        for (top, is_etc) in [(&b"etc/demo/"[..], true), (b"var/lib/demo/", false)] {
            let entry = |kind: &[u8]| [top, kind, name].concat();
            let mode = if is_etc { 0o640 } else { 0o604 };
            layer = add(layer, &[top, name].concat(), &What::File(name), mode);
            layer = add(layer, &entry(b"d"), &What::Directory, 0o1751);
            layer =
                add(layer, &[&entry(b"d"), &b"/"[..], name].concat(), &What::File(b"in"), 0o644);
            layer = add(layer, &entry(b"l"), &What::Link(name), 0o777);
        }
        expected.insert(path_of(&[name]), (0, name.to_vec()));
        expected.insert(path_of(&[b"d", name]), (0o41751, Vec::new()));
        expected.insert(path_of(&[b"d", name, b"/", name]), (0o100_644, b"in".to_vec()));
        expected.insert(path_of(&[b"l", name]), (0o120_777, name.to_vec()));
    }
    let host = need!(host(layer, &[]), "no fsck.erofs of Debian forky");
    host.quietly(&tmpfiles, &["--create"]);
    for (top, file_mode) in [("etc/demo", 0o100_640), ("var/lib/demo", 0o100_604)] {
        let mut expected = expected.clone();
        expected
            .values_mut()
            .filter(|(mode, _)| *mode == 0)
            .for_each(|(mode, _)| *mode = file_mode);
        same(&listing(&host.root.join(top)), &expected);
    }
    // Nothing else was made.
    let names = |path: &str| -> Vec<_> {
        let entries = fs::read_dir(host.root.join(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("etc"), ["demo", "group", "passwd"]);
    assert_eq!(names("var"), ["lib"]);
    assert_eq!(names("var/lib"), ["demo"]);
    assert_eq!(names(""), ["etc", "run", "tmp", "usr", "var"]);
    // A line for each path, of as many words as its type has.
    for file in ["etc", "var"] {
        let text = host.text(&format!("usr/lib/tmpfiles.d/demo-sysext-{file}.conf"));
        assert_eq!(text.lines().count(), 1 + 4 * NAMES.len(), "{text}");
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let count = match words[0] {
                "d" => 5,
                "C" | "L" => 7,
                other => panic!("{other} in {line}"),
            };
            assert_eq!(words.len(), count, "{line}");
            assert!(line.is_ascii() && !line.contains(['"', '\'', '\t', '$', '*']), "{line}");
            assert!(words[1].starts_with(&format!("/{file}/")), "{line}");
        }
    }
}

/// Comments, homes and shells of every form: an account is made as it was, or left out and told.
#[test]
fn fields_of_accounts_arrive_or_are_told() {
    let sysusers = need!(tools::of(FORKY, "systemd-sysusers"), "no systemd-sysusers");
    let (mut passwd, mut expected, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let is_field = |name: &[u8]| !name.contains(&b'\n') && !name.contains(&b':');
    let is_text = |name: &[u8]| {
        std::str::from_utf8(name)
            .is_ok_and(|text| !text.contains(|c: char| c.is_control() || c == '\u{2028}'))
    };
    let fields: Vec<&[u8]> = NAMES.iter().copied().filter(|name| is_field(name)).collect();
    let mut uid = 300;
    let mut account = |comment: &[u8], home: &[u8], shell: &[u8], made: Option<&[u8]>| {
        uid += 1;
        let name = format!("u{uid}");
        let (name, ids) = (name.as_bytes(), format!(":x:{uid}:300:"));
        passwd.push([name, ids.as_bytes(), comment, b":", home, b":", shell].concat());
        match made {
            Some(comment) => {
                expected.push([name, ids.as_bytes(), comment, b":", home, b":", shell].concat());
            }
            None => told.push(format!("the user u{uid}, which is left out")),
        }
    };
    for field in &fields {
        // A comment that no line can hold is left out alone; "-" is systemd's word for none.
        let comment = if is_text(field) && *field != b"-" { field } else { &b""[..] };
        account(field, b"/home", b"/bin/sh", Some(comment));
        let path = [b"/x/", *field].concat();
        let made = is_text(&path).then_some(&b"c"[..]);
        account(b"c", &path, b"/bin/sh", made);
        account(b"c", b"/home", &path, made);
    }
    let long = [&b"/"[..], &[b'x'; 5000]].concat();
    for bad in [&b"relative"[..], b"/a/../b", b"/./a", b"/a/.", &long] {
        account(b"c", bad, b"/bin/sh", None);
        account(b"c", b"/", bad, None);
    }
    account(b"c", b"/", b"/bin/", None);
    account(b"c", b"/", b"/", None);

    let (mut groups, mut group_names) = (b"people:x:300:\n".to_vec(), Vec::new());
    for (index, name) in fields.iter().enumerate() {
        groups.extend([name, format!(":x:{}:\n", 600 + index).as_bytes()].concat());
        passwd.push([name, format!(":x:{}:300::/:/bin/sh", 700 + index).as_bytes()].concat());
        let is_name = name[0].is_ascii_alphabetic()
            && name.iter().all(u8::is_ascii_alphanumeric)
            && name.len() < 32;
        assert!(!is_name, "all of them are no names: {}", name.escape_ascii());
        group_names.push(*name);
    }
    let passwd = [passwd.join(&b'\n'), b"\n".to_vec()].concat();
    let layer = directories(Tarball::minimal(), &["etc"])
        .file("etc/passwd", &passwd)
        .file("etc/group", &groups);
    let host = need!(host(layer, &[]), "no fsck.erofs of Debian forky");
    host.quietly(&sysusers, &["--dry-run"]);
    host.quietly(&sysusers, &[]);
    let made = fs::read(host.root.join("etc/passwd")).unwrap();
    let made: BTreeSet<_> =
        made.split(|&byte| byte == b'\n').skip(1).filter(|line| !line.is_empty()).collect();
    let expected: BTreeSet<_> = expected.iter().map(Vec::as_slice).collect();
    let shown = |lines: Vec<&&[u8]>| -> Vec<String> {
        lines.iter().map(|line| line.escape_ascii().to_string()).collect()
    };
    assert_eq!(shown(made.difference(&expected).collect()), Vec::<String>::new(), "made");
    assert_eq!(shown(expected.difference(&made).collect()), Vec::<String>::new(), "not made");
    assert_eq!(host.text("etc/group"), "root:x:0:\npeople:x:300:\n");
    let warnings = host.warnings();
    for one in &told {
        assert!(warnings.contains(one), "{one} in {warnings}");
    }
    let without_comment = warnings.matches("whose comment no line can hold").count();
    assert_eq!(without_comment, fields.iter().filter(|field| !is_text(field)).count());
    let left_out = warnings.matches("found no name that systemd takes").count();
    assert_eq!(left_out, 2 * group_names.len(), "each of those users and groups is told");
    // One line for each, of as many words as its type has when quotes are honoured.
    let text = host.text("usr/lib/sysusers.d/demo-sysext.conf");
    assert_eq!(text.lines().count(), 1 + expected.len(), "{text}");
    assert!(text.lines().all(|line| line.starts_with("u u") || line == "g people 300"), "{text}");
}

/// A unit file, strictly: sections and settings, nothing that goes on in the next line.
fn settings(text: &str) -> Vec<(String, String, String)> {
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        assert!(!line.ends_with('\\') && !line.contains(|c: char| c.is_control()), "{line:?}");
        if let Some(name) = line.strip_prefix('[') {
            name.strip_suffix(']').unwrap().clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        assert!(key.chars().all(|c| c.is_ascii_alphabetic()), "{line:?}");
        found.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    found
}

/// The words of a command line (systemd.service(5)), with what is expanded when it runs refused
/// but for `known`.
fn words(line: &str, known: &[&str]) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), Vec::new(), None, false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(known) = known.iter().find(|known| rest.starts_with(**known)) {
            word.extend(known.bytes());
            (rest, begun) = (&rest[known.len()..], true);
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match (c, quote) {
            ('\\', _) => {
                assert!(rest.starts_with('x'), "an escape in {line}");
                word.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                (rest, begun) = (&rest[3..], true);
            }
            ('%' | '$', _) => {
                assert!(rest.starts_with(c), "{c} is expanded in {line}");
                word.extend(c.to_string().bytes());
                (rest, begun) = (&rest[1..], true);
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => (quote, begun) = (Some(c), true),
            (' ', None) => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => {
                assert!(quote.is_some() || !";#~*?|<>&".contains(c), "{c} in {line}");
                word.extend(c.to_string().bytes());
                begun = true;
            }
        }
    }
    assert!(quote.is_none(), "an open quote in {line}");
    if begun {
        words.push(word);
    }
    words
}

const UNITS: &str = "usr/lib/systemd/system";
const WANTS: &str = "etc/systemd/system/multi-user.target.wants";
const SERVICE: &[u8] =
    b"[Service]\nExecStart=/usr/bin/tool\n[Install]\nWantedBy=multi-user.target\n";

fn at(directory: &str, name: &[u8]) -> Vec<u8> {
    [directory.as_bytes(), b"/", name].concat()
}

/// Adds units of every name, enabled, with instances, other names and what upholds them; and says
/// how many instances are no names.
fn hostile_units(mut layer: Tarball) -> (Tarball, usize) {
    let mut hostile = 0;
    for name in NAMES.iter().filter(|name| name.len() < 200) {
        let plain =
            name.iter().all(|byte| byte.is_ascii_alphanumeric() || b":_.-\\".contains(byte));
        let service = [name, &b".service"[..]].concat();
        let instance = [b"in@", *name, b".service"].concat();
        let target = at("/usr/lib/systemd/system", b"in@.service");
        layer = add(layer, &at(UNITS, &service), &What::File(SERVICE), 0o644);
        layer = add(
            layer,
            &at(WANTS, &[b"x", &service[..]].concat()),
            &What::Link(&at("..", &service)),
            0o777,
        );
        layer = add(
            layer,
            &at("etc/systemd/system", &[b"alias-", &service[..]].concat()),
            &What::Link(b"good.service"),
            0o777,
        );
        let by = [name, &b".target.wants"[..]].concat();
        layer = add(layer, &at("etc/systemd/system", &by), &What::Directory, 0o755);
        layer = add(
            layer,
            &at("etc/systemd/system", &[&by[..], b"/good.service"].concat()),
            &What::Link(b"/usr/lib/systemd/system/good.service"),
            0o777,
        );
        if !plain {
            layer = add(layer, &at(WANTS, &instance), &What::Link(&target), 0o777);
            hostile += 1;
        }
    }
    (layer, hostile)
}

/// Names of units, instances, aliases and what upholds them: what is no name is told, and what is
/// one is all that the drop-ins have.
#[test]
fn names_of_units_are_names_or_are_told() {
    let analyze = need!(tools::of(FORKY, "systemd-analyze"), "no systemd-analyze");
    let mut layer = directories(Tarball::minimal(), &[UNITS, WANTS, "var/lib/demo"]);
    let long = [&[b'n'; 247][..], b".service"].concat();
    let good: [&[u8]; 4] =
        [b"good.service", b"in@a\\x2db\\x25n.service", b"a:b_c.d-e.service", &long[1..]];
    for name in [&b"good.service"[..], b"in@.service", b"a:b_c.d-e.service", &long, &long[1..]] {
        layer = add(layer, &at(UNITS, name), &What::File(SERVICE), 0o644);
    }
    for name in good.iter().filter(|name| !name.starts_with(b"in@")).chain(&[&long[..]]) {
        layer = add(
            layer,
            &at(WANTS, name),
            &What::Link(&[b"/", &at(UNITS, name)[..]].concat()),
            0o777,
        );
    }
    layer = add(
        layer,
        &at(WANTS, good[1]),
        &What::Link(&at("/usr/lib/systemd/system", b"in@.service")),
        0o777,
    );
    let (layer, hostile) = hostile_units(layer);
    let host =
        need!(host(layer, &["--repairs=all,caches,selinux"]), "no fsck.erofs of Debian forky");
    let units = host.root.join(UNITS);
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || ":_.-\\@".contains(c)) && name.len() < 256
    };
    let (mut upheld, mut files) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(&units).unwrap() {
        let name = entry.unwrap().file_name();
        let Some(by) = name.to_str().and_then(|name| name.strip_suffix(".d")) else { continue };
        assert!(is_name(by), "{by:?}");
        let text = host.text(&format!("{UNITS}/{by}.d/10-demo-sysext.conf"));
        for (section, key, value) in settings(&text) {
            if value.starts_with("demo-sysext-setup-") {
                assert!(["Upholds", "Wants", "After"].contains(&key.as_str()), "{text}");
                continue;
            }
            assert_eq!((section.as_str(), key.as_str()), ("Unit", "Upholds"), "{text}");
            assert!(is_name(&value), "{value:?}");
            if by == "multi-user.target" {
                upheld.insert(value);
            } else {
                assert_eq!(value, "good.service");
            }
        }
        files.push(units.join(by));
    }
    let expected: BTreeSet<_> = good
        .iter()
        .chain(&[&long[..]])
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect();
    let of_names: BTreeSet<_> = upheld.difference(&expected).cloned().collect();
    // A link of another name enables the unit that it leads to.
    assert!(
        of_names
            .iter()
            .all(|name| ["end\\.service", "back\\slash.service"].contains(&name.as_str())
                || NAMES.contains(&name.strip_suffix(".service").unwrap().as_bytes())),
        "{of_names:?}"
    );
    assert_eq!(expected.difference(&upheld).count(), 0, "{upheld:?}");
    let warnings = host.warnings();
    assert!(
        warnings.matches("enables nothing: found no unit's name").count() >= hostile,
        "{warnings}"
    );
    // systemd has nothing to say of the drop-ins.
    for by in ["multi-user.target", "...target"] {
        if let Some(path) = files.iter().find(|path| path.ends_with(by)) {
            fs::write(path, "[Unit]\nDescription=x\nDefaultDependencies=no\n").unwrap();
        }
    }
    host.verify(&analyze, &[units.join("multi-user.target")]);
}

/// Runs the shells among commands, with programs that only say how they were called.
fn shells_run_what_is_meant(
    sandbox: &Path,
    commands: &[Vec<Vec<u8>>],
    modules: &BTreeSet<Vec<u8>>,
) {
    fs::create_dir_all(sandbox.join("bin")).unwrap();
    fs::create_dir_all(sandbox.join("state")).unwrap();
    for program in ["semodule", "sha256sum", "cmp", "cp"] {
        let path = sandbox.join("bin").join(program);
        fs::write(&path, "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\" >>\"$LOG\"; done\n")
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut shells = 0;
    for command in commands.iter().filter(|words| words[0] == b"/bin/sh") {
        if command[2].starts_with(b". /etc/selinux/config") {
            assert_eq!(command.len(), 3);
            continue;
        }
        let log = sandbox.join("log");
        let _ = fs::remove_file(&log);
        let mut shell = Command::new("/bin/sh");
        shell.args(command[1..].iter().map(|word| OsStr::from_bytes(word))).current_dir(sandbox);
        shell.env("PATH", sandbox.join("bin")).env("LOG", &log);
        shell
            .env("STATE_DIRECTORY", sandbox.join("state"))
            .env("RUNTIME_DIRECTORY", sandbox.join("state"));
        let outcome = Outcome::of(&mut shell);
        assert_eq!(outcome.stderr, "", "{outcome:#?}");
        let log = fs::read(log).unwrap();
        let called: BTreeSet<_> = log.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
        assert!(modules.is_subset(&called), "{:?}", log.escape_ascii().to_string());
        shells += 1;
    }
    assert_eq!(shells, 2);
    let names = |path: &Path| -> BTreeSet<_> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(sandbox), ["bin", "log", "state"].map(Into::into).into());
    assert_eq!(names(&sandbox.join("state")), ["loaded", "now"].map(Into::into).into());
}

/// Names of files in command lines of units: each is one word, as it is; and what a shell runs is
/// what is meant.
#[test]
fn names_of_files_are_words_of_commands() {
    let analyze = need!(tools::of(FORKY, "systemd-analyze"), "no systemd-analyze");
    let (sysusers, modules) = ("usr/lib/sysusers.d", "usr/share/selinux/packages");
    let mut layer = directories(
        Tarball::minimal(),
        &[UNITS, sysusers, modules, "usr/lib/tmpfiles.d/below", "usr/lib/sysusers.d/below"],
    );
    let mut expected = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for (index, name) in NAMES.iter().enumerate() {
        let conf = [name, &b".conf"[..]].concat();
        let line = format!("g group{index} {}\n", 400 + index);
        layer = add(
            layer,
            &[sysusers.as_bytes(), b"/", &conf].concat(),
            &What::File(line.as_bytes()),
            0o644,
        );
        let line = format!("d /var/lib/made{index}\n");
        layer = add(
            layer,
            &[b"usr/lib/tmpfiles.d/", &conf[..]].concat(),
            &What::File(line.as_bytes()),
            0o644,
        );
        // A module in a directory of that name, and a module of that name.
        let directory = [modules.as_bytes(), b"/", name].concat();
        layer = add(layer, &directory, &What::Directory, 0o755);
        for (module, is_name) in [(&b"demo.cil"[..], true), (name, false)] {
            let module = [module, if is_name { b"" } else { b".pp" }].concat();
            let path = [&directory[..], b"/", &module].concat();
            layer = add(layer, &path, &What::File(b"(block x)"), 0o644);
            let stem = module.strip_suffix(b".pp").unwrap_or(&module);
            if is_name
                || (stem[0].is_ascii_alphabetic() && stem.iter().all(u8::is_ascii_alphanumeric))
            {
                expected[2].insert([b"/", &path[..]].concat());
            }
        }
        expected[0].insert(conf.clone());
        expected[1].insert(conf);
    }
    // systemd looks at no directory below.
    layer = layer.file("usr/lib/tmpfiles.d/below/x.conf", b"d /var/lib/mark\n");
    layer = layer.file("usr/lib/sysusers.d/below/y.conf", b"g mark 999\n");
    let more = ["--repairs=all,caches,selinux", "--name=a b%n$x\"'#;é"];
    let host = need!(host(layer, &more), "no fsck.erofs of Debian forky");
    let setup = host.added("setup");
    let selinux = host.added("selinux");
    let drop_in = host
        .text(&format!("{UNITS}/systemd-tmpfiles-setup.service.d/10-a b%n$x\"'#;é-sysext.conf"));
    let commands = |text: &str| -> Vec<Vec<Vec<u8>>> {
        let known = ["${RUNTIME_DIRECTORY}"];
        let settings = settings(text).into_iter().filter(|(_, key, _)| key.starts_with("Exec"));
        settings.map(|(_, _, value)| words(&value, &known)).collect()
    };
    // The unit and the drop-in run two programs, with the names of all files between them.
    let (mut accounts, mut paths, mut before) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (text, into) in [(&setup, None), (&drop_in, Some(&mut before))] {
        let mut into = into;
        for command in commands(text) {
            let end = command.iter().position(|word| word == b"--").unwrap();
            let (program, files) = (&command[..end], &command[end + 1..]);
            let found = match (program[0].as_slice(), &mut into) {
                (b"-/usr/bin/systemd-sysusers", Some(into)) => into,
                (b"-/usr/bin/systemd-sysusers", None) => &mut accounts,
                (b"-/usr/bin/systemd-tmpfiles", None) => &mut paths,
                other => panic!("{other:?}"),
            };
            found.extend(files.to_vec());
        }
    }
    paths.retain(|path| !path.ends_with(b"-sysext-var.conf"));
    same_words(&accounts, &expected[0]);
    same_words(&before, &expected[0]);
    same_words(&paths, &expected[1]);

    // semodule takes names alone, and refuses all for one that is none.
    let of_semodule: Vec<_> =
        commands(&selinux).into_iter().filter(|words| words[0] == b"/usr/sbin/semodule").collect();
    assert_eq!(of_semodule.len(), 1);
    let found: BTreeSet<_> = of_semodule[0][2..].iter().cloned().collect();
    same_words(&found, &expected[2]);
    let refused = host.warnings().matches("is no name of a policy module").count();
    assert_eq!(refused, 2 * NAMES.len() - expected[2].len());

    shells_run_what_is_meant(&host.work.path("sandbox"), &commands(&selinux), &expected[2]);

    // systemd reads the units, and has nothing to say.
    let units: Vec<_> = fs::read_dir(host.root.join(UNITS))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    host.verify(&analyze, &units);
}

/// Names as long as they can be: what has no room for more is left out and told.
#[test]
fn a_name_that_is_too_long_for_a_unit_is_told() {
    let work = Workdir::new();
    let name = " ".repeat(200);
    let layer = directories(
        Tarball::minimal(),
        &[
            UNITS,
            WANTS,
            "usr/share/icons/hicolor/48x48",
            "usr/share/selinux/packages",
            "var/lib/demo",
        ],
    )
    .file("usr/share/icons/hicolor/48x48/demo.png", b"")
    .file("usr/share/selinux/packages/demo.pp", b"module");
    let more = [&format!("--name={name}"), "--repairs=all,caches,selinux", "--rename"];
    let report = convert(&work, layer, &more).json();
    let warnings = report["warnings"].to_string();
    assert_eq!(warnings.matches("too long a name").count(), 3, "{warnings}");
}

/// Links through alternatives: any target arrives as it is.
#[test]
fn alternatives_lead_to_any_name() {
    let mut layer = directories(Tarball::minimal(), &["etc/alternatives", "usr/libexec"]);
    let mut expected = BTreeMap::new();
    for name in NAMES {
        let end = [b"/usr/libexec/", *name].concat();
        layer = add(layer, &end[1..], &What::File(b"x"), 0o755);
        layer = add(layer, &[b"etc/alternatives/", *name].concat(), &What::Link(&end), 0o777);
        let link = [b"/etc/alternatives/", *name].concat();
        layer = add(layer, &[b"usr/bin/", *name].concat(), &What::Link(&link), 0o777);
        expected.insert(path_of(&[name]), end);
    }
    let host = need!(host(layer, &[]), "no fsck.erofs of Debian forky");
    let found = listing(&host.root.join("usr/bin"));
    for (link, end) in expected {
        assert_eq!(found[&link].1, end, "{}", link.display());
    }
}

/// A link to `-`, which is systemd-tmpfiles' word for no target.
#[test]
fn a_link_to_a_dash_leads_to_a_dash() {
    if !is_root() {
        not_run!("files of other owners need root");
    }
    let tmpfiles = need!(tools::of(FORKY, "systemd-tmpfiles"), "no systemd-tmpfiles");
    let layer = directories(Tarball::minimal(), &["var/lib/demo"]).symlink("var/lib/demo/l", "-");
    let host = need!(host(layer, &[]), "no fsck.erofs of Debian forky");
    host.quietly(&tmpfiles, &["--create"]);
    assert_eq!(fs::read_link(host.root.join("var/lib/demo/l")).unwrap(), Path::new("-"));
}

/// One line that systemd-sysusers refuses makes no account, and nobody told.
#[test]
fn a_shell_that_is_a_directory_and_a_home_too_long_are_told() {
    let passwd = format!("a:x:301:300::/:/bin/\nb:x:302:300::/{}:/bin/sh\n", "x".repeat(4095));
    let layer = directories(Tarball::minimal(), &["etc"])
        .file("etc/passwd", passwd.as_bytes())
        .file("etc/group", b"people:x:300:\n");
    let report = convert(&Workdir::new(), layer, &[]).json();
    let warnings = report["warnings"].to_string();
    for part in ["found the shell /bin/, expected a file", "the user b, which is left out"] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
}

/// systemd reads no configuration in directories below, and its tools fail for such a file.
#[test]
fn configuration_in_a_directory_below_makes_nothing() {
    let layer = directories(Tarball::minimal(), &["usr/lib/sysusers.d/below", "etc"])
        .file("usr/lib/sysusers.d/below/x.conf", b"g extra 301\n")
        .file("etc/group", b"extra:x:301:\n");
    let host = need!(host(layer, &[]), "no fsck.erofs of Debian forky");
    let setup = host.added("setup");
    assert!(!setup.contains("x.conf"), "{setup}");
    assert_eq!(host.text("usr/lib/sysusers.d/demo-sysext.conf"), "g extra 301\n");
}

/// semodule installs all modules or none.
#[test]
fn one_bad_name_of_a_module_does_not_spoil_the_others() {
    let modules = "usr/share/selinux/packages";
    let layer = directories(Tarball::minimal(), &[modules])
        .file(&format!("{modules}/good.pp"), b"module")
        .file(&format!("{modules}/1 bad.pp"), b"module");
    let host = need!(host(layer, &["--repairs=all,selinux"]), "no fsck.erofs of Debian forky");
    let unit = host.added("selinux");
    assert!(unit.contains("semodule -i \"/usr/share/selinux/packages/good.pp\"\n"), "{unit}");
    assert!(host.warnings().contains("1 bad.pp is no name of a policy module"));
}
