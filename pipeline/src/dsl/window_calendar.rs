//! Windows of a calendar: hours, days, weeks and months as people in one place count them.

use std::time::Duration;

use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset,
    TimeZone,
};
use chrono_tz::Tz;

use super::window::whole_ms;
use crate::record::Window;

const HOUR_MS: i64 = 3_600_000;
/// Longer than any change of a zone's offset: whole days have been left out of a calendar.
const CHANGE_MAX_MS: i64 = 26 * HOUR_MS;

/// Windows that follow the calendar of a time zone, one after the other.
///
/// Days begin at midnight of the zone, weeks on Monday, months on their first day. A day on which
/// the clocks are changed has 23 or 25 hours. An hour that is there twice in autumn is two windows.
/// Every moment lies in exactly one window.
///
/// ```
/// use pipeline::{CalendarWindows, TopologyBuilder, TopologyDriver, Tz, Windowed};
///
/// let builder = TopologyBuilder::new("sales");
/// builder
///     .stream::<String, i64>("sales")
///     .group_by_key()
///     .windowed_by(CalendarWindows::days(Tz::Europe__Berlin))
///     .count("sales")
///     .to("sales-per-day");
/// let mut driver = TopologyDriver::new(builder.build()?);
/// // 2026-03-29, when the clocks go forward.
/// driver.pipe("sales", "shop", &1_i64, 1_774_782_000_000);
/// let counts = driver.read::<Windowed<String>, i64>("sales-per-day");
/// let day = counts[0].key.window;
/// assert_eq!((day.end - day.start) / 3_600_000, 23);
///
/// // The others, and late records for ten minutes.
/// let (hours, weeks) = (CalendarWindows::hours(Tz::UTC), CalendarWindows::weeks(Tz::UTC));
/// CalendarWindows::months(Tz::UTC).with_grace(std::time::Duration::from_secs(600));
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarWindows {
    unit: Unit,
    zone: Tz,
    pub(crate) grace_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
    Month,
}

impl CalendarWindows {
    /// Hours of `zone`, which take no late records. They begin with the hour there: in a zone that
    /// is half an hour away from others, half an hour away from theirs.
    pub fn hours(zone: Tz) -> Self {
        Self { unit: Unit::Hour, zone, grace_ms: 0 }
    }

    /// Days of `zone`, which take no late records.
    pub fn days(zone: Tz) -> Self {
        Self { unit: Unit::Day, zone, grace_ms: 0 }
    }

    /// Weeks of `zone`, from Monday to Sunday, which take no late records.
    pub fn weeks(zone: Tz) -> Self {
        Self { unit: Unit::Week, zone, grace_ms: 0 }
    }

    /// Months of `zone`, which take no late records.
    pub fn months(zone: Tz) -> Self {
        Self { unit: Unit::Month, zone, grace_ms: 0 }
    }

    /// The same windows, which take late records until `grace` after their end.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace_ms: whole_ms(grace), ..self }
    }

    /// The window that holds `timestamp`. Beyond the years that chrono knows, days are those of
    /// UTC.
    pub(crate) fn window_of(self, timestamp: i64) -> Window {
        let known = DateTime::from_timestamp_millis(timestamp)
            .filter(|at| (-200_000..200_000).contains(&at.year()));
        let Some(at) = known else {
            let day_ms = 24 * HOUR_MS;
            let start = timestamp.div_euclid(day_ms).saturating_mul(day_ms);
            return Window { start, end: start.saturating_add(day_ms) };
        };
        let local = at.with_timezone(&self.zone).naive_local();
        match self.unit {
            Unit::Hour => self.hour_of(timestamp, local),
            Unit::Day => self.holding(local.date(), timestamp, |day| day + Days::new(1)),
            Unit::Week => {
                let since_monday = u64::from(local.weekday().num_days_from_monday());
                let monday = local.date() - Days::new(since_monday);
                self.holding(monday, timestamp, |day| day + Days::new(7))
            }
            Unit::Month => {
                let first = local.date() - Days::new(u64::from(local.day0()));
                self.holding(first, timestamp, |day| day + Months::new(1))
            }
        }
    }

    /// The longest that a window can be.
    pub(crate) fn size_max_ms(self) -> i64 {
        let hours = match self.unit {
            Unit::Hour => 1,
            Unit::Day => 24,
            Unit::Week => 7 * 24,
            Unit::Month => 31 * 24,
        };
        hours * HOUR_MS + CHANGE_MAX_MS
    }

    /// The window that begins on the day `first`, or the next one: where clocks went back over
    /// midnight, the old day is shown again for a while, and that belongs to the new one.
    fn holding(
        self,
        first: NaiveDate,
        timestamp: i64,
        next: impl Fn(NaiveDate) -> NaiveDate,
    ) -> Window {
        let midnight = |day: NaiveDate| self.first_moment(day.and_time(NaiveTime::MIN));
        let second = next(first);
        let window = Window { start: midnight(first), end: midnight(second) };
        if timestamp < window.end {
            return window;
        }
        Window { start: window.end, end: midnight(next(second)) }
    }

    /// The first moment at which the clocks of the zone show `local`, or later if they never do.
    fn first_moment(self, local: NaiveDateTime) -> i64 {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.timestamp_millis(),
            LocalResult::None => {
                let utc = local.and_utc().timestamp_millis();
                let shown = |at: i64| at + self.offset_ms(at);
                first_where(utc - CHANGE_MAX_MS, utc + CHANGE_MAX_MS, |at| shown(at) >= utc)
            }
        }
    }

    /// The hour of the clocks at `timestamp`, cut off where they were changed.
    fn hour_of(self, timestamp: i64, local: NaiveDateTime) -> Window {
        let into = local.and_utc().timestamp_millis().rem_euclid(HOUR_MS);
        let (start, end) = (timestamp - into, timestamp - into + HOUR_MS);
        let offset = self.offset_ms(timestamp);
        let same = |at: i64| self.offset_ms(at) == offset;
        Window {
            start: if same(start) { start } else { first_where(start, timestamp, same) },
            end: if same(end - 1) { end } else { first_where(timestamp, end, |at| !same(at)) },
        }
    }

    /// What the clocks of the zone show more than those of UTC.
    fn offset_ms(self, at: i64) -> i64 {
        let Some(at) = DateTime::from_timestamp_millis(at) else { return 0 };
        let offset = self.zone.offset_from_utc_datetime(&at.naive_utc());
        i64::from(offset.fix().local_minus_utc()) * 1000
    }
}

/// The first number above `from`, up to `to`, for which `holds` is true: it is false at `from`,
/// true at `to`, and changes once.
fn first_where(mut from: i64, mut to: i64, holds: impl Fn(i64) -> bool) -> i64 {
    while to - from > 1 {
        let middle = from.midpoint(to);
        if holds(middle) { to = middle } else { from = middle }
    }
    to
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    fn hours(windows: CalendarWindows, text: &str) -> i64 {
        let window = windows.window_of(at(text));
        (window.end - window.start) / HOUR_MS
    }

    #[test]
    fn days_on_which_clocks_change_have_23_or_25_hours() {
        let berlin = CalendarWindows::days(Tz::Europe__Berlin);
        assert_eq!(hours(berlin, "2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours(berlin, "2026-10-25T12:00:00Z"), 25);
        assert_eq!(hours(berlin, "2026-10-26T12:00:00Z"), 24);
        let weeks = CalendarWindows::weeks(Tz::Europe__Berlin);
        assert_eq!(hours(weeks, "2026-03-29T12:00:00Z"), 7 * 24 - 1);
        let months = CalendarWindows::months(Tz::America__New_York);
        assert_eq!(hours(months, "2026-02-10T12:00:00Z"), 28 * 24);
        assert_eq!(hours(months, "2026-03-10T12:00:00Z"), 31 * 24 - 1);
    }

    #[test]
    fn windows_begin_at_midnight_of_the_zone_on_monday_and_on_the_first() {
        let noon = at("2026-11-21T12:00:00Z");
        let start = |windows: CalendarWindows| windows.window_of(noon).start;
        assert_eq!(start(CalendarWindows::days(Tz::Asia__Tokyo)), at("2026-11-21T00:00:00+09:00"));
        assert_eq!(start(CalendarWindows::weeks(Tz::UTC)), at("2026-11-16T00:00:00Z"));
        assert_eq!(start(CalendarWindows::months(Tz::UTC)), at("2026-11-01T00:00:00Z"));
        assert_eq!(start(CalendarWindows::hours(Tz::Asia__Kolkata)), at("2026-11-21T11:30:00Z"));
    }

    #[test]
    fn a_day_whose_midnight_was_skipped_begins_when_the_clocks_went_on() {
        // In Beirut the clocks went from 00:00 to 01:00 on 2022-03-27.
        let day = CalendarWindows::days(Tz::Asia__Beirut).window_of(at("2022-03-27T12:00:00Z"));
        assert_eq!(day.start, at("2022-03-26T22:00:00Z"));
        assert_eq!(day.end - day.start, 23 * HOUR_MS);
        // Samoa had no 2011-12-30 at all.
        let days = CalendarWindows::days(Tz::Pacific__Apia);
        let before = days.window_of(at("2011-12-29T20:00:00Z"));
        assert_eq!(before.end, at("2011-12-30T10:00:00Z"));
        assert_eq!(days.window_of(before.end).end - before.end, 24 * HOUR_MS);
    }

    #[test]
    fn a_midnight_that_is_there_twice_begins_one_day() {
        // In St. John's the clocks went from 00:01 back to 23:01 on 2010-11-07.
        let days = CalendarWindows::days(Tz::America__St_Johns);
        let day = days.window_of(at("2010-11-07T12:00:00Z"));
        assert_eq!(day.start, at("2010-11-07T02:30:00Z"));
        assert_eq!(days.window_of(at("2010-11-07T03:00:00Z")), day);
        assert_eq!(day.end - day.start, 25 * HOUR_MS);
    }

    #[test]
    fn an_hour_that_is_there_twice_is_two_windows() {
        let hours = CalendarWindows::hours(Tz::Europe__Berlin);
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(hours.window_of(first).end, hours.window_of(second).start);
        // On Lord Howe Island the clocks change by half an hour.
        let island = CalendarWindows::hours(Tz::Australia__Lord_Howe);
        let window = island.window_of(at("2026-04-04T15:10:00Z"));
        assert_eq!(window.end - window.start, HOUR_MS / 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn every_moment_lies_in_one_window_and_the_next_begins_where_it_ends(
            zone in 0..chrono_tz::TZ_VARIANTS.len(), unit in 0..4_usize,
            at in 0..4_000_000_000_000_i64,
        ) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let unit = [Unit::Hour, Unit::Day, Unit::Week, Unit::Month][unit];
            let windows = CalendarWindows { unit, zone, grace_ms: 0 };
            let window = windows.window_of(at);
            prop_assert!(window.start <= at && at < window.end, "{zone} {at} {window:?}");
            prop_assert!(window.end - window.start <= windows.size_max_ms());
            for inside in [window.start, window.end - 1] {
                prop_assert_eq!(windows.window_of(inside), window, "{} {}", zone, at);
            }
            prop_assert_eq!(windows.window_of(window.end).start, window.end, "{} {}", zone, at);
        }
    }
}
