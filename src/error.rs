//! What a failure means to the caller: an exit code, a stable id, and advice.
//!
//! Every room has an error enum of its own that implements [`Fault`]; [`Error`] joins them.

/// The exit codes of the program, as the README lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command line is not understood.
    Usage = 2,
    /// Configuration or trust is missing or wrong.
    Trust = 3,
    /// No signature was accepted.
    Signature = 4,
    /// A valid signature, but of something else: another name, platform or an older image.
    Identity = 5,
    /// Bytes do not have the digest or size that was promised.
    Integrity = 6,
    /// Malformed or hostile content.
    Malformed = 7,
    /// Refused by an audit rule that the user asked for.
    Audit = 8,
    /// A limit was exceeded.
    Limit = 9,
    /// The network or the registry failed.
    Network = 10,
    /// The registry refused the credentials.
    Auth = 11,
    /// Local input or output failed.
    Io = 12,
    /// Another run holds the lock.
    Lock = 13,
}

impl ExitCode {
    /// The number that the process exits with.
    #[expect(clippy::as_conversions, reason = "repr(u8)")]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// An error that knows what it means to the caller.
///
/// `Display` says what was found and what was expected, on one line.
pub trait Fault: std::error::Error {
    /// The exit code of a run that ends with this.
    fn exit_code(&self) -> ExitCode;
    /// A stable identifier for machines, such as `layer.digest-mismatch`.
    fn id(&self) -> &'static str;
    /// What the user can do, on one line.
    fn advice(&self) -> String;
}

/// Any failure of a run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is a room's error")]
pub enum Error {
    #[error(transparent)]
    Request(#[from] crate::request::Error),
    #[error(transparent)]
    Oci(#[from] crate::oci::Error),
    #[error(transparent)]
    Trust(#[from] crate::trust::Error),
    #[error(transparent)]
    Verify(#[from] crate::verify::Error),
    #[error(transparent)]
    Layer(#[from] crate::layer::Error),
    #[error(transparent)]
    Base(#[from] crate::base::Error),
    #[error(transparent)]
    Selinux(#[from] crate::selinux::Error),
    #[error(transparent)]
    Sysext(#[from] crate::sysext::Error),
    #[error(transparent)]
    Image(#[from] crate::image::Error),
    #[error(transparent)]
    Publish(#[from] crate::publish::Error),
    #[error(transparent)]
    Admit(#[from] crate::admit::Error),
}

impl Error {
    /// What went wrong, as the room that noticed it says.
    pub fn fault(&self) -> &dyn Fault {
        match self {
            Self::Request(e) => e,
            Self::Oci(e) => e,
            Self::Trust(e) => e,
            Self::Verify(e) => e,
            Self::Layer(e) => e,
            Self::Base(e) => e,
            Self::Selinux(e) => e,
            Self::Sysext(e) => e,
            Self::Image(e) => e,
            Self::Publish(e) => e,
            Self::Admit(e) => e,
        }
    }

    /// The object that machines get.
    pub fn to_json(&self) -> serde_json::Value {
        let fault = self.fault();
        serde_json::json!({
            "id": fault.id(),
            "exit_code": fault.exit_code().number(),
            "message": fault.to_string(),
            "advice": fault.advice(),
        })
    }
}

/// The result of a run.
pub type Result<T, E = Error> = std::result::Result<T, E>;
