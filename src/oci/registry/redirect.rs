//! Where a redirect leads, if it is one that may be followed (rows 77, 78).

use reqwest::header::HeaderValue;
use url::Url;

/// Redirects that are followed for one request.
pub(super) const MAX_REDIRECTS: usize = 5;

/// The address that a redirect from `current` leads to; else, what is wrong with it.
///
/// Plain HTTP leads to plain HTTP or HTTPS, HTTPS only to HTTPS. (We are on plain HTTP only
/// where the user asked for it.) User names in the address are dropped.
pub(super) fn target(current: &Url, location: Option<&HeaderValue>) -> Result<Url, String> {
    let location = location.ok_or("found no Location header")?;
    let location = location.to_str().map_err(|_| "found a Location that is not ASCII")?;
    let mut url = current
        .join(location)
        .map_err(|error| format!("found a Location that is no address: {error}"))?;
    match (current.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, scheme) => return Err(format!("found {scheme}://, expected https://")),
    }
    if !url.has_host() || url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        return Err("found a Location without a host".to_owned());
    }
    url.set_fragment(None);
    Ok(url)
}

/// Whether credentials for one address are meant for the other too.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, to: &'static str) -> Result<String, String> {
        target(&from.parse().unwrap(), Some(&HeaderValue::from_static(to))).map(Into::into)
    }

    #[test]
    fn a_redirect_keeps_to_https() {
        assert_eq!(
            follow("https://a.test/v2/x", "https://b.test/y?s=1#f").unwrap(),
            "https://b.test/y?s=1"
        );
        assert_eq!(follow("https://a.test/v2/x", "/y").unwrap(), "https://a.test/y");
        assert_eq!(follow("http://a.test/v2/x", "y").unwrap(), "http://a.test/v2/y");
        assert_eq!(follow("http://a.test/", "https://b.test/").unwrap(), "https://b.test/");
        assert_eq!(follow("https://a.test/", "//u:p@b.test/").unwrap(), "https://b.test/");
        for bad in ["http://a.test/", "ftp://a.test/", "file:///etc/passwd", "https://", "data:,"] {
            assert!(follow("https://a.test/v2/x", bad).is_err(), "{bad}");
        }
        assert!(target(&"https://a.test".parse().unwrap(), None).is_err());
    }

    #[test]
    fn credentials_belong_to_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://a.test/x", "https://A.test:443/y"));
        assert!(!same("https://a.test/", "http://a.test/"));
        assert!(!same("https://a.test/", "https://a.test:444/"));
        assert!(!same("https://a.test/", "https://b.a.test/"));
    }
}
