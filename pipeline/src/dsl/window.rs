//! Definitions of windows.

use std::time::Duration;

use crate::record::Window;

/// Tumbling windows: fixed size, one after the other, aligned to the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    pub(crate) size_ms: i64,
    pub(crate) grace_ms: i64,
}

impl TimeWindows {
    /// Windows of `size` that take late records until `grace` after their end.
    pub fn of_size_and_grace(size: Duration, grace: Duration) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self { size_ms: ms(size), grace_ms: ms(grace) }
    }

    /// Windows of `size` that take no late records.
    pub fn of_size_with_no_grace(size: Duration) -> Self {
        Self::of_size_and_grace(size, Duration::ZERO)
    }

    /// The window that a record at `timestamp` lies in.
    pub(crate) fn window_of(self, timestamp: i64) -> Window {
        assert!(self.size_ms > 0, "checked when the topology was built");
        let start = timestamp.saturating_sub(timestamp.rem_euclid(self.size_ms));
        Window { start, end: start.saturating_add(self.size_ms) }
    }

    /// Whether a record for `window` comes too late when stream time is `clock`.
    pub(crate) fn is_late(self, window: Window, clock: i64) -> bool {
        window.end <= clock.saturating_sub(self.grace_ms)
    }

    /// The first window start that is not final when stream time is `clock`: those before it can
    /// be forgotten.
    pub(crate) fn open_from(self, clock: i64) -> i64 {
        let end = clock.saturating_sub(self.grace_ms);
        // The window that ends last among those with `end <= clock - grace`.
        self.window_of(end).start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(size_ms: i64, grace_ms: i64) -> TimeWindows {
        TimeWindows { size_ms, grace_ms }
    }

    proptest! {
        #[test]
        fn a_record_lies_in_its_window(size in 1..100_000_i64, at in -1_000_000..1_000_000_i64) {
            let window = windows(size, 0).window_of(at);
            prop_assert!(window.start <= at && at < window.end);
            prop_assert_eq!(window.start.rem_euclid(size), 0);
            prop_assert_eq!(window.end - window.start, size);
        }

        #[test]
        fn exactly_the_windows_that_take_no_more_are_forgotten(
            size in 1..100_i64, grace in 0..300_i64, clock in -1_000..1_000_i64, number in -20..20_i64,
        ) {
            let windows = windows(size, grace);
            let window = Window { start: number * size, end: (number + 1) * size };
            prop_assert_eq!(windows.is_late(window, clock), window.start < windows.open_from(clock));
        }
    }
}
