//! A token bucket in debt: how many records a second come in.
//!
//! Pure: the time comes in as an argument.

use std::time::Duration;

/// Lets through `per_second` records on average, and one second's worth at once.
///
/// The size of a request is known only when it has been read. So a request is admitted while the
/// bucket is not empty, and pays afterwards, into debt if need be: a request larger than the bucket
/// is not refused for ever, and the average holds.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    level: f64,
    at: Duration,
}

impl RateLimit {
    /// A full bucket; 0 is no limit.
    pub(super) fn new(per_second: u32, now: Duration) -> Self {
        Self { per_second: f64::from(per_second), level: f64::from(per_second), at: now }
    }

    /// Admits a request, or says when to come again.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.per_second);
        self.at = self.at.max(now);
        if self.level >= 1.0 {
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.level) / self.per_second))
    }

    /// Takes what an admitted request has brought.
    pub(super) fn pay(&mut self, records: u64) {
        self.level -= records as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_is_paid_off_before_the_next() {
        let mut limit = RateLimit::new(100, Duration::ZERO);
        assert_eq!(limit.admit(Duration::ZERO), Ok(()));
        limit.pay(350);
        let wait = limit.admit(Duration::ZERO).unwrap_err();
        assert_eq!(wait.as_millis(), 2510);
        assert!(limit.admit(Duration::from_millis(2400)).is_err());
        assert_eq!(limit.admit(Duration::from_millis(2511)), Ok(()));
    }

    #[test]
    fn the_bucket_holds_one_second() {
        let mut limit = RateLimit::new(10, Duration::ZERO);
        assert_eq!(limit.admit(Duration::from_secs(100)), Ok(()));
        limit.pay(10);
        assert!(limit.admit(Duration::from_secs(100)).is_err());
        // A clock that is read in another order does not fill it twice.
        assert!(limit.admit(Duration::from_secs(99)).is_err());
        assert_eq!(limit.admit(Duration::from_millis(100_100)), Ok(()));
    }

    #[test]
    fn zero_is_no_limit() {
        let mut limit = RateLimit::new(0, Duration::ZERO);
        limit.pay(1 << 40);
        assert_eq!(limit.admit(Duration::ZERO), Ok(()));
    }
}
