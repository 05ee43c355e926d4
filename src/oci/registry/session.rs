//! A session with one repository: finds the registry, authenticates, asks again.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

use super::Error;
use super::auth::{AuthFiles, Credentials, Proof};
use super::challenge::Challenge;
use super::http::{Answer, Body, Http, Request};
use super::message::{MAX_BODY, Message, shown};
use super::referrers::{Page, next_page};
use super::retry::{Again, Budget, Failure, RetryPolicy, retry_after};
use super::token::{MAX_ANSWER, Realm, Token};

/// How long the text of a failure may take to arrive.
const TEXT_PATIENCE: Duration = Duration::from_secs(5);

/// A session with one repository.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    auth: AuthFiles,
    /// As the user writes it; the key of credentials.
    host: String,
    /// The repository's path.
    path: String,
    /// Where the registry is, once known.
    base: Option<Url>,
    login: Login,
    /// What the auth files have for the repository, once they were asked.
    credentials: Option<Credentials>,
    asked_auth: bool,
    /// Whose credentials were used last, for messages.
    shown_as: String,
    pub budget: Budget,
    pub stall: Duration,
}

/// How the registry wants to be asked, as it said last.
#[derive(Debug)]
enum Login {
    /// It has not said.
    Open,
    Basic(HeaderValue),
    Bearer {
        realm: Realm,
        service: Option<String>,
        token: Option<Token>,
    },
}

impl Session {
    /// `base`: where the registry is, if that need not be found out.
    pub fn new(
        http: Http,
        auth: AuthFiles,
        (host, path): (&str, &str),
        base: Option<Url>,
        retry: RetryPolicy,
    ) -> Self {
        Self {
            http,
            auth,
            host: host.to_owned(),
            path: path.to_owned(),
            base,
            login: Login::Open,
            credentials: None,
            asked_auth: false,
            shown_as: "without credentials".to_owned(),
            budget: Budget::new(retry),
            stall: retry.stall,
        }
    }

    /// Reads a small document; none if the registry has none. At most `limit` bytes.
    pub async fn document(
        &mut self,
        place: &str,
        accept: &str,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, Option<String>)>, Error> {
        let page = self.page(place, "", accept, limit).await?;
        Ok(page.map(|Page { bytes, media_type, .. }| (bytes, media_type)))
    }

    /// Reads a page of a listing; none if the registry has none. At most `limit` bytes.
    pub async fn page(
        &mut self,
        place: &str,
        query: &str,
        accept: &str,
        limit: u64,
    ) -> Result<Option<Page>, Error> {
        let mut tries = self.budget.start();
        loop {
            match self.try_page(place, query, accept, limit).await {
                Ok(page) => return Ok(Some(page)),
                Err(Failure { error: Error::Absent { .. }, .. }) => return Ok(None),
                Err(failure) => self.budget.pause(&mut tries, failure, false).await?,
            }
        }
    }

    async fn try_page(
        &mut self,
        place: &str,
        query: &str,
        accept: &str,
        limit: u64,
    ) -> Result<Page, Failure> {
        let mut asked = self.address(place).await?;
        asked.set_query(Some(query).filter(|query| !query.is_empty()));
        let response = self.ask(&asked, Some(accept), None).await?;
        let next = next_page(response.headers(), &asked, &format!("/v2/{}/", self.path))?;
        let media_type = response
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or_default().trim().to_owned());
        let bytes = self.whole(response, limit).await?;
        Ok(Page { bytes, media_type, next })
    }

    /// The address of a place in the repository.
    async fn address(&mut self, place: &str) -> Result<Url, Failure> {
        let mut url = self.base().await?;
        url.set_path(&format!("/v2/{}/{place}", self.path));
        Ok(url)
    }

    /// Asks the repository for `place`, with whatever credentials it wants. The answer is a
    /// 200, or a 206 to a range.
    pub async fn get(
        &mut self,
        place: &str,
        accept: Option<&str>,
        range: Option<(u64, u64)>,
    ) -> Result<Response, Failure> {
        let url = self.address(place).await?;
        self.ask(&url, accept, range).await
    }

    async fn ask(
        &mut self,
        url: &Url,
        accept: Option<&str>,
        range: Option<(u64, u64)>,
    ) -> Result<Response, Failure> {
        let mut renewed = false;
        loop {
            let authorization = self.authorization().await?;
            let sent = authorization.is_some();
            let request = Request { accept, range, authorization, ..Request::get(url) };
            let answer = self.http.send(request, self.budget.patience()).await?;
            match answer.response.status() {
                StatusCode::OK => return Ok(answer.response),
                StatusCode::PARTIAL_CONTENT if range.is_some() => return Ok(answer.response),
                // Once for each request: a token may have ended, a new one is as good as any.
                StatusCode::UNAUTHORIZED if !answer.moved && !renewed => {
                    renewed = true;
                    if !self.accept_challenge(url, &answer, sent)? {
                        return Err(self.refusal(answer).await);
                    }
                }
                _ => return Err(self.refusal(answer).await),
            }
        }
    }

    /// Where the registry is. Without verification, it may be on plain HTTP: whichever answers
    /// anything at all, HTTPS first (as podman does for `--tls-verify=false`).
    async fn base(&mut self) -> Result<Url, Failure> {
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        let [mut https, mut http] = self.http.homes();
        let on_https = self.ping(&mut https).await;
        let base = match on_https {
            Ok(()) => https,
            Err(on_https) => match (self.ping(&mut http).await, on_https.error) {
                (Ok(()), _) => http,
                // It does not speak TLS, so why it does not speak HTTP either says more.
                (Err(on_http), Error::Tls { .. }) => return Err(on_http),
                (Err(_), error) => return Err(Failure { error, again: on_https.again }),
            },
        };
        Ok(self.base.insert(base).clone())
    }

    async fn ping(&mut self, home: &mut Url) -> Result<(), Failure> {
        home.set_path("/v2/");
        match self.http.send(Request::get(home), self.budget.patience()).await {
            // A redirect that is not followed is an answer too.
            Ok(_) | Err(Failure { error: Error::Redirect { .. }, .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// What to send along, if the registry has said so; a token that ends soon is renewed.
    async fn authorization(&mut self) -> Result<Option<HeaderValue>, Failure> {
        let (realm, service) = match &self.login {
            Login::Open => return Ok(None),
            Login::Basic(header) => return Ok(Some(header.clone())),
            Login::Bearer { token: Some(token), .. } if !token.is_old(Instant::now()) => {
                return Ok(Some(token.header.clone()));
            }
            Login::Bearer { realm, service, .. } => (realm.clone(), service.clone()),
        };
        let token = self.buy_token(&realm, service.as_deref()).await?;
        let header = token.header.clone();
        self.login = Login::Bearer { realm, service, token: Some(token) };
        Ok(Some(header))
    }

    /// Takes a challenge; false if it cannot be met. `sent`: it answers what we sent.
    fn accept_challenge(&mut self, url: &Url, answer: &Answer, sent: bool) -> Result<bool, Error> {
        let broken = |problem| Error::Login { url: shown(url), problem };
        match Challenge::of(answer.response.headers()).map_err(broken)? {
            Challenge::Basic => {
                let was_basic = sent && matches!(self.login, Login::Basic(_));
                let header = self.credentials()?.and_then(basic);
                self.shown_as = describe(self.credentials.as_ref(), &self.host);
                let Some(header) = header.filter(|_| !was_basic) else { return Ok(false) };
                self.login = Login::Basic(header);
            }
            Challenge::Bearer { realm, service } => {
                let realm = Realm::new(url, &realm).map_err(broken)?;
                if !self.http.may_be_sent_to(&realm.url) {
                    return Err(broken(format!(
                        "found the realm {}, which is nearer to this host than the registry is",
                        shown(&realm.url)
                    )));
                }
                self.login = Login::Bearer { realm, service, token: None };
            }
        }
        Ok(true)
    }

    /// Gets a token. The registry's credentials go only to a realm of its own; a stranger gets
    /// those that the auth file has for the stranger, or none (row 79).
    async fn buy_token(&mut self, realm: &Realm, service: Option<&str>) -> Result<Token, Failure> {
        let credentials = if realm.trusted {
            self.credentials()?.cloned()
        } else {
            let host = realm.url.host_str().unwrap_or_default();
            let port = realm.url.port().map(|port| format!(":{port}")).unwrap_or_default();
            self.auth.find(&format!("{host}{port}"), None)?
        };
        self.shown_as = match (&credentials, realm.trusted) {
            (None, false) => format!(
                "without credentials (none are configured for its token service {}, which is not \
                 of its domain)",
                shown(&realm.url)
            ),
            (found, _) => describe(found.as_ref(), &self.host),
        };
        let account = credentials.as_ref().filter(|c| matches!(c.proof, Proof::Password(_)));
        let question = realm.question(service, &self.path, account.map(|c| c.username.as_str()));
        let mut request = Request::get(&question);
        match credentials.as_ref().map(|credentials| &credentials.proof) {
            Some(Proof::IdentityToken(token)) => {
                request.url = &realm.url;
                request.form = Some(Realm::form(service, &self.path, token));
            }
            Some(Proof::Password(_)) => {
                request.authorization = credentials.as_ref().and_then(basic);
            }
            None => {}
        }
        let login = |problem| Error::Login { url: shown(&realm.url), problem };
        let answer = match self.http.send(request, self.budget.patience()).await {
            Err(Failure { error: Error::Redirect { url, problem }, .. }) => {
                return Err(login(format!("redirect of {url} not followed: {problem}")).into());
            }
            answer => answer?,
        };
        let status = answer.response.status();
        if status != StatusCode::OK {
            let failure = refusal(answer, &self.shown_as).await;
            // A token service that knows nothing says nothing about the image.
            return Err(match failure.error {
                Error::Absent { problem, .. } | Error::Status { problem, .. }
                    if failure.again == Again::Never && status.is_client_error() =>
                {
                    login(format!("found HTTP status {status}, expected a token{problem}")).into()
                }
                error => Failure { error, ..failure },
            });
        }
        let received = Instant::now();
        let bytes =
            self.whole(answer.response, MAX_ANSWER).await.map_err(|failure| {
                match failure.error {
                    Error::TooLarge { limit, .. } => {
                        login(format!("found more than {limit} bytes, expected a token")).into()
                    }
                    error => Failure { error, ..failure },
                }
            })?;
        Token::new(&bytes, received).map_err(|problem| login(problem).into())
    }

    fn credentials(&mut self) -> Result<Option<&Credentials>, Error> {
        if !self.asked_auth {
            self.credentials = self.auth.find(&self.host, Some(&self.path))?;
            self.asked_auth = true;
        }
        Ok(self.credentials.as_ref())
    }

    async fn refusal(&self, answer: Answer) -> Failure {
        let asked = if answer.moved {
            "from another host that it redirects to, without credentials".to_owned()
        } else {
            self.shown_as.clone()
        };
        refusal(answer, &asked).await
    }

    /// A body of at most `limit` bytes.
    async fn whole(&self, response: Response, limit: u64) -> Result<Vec<u8>, Failure> {
        let too_large = |what, found| Error::TooLarge { what, found, limit };
        let announced = response.content_length();
        let mut body = Body::new(response, self.stall);
        if let Some(length) = announced.filter(|&length| length > limit) {
            return Err(too_large(body.url(), format!("{length} bytes")).into());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
            if u64::try_from(bytes.len()).map_or(true, |length| length > limit) {
                return Err(too_large(body.url(), "more".to_owned()).into());
            }
        }
        Ok(bytes)
    }
}

/// What an answer other than success means.
async fn refusal(answer: Answer, asked: &str) -> Failure {
    let response = answer.response;
    let status = response.status();
    let url = shown(response.url());
    let wait =
        response.headers().get(RETRY_AFTER).and_then(|v| retry_after(v, jiff::Timestamp::now()));
    let message = Message::new(&text(response).await);
    let problem = message.suffix();
    if message.is_absence(status) {
        return Error::Absent { url, problem }.into();
    }
    let again = match status.as_u16() {
        401 | 403 => {
            let (status, login) = (status.as_u16(), asked.to_owned());
            return Error::Refused { url, status, login, problem }.into();
        }
        429 | 502..=504 => wait.map_or(Again::Yes, Again::After),
        408 => Again::Yes,
        500 => Again::Once,
        _ => Again::Never,
    };
    Failure { error: Error::Status { url, status: status.as_u16(), problem }, again }
}

/// The beginning of a body, as far as it comes.
async fn text(response: Response) -> Vec<u8> {
    let mut body = Body::new(response, TEXT_PATIENCE);
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = body.chunk().await {
        let room = MAX_BODY - bytes.len();
        bytes.extend(chunk.as_ref().iter().take(room));
        if bytes.len() == MAX_BODY {
            break;
        }
    }
    bytes
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Proof::Password(password) = &credentials.proof else { return None };
    let pair = BASE64_STANDARD.encode(format!("{}:{}", credentials.username, password.0));
    let mut header = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn describe(credentials: Option<&Credentials>, host: &str) -> String {
    match credentials {
        Some(credentials) => format!("with the credentials of {}", credentials.source),
        None => format!("without credentials (none are configured for {host})"),
    }
}
