//! Lines of a format into records: shared by files, listeners, HTTP and the command line.
//!
//! Pure but for the calendar of the syslog format, which remembers the year. It does not look for
//! line ends inside a line and knows no topic: [`lines`] splits, and the destination places.

use std::borrow::Cow;

use chrono_tz::Tz;

use crate::counters::Count;
use crate::fields::{self, FieldError, FieldPath};
use crate::syslog::{self, Calendar, SyslogError, Year};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object. The value is the line as it stands.
    Json,
    /// Any bytes. The value is the line as it stands.
    Lines,
    /// A line of syslog. The key is the host, the value a JSON object, the time the line's own.
    Syslog {
        /// Where the year comes from.
        year: Year,
        /// The zone of the writer's clock.
        zone: Tz,
    },
}

/// How lines become records.
#[derive(Clone, Debug)]
pub struct ParserSettings {
    /// What a line is.
    pub format: Format,
    /// Where the key stands in a JSON line; without it there is none.
    pub key_field: Option<FieldPath>,
    /// Where the event time stands in a JSON line; without it, it is the time of arrival.
    pub timestamp_field: Option<FieldPath>,
    /// The longest line, in bytes, without its line end.
    pub line_bytes_max: usize,
}

/// How a line came here: what may complete it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival<'a> {
    /// When it arrived, or its file was last written; the year is found by it.
    pub reference_ms: i64,
    /// The host, where a line of syslog names none.
    pub host: Option<&'a str>,
}

/// What has become of a line that is not bad.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A record.
    Record(ParsedRecord<'a>),
    /// Nothing, for this reason.
    Skipped(Skipped),
}

/// Why a line is no record and not bad either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// There is nothing in it.
    Blank,
    /// It is a remark of `journalctl`.
    Marker,
}

impl Skipped {
    /// What it is counted as.
    pub(crate) fn count(self) -> Count {
        match self {
            Self::Blank => Count::Blank,
            Self::Marker => Count::Marker,
        }
    }
}

/// A record without a place.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsedRecord<'a> {
    /// The key, if there is one.
    pub key: Option<Cow<'a, [u8]>>,
    /// The value.
    pub value: Cow<'a, [u8]>,
    /// The event time, if the line says one.
    pub timestamp_ms: Option<i64>,
    /// Whether invalid UTF-8 had to be replaced by U+FFFD.
    pub lossy: bool,
}

/// Why a line is bad.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is longer than the limit.
    #[error("the line has {bytes} bytes or more, the limit is {limit} (`line_bytes_max`)")]
    TooLong {
        /// What there was of it.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not JSON, or a wanted field cannot be had.
    #[error(transparent)]
    Json(#[from] FieldError),
    /// It is not syslog.
    #[error(transparent)]
    Syslog(#[from] SyslogError),
}

/// Turns lines into records.
#[derive(Clone, Debug)]
pub struct Parser {
    settings: ParserSettings,
    calendar: Option<Calendar>,
}

impl Parser {
    /// A parser that has seen no line.
    pub fn new(settings: ParserSettings) -> Self {
        let calendar = match settings.format {
            Format::Json | Format::Lines => None,
            Format::Syslog { year, zone } => Some(Calendar::new(zone, year)),
        };
        Self { settings, calendar }
    }

    /// The year to go on with, where the format needs one: see [`Year`].
    pub fn year(&self) -> Option<Year> {
        self.calendar.as_ref().map(Calendar::year)
    }

    /// Goes on where another parser has stopped: its [`Parser::year`]. Settings that have changed
    /// from or to [`Year::Auto`] since then hold.
    pub fn resume(&mut self, year: Year) {
        if let Format::Syslog { year: Year::Fixed { .. }, zone } = self.settings.format
            && year != Year::Auto
        {
            self.calendar = Some(Calendar::new(zone, year));
        }
    }

    /// The longest line, in bytes.
    pub fn line_bytes_max(&self) -> usize {
        self.settings.line_bytes_max
    }

    /// Reads one line, which [`lines`] has split off.
    ///
    /// # Errors
    /// When the line is not of the format. Nothing is remembered of such a line.
    pub fn parse<'a>(
        &mut self,
        line: &'a [u8],
        arrival: &Arrival<'_>,
    ) -> Result<Parsed<'a>, LineError> {
        let limit = self.settings.line_bytes_max;
        if line.len() > limit {
            return Err(LineError::TooLong { bytes: line.len(), limit });
        }
        if line.trim_ascii().is_empty() {
            return Ok(Parsed::Skipped(Skipped::Blank));
        }
        match &mut self.calendar {
            Some(calendar) => parse_syslog(line, calendar, arrival),
            None => self.parse_plain(line),
        }
    }

    fn parse_plain<'a>(&self, line: &'a [u8]) -> Result<Parsed<'a>, LineError> {
        let ParserSettings { format, key_field, timestamp_field, .. } = &self.settings;
        let fields = match format {
            Format::Json => fields::extract(line, key_field.as_ref(), timestamp_field.as_ref())?,
            Format::Lines | Format::Syslog { .. } => fields::Fields::default(),
        };
        Ok(Parsed::Record(ParsedRecord {
            key: fields.key,
            value: Cow::Borrowed(line),
            timestamp_ms: fields.timestamp_ms,
            lossy: false,
        }))
    }
}

fn parse_syslog(
    line: &[u8],
    calendar: &mut Calendar,
    arrival: &Arrival<'_>,
) -> Result<Parsed<'static>, LineError> {
    let text = String::from_utf8_lossy(line);
    if syslog::is_marker(&text) {
        return Ok(Parsed::Skipped(Skipped::Marker));
    }
    let mut parsed = syslog::parse(&text, calendar, arrival.reference_ms)?;
    parsed.host = parsed.host.or(arrival.host);
    let value = serde_json::to_vec(&parsed).expect("texts and numbers always have a JSON form");
    Ok(Parsed::Record(ParsedRecord {
        key: parsed.host.map(|host| Cow::Owned(host.as_bytes().to_vec())),
        value: Cow::Owned(value),
        timestamp_ms: Some(parsed.timestamp_ms),
        lossy: matches!(text, Cow::Owned(_)),
    }))
}

/// Splits `bytes` into lines, without their ends (`\n` or `\r\n`). Bytes after the last end are a
/// line too.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let split = whole.split(|byte| *byte == b'\n').map(without_return);
    split.take(if bytes.is_empty() { 0 } else { usize::MAX })
}

/// `line` without the carriage return that belongs to its end.
pub(crate) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parser(format: Format) -> Parser {
        Parser::new(ParserSettings {
            format,
            key_field: Some("id".parse().unwrap()),
            timestamp_field: None,
            line_bytes_max: 100,
        })
    }

    #[test]
    fn lines_end_with_either_end_or_none() {
        let split = |text: &'static str| lines(text.as_bytes()).collect::<Vec<_>>();
        assert!(split("").is_empty());
        assert_eq!(split("a\r\n\nb"), [&b"a"[..], b"", b"b"]);
        assert_eq!(split("a\n"), [b"a"]);
        assert_eq!(split("\n"), [b""]);
    }

    #[test]
    fn a_json_line_is_kept_byte_for_byte() {
        let line = br#" {"id" : 7 } "#;
        let parsed = parser(Format::Json).parse(line, &Arrival::default()).unwrap();
        let Parsed::Record(record) = parsed else { panic!("a record") };
        assert_eq!(record.key.as_deref(), Some(&b"7"[..]));
        assert_eq!(&*record.value, line);
        assert_eq!((record.timestamp_ms, record.lossy), (None, false));
    }

    #[test]
    fn lines_have_no_key_and_may_be_any_bytes() {
        let parsed = parser(Format::Lines).parse(b"\xff\x00", &Arrival::default()).unwrap();
        let Parsed::Record(record) = parsed else { panic!("a record") };
        assert_eq!((record.key, &*record.value), (None, &b"\xff\x00"[..]));
    }

    #[test]
    fn syslog_becomes_json_keyed_by_host() {
        let mut parser = parser(Format::Syslog { year: Year::Auto, zone: Tz::UTC });
        let arrival = Arrival { reference_ms: 1_795_268_077_000, host: Some("10.0.0.9") };
        let line = b"<38>Nov 21 13:34:37 web1 sshd[7]: caf\xe9";
        let Parsed::Record(record) = parser.parse(line, &arrival).unwrap() else {
            panic!("a record")
        };
        assert_eq!(record.key.as_deref(), Some(&b"web1"[..]));
        let value = "{\"host\":\"web1\",\"app\":\"sshd\",\"pid\":7,\"message\":\"caf\u{fffd}\",\
                     \"facility\":\"auth\",\"severity\":\"info\"}";
        assert_eq!(std::str::from_utf8(&record.value), Ok(value));
        assert_eq!((record.timestamp_ms, record.lossy), (Some(1_795_268_077_000), true));

        let line = b"Nov 21 13:34:37 su: no host";
        let Parsed::Record(record) = parser.parse(line, &arrival).unwrap() else {
            panic!("a record")
        };
        assert_eq!(record.key.as_deref(), Some(&b"10.0.0.9"[..]));
    }

    #[test]
    fn blank_lines_and_remarks_are_skipped_and_long_lines_are_bad() {
        let mut parser = parser(Format::Syslog { year: Year::Auto, zone: Tz::UTC });
        let arrival = Arrival::default();
        assert_eq!(parser.parse(b" \t", &arrival), Ok(Parsed::Skipped(Skipped::Blank)));
        assert_eq!(parser.parse(b"-- Boot 3 --", &arrival), Ok(Parsed::Skipped(Skipped::Marker)));
        let error = LineError::TooLong { bytes: 101, limit: 100 };
        assert_eq!(parser.parse(&[b' '; 101], &arrival), Err(error));
    }
}
