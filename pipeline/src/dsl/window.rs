//! Definitions of windows of time: tumbling and hopping ones, and those of a calendar
//! ([`super::window_calendar`]). Sliding and session windows depend on the records and have
//! modules of their own.

use std::time::Duration;

use super::window_calendar::CalendarWindows;
use crate::record::Window;

/// A period in whole milliseconds, at most [`i64::MAX`].
pub(super) fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Windows of a fixed size, aligned to 1970-01-01 UTC: tumbling, one after the other, or hopping,
/// one every [`Self::advance_by`] and so overlapping. None begins before 1970.
///
/// A record at `t` lies in each window with `start <= t < end`. A window takes records until
/// `grace` after its end, and is final then.
///
/// ```
/// use std::time::Duration;
/// use pipeline::{TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
///
/// let seconds = Duration::from_secs;
/// let builder = TopologyBuilder::new("clicks");
/// builder
///     .stream::<String, i64>("clicks")
///     .group_by_key()
///     .windowed_by(TimeWindows::of_size_with_no_grace(seconds(60)).advance_by(seconds(30)))
///     .count("clicks")
///     .to("per-minute");
/// let mut driver = TopologyDriver::new(builder.build()?);
/// driver.pipe("clicks", "home", &1_i64, 70_000);
/// let counts = driver.read::<Windowed<String>, i64>("per-minute");
/// let starts: Vec<i64> = counts.iter().map(|count| count.key.window.start).collect();
/// assert_eq!(starts, [30_000, 60_000]);
///
/// // The same, with late records for five seconds.
/// TimeWindows::of_size_and_grace(seconds(60), seconds(5)).advance_by(seconds(30));
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    pub(crate) size_ms: i64,
    pub(crate) advance_ms: i64,
    pub(crate) grace_ms: i64,
}

impl TimeWindows {
    /// Tumbling windows of `size` that take late records until `grace` after their end.
    pub fn of_size_and_grace(size: Duration, grace: Duration) -> Self {
        let size_ms = whole_ms(size);
        Self { size_ms, advance_ms: size_ms, grace_ms: whole_ms(grace) }
    }

    /// Tumbling windows of `size` that take no late records.
    pub fn of_size_with_no_grace(size: Duration) -> Self {
        Self::of_size_and_grace(size, Duration::ZERO)
    }

    /// The same windows, one every `advance`, which is above 0 and at most the size.
    #[must_use]
    pub fn advance_by(self, advance: Duration) -> Self {
        Self { advance_ms: whole_ms(advance), ..self }
    }

    /// Whether there can be such windows.
    pub(crate) fn is_possible(self) -> bool {
        let Self { size_ms, advance_ms, grace_ms } = self;
        size_ms > 0
            && (1..=size_ms).contains(&advance_ms)
            && grace_ms >= 0
            && size_ms.checked_add(grace_ms).is_some()
    }

    /// The longest stretches of time that none of the windows cuts through.
    pub(crate) fn pane_ms(self) -> i64 {
        common_divisor(self.size_ms, self.advance_ms)
    }

    /// Start of the first window that holds `timestamp`.
    fn first_start(self, timestamp: i64) -> i64 {
        assert!(self.advance_ms > 0, "checked when the topology was built");
        let earliest = timestamp.saturating_sub(self.size_ms).saturating_add(self.advance_ms);
        let earliest = earliest.max(0);
        earliest - earliest.rem_euclid(self.advance_ms)
    }

    /// The window that begins at `start`.
    pub(crate) fn window_at(self, start: i64) -> Window {
        Window { start, end: start.saturating_add(self.size_ms) }
    }

    /// The windows that hold `timestamp`, by ascending start.
    pub(crate) fn windows_of(self, timestamp: i64) -> WindowsOf {
        let next = Some(self.window_at(self.first_start(timestamp)));
        WindowsOf { next, advance_ms: self.advance_ms, timestamp }
    }

    /// The first start that a window can have which is not final when time is `clock`: windows
    /// that begin before it can be forgotten.
    pub(crate) fn open_from(self, clock: i64) -> i64 {
        // A window is open if it begins after this.
        let last_final = clock.saturating_sub(self.grace_ms).saturating_sub(self.size_ms);
        let hops = last_final.div_euclid(self.advance_ms).saturating_add(1);
        hops.saturating_mul(self.advance_ms)
    }
}

fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The windows that hold a record. See [`TimeWindows::windows_of`].
pub(crate) struct WindowsOf {
    next: Option<Window>,
    advance_ms: i64,
    timestamp: i64,
}

impl Iterator for WindowsOf {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let window = self.next.filter(|window| window.start <= self.timestamp)?;
        // No window begins after the end of time.
        let next = window.start.checked_add(self.advance_ms);
        self.next =
            next.map(|start| Window { start, end: window.end.saturating_add(self.advance_ms) });
        Some(window)
    }
}

/// Windows that lie where they lie whatever the records are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FixedWindows {
    Time(TimeWindows),
    Calendar(CalendarWindows),
}

impl FixedWindows {
    /// The windows that hold `timestamp`, by ascending start.
    pub(crate) fn windows_of(&self, timestamp: i64) -> WindowsOf {
        match self {
            Self::Time(windows) => windows.windows_of(timestamp),
            Self::Calendar(windows) => {
                let next = Some(windows.window_of(timestamp));
                WindowsOf { next, advance_ms: i64::MAX, timestamp }
            }
        }
    }

    /// The start of the stretch of time around `timestamp` that none of the windows cuts through.
    pub(crate) fn pane_start(&self, timestamp: i64) -> i64 {
        match self {
            Self::Time(windows) => timestamp - timestamp.rem_euclid(windows.pane_ms()),
            Self::Calendar(windows) => windows.window_of(timestamp).start,
        }
    }

    pub(crate) fn grace_ms(&self) -> i64 {
        match self {
            Self::Time(windows) => windows.grace_ms,
            Self::Calendar(windows) => windows.grace_ms,
        }
    }

    /// The window that begins at `start`, where one does.
    pub(crate) fn window_at(&self, start: i64) -> Window {
        match self {
            Self::Time(windows) => windows.window_at(start),
            Self::Calendar(windows) => windows.window_of(start),
        }
    }

    /// The longest that a window can be, in milliseconds.
    pub(crate) fn size_max_ms(&self) -> i64 {
        match self {
            Self::Time(windows) => windows.size_ms,
            Self::Calendar(windows) => windows.size_max_ms(),
        }
    }

    /// Whether a record for `window` comes too late when time is `clock`.
    pub(crate) fn is_late(&self, window: Window, clock: i64) -> bool {
        window.end <= clock.saturating_sub(self.grace_ms())
    }

    /// Windows that begin before this are final when time is `clock`; no later one is.
    pub(crate) fn open_from(&self, clock: i64) -> i64 {
        match self {
            Self::Time(windows) => windows.open_from(clock),
            Self::Calendar(windows) => {
                windows.window_of(clock.saturating_sub(windows.grace_ms)).start
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows() -> impl Strategy<Value = TimeWindows> {
        (1..60_i64, 0..90_i64).prop_flat_map(|(size_ms, grace_ms)| {
            (1..=size_ms).prop_map(move |advance_ms| TimeWindows { size_ms, advance_ms, grace_ms })
        })
    }

    proptest! {
        #[test]
        fn a_record_lies_in_exactly_its_windows(windows in windows(), at in 0..500_i64) {
            let found: Vec<Window> = windows.windows_of(at).collect();
            let all = (0..=at).step_by(usize::try_from(windows.advance_ms).unwrap());
            let holding = all.map(|start| windows.window_at(start)).filter(|w| at < w.end);
            prop_assert_eq!(found, holding.collect::<Vec<_>>());
        }

        #[test]
        fn exactly_the_windows_that_take_no_more_are_forgotten(
            windows in windows(), clock in 0..500_i64, number in 0..500_i64,
        ) {
            let window = windows.window_at(number * windows.advance_ms);
            let fixed = FixedWindows::Time(windows);
            prop_assert_eq!(fixed.is_late(window, clock), window.start < fixed.open_from(clock));
        }
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let windows = TimeWindows { size_ms: 60_000, advance_ms: 20_000, grace_ms: 0 };
        assert!(windows.windows_of(i64::MAX).count() > 0);
        assert!(windows.open_from(i64::MIN) < 0);
        assert!(windows.open_from(i64::MAX) > 0);
    }
}
