//! The time for documents. A registry that gives each of them just fast enough could otherwise
//! hold a run for days: a hundred signatures in two formats, each of them a document or two.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Error, Runtime};

/// Which documents are asked for. Each kind has its own time, so that slow ones of one kind leave
/// enough for a good signature of another, and for the image that it vouches for (row 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// Indexes, manifests and configurations.
    OfImage,
    /// What is offered as signatures in cosign's older format.
    OfSignatures,
    /// What is offered as signatures in its newer one.
    OfBundles,
}

/// What is left of the time for one kind.
#[derive(Debug)]
pub(super) struct Time {
    kind: Documents,
    pub total: Duration,
    left: Duration,
}

impl Time {
    pub fn new(kind: Documents, total: Duration) -> Self {
        Self { kind, total, left: total }
    }

    /// Runs what gets a document, as long as there is time.
    pub fn run<T>(
        &mut self,
        runtime: &Runtime,
        task: impl Future<Output = Result<T, crate::oci::Error>>,
    ) -> Result<T, crate::oci::Error> {
        let Self { kind, total, left } = *self;
        let late = || crate::oci::Error::from(Error::Late { kind, total });
        if left.is_zero() {
            return Err(late());
        }
        let started = Instant::now();
        let limited =
            async { tokio::time::timeout(left, task).await.unwrap_or_else(|_| Err(late())) };
        let result = runtime.run(limited);
        self.left = left.saturating_sub(started.elapsed());
        result
    }
}
