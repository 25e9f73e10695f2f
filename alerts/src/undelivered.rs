//! Records of the topic of what could not be delivered. **Format**, described in
//! `docs/webhooks.md`.
//!
//! Writes them only: listing and replaying is for the admin API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use pipeline::log::TopicPartition;
use serde::Serialize;
use serde_json::value::RawValue;

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) at: TopicPartition,
    pub(crate) offset: u64,
}

/// A record for [`crate::UNDELIVERED_TOPIC`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undelivered {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp_ms: i64,
}

/// How it came that an alert was not delivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) status: Option<u16>,
    pub(crate) answer: String,
}

#[derive(Serialize)]
struct Value<'a> {
    version: u32,
    endpoint: &'a str,
    topic: &'a str,
    partition: u32,
    offset: u64,
    timestamp: String,
    reason: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "str::is_empty")]
    answer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl Undelivered {
    /// An alert whose attempts are used up, or that cannot be sent.
    pub(crate) fn alert(
        endpoint: &str,
        source: &Source,
        (id, alert): (&str, &RawValue),
        failure: &Failure,
        now_ms: i64,
    ) -> Self {
        let value = Value { alert: Some(alert), ..Value::new(endpoint, source, failure, now_ms) };
        Self::encode(format!("{endpoint}/{id}"), &value, now_ms)
    }

    /// A record of an alert topic that is no alert.
    pub(crate) fn record(
        endpoint: &str,
        source: &Source,
        bytes: Option<&[u8]>,
        failure: &Failure,
        now_ms: i64,
    ) -> Self {
        let value_base64 = bytes.map(|bytes| STANDARD.encode(bytes));
        let value = Value { value_base64, ..Value::new(endpoint, source, failure, now_ms) };
        Self::encode(format!("{endpoint}/{}:{}", source.at, source.offset), &value, now_ms)
    }

    fn encode(key: String, value: &Value<'_>, timestamp_ms: i64) -> Self {
        let value = serde_json::to_vec(value).expect("strings, numbers and checked JSON");
        Self { key, value, timestamp_ms }
    }
}

impl<'a> Value<'a> {
    fn new(endpoint: &'a str, source: &'a Source, failure: &'a Failure, now_ms: i64) -> Self {
        let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        Self {
            version: 1,
            endpoint,
            topic: &source.at.topic,
            partition: source.at.partition,
            offset: source.offset,
            timestamp: now.to_rfc3339_opts(SecondsFormat::Millis, true),
            reason: &failure.reason,
            attempts: failure.attempts,
            status: failure.status,
            answer: &failure.answer,
            alert: None,
            value_base64: None,
        }
    }
}
