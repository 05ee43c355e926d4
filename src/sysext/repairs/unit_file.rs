//! A unit file, as far as starting the unit depends on it (systemd.syntax(7)).

/// What of a unit file matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitFile {
    /// Whether the unit ends without failing: a oneshot that does not remain, or one that starts
    /// only under conditions. Whatever upholds it would start it again and again.
    pub is_brief: bool,
    /// What `[Install]` says it is wanted, required or upheld by.
    pub wanted_by: Vec<String>,
    /// Whether it has an `[Install]` section at all.
    pub is_installable: bool,
}

/// Reads a unit file; what is no setting is skipped, as systemd does.
pub(super) fn parse(text: &[u8]) -> UnitFile {
    let text = String::from_utf8_lossy(text).replace("\\\n", " ");
    let mut unit = UnitFile::default();
    let (mut section, mut oneshot, mut remains, mut conditions) = ("", false, false, false);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            unit.is_installable |= name == "Install";
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim_end(), value.trim_start());
        match (section, key) {
            ("Service", "Type") => oneshot = value == "oneshot",
            ("Service", "RemainAfterExit") => {
                remains = matches!(value, "yes" | "true" | "on" | "1" | "y" | "t");
            }
            ("Unit", key) if key.starts_with("Condition") || key.starts_with("Assert") => {
                conditions |= !value.is_empty();
            }
            ("Install", "WantedBy" | "RequiredBy" | "UpheldBy") => {
                if value.is_empty() {
                    unit.wanted_by.clear();
                }
                unit.wanted_by.extend(value.split_whitespace().map(str::to_owned));
            }
            _ => {}
        }
    }
    unit.is_brief = conditions || (oneshot && !remains);
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read() {
        let unit = parse(
            b"[Unit]\nDescription=x\n# ConditionX=y\n[Service]\nType = oneshot\n[Install]\n\
              WantedBy=a.target \\\n b.target\n",
        );
        assert!(unit.is_brief && unit.is_installable);
        assert_eq!(unit.wanted_by, ["a.target", "b.target"]);
        assert!(!parse(b"[Service]\nType=oneshot\nRemainAfterExit=yes\n").is_brief);
        assert!(!parse(b"[Service]\nExecStart=/usr/bin/x\n").is_brief);
        assert!(parse(b"[Unit]\nConditionPathExists=/x\n").is_brief);
        assert_eq!(parse(b"\xff[\n=\n[Install\nx"), UnitFile::default());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}
