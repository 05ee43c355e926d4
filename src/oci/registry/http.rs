//! One request: which client sends it, which redirects it follows, what its failure means.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::time::{Duration, Instant};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
    TRANSFER_ENCODING,
};
use reqwest::{Client, Response, Version, redirect::Policy};
use url::Url;

use super::address::{Forbidden, Guard, Reach, RegistryReach};
use super::auth::Secret;
use super::message::{bounded, shown};
use super::redirect::{MAX_REDIRECTS, same_origin, target};
use super::retry::{Again, Failure};
use super::tls::Certificates;
use super::{Error, RegistryOptions};

/// Bytes a second below which a connection counts as dead.
const MIN_RATE: u128 = 1 << 10;
/// How long one address of a host is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Sends requests.
///
/// The registry itself is asked by clients that show our certificate and connect anywhere;
/// hosts that the registry names are asked by clients that do neither.
#[derive(Debug)]
pub(super) struct Http {
    options: RegistryOptions,
    certificates: Certificates,
    /// The registry on HTTPS and on HTTP.
    homes: [Url; 2],
    reach: RegistryReach,
    proxies: Matcher,
    clients: BTreeMap<Kind, Client>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    home: bool,
    proxied: bool,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub url: &'a Url,
    pub accept: Option<&'a str>,
    /// The first and the last byte.
    pub range: Option<(u64, u64)>,
    pub authorization: Option<HeaderValue>,
    /// Makes it a POST.
    pub form: Option<Secret>,
}

impl<'a> Request<'a> {
    pub fn get(url: &'a Url) -> Self {
        Self { url, accept: None, range: None, authorization: None, form: None }
    }
}

/// An answer: its headers have arrived.
#[derive(Debug)]
pub(super) struct Answer {
    pub response: Response,
    /// Whether it is from another place than the one asked, and so without credentials.
    pub moved: bool,
}

impl Http {
    pub fn new(options: &RegistryOptions, certificates: Certificates, homes: [Url; 2]) -> Self {
        Self {
            options: options.clone(),
            certificates,
            homes,
            reach: RegistryReach::default(),
            proxies: Matcher::from_system(),
            clients: BTreeMap::new(),
        }
    }

    /// Asks, and follows redirects. Each answer may take as long as `patience`.
    pub async fn send(
        &mut self,
        request: Request<'_>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut moved = false;
        for _ in 0..=MAX_REDIRECTS {
            let kind = self.kind(&url);
            let client = self.client(kind)?;
            let mut builder = match &request.form {
                None => client.get(url.clone()),
                Some(form) => client
                    .post(url.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.0.clone()),
            };
            builder = builder.header(ACCEPT_ENCODING, "identity");
            if let Some(accept) = request.accept {
                builder = builder.header(ACCEPT, accept);
            }
            if let Some((first, last)) = request.range {
                builder = builder.header(RANGE, format!("bytes={first}-{last}"));
            }
            if let Some(authorization) = request.authorization.as_ref().filter(|_| !moved) {
                builder = builder.header(AUTHORIZATION, authorization.clone());
            }
            let response = tokio::time::timeout(patience, builder.send())
                .await
                .map_err(|_| late(&url, patience))?
                .map_err(|error| failure(&url, error))?;
            if kind.home {
                self.learn_reach(&response, kind);
            }
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, moved });
            }
            let refuse = |problem| Error::Redirect { url: shown(&url), problem };
            if request.form.is_some() {
                let problem = "found one in answer to a secret, expected a token";
                return Err(refuse(problem.to_owned()).into());
            }
            let next = target(&url, response.headers().get(LOCATION)).map_err(refuse)?;
            if !self.is_home(&next)
                && let Some(reach) = Reach::of_host(&next)
                && !self.reach.get().may_send_to(reach)
            {
                let problem = format!(
                    "found one to {}, which is nearer to this host than the registry is",
                    shown(&next)
                );
                return Err(refuse(problem).into());
            }
            moved = moved || !same_origin(&url, &next);
            url = next;
        }
        let problem = format!("found more than {MAX_REDIRECTS}");
        Err(Error::Redirect { url: shown(request.url), problem }.into())
    }

    /// Where the registry may be: HTTPS, or HTTP.
    pub fn homes(&self) -> [Url; 2] {
        self.homes.clone()
    }

    /// Whether the registry may send us to this host, as far as its name tells.
    pub fn may_be_sent_to(&self, url: &Url) -> bool {
        self.is_home(url)
            || Reach::of_host(url).is_none_or(|reach| self.reach.get().may_send_to(reach))
    }

    fn is_home(&self, url: &Url) -> bool {
        self.homes.iter().any(|home| same_origin(home, url))
    }

    fn kind(&self, url: &Url) -> Kind {
        // As Go does, and so podman: what is on this host is not asked through a proxy.
        let here = Reach::of_host(url) == Some(Reach::Loopback);
        let intercepted =
            || url.as_str().parse().is_ok_and(|uri| self.proxies.intercept(&uri).is_some());
        Kind { home: self.is_home(url), proxied: !here && intercepted() }
    }

    /// Behind a proxy, nothing is known about addresses: the strictest is assumed.
    fn learn_reach(&self, response: &Response, kind: Kind) {
        let direct = response.remote_addr().filter(|_| !kind.proxied);
        let reach = direct.map(|address| Reach::of(address.ip()));
        self.reach.learn(reach.or_else(|| Reach::of_host(response.url())).unwrap_or(Reach::Public));
    }

    fn client(&mut self, kind: Kind) -> Result<Client, Error> {
        if let Some(client) = self.clients.get(&kind) {
            return Ok(client.clone());
        }
        let stall = self.options.retry.stall;
        let tls = self.certificates.config(self.options.tls_verify, kind.home);
        let tls = tls.map_err(|error| Error::Setup { problem: bounded(&error.to_string()) })?;
        let mut builder = Client::builder()
            .user_agent(&self.options.user_agent)
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(stall.min(CONNECT_PATIENCE))
            .http2_adaptive_window(true)
            .tls_backend_preconfigured(tls);
        if !kind.proxied {
            builder = builder.no_proxy();
            if !kind.home {
                builder = builder.dns_resolver(Guard(self.reach.clone()));
            }
        }
        let client =
            builder.build().map_err(|error| Error::Setup { problem: innermost(&error) })?;
        self.clients.insert(kind, client.clone());
        Ok(client)
    }
}

/// The body of an answer, watched for stalls.
#[derive(Debug)]
pub(super) struct Body {
    response: Response,
    stall: Duration,
    waited: Duration,
    got: u128,
    /// Whether a missing end would go unnoticed: neither a length nor chunks.
    endless: bool,
}

impl Body {
    pub fn new(response: Response, stall: Duration) -> Self {
        let endless = response.version() < Version::HTTP_2
            && response.content_length().is_none()
            && !response.headers().contains_key(TRANSFER_ENCODING);
        Self { response, stall, waited: Duration::ZERO, got: 0, endless }
    }

    /// The next bytes. Only the time spent here counts as waiting.
    pub async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        loop {
            let started = Instant::now();
            let left = self.stall.saturating_sub(self.waited);
            let next = tokio::time::timeout(left, self.response.chunk()).await;
            self.waited += started.elapsed();
            let chunk = match next {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(failure(self.response.url(), error)),
                Err(_) => {
                    self.judge()?;
                    continue;
                }
            };
            self.got += u128::try_from(chunk.len()).unwrap_or(u128::MAX);
            if self.waited >= self.stall {
                self.judge()?;
            }
            return Ok(Some(chunk));
        }
    }

    /// The failure that an early end of the body is, if it may have been cut off unnoticed.
    pub fn cut(&self) -> Option<Failure> {
        let problem = "the connection ended early".to_owned();
        let url = shown(self.response.url());
        self.endless
            .then_some(Failure { error: Error::Unreachable { url, problem }, again: Again::Yes })
    }

    pub fn url(&self) -> String {
        shown(self.response.url())
    }

    /// Starts another period, if this one brought enough.
    fn judge(&mut self) -> Result<(), Failure> {
        if self.got.saturating_mul(1000) < self.stall.as_millis().saturating_mul(MIN_RATE) {
            let problem = format!(
                "found {} bytes in {:.1} s, expected at least 1 KiB a second",
                self.got,
                self.waited.as_secs_f64()
            );
            let error = Error::Unreachable { url: self.url(), problem };
            return Err(Failure { error, again: Again::Yes });
        }
        self.waited = Duration::ZERO;
        self.got = 0;
        Ok(())
    }
}

fn late(url: &Url, patience: Duration) -> Failure {
    let problem = format!("no answer within {:.1} s", patience.as_secs_f64());
    Failure { error: Error::Unreachable { url: shown(url), problem }, again: Again::Yes }
}

/// What a failure of the client means.
fn failure(url: &Url, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let url = shown(url);
    let problem = innermost(&error);
    if causes(&error).any(<dyn StdError>::is::<Forbidden>) {
        return Error::Redirect { url, problem }.into();
    }
    if let Some(error) = causes(&error).find_map(<dyn StdError>::downcast_ref::<rustls::Error>) {
        return Error::Tls { url, problem: tls_problem(error) }.into();
    }
    let refused = causes(&error).any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    });
    let again = if error.is_builder() {
        Again::Never
    } else if error.is_timeout() {
        Again::Yes
    } else if refused || error.is_connect() {
        Again::Once
    } else {
        Again::Yes
    };
    Failure { error: Error::Unreachable { url, problem }, again }
}

/// What is wrong with a certificate or a handshake, in words where rustls has only a name.
fn tls_problem(error: &rustls::Error) -> String {
    use rustls::CertificateError::{Expired, ExpiredContext, UnknownIssuer};
    match error {
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            format!("the certificate has expired ({error})")
        }
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "the certificate is signed by an unknown authority".to_owned()
        }
        rustls::Error::InvalidMessage(_) => format!("found something else than TLS ({error})"),
        _ => bounded(&error.to_string()),
    }
}

/// An error and what caused it. `io::Error` hides what it wraps from `source`.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => {
                let wrapped: &(dyn StdError + 'static) = wrapped;
                Some(wrapped)
            }
            None => error.source(),
        }
    })
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(|cause| bounded(&cause.to_string())).unwrap_or_default()
}
