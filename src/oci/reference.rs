//! A reference: which image the user means, in the words of containers-transports(5).
//!
//! The grammar is our own rather than oci-client's, which completes short names to docker.io
//! where we refuse them (row 100), and takes digests of any algorithm.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::name::Name;
use super::{Digest, Error};
use crate::escape::Escaped;

/// Which image the user means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `docker://HOST/PATH[:TAG][@DIGEST]`, and what has no transport prefix.
    Registry {
        /// Host and path.
        repository: Repository,
        /// The tag, if one was given; `latest` if neither tag nor digest was.
        tag: Option<String>,
        /// The digest, if one was given.
        digest: Option<Digest>,
    },
    /// `oci:PATH[:REF]`
    Layout {
        /// The directory; as in skopeo, it ends at the first colon.
        path: PathBuf,
        /// Which of its images; the only one if none is given.
        name: Option<ImageName>,
    },
    /// `oci-archive:PATH[:REF]`
    Archive {
        /// The tar file; as in skopeo, it ends at the first colon.
        path: PathBuf,
        /// Which of its images; the only one if none is given.
        name: Option<ImageName>,
    },
    /// `dir:PATH`
    Dir {
        /// The directory.
        path: PathBuf,
    },
}

/// Which image of an OCI layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// The value of `org.opencontainers.image.ref.name`.
    Name(String),
    /// `@N`: the entry of index.json at this position, the first being 0.
    Position(usize),
    /// `@sha256:…`: the entry of index.json with this digest.
    Digest(Digest),
}

/// A repository in a registry: `quay.io/travier/fedora-kinoite/sysexts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Host name or address, with the port where one is given.
    pub host: String,
    /// Path components, joined by `/`.
    pub path: String,
}

impl Reference {
    /// The digest that the reference demands of the image, if it does.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Registry { digest, .. } => *digest,
            Self::Layout { name: Some(ImageName::Digest(digest)), .. }
            | Self::Archive { name: Some(ImageName::Digest(digest)), .. } => Some(*digest),
            _ => None,
        }
    }

    /// The repository and the tag, where the tag decides which image is meant: what a digest names
    /// stays the same.
    pub fn followed(&self) -> Option<(&Repository, &str)> {
        match self {
            Self::Registry { repository, tag: Some(tag), digest: None } => Some((repository, tag)),
            _ => None,
        }
    }
}

/// The transports of containers-transports(5) that we have not.
const UNSUPPORTED: &[&str] = &[
    "atomic",
    "containers-storage",
    "docker-archive",
    "docker-daemon",
    "ostree",
    "sif",
    "tarball",
];

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|(problem, advice)| Error::Usage {
            problem: format!("{:?}: {problem}", Escaped(clip(text).as_bytes())),
            advice: advice.to_owned(),
        })
    }
}

impl FromStr for Repository {
    type Err = Error;

    /// Reads `HOST[:PORT]/PATH`, without tag and digest.
    fn from_str(text: &str) -> Result<Self, Error> {
        repository(text).map_err(|(problem, advice)| Error::Usage {
            problem: format!("{:?}: {problem}", Escaped(clip(text).as_bytes())),
            advice: advice.to_owned(),
        })
    }
}

const NAME_REGISTRY: &str = "name the registry, e.g. quay.io/travier/fedora-kinoite/sysexts:41.iwd";
const GRAMMAR: &str = "write it as HOST[:PORT]/PATH[:TAG][@sha256:DIGEST], \
                       e.g. quay.io/travier/fedora-kinoite/sysexts:41.iwd";
const TRANSPORTS: &str = "use docker://HOST/PATH[:TAG], oci:PATH[:REF], oci-archive:PATH[:REF] or \
                          dir:PATH; skopeo copies from other places to these";
const LAYOUT: &str = "write it as oci:PATH[:REF], where PATH has no colon";

/// What was found and expected, and what to do.
type Problem = (String, &'static str);

fn parse(text: &str) -> Result<Reference, Problem> {
    if let Some(rest) = text.strip_prefix("docker://") {
        return registry(rest);
    }
    match text.split_once(':') {
        Some(("oci", rest)) => {
            let (path, name) = layout(rest)?;
            Ok(Reference::Layout { path, name })
        }
        Some(("oci-archive", rest)) => {
            let (path, name) = layout(rest)?;
            Ok(Reference::Archive { path, name })
        }
        Some(("dir", rest)) => Ok(Reference::Dir { path: local_path(rest)? }),
        Some((transport, _)) if UNSUPPORTED.contains(&transport) => Err((
            format!("found the transport {transport}, expected docker, oci, oci-archive or dir"),
            TRANSPORTS,
        )),
        Some((transport, rest)) if rest.starts_with("//") => Err((
            format!(
                "found {:?}, expected docker://",
                Escaped(format!("{transport}://").as_bytes())
            ),
            TRANSPORTS,
        )),
        _ => registry(text),
    }
}

fn registry(text: &str) -> Result<Reference, Problem> {
    let name = name(text)?;
    let tag = match (name.tag, name.digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some("latest".to_owned()),
    };
    Ok(Reference::Registry { repository: name.repository(), tag, digest: name.digest })
}

fn repository(text: &str) -> Result<Repository, Problem> {
    let name = name(text)?;
    if name.tag.is_some() || name.digest.is_some() {
        return Err(("found a tag or digest, expected HOST[:PORT]/PATH".to_owned(), GRAMMAR));
    }
    Ok(name.repository())
}

/// A name with its registry: a short one could be anybody's (row 100).
fn name(text: &str) -> Result<Name<'_>, Problem> {
    let is_registry = |host: &str| host == "localhost" || host.contains(['.', ':', '[']);
    if !text.split_once('/').is_some_and(|(host, _)| is_registry(host)) {
        return Err((
            "found no registry in it, expected HOST[:PORT]/PATH".to_owned(),
            NAME_REGISTRY,
        ));
    }
    let name = Name::parse(text).map_err(|problem| (problem, GRAMMAR))?;
    if let Some(host) = name.host.filter(|host| is_broken_address(host)) {
        let problem = format!(
            "found the host {:?}, expected a name whose last part is no number, or an address",
            Escaped(host.as_bytes())
        );
        return Err((problem, GRAMMAR));
    }
    Ok(name)
}

/// Whether a host ends in a number, and is no address: every resolver makes something else of it
/// (WHATWG URL, "ends in a number").
fn is_broken_address(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    };
    is_number && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// `PATH[:REF]`, split at the first colon as containers/image does.
fn layout(text: &str) -> Result<(PathBuf, Option<ImageName>), Problem> {
    let (path, name) = text.split_once(':').unwrap_or((text, ""));
    Ok((local_path(path)?, image_name(name)?))
}

fn image_name(text: &str) -> Result<Option<ImageName>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let name = match text.strip_prefix('@') {
        Some(position) if !position.is_empty() && position.bytes().all(|b| b.is_ascii_digit()) => {
            position.parse().ok().map(ImageName::Position)
        }
        Some(digest) => {
            let digest = digest.parse().map_err(|error: super::InvalidDigest| {
                (format!("{error}, or a position in index.json"), LAYOUT)
            })?;
            Some(ImageName::Digest(digest))
        }
        None => is_ref_name(text).then(|| ImageName::Name(text.to_owned())),
    };
    let found = Escaped(clip(text).as_bytes());
    let problem = || {
        (format!("found the REF {found:?}, expected one of OCI image-spec, annotations"), LAYOUT)
    };
    name.map(Some).ok_or_else(problem)
}

/// The grammar of `org.opencontainers.image.ref.name` (OCI image-spec, annotations).
fn is_ref_name(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 512
        && text.split('/').all(|component| {
            component.starts_with(alphanumeric)
                && component.ends_with(alphanumeric)
                && component
                    .split(alphanumeric)
                    .all(|s| matches!(s, "" | "-" | "." | "_" | ":" | "@" | "+" | "--"))
        })
}

fn local_path(text: &str) -> Result<PathBuf, Problem> {
    if text.is_empty() || text.contains('\0') {
        return Err(("found no path, expected one after the transport".to_owned(), TRANSPORTS));
    }
    Ok(PathBuf::from(text))
}

/// The start of a text, as much as is worth printing.
fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(300).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { repository, tag, digest } => {
                write!(f, "docker://{repository}")?;
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                if let Some(digest) = digest {
                    write!(f, "@{digest}")?;
                }
                Ok(())
            }
            Self::Layout { path, name: None } => write!(f, "oci:{}", path.display()),
            Self::Layout { path, name: Some(name) } => write!(f, "oci:{}:{name}", path.display()),
            Self::Archive { path, name: None } => write!(f, "oci-archive:{}", path.display()),
            Self::Archive { path, name: Some(name) } => {
                write!(f, "oci-archive:{}:{name}", path.display())
            }
            Self::Dir { path } => write!(f, "dir:{}", path.display()),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Position(position) => write!(f, "@{position}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{ExitCode, Fault};

    /// Found by the fuzz target `reference`: such a host was refused late, as a failing network.
    #[test]
    fn a_host_that_ends_in_a_number_is_an_address() {
        for good in
            ["127.0.0.1/a", "127.0.0.1:5000/a", "[::1]:5000/a", "h.5a/a", "h.0xg/a", "5.h/a"]
        {
            good.parse::<Reference>().unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in [
            "local5host.5000/a",
            "local5host.5000:443/a",
            "127.1/a",
            "127.1:5000/a",
            "1.2.3.4.5/a",
            "256.0.0.1/a",
            "01.2.3.4/a",
            "0x7f.1/a",
            "h.0x/a",
            "h.0X1F/a",
            "2130706433:5000/a",
        ] {
            let error = bad.parse::<Reference>().expect_err(bad);
            assert_eq!(error.exit_code(), ExitCode::Usage, "{bad}");
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn registry_references() {
        for (text, host, path, tag, with_digest) in [
            ("quay.io/a/b-c/d__e:41.iwd", "quay.io", "a/b-c/d__e", Some("41.iwd"), false),
            ("docker://quay.io/a", "quay.io", "a", Some("latest"), false),
            ("localhost/a", "localhost", "a", Some("latest"), false),
            ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", Some("t"), false),
            ("[::1]:5000/a", "[::1]:5000", "a", Some("latest"), false),
            ("[fe80::1]/a:t", "[fe80::1]", "a", Some("t"), false),
            ("myhost:5000/a@", "myhost:5000", "a", None, true),
            ("QUAY.io/a:T@", "QUAY.io", "a", Some("T"), true),
            ("oci.example.org/dir:x", "oci.example.org", "dir", Some("x"), false),
        ] {
            let text = text.replace('@', &format!("@sha256:{HEX}"));
            let expected = Reference::Registry {
                repository: Repository { host: host.to_owned(), path: path.to_owned() },
                tag: tag.map(str::to_owned),
                digest: with_digest.then(|| Digest::of(b"")),
            };
            assert_eq!(parse(&text), expected);
            assert_eq!(parse(&expected.to_string()), expected);
        }
    }

    #[test]
    fn local_references() {
        let name = |text: &str| Some(ImageName::Name(text.to_owned()));
        let layout = |path: &str, name| Reference::Layout { path: path.into(), name };
        assert_eq!(parse("oci:a/b"), layout("a/b", None));
        assert_eq!(parse("oci:a/b:"), layout("a/b", None));
        assert_eq!(parse("oci:/a b:41.mc"), layout("/a b", name("41.mc")));
        assert_eq!(parse("oci:a:localhost:5000/x:t"), layout("a", name("localhost:5000/x:t")));
        assert_eq!(parse("oci:a:@12"), layout("a", Some(ImageName::Position(12))));
        let digest = Some(ImageName::Digest(Digest::of(b"")));
        assert_eq!(parse(&format!("oci:a:@sha256:{HEX}")), layout("a", digest));
        let path = || PathBuf::from("a.tar");
        assert_eq!(parse("oci-archive:a.tar"), Reference::Archive { path: path(), name: None });
        assert_eq!(
            parse("oci-archive:a.tar:x"),
            Reference::Archive { path: path(), name: name("x") }
        );
        assert_eq!(parse("dir:/a:b"), Reference::Dir { path: "/a:b".into() });
    }

    /// Rows 33 and 100, and what else a user can mistype.
    #[test]
    fn what_is_no_reference_is_a_usage_error() {
        let long_name = format!("quay.io/{}", "a".repeat(248));
        let long_tag = format!("quay.io/a:{}", "a".repeat(129));
        for bad in [
            "",
            "iwd",
            "iwd:41",
            "travier/sysexts:41.iwd",
            "docker://fedora",
            "docker:fedora",
            "docker:quay.io/a",
            "https://quay.io/a",
            "quay.io",
            "quay.io/",
            "quay.io//a",
            "quay.io/a/",
            "quay.io/A",
            "quay.io/a..b",
            "quay.io/a___b",
            "quay.io/-a",
            "quay.io/../a",
            "quay.io/a:",
            "quay.io/a:.x",
            "quay.io/a:x y",
            "quay.io:x/a",
            "quay.io:0/a",
            "quay.io:99999/a",
            "quay.io:+1/a",
            "-quay.io/a",
            "quay..io/a",
            "[::1/a",
            "[::1]x/a",
            "[1.2.3.4]/a",
            "[::1%25lo]/a",
            "user@quay.io/a",
            "quay.io/a@sha256:../../x",
            "quay.io/a@sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "quay.io/a@sha256:e3b0",
            "quay.io/a@md5:d41d8cd98f00b204e9800998ecf8427e",
            "quay.io/a@",
            "quay.io/a\u{1b}[31m",
            &long_name,
            &long_tag,
            "oci:",
            "oci::x",
            "oci:a:@x",
            "oci:a:@-1",
            "oci:a:@99999999999999999999999",
            "oci:a:b c",
            "oci:a:../b",
            "dir:",
            "containers-storage:quay.io/a",
            "docker-daemon:quay.io/a",
            "docker-archive:a.tar",
            "sif:a.sif",
            "ostree:a",
        ] {
            let error = bad.parse::<Reference>().expect_err(bad);
            assert_eq!(error.exit_code(), ExitCode::Usage, "{bad}");
            assert!(!error.to_string().contains('\u{1b}'), "{bad}");
        }
        let error = "travier/sysexts:41.iwd".parse::<Reference>().unwrap_err();
        assert!(error.advice().starts_with("name the registry, e.g. quay.io/"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_printed_reads_back(
            host in r"([a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?\.[a-z]{2,4}|localhost)(:[1-9][0-9]{0,3})?",
            path in r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,5}){0,3}",
            tag in proptest::option::of(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
            bytes in proptest::option::of(any::<[u8; 32]>()),
        ) {
            let digest = bytes.map(Digest::from_bytes);
            let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
            let reference =
                Reference::Registry { repository: Repository { host, path }, tag, digest };
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }

        #[test]
        fn any_text_is_read_or_refused(text in r"\PC{0,40}|(oci|dir|docker)?:?[a-z./:@\[\]]{0,20}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
