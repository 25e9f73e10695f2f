//! How many records are due: pure, the time comes in as an argument.

use std::time::Duration;

/// What is further behind than this is given up: a process that was stopped for a minute does not
/// send a minute's records at once.
const BEHIND_MAX: Duration = Duration::from_millis(250);

/// Spreads records evenly over time.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: u32,
    /// From when on `sent` counts.
    since: Duration,
    sent: u64,
}

impl Pace {
    /// `per_second` records a second, from `now` on.
    pub(super) fn new(per_second: u32, now: Duration) -> Self {
        Self { per_second, since: now, sent: 0 }
    }

    /// How many records are due at `now`; they are taken to be sent.
    pub(super) fn due(&mut self, now: Duration) -> u64 {
        let wanted = self.by(now.saturating_sub(self.since));
        let behind = wanted.saturating_sub(self.sent);
        let most = self.by(BEHIND_MAX).max(1);
        if behind > most {
            self.since = now;
            self.sent = 0;
            return most;
        }
        self.sent += behind;
        behind
    }

    fn by(&self, elapsed: Duration) -> u64 {
        let records = elapsed.as_micros() * u128::from(self.per_second) / 1_000_000;
        u64::try_from(records).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_exactly_however_the_time_is_cut() {
        for step_us in [1_000, 7_300, 20_000, 99_999] {
            let mut pace = Pace::new(2_000, Duration::ZERO);
            let (mut sent, mut now) = (0, Duration::ZERO);
            while now < Duration::from_secs(10) {
                now += Duration::from_micros(step_us);
                sent += pace.due(now);
            }
            let wanted = now.as_micros() as u64 * 2_000 / 1_000_000;
            assert_eq!(sent, wanted, "steps of {step_us} us");
        }
    }

    #[test]
    fn what_is_far_behind_is_given_up() {
        let mut pace = Pace::new(1_000, Duration::ZERO);
        assert_eq!(pace.due(Duration::from_secs(60)), 250);
        assert_eq!(pace.due(Duration::from_millis(60_100)), 100);
    }

    #[test]
    fn a_record_a_second_comes_once_a_second() {
        let mut pace = Pace::new(1, Duration::ZERO);
        let due: Vec<u64> =
            (1..=30).map(|tick| pace.due(Duration::from_millis(tick * 100))).collect();
        assert_eq!(due.iter().sum::<u64>(), 3);
    }
}
