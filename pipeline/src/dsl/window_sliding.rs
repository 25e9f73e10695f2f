//! Definition of sliding windows.

use std::time::Duration;

use super::window::whole_ms;

/// Windows that slide from record to record: for each record of a key one window that ends with
/// it, and one that begins just after it, if that holds a record. So each combination of records
/// that lie within `time_difference` of each other has its window, and windows without a change
/// between them are one.
///
/// Both ends of a window belong to it: a record at `t` lies in it if `start <= t <= end`, where
/// `end` is `start` plus the time difference. Records earlier than one time difference after
/// 1970-01-01 share the window that begins there.
///
/// ```
/// use std::time::Duration;
/// use pipeline::{SlidingWindows, TopologyBuilder, TopologyDriver, Windowed};
///
/// let seconds = Duration::from_secs;
/// let builder = TopologyBuilder::new("logins");
/// builder
///     .stream::<String, i64>("failed")
///     .group_by_key()
///     .windowed_by(SlidingWindows::of_time_difference_and_grace(seconds(10), seconds(0)))
///     .count("failures")
///     .to("within-ten-seconds");
/// let mut driver = TopologyDriver::new(builder.build()?);
/// driver.pipe("failed", "root", &1_i64, 100_000);
/// driver.pipe("failed", "root", &1_i64, 104_000);
/// let counts = driver.read::<Windowed<String>, i64>("within-ten-seconds");
/// let no_grace = SlidingWindows::of_time_difference_with_no_grace(seconds(10));
/// assert_eq!(no_grace, SlidingWindows::of_time_difference_and_grace(seconds(10), seconds(0)));
/// let seen: Vec<_> = counts.iter().map(|c| (c.key.window.end, c.value.unwrap())).collect();
/// assert_eq!(seen, [(100_000, 1), (110_001, 1), (104_000, 2)]);
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    pub(crate) size_ms: i64,
    pub(crate) grace_ms: i64,
}

impl SlidingWindows {
    /// Windows of records that are at most `time_difference` apart, which take late records until
    /// `grace` after their end.
    pub fn of_time_difference_and_grace(time_difference: Duration, grace: Duration) -> Self {
        Self { size_ms: whole_ms(time_difference), grace_ms: whole_ms(grace) }
    }

    /// Windows of records that are at most `time_difference` apart, which take no late records.
    pub fn of_time_difference_with_no_grace(time_difference: Duration) -> Self {
        Self::of_time_difference_and_grace(time_difference, Duration::ZERO)
    }

    /// Whether there can be such windows.
    pub(crate) fn is_possible(self) -> bool {
        let Self { size_ms, grace_ms } = self;
        let reach = size_ms.checked_mul(3).and_then(|reach| reach.checked_add(grace_ms));
        size_ms >= 0 && grace_ms >= 0 && reach.is_some()
    }

    /// Windows that end before this are final when time is `clock`.
    pub(crate) fn closed_before(self, clock: i64) -> i64 {
        clock.saturating_sub(self.grace_ms)
    }

    /// Whether a record at `timestamp` lies in no window that is still open: not even in the one
    /// that begins just after it.
    pub(crate) fn is_late(self, timestamp: i64, clock: i64) -> bool {
        timestamp.saturating_add(1).saturating_add(self.size_ms) <= self.closed_before(clock)
    }
}
