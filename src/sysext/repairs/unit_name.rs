//! Names of units (systemd.unit(5)): which are names at all, and what belongs to which template.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::report::Changes;

/// The types of units that can be enabled.
const TYPES: [&str; 8] =
    [".service", ".socket", ".target", ".timer", ".path", ".mount", ".automount", ".swap"];

/// As long as the kernel allows a file name, less the NUL.
const LONGEST: usize = 255;

/// A unit's name, if the bytes are one: letters, digits and `:_.-\@` with a type that can be
/// enabled. So it needs no escape anywhere in a unit file.
pub(super) fn parse(bytes: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(bytes).ok()?;
    let of_type = TYPES.iter().chain(&[".slice"]).find_map(|end| name.strip_suffix(end))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.-\\@".contains(c);
    let starts_well = !of_type.is_empty() && !of_type.starts_with(['@', '.', '-']);
    (name.len() <= LONGEST && starts_well && of_type.chars().all(plain)).then_some(name)
}

/// The template of an instance: `foo@.service` for `foo@bar.service`.
pub(super) fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

/// The name with an instance: `bar@x.service` for the template `bar@.service` and `foo@x.service`.
pub(super) fn instance_of(template: &str, other: &str) -> Option<String> {
    let (prefix, suffix) = template.split_once("@.")?;
    let (instance, _) = other.split_once('@')?.1.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@{instance}.{suffix}"))
}

/// Whether a name is a template's, which can be started only with an instance.
pub(super) fn is_template(name: &str) -> bool {
    name.contains("@.")
}

/// A name as part of a unit's (systemd-escape(1)), which could be its start, too: that is no dash.
/// No two names have the same, and none has two dashes in a row.
pub(super) fn escape(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => text.push(char::from(byte)),
            b'.' if !text.is_empty() => text.push('.'),
            b'-' if !text.is_empty() && !text.ends_with('-') => text.push('-'),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// The name of a unit that a repair adds, or a warning that there is no room for it.
pub(super) fn added(
    of: &str,
    what: &str,
    rule: &'static str,
    changes: &mut Changes,
) -> Option<String> {
    let unit = format!("{}-sysext-{what}", escape(of));
    if parse(unit.as_bytes()).is_none() {
        let problem = format!(
            "the unit {unit} is left out: found too long a name, expected at most {LONGEST} bytes: give the extension a shorter one (--name)"
        );
        changes.warn(rule, problem);
        return None;
    }
    Some(unit)
}

/// Digits for the name of a unit that is to run again when it has other things to do: what upholds
/// it starts nothing that has run already, when another version of the extension is merged.
pub(super) fn version(of: impl IntoIterator<Item: AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for part in of {
        let part = part.as_ref();
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(4).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The extension's name in that of a directory, as any program takes it; with digits where it is
/// not the name itself, so that no two extensions share one.
pub(super) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let text: String = name.chars().map(plain).collect();
    if text == name { text } else { format!("{text}-{}", version([name])) }
}

/// The directory of a unit's drop-ins, beside it; none if there is no room for its name.
pub(super) fn drop_ins(unit: &str) -> Option<String> {
    Some(format!("{unit}.d")).filter(|directory| directory.len() <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_names() {
        for name in ["a.service", "a@b.service", "dev-disk\\x2dby.swap", "a.b:c_d@.socket"] {
            assert_eq!(parse(name.as_bytes()), Some(name));
        }
        let long = [&[b'a'; 250][..], b".service"].concat();
        for bad in [
            &b"a"[..],
            b".service",
            b"@.service",
            b"a b.service",
            b"a\n.service",
            b"%n.service",
            b"a$.service",
            b"a\".service",
            b"\xff.service",
            b"a.device",
            &long,
            b"-.mount",
        ] {
            assert_eq!(parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn another_version_has_another_name() {
        let of = |parts: &[&[u8]]| version(parts);
        assert_eq!(of(&[b"a", b"bc"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a", b"bc"]), of(&[b"ab", b"c"]));
        assert_eq!(of(&[]).len(), 8);
    }

    #[test]
    fn a_name_that_starts_with_a_dash_has_units() {
        let mut changes = Changes::default();
        let unit = added("-x", "setup.service", "R25", &mut changes);
        assert_eq!(unit.as_deref(), Some("\\x2dx-sysext-setup.service"));
        assert!(changes.warnings.is_empty());
    }

    #[test]
    fn no_two_names_share_a_directory() {
        assert_eq!(plain("a-b_c.1"), "a-b_c.1");
        let plain: Vec<_> = ["a b", "a_b", "a%b", "ä"].map(plain).into();
        for (at, name) in plain.iter().enumerate() {
            assert!(!plain[..at].contains(name), "{plain:?}");
        }
    }

    #[test]
    fn instances_and_templates() {
        assert_eq!(template("a@b.service").as_deref(), Some("a@.service"));
        assert_eq!(template("a@.service"), None);
        assert_eq!(template("a.service"), None);
        assert_eq!(instance_of("x@.service", "a@b.c.service").as_deref(), Some("x@b.c.service"));
        assert_eq!(escape("a b%@.x"), "a\\x20b\\x25\\x40.x");
        assert_eq!(escape("-a---b"), "\\x2da-\\x2d-b");
        assert!(parse(format!("{}-sysext.target", escape("ä \n")).as_bytes()).is_some());
    }
}
