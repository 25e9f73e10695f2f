//! Bad records: what can be wrong with one, and what is done about it.
//!
//! The words only. Finding out is the work of the operators, setting aside that of the task;
//! reading what was set aside is [`crate::dead_letters`].

use std::time::Duration;

/// What is done with a record that cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecordPolicy {
    /// It goes to the application's dead-letter topic, with the reason, in the same commit.
    Dlq,
    /// It is counted and left out.
    Skip,
    /// The task stops, and with it the process: for topics where a gap is worse than a standstill.
    Fail,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// Its key does not decode, or is null where one is needed.
    Key,
    /// Its value does not decode.
    Value,
    /// Its event time is before 1970, or too far ahead of the time it was appended at.
    Timestamp,
    /// A closure of the topology panicked on it.
    Panic,
    /// A record made from it is larger than `record_bytes_max`.
    TooLarge,
    /// The document made from it does not fit its view.
    Document,
    /// What was made from it cannot be written as the topology says.
    Encoding,
    /// What the state holds for it does not decode.
    State,
    /// A processor of the topology says so.
    Refused,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Key,
        Self::Value,
        Self::Timestamp,
        Self::Panic,
        Self::TooLarge,
        Self::Document,
        Self::Encoding,
        Self::State,
        Self::Refused,
    ];

    /// Its name in the header `__streams.errors.exception`, in counters and in filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "bad-key",
            Self::Value => "bad-value",
            Self::Timestamp => "bad-timestamp",
            Self::Panic => "panic",
            Self::TooLarge => "too-large",
            Self::Document => "bad-document",
            Self::Encoding => "cannot-encode",
            Self::State => "bad-state",
            Self::Refused => "refused",
        }
    }
}

/// How far ahead of its append time a record's event time may lie: Kafka's default since 4.0
/// (`log.message.timestamp.after.max.ms`).
pub const TIMESTAMP_AHEAD_MAX: Duration = Duration::from_secs(3600);

/// How far event time may lie ahead of the time at which the log took the record in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AheadBound {
    /// At most so far; what is farther ahead is a bad record.
    AtMost(Duration),
    /// As far as it likes, up to the year 9999: one record may then close every window.
    Unbounded,
}

/// What holds for the records of one source topic; what is `None` is as the topology or the
/// process has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceRules {
    /// What is done with its bad records.
    pub bad_records: Option<BadRecordPolicy>,
    /// How far ahead of its append time a record's event time may lie.
    pub timestamp_ahead_max: Option<AheadBound>,
}

impl SourceRules {
    /// These rules, and where they say nothing those of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            bad_records: self.bad_records.or(other.bad_records),
            timestamp_ahead_max: self.timestamp_ahead_max.or(other.timestamp_ahead_max),
        }
    }
}

/// The last moment that can be an event time: the end of the year 9999, in milliseconds.
const LAST_MS: i64 = 253_402_300_799_999;

/// The event times that a record may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeBounds {
    latest_ms: i64,
}

impl TimeBounds {
    /// Everything from 1970 to the year 9999.
    pub(crate) const CALENDAR: Self = Self { latest_ms: LAST_MS };

    /// For a record that the log took in at `append_ms`. A log that does not say when (0) has
    /// checked the record's `own_ms` itself, as Kafka's brokers do: that is the measure then. So
    /// the bounds are made of data, and a replay finds the same records bad.
    pub(crate) fn of(ahead: AheadBound, append_ms: i64, own_ms: i64) -> Self {
        let AheadBound::AtMost(ahead) = ahead else { return Self::CALENDAR };
        let ahead_ms = i64::try_from(ahead.as_millis()).unwrap_or(LAST_MS);
        let measure = if append_ms > 0 { append_ms } else { own_ms.clamp(0, LAST_MS) };
        Self { latest_ms: measure.saturating_add(ahead_ms).min(LAST_MS) }
    }

    /// Whether `timestamp` lies within; a text says why it does not.
    pub(crate) fn check(self, timestamp: i64) -> Result<(), String> {
        if timestamp < 0 {
            return Err(format!("{timestamp} ms is before 1970"));
        }
        if timestamp > self.latest_ms {
            let Self { latest_ms } = self;
            return Err(format!(
                "{timestamp} ms is too far ahead: the latest allowed for this record is \
                 {latest_ms} ms (timestamp_ahead_ms_max)"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: AheadBound = AheadBound::AtMost(TIMESTAMP_AHEAD_MAX);

    #[test]
    fn a_timestamp_is_measured_by_the_append_time() {
        let bounds = TimeBounds::of(HOUR, 1_000_000, 5);
        assert_eq!(bounds.check(1_000_000 + 3_600_000), Ok(()));
        let far = bounds.check(1_000_000 + 3_600_001).unwrap_err();
        assert!(far.contains("too far ahead"), "{far}");
        assert_eq!(bounds.check(0), Ok(()));
        assert!(bounds.check(-1).unwrap_err().contains("before 1970"));
    }

    #[test]
    fn without_an_append_time_the_records_own_timestamp_is_the_measure() {
        let bounds = TimeBounds::of(HOUR, 0, 7_000_000);
        assert_eq!(bounds.check(7_000_000 + 3_600_000), Ok(()));
        assert!(bounds.check(7_000_000 + 3_600_001).is_err());
    }

    #[test]
    fn unbounded_ends_with_the_calendar() {
        for bounds in [TimeBounds::CALENDAR, TimeBounds::of(AheadBound::Unbounded, 1, 1)] {
            assert_eq!(bounds.check(LAST_MS), Ok(()));
            assert!(bounds.check(LAST_MS + 1).is_err());
        }
        let extreme = AheadBound::AtMost(Duration::MAX);
        assert_eq!(TimeBounds::of(extreme, i64::MAX, 0), TimeBounds::CALENDAR);
    }

    #[test]
    fn the_more_special_rule_wins() {
        let skip = SourceRules { bad_records: Some(BadRecordPolicy::Skip), ..Default::default() };
        let all = SourceRules {
            bad_records: Some(BadRecordPolicy::Fail),
            timestamp_ahead_max: Some(AheadBound::Unbounded),
        };
        assert_eq!(skip.or(all).bad_records, Some(BadRecordPolicy::Skip));
        assert_eq!(skip.or(all).timestamp_ahead_max, Some(AheadBound::Unbounded));
        let names: std::collections::BTreeSet<_> = Defect::ALL.map(Defect::name).into();
        assert_eq!(names.len(), Defect::ALL.len());
    }
}
