//! RFC 5424: what follows `<34>1 `.
//!
//! ```text
//! TIME HOST APP PROCESS MESSAGE-ID [ID NAME="VALUE" ...] MESSAGE
//! ```
//! `-` stands for what is not there. The form says of each part what it is, so that one that cannot
//! be read makes the line a bad one; nothing is guessed.

use super::stamp::{self, Stamp};
use super::structured::StructuredData;
use super::{SyslogError, SyslogLine, facility, severity};

/// What may stand in front of a message in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a line behind its priority and version. One without a time has the time it arrived.
pub(super) fn parse(
    text: &str,
    priority: u8,
    reference_ms: i64,
) -> Result<SyslogLine<'_>, SyslogError> {
    let (time, rest) = part(text, "time")?;
    let (host, rest) = part(rest, "host")?;
    let (app, rest) = part(rest, "application")?;
    let (process, rest) = part(rest, "process")?;
    let (message_id, rest) = part(rest, "message id")?;
    let (data, rest) = StructuredData::take(rest).ok_or(SyslogError::StructuredData)?;
    let message = match rest.strip_prefix(' ') {
        Some(message) => message,
        None if rest.is_empty() => "",
        None => return Err(SyslogError::StructuredData),
    };
    let timestamp_ms = match time {
        None => reference_ms,
        Some(time) => instant(time).ok_or(SyslogError::Header("time"))?,
    };
    let pid = process.and_then(|process| process.parse().ok());
    Ok(SyslogLine {
        host,
        app,
        pid,
        process: process.filter(|_| pid.is_none()),
        message_id,
        data,
        message: message.strip_prefix(BYTE_ORDER_MARK).unwrap_or(message),
        facility: Some(facility(priority)),
        severity: Some(severity(priority)),
        timestamp_ms,
    })
}

/// Takes one part of the header and the space behind it.
fn part<'a>(text: &'a str, what: &'static str) -> Result<(Option<&'a str>, &'a str), SyslogError> {
    match text.split_once(' ') {
        Some(("-", rest)) => Ok((None, rest)),
        Some((part, rest)) if !part.is_empty() => Ok((Some(part), rest)),
        _ => Err(SyslogError::Header(what)),
    }
}

/// A time with its distance from UTC, which the form demands.
fn instant(text: &str) -> Option<i64> {
    match stamp::take(text)? {
        (Stamp::Instant { ms }, "") if text.contains('T') => Some(ms),
        _ => None,
    }
}
