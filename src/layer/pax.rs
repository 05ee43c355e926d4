//! PAX extended headers (POSIX pax, "pax Extended Header"): records that override a header.
//!
//! Keys that say what an entry is called, how large it is or who owns it must be given once, with
//! a value, and with their own entry. Other keys are ignored, as container engines do with
//! libarchive's second spelling of extended attributes.

use std::collections::BTreeMap;

use super::{Flaw, number};
use crate::tree::Timestamp;

/// What the records of one extended header say.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    /// Extended attributes by full name.
    pub(super) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    charset: bool,
}

impl Pax {
    /// The records in front of one entry.
    pub(super) fn parse(records: &[u8]) -> Result<Self, Flaw> {
        let mut pax = Self::default();
        for record in Records(records) {
            let (key, value) = record?;
            pax.apply(key, value)?;
        }
        Ok(pax)
    }

    /// The records for all entries that follow, of which parsers make different things: only
    /// keys that do not matter may be there, such as git's `comment`.
    pub(super) fn check_global(records: &[u8]) -> Result<(), Flaw> {
        for record in Records(records) {
            let (key, _) = record?;
            let mut probe = Self::default();
            // No key that matters takes an empty value, extended attributes aside.
            let matters = probe.apply(key, b"").is_err() || !probe.xattrs.is_empty();
            if matters {
                return Err(Flaw::PaxGlobal { key: key.into() });
            }
        }
        Ok(())
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Flaw> {
        match key {
            b"path" => once(&mut self.path, key, value, |value| Ok(value.to_vec())),
            b"linkpath" => once(&mut self.linkpath, key, value, |value| Ok(value.to_vec())),
            b"size" => once(&mut self.size, key, value, |v| number::decimal("PAX size", v)),
            b"uid" => once(&mut self.uid, key, value, |v| number::decimal("PAX uid", v)),
            b"gid" => once(&mut self.gid, key, value, |v| number::decimal("PAX gid", v)),
            b"mtime" => once(&mut self.mtime, key, value, |v| number::timestamp("PAX mtime", v)),
            b"hdrcharset" => self.charset(value),
            b"SCHILY.acl.access" | b"SCHILY.acl.default" | b"SCHILY.acl.ace" => {
                self.acl(key, value);
                Ok(())
            }
            b"SCHILY.realsize" | b"SUN.holesdata" => Err(Flaw::Sparse { dialect: "star" }),
            _ => {
                if key.starts_with(b"GNU.sparse.") {
                    return Err(Flaw::Sparse { dialect: "GNU, in PAX records" });
                }
                match key.strip_prefix(b"SCHILY.xattr.") {
                    Some(name) => self.xattr(key, name, value),
                    None => Ok(()),
                }
            }
        }
    }

    /// Names are bytes to us, so either charset is honoured by doing nothing (row 53).
    fn charset(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if std::mem::replace(&mut self.charset, true) {
            return Err(Flaw::PaxDuplicate { key: b"hdrcharset".as_slice().into() });
        }
        match value {
            b"BINARY" | b"ISO-IR 10646 2000 UTF-8" => Ok(()),
            _ => Err(number::flaw("hdrcharset", value, "BINARY or ISO-IR 10646 2000 UTF-8")),
        }
    }

    /// An empty value is one: it does not take an earlier record back, as with other keys.
    fn xattr(&mut self, key: &[u8], name: &[u8], value: &[u8]) -> Result<(), Flaw> {
        // GNU tar decodes %3D and %25 in names, others do not.
        if name.is_empty() || name.len() > 255 || name.contains(&b'%') || name.contains(&0) {
            return Err(Flaw::XattrName { name: name.get(..256).unwrap_or(name).into() });
        }
        match self.xattrs.insert(name.into(), value.into()) {
            None => Ok(()),
            Some(_) => Err(Flaw::PaxDuplicate { key: key.into() }),
        }
    }

    /// An access control list as text; what it means does not matter, because no kept file may
    /// have one (archive rule 10).
    fn acl(&mut self, key: &[u8], value: &[u8]) {
        let name: &[u8] = match key {
            b"SCHILY.acl.access" => b"system.posix_acl_access",
            b"SCHILY.acl.default" => b"system.posix_acl_default",
            _ => b"system.nfs4_acl",
        };
        self.xattrs.entry(name.into()).or_insert_with(|| value.into());
    }
}

/// Fills a place that must be empty with a value that must not be.
fn once<T>(
    place: &mut Option<T>,
    key: &[u8],
    value: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, Flaw>,
) -> Result<(), Flaw> {
    if value.is_empty() {
        return Err(Flaw::PaxEmpty { key: key.into() });
    }
    match place.replace(parse(value)?) {
        None => Ok(()),
        Some(_) => Err(Flaw::PaxDuplicate { key: key.into() }),
    }
}

/// Takes `LENGTH KEY=VALUE\n` records apart.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut self.0);
        Some(match split_record(all) {
            Some((key, value, rest)) => {
                self.0 = rest;
                Ok((key, value))
            }
            None => Err(Flaw::PaxRecord { found: all.get(..64).unwrap_or(all).into() }),
        })
    }
}

fn split_record(all: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // Twenty digits are more than any length has.
    let space = all.iter().take(21).position(|&byte| byte == b' ')?;
    let digits = all.get(..space)?;
    if digits.starts_with(b"0") {
        return None;
    }
    let length = usize::try_from(number::digits(digits)?).ok()?;
    let (record, rest) = all.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let tail = format!(" {key}={value}\n");
        let length = (1..1000).find(|n| n.to_string().len() + tail.len() == *n).unwrap();
        format!("{length}{tail}").into_bytes()
    }

    #[test]
    fn records_override_the_header() {
        let mut records = record("path", "a\nb=c");
        records.extend(record("SCHILY.xattr.user.x", "1=2\n"));
        records.extend(record("size", "8589934592"));
        records.extend(record("hdrcharset", "BINARY"));
        records.extend(record("whatever", ""));
        let pax = Pax::parse(&records).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb=c"[..]));
        assert_eq!(pax.size, Some(8_589_934_592));
        assert_eq!(pax.xattrs.get(&b"user.x"[..]).map(AsRef::as_ref), Some(&b"1=2\n"[..]));
    }

    #[test]
    fn malformed_duplicate_and_empty_records_are_refused() {
        for bad in
            ["5 a=\n1", "x", "07 a=b\n", "5 a=b\n", "8 a=b\n", "6 =ab\n", "99999 a=b\n", "+6 a=\n"]
        {
            assert!(matches!(Pax::parse(bad.as_bytes()), Err(Flaw::PaxRecord { .. })), "{bad:?}");
        }
        let twice = [record("path", "a"), record("path", "a")].concat();
        assert!(matches!(Pax::parse(&twice), Err(Flaw::PaxDuplicate { .. })));
        assert!(matches!(Pax::parse(&record("path", "")), Err(Flaw::PaxEmpty { .. })));
        assert!(matches!(Pax::parse(&record("size", "-1")), Err(Flaw::Number { .. })));
        assert!(matches!(Pax::parse(&record("GNU.sparse.major", "1")), Err(Flaw::Sparse { .. })));
        assert!(matches!(Pax::parse(&record("hdrcharset", "KOI8")), Err(Flaw::Number { .. })));
    }

    #[test]
    fn global_records_may_only_be_harmless() {
        assert_eq!(Pax::check_global(&record("comment", "c0ffee")), Ok(()));
        for key in ["path", "size", "mtime", "SCHILY.xattr.user.x", "GNU.sparse.name", "hdrcharset"]
        {
            let found = Pax::check_global(&record(key, "1"));
            assert_eq!(found, Err(Flaw::PaxGlobal { key: key.as_bytes().into() }));
        }
    }
}
