//! The time in front of a line, as it is written there. Says nothing of the year that is missing.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta};

/// A time of day, in milliseconds since midnight; a leap second runs into the next minute.
pub(super) type TimeOfDay = TimeDelta;

/// A time as it stands in front of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp<'a> {
    /// The line says all there is to say.
    Instant {
        /// Milliseconds since 1970-01-01 UTC.
        ms: i64,
    },
    /// A wall clock's time, in a zone that the line names by a short name or not at all.
    Local {
        /// The year, if it stands there.
        year: Option<i32>,
        /// The month, from 1.
        month: u32,
        /// The day, from 1.
        day: u32,
        /// The time of day.
        time: TimeOfDay,
        /// Such as `CET`.
        zone: Option<&'a str>,
    },
}

/// Takes a time from the front of `text`; what follows begins with a space, or is empty.
pub(super) fn take(text: &str) -> Option<(Stamp<'_>, &str)> {
    let (stamp, rest) =
        traditional(text).or_else(|| iso(text)).or_else(|| full(text)).or_else(|| unix(text))?;
    (rest.is_empty() || rest.starts_with(' ')).then_some((stamp, rest))
}

/// `Nov  1 13:34:37`, `Nov 21 13:34:37.123456`, `Nov 21 2026 13:34:37`.
fn traditional(text: &str) -> Option<(Stamp<'_>, &str)> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (name, rest) = text.split_at_checked(3)?;
    let month = (1..).zip(MONTHS).find(|(_, month)| name.eq_ignore_ascii_case(month))?.0;
    let rest = rest.strip_prefix(' ')?;
    let (day, rest) = number(rest.strip_prefix(' ').unwrap_or(rest), 1..=2)?;
    let rest = rest.strip_prefix(' ')?;
    let (year, rest) = match number(rest, 4..=4) {
        Some((year, rest)) => (Some(i32::try_from(year).ok()?), rest.strip_prefix(' ')?),
        None => (None, rest),
    };
    let (time, rest) = time_of_day(rest)?;
    Some((Stamp::Local { year, month, day, time, zone: None }, rest))
}

/// `2026-11-21T13:34:37.123456+00:00`, with `Z`, `+0000`, `+00` or no zone at the end.
fn iso(text: &str) -> Option<(Stamp<'_>, &str)> {
    let ((year, month, day), rest) = date(text)?;
    let (time, rest) = time_of_day(rest.strip_prefix('T')?)?;
    match offset(rest) {
        Some((offset, rest)) => Some((instant((year, month, day), time, offset)?, rest)),
        None => Some((Stamp::Local { year: Some(year), month, day, time, zone: None }, rest)),
    }
}

/// `Sat 2026-11-21 13:34:37 CET`.
fn full(text: &str) -> Option<(Stamp<'_>, &str)> {
    let (weekday, rest) = text.split_once(' ')?;
    if weekday.len() != 3 || !weekday.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let ((year, month, day), rest) = date(rest)?;
    let (time, rest) = time_of_day(rest.strip_prefix(' ')?)?;
    let rest = rest.strip_prefix(' ')?;
    if let Some((offset, rest)) = offset(rest) {
        return Some((instant((year, month, day), time, offset)?, rest));
    }
    let (zone, _) = rest.split_once(' ').unwrap_or((rest, ""));
    if !(2..=6).contains(&zone.len()) || !zone.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    if zone == "UTC" || zone == "GMT" {
        return Some((instant((year, month, day), time, 0)?, &rest[zone.len()..]));
    }
    let stamp = Stamp::Local { year: Some(year), month, day, time, zone: Some(zone) };
    Some((stamp, &rest[zone.len()..]))
}

/// `1795268077.123456`: seconds since 1970, of `journalctl -o short-unix`.
fn unix(text: &str) -> Option<(Stamp<'_>, &str)> {
    let (seconds, rest) = number(text, 9..=10)?;
    let (milliseconds, rest) = fraction(rest)?;
    let ms = i64::from(seconds) * 1000 + milliseconds;
    Some((Stamp::Instant { ms }, rest))
}

/// A day that there is, and a time in it, at a distance from UTC: an instant.
fn instant(
    (year, month, day): (i32, u32, u32),
    time: TimeOfDay,
    offset_seconds: i32,
) -> Option<Stamp<'static>> {
    let midnight = NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(0, 0, 0)?;
    let local = midnight.checked_add_signed(time)?;
    let offset = FixedOffset::east_opt(offset_seconds)?;
    let at: DateTime<FixedOffset> = local.and_local_timezone(offset).single()?;
    Some(Stamp::Instant { ms: at.timestamp_millis() })
}

fn date(text: &str) -> Option<((i32, u32, u32), &str)> {
    let (year, rest) = number(text, 4..=4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2..=2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2..=2)?;
    Some(((i32::try_from(year).ok()?, month, day), rest))
}

/// `13:34:37`, and a fraction if there is one.
fn time_of_day(text: &str) -> Option<(TimeOfDay, &str)> {
    let (hour, rest) = number(text, 2..=2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2..=2)?;
    let (second, rest) = number(rest.strip_prefix(':')?, 2..=2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (milliseconds, rest) = fraction(rest).unwrap_or((0, rest));
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some((TimeDelta::milliseconds(seconds * 1000 + milliseconds), rest))
}

/// `.123456` or `,123456` as milliseconds, cut off: a time is never after the one written.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let rest = text.strip_prefix(['.', ','])?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let first = rest.bytes().take(digits).chain(std::iter::repeat(b'0')).take(3);
    Some((first.fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0')), &rest[digits..]))
}

/// `Z`, `+01:00`, `+0100` or `+01`, in seconds east of UTC.
fn offset(text: &str) -> Option<(i32, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = &text[1..];
    let (hours, minutes, rest) = match number(rest, 4..=4) {
        Some((both, rest)) => (both / 100, both % 100, rest),
        None => {
            let (hours, rest) = number(rest, 2..=2)?;
            let minutes = rest.strip_prefix(':').and_then(|rest| number(rest, 2..=2));
            minutes.map_or((hours, 0, rest), |(minutes, rest)| (hours, minutes, rest))
        }
    };
    Some((sign * i32::try_from(hours * 3600 + minutes * 60).ok()?, rest))
}

/// Takes a number of so many digits, no more and no fewer, from the front of `text`.
fn number(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<(u32, &str)> {
    let digits = text.bytes().take(length.end() + 1).take_while(u8::is_ascii_digit).count();
    if !length.contains(&digits) {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}
