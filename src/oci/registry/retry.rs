//! How long to wait before trying again, and when to stop trying.

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;

use super::Error;

/// How failures that may pass are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait before the second try; doubled for each further one, up to 30 times this.
    pub base: Duration,
    /// All the time that one [`Registry`](super::Registry) spends on waits and on tries that
    /// bring nothing.
    pub budget: Duration,
    /// How long an answer may be late, or less than 1 KiB a second, before the connection
    /// counts as dead.
    pub stall: Duration,
}

impl Default for RetryPolicy {
    /// 2 s, 120 s, 30 s (bad-inputs.md, "Reliability").
    fn default() -> Self {
        Self {
            base: Duration::from_secs(2),
            budget: Duration::from_secs(120),
            stall: Duration::from_secs(30),
        }
    }
}

/// A failed try, and what the failure says about another.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    pub again: Again,
}

/// Whether another try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// No: the answer will be the same.
    Never,
    /// One: it is probably no accident (connection refused, unknown host, status 500).
    Once,
    /// As long as the budget lasts.
    Yes,
    /// As long as the budget lasts, and not before this time has passed (`Retry-After`).
    After(Duration),
}

impl Failure {
    pub fn never(error: Error) -> Self {
        Self { error, again: Again::Never }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::never(error)
    }
}

/// What is left of the budget of one registry.
#[derive(Debug)]
pub(super) struct Budget {
    policy: RetryPolicy,
    left: Duration,
    patience: Duration,
}

/// The tries of one operation.
#[derive(Debug)]
pub(super) struct Tries {
    total: u32,
    in_vain: u32,
    started: Instant,
    /// When something came last.
    beat: Instant,
}

impl Tries {
    /// Something came.
    pub fn beat(&mut self) {
        self.beat = Instant::now();
    }
}

impl Budget {
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, left: policy.budget, patience: policy.stall }
    }

    /// Starts an operation. Its first try costs nothing, however little is left.
    pub fn start(&mut self) -> Tries {
        self.patience = self.policy.stall;
        let now = Instant::now();
        Tries { total: 1, in_vain: 0, started: now, beat: now }
    }

    /// How long the next answer may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Waits until the operation may be tried again, or says that it may not.
    ///
    /// `progress`: the failed try has brought enough that it does not count as failed.
    pub async fn pause(
        &mut self,
        tries: &mut Tries,
        failure: Failure,
        progress: bool,
    ) -> Result<(), Error> {
        let delay = self.delay(tries, failure, progress)?;
        tokio::time::sleep(delay).await;
        tries.started = Instant::now();
        tries.beat = tries.started;
        Ok(())
    }

    fn delay(
        &mut self,
        tries: &mut Tries,
        failure: Failure,
        progress: bool,
    ) -> Result<Duration, Error> {
        let Failure { error, again } = failure;
        let wasted = if progress {
            tries.in_vain = 0;
            tries.beat.elapsed()
        } else {
            tries.started.elapsed()
        };
        self.left = self.left.saturating_sub(wasted);
        let most = self.policy.base.saturating_mul(30);
        let backoff = if progress && again == Again::Yes {
            // A connection that was cut while it worked: nothing to wait for.
            Duration::ZERO
        } else {
            self.policy.base.saturating_mul(1 << tries.in_vain.min(5)).min(most)
        };
        let delay = match again {
            Again::Never => return Err(error),
            Again::Once if tries.in_vain > 0 => return Err(self.gave_up(tries, error)),
            Again::Once | Again::Yes => backoff,
            Again::After(time) => backoff.max(time),
        };
        // A try that may take no time is none.
        let shortest = self.policy.stall / 10;
        let left = self.left.checked_sub(delay).filter(|&left| left >= shortest);
        let Some(left) = left else { return Err(self.gave_up(tries, error)) };
        self.left = left;
        self.patience = self.policy.stall.min(left);
        tries.total = tries.total.saturating_add(1);
        tries.in_vain = tries.in_vain.saturating_add(1);
        if delay.is_zero() {
            tracing::debug!("{error}; connecting again");
        } else {
            tracing::warn!("{error}; trying again in {} s", delay.as_secs_f64().ceil());
        }
        Ok(delay)
    }

    fn gave_up(&self, tries: &Tries, last: Error) -> Error {
        Error::GaveUp {
            tries: tries.total,
            spent: self.policy.budget.saturating_sub(self.left),
            budget: self.policy.budget,
            last: Box::new(last),
        }
    }
}

/// The time that a `Retry-After` header asks for: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(value: &HeaderValue, now: jiff::Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(again: Again) -> Failure {
        let (url, problem) = (String::new(), String::new());
        Failure { error: Error::Absent { url, problem }, again }
    }

    fn delays(again: Again, progress: bool) -> Vec<u64> {
        let mut budget = Budget::new(RetryPolicy::default());
        let mut tries = budget.start();
        let mut delays = Vec::new();
        while let Ok(delay) = budget.delay(&mut tries, failure(again), progress) {
            delays.push(delay.as_secs());
            if delays.len() == 20 {
                break;
            }
        }
        delays
    }

    #[test]
    fn waits_double_until_the_budget_ends() {
        assert_eq!(delays(Again::Yes, false), [2, 4, 8, 16, 32]);
        assert!(delays(Again::Never, false).is_empty());
        assert_eq!(delays(Again::Once, false), [2]);
        assert_eq!(delays(Again::Yes, true), [0; 20]);
    }

    #[test]
    fn retry_after_is_honoured_within_the_budget() {
        assert_eq!(delays(Again::After(Duration::from_secs(3)), false), [3, 4, 8, 16, 32]);
        assert_eq!(delays(Again::After(Duration::from_secs(50)), false), [50, 50]);
        assert!(delays(Again::After(Duration::from_secs(121)), false).is_empty());
        assert!(delays(Again::After(Duration::MAX), false).is_empty());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "1994-11-06T08:49:30Z".parse().unwrap();
        let parse = |text| retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(parse("3"), Some(Duration::from_secs(3)));
        assert_eq!(parse("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "-1", "3.5", "soon"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
