//! What merging an extension does on a host, told from what is in its image: units that start,
//! accounts and files that appear, defaults that are copied, programs that run; and what older
//! hosts do not understand of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::base::os_release;
use crate::escape::Escaped;
use crate::report::{Layers, Warning};
use crate::tree::{Content, Tree, is_within, split};

/// What merging does.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The extension's name, by its release file.
    pub name: Option<String>,
    /// Which hosts merge it: the fields of the release file.
    pub hosts: BTreeMap<String, String>,
    /// Units that start, and with what.
    pub starts: Vec<Start>,
    /// Accounts that appear.
    pub accounts: Vec<String>,
    /// Files and directories that appear outside `/etc`.
    pub files: Vec<String>,
    /// Defaults that are copied to `/etc` where the host has none.
    pub defaults: Vec<String>,
    /// Programs that units of oci2sysext run: they make accounts, files, caches, load policy.
    pub runs: Vec<String>,
    /// Policy modules that the host must load before the extension's types mean anything there.
    pub policy_modules: Vec<String>,
    /// What older hosts do not do, and the remedy.
    pub older_hosts: Vec<OlderHost>,
    /// What the host's kernel must have; known only of an image that is there.
    pub kernel: Option<HostKernel>,
    /// Which layers it is made of; known only of an image that is converted just now.
    pub layers: Option<Layers>,
    /// What was left out, and why; known only of an image that is converted just now.
    pub warnings: Vec<Warning>,
}

/// A unit that starts.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Start {
    /// The unit.
    pub unit: String,
    /// What starts it: a unit that is active, or that is started itself.
    pub with: String,
    /// Whether it is kept running, rather than started once.
    pub upheld: bool,
}

/// What hosts below a version of systemd do not do.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct OlderHost {
    /// The version that does it.
    pub below: u32,
    /// What does not work.
    pub problem: String,
    /// What to do there.
    pub remedy: String,
}

/// What a host's kernel must have to mount an image.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct HostKernel {
    /// The oldest version that may mount it.
    pub since: String,
    /// The options that it must have been built with.
    pub options: Vec<&'static str>,
}

/// Gives the contents of a file.
pub type Contents<'a, C, E> = dyn FnMut(&C) -> Result<Vec<u8>, E> + 'a;

const UNITS: &[u8] = b"usr/lib/systemd/system";

/// Explains a tree; `read` gives the contents of small files. `file_name` is the image's, where it
/// has one.
pub fn explain<C, E>(
    tree: &Tree<C>,
    file_name: Option<&str>,
    read: &mut Contents<'_, C, E>,
) -> Result<Explanation, E> {
    let mut found = Explanation::default();
    for entry in tree.walk() {
        let Content::Regular(content) = &entry.inode.content else { continue };
        let (parent, name) = split(&entry.path).unwrap_or_default();
        if is_policy_module(&entry.path) {
            found.policy_modules.push(Escaped(&entry.path).to_string());
        }
        let is_drop_in =
            is_within(parent, UNITS) && parent.ends_with(b".d") && name.ends_with(b".conf");
        let is_unit = parent == UNITS && name.windows(8).any(|part| part == b"-sysext-");
        let is_line_file = name.ends_with(b".conf")
            && matches!(parent, b"usr/lib/sysusers.d" | b"usr/lib/tmpfiles.d");
        let release = name
            .strip_prefix(b"extension-release.")
            .filter(|_| parent == b"usr/lib/extension-release.d");
        if !is_drop_in && !is_unit && !is_line_file && release.is_none() {
            continue;
        }
        let text = read(content)?;
        if let Some(name) = release {
            found.name = Some(Escaped(name).to_string());
            found.hosts = os_release::parse(&text).unwrap_or_default();
        } else if is_line_file {
            found.lines(parent, &text);
        } else {
            let unit = if is_drop_in { split(parent).unwrap_or_default().1 } else { name };
            let unit = unit.strip_suffix(b".d").unwrap_or(unit);
            let is_own = is_unit || name.ends_with(b"-sysext.conf");
            found.unit(&Escaped(unit).to_string(), &text, is_own);
        }
    }
    let image_name = file_name.and_then(crate::sysext::image_name);
    let other = image_name.filter(|image| Some(*image) != found.name.as_deref());
    found.older(other);
    Ok(found)
}

fn is_policy_module(path: &[u8]) -> bool {
    is_within(path, b"usr/share/selinux")
        && [&b".pp"[..], b".pp.bz2", b".cil", b".cil.bz2"].iter().any(|end| path.ends_with(end))
}

impl Explanation {
    /// Lines of sysusers.d(5) or tmpfiles.d(5).
    fn lines(&mut self, directory: &[u8], text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let words: Vec<_> = words(line);
            let word = |index: usize| words.get(index).map_or("-", String::as_str);
            let given = |index: usize| Some(word(index)).filter(|word| *word != "-");
            let of = |what: &str, index| {
                given(index).map_or_else(String::new, |w| format!(", {what} {w}"))
            };
            if directory.ends_with(b"sysusers.d") {
                let name = word(1);
                self.accounts.push(match word(0).chars().next() {
                    Some('u') => {
                        format!("user {name}{}{}{}", of("id", 2), of("home", 4), of("shell", 5))
                    }
                    Some('g') => format!("group {name}{}", of("id", 2)),
                    Some('m') => format!("{name} is a member of {}", word(2)),
                    _ => continue,
                });
                continue;
            }
            let path = word(1);
            let details =
                format!("{}{}{}", of("mode", 2), of("user", 3), of("group", 4)).replace(':', "");
            let what = match word(0).chars().next() {
                Some('d' | 'D' | 'v' | 'q' | 'Q') => format!("directory {path}{details}"),
                Some('L') => format!("link {path} to {}", word(6)),
                Some('C') => format!("{path}, a copy of {}{details}", word(6)),
                Some('f' | 'F' | 'w') => format!("file {path}{details}"),
                Some(
                    'z' | 'Z' | 'x' | 'X' | 'r' | 'R' | 'e' | 'm' | 'h' | 'H' | 'a' | 'A' | 't'
                    | 'T',
                ) => continue,
                _ => format!("{} {path}{details}", word(0)),
            };
            let of_etc = path == "/etc" || path.starts_with("/etc/");
            if of_etc { self.defaults.push(what) } else { self.files.push(what) }
        }
    }

    /// Settings of a unit, or of a drop-in for it, that start something.
    fn unit(&mut self, unit: &str, text: &[u8], is_own: bool) {
        for line in String::from_utf8_lossy(text).lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            let is_target = is_own && unit.ends_with(".target");
            match key {
                "Upholds" => self.start(unit, value, true),
                "Wants" | "Requires" if is_target => self.start(unit, value, false),
                "ExecStart" | "ExecStartPre" if is_own => {
                    let program = Escaped(value.as_bytes()).to_string();
                    if !self.runs.contains(&program) {
                        self.runs.push(program);
                    }
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, with: &str, units: &str, upheld: bool) {
        for unit in units.split_whitespace() {
            let unit = Escaped(unit.as_bytes()).to_string();
            self.starts.push(Start { unit, with: with.to_owned(), upheld });
        }
    }

    /// What hosts of older versions do not do (R2, R3, R5).
    fn older(&mut self, image_name: Option<&str>) {
        let mut note = |below, problem: &str, remedy: &str| {
            let (problem, remedy) = (problem.to_owned(), remedy.to_owned());
            self.older_hosts.push(OlderHost { below, problem, remedy });
        };
        if self.hosts.contains_key("EXTENSION_RELOAD_MANAGER") {
            note(
                255,
                "EXTENSION_RELOAD_MANAGER= is not known: systemd does not see the units after merging",
                "run systemctl daemon-reload after each merge; what upholds the units starts them then",
            );
        }
        note(255, "an image named NAME.sysext.raw is not found", "name it NAME.raw");
        match image_name {
            Some(image) => note(
                256,
                &format!(
                    "the image is named {image:?}, and only its exact name is looked for in release files"
                ),
                "name the image as the extension",
            ),
            None => note(
                256,
                "an image with a version in its name (NAME_1.0.raw), or in NAME.raw.v/, is not found",
                "name it NAME.raw, for the name of the extension",
            ),
        }
        if self.hosts.get("ID").is_some_and(|id| id != "_any") {
            note(
                258,
                "ID_LIKE of the host is not looked at: only hosts with the same ID merge the extension",
                "convert it with --id for such a host",
            );
        }
    }
}

/// Words of a line, as systemd separates them: quotes join, a backslash takes what follows as it
/// is. What cannot be printed is escaped.
fn words(line: &[u8]) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), Vec::new(), None, false);
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', _) => {
                begun = true;
                // Escapes stay: they are what is written, and can be printed.
                match bytes.next() {
                    Some(next @ (b'"' | b'\'' | b'\\')) => word.push(next),
                    Some(next) => word.extend([b'\\', next]),
                    None => word.push(b'\\'),
                }
            }
            (b'"' | b'\'', None) => (quote, begun) = (Some(byte), true),
            (byte, Some(open)) if byte == open => quote = None,
            (byte, None) if byte.is_ascii_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(Escaped(&std::mem::take(&mut word)).to_string());
                }
            }
            (byte, _) => {
                begun = true;
                word.push(byte);
            }
        }
    }
    if begun {
        words.push(Escaped(&word).to_string());
    }
    words
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("(no release file: systemd does not merge it)");
        writeln!(f, "extension {name}")?;
        if let Some(layers) = &self.layers {
            writeln!(f, "  from {layers}")?;
        }
        let hosts: Vec<_> = self
            .hosts
            .iter()
            .map(|(key, value)| format!("{key}={}", Escaped(value.as_bytes())))
            .collect();
        section(f, "merged by hosts with", &hosts)?;
        let starts: Vec<_> = self
            .starts
            .iter()
            .map(|Start { unit, with, upheld }| {
                let how = if *upheld { "whenever" } else { "once" };
                format!("{unit}, {how} {with} is active")
            })
            .collect();
        section(f, "units that start", &starts)?;
        section(f, "programs that run then", &self.runs)?;
        section(f, "accounts that appear", &self.accounts)?;
        section(f, "files and directories that appear where there are none", &self.files)?;
        section(f, "defaults that are copied to /etc where there are none", &self.defaults)?;
        section(f, "policy modules that the host must load (semodule -i)", &self.policy_modules)?;
        let older: Vec<_> = self
            .older_hosts
            .iter()
            .map(|OlderHost { below, problem, remedy }| {
                format!("below systemd {below}: {problem}; {remedy}")
            })
            .collect();
        section(f, "older hosts", &older)?;
        let kernel = self.kernel.iter().map(|HostKernel { since, options }| {
            format!("Linux {since} or later, built with {}", options.join(", "))
        });
        section(f, "the host's kernel must be", &kernel.collect::<Vec<_>>())?;
        let warnings: Vec<_> = self
            .warnings
            .iter()
            .map(|Warning { rule, message }| format!("{message} [{rule}]"))
            .collect();
        section(f, "what else to know", &warnings)
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "    {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Directory, Inode, Stat, components, join};

    fn explained(files: &[(&str, &[u8])], file_name: Option<&str>) -> Explanation {
        let mut tree: Tree<Vec<u8>> = Tree::new(Stat::directory());
        for (path, text) in files {
            let mut at = Vec::new();
            let names: Vec<_> = components(path.as_bytes()).collect();
            for name in &names[..names.len() - 1] {
                at = join(&at, name);
                if tree.lookup(&at).is_none() {
                    let content = Content::Directory(Directory::new());
                    let ino = tree.add(Inode { stat: Stat::directory(), content });
                    tree.link(&at, ino);
                }
            }
            let content = Content::Regular(text.to_vec());
            let ino = tree.add(Inode { stat: Stat::default(), content });
            tree.link(path.as_bytes(), ino);
        }
        let mut read = |text: &Vec<u8>| Ok::<_, std::convert::Infallible>(text.clone());
        let Ok(found) = explain(&tree, file_name, &mut read);
        found
    }

    #[test]
    fn what_is_in_an_image_is_told() {
        let found = explained(
            &[
                ("usr/lib/extension-release.d/extension-release.x", b"ID=fedora\nVERSION_ID=43\nEXTENSION_RELOAD_MANAGER=1\n"),
                ("usr/lib/systemd/system/multi-user.target.d/10-x-sysext.conf", b"[Unit]\nUpholds=a.service\nUpholds=x-sysext-m.target\n"),
                ("usr/lib/systemd/system/x-sysext-m.target", b"[Unit]\nWants=b.service\n"),
                ("usr/lib/systemd/system/x-sysext-setup.service", b"[Service]\nExecStart=-/usr/bin/y \"z\"\n"),
                ("usr/lib/sysusers.d/x.conf", b"# c\ng a 5\nu a 5:a \"A \\\"b\\\" c\" /home/a /bin/sh\nm a b\n"),
                ("usr/lib/tmpfiles.d/x.conf", b"d /var/lib/a 0750 a :a\nC /etc/a\\x20b - - - - /usr/etc/a\nL /etc/l - - - - t\n"),
                ("usr/share/selinux/packages/x.pp.bz2", b""),
            ],
            Some("x_1.raw"),
        );
        let starts: Vec<_> = found.starts.iter().map(|s| (s.unit.as_str(), s.upheld)).collect();
        assert_eq!(
            starts,
            [("a.service", true), ("x-sysext-m.target", true), ("b.service", false)]
        );
        assert_eq!(found.runs, ["-/usr/bin/y \"z\""]);
        assert_eq!(found.accounts[1], "user a, id 5:a, home /home/a, shell /bin/sh");
        assert_eq!(found.files, ["directory /var/lib/a, mode 0750, user a, group a"]);
        assert_eq!(found.defaults[0], "/etc/a\\\\x20b, a copy of /usr/etc/a");
        assert_eq!(found.policy_modules.len(), 1);
        let below: Vec<_> = found.older_hosts.iter().map(|host| host.below).collect();
        assert_eq!(below, [255, 255, 256, 258]);
        assert!(found.to_string().contains("a.service, whenever multi-user.target is active"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_reach_a_terminal(text: Vec<u8>) {
            let found = explained(
                &[
                    ("usr/lib/extension-release.d/extension-release.x", &text),
                    ("usr/lib/systemd/system/a.target.d/a.conf", &text),
                    ("usr/lib/sysusers.d/x.conf", &text),
                    ("usr/lib/tmpfiles.d/x.conf", &text),
                ],
                None,
            );
            proptest::prop_assert!(!found.to_string().contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}
