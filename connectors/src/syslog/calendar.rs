//! What RFC 3164 leaves out: which year it is, and in which zone.
//!
//! Decides by rules alone. It reads no clock: the caller says when a line arrived.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::SyslogError;
use super::stamp::Stamp;

/// How far after the reference a line may lie before it is taken for one of the year before: more
/// than any zone or clock is off, and less than any log is silent about.
const AHEAD_MAX: TimeDelta = TimeDelta::days(7);

/// Where the year of a line without one comes from. Written `auto`, `2005`, or `2005-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Year {
    /// The latest year that puts the line at most 7 days after the time it arrived (for a file:
    /// was last written). Right for lines up to 51 weeks old.
    Auto,
    /// The year of the first line. The lines are taken to be in order, give or take some: a month
    /// that lies six or more before the last line's begins the next year (December, January);
    /// a December right after a January still belongs to the year before.
    Fixed {
        /// The year of the last line, or of the first one that is yet to come.
        year: i32,
        /// The month of the last line, if there was one.
        month: Option<u32>,
    },
}

impl Year {
    /// The year of a line in `month`, and the state after it.
    fn follow(self, month: u32) -> Option<(i32, Self)> {
        let Self::Fixed { year, month: last } = self else { return None };
        let last = last.unwrap_or(month);
        let next = |year| Self::Fixed { year, month: Some(month) };
        if last >= month + 6 {
            Some((year + 1, next(year + 1)))
        } else if last == 1 && month == 12 {
            Some((year - 1, self))
        } else if month < last {
            // Out of order at the turn of a month: what follows is still to be compared with the
            // later one.
            Some((year, self))
        } else {
            Some((year, next(year)))
        }
    }
}

impl fmt::Display for Year {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed { year, month: None } => write!(f, "{year:04}"),
            Self::Fixed { year, month: Some(month) } => write!(f, "{year:04}-{month:02}"),
        }
    }
}

/// A text is not a [`Year`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `auto`, a year from 1970 to 9999, or a year and month such as `2005-12`")]
pub struct YearError(String);

impl FromStr for Year {
    type Err = YearError;

    fn from_str(text: &str) -> Result<Self, YearError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let parsed = || {
            let (year, month) = match text.split_once('-') {
                Some((year, month)) => (year, Some(month.parse().ok()?)),
                None => (text, None),
            };
            let year = year.parse().ok().filter(|year| (1970..=9999).contains(year))?;
            month.is_none_or(|month| (1..=12).contains(&month)).then_some((year, month))
        };
        let (year, month) = parsed().ok_or_else(|| YearError(text.chars().take(40).collect()))?;
        Ok(Self::Fixed { year, month })
    }
}

/// Turns the times of lines into instants.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: Tz,
    year: Year,
}

impl Calendar {
    /// A calendar for lines whose wall clock stands in `zone`.
    pub fn new(zone: Tz, year: Year) -> Self {
        Self { zone, year }
    }

    /// What to go on with after the lines so far: goes into a position, and comes back by
    /// [`Calendar::new`].
    pub fn year(&self) -> Year {
        self.year
    }

    /// The instant of `stamp`, in milliseconds.
    pub(super) fn resolve(
        &mut self,
        stamp: &Stamp<'_>,
        reference_ms: i64,
    ) -> Result<i64, SyslogError> {
        let (month, day, time, zone) = match stamp {
            Stamp::Instant { ms } => return Ok(*ms),
            Stamp::Local { year: Some(year), month, day, time, zone } => {
                let local = on_day(*year, *month, *day)? + *time;
                return self.instant(local, *zone);
            }
            Stamp::Local { year: None, month, day, time, zone } => (*month, *day, *time, *zone),
        };
        let Some((year, next)) = self.year.follow(month) else {
            return self.nearest(month, day, time, reference_ms);
        };
        let ms = self.instant(on_day(year, month, day)? + time, zone)?;
        self.year = next;
        Ok(ms)
    }

    /// The latest year that does not put the line too far after the reference. The 29th of
    /// February goes back to the last leap year, at most eight.
    fn nearest(
        &self,
        month: u32,
        day: u32,
        time: TimeDelta,
        reference_ms: i64,
    ) -> Result<i64, SyslogError> {
        let reference = DateTime::from_timestamp_millis(reference_ms).unwrap_or_default();
        let latest = reference.timestamp_millis().saturating_add(AHEAD_MAX.num_milliseconds());
        let this_year = reference.year();
        for year in (this_year - 8..=this_year + 1).rev() {
            let Ok(day) = on_day(year, month, day) else { continue };
            let ms = self.instant(day + time, None)?;
            if ms <= latest {
                return Ok(ms);
            }
        }
        Err(SyslogError::Date { year: this_year, month, day })
    }

    /// The instant of a wall clock's time. One that comes twice, when clocks go back, is the
    /// earlier one, unless the line's own zone name tells; one that is left out, when clocks go
    /// forward, is read by the clock before it went forward, so it lies after the gap.
    fn instant(&self, local: NaiveDateTime, name: Option<&str>) -> Result<i64, SyslogError> {
        let candidates = match self.zone.from_local_datetime(&local) {
            MappedLocalTime::Single(at) => [Some(at), None],
            MappedLocalTime::Ambiguous(earlier, later) => [Some(earlier), Some(later)],
            MappedLocalTime::None => [self.after_gap(local), None],
        };
        let named =
            |at: &DateTime<Tz>| name.is_none_or(|name| at.offset().abbreviation() == Some(name));
        let found = candidates.into_iter().flatten().find(named);
        found.map(|at| at.timestamp_millis()).ok_or_else(|| SyslogError::Zone {
            found: name.unwrap_or_default().to_owned(),
            zone: self.zone.name().to_owned(),
        })
    }

    /// The widest gap there was left out a whole day (Samoa, 2011).
    fn after_gap(&self, local: NaiveDateTime) -> Option<DateTime<Tz>> {
        (1..=25).map(TimeDelta::hours).find_map(|back| {
            let before = self.zone.from_local_datetime(&local.checked_sub_signed(back)?);
            before.latest()?.checked_add_signed(back)
        })
    }
}

fn on_day(year: i32, month: u32, day: u32) -> Result<NaiveDateTime, SyslogError> {
    NaiveDate::from_ymd_opt(year, month, day)
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .ok_or(SyslogError::Date { year, month, day })
}
