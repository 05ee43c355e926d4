//! A registry: the manifests and blobs of one repository, by the OCI distribution specification.
//!
//! The HTTP client is [`reqwest`] under our own control. `oci-client` gives the names of media
//! types and the error envelope, but its client is not used: it follows redirects by itself,
//! takes credentials to whatever realm it is named, knows neither auth files nor helpers, does
//! not resume or retry, and does not check sizes, so that bad-inputs rows 71–80 and 91–92 could
//! not hold.

mod address;
mod auth;
mod challenge;
mod download;
mod error;
mod helper;
mod http;
mod message;
mod redirect;
mod referrers;
mod retry;
mod session;
mod time;
mod tls;
mod token;

pub use error::Error;
pub use retry::RetryPolicy;
pub use time::Documents;

/// Doors for `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzz {
    pub use super::auth::fuzz as auth_file;
    pub use super::challenge::fuzz as challenge;
}

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use url::Url;

use self::auth::AuthFiles;
use self::http::Http;
use self::session::Session;
use self::time::Time;
use self::tls::Certificates;
use super::name::{is_path_component, is_tag};
use super::{Descriptor, Digest, RawManifest, Repository};
use crate::limits::Limits;

/// As long as an answer of [`with_client`] may take.
const WHOLE_ANSWER: Duration = Duration::from_secs(120);

/// How a registry is asked.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// `--authfile`: instead of the usual files with credentials.
    pub authfile: Option<PathBuf>,
    /// `--cert-dir`: instead of the usual directories with certificates.
    pub cert_dir: Option<PathBuf>,
    /// `--tls-verify`: false accepts any certificate, and plain HTTP where there is no HTTPS.
    pub tls_verify: bool,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// How failures that may pass are treated.
    pub retry: RetryPolicy,
    /// `manifest_size` and `document_seconds` are the ones that count here.
    pub limits: Limits,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            authfile: None,
            cert_dir: None,
            tls_verify: true,
            user_agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            limits: Limits::default(),
        }
    }
}

/// By which name a manifest is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestName<'a> {
    /// A name that the registry may give to another manifest tomorrow.
    Tag(&'a str),
    /// The manifest's own digest.
    Digest(Digest),
}

impl fmt::Display for ManifestName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// One repository of a registry. What it gives is bounded, and believed by nobody yet.
#[derive(Debug)]
pub struct Registry {
    session: Session,
    runtime: Runtime,
    repository: Repository,
    manifest_size: u64,
    time: Time,
}

impl Registry {
    /// Reads what the user has configured for the registry. Nothing is sent yet.
    pub fn new(repository: &Repository, options: &RegistryOptions) -> Result<Self, super::Error> {
        let host = repository.host.as_str();
        let homes = [home("https", host)?, home("http", host)?];
        check_path(&repository.path)?;
        let env = |name: &str| -> Option<OsString> { std::env::var_os(name) };
        let uid = rustix::process::geteuid().as_raw();
        let auth = AuthFiles::load(options.authfile.as_deref(), &env, uid)?;
        let certificates = Certificates::load(options.cert_dir.as_deref(), host, &env)?;
        let base = options.tls_verify.then(|| homes[0].clone());
        let http = Http::new(options, certificates, homes);
        Ok(Self {
            session: Session::new(http, auth, (host, &repository.path), base, options.retry),
            runtime: Runtime::new()?,
            repository: repository.clone(),
            manifest_size: options.limits.manifest_size,
            time: Time::new(
                Documents::OfImage,
                Duration::from_secs(options.limits.document_seconds),
            ),
        })
    }

    /// The repository that is asked.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Asks for documents of another kind than the image's, in a time of their own.
    pub fn ask_for<T>(&mut self, kind: Documents, ask: impl FnOnce(&mut Self) -> T) -> T {
        let time = Time::new(kind, self.time.total);
        let time = std::mem::replace(&mut self.time, time);
        let found = ask(self);
        self.time = time;
        found
    }

    /// A manifest or index; none if the registry has none of that name, and an error if it does
    /// not say (L1). By digest, the bytes have that digest (row 32); its own word for the digest
    /// (`Docker-Content-Digest`) is not read.
    pub fn manifest(
        &mut self,
        name: ManifestName<'_>,
    ) -> Result<Option<RawManifest>, super::Error> {
        if let ManifestName::Tag(tag) = name {
            check_tag(tag)?;
        }
        let place = format!("manifests/{name}");
        let accept = ACCEPT.join(", ");
        let document = async {
            let document = self.session.document(&place, &accept, self.manifest_size).await;
            document.map_err(super::Error::from)
        };
        let Some((bytes, media_type)) = self.time.run(&self.runtime, document)? else {
            return Ok(None);
        };
        let manifest = RawManifest::new(bytes, media_type);
        match name {
            ManifestName::Digest(expected) if manifest.digest != expected => {
                let found = manifest.digest;
                Err(Error::Digest { what: "manifest", found, expected }.into())
            }
            _ => Ok(Some(manifest)),
        }
    }

    /// The error for a manifest that must be there, and is not (row 91).
    pub fn absent(&self, name: ManifestName<'_>) -> super::Error {
        let separator = if matches!(name, ManifestName::Tag(_)) { ':' } else { '@' };
        let url = format!("{}{separator}{name}", self.repository);
        Error::Absent { url, problem: String::new() }.into()
    }

    /// The manifest of cosign's tag scheme that holds the signatures of `digest`; none if the
    /// image is not signed, and an error if the registry does not say (row 2).
    pub fn signature_manifest(
        &mut self,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, super::Error> {
        self.manifest(ManifestName::Tag(&format!("sha256-{}.sig", digest.hex())))
    }

    /// A small blob, whole, with the size and digest of its descriptor.
    pub fn blob_bytes(
        &mut self,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, super::Error> {
        const WHAT: &str = "blob";
        let Descriptor { digest, size, .. } = *descriptor;
        if size > limit {
            let (what, found) = (format!("{WHAT} {digest}"), format!("{size} bytes"));
            return Err(Error::TooLarge { what, found, limit }.into());
        }
        let mut bytes = Vec::new();
        let mut sink = |chunk: &[u8]| {
            bytes.extend_from_slice(chunk);
            Ok::<(), super::Error>(())
        };
        self.time.run(&self.runtime, self.session.blob(descriptor, &mut sink))?;
        let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if found != size {
            return Err(Error::Size { what: WHAT, digest, found, expected: size }.into());
        }
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(Error::Digest { what: WHAT, found, expected: digest }.into());
        }
        Ok(bytes)
    }

    /// Streams a blob to `sink`: each byte once and in order, at most one more than the
    /// descriptor says, over as many connections as it takes. Success does not mean that size
    /// or digest are right: that is for [`crate::verify::BlobHasher`] to say.
    ///
    /// An error of `sink` ends it.
    pub fn blob<E: From<super::Error>>(
        &mut self,
        descriptor: &Descriptor,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.runtime.run(self.session.blob(descriptor, sink))
    }

    /// A part of a blob, the first and the last byte, of which nothing is checked; none if the
    /// registry gives no parts.
    pub fn range(
        &mut self,
        descriptor: &Descriptor,
        range: (u64, u64),
    ) -> Result<Option<Vec<u8>>, super::Error> {
        self.runtime.run(async { Ok(self.session.range(descriptor, range).await?) })
    }
}

/// What we understand of manifests: image manifests and indexes, OCI's and docker's.
const ACCEPT: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// The async machinery below this room, on this thread only.
#[derive(Debug)]
struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    fn new() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Setup { problem: error.to_string() })?;
        Ok(Self(Some(runtime)))
    }

    /// Runs something to its end.
    fn run<T, E: From<super::Error>>(
        &self,
        task: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(runtime) = &self.0 else {
            let problem = "the asynchronous runtime has ended".to_owned();
            return Err(super::Error::from(Error::Setup { problem }).into());
        };
        runtime.block_on(task)
    }
}

impl Drop for Runtime {
    /// Does not wait for a name server that does not answer.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` with a client for something else than a registry, which proves its own bytes: plain
/// requests, with the system's certificates and proxies, no redirects, and an end to all patience.
pub fn with_client<T>(work: impl AsyncFnOnce(reqwest::Client) -> T) -> Result<T, super::Error> {
    let options = RegistryOptions::default();
    let setup = |problem: String| super::Error::from(Error::Setup { problem });
    let tls = Certificates::default().config(true, false).map_err(|e| setup(e.to_string()))?;
    let client = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .connect_timeout(options.retry.stall)
        .read_timeout(options.retry.stall)
        .timeout(WHOLE_ANSWER)
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(|error| setup(error.to_string()))?;
    Runtime::new()?.run(async { Ok(work(client).await) })
}

/// The address of a registry's host. Docker Hub's is not that of its name.
fn home(scheme: &str, host: &str) -> Result<Url, Error> {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
    Some(format!("{scheme}://{address}/"))
        .filter(|_| host.bytes().all(is_host))
        .and_then(|text| Url::parse(&text).ok())
        .filter(Url::has_host)
        .ok_or_else(|| name("registry", host, "expected HOST or HOST:PORT"))
}

/// Paths go into addresses: whatever could change their meaning is refused (P1, CVE-2024-3727).
fn check_path(path: &str) -> Result<(), Error> {
    if path.len() > 255 || !path.split('/').all(is_path_component) {
        return Err(name("repository", path, "expected lowercase components joined by '/'"));
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), Error> {
    if !is_tag(tag) {
        return Err(name("tag", tag, "expected letters, digits, '_', '-' and '.', at most 128"));
    }
    Ok(())
}

fn name(what: &'static str, name: &str, problem: &str) -> Error {
    Error::Name { what, name: name.chars().take(300).collect(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_by_the_grammar_become_addresses() {
        for (host, url) in [
            ("docker.io", "https://registry-1.docker.io/"),
            ("quay.io", "https://quay.io/"),
            ("[::1]:5000", "https://[::1]:5000/"),
        ] {
            assert_eq!(home("https", host).unwrap().as_str(), url);
        }
        for host in ["", ":5000", "a/b", "u@h", "a?b", "a#b", "a b", "h:99999", "..%2f", "ä.test"]
        {
            assert!(home("https", host).is_err(), "{host}");
        }
        for path in ["a", "a/b-c/d__e/f.g"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in ["", "/a", "a/", "a//b", "a/../b", "..", "A", "a?b", "a%2f", "-a", "a-"] {
            assert!(check_path(path).is_err(), "{path}");
        }
        assert!(check_tag("41.mc").is_ok());
        for tag in ["", ".a", "a/b", "a:b", "a@b", "a b", "ä", &"a".repeat(129)] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
    }
}
