//! What follows an attempt: done, once more after a while, or never again.
//!
//! Pure: it waits for nothing and calls nobody; the randomness is a seeded generator.

use std::time::Duration;

use chrono::DateTime;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::endpoint::Endpoint;

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The receiver answered.
    Status {
        /// The HTTP status.
        status: u16,
        /// The header `Retry-After`, if there is one.
        retry_after: Option<String>,
    },
    /// There was no answer: refused address, connection error, time-out.
    Error(String),
}

/// What to do next with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The receiver has it.
    Delivered,
    /// Try again after this long.
    Retry(Duration),
    /// The attempts are used up.
    GiveUp,
    /// The receiver wants nothing any more.
    Disable,
}

/// The attempts of one alert.
#[derive(Debug)]
pub(crate) struct Schedule {
    attempts: u32,
    attempts_max: u32,
    backoff_first_ms: u64,
    backoff_max_ms: u64,
    rng: ChaCha8Rng,
}

impl Schedule {
    /// A schedule before its first attempt.
    pub(crate) fn new(endpoint: &Endpoint, rng: ChaCha8Rng) -> Self {
        Self {
            attempts: 0,
            attempts_max: endpoint.attempts_max,
            backoff_first_ms: endpoint.backoff_first_ms,
            backoff_max_ms: endpoint.backoff_max_ms,
            rng,
        }
    }

    /// The number of attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes note of an attempt that ended at `now_ms` (wall clock).
    pub(crate) fn after(&mut self, reply: &Reply, now_ms: i64) -> Step {
        self.attempts += 1;
        match reply {
            Reply::Status { status: 200..=299, .. } => return Step::Delivered,
            Reply::Status { status: 410, .. } => return Step::Disable,
            Reply::Status { .. } | Reply::Error(_) => {}
        }
        if self.attempts >= self.attempts_max {
            return Step::GiveUp;
        }
        let backoff = self.backoff();
        let asked = match reply {
            Reply::Status { status: 429 | 503, retry_after: Some(value) } => {
                retry_after_ms(value, now_ms)
            }
            Reply::Status { .. } | Reply::Error(_) => None,
        };
        // Never sooner than asked; jitter on top, so that those who were asked together do not
        // come back together.
        let wait_ms =
            asked.map_or(backoff, |asked| asked.saturating_add(backoff.min(self.backoff_first_ms)));
        Step::Retry(Duration::from_millis(wait_ms.min(self.backoff_max_ms)))
    }

    /// Exponential with full jitter: anything between nothing and the bound, which doubles.
    fn backoff(&mut self) -> u64 {
        let doublings = (self.attempts - 1).min(62);
        let bound = self.backoff_first_ms.saturating_mul(1 << doublings).min(self.backoff_max_ms);
        self.rng.random_range(0..=bound)
    }
}

/// Milliseconds from now that `Retry-After` asks for: seconds, or an HTTP date.
fn retry_after_ms(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "very long": the caller bounds it.
        return Some(value.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    let at_ms = DateTime::parse_from_rfc2822(value).ok()?.timestamp_millis();
    Some(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn schedule(attempts_max: u32) -> Schedule {
        Schedule {
            attempts: 0,
            attempts_max,
            backoff_first_ms: 100,
            backoff_max_ms: 60_000,
            rng: ChaCha8Rng::seed_from_u64(7),
        }
    }

    fn status(status: u16, retry_after: Option<&str>) -> Reply {
        Reply::Status { status, retry_after: retry_after.map(str::to_owned) }
    }

    #[test]
    fn only_2xx_is_success_and_only_410_disables() {
        for code in [200, 201, 204, 299] {
            assert_eq!(schedule(3).after(&status(code, None), 0), Step::Delivered);
        }
        assert_eq!(schedule(3).after(&status(410, None), 0), Step::Disable);
        for code in [100, 301, 302, 307, 308, 400, 401, 404, 408, 429, 500, 503, 599] {
            let step = schedule(3).after(&status(code, None), 0);
            assert!(matches!(step, Step::Retry(_)), "{code}: {step:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let mut schedule = schedule(3);
        let error = Reply::Error("reset".into());
        assert!(matches!(schedule.after(&error, 0), Step::Retry(_)));
        assert!(matches!(schedule.after(&error, 0), Step::Retry(_)));
        assert_eq!(schedule.after(&error, 0), Step::GiveUp);
        assert_eq!(schedule.attempts(), 3);
    }

    #[test]
    fn backoff_doubles_its_bound_up_to_the_maximum_and_uses_all_of_it() {
        let mut largest = [0; 20];
        for seed in 0..200 {
            let rng = ChaCha8Rng::seed_from_u64(seed);
            let mut schedule = Schedule { rng, ..schedule(100) };
            for (index, largest) in (0_u32..).zip(&mut largest) {
                let Step::Retry(wait) = schedule.after(&status(500, None), 0) else { panic!() };
                let wait = u64::try_from(wait.as_millis()).unwrap();
                assert!(wait <= (100 << index).min(60_000));
                *largest = wait.max(*largest);
            }
        }
        for (index, largest) in largest.iter().enumerate() {
            assert!(*largest > (100 << index).min(60_000) * 9 / 10, "{index}: {largest}");
        }
    }

    #[test]
    fn retry_after_is_honoured_within_the_maximum() {
        let now_ms = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let wait = |code, value| match schedule(3).after(&status(code, Some(value)), now_ms) {
            Step::Retry(wait) => wait.as_millis(),
            step => panic!("{step:?}"),
        };
        for code in [429, 503] {
            assert!((7000..=7100).contains(&wait(code, "7")));
            assert!((10_000..=10_100).contains(&wait(code, "Sun, 06 Nov 1994 08:49:47 GMT")));
            assert!(wait(code, "Sun, 06 Nov 1994 08:49:27 GMT") <= 100, "the date is past");
            assert_eq!(wait(code, "86400"), 60_000);
            assert_eq!(wait(code, "99999999999999999999999"), 60_000);
            assert!(wait(code, "soon") <= 100);
            assert!(wait(code, "-1") <= 100);
        }
        assert!(wait(500, "7") <= 100, "other statuses do not ask");
    }
}
