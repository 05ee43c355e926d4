//! Names in archives, made into paths of a tree, or refused.

use super::{Flaw, Whiteout};
use crate::limits::Limits;
use crate::tree::{components, join, split};

/// Why a name or an entry is not taken: a rule, or a limit.
#[derive(Debug)]
pub(super) enum Refusal {
    Flaw(Flaw),
    Limit { limit: &'static str, found: u64, unit: &'static str, maximum: u64 },
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl Refusal {
    /// Refuses more of something than a limit allows.
    pub(super) fn above(
        limit: &'static str,
        found: usize,
        unit: &'static str,
        maximum: u64,
    ) -> Result<(), Self> {
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        if found > maximum { Err(Self::Limit { limit, found, unit, maximum }) } else { Ok(()) }
    }
}

/// The path that a name means: components joined by `/`, empty for the root.
///
/// `.` components and doubled slashes mean nothing; `..` and a leading slash are refused,
/// except that `/` alone is the root (row 46).
pub(super) fn path(what: &'static str, name: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
    if name.is_empty() {
        return Err(Flaw::EmptyName { what }.into());
    }
    if name.contains(&0) {
        return Err(Flaw::NulInName { what }.into());
    }
    Refusal::above("path", name.len(), "bytes of path", limits.path)?;
    if name.starts_with(b"/") && name != b"/" {
        return Err(Flaw::Absolute { what, name: name.into() }.into());
    }
    let mut path = Vec::with_capacity(name.len());
    let mut depth = 0;
    for component in components(name).filter(|&component| component != b".") {
        if component == b".." {
            return Err(Flaw::DotDot { what, name: name.into() }.into());
        }
        Refusal::above("component", component.len(), "bytes of one name", limits.component)?;
        depth += 1;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Refusal::above("depth", depth, "components of a path", limits.depth)?;
    Ok(path)
}

/// What a path with `.wh.` in it means (OCI image-spec, layer, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It deletes something.
    Whiteout(Whiteout),
    /// It is aufs' own (`.wh..wh.plnk` and the like) and means nothing.
    Aufs,
}

/// Whether a path is a whiteout; no name of a tree may look like one.
pub(crate) fn mark(path: &[u8]) -> Result<Option<Mark>, Flaw> {
    let Some((parent, name)) = split(path) else { return Ok(None) };
    for component in components(parent) {
        if component.starts_with(b".wh..wh.") {
            return Ok(Some(Mark::Aufs));
        }
        if component.starts_with(b".wh.") {
            return Err(Flaw::WhiteoutDirectory { name: component.into() });
        }
    }
    Ok(match name.strip_prefix(b".wh.") {
        None => None,
        Some(b".wh..opq") => Some(Mark::Whiteout(Whiteout::new(parent.into(), true))),
        Some(b"" | b"." | b"..") => return Err(Flaw::Whiteout { name: name.into() }),
        Some(rest) if rest.starts_with(b".wh.") => Some(Mark::Aufs),
        Some(rest) => Some(Mark::Whiteout(Whiteout::new(join(parent, rest), false))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(name: &[u8]) -> Option<Vec<u8>> {
        path("name", name, &Limits::default()).ok()
    }

    #[test]
    fn names_are_normalised_or_refused() {
        for (name, expected) in [
            (&b"usr/bin"[..], &b"usr/bin"[..]),
            (b"./usr//bin/", b"usr/bin"),
            (b"usr/./bin/.", b"usr/bin"),
            (b".", b""),
            (b"./", b""),
            (b"/", b""),
            (b"a\xff", b"a\xff"),
        ] {
            assert_eq!(normal(name).as_deref(), Some(expected), "{}", name.escape_ascii());
        }
        for name in [&b""[..], b"..", b"a/../b", b"/etc", b"//", b"/.", b"a\0b", b"a/.."] {
            assert_eq!(normal(name), None, "{}", name.escape_ascii());
        }
        let deep = b"a/".repeat(129);
        assert!(matches!(
            path("name", &deep, &Limits::default()),
            Err(Refusal::Limit { limit: "depth", .. })
        ));
        assert!(matches!(
            path("name", &[b'a'; 256], &Limits::default()),
            Err(Refusal::Limit { limit: "component", .. })
        ));
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        let whiteout =
            |path: &[u8], opaque| Ok(Some(Mark::Whiteout(Whiteout::new(path.into(), opaque))));
        assert_eq!(mark(b"usr/.wh.x"), whiteout(b"usr/x", false));
        assert_eq!(mark(b".wh.x"), whiteout(b"x", false));
        assert_eq!(mark(b"usr/.wh..wh..opq"), whiteout(b"usr", true));
        assert_eq!(mark(b".wh..wh..opq"), whiteout(b"", true));
        assert_eq!(mark(b".wh..wh.plnk/1.2"), Ok(Some(Mark::Aufs)));
        assert_eq!(mark(b".wh..wh.aufs"), Ok(Some(Mark::Aufs)));
        assert_eq!(mark(b"usr/wh.x"), Ok(None));
        for bad in [&b".wh."[..], b"usr/.wh..", b"usr/.wh...", b"usr/.wh.x/y"] {
            assert!(mark(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
