//! Binding: whether a signed image is the one that was meant. A signature vouches for a digest of
//! a repository; a registry can still serve another image of it under the tag (row 37), or an
//! older one (row 38).

use super::{Error, Verdict};
use crate::error::Result;
use crate::oci::{Digest, ImageConfig, Platform, Repository, Resolved};
use crate::request::{Checks, Trust, Wanted};
use crate::trust::{Accepted, Downgrade, Revoked, State, Succession, Tracked, TrustSources};
use crate::verify::{LayerDescriptor, Verified};

/// Where images say their name.
const TITLE: &str = "org.opencontainers.image.title";
/// What the user misses without a state.
const NOT_REMEMBERED: &str =
    "there is no place to remember this image at, so an older one will not be noticed";

/// What is read before the network is asked.
#[derive(Debug)]
pub(super) struct Precautions<'r> {
    wanted: &'r Wanted,
    revoked: Revoked,
    state: Option<State>,
}

/// An image that is the one that was meant, as far as that is known before its layers are read.
#[derive(Debug)]
pub struct Bound<'r> {
    wanted: &'r Wanted,
    is_named: bool,
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

    /// Refuses an image that is revoked, of another name, or older than the one before it.
    pub fn check_image(
        self,
        digest: Digest,
        verdict: &Verdict,
        config: &ImageConfig,
        layers: &[Verified<LayerDescriptor>],
    ) -> Result<Bound<'r>> {
        self.check_digest("image configuration", verdict.manifest.config.digest)?;
        for layer in layers {
            self.check_digest("layer", layer.descriptor.digest)?;
            self.check_digest("layer", layer.diff_id)?;
        }
        let Self { wanted, state, .. } = self;
        if matches!(wanted.trust, Trust::Nobody) {
            return Ok(Bound { wanted, is_named: true, newest: None });
        }
        let is_named = check_title(&wanted.checks, config)? || verdict.is_named;
        let newest = match (state, followed(wanted)) {
            (Some(state), Some((repository, tag))) => {
                let platform = wanted.platform.clone().unwrap_or_else(Platform::host);
                let tracked = Tracked::new(repository, tag, &platform);
                let mut accepted = Accepted::new(digest, config.created_at());
                accepted.signed_at = verdict.signed_at.map(|time| time.to_string());
                match state.follows(&tracked, &accepted)? {
                    Succession::Forward => {}
                    Succession::Back(downgrade) if !wanted.checks.allow_downgrade => {
                        return Err(Error::Downgrade { downgrade }.into());
                    }
                    Succession::Back(Downgrade { found, newest, .. }) => tracing::warn!(
                        "the image was built at {found}, the last one under this tag at {newest}"
                    ),
                    Succession::Unclear { newest } => tracing::warn!(
                        "the image is another than the last one under this tag ({newest}), and \
                         nothing says which of them is the older: if the publisher has not changed \
                         it, do not use it"
                    ),
                }
                Some((state, tracked, accepted))
            }
            _ => None,
        };
        Ok(Bound { wanted, is_named, newest })
    }
}

impl Bound<'_> {
    /// Demands or misses a signed name; `is_shipped` says whether the layer carries it.
    pub fn check_name(&self, is_shipped: bool) -> Result<Option<String>, Error> {
        let Checks { name, require_name, .. } = &self.wanted.checks;
        if self.is_named || is_shipped {
            return Ok(None);
        }
        if *require_name {
            return Err(Error::NoName { expected: name.clone() });
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

/// The tag that is followed, if a signature is asked for.
fn followed(wanted: &Wanted) -> Option<(&Repository, &str)> {
    wanted.reference.followed().filter(|_| matches!(wanted.trust, Trust::Signature(_)))
}

/// Whether the image's configuration, which is covered by the signature, says its name; another
/// one than the extension's is refused.
fn check_title(checks: &Checks, config: &ImageConfig) -> Result<bool, Error> {
    let Some(found) = config.label(TITLE) else { return Ok(false) };
    match &checks.name {
        Some(expected) if found != expected && !checks.rename => {
            Err(Error::OtherName { found: found.to_owned(), expected: expected.clone() })
        }
        // In `verify` of a local copy, any name will do.
        _ => Ok(true),
    }
}
