//! What is added for the host: accounts, units and files of a layer, with names as bad as can be.
//!
//! Input: lines of a layer, `TYPE PATH=CONTENTS`, with the type flag of tar; contents are the target
//! of a link, and a `;` is a newline in both.
//!
//! - Every added line is one of its format: nothing in it ends a word, a line or a section.
//! - An account that is added is never root's.
//! - What is in a file of passwords alone is nowhere in the extension.

use oci2sysext::base::{self, Query, Sources};
use oci2sysext::error::Error;
use oci2sysext::layer::{self, LayerOptions};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Platform;
use oci2sysext::report::Changes;
use oci2sysext::sysext::{self, Fates, Sysext, SysextOptions};
use oci2sysext::tree::{Content, Timestamp};

use super::blob::{Layer, MemorySink};
use super::tars::Tar;

const SECRET: &[u8] = b"SECRET";

const SETTINGS: [&str; 18] = [
    "Description",
    "DefaultDependencies",
    "After",
    "Before",
    "Conflicts",
    "ConditionFileIsExecutable",
    "ConditionSecurity",
    "Wants",
    "Upholds",
    "Type",
    "RemainAfterExit",
    "StateDirectory",
    "RuntimeDirectory",
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "[Unit]",
    "[Service]",
];

pub fn run(data: &[u8]) {
    let mut tar = Tar::new().dir(b"usr").dir(b"usr/bin").file(b"usr/bin/x", b"x");
    let mut is_secret = true;
    for line in data.split(|&byte| byte == b'\n').take(40) {
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else { continue };
        let ([flag, b' ', path @ ..], contents) = (&line[..equals], &line[equals + 1..]) else {
            continue;
        };
        if path.len() > 99 || contents.len() > 400 {
            continue;
        }
        let lines = |text: &[u8]| text.split(|&byte| byte == b';').collect::<Vec<_>>().join(&b'\n');
        let has_secret = [path, contents].iter().any(|part| part.windows(6).any(|w| w == SECRET));
        is_secret &= !has_secret || (*flag == b'0' && path == b"etc/shadow");
        tar = match flag {
            b'1' => tar.hard_link(&lines(path), &lines(contents)),
            b'2' if contents.len() < 100 => tar.symlink(&lines(path), &lines(contents)),
            b'5' => tar.dir(&lines(path)),
            _ => tar.file(&lines(path), &lines(contents)),
        };
    }
    let Ok(sysext) = convert(&tar.end()) else { return };
    for entry in sysext.tree().walk() {
        let Content::Regular(text) = &entry.inode.content else { continue };
        assert!(
            !is_secret || !text.windows(6).any(|bytes| bytes == SECRET),
            "{}",
            entry.path.escape_ascii()
        );
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        if !path.contains("x-sysext") {
            continue;
        }
        // The layer may have files of such names, too.
        if data.windows(8).any(|bytes| bytes == b"x-sysext") {
            continue;
        }
        let text = std::str::from_utf8(text).unwrap();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{path}: {text:?}");
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let is_good = if path.starts_with("usr/lib/sysusers.d/") {
                let is_root = matches!(words[2].split(':').next(), Some("0"));
                matches!(words[0], "u" | "g" | "m") && !is_root && is_name(words[1])
            } else if path.starts_with("usr/lib/tmpfiles.d/") {
                let ends = if words[0] == "d" { 5 } else { 7 };
                matches!(words[0], "d" | "C" | "L") && words.len() == ends && line.is_ascii()
            } else {
                let setting = line.split('=').next().unwrap();
                line.is_empty() || SETTINGS.contains(&setting)
            };
            assert!(is_good, "{path}: {line:?}");
        }
    }
}

fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn convert(tar: &[u8]) -> Result<Sysext<Vec<u8>>, Error> {
    let limits = Limits::default();
    let fates = Fates { keep_caches: false, state: true };
    let options = LayerOptions { limits: &limits, fate: &|path| fates.fate(path), keep_ima: false };
    let lower = Tar::new()
        .file(b"usr/lib/os-release", b"ID=a\nVERSION_ID=1\n")
        .file(b"etc/passwd", b"root:x:0:0::/:/bin/sh\nbase:x:9:9::/:\n")
        .file(b"etc/group", b"root:x:0:\nbase:x:9:\n")
        .end();
    let extension = Layer::tar(tar).blob();
    let mut sink = MemorySink::default();
    let layer = layer::read(&extension, &options, &mut sink)?;
    let query = Query {
        extension: &layer,
        lower_layers: 1,
        policy: false,
        ostree: None,
        sources: Sources::default(),
        limits: &limits,
    };
    let base = base::read(&query, &mut |_: usize| Ok::<_, Error>(Layer::tar(&lower).blob()))?;
    let platform =
        Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
    let options = SysextOptions {
        repairs: "all,caches,selinux".parse().unwrap(),
        ..SysextOptions::plain("x", platform, Timestamp { sec: 0, nsec: 0 })
    };
    Ok(sysext::convert(layer, &base, &options, &mut sink, &mut Changes::default())?)
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "0 etc/passwd=root:x:0:0::/:/bin/sh;a:x:7:7:say \"%n\" \\ $x:/var/lib/a b:/bin/sh;b:x:0:7::/:\n0 etc/group=a:x:7:;base:x:9:a,c\n0 etc/shadow=a:!!:1;b:$6$SECRET:1\n0 etc/gshadow=base:!::a\n0 etc/subuid=a:1:2\n",
        "0 usr/lib/systemd/system/a.service=[Service];Type=oneshot;[Install];WantedBy=b.target\n2 etc/systemd/system/b.target.wants/a.service=/usr/lib/systemd/system/a.service\n2 etc/systemd/system/%n$;\".service=/usr/lib/systemd/system/a.service\n2 etc/systemd/system/b.target.wants/a@$x%n.service=/usr/lib/systemd/system/a@.service\n0 usr/lib/systemd/system/a@.service=[Unit];ConditionPathExists=/\n",
        "5 var/lib/a b;%n=\n0 var/lib/a b;%n/'\"\\$x=text\n2 var/lib/l=../x y%m;\n0 etc/a;b %h\"'\\$=text\n2 etc/l=a b%n\\x\"\n0 usr/lib/tmpfiles.d/y ;%n.conf=d /x 0755 a a\n0 usr/lib/sysusers.d/$y\"'.conf=u c 5\n",
        "0 usr/share/selinux/packages/a b;%n$\"'.pp=module\n0 usr/share/mime/packages/a.xml=x\n0 usr/lib/udev/hwdb.d/a.hwdb=x\n0 etc/selinux/targeted/policy/policy.33=x\n2 usr/bin/e=/etc/alternatives/e\n2 etc/alternatives/e=/usr/bin/x\n",
    ])
}
