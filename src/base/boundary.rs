//! Where the base ends and the extension begins (R28): which of an image's layers were added to
//! its base, and what says so.
//!
//! What draws the boundary is the first of these that says anything: the user (`--layers`,
//! `--base`), the image's label `ostree.final-diffid`, its annotations
//! `org.opencontainers.image.base.{name,digest}`; else the last layer is taken for all of it. What
//! says something wrong, or cannot be asked, ends the run: another boundary is another image.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use super::{Error, NamedBase};
use crate::escape::Escaped;
use crate::oci::{Digest, ImageConfig, Reference};

/// The label by which ostree's tools name the last layer of a base.
const LABEL: &str = "ostree.final-diffid";

/// The annotations by which builders name a base (OCI image-spec, annotations).
const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

/// How the user wants the boundary to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// As the image says, else above all layers but the last.
    #[default]
    Default,
    /// Above all layers but the last, whatever the image says.
    Last,
    /// As the image says, or not at all.
    Derived,
    /// So that as many layers are the extension's.
    Top(NonZeroUsize),
    /// Above the layers of this base.
    Base(Reference),
}

impl FromStr for Choice {
    type Err = String;

    /// Reads the argument of `--layers`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            "derived" => Ok(Self::Derived),
            number => number
                .parse()
                .map(Self::Top)
                .map_err(|_| "expected last, derived or a number from 1 on".to_owned()),
        }
    }
}

/// The boundary of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// How many layers are the base's, the lowest ones.
    pub lower: usize,
    /// What drew it.
    pub rule: Rule,
}

/// What drew a boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `--layers N`
    Top,
    /// `--layers last`
    Last,
    /// `--base`
    Base {
        /// What the user named.
        reference: Reference,
        /// The digest of what that was.
        digest: Digest,
    },
    /// The label `ostree.final-diffid`.
    Label,
    /// The annotations `org.opencontainers.image.base.{name,digest}`.
    Annotations {
        /// What they name.
        reference: Reference,
        /// Its digest.
        digest: Digest,
    },
    /// Nothing: the last layer was taken.
    Guess,
}

impl Rule {
    /// One word for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Last => "last",
            Self::Base { .. } => "base",
            Self::Label => "label",
            Self::Annotations { .. } => "annotations",
            Self::Guess => "guess",
        }
    }

    /// The base that it names.
    pub fn base(&self) -> Option<(&Reference, Digest)> {
        match self {
            Self::Base { reference, digest } | Self::Annotations { reference, digest } => {
                Some((reference, *digest))
            }
            Self::Top | Self::Last | Self::Label | Self::Guess => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top | Self::Last => f.write_str("by --layers"),
            Self::Base { reference, .. } => {
                write!(f, "above {}, by --base", Escaped(reference.to_string().as_bytes()))
            }
            Self::Label => write!(f, "by the image's label {LABEL}"),
            Self::Annotations { reference, .. } => {
                let reference = reference.to_string();
                write!(f, "above {}, by the image's annotations", Escaped(reference.as_bytes()))
            }
            Self::Guess => f.write_str("the last"),
        }
    }
}

/// Draws the boundary of an image from its manifest's annotations and its configuration, which are
/// signed; `fetch` gets the documents of a base that somebody names.
///
/// Those need no signature: all that is taken from them is how many of the image's own, signed
/// layers are the base's, and only if they are the same. Annotations count with a digest alone,
/// which is signed with them, so that nobody who serves the base can move the boundary: a name
/// without one, which may be another image's tomorrow, is for the user to vouch for (`--base`).
///
/// # Errors
/// Two say different things, or what is said cannot be of this image (exit code 5); no layer is
/// left for the extension (7); there are fewer layers than `--layers` says (2); what `fetch` says.
pub fn draw<E: From<Error>>(
    choice: &Choice,
    annotations: &BTreeMap<String, String>,
    config: &ImageConfig,
    fetch: &mut dyn FnMut(&Reference) -> Result<NamedBase, E>,
) -> Result<Boundary, E> {
    let diff_ids = &config.rootfs.diff_ids;
    let all_but = |count: usize| diff_ids.len().saturating_sub(count);
    let (lower, rule) = match choice {
        Choice::Top(count) => {
            let (found, wanted) = (diff_ids.len(), count.get());
            if wanted > found {
                return Err(Error::FewerLayers { found, wanted }.into());
            }
            (all_but(wanted), Rule::Top)
        }
        Choice::Last => (all_but(1), Rule::Last),
        Choice::Base(reference) => {
            let base = fetch(reference)?;
            let lower = prefix(diff_ids, &base, reference)?;
            (lower, Rule::Base { reference: reference.clone(), digest: base.digest })
        }
        Choice::Default | Choice::Derived => {
            if let Some(label) = config.label(LABEL).filter(|label| !label.is_empty()) {
                (labelled(diff_ids, label)?, Rule::Label)
            } else if let Some(reference) = annotated(annotations)? {
                let base = fetch(&reference)?;
                let lower = prefix(diff_ids, &base, &reference)?;
                (lower, Rule::Annotations { reference, digest: base.digest })
            } else if *choice == Choice::Derived {
                return Err(Error::NothingSaid { layers: diff_ids.len() }.into());
            } else {
                (all_but(1), Rule::Guess)
            }
        }
    };
    if lower >= diff_ids.len() {
        let (layers, by) = (diff_ids.len(), rule.to_string());
        return Err(Error::NothingAbove { layers, by }.into());
    }
    Ok(Boundary { lower, rule })
}

/// How many layers there are up to the one that the label names.
fn labelled(diff_ids: &[Digest], label: &str) -> Result<usize, Error> {
    let mut places = (1..).zip(diff_ids).filter(|(_, diff_id)| diff_id.to_string() == label);
    match (places.next(), places.count()) {
        (Some((place, _)), 0) => Ok(place),
        (found, more) => Err(Error::Label {
            label: Escaped(label.as_bytes()).to_string(),
            found: usize::from(found.is_some()) + more,
            layers: diff_ids.len(),
        }),
    }
}

/// The base that annotations name. Builders leave them empty for an image without a base.
fn annotated(annotations: &BTreeMap<String, String>) -> Result<Option<Reference>, Error> {
    let value = |key| annotations.get(key).filter(|value: &&String| !value.is_empty());
    let contradiction = |problem: String| Error::Annotations { problem };
    let shown = |text: &str| Escaped(text.as_bytes()).to_string();
    let digest = match value(DIGEST).map(|text| (text, text.parse::<Digest>())) {
        None => None,
        Some((_, Ok(digest))) => Some(digest),
        Some((_, Err(error))) => return Err(contradiction(format!("{DIGEST}: {error}"))),
    };
    let Some(name) = value(NAME) else {
        return match digest {
            None => Ok(None),
            Some(digest) => Err(contradiction(format!(
                "found {DIGEST} {digest} alone, expected {NAME} beside it"
            ))),
        };
    };
    // Never a place on this machine, whatever the publisher wrote.
    let Ok(Reference::Registry { repository, digest: of_name, .. }) =
        format!("docker://{name}").parse()
    else {
        let problem = format!("found \"{}\" in {NAME}, expected HOST/PATH[:TAG]", shown(name));
        return Err(Error::NoPlace { problem });
    };
    let digest = match (digest, of_name) {
        (Some(one), Some(other)) if one != other => {
            return Err(contradiction(format!(
                "found {NAME} {} and {DIGEST} {one}, expected one digest",
                shown(name)
            )));
        }
        (Some(digest), _) | (None, Some(digest)) => digest,
        (None, None) => {
            return Err(contradiction(format!(
                "found {NAME} {} alone, which another image may have tomorrow, expected {DIGEST} \
                 beside it",
                shown(name)
            )));
        }
    };
    Ok(Some(Reference::Registry { repository, tag: None, digest: Some(digest) }))
}

/// How many layers a base has, if they are the lowest of the image.
fn prefix(diff_ids: &[Digest], base: &NamedBase, reference: &Reference) -> Result<usize, Error> {
    if diff_ids.starts_with(&base.diff_ids) {
        return Ok(base.diff_ids.len());
    }
    let same = diff_ids.iter().zip(&base.diff_ids).take_while(|(a, b)| a == b).count();
    Err(Error::NotTheBase {
        base: reference.to_string(),
        digest: base.digest,
        layers: base.diff_ids.len(),
        same,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ExitCode, Fault};

    const BASE: &str = "registry.example/os:1";

    fn diff_id(n: u8) -> Digest {
        Digest::of(&[n])
    }

    /// An image of these layers, with labels.
    fn config(layers: &[u8], label: Option<&str>) -> ImageConfig {
        let diff_ids: Vec<_> = layers.iter().map(|&n| diff_id(n)).collect();
        let labels = label.map(|label| serde_json::json!({ LABEL: label }));
        let text = serde_json::json!({
            "os": "linux", "architecture": "amd64", "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        ImageConfig::parse(text.to_string().as_bytes()).unwrap()
    }

    fn annotations(name: &str, digest: &str) -> BTreeMap<String, String> {
        let all = [(NAME, name), (DIGEST, digest)];
        let given = all.into_iter().filter(|(_, value)| *value != "-");
        given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Draws a boundary where every reference is of a base of these layers.
    fn drawn(
        choice: &Choice,
        annotations: &BTreeMap<String, String>,
        config: &ImageConfig,
        base: &[u8],
    ) -> (Result<Boundary, Error>, Vec<String>) {
        let mut asked = Vec::new();
        let result = draw(choice, annotations, config, &mut |reference| {
            asked.push(reference.to_string().replace("docker://", ""));
            Ok(NamedBase {
                digest: diff_id(99),
                diff_ids: base.iter().map(|&n| diff_id(n)).collect(),
            })
        });
        (result, asked)
    }

    fn lower(
        choice: &Choice,
        annotations: &BTreeMap<String, String>,
        config: &ImageConfig,
    ) -> Result<(usize, &'static str), (ExitCode, &'static str)> {
        drawn(choice, annotations, config, &[1, 2])
            .0
            .map(|boundary| (boundary.lower, boundary.rule.name()))
            .map_err(|error| (error.exit_code(), error.id()))
    }

    #[test]
    fn the_first_that_says_anything_draws_the_boundary() {
        let label = diff_id(3).to_string();
        let (said, silent) =
            (config(&[1, 2, 3, 4, 5], Some(&label)), config(&[1, 2, 3, 4, 5], None));
        let (none, pinned) = (BTreeMap::new(), annotations(BASE, &diff_id(99).to_string()));
        let top = |n| Choice::Top(NonZeroUsize::new(n).unwrap());
        let base = Choice::Base(BASE.parse().unwrap());
        for (choice, annotations, config, expected) in [
            (&top(4), &pinned, &said, Ok((1, "top"))),
            (&top(5), &pinned, &said, Ok((0, "top"))),
            (&top(6), &pinned, &said, Err((ExitCode::Usage, "base.fewer-layers"))),
            (&Choice::Last, &pinned, &said, Ok((4, "last"))),
            (&base, &none, &said, Ok((2, "base"))),
            (&Choice::Default, &pinned, &said, Ok((3, "label"))),
            (&Choice::Derived, &pinned, &said, Ok((3, "label"))),
            (&Choice::Default, &pinned, &silent, Ok((2, "annotations"))),
            (&Choice::Derived, &pinned, &silent, Ok((2, "annotations"))),
            (&Choice::Default, &none, &silent, Ok((4, "guess"))),
            (&Choice::Derived, &none, &silent, Err((ExitCode::Identity, "base.nothing-said"))),
            (&Choice::Default, &annotations("", ""), &silent, Ok((4, "guess"))),
            (&Choice::Default, &none, &config(&[1], Some("")), Ok((0, "guess"))),
        ] {
            assert_eq!(lower(choice, annotations, config), expected, "{choice:?}");
        }
    }

    #[test]
    fn a_label_names_one_layer_below_another() {
        let none = BTreeMap::new();
        let says = |layers: &[u8], label: &str| {
            lower(&Choice::Default, &none, &config(layers, Some(label)))
        };
        let (first, last) = (diff_id(1).to_string(), diff_id(2).to_string());
        assert_eq!(says(&[1, 2], &first), Ok((1, "label")));
        assert_eq!(says(&[1, 2], &last), Err((ExitCode::Malformed, "base.nothing-above")));
        for (layers, label) in [(&[1, 1, 2][..], first), (&[1, 2], "x".to_owned())] {
            assert_eq!(says(layers, &label), Err((ExitCode::Identity, "base.label")), "{label}");
        }
        assert_eq!(says(&[3, 4], &last), Err((ExitCode::Identity, "base.label")));
    }

    /// Row 99: another base ends the run, and so does one that has all of the image.
    #[test]
    fn row_99_a_base_is_what_the_image_begins_with() {
        let pinned = annotations(BASE, &diff_id(99).to_string());
        let of = |layers: &[u8], base: &[u8]| {
            let choices = [Choice::Default, Choice::Base(BASE.parse().unwrap())];
            let [by_image, by_user] = choices.map(|choice| {
                let (result, asked) = drawn(&choice, &pinned, &config(layers, None), base);
                assert_eq!(asked.len(), 1);
                result.map(|it| it.lower).map_err(|error| (error.exit_code(), error.id()))
            });
            assert_eq!(by_image, by_user);
            by_image
        };
        assert_eq!(of(&[1, 2, 3], &[1]), Ok(1));
        assert_eq!(of(&[1, 2, 3], &[1, 2]), Ok(2));
        let other = Err((ExitCode::Identity, "base.not-the-base"));
        for base in [&[2][..], &[1, 3], &[1, 2, 3, 4], &[2, 1, 3]] {
            assert_eq!(of(&[1, 2, 3], base), other, "{base:?}");
        }
        assert_eq!(of(&[1, 2], &[1, 2]), Err((ExitCode::Malformed, "base.nothing-above")));
    }

    /// A tag is what its registry says today: an image is not made from that.
    #[test]
    fn annotations_count_with_a_digest_alone() {
        let (config, digest) = (config(&[1, 2, 3], None), diff_id(99).to_string());
        let pinned = format!("registry.example/os@{digest}");
        for (name, of, asked) in [
            (BASE, &*digest, &*pinned),
            ("registry.example/os", &digest, &pinned),
            (&pinned, "-", &pinned),
            (&pinned, &digest, &pinned),
            (&format!("registry.example/os:1@{digest}"), "", &pinned),
        ] {
            let (result, found) = drawn(&Choice::Default, &annotations(name, of), &config, &[1]);
            assert_eq!((result.unwrap().lower, found), (1, vec![asked.to_owned()]), "{name} {of}");
        }
        let other = diff_id(98).to_string();
        for (name, of, expected) in [
            (BASE, "-", (ExitCode::Identity, "base.annotations")),
            (BASE, "", (ExitCode::Identity, "base.annotations")),
            ("-", &digest, (ExitCode::Identity, "base.annotations")),
            (BASE, "sha256:1", (ExitCode::Identity, "base.annotations")),
            (&pinned, &other, (ExitCode::Identity, "base.annotations")),
            ("fedora:41", &digest, (ExitCode::Network, "base.no-place")),
            ("oci:/etc/x", &digest, (ExitCode::Network, "base.no-place")),
            ("dir:/etc", &digest, (ExitCode::Network, "base.no-place")),
            ("docker://registry.example/os", &digest, (ExitCode::Network, "base.no-place")),
            ("\u{1b}[2J", &digest, (ExitCode::Network, "base.no-place")),
        ] {
            for choice in [Choice::Default, Choice::Derived] {
                let (result, asked) = drawn(&choice, &annotations(name, of), &config, &[1]);
                let error = result.unwrap_err();
                assert_eq!((error.exit_code(), error.id()), expected, "{name} {of}");
                assert!(asked.is_empty() && !error.to_string().contains('\u{1b}'), "{error}");
            }
        }
    }

    #[test]
    fn the_argument_of_layers_is_read() {
        assert_eq!("last".parse(), Ok(Choice::Last));
        assert_eq!("derived".parse(), Ok(Choice::Derived));
        assert_eq!("3".parse(), Ok(Choice::Top(NonZeroUsize::new(3).unwrap())));
        for bad in ["0", "-1", "", "first", "1.5"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }
}
