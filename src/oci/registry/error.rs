//! What can go wrong between here and a registry.

use std::path::PathBuf;
use std::time::Duration;

use super::Documents;
use crate::error::{ExitCode, Fault};
use crate::oci::Digest;

/// Why a registry did not give what was asked.
///
/// Texts from outside are escaped and bounded, addresses are without their query (which may
/// carry a signature), and no variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration file or directory cannot be used.
    #[error("{}: {problem}", path.display())]
    Configuration {
        /// The file or directory.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A credential helper cannot be used.
    #[error("credential helper docker-credential-{name} for {host}: {problem}")]
    Helper {
        /// The helper's name.
        name: String,
        /// Whose credentials were asked for.
        host: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A repository, tag or host that no address can be made of.
    #[error("{what} {name:?}: {problem}")]
    Name {
        /// Which part of the reference.
        what: &'static str,
        /// The part.
        name: String,
        /// What was expected.
        problem: String,
    },
    /// No secure or plain connection can be prepared on this host.
    #[error("cannot prepare connections: {problem}")]
    Setup {
        /// What is missing.
        problem: String,
    },
    /// No answer.
    #[error("{url}: {problem}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened instead.
        problem: String,
    },
    /// The other side could not prove who it is (row 80).
    #[error("{url}: TLS: {problem}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What is wrong with the certificate or the handshake.
        problem: String,
    },
    /// An answer that means failure.
    #[error("{url}: found HTTP status {status}, expected success{problem}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What the registry says about it, with a separator in front; may be empty.
        problem: String,
    },
    /// The registry answers, and does not have it (row 91).
    #[error("{url}: not in the registry{problem}")]
    Absent {
        /// What was asked for.
        url: String,
        /// What the registry says about it, with a separator in front; may be empty.
        problem: String,
    },
    /// The registry refuses (row 92).
    #[error("{url}: refused with HTTP status {status}, {login}{problem}")]
    Refused {
        /// What was asked for.
        url: String,
        /// 401 or 403.
        status: u16,
        /// Whose credentials were sent, if any.
        login: String,
        /// What the registry says about it, with a separator in front; may be empty.
        problem: String,
    },
    /// The registry asks for credentials in a way that is not followed (row 79).
    #[error("{url}: cannot log in: {problem}")]
    Login {
        /// Who asks.
        url: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A redirect that is not followed (row 78).
    #[error("{url}: redirect not followed: {problem}")]
    Redirect {
        /// Who redirects.
        url: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A part of a blob was asked for, and something else came (row 75).
    #[error("{url}: found {found}, expected {expected}")]
    Range {
        /// What was asked for.
        url: String,
        /// What came.
        found: String,
        /// What should have come.
        expected: String,
    },
    /// It failed again and again (row 72).
    #[error("gave up after {tries} tries in {:.1} s of the {} s for retries: {last}",
        spent.as_secs_f64(), budget.as_secs())]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// How much of the budget was used, in this operation and those before it.
        spent: Duration,
        /// The budget.
        budget: Duration,
        /// How it failed last.
        last: Box<Error>,
    },
    /// Documents took too long, all of them together.
    #[error(
        "the documents of {} are not here after {} s, expected all of them by then",
        match kind {
            Documents::OfImage => "the image",
            Documents::OfSignatures => "its signatures",
            Documents::OfBundles => "its bundles",
        },
        total.as_secs()
    )]
    Late {
        /// Which documents.
        kind: Documents,
        /// The time for all of them.
        total: Duration,
    },
    /// More bytes than the limit allows.
    #[error("{what}: found {found}, expected at most {limit} bytes")]
    TooLarge {
        /// What it was.
        what: String,
        /// How many bytes there are.
        found: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes do not have the digest that was asked for (row 32).
    #[error("{what}: found digest {found}, expected {expected}")]
    Digest {
        /// Which bytes.
        what: &'static str,
        /// The digest of the bytes.
        found: Digest,
        /// The digest that was asked for.
        expected: Digest,
    },
    /// The bytes are not as many as their descriptor says.
    #[error("{what} {digest}: found {found} bytes, expected {expected}")]
    Size {
        /// Which bytes.
        what: &'static str,
        /// Their digest in the descriptor.
        digest: Digest,
        /// How many there are, counted up to one past `expected`.
        found: u64,
        /// How many the descriptor says.
        expected: u64,
    },
}

impl Fault for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Name { .. } => ExitCode::Usage,
            Self::Configuration { .. } | Self::Helper { .. } | Self::Setup { .. } => {
                ExitCode::Trust
            }
            Self::Digest { .. } | Self::Size { .. } => ExitCode::Integrity,
            Self::TooLarge { .. } => ExitCode::Limit,
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Status { .. }
            | Self::Absent { .. }
            | Self::Redirect { .. }
            | Self::Range { .. }
            | Self::Late { .. } => ExitCode::Network,
            Self::Refused { .. } | Self::Login { .. } => ExitCode::Auth,
            Self::GaveUp { last, .. } => last.exit_code(),
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Configuration { .. } => "registry.configuration",
            Self::Helper { .. } => "registry.helper",
            Self::Name { .. } => "registry.name",
            Self::Setup { .. } => "registry.setup",
            Self::Unreachable { .. } => "registry.unreachable",
            Self::Tls { .. } => "registry.tls",
            Self::Status { .. } => "registry.status",
            Self::Absent { .. } => "registry.absent",
            Self::Refused { .. } => "registry.refused",
            Self::Login { .. } => "registry.login",
            Self::Redirect { .. } => "registry.redirect",
            Self::Range { .. } => "registry.range",
            Self::GaveUp { .. } => "registry.gave-up",
            Self::Late { .. } => "registry.late",
            Self::TooLarge { .. } => "registry.too-large",
            Self::Digest { .. } => "registry.digest-mismatch",
            Self::Size { .. } => "registry.size-mismatch",
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Configuration { .. } => {
                "repair the file, or name another with --authfile or --cert-dir"
            }
            Self::Helper { .. } => {
                "install or repair the helper, or name a file with credentials: --authfile FILE"
            }
            Self::Name { .. } => "write the reference as HOST[:PORT]/PATH:TAG or …@sha256:DIGEST",
            Self::Setup { .. } => {
                "install the system's CA certificates, or give the registry's: --cert-dir DIR"
            }
            Self::Unreachable { .. } | Self::Status { .. } | Self::GaveUp { .. } => {
                "check the name and port of the registry, the network and HTTPS_PROXY; \
                 try again later"
            }
            Self::Tls { .. } => {
                "give the registry's CA certificate with --cert-dir DIR (DIR/*.crt); for a \
                 registry that cannot be checked, or speaks plain HTTP: --tls-verify=false"
            }
            Self::Absent { .. } => "check the repository and the tag",
            Self::Refused { .. } => {
                "log in with podman login, or name a file with credentials: --authfile FILE"
            }
            Self::Login { .. } => {
                "ask the registry's operator; a token service elsewhere gets credentials only \
                 with an entry of its own in the auth file"
            }
            Self::Redirect { .. } | Self::Range { .. } => {
                "ask the registry's operator, or use another registry"
            }
            Self::Late { .. } => {
                "try again, or another registry; where the network is slow, allow more: \
                 --limit document-seconds=N"
            }
            Self::TooLarge { .. } => {
                "if this image is to be trusted with more, raise the limit with --limit NAME=N"
            }
            Self::Digest { .. } | Self::Size { .. } => {
                "the registry, or something between here and there, changed the bytes: \
                 do not use them; try again, or another registry"
            }
        }
        .to_owned()
    }
}
