//! Revoked digests: images, indexes and layers that are refused whoever has signed them.

use std::collections::BTreeSet;
use std::path::Path;

use super::Error;
use super::file::{self, Owner};
use crate::escape::Escaped;
use crate::oci::Digest;

/// More than a list needs: some two hundred thousand digests.
const MAX_SIZE: u64 = 16 << 20;

/// Digests that are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked(BTreeSet<Digest>);

impl Revoked {
    /// Reads a list of `--deny-digests`.
    pub fn load(path: &Path, as_root: bool) -> Result<Self, Error> {
        let bytes = file::read(path, MAX_SIZE, as_root, Owner::Anybody)?;
        Self::parse(&bytes)
            .map_err(|problem| Error::Configuration { path: path.to_owned(), problem })
    }

    /// Reads a list: a digest on each line, and behind `#` why.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut digests = BTreeSet::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            if line.is_empty() {
                continue;
            }
            let digest = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
            digests.insert(digest.ok_or_else(|| {
                let start = line.get(..80).unwrap_or(line);
                let number = index + 1;
                format!("line {number}: found {:?}, expected sha256:…", Escaped(start).to_string())
            })?);
        }
        Ok(Self(digests))
    }

    /// Whether a digest is refused.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.0.contains(digest)
    }

    /// Adds another list.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_digests_and_reasons() {
        let digest = Digest::of(b"");
        let list = format!("# revoked\n\n  {digest} # CVE\r\n{}\n", Digest::of(b"x"));
        let list = Revoked::parse(list.as_bytes()).unwrap();
        assert!(list.contains(&digest) && !list.contains(&Digest::of(b"y")));
        for bad in ["sha256:00", "abc", "sha512:00", &format!("{digest} {digest}"), "\u{1b}"] {
            assert!(Revoked::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Revoked::parse(b"\xff").is_err());
    }
}
