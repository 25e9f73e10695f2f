//! Records of a topic, one page after the other: for people who look what is there.
//!
//! Not a consumer: no group, no position is kept, and a page is small.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use pipeline::log::{LogError, RecordRef, TopicPartition};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Refusal, blocking, log_problem, problem, topics};
use crate::roles::{Overview, Shared};

/// The most records of a page.
const LIMIT_MAX: usize = 1000;
/// The most bytes of keys and values of a page; one more record may go beyond.
const BYTES_MAX: usize = 4 << 20;
/// Records are there or they are not: there is nothing to wait for.
const POLL: Duration = Duration::from_millis(20);
/// So many empty answers mean that the rest was compacted away.
const EMPTY_POLLS_MAX: u32 = 3;

/// Which records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    partition: u32,
    /// The first offset; without one, what is still there.
    from: Option<u64>,
    limit: usize,
}

/// A page of records.
#[derive(Serialize)]
pub(super) struct Page {
    records: Vec<Box<RawValue>>,
    /// Where the next page begins.
    next: u64,
    /// Where the partition ended when it was read: the last page has `next` there.
    end: u64,
}

/// Reads a page.
pub(super) async fn read(
    State(shared): State<Shared>,
    Path(topic): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page>, Refusal> {
    if !(1..=LIMIT_MAX).contains(&wanted.limit) {
        let detail = format!("`limit` is {}, it is 1 to {LIMIT_MAX}", wanted.limit);
        return Err(problem(StatusCode::BAD_REQUEST, detail));
    }
    let page = move |shared: &Shared| {
        topics::find(&shared.overview, &topic)?;
        page(&shared.overview, &topic, &wanted).map(Json).map_err(|error| log_problem(&error))
    };
    blocking(shared, page).await
}

fn page(overview: &Overview, topic: &str, wanted: &Wanted) -> Result<Page, LogError> {
    let at = TopicPartition::new(topic, wanted.partition);
    let range = overview.log.range(&at)?;
    let end = range.end.offset;
    let mut page = Page { records: Vec::new(), next: wanted.from.unwrap_or(range.start), end };
    let mut reader = overview.log.reader()?;
    reader.assign(&at, page.next)?;
    let (mut bytes, mut empty) = (0, 0);
    while page.next < end && empty < EMPTY_POLLS_MAX {
        let fetched = reader.poll(POLL)?;
        empty = if fetched.is_empty() { empty + 1 } else { 0 };
        for record in fetched.iter().flat_map(|fetched| fetched.records()) {
            if page.records.len() == wanted.limit || bytes > BYTES_MAX {
                return Ok(page);
            }
            bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            page.records.push(shown(wanted.partition, &record));
            page.next = record.offset + 1;
        }
    }
    page.next = page.next.max(end);
    Ok(page)
}

/// A record as JSON. A value that is JSON stays as it is; other text is a string; other bytes are
/// `{"hex": ...}`.
fn shown(partition: u32, record: &RecordRef<'_>) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Shown {
        partition: u32,
        offset: u64,
        timestamp_ms: i64,
        key: Value,
        value: Box<RawValue>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        headers: Map<String, Value>,
    }
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), text(Some(value))));
    let shown = Shown {
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp,
        key: text(record.key),
        value: value(record.value),
        headers: headers.collect(),
    };
    serde_json::value::to_raw_value(&shown).expect("texts, numbers and JSON are JSON")
}

pub(super) fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => Value::Null,
        Some((Ok(text), _)) if !text.contains(|c: char| c.is_control()) => text.into(),
        Some((_, bytes)) => json!({ "hex": hex(bytes) }),
    }
}

pub(super) fn value(bytes: Option<&[u8]>) -> Box<RawValue> {
    let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes).ok());
    // A value over several lines would not be one JSON line.
    let parsed = parsed.filter(|value| !value.get().contains(['\n', '\r']));
    parsed.unwrap_or_else(|| {
        serde_json::value::to_raw_value(&text(bytes)).expect("a value that was made is written")
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_where_they_are_and_text_or_hex_where_not() {
        assert_eq!(value(Some(b"{\"a\": 1.50}")).get(), "{\"a\": 1.50}");
        assert_eq!(value(Some(b"{\"a\"")).get(), "\"{\\\"a\\\"\"");
        assert_eq!(value(Some(b"\xff\x00")).get(), "{\"hex\":\"ff00\"}");
        assert_eq!(value(None).get(), "null");
    }

    #[test]
    fn keys_are_text_where_they_are() {
        assert_eq!(text(Some("caf\u{e9}".as_bytes())), json!("caf\u{e9}"));
        assert_eq!(text(Some(b"a\x00b")), json!({ "hex": "610062" }));
        assert_eq!(text(None), Value::Null);
    }
}
