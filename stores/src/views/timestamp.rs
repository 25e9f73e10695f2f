//! Timestamps as text: RFC 3339 or integer milliseconds in, RFC 3339 in UTC out.
//!
//! Nothing here knows the present time.

use std::ops::RangeInclusive;

use chrono::{DateTime, SecondsFormat};

/// The milliseconds that tantivy can hold, since it counts nanoseconds in 64 bits: from the year
/// 1677 to the year 2262.
pub(super) const RANGE_MS: RangeInclusive<i64> = -(i64::MAX / 1_000_000)..=i64::MAX / 1_000_000;

/// Reads RFC 3339 text or integer milliseconds since the epoch.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| parse_rfc3339(text))
}

/// Reads RFC 3339 text.
pub(super) fn parse_rfc3339(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

/// Writes RFC 3339 text with milliseconds, in UTC. Times out of range stop at its ends.
pub fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(clamp(ms))
        .expect("the range of tantivy's times lies within the calendar's")
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Moves `ms` into the range that tantivy can hold.
pub(super) fn clamp(ms: i64) -> i64 {
    ms.clamp(*RANGE_MS.start(), *RANGE_MS.end())
}
