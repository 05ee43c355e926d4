//! What refers to a manifest: the referrers of the distribution specification 1.1, page by page,
//! and the tag that stands in where a registry has none (B1).

use reqwest::header::{HeaderMap, LINK};
use url::Url;

use super::message::shown;
use super::{ACCEPT, Error, ManifestName, Registry};
use crate::oci::{Digest, RawManifest};

/// As many pages as are asked for.
const MAX_PAGES: usize = 10;

/// A page of a listing.
#[derive(Debug)]
pub(super) struct Page {
    pub bytes: Vec<u8>,
    pub media_type: Option<String>,
    /// The path below the repository, and the query, of the page that follows.
    pub next: Option<(String, String)>,
}

impl Registry {
    /// The indexes that list what refers to `digest`: those of the registry's own listing, else the
    /// one under the tag `sha256-…`; none if there is neither, and an error if the registry does
    /// not say.
    pub fn referrers(&mut self, digest: &Digest) -> Result<Vec<RawManifest>, crate::oci::Error> {
        let mut pages = Vec::new();
        let mut place = (format!("referrers/{digest}"), String::new());
        loop {
            let (path, query) = &place;
            let accept = ACCEPT.join(", ");
            let page = async {
                let page = self.session.page(path, query, &accept, self.manifest_size).await;
                page.map_err(crate::oci::Error::from)
            };
            let page = match self.time.run(&self.runtime, page) {
                Ok(Some(page)) => page,
                // Whatever text comes with it, 404 means that there is no such listing.
                Ok(None) | Err(crate::oci::Error::Registry(Error::Status { status: 404, .. }))
                    if pages.is_empty() =>
                {
                    let tag = format!("sha256-{}", digest.hex());
                    return Ok(self.manifest(ManifestName::Tag(&tag))?.into_iter().collect());
                }
                Ok(None) => {
                    let (url, problem) = (path.clone(), ": a page of the listing".to_owned());
                    return Err(Error::Absent { url, problem }.into());
                }
                Err(error) => return Err(error),
            };
            pages.push(RawManifest::new(page.bytes, page.media_type));
            match page.next {
                // What the first pages have is considered; nobody is led on for ever.
                Some(_) if pages.len() >= MAX_PAGES => {
                    tracing::warn!(
                        "found more than {MAX_PAGES} pages of referrers of {digest}: the others \
                         are not looked at"
                    );
                    return Ok(pages);
                }
                Some(next) => place = next,
                None => return Ok(pages),
            }
        }
    }
}

/// The page that follows an answer from `url`, in the repository whose addresses start with `base`.
/// It must be of the same listing: nobody is led elsewhere, and asked with our credentials.
pub(super) fn next_page(
    headers: &HeaderMap,
    url: &Url,
    base: &str,
) -> Result<Option<(String, String)>, Error> {
    let Some(target) = headers.get_all(LINK).iter().find_map(|value| target(value.to_str().ok()?))
    else {
        return Ok(None);
    };
    let elsewhere = || Error::Redirect {
        url: shown(url),
        problem: "found a link to a next page elsewhere, expected one of the same listing".into(),
    };
    let next = url.join(&target).map_err(|_| elsewhere())?;
    let path = next.path().strip_prefix(base).ok_or_else(elsewhere)?;
    if next.origin() != url.origin() || !path.starts_with("referrers/") || path.contains('%') {
        return Err(elsewhere());
    }
    Ok(Some((path.to_owned(), next.query().unwrap_or_default().to_owned())))
}

/// The target of a link with the relation "next" (RFC 8288). A comma in a target divides nothing.
fn target(header: &str) -> Option<String> {
    header.split('<').skip(1).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase().replace(' ', "");
            matches!(&*parameter, "rel=next" | "rel=\"next\"")
        });
        is_next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Result<Option<(String, String)>, Error> {
        let url = Url::parse("https://r.test/v2/a/b/referrers/sha256:00").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LINK, link.parse().unwrap());
        next_page(&headers, &url, "/v2/a/b/")
    }

    #[test]
    fn a_link_leads_to_the_next_page_of_the_same_listing() {
        let page = |query: &str| Some(("referrers/sha256:00".to_owned(), query.to_owned()));
        for (link, expected) in [
            ("</v2/a/b/referrers/sha256:00?n=2&last=x>; rel=\"next\"", page("n=2&last=x")),
            ("<?page=2>; rel=next", page("page=2")),
            ("<?last=a,b>; rel=\"next\"", page("last=a,b")),
            ("</x>; rel=prev,<?last=a,b>; rel=next,</y>; rel=last", page("last=a,b")),
            ("<https://r.test/v2/a/b/referrers/sha256:00?p=2>; rel=\"next\"", page("p=2")),
            ("</x>; rel=prev, </v2/a/b/referrers/sha256:00?p=3>; rel=\"next\"", page("p=3")),
            ("</x>; rel=\"prev\"", None),
            ("x", None),
        ] {
            assert_eq!(next(link).unwrap(), expected, "{link}");
        }
        for elsewhere in [
            "<https://evil.test/v2/a/b/referrers/sha256:00?p=2>; rel=next",
            "<http://r.test/v2/a/b/referrers/sha256:00?p=2>; rel=next",
            "<https://r.test:444/v2/a/b/referrers/sha256:00?p=2>; rel=next",
            "</v2/a/c/referrers/sha256:00>; rel=next",
            "</v2/a/b/blobs/sha256:00>; rel=next",
            "</v2/a/b/referrers/../../c/referrers/x>; rel=next",
            "</v2/a/b/referrers/%2e%2e/x>; rel=next",
            "<//evil.test/v2/a/b/referrers/sha256:00>; rel=next",
        ] {
            assert!(next(elsewhere).is_err(), "{elsewhere}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_link_panics(link in "[ -~]{0,60}") {
            let _ = next(&link);
        }
    }
}
