//! A time as users write it: milliseconds or RFC 3339. Not syslog's forms.

use chrono::DateTime;

/// The last millisecond of the year 9999. A time in microseconds lies beyond it.
const MS_MAX: i64 = 253_402_300_799_999;

/// Why a value is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// It is neither.
    #[error("`{0}` is neither milliseconds since 1970 nor RFC 3339")]
    Form(String),
    /// It is before 1970 or after 9999.
    #[error("{0} ms is not between 1970 and 9999; is it in milliseconds?")]
    Range(i64),
}

/// Reads milliseconds or RFC 3339.
pub(crate) fn parse(text: &str) -> Result<i64, TimestampError> {
    if let Ok(ms) = text.parse() {
        return check(ms);
    }
    parse_rfc3339(text)
}

/// Reads RFC 3339 alone.
pub(crate) fn parse_rfc3339(text: &str) -> Result<i64, TimestampError> {
    let parsed = DateTime::parse_from_rfc3339(text);
    let at = parsed.map_err(|_| TimestampError::Form(text.chars().take(40).collect()))?;
    check(at.timestamp_millis())
}

/// Lets through what every log can store: Kafka has no time before 1970.
pub(crate) fn check(ms: i64) -> Result<i64, TimestampError> {
    if (0..=MS_MAX).contains(&ms) { Ok(ms) } else { Err(TimestampError::Range(ms)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (text, ms) in [
            ("0", 0),
            ("1795268077123", 1_795_268_077_123),
            ("1970-01-01T01:00:00.5+01:00", 500),
            ("9999-12-31T23:59:59.999Z", MS_MAX),
        ] {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn other_units_and_forms_are_refused() {
        assert_eq!(parse("1795268077123456"), Err(TimestampError::Range(1_795_268_077_123_456)));
        assert_eq!(parse("-1"), Err(TimestampError::Range(-1)));
        for text in ["", "2026-11-21", "2026-11-21 13:34", "yesterday", "1.5"] {
            assert_eq!(parse(text), Err(TimestampError::Form(text.into())));
        }
    }
}
