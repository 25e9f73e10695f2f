//! One line of syslog: RFC 5424, RFC 3164, and what real machines write under the latter's name.
//!
//! Pure: no clock, no file, no socket. What RFC 3164 leaves out (year, zone) comes in with a
//! [`Calendar`]. The accepted forms are tables in `docs/syslog.md`; a test parses their examples.

mod calendar;
mod rfc5424;
mod stamp;
mod structured;
mod tag;

use serde::Serialize;

pub use calendar::{Calendar, Year, YearError};
pub use structured::StructuredData;

/// A line, taken apart. Serializes as the record's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SyslogLine<'a> {
    /// The machine that wrote it, if the line names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    /// The program: what stands before `[pid]:` or `:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<&'a str>,
    /// The process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// RFC 5424: the process, where it is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<&'a str>,
    /// RFC 5424: the type of message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<&'a str>,
    /// RFC 5424: what the message says in names and values.
    #[serde(skip_serializing_if = "StructuredData::is_empty")]
    pub data: StructuredData<'a>,
    /// Everything after the tag, as it stands.
    pub message: &'a str,
    /// The facility's name (`auth`, `local7`), if the line has a priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facility: Option<&'static str>,
    /// The severity's name, from `emerg` to `debug`, if the line has a priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<&'static str>,
    /// Event time, milliseconds since 1970-01-01 UTC.
    #[serde(skip)]
    pub timestamp_ms: i64,
}

/// Why a text is not a line of syslog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyslogError {
    /// It begins with `<`, and no number from 0 to 191 and `>` follow.
    #[error("the priority in front is not <0> to <191>")]
    Priority,
    /// It is RFC 5424, and a part of its header is missing or cannot be read.
    #[error("this is RFC 5424, and its {0} is missing or cannot be read")]
    Header(&'static str),
    /// It is RFC 5424, and what stands in brackets is not as it is to be.
    #[error("this is RFC 5424, and its structured data breaks off or is malformed")]
    StructuredData,
    /// It does not begin with a time that we know.
    #[error("the line does not begin with a time such as `Nov 21 13:34:37` or ISO 8601")]
    Time,
    /// The day is not in that month of that year.
    #[error("there is no {month:02}-{day:02} in {year}; check the year setting")]
    Date {
        /// The year it was tried in.
        year: i32,
        /// The month, from 1.
        month: u32,
        /// The day of the month.
        day: u32,
    },
    /// The zone's short name is not one of the configured zone.
    #[error("zone `{found}` is not a name of {zone} at that time; set the zone to the writer's")]
    Zone {
        /// What the line says.
        found: String,
        /// The zone of the settings.
        zone: String,
    },
    /// There is a time and nothing else.
    #[error("nothing follows the time")]
    Empty,
}

/// Whether `line` is a remark of `journalctl` about the journal (`-- Boot 3c5a... --`,
/// `-- Logs begin at ... --`) and not a record of anybody.
pub fn is_marker(line: &str) -> bool {
    let line = line.trim_end();
    line.len() > "-- --".len() && line.starts_with("-- ") && line.ends_with(" --")
}

/// Reads one line, without its line end.
///
/// `reference_ms` is when the line arrived or the file was last written: [`Year::Auto`] finds the
/// year by it. A year found is noted in `calendar`, for the lines that follow.
///
/// # Errors
/// See [`SyslogError`]. The text after the time is never refused: where no tag can be found, all
/// of it is the message.
pub fn parse<'a>(
    line: &'a str,
    calendar: &mut Calendar,
    reference_ms: i64,
) -> Result<SyslogLine<'a>, SyslogError> {
    let line = line.trim_end_matches(['\n', '\r', '\0']);
    let (priority, rest) = take_priority(line)?;
    if let (Some(priority), Some(rest)) = (priority, rest.strip_prefix("1 ")) {
        return rfc5424::parse(rest, priority, reference_ms);
    }
    let (stamp, rest) = stamp::take(rest).ok_or(SyslogError::Time)?;
    let rest = rest.trim_start_matches(' ');
    if rest.is_empty() {
        return Err(SyslogError::Empty);
    }
    let timestamp_ms = calendar.resolve(&stamp, reference_ms)?;
    let (host, content) = tag::take_host(rest);
    let (app, pid, message) = tag::take_tag(content);
    Ok(SyslogLine {
        host,
        app,
        pid,
        process: None,
        message_id: None,
        data: StructuredData::default(),
        message,
        facility: priority.map(facility),
        severity: priority.map(severity),
        timestamp_ms,
    })
}

fn facility(priority: u8) -> &'static str {
    FACILITIES[usize::from(priority / 8)]
}

fn severity(priority: u8) -> &'static str {
    SEVERITIES[usize::from(priority % 8)]
}

/// The names of RFC 5424's table 1, as `syslog.h` shortens them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

fn take_priority(line: &str) -> Result<(Option<u8>, &str), SyslogError> {
    /// `local7.debug`: the last place in the two tables.
    const HIGHEST: u8 = 191;
    let Some(rest) = line.strip_prefix('<') else { return Ok((None, line)) };
    let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse().ok().filter(|number| *number <= HIGHEST);
    let rest = rest[digits..].strip_prefix('>').ok_or(SyslogError::Priority)?;
    Ok((Some(number.ok_or(SyslogError::Priority)?), rest))
}

#[cfg(test)]
mod tests;
