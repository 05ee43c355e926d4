//! A platform: operating system, architecture and variant, by Go's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::escape::Escaped;

/// What an image runs on (OCI image-spec, image index).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        let os = std::env::consts::OS.to_owned();
        Self { os, architecture: architecture.to_owned(), variant: None }.normalized()
    }

    /// The same platform in the one spelling that comparisons use, as containerd normalises:
    /// `x86_64` is `amd64`, `aarch64` and `arm64/v8` are `arm64`, `arm` is `arm/v7`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let architecture = self.architecture.to_lowercase();
        let variant = self.variant.as_deref().unwrap_or_default().to_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os: self.os.to_lowercase(),
            architecture: architecture.to_owned(),
            variant: (!variant.is_empty()).then(|| variant.to_owned()),
        }
    }

    /// Whether both mean the same machines.
    pub fn same_as(&self, other: &Self) -> bool {
        self.normalized() == other.normalized()
    }

    /// What systemd calls the architecture (R3), as in `ARCHITECTURE=` of extension-release;
    /// none if systemd has no name for it.
    pub fn systemd_architecture(&self) -> Option<&'static str> {
        Some(match self.normalized().architecture.as_str() {
            "386" => "x86",
            "amd64" => "x86-64",
            "arm" => "arm",
            "arm64" => "arm64",
            "armbe" => "arm-be",
            "arm64be" => "arm64-be",
            "loong64" => "loongarch64",
            "mips" => "mips",
            "mipsle" => "mips-le",
            "mips64" => "mips64",
            "mips64le" => "mips64-le",
            "ppc" => "ppc",
            "ppc64" => "ppc64",
            "ppc64le" => "ppc64-le",
            "riscv" => "riscv32",
            "riscv64" => "riscv64",
            "s390" => "s390",
            "s390x" => "s390x",
            "sparc" => "sparc",
            "sparc64" => "sparc64",
            _ => return None,
        })
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `OS/ARCHITECTURE[/VARIANT]`, as `--platform` takes it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let word = |word: &&str| {
            !word.is_empty()
                && word.len() <= 64
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let words: Vec<&str> = text.split('/').collect();
        let platform = match *words.as_slice() {
            [os, architecture] => Some((os, architecture, None)),
            [os, architecture, variant] => Some((os, architecture, Some(variant))),
            _ => None,
        };
        match platform {
            Some((os, architecture, variant)) if words.iter().all(word) => Ok(Self {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            }
            .normalized()),
            _ => Err(Error::Usage {
                problem: format!(
                    "found the platform {:?}, expected OS/ARCHITECTURE[/VARIANT]",
                    Escaped(text.as_bytes())
                ),
                advice: "give it as in --platform linux/arm64".to_owned(),
            }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", word(&self.os), word(&self.architecture))?;
        match self.variant.as_deref() {
            Some("") | None => Ok(()),
            Some(variant) => write!(f, "/{}", word(variant)),
        }
    }
}

/// A word of a platform in a document, which may be anything: fit to print, and short.
fn word(text: &str) -> Escaped<'_> {
    let end = text.char_indices().nth(40).map_or(text.len(), |(end, _)| end);
    Escaped(text.get(..end).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_platform_are_the_same() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected);
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/a b", "linux//v8"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    /// R3.
    #[test]
    fn systemd_has_its_own_names() {
        for (text, expected) in [
            ("linux/amd64", Some("x86-64")),
            ("linux/arm64/v8", Some("arm64")),
            ("linux/ppc64le", Some("ppc64-le")),
            ("linux/riscv64", Some("riscv64")),
            ("linux/s390x", Some("s390x")),
            ("linux/loong64", Some("loongarch64")),
            ("linux/wasm", None),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().systemd_architecture(), expected);
        }
        assert!(Platform::host().systemd_architecture().is_some());
    }
}
