//! The release file, by which systemd tells which hosts the extension is for: its name (R1, R2)
//! and its fields (R3 to R5), from the base's os-release, the image's platform and the user; a
//! release file that the layer ships is the start of ours, or a reason to stop (row 69).

use std::collections::BTreeMap;

use super::rules::{RELEASE_DIRECTORY, RELEASE_PREFIX};
use super::work::{Work, read_held};
use super::{Error, Repair, SysextOptions, repairs};
use crate::base::{self, Base, os_release};
use crate::escape::Escaped;
use crate::layer::Stored;
use crate::report::{Action, Changes};
use crate::tree::{Content, Inode, Stat, join};

/// The name of an image file as systemd sees it: without `.raw` or `.sysext.raw` (R1, R7); none
/// for a file that systemd would not look at.
pub fn image_name(file_name: &str) -> Option<&str> {
    let name = file_name.strip_suffix(".raw")?;
    Some(name.strip_suffix(".sysext").unwrap_or(name))
}

/// Whether a name can be an extension's (R1).
pub fn check_name(name: &str) -> Result<(), Error> {
    let longest = 255 - RELEASE_PREFIX.len();
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.contains('/') || name == "." || name == ".." {
        "it is no file name"
    } else if name.starts_with(".#") {
        "systemd takes .# for a temporary file"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else if name.len() > longest {
        "with extension-release. in front it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.to_owned(), problem })
}

/// The path of an extension's release file (R1).
pub fn release_path(name: &str) -> Vec<u8> {
    join(RELEASE_DIRECTORY, &[RELEASE_PREFIX, name.as_bytes()].concat())
}

/// What systemd 262 restarts after merging: at boot it would wait for units that wait for it.
const RESTART: &str = "EXTENSION_RESTART_UNITS";

/// The release file.
#[derive(Debug)]
pub(super) struct Release {
    /// What it says.
    pub text: String,
    /// Whether the layer has it: then the extension's name is signed with it.
    pub shipped: bool,
}

/// Writes the release file into the tree.
pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<Release, Error> {
    warn_if_not_found(options, changes);
    let file_name = [RELEASE_PREFIX, options.name.as_bytes()].concat();
    let path = release_path(&options.name);
    if options.rename {
        rename_other(work, &path, changes);
    }
    refuse_others(work, &file_name, options)?;
    let fields = Fields::of_hosts(base, options, changes)?;
    let shipped = match work.tree.lookup(&path) {
        None => None,
        Some(ino) => Some((read_shipped(work, &path, options)?, work.tree.inode(ino).stat.clone())),
    };
    let (mut kept, left_out) = match &shipped {
        Some((variables, _)) => kept_of_shipped(variables, &fields, base)?,
        None => Default::default(),
    };
    if let Some(units) = shipped.as_ref().and_then(|(variables, _)| variables.get(RESTART)) {
        let units = Escaped(units.as_bytes());
        changes.warn("R5", format!("the layer's release file has {RESTART}={units}, which is left out: at boot systemd 262 waits for these units before it has merged, and for ever for those that start after systemd-sysext.service, as all with default dependencies do"));
    }
    let reload = String::from("EXTENSION_RELOAD_MANAGER");
    // Each of them adds units.
    let adds = [Repair::Units, Repair::Caches, Repair::Selinux];
    if adds.into_iter().any(|repair| options.repairs.has(repair))
        && repairs::needs_reload(work)
        && !kept.iter().any(|(key, _)| *key == reload)
    {
        kept.push((reload, "1".to_owned()));
    }
    let text = fields.text(options.unverified, &kept);
    let stat = if let Some((_, stat)) = &shipped {
        let reason = if left_out.is_empty() {
            "the layer's release file, completed".to_owned()
        } else {
            format!("the layer's release file, completed; left out: {}", left_out.join(", "))
        };
        changes.note(&path, Action::Changed, "R3", reason);
        stat.clone()
    } else {
        changes.note(&path, Action::Added, "R1", "the release file");
        Stat { mode: 0o644, mtime: options.created, ..Stat::default() }
    };
    // A new inode even where there is one: that might have other names.
    let contents = Stored::Held(text.as_bytes().to_vec().into());
    let ino = work.tree.add(Inode { stat, content: Content::Regular(contents) });
    work.ensure_directory(RELEASE_DIRECTORY)?;
    work.tree.link(&path, ino);
    Ok(Release { text, shipped: shipped.is_some() })
}

/// Gives the one release file of the layer the extension's name, unless there is one already.
fn rename_other<C>(work: &mut Work<C>, path: &[u8], changes: &mut Changes) {
    let mut names = work
        .tree
        .entries(RELEASE_DIRECTORY)
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(RELEASE_PREFIX));
    let (Some(name), None) = (names.next(), names.next()) else { return };
    let other = join(RELEASE_DIRECTORY, name);
    drop(names);
    if other != path
        && let Some(ino) = work.tree.remove(&other)
    {
        work.tree.link(path, ino);
        changes.note_moved(&other, path, "row 37", "the release file, renamed as asked for");
    }
}

/// Whether systemd finds the file by the image's name: the same, or since version 256 what is
/// before its first `_` or `+` (R2).
fn warn_if_not_found(options: &SysextOptions<'_>, changes: &mut Changes) {
    let Some(image) = options.image_name.as_deref().filter(|image| *image != options.name) else {
        return;
    };
    let name = &options.name;
    let release = format!("extension-release.{name}");
    if image.split(['_', '+']).next() == Some(name) {
        changes.warn(
            "R2",
            format!(
                "systemd before version 256 will not find {release} in an image named {image:?}"
            ),
        );
    } else {
        changes.warn("R2", format!("systemd will not find {release} in an image named {image:?}: name the image {name}.raw"));
    }
}

/// systemd refuses an image with two candidates, and one of another name may be another's (row 69).
fn refuse_others<C>(
    work: &Work<C>,
    file_name: &[u8],
    options: &SysextOptions<'_>,
) -> Result<(), Error> {
    let mut names = work.tree.entries(RELEASE_DIRECTORY).map(|(name, _)| name);
    let other = names.find(|name| name.starts_with(RELEASE_PREFIX) && *name != file_name);
    match other {
        None => Ok(()),
        Some(name) => Err(Error::OtherRelease {
            path: join(RELEASE_DIRECTORY, name),
            expected: options.name.clone(),
        }),
    }
}

fn read_shipped<C>(
    work: &Work<C>,
    path: &[u8],
    options: &SysextOptions<'_>,
) -> Result<BTreeMap<String, String>, Error> {
    let error = |problem: String| Error::ReleaseFile { path: path.to_vec(), problem };
    let max = options.limits.text_file;
    let text = read_held(&work.tree, path, max)
        .ok_or_else(|| error(format!("expected a regular file of at most {max} bytes")))?;
    os_release::parse(&text).map_err(|problem| error(problem.to_string()))
}

/// The lines of a shipped release file that stay, and the names of the others.
type Kept<'s> = (Vec<(String, String)>, Vec<&'s str>);

/// Checks what the layer says of its hosts, and gives the lines that stay: scope, reloading and
/// what is informational (verification.md §1.6); and the names of those that do not.
fn kept_of_shipped<'s>(
    shipped: &'s BTreeMap<String, String>,
    fields: &Fields,
    base: &Base,
) -> Result<Kept<'s>, Error> {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (key, value) in shipped {
        let ours = fields.get(key);
        match key.as_str() {
            // Narrower than the layer asks for, or as the user asked for.
            "ID" | "ARCHITECTURE" if value == "_any" => {}
            "ID" | "VERSION_ID" | "SYSEXT_LEVEL" => {
                let of_base = base.os_release().and_then(|release| release.get(key));
                let of_base = of_base.map(String::as_str).filter(|value| !value.is_empty());
                // For any host, and with no base to compare: the user decides.
                let is_free = base.os_release().is_none() && fields.id == "_any";
                if !is_free {
                    agrees(key, value, of_base.or(ours), "the base image")?;
                }
            }
            "ARCHITECTURE" => agrees(key, value, ours, "the image")?,
            "EXTENSION_RELOAD_MANAGER" => {
                kept.push((key.clone(), printable("layer's release file", key, value)?));
            }
            _ if key.starts_with("SYSEXT_") => {
                kept.push((key.clone(), printable("layer's release file", key, value)?));
            }
            _ => left_out.push(key.as_str()),
        }
    }
    Ok((kept, left_out))
}

fn agrees(key: &str, found: &str, expected: Option<&str>, of: &str) -> Result<(), Error> {
    if expected == Some(found) {
        return Ok(());
    }
    let expected = match expected {
        Some(value) => format!("{value:?} as in {of}"),
        None => format!("none as in {of}"),
    };
    Err(Error::ReleaseMismatch { key: key.to_owned(), found: found.to_owned(), expected })
}

/// The fields that say which hosts an extension is for.
#[derive(Debug)]
struct Fields {
    id: String,
    version_id: Option<String>,
    sysext_level: Option<String>,
    architecture: &'static str,
}

impl Fields {
    fn of_hosts(
        base: &Base,
        options: &SysextOptions<'_>,
        changes: &mut Changes,
    ) -> Result<Self, Error> {
        let architecture = architecture(&options.platform.architecture).ok_or_else(|| {
            Error::Architecture { architecture: options.platform.architecture.clone() }
        })?;
        if options.any_host {
            let (version_id, sysext_level) = (None, None);
            return Ok(Self { id: "_any".to_owned(), version_id, sysext_level, architecture });
        }
        let of_base = |key: &str| -> Result<Option<String>, Error> {
            let value = base.os_release().and_then(|release| release.get(key));
            value
                .filter(|v| !v.is_empty())
                .map(|v| version("base's os-release", key, v))
                .transpose()
        };
        let given = |key, value: &Option<String>| {
            value.as_deref().map(|value| option(key, value)).transpose()
        };
        let id = match given("ID", &options.id)? {
            Some(id) => id,
            None => of_base("ID")?.ok_or_else(|| no_id(base))?,
        };
        let mut version_id = given("VERSION_ID", &options.version_id)?;
        let mut sysext_level = given("SYSEXT_LEVEL", &options.sysext_level)?;
        if version_id.is_none() && sysext_level.is_none() {
            // One is enough: where both sides have a level, systemd looks at nothing else.
            sysext_level = of_base("SYSEXT_LEVEL")?;
            if sysext_level.is_none() {
                version_id = of_base("VERSION_ID")?;
            }
        }
        if version_id.is_none() && sysext_level.is_none() {
            changes.warn("R4", "the base has neither VERSION_ID nor SYSEXT_LEVEL: only rolling hosts of the same ID accept the extension, whatever their version");
        }
        Ok(Self { id, version_id, sysext_level, architecture })
    }

    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "ID" => Some(&self.id),
            "VERSION_ID" => self.version_id.as_deref(),
            "SYSEXT_LEVEL" => self.sysext_level.as_deref(),
            "ARCHITECTURE" => Some(self.architecture),
            _ => None,
        }
    }

    fn text(&self, unverified: bool, kept: &[(String, String)]) -> String {
        let mut text = String::new();
        if unverified {
            text.push_str("# The image's signature was not checked (--insecure-skip-signature).\n");
        }
        let ours = ["ID", "VERSION_ID", "SYSEXT_LEVEL", "ARCHITECTURE"];
        let ours = ours.iter().filter_map(|key| Some((*key, self.get(key)?)));
        let kept = kept.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in ours.chain(kept) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let quote = if !value.is_empty() && value.chars().all(plain) { "" } else { "\"" };
            text.extend([key, "=", quote, value, quote, "\n"]);
        }
        text
    }
}

fn no_id(base: &Base) -> base::Error {
    let layers = base.layers();
    match base.os_release() {
        None => base::Error::NoOsRelease { layers },
        Some(_) => base::Error::NoId,
    }
}

/// A value that needs no escape in a release file (os-release(5)).
fn printable(source_of: &'static str, key: &str, value: &str) -> Result<String, Error> {
    let hostile = |c: char| c.is_control() || "\"'\\$`".contains(c);
    if !value.contains(hostile) {
        return Ok(value.to_owned());
    }
    let expected = "no control characters, quotes, backslashes, dollars or backticks";
    Err(Error::Value { source_of, key: key.to_owned(), value: value.to_owned(), expected })
}

fn version(source_of: &'static str, key: &str, value: &str) -> Result<String, Error> {
    let value = printable(source_of, key, value)?;
    if value == "_any" {
        // It would make an extension for every host of what is meant for one (R4).
        let expected = "the name of a system";
        return Err(Error::Value { source_of, key: key.to_owned(), value, expected });
    }
    Ok(value)
}

fn option(key: &'static str, value: &str) -> Result<String, Error> {
    let error = |expected| Error::Option { key, value: value.to_owned(), expected };
    if value == "_any" {
        return Err(error("a value of one system; for all there is --any-host"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~:^".contains(c);
    if value.is_empty() || !value.chars().all(plain) {
        return Err(error("letters, digits and . _ - + ~ : ^"));
    }
    Ok(value.to_owned())
}

/// systemd's name of an architecture that Go names (R3).
fn architecture(go: &str) -> Option<&'static str> {
    Some(match go {
        "amd64" => "x86-64",
        "386" => "x86",
        "arm64" => "arm64",
        "arm" => "arm",
        "loong64" => "loongarch64",
        "mips" => "mips",
        "mipsle" => "mips-le",
        "mips64" => "mips64",
        "mips64le" => "mips64-le",
        "ppc64" => "ppc64",
        "ppc64le" => "ppc64-le",
        "riscv64" => "riscv64",
        "s390x" => "s390x",
        _ => return None,
    })
}
