//! Binding: whether a signed image is the one that was meant. A signature vouches for a digest of
//! a repository; a registry can still serve another image of it under the tag (row 37), or an
//! older one (row 38).

use jiff::{SignedDuration, Timestamp};

use super::{Admitted, Error};
use crate::error::Result;
use crate::oci::{Digest, ImageConfig, Platform, Reference, Resolved};
use crate::request::{Checks, Trust, Wanted, extension_in_tag};
use crate::trust::{Accepted, Revoked, State, Tracked, TrustSources};
use crate::verify::{LayerDescriptor, SignedName, Verified};

/// Where images say their name.
const TITLE: &str = "org.opencontainers.image.title";
/// What the user misses without a state.
const NOT_REMEMBERED: &str =
    "there is no place to remember this image at, so an older one will not be noticed";
/// Where a signature says the image's name.
const NAME: &str = "name";

/// What is read before the network is asked.
#[derive(Debug)]
pub struct Precautions<'r> {
    wanted: &'r Wanted,
    revoked: Revoked,
    state: Option<State>,
}

/// An image that is the one that was meant, as far as that is known before its layers are read.
#[derive(Debug)]
pub struct Bound<'r> {
    wanted: &'r Wanted,
    name_is_signed: bool,
    newest: Option<(State, Tracked, Accepted)>,
}

impl<'r> Precautions<'r> {
    /// Reads the lists of revoked digests, and opens the state.
    pub fn new(wanted: &'r Wanted) -> Result<Self> {
        let sources = TrustSources::default();
        let mut revoked = Revoked::default();
        for path in &wanted.checks.revoked {
            revoked.extend(Revoked::load(path, sources.as_root)?);
        }
        let directory = wanted.checks.state.clone().or(sources.locations.state);
        let state = match (followed(wanted), directory) {
            (None, _) => None,
            (Some(_), Some(directory)) => match State::open(&directory, sources.as_root) {
                // There is nothing in it that could be missed.
                Err(error)
                    if wanted.checks.state.is_none()
                        && matches!(directory.try_exists(), Ok(false)) =>
                {
                    tracing::warn!("{NOT_REMEMBERED} ({error}): give --state-dir DIR");
                    None
                }
                opened => Some(opened?),
            },
            (Some(_), None) => {
                tracing::warn!("{NOT_REMEMBERED}: set XDG_STATE_HOME, or give --state-dir DIR");
                None
            }
        };
        Ok(Self { wanted, revoked, state })
    }

    /// Refuses what is revoked, whoever has signed it.
    pub fn check_resolved(&self, resolved: &Resolved) -> Result<(), Error> {
        self.check_digest("manifest", resolved.manifest.digest)?;
        match &resolved.index {
            Some(index) => self.check_digest("index", index.digest),
            None => Ok(()),
        }
    }

    fn check_digest(&self, what: &'static str, digest: Digest) -> Result<(), Error> {
        if self.revoked.contains(&digest) {
            return Err(Error::Revoked { what, digest });
        }
        Ok(())
    }

    /// Refuses an image that is revoked, signed too long ago, of another name, or older than the
    /// one before it.
    pub fn check_image(
        self,
        admitted: &Admitted,
        config: &ImageConfig,
        layers: &[Verified<LayerDescriptor>],
    ) -> Result<Bound<'r>> {
        self.check_digest("image configuration", admitted.manifest.config.digest)?;
        for layer in layers {
            self.check_digest("layer", layer.descriptor.digest)?;
            self.check_digest("layer", layer.diff_id)?;
        }
        let Self { wanted, state, .. } = self;
        if matches!(wanted.trust, Trust::Nobody) {
            return Ok(Bound { wanted, name_is_signed: true, newest: None });
        }
        check_age(&wanted.checks, admitted.signed_at, Timestamp::now())?;
        let tag = followed(wanted).map(|(_, tag)| tag);
        let name_is_signed = check_names(&wanted.checks, tag, admitted, config)?;
        let newest = match (state, followed(wanted)) {
            (Some(state), Some((repository, tag))) => {
                let platform = wanted.platform.clone().unwrap_or_else(Platform::host);
                let tracked = Tracked::new(repository, tag, &platform);
                let mut accepted = Accepted::new(admitted.manifest_digest(), config.created_at());
                accepted.signed_at = admitted.signed_at.map(|time| time.to_string());
                if let Some(downgrade) = state.downgrade(&tracked, &accepted)? {
                    if !wanted.checks.allow_downgrade {
                        return Err(Error::Downgrade { downgrade }.into());
                    }
                    tracing::warn!(
                        "the image was built at {}, the last one under this tag at {}",
                        downgrade.found,
                        downgrade.newest
                    );
                }
                Some((state, tracked, accepted))
            }
            _ => None,
        };
        Ok(Bound { wanted, name_is_signed, newest })
    }
}

impl Bound<'_> {
    /// Demands or misses a signed name; `is_shipped` says whether the layer carries it.
    pub fn check_name(&self, is_shipped: bool) -> Result<Option<String>, Error> {
        let Checks { name, require_name, .. } = &self.wanted.checks;
        if self.name_is_signed || is_shipped {
            return Ok(None);
        }
        if *require_name {
            return Err(Error::NoName { expected: name.clone().unwrap_or_default() });
        }
        // Nobody serves another image under a digest, or under the name of a file.
        Ok(followed(self.wanted).map(|(_, tag)| {
            format!(
                "the tag is not signed: nothing in the image says that it is what {tag} stands for"
            )
        }))
    }

    /// Remembers the image, so that no older one is taken for it later.
    pub fn record(self) {
        let Some((state, tracked, accepted)) = self.newest else { return };
        // What was asked for is done: that it is not remembered does not undo it.
        if let Err(error) = state.record(&tracked, accepted, self.wanted.checks.allow_downgrade) {
            tracing::warn!("an older image will not be noticed: {error}");
        }
    }
}

/// The tag that is followed, if a signature is asked for: what a digest names stays the same.
fn followed(wanted: &Wanted) -> Option<(&crate::oci::Repository, &str)> {
    match (&wanted.trust, &wanted.reference) {
        (Trust::Signature(_), Reference::Registry { repository, tag: Some(tag), digest: None }) => {
            Some((repository, tag))
        }
        _ => None,
    }
}

fn check_age(checks: &Checks, signed_at: Option<Timestamp>, now: Timestamp) -> Result<(), Error> {
    let Some(max_age) = checks.max_age else { return Ok(()) };
    let signed_at = signed_at.ok_or(Error::NoTime)?;
    let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
    let earliest = now.checked_sub(max_age).unwrap_or(Timestamp::MIN);
    if signed_at < earliest {
        let (found, earliest) = (signed_at.to_string(), earliest.to_string());
        return Err(Error::TooOld { found, earliest });
    }
    Ok(())
}

/// Whether the signed image carries the extension's name, or the tag that it is asked for by;
/// another name is refused.
fn check_names(
    checks: &Checks,
    tag: Option<&str>,
    admitted: &Admitted,
    config: &ImageConfig,
) -> Result<bool, Error> {
    // skopeo signs the tag, too; it may have been copied since, but not to another name's.
    let names = admitted.names.iter().filter_map(|name| SignedName::parse(name).ok());
    let tags: Vec<_> = names.filter_map(|name| name.tag).filter(|_| tag.is_some()).collect();
    let of_tag = tags.iter().filter_map(|tag| Some((extension_in_tag(tag)?, "signed tag")));
    let of_signature = admitted.annotations.iter().filter_map(|annotations| {
        Some((annotations.get(NAME)?.as_str()?, "annotation name of the signature"))
    });
    let title = config.label(TITLE).map(|title| (title, "label org.opencontainers.image.title"));
    let mut is_signed = tags.iter().any(|signed| Some(&**signed) == tag);
    for (found, from) in of_tag.chain(of_signature).chain(title) {
        match &checks.name {
            Some(expected) if found != expected && !checks.rename => {
                let (found, expected) = (found.to_owned(), expected.clone());
                return Err(Error::OtherName { found, from, expected });
            }
            // In `verify` of a local copy, any name will do.
            _ => is_signed = true,
        }
    }
    Ok(is_signed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn checks(max_age: Option<u64>) -> Checks {
        Checks {
            name: None,
            rename: false,
            require_name: false,
            revoked: Vec::new(),
            max_age: max_age.map(Duration::from_secs),
            allow_downgrade: false,
            state: None,
        }
    }

    #[test]
    fn an_age_counts_from_when_it_was_signed() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let verdict = |max_age, signed_at: Option<i64>| {
            let signed_at = signed_at.map(|second| Timestamp::from_second(second).unwrap());
            check_age(&checks(max_age), signed_at, now)
        };
        assert!(verdict(None, None).is_ok());
        assert!(matches!(verdict(Some(u64::MAX), None), Err(Error::NoTime)));
        assert!(verdict(Some(100), Some(999_900)).is_ok());
        assert!(matches!(verdict(Some(100), Some(999_899)), Err(Error::TooOld { .. })));
        assert!(verdict(Some(u64::MAX), Some(-1)).is_ok());
    }
}
