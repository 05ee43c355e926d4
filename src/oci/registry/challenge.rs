//! A challenge: how a registry wants us to authenticate (RFC 9110, 11.6.1).

use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::message::bounded;

/// How a registry wants us to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a token from somewhere (distribution's token authentication).
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For which service.
        service: Option<String>,
    },
    /// With user name and password.
    Basic,
}

impl Challenge {
    /// The challenge of an answer that we can meet, tokens first; else, what is wrong.
    ///
    /// The `scope` is not read: we know what we want, and ask for nothing else.
    pub fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut basic = false;
        let mut bearer = None;
        let mut schemes = Vec::new();
        for header in headers.get_all(WWW_AUTHENTICATE) {
            let text = header.to_str().map_err(|_| "found a challenge that is not ASCII")?;
            for challenge in ChallengeParser::new(text) {
                let challenge = challenge
                    .map_err(|_| format!("found a malformed challenge {:?}", bounded(text)))?;
                if challenge.scheme.eq_ignore_ascii_case("Bearer") {
                    if bearer.is_some() {
                        return Err("found two Bearer challenges, expected one".to_owned());
                    }
                    bearer = Some(Self::Bearer {
                        realm: parameter(&challenge, "realm")?
                            .ok_or("found a Bearer challenge without realm")?,
                        service: parameter(&challenge, "service")?,
                    });
                } else if challenge.scheme.eq_ignore_ascii_case("Basic") {
                    basic = true;
                } else {
                    schemes.push(bounded(challenge.scheme));
                }
            }
        }
        match bearer {
            Some(bearer) => Ok(bearer),
            None if basic => Ok(Self::Basic),
            None if schemes.is_empty() => Err("found no challenge".to_owned()),
            None => Err(format!(
                "found challenges for {}, expected Bearer or Basic",
                bounded(&schemes.join(", "))
            )),
        }
    }
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Result<Option<String>, String> {
    let mut values = challenge.params.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value.to_unescaped());
    match values.next() {
        Some(_) => Err(format!("found a challenge with two values for {name}, expected one")),
        None => Ok(value),
    }
}

/// Headers of a registry, one a line.
///
/// - A realm or service that is taken was in a header, but for its backslashes.
/// - With another Bearer challenge it is refused.
/// - A refusal is short and printable.
#[cfg(any(test, fuzzing))]
#[allow(clippy::missing_panics_doc, reason = "a finding")]
pub fn fuzz(data: &[u8]) {
    use reqwest::header::HeaderValue;

    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(4) {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        headers.append(WWW_AUTHENTICATE, value);
    }
    match Challenge::of(&headers) {
        Ok(Challenge::Bearer { realm, service }) => {
            let plain = |text: &str| text.replace('\\', "");
            let text = plain(&String::from_utf8_lossy(data));
            for taken in [Some(realm), service].into_iter().flatten() {
                assert!(text.contains(&plain(&taken)), "{taken:?}");
            }
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"x\""));
            assert!(Challenge::of(&headers).is_err());
        }
        Ok(Challenge::Basic) => {}
        Err(problem) => {
            assert!(problem.len() < 3000 && !problem.chars().any(char::is_control), "{problem:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn what_is_fuzzed_holds() {
        for headers in [
            "Bearer realm=\"https://auth.test/token?a=\\\"b\\\"\",service=\"reg, test\",scope=\"s\"",
            "Basic realm=\"x\", charset=\"UTF-8\"\nBearer realm=\"https://a/\"",
            "Negotiate\nDigest x=y\n",
            "Bearer realm=\"x",
            "\u{e9}",
        ] {
            fuzz(headers.as_bytes());
        }
    }

    fn parse(headers: &[&'static str]) -> Result<Challenge, String> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_static(header));
        }
        Challenge::of(&map)
    }

    #[test]
    fn tokens_are_preferred() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.test/token?a=\"b\"".to_owned(),
            service: Some("reg, test".to_owned()),
        };
        let text =
            r#"Bearer realm="https://auth.test/token?a=\"b\"",service="reg, test",scope="s""#;
        assert_eq!(parse(&[text]), Ok(bearer.clone()));
        assert_eq!(parse(&[r#"Basic realm="x", charset="UTF-8""#, text]), Ok(bearer));
        assert_eq!(parse(&[r#"Negotiate, BASIC realm="x""#]), Ok(Challenge::Basic));
        assert_eq!(
            parse(&[r#"bearer Realm="https://a/", Basic realm=x"#]),
            Ok(Challenge::Bearer { realm: "https://a/".to_owned(), service: None })
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_a_challenge_or_an_error(
            text in r#"((Bearer|Basic|x)? ?(realm|service)? ?=? ?("[a-z ,=]*")?[ -~]?,?){0,4}"#,
        ) {
            let mut map = HeaderMap::new();
            map.append(WWW_AUTHENTICATE, HeaderValue::try_from(&text).unwrap());
            if let Ok(Challenge::Bearer { realm, .. }) = Challenge::of(&map) {
                proptest::prop_assert!(text.contains(&realm));
            }
        }
    }

    #[test]
    fn malformed_challenges_are_refused() {
        for bad in [
            "",
            "Bearer",
            "Negotiate",
            r#"Bearer service="x""#,
            r#"Bearer realm="x"#,
            r#"Bearer realm="x" service="y""#,
            r#"Bearer realm="https://a/",realm="https://b/""#,
            r#"Bearer realm="https://a/", Bearer realm="https://b/""#,
            r#"Basic realm="x", ="#,
        ] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        assert!(parse(&[]).is_err());
    }
}
