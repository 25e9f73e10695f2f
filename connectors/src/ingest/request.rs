//! What a request asks for: headers and query into [`Options`].
//!
//! Pure. It does not look at the body.

use std::str::FromStr;

use axum::http::{HeaderMap, StatusCode, header};
use chrono_tz::Tz;
use serde::Deserialize;

use super::cloudevents;
use super::problem::Problem;
use super::settings::{OnBadLine, Options, Shape};
use crate::parser::Format;
use crate::syslog::Year;
use crate::timestamp;

/// The longest `Idempotency-Key`, in bytes.
const EVENT_ID_BYTES_MAX: usize = 255;

/// The query of a request, still text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    key_field: Option<String>,
    timestamp_field: Option<String>,
    format: Option<String>,
    year: Option<String>,
    zone: Option<String>,
    reference: Option<String>,
    on_bad_line: Option<String>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    /// Records, and nothing around them.
    None,
    /// A structured event.
    CloudEvent,
}

/// Reads headers and query.
pub(super) fn options(headers: &HeaderMap, query: &Query) -> Result<(Options, Envelope), Problem> {
    let structured = cloudevents::is_structured(&media_type(headers));
    if !structured && !cloudevents::is_binary(headers) {
        let (format, shape) = format(headers, query)?;
        return Ok((general(headers, query, (format, shape))?, Envelope::None));
    }
    let given = [("format", &query.format)];
    none_of(&given, "an event says in its attributes what its data is")?;
    only_syslog(query)?;
    let options = general(headers, query, (Format::Json, Shape::Record))?;
    if structured {
        return Ok((options, Envelope::CloudEvent));
    }
    let event = cloudevents::from_headers(headers)?;
    Ok((event.complete(options)?, Envelope::None))
}

/// What holds for every kind of body.
fn general(
    headers: &HeaderMap,
    query: &Query,
    (format, shape): (Format, Shape),
) -> Result<Options, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|it| *it != "identity") {
        let detail = format!("content encoding {encoding:?} is not read; send the body as it is");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if format != Format::Json {
        let fields = [("key_field", &query.key_field), ("timestamp_field", &query.timestamp_field)];
        none_of(&fields, "only JSON records have fields")?;
    }
    Ok(Options {
        shape,
        key: header_value(headers, "millpond-key")?.map(<[u8]>::to_vec),
        key_field: parsed("key_field", query.key_field.as_deref())?,
        timestamp_ms: header_text(headers, "millpond-timestamp")?
            .map(|text| timestamp::parse(text).map_err(|error| bad("millpond-timestamp", error)))
            .transpose()?,
        timestamp_field: parsed("timestamp_field", query.timestamp_field.as_deref())?,
        reference_ms: query
            .reference
            .as_deref()
            .map(|text| timestamp::parse(text).map_err(|error| bad("reference", error)))
            .transpose()?,
        event_id: event_id(headers)?,
        on_bad_line: match query.on_bad_line.as_deref() {
            None | Some("refuse") => OnBadLine::Refuse,
            Some("dlq") => OnBadLine::DeadLetter,
            Some(other) => {
                return Err(bad("on_bad_line", format!("`{other}` is not refuse or dlq")));
            }
        },
        ..Options::lines(format)
    })
}

/// The content type without its parameters.
fn media_type(headers: &HeaderMap) -> Vec<u8> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().to_ascii_lowercase()
}

fn format(headers: &HeaderMap, query: &Query) -> Result<(Format, Shape), Problem> {
    let (format, shape) = match media_type(headers).as_slice() {
        b"application/json" => (Format::Json, Shape::Record),
        b"application/x-ndjson" => (Format::Json, Shape::Lines),
        b"text/plain" => return Ok((plain(query)?, Shape::Lines)),
        _ => {
            let detail = "the content type is not application/json (one record), \
                          application/x-ndjson (a record a line), text/plain (with ?format=lines or \
                          ?format=syslog), or that of a CloudEvent: application/cloudevents+json, \
                          or any with the headers ce-id, ce-source, ce-type and ce-specversion";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    if query.format.is_some() {
        return Err(bad("format", "it goes with the content type text/plain"));
    }
    only_syslog(query)?;
    Ok((format, shape))
}

fn plain(query: &Query) -> Result<Format, Problem> {
    match query.format.as_deref() {
        None | Some("lines") => {
            only_syslog(query)?;
            Ok(Format::Lines)
        }
        Some("syslog") => Ok(Format::Syslog {
            year: parsed("year", query.year.as_deref())?.unwrap_or(Year::Auto),
            zone: parsed("zone", query.zone.as_deref())?.unwrap_or(Tz::UTC),
        }),
        Some(other) => Err(bad("format", format!("`{other}` is not lines or syslog"))),
    }
}

fn only_syslog(query: &Query) -> Result<(), Problem> {
    let given = [("year", &query.year), ("zone", &query.zone), ("reference", &query.reference)];
    none_of(&given, "it goes with format=syslog")
}

/// A parameter that would have no effect is a mistake of the caller's.
fn none_of(parameters: &[(&str, &Option<String>)], reason: &str) -> Result<(), Problem> {
    match parameters.iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(bad(name, reason)),
        None => Ok(()),
    }
}

/// The id, without the quotes of a structured header.
fn event_id(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(text) = header_text(headers, "idempotency-key")? else { return Ok(None) };
    let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let id = unquoted.unwrap_or(text);
    if id.is_empty() || id.len() > EVENT_ID_BYTES_MAX {
        return Err(bad("idempotency-key", format!("it has 1 to {EVENT_ID_BYTES_MAX} bytes")));
    }
    Ok(Some(id.to_owned()))
}

fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let text = header_value(headers, name)?.map(std::str::from_utf8).transpose();
    text.map_err(|_| bad(name, "it is not UTF-8"))
}

fn header_value<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    if value.is_empty() {
        return Err(bad(name, "it is empty"));
    }
    Ok(Some(value.as_bytes()))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse().map_err(|error| bad(name, error))).transpose()
}

fn bad(name: &str, reason: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("`{name}` cannot be used: {reason}"))
}
