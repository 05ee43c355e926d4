//! How much of anything is accepted from outside, each changeable with `--limit NAME=N`.

use std::str::FromStr;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal, $default:expr;)+) => {
        /// The limits of a run (bad-inputs.md, archive rule 6).
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Limits {
            /// The names that `--limit` knows, with the default of each.
            pub const NAMES: &[(&str, u64)] = &[$(($name, $default),)+];

            /// The defaults, changed by the arguments of `--limit`.
            pub fn with(changes: &[LimitArg]) -> Self {
                let mut limits = Self::default();
                for change in changes {
                    limits.set(&change.name, change.value);
                }
                limits
            }

            /// Sets a limit by its name; false if there is none of that name.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $($name => self.$field = value,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

limits! {
    /// Bytes of a manifest or index (CVE-2020-1702).
    manifest_size = "manifest-size", 4 << 20;
    /// Bytes of an image configuration.
    config_size = "config-size", 4 << 20;
    /// Signatures of one image in each format (CVE-2024-29903).
    signatures = "signatures", 100;
    /// Bytes of one signature payload (CVE-2024-29902).
    signature_size = "signature-size", 64 << 10;
    /// Bytes of one bundle (B2).
    bundle_size = "bundle-size", 1 << 20;
    /// Bytes as stored of one layer, and of all that become the extension together.
    layer_size = "layer-size", 16 << 30;
    /// Bytes of one layer, decompressed, and of all that become the extension together.
    layer_uncompressed = "layer-uncompressed", 64 << 30;
    /// Decompressed bytes for each stored byte, after the first 256 MiB.
    ratio = "ratio", 300;
    /// Bytes of a zstd window.
    zstd_window = "zstd-window", 128 << 20;
    /// Entries of one layer, and of all that become the extension together.
    entries = "entries", 1_000_000;
    /// Bytes of extended headers in front of one entry.
    entry_metadata = "entry-metadata", 1 << 20;
    /// Bytes of a path.
    path = "path", 4096;
    /// Bytes of a path component.
    component = "component", 255;
    /// Components of a path.
    depth = "depth", 128;
    /// Bytes of one extended attribute's value.
    xattr_value = "xattr-value", 65_535;
    /// Bytes of all extended attributes of one inode.
    xattrs = "xattrs", 256 << 10;
    /// Bytes of a symlink's target.
    symlink = "symlink", 4095;
    /// Bytes of all names, targets and extended attributes together, of one layer and of all that
    /// become the extension.
    names = "names", 96 << 20;
    /// Bytes of one file that is read as text: os-release, SELinux policy, accounts.
    text_file = "text-file", 16 << 20;
    /// Seconds for all waits of one run for a registry, and for tries that bring nothing.
    retry_seconds = "retry-seconds", 120;
    /// Seconds for all documents of an image together, waits included, and as many for its signatures
    /// in each format, for each place that is asked; layers are not counted.
    document_seconds = "document-seconds", 600;
}

/// A `NAME=N` argument of `--limit`; `N` may end in `K`, `M` or `G` (powers of 1024).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitArg {
    /// The limit's name, one of [`Limits::NAMES`].
    pub name: String,
    /// Its new value.
    pub value: u64,
}

impl FromStr for LimitArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) =
            text.split_once('=').ok_or("expected NAME=N, such as entries=2000000")?;
        if !Limits::default().set(name, 0) {
            let names: Vec<_> = Limits::NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!("no limit is called {name:?}; there are {}", names.join(", ")));
        }
        let (digits, shift) = match number.char_indices().next_back() {
            Some((end, 'K')) => (number.split_at(end).0, 10),
            Some((end, 'M')) => (number.split_at(end).0, 20),
            Some((end, 'G')) => (number.split_at(end).0, 30),
            _ => (number, 0),
        };
        let value = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .ok_or_else(|| format!("expected a number after {name}=, found {number:?}"))?;
        Ok(Self { name: name.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_by_name() {
        let arg: LimitArg = "layer-size=2G".parse().unwrap();
        let mut limits = Limits::default();
        assert!(limits.set(&arg.name, arg.value));
        assert_eq!(limits.layer_size, 2 << 30);
        assert!("layers=1".parse::<LimitArg>().is_err());
        assert!("entries=x".parse::<LimitArg>().is_err());
        assert!("entries=".parse::<LimitArg>().is_err());
    }
}
