//! The time for documents. A registry that gives each of them just fast enough could otherwise
//! hold a run for days: a hundred signatures in two formats, each of them a document or two.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Error, Runtime};

/// Which documents are asked for. Each kind has its own time, so that slow signatures leave enough
/// for the image that a good one among them vouches for (row 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// Indexes, manifests and configurations.
    OfImage,
    /// What is offered as signatures.
    OfSignatures,
}

/// What is left of the time.
#[derive(Debug)]
pub(super) struct Time {
    pub kind: Documents,
    total: Duration,
    image: Duration,
    signatures: Duration,
}

impl Time {
    pub fn new(seconds: u64) -> Self {
        let total = Duration::from_secs(seconds);
        Self { kind: Documents::OfImage, total, image: total, signatures: total }
    }

    /// Runs what gets a document, as long as there is time.
    pub fn run<T>(
        &mut self,
        runtime: &Runtime,
        task: impl Future<Output = Result<T, crate::oci::Error>>,
    ) -> Result<T, crate::oci::Error> {
        let (kind, total) = (self.kind, self.total);
        let left = match kind {
            Documents::OfImage => &mut self.image,
            Documents::OfSignatures => &mut self.signatures,
        };
        let late = || crate::oci::Error::from(Error::Late { kind, total });
        if left.is_zero() {
            return Err(late());
        }
        let started = Instant::now();
        let limited =
            async { tokio::time::timeout(*left, task).await.unwrap_or_else(|_| Err(late())) };
        let result = runtime.run(limited);
        *left = left.saturating_sub(started.elapsed());
        result
    }
}
