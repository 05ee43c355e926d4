//! Signatures by a certificate of one's own authority alone: `pki` of containers-policy.json(5).
//!
//! No log and no timestamp says when such a signature was made, so the whole chain must be valid
//! now: with the certificate, the signature ends.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

use super::certificate::{Bearer, check_chain, pem_certificate};
use super::certified::chain;
use super::simple_signing::CERTIFICATE;
use super::trust_root::{Authorities, Authority, TrustRoot, TrustRootError};
use super::{Certified, Reason};

/// A signer by certificate of one's own authority: who, vouched for by whom, seen from when.
#[derive(Clone, Debug)]
pub struct PkiSigner {
    authorities: Vec<Authority>,
    subject: PkiSubject,
    now: Timestamp,
}

/// Whose certificate it must be: an e-mail address, a host name, or both; never neither (K4).
///
/// ```compile_fail,E0451
/// oci2sysext::verify::PkiSubject { email: None, host: None };
/// ```
#[derive(Clone, Debug)]
pub struct PkiSubject {
    email: Option<String>,
    host: Option<ServerName<'static>>,
}

impl PkiSubject {
    /// All that is given must be in the certificate.
    ///
    /// # Errors
    ///
    /// Nothing at all, an empty text, and what is no host name.
    pub fn new(email: Option<&str>, host: Option<&str>) -> Result<Self, String> {
        if email.is_none() && host.is_none() || email == Some("") {
            return Err("found no subject, expected an e-mail address or a host name".to_owned());
        }
        let host = host.map(|name| {
            let host = ServerName::try_from(name.to_owned());
            host.map_err(|_| format!("found {name:?}, expected the name or address of a host"))
        });
        Ok(Self { email: email.map(str::to_owned), host: host.transpose()? })
    }
}

impl PkiSigner {
    /// A signer whose chain ends at one of `roots`, by way of `intermediates` and of what is beside
    /// the signature; both are PEM, and the latter may be empty.
    ///
    /// # Errors
    ///
    /// No certificate of an authority, none that still is one, and a clock that is not set.
    pub fn new(
        roots: &[u8],
        intermediates: &[u8],
        subject: PkiSubject,
        now: Timestamp,
    ) -> Result<Self, TrustRootError> {
        let root = TrustRoot::of(&Authorities {
            roots: roots.to_vec(),
            intermediates: intermediates.to_vec(),
            ..Authorities::default()
        })?;
        root.check_current(now)?;
        Ok(Self { authorities: root.authorities, subject, now })
    }
}

/// Checks a signature of `payload` by the certificate that is annotated beside it.
pub(super) fn check(
    payload: &[u8],
    signature: &[u8],
    annotations: &BTreeMap<String, String>,
    signer: &PkiSigner,
) -> Result<Certified, Reason> {
    let broken = |problem: String| Reason::Certificate { problem };
    let leaf = annotations.get(CERTIFICATE).ok_or(Reason::NoCertificate)?;
    let leaf = pem_certificate(leaf.as_bytes()).map_err(broken)?;
    let beside = chain(annotations).map_err(broken)?;
    let bearer = Bearer::of(&leaf).map_err(broken)?;
    let issuer = check_chain(&leaf, &beside, &signer.authorities, signer.now)
        .map_err(|problem| broken(format!("the certificate now ({}): {problem}", signer.now)))?;
    if !bearer.key.is_signed(payload, signature) {
        return Err(broken("the signature is not by the certificate's key".to_owned()));
    }
    // Last, so that it is said only of somebody who did sign.
    let PkiSubject { email, host } = &signer.subject;
    let has_email = email.as_ref().is_none_or(|email| bearer.emails.contains(email));
    let has_host = host.as_ref().is_none_or(|host| is_of_host(&leaf, host));
    if !has_email || !has_host {
        let host = host.as_ref().map(ServerName::to_str);
        let expected = [email.as_deref(), host.as_deref()];
        return Err(Reason::OtherSigner {
            subject: bearer.names,
            issuer,
            expected: expected.into_iter().flatten().collect::<Vec<_>>().join(" and "),
        });
    }
    Ok(Certified { subject: bearer.names, issuer, time: None, is_brief: false })
}

fn is_of_host(leaf: &[u8], host: &ServerName<'_>) -> bool {
    let der = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&der);
    leaf.is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(host).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_subject_demands_something() {
        for (email, host) in
            [(None, None), (Some(""), None), (None, Some("")), (Some(""), Some("a"))]
        {
            assert!(PkiSubject::new(email, host).is_err(), "{email:?} {host:?}");
        }
        for host in ["*.example.com", "a b", "a/b", "-", "[::1]", "a..b", "\n"] {
            assert!(PkiSubject::new(None, Some(host)).is_err(), "{host:?}");
        }
        assert!(PkiSubject::new(Some("a@b"), None).is_ok());
        assert!(PkiSubject::new(None, Some("build.example.com")).is_ok());
        assert!(PkiSubject::new(None, Some("192.0.2.1")).is_ok());
    }

    proptest! {
        #[test]
        fn no_subject_panics(text in "\\PC{0,40}", leaf: Vec<u8>) {
            if let Ok(subject) = PkiSubject::new(None, Some(&text)) {
                prop_assert!(!is_of_host(&leaf, &subject.host.unwrap()));
            }
        }
    }
}
