//! A trust root: the certificate authorities, logs and timestamp authorities that are believed.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::types::TimeRange;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::PublicKey;
use super::certificate::validity;
use super::rekor::{Log, Logs};
use crate::escape::Escaped;
use crate::json;
use crate::oci::Digest;

/// What the media types of trust roots start with; versions follow.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";
/// From 2026, before the first release of this program, to 2070, after its authorities and
/// algorithms: a clock outside is not set (row 90).
const CLOCK: (i64, i64) = (1_767_225_600, 3_155_760_000);

/// The certificate authorities, logs and timestamp authorities that are believed.
#[derive(Clone)]
pub struct TrustRoot {
    verifier: Arc<Verifier>,
    pub(super) authorities: Vec<Authority>,
    pub(super) logs: Option<Logs>,
    /// Whether certificates must be in a certificate transparency log, and signatures in a log of
    /// their own. Only an authority of one's own may have neither.
    pub(super) certificate_log: bool,
    pub(super) signature_log: bool,
}

/// A certificate authority: one chain.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub anchor: CertificateDer<'static>,
    pub intermediates: Vec<CertificateDer<'static>>,
    pub window: Option<TimeRange>,
    /// When the first of its certificates ends.
    pub end: Timestamp,
}

/// What an own certificate authority is made of (`--ca-roots` and its companions).
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    /// Certificates of authorities, PEM, one or more.
    pub roots: Vec<u8>,
    /// Certificates between those and the signers', PEM; may be empty.
    pub intermediates: Vec<u8>,
    /// Keys of transparency logs (Rekor).
    pub logs: Vec<PublicKey>,
    /// The chain of a timestamp authority, PEM, its own certificate first; may be empty.
    pub timestamps: Vec<u8>,
}

/// Why there is no usable trust root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustRootError {
    /// It is not what it should be.
    #[error("{}", Escaped(problem.as_bytes()))]
    Malformed {
        /// What was found, and what was expected.
        problem: String,
    },
    /// Its certificate authorities have ended (row 30).
    #[error("all certificate authorities ended by {ended}, expected one that lasts")]
    Expired {
        /// When the last of them ended.
        ended: Timestamp,
    },
    /// This machine does not know the time (row 90).
    #[error("the clock of this machine says {now}, expected a time from {earliest} to {latest}")]
    Clock {
        /// What it says.
        now: Timestamp,
        /// The earliest that can be.
        earliest: Timestamp,
        /// The latest that can be.
        latest: Timestamp,
    },
}

impl TrustRoot {
    /// The root of sigstore's public instance, as it was when this program was built.
    ///
    /// # Errors
    ///
    /// None that its tests have seen.
    pub fn public_good() -> Result<Self, TrustRootError> {
        Self::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    /// Reads a `trusted_root.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TrustRootError> {
        let value: serde_json::Value = json::parse(bytes, json::DEEPEST).map_err(malformed)?;
        let media_type = value.get("mediaType").and_then(serde_json::Value::as_str);
        if !media_type.is_some_and(|found| found.starts_with(MEDIA_TYPE)) {
            let start: String = media_type.unwrap_or("none").chars().take(80).collect();
            return Err(malformed(format!("found media type {start:?}, expected {MEDIA_TYPE}…")));
        }
        let root: TrustedRoot = json::from_value(value).map_err(malformed)?;
        if root.certificate_authorities.is_empty() && root.tlogs.is_empty() {
            return Err(malformed(
                "found neither a certificate authority nor a log, expected some",
            ));
        }
        Self::new(&root, true, true)
    }

    /// Makes a root of an authority of one's own.
    pub fn of(parts: &Authorities) -> Result<Self, TrustRootError> {
        let entries = |certificates: &[Vec<u8>]| {
            let entry = |der: &Vec<u8>| json!({ "rawBytes": STANDARD.encode(der) });
            json!({ "certificates": certificates.iter().map(entry).collect::<Vec<_>>() })
        };
        let intermediates = certificates(&parts.intermediates)?;
        let roots = certificates(&parts.roots)?;
        if roots.is_empty() {
            return Err(malformed("found no certificate, expected an authority's"));
        }
        let authorities = roots.into_iter().map(|root| {
            let chain: Vec<_> = intermediates.iter().cloned().chain([root]).collect();
            json!({ "uri": "", "certChain": entries(&chain) })
        });
        let logs = parts.logs.iter().map(|key| {
            json!({
                "baseUrl": "",
                "hashAlgorithm": "SHA2_256",
                "publicKey": { "rawBytes": STANDARD.encode(key.spki()), "keyDetails": "" },
                "logId": { "keyId": STANDARD.encode(log_id(key)) },
            })
        });
        let timestamps = certificates(&parts.timestamps)?;
        let timestamps = if timestamps.is_empty() {
            Vec::new()
        } else {
            vec![json!({ "certChain": entries(&timestamps) })]
        };
        let root = json!({
            "mediaType": MEDIA_TYPE,
            "certificateAuthorities": authorities.collect::<Vec<_>>(),
            "tlogs": logs.collect::<Vec<_>>(),
            "timestampAuthorities": timestamps,
        });
        let root = serde_json::from_value(root).map_err(|error| malformed(error.to_string()))?;
        Self::new(&root, false, !parts.logs.is_empty())
    }

    fn new(
        root: &TrustedRoot,
        certificate_log: bool,
        signature_log: bool,
    ) -> Result<Self, TrustRootError> {
        let verifier = Verifier::new(root).map_err(|error| malformed(error.to_string()))?;
        let mut authorities = Vec::new();
        for authority in &root.certificate_authorities {
            let chain = &authority.cert_chain.certificates;
            let mut end = Timestamp::MAX;
            for certificate in chain {
                let certificate = Certificate::from_der(certificate.raw_bytes.as_bytes())
                    .map_err(|error| malformed(error.to_string()))?;
                end = end.min(validity(&certificate).map_err(malformed)?.1);
            }
            let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
            let Some((anchor, intermediates)) = chain.split_last() else { continue };
            authorities.push(Authority {
                anchor: der(anchor.raw_bytes.as_bytes()),
                intermediates: intermediates.iter().map(|c| der(c.raw_bytes.as_bytes())).collect(),
                window: authority.valid_for,
                end: authority.valid_for.and_then(|window| window.end).unwrap_or(end).min(end),
            });
        }
        let mut logs = Vec::new();
        for log in &root.tlogs {
            // Older keys of a kind that we do not verify with are of no use, and do no harm.
            let Ok(key) = PublicKey::from_spki(log.public_key.raw_bytes.as_bytes()) else {
                continue;
            };
            let host = log.base_url.split_once("://").map(|(_, rest)| rest);
            let host = host.map(|rest| rest.split('/').next().unwrap_or_default().to_owned());
            logs.push(Log {
                key,
                id: log.log_id.key_id.as_bytes().to_vec(),
                host: host.filter(|host| !host.is_empty()),
                window: log.public_key.valid_for,
            });
        }
        Ok(Self {
            verifier: Arc::new(verifier),
            authorities,
            logs: Logs::new(logs),
            certificate_log,
            signature_log,
        })
    }

    /// Its logs, if it has any.
    pub fn logs(&self) -> Option<&Logs> {
        self.logs.as_ref()
    }

    /// Checks that the root is one to trust new images by: the clock can be right (row 90), and one
    /// of its authorities still is one (row 30).
    pub fn check_current(&self, now: Timestamp) -> Result<(), TrustRootError> {
        check_clock(now)?;
        match self.authorities.iter().map(|authority| authority.end).max() {
            Some(ended) if ended < now => Err(TrustRootError::Expired { ended }),
            Some(_) => Ok(()),
            None => Err(malformed("found no certificate authority, expected one or more")),
        }
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

/// Checks that the clock can be right (row 90).
pub fn check_clock(now: Timestamp) -> Result<(), TrustRootError> {
    let moment = |second| Timestamp::from_second(second).unwrap_or_default();
    let (earliest, latest) = (moment(CLOCK.0), moment(CLOCK.1));
    if (earliest..=latest).contains(&now) {
        Ok(())
    } else {
        Err(TrustRootError::Clock { now, earliest, latest })
    }
}

/// How Rekor names the log of a key: the SHA-256 of its `SubjectPublicKeyInfo` (L7).
pub(super) fn log_id(key: &PublicKey) -> Vec<u8> {
    Digest::of(key.spki()).as_bytes().to_vec()
}

/// The certificates of a PEM file, DER.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, TrustRootError> {
    super::certificate::pem_chain(pem).map_err(malformed)
}

fn malformed(problem: impl AsRef<str>) -> TrustRootError {
    let problem = problem.as_ref().chars().take(300).collect();
    TrustRootError::Malformed { problem }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot")
            .field("authorities", &self.authorities.len())
            .field("logs", &self.logs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_compiled_in_root_is_current() {
        let root = TrustRoot::public_good().unwrap();
        assert!(root.authorities.len() >= 2 && root.logs().is_some());
        root.check_current(Timestamp::from_second(CLOCK.0).unwrap()).unwrap();
        let shown = format!("{root:?}");
        assert!(shown.contains(&format!("authorities: {}", root.authorities.len())), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_root_panics(bytes: Vec<u8>, at: usize, byte in 0x20..0x7f_u8) {
            let mut changed = SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes().to_vec();
            let at = at % changed.len();
            changed[at] = byte;
            let _ = (TrustRoot::from_json(&bytes), TrustRoot::from_json(&changed));
            let _ = TrustRoot::of(&Authorities { roots: bytes, ..Authorities::default() });
        }
    }
}
