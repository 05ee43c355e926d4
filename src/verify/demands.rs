//! What a signature must say besides the image and its repository: annotations, that it is not too
//! old, and no other extension's name (verification.md §1.6).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::image::Vouched;
use super::{Reason, SignedName};
use crate::oci::name::extension_in_tag;

/// Where a publisher signs the extension's name: `cosign sign -a name=NAME`.
const NAME: &str = "name";

/// What a signature must say besides the image and its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Annotations that must be signed, too, with these values (L6).
    pub annotations: BTreeMap<String, String>,
    /// The earliest time at which it may have been made; a log or a timestamp must say when.
    pub earliest: Option<Timestamp>,
    /// The extension's name: a signature may name none, but no other (row 37).
    pub extension: Option<String>,
    /// The tag that the image was asked for by. Where there is none, signed tags say nothing.
    pub tag: Option<String>,
}

impl Demands {
    pub(super) fn check(&self, vouched: &Vouched) -> Result<(), Reason> {
        for (name, expected) in &self.annotations {
            let found = vouched.annotations.get(name);
            if found.and_then(Value::as_str) != Some(expected) {
                return Err(Reason::Annotation {
                    name: name.clone(),
                    found: found.map(ToString::to_string),
                    expected: expected.clone(),
                });
            }
        }
        if let Some(earliest) = self.earliest {
            let found = vouched.time.ok_or(Reason::NoTime)?;
            if found < earliest {
                return Err(Reason::TooOld { found, earliest });
            }
        }
        let tag = self.signed_tag(vouched);
        for (found, from) in extensions(vouched, tag.as_deref()) {
            if let Some(expected) = self.extension.as_ref().filter(|expected| *expected != found) {
                let (found, expected) = (found.to_owned(), expected.clone());
                return Err(Reason::OtherExtension { found, from, expected });
            }
        }
        Ok(())
    }

    /// Whether a signature says which extension the image is: by its name, or by the tag asked for.
    pub(super) fn is_named(&self, vouched: &Vouched) -> bool {
        let tag = self.signed_tag(vouched);
        tag.is_some() && tag == self.tag || extensions(vouched, tag.as_deref()).next().is_some()
    }

    /// skopeo signs the tag, too. An image may have been copied since, but not to another
    /// extension's tag.
    fn signed_tag(&self, vouched: &Vouched) -> Option<String> {
        self.tag.as_ref()?;
        SignedName::parse(&vouched.reference).ok()?.tag
    }
}

/// The extension's names that are signed, and what carries them.
fn extensions<'v>(
    vouched: &'v Vouched,
    tag: Option<&'v str>,
) -> impl Iterator<Item = (&'v str, &'static str)> {
    let of_tag = tag.and_then(extension_in_tag).map(|name| (name, "signed tag"));
    let annotation = vouched.annotations.get(NAME).and_then(Value::as_str);
    of_tag.into_iter().chain(annotation.map(|name| (name, "annotation name of the signature")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::image::{Comparison, Signatory, Signed};
    use super::super::{NamedKey, PublicKey};
    use super::*;
    use crate::oci::Digest;

    fn vouched(reference: String, name: Option<Value>, time: Option<Timestamp>) -> Vouched {
        let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", &[9; 32][..]].concat();
        let key = NamedKey { name: String::new(), key: PublicKey::from_spki(&spki).unwrap() };
        Vouched {
            signatory: Signatory::Key(key),
            digest: Digest::of(b""),
            signed: Signed::Instance,
            reference,
            identity: Comparison::Equal,
            annotations: name.map(|name| (NAME.to_owned(), name)).into_iter().collect(),
            time,
        }
    }

    proptest! {
        /// What is demanded is said by what is accepted, whatever else a signature says.
        #[test]
        fn what_is_accepted_says_what_is_demanded(
            reference in "(q\\.io/a(:[0-9]\\.[a-b]{1,2})?|\\PC{0,20})",
            name in proptest::option::of("[a-b]{1,2}"),
            extension in proptest::option::of("[a-b]{1,2}"),
            tag in proptest::option::of("[0-9]\\.[a-b]{1,2}"),
            annotation in proptest::option::of("[a-b]{1,2}"),
            earliest in proptest::option::of(0..3_i64),
            time in proptest::option::of(0..3_i64),
        ) {
            let moment = |second: Option<i64>| second.map(|s| Timestamp::from_second(s).unwrap());
            let demands = Demands {
                annotations: annotation.iter().map(|it| (NAME.to_owned(), it.clone())).collect(),
                earliest: moment(earliest),
                extension: extension.clone(),
                tag: tag.clone(),
            };
            let vouched = vouched(reference, name.clone().map(Value::String), moment(time));
            let is_named = demands.is_named(&vouched);
            prop_assert!(!is_named || name.is_some() || tag.is_some());
            if demands.check(&vouched).is_ok() {
                prop_assert!(annotation.is_none() || annotation == name);
                prop_assert!(earliest.is_none() || time >= earliest);
                prop_assert!(extension.is_none() || name.is_none() || extension == name);
            }
        }
    }
}
