//! Bearer tokens, and who may see the credentials that buy them (row 79).

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use serde::Deserialize;
use url::{Host, Url};

use super::auth::Secret;
use super::message::{bounded, shown};
use crate::json;

/// Bytes of a token service's answer.
pub(super) const MAX_ANSWER: u64 = 1 << 20;
/// The shortest life of a token (distribution's token specification).
const MIN_LIFE: u64 = 60;
/// The longest time that a token is kept.
const MAX_LIFE: u64 = 24 * 60 * 60;
/// How long before its end a token is renewed.
const MARGIN: u64 = 10;

/// Where tokens are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Realm {
    /// The address.
    pub url: Url,
    /// Whether it belongs to the registry, and may see the registry's credentials.
    pub trusted: bool,
}

impl Realm {
    /// Judges the realm that a registry names.
    ///
    /// A realm on plain HTTP is refused, unless the registry itself is spoken to in plain HTTP,
    /// which only the user can have asked for.
    pub fn new(registry: &Url, realm: &str) -> Result<Self, String> {
        let mut url = Url::parse(realm).map_err(|error| {
            format!("found the realm {:?}, expected an address: {error}", bounded(realm))
        })?;
        match (registry.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => {}
            (_, _) => {
                return Err(format!("found the realm {}, expected https://", shown(&url)));
            }
        }
        if !url.has_host() || url.set_username("").and_then(|()| url.set_password(None)).is_err() {
            return Err(format!("found the realm {:?} without a host", bounded(realm)));
        }
        url.set_fragment(None);
        let trusted = share_domain(registry, &url);
        // The user's word for plain HTTP is for the registry, not for whomever it names (row 79).
        if url.scheme() == "http" && !trusted {
            return Err(format!(
                "found the realm {}, expected https:// on another host",
                shown(&url)
            ));
        }
        Ok(Self { url, trusted })
    }

    /// The address with the question for a token that may pull `repository`.
    pub fn question(&self, service: Option<&str>, repository: &str, account: Option<&str>) -> Url {
        let mut url = self.url.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &scope(repository));
            if let Some(account) = account.filter(|account| !account.is_empty()) {
                query.append_pair("account", account);
            }
        }
        url
    }

    /// The form that buys a token with a refresh token (RFC 6749, section 6).
    pub fn form(service: Option<&str>, repository: &str, token: &Secret) -> Secret {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("client_id", env!("CARGO_PKG_NAME"))
            .append_pair("scope", &scope(repository))
            .append_pair("refresh_token", &token.0);
        if let Some(service) = service {
            form.append_pair("service", service);
        }
        Secret(form.finish())
    }
}

fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// Whether two hosts are one, or names below one registrable domain (public suffix list).
fn share_domain(a: &Url, b: &Url) -> bool {
    match (a.host(), b.host()) {
        (Some(Host::Domain(a)), Some(Host::Domain(b))) => {
            let (a, b) = (a.trim_end_matches('.'), b.trim_end_matches('.'));
            a == b || psl::domain_str(a).is_some_and(|domain| psl::domain_str(b) == Some(domain))
        }
        (a, b) => a.is_some() && a == b,
    }
}

/// A token for one repository.
#[derive(Debug)]
pub(super) struct Token {
    /// `Bearer …`, marked as sensitive.
    pub header: HeaderValue,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Token {
    /// Reads a token service's answer.
    pub fn new(answer: &[u8], received: Instant) -> Result<Self, String> {
        let answer: Answer =
            json::from_slice(answer).map_err(|_| "found no token in JSON".to_owned())?;
        let given = [answer.token, answer.access_token];
        let token = given.into_iter().flatten().find(|token| !token.0.is_empty());
        let token = token.ok_or("found an answer without token")?;
        // RFC 6750, 2.1
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        let header = Some(format!("Bearer {}", token.0))
            .filter(|_| token.0.bytes().all(is_token))
            .and_then(|text| HeaderValue::try_from(text).ok());
        let mut header = header.ok_or("found a token of characters that no token has")?;
        header.set_sensitive(true);
        let life = answer.expires_in.as_u64().unwrap_or(MIN_LIFE).clamp(MIN_LIFE, MAX_LIFE);
        Ok(Self { header, renew_at: received + Duration::from_secs(life - MARGIN) })
    }

    /// Whether it is time for another.
    pub fn is_old(&self, now: Instant) -> bool {
        now >= self.renew_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(registry: &str, realm: &str) -> Result<bool, String> {
        Realm::new(&registry.parse().unwrap(), realm).map(|realm| realm.trusted)
    }

    #[test]
    fn credentials_go_to_the_registrys_own_domain_only() {
        for (registry, url, trusted) in [
            ("https://registry-1.docker.io/", "https://auth.docker.io/token", true),
            ("https://quay.io/", "https://quay.io/v2/auth", true),
            ("https://quay.io:443/", "https://quay.io:8443/v2/auth", true),
            ("https://registry.gitlab.com/", "https://gitlab.com/jwt/auth", true),
            ("https://quay.io/", "https://evil.io/token", false),
            ("https://quay.io/", "https://quay.io.evil.test/token", false),
            ("https://a.github.io/", "https://b.github.io/token", false),
            ("https://a.co.uk/", "https://b.co.uk/token", false),
            ("https://10.0.0.1/", "https://10.0.0.2/token", false),
            ("https://127.0.0.1:5000/", "https://127.0.0.1:5001/token", true),
            ("https://127.0.0.1:5000/", "https://localhost:5001/token", false),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token", true),
            ("https://localhost/", "https://a.localhost/token", false),
        ] {
            assert_eq!(realm(registry, url), Ok(trusted), "{registry} {url}");
        }
    }

    #[test]
    fn a_realm_is_on_https() {
        for bad in ["http://quay.io/token", "ftp://quay.io/", "/token", "", "file:///x", "https://"]
        {
            assert!(realm("https://quay.io/", bad).is_err(), "{bad}");
        }
        assert!(realm("http://127.0.0.1:5000/", "http://evil.test/token").is_err());
        let found = Realm::new(&"https://quay.io/".parse().unwrap(), "https://u:p@quay.io/t?a=b#c");
        let question = found.unwrap().question(Some("s&t"), "o/r", Some("me"));
        assert_eq!(
            question.as_str(),
            "https://quay.io/t?a=b&service=s%26t&scope=repository%3Ao%2Fr%3Apull&account=me"
        );
    }

    #[test]
    fn a_token_is_renewed_before_its_end() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let token = Token::new(br#"{"token":"a.b","expires_in":300}"#, now).unwrap();
        assert_eq!(token.header, "Bearer a.b");
        assert!(!token.is_old(after(289)) && token.is_old(after(290)));
        assert!(!format!("{token:?}").contains("a.b"));
        let token = Token::new(br#"{"access_token":"x","expires_in":1}"#, now).unwrap();
        assert!(!token.is_old(after(49)) && token.is_old(after(50)));
        assert!(Token::new(br#"{"token":"x","expires_in":18446744073709551615}"#, now).is_ok());
        let array = br#"["a.b",null,300]"#;
        for bad in [&b""[..], b"{}", br#"{"token":""}"#, br#"{"token":"a b"}"#, b"[1]", array] {
            assert!(Token::new(bad, now).is_err());
        }
    }
}
