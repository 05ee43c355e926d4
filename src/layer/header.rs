//! A header: the 512 bytes in front of an entry, in one of three formats (v7, ustar, GNU).
//!
//! The fields' places come from the `tar` crate. Their meaning is decided here, because that
//! crate reads on where we must refuse: it takes a lone zero block for the end and a short body
//! for a whole one, ignores malformed PAX records, and lets the first of two decide.

use super::{Flaw, number};

/// Bytes of a header, and the unit that everything in an archive is padded to.
pub(super) const BLOCK: usize = 512;

/// A header whose checksum and magic are right.
pub(super) struct Header(tar::Header);

/// Which fields a header has.
enum Format<'a> {
    V7,
    Ustar(&'a tar::UstarHeader),
    Gnu(&'a tar::GnuHeader),
}

impl Header {
    /// Takes a block that is not all zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, Flaw> {
        let header = Self(tar::Header::from_byte_slice(block).clone());
        header.check_sum()?;
        header.check_format()?;
        Ok(header)
    }

    /// The type flag, as written.
    pub(super) fn flag(&self) -> u8 {
        let [flag] = self.0.as_old().linkflag;
        flag
    }

    /// The length of what follows.
    pub(super) fn size(&self) -> Result<u64, Flaw> {
        let bytes = &self.0.as_old().size;
        number::field("size", bytes)?
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| number::flaw("size", bytes, "octal digits"))
    }

    /// The path, with ustar's prefix in front.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0.as_old().name);
        match self.format() {
            Format::Ustar(ustar) if ustar.prefix.first().is_some_and(|&byte| byte != 0) => {
                [text(&ustar.prefix), b"/", name].concat()
            }
            _ => name.to_vec(),
        }
    }

    /// The target of a link.
    pub(super) fn link(&self) -> &[u8] {
        text(&self.0.as_old().linkname)
    }

    /// The permission bits; a blank field is 0, and type bits that some writers add are ignored.
    pub(super) fn mode(&self) -> Result<u16, Flaw> {
        let bytes = &self.0.as_old().mode;
        let mode = number::field("mode", bytes)?.unwrap_or(0);
        if mode < 0 {
            return Err(number::flaw("mode", bytes, "octal digits"));
        }
        Ok(u16::try_from(mode & 0o7777).unwrap_or(0))
    }

    pub(super) fn uid(&self) -> Result<u64, Flaw> {
        unsigned("uid", &self.0.as_old().uid)
    }

    pub(super) fn gid(&self) -> Result<u64, Flaw> {
        unsigned("gid", &self.0.as_old().gid)
    }

    /// Seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i64, Flaw> {
        let bytes = &self.0.as_old().mtime;
        let mtime = number::field("mtime", bytes)?.unwrap_or(0);
        i64::try_from(mtime).map_err(|_| number::flaw("mtime", bytes, "seconds since 1970"))
    }

    /// The number of a device.
    pub(super) fn device(&self) -> Result<u64, Flaw> {
        let (major, minor) = match self.format() {
            Format::V7 => return Ok(0),
            Format::Ustar(header) => (header.dev_major, header.dev_minor),
            Format::Gnu(header) => (header.dev_major, header.dev_minor),
        };
        let half = |name, bytes: &[u8]| {
            u32::try_from(unsigned(name, bytes)?)
                .map_err(|_| number::flaw(name, bytes, "a device number"))
        };
        Ok(rustix::fs::makedev(half("devmajor", &major)?, half("devminor", &minor)?))
    }

    fn format(&self) -> Format<'_> {
        match (self.0.as_ustar(), self.0.as_gnu()) {
            (Some(ustar), _) => Format::Ustar(ustar),
            (None, Some(gnu)) => Format::Gnu(gnu),
            (None, None) => Format::V7,
        }
    }

    /// The sum of all bytes, with those of the checksum itself as spaces. Unsigned: the signed
    /// sum of some ancient writers would be a second interpretation.
    fn check_sum(&self) -> Result<(), Flaw> {
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        let field = &self.0.as_old().cksum;
        let expected = sum(self.0.as_bytes()) - sum(field) + 8 * u64::from(b' ');
        let found = unsigned("checksum", field)?;
        if found == expected { Ok(()) } else { Err(Flaw::Checksum { found, expected }) }
    }

    /// One of three formats, and in none of them a field that another parser would read as a
    /// part of the name.
    fn check_format(&self) -> Result<(), Flaw> {
        match self.format() {
            Format::V7 => {
                let magic = self.0.as_bytes().get(257..265).unwrap_or_default();
                let found = <[u8; 8]>::try_from(magic).unwrap_or_default();
                if found == [0; 8] { Ok(()) } else { Err(Flaw::Magic { found }) }
            }
            Format::Ustar(ustar) => {
                // star keeps times in the last 24 bytes of the prefix.
                let star = ustar.pad.ends_with(b"tar\0");
                let ends = ustar.prefix.get(..131).is_some_and(|prefix| prefix.contains(&0));
                if star && !ends {
                    return Err(Flaw::StarPrefix);
                }
                Ok(())
            }
            Format::Gnu(gnu) => {
                // Go once wrote a ustar prefix here.
                number::field("atime", &gnu.atime)?;
                number::field("ctime", &gnu.ctime)?;
                Ok(())
            }
        }
    }
}

/// A text field: up to its first NUL, if it has one.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number that cannot be negative; a blank field is 0.
fn unsigned(name: &'static str, bytes: &[u8]) -> Result<u64, Flaw> {
    u64::try_from(number::field(name, bytes)?.unwrap_or(0))
        .map_err(|_| number::flaw(name, bytes, "octal digits"))
}
