//! An alert as it lies in an alert topic. **Format**, described in `docs/webhooks.md`.
//!
//! Reading is lenient: a field that we do not know is kept, one that may be absent is. This module
//! does not make alerts: topologies do.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest id, in bytes: it travels in a header and in the keys of records.
pub(crate) const ID_BYTES_MAX: usize = 1024;

/// The value of a record in an alert topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Made of rule, key and window, so that no crash and no replay makes a second one. It is the
    /// record's key too.
    pub id: String,
    /// The rule that fired.
    #[serde(default)]
    pub rule: String,
    /// The key that it fired for.
    #[serde(default)]
    pub key: String,
    /// `firing`, `updated` or `resolved`.
    #[serde(default = "firing")]
    pub kind: String,
    /// The window that it fired for, if the rule has windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// `critical`, `warning` or `info`.
    #[serde(default)]
    pub severity: String,
    /// What a person reads.
    #[serde(default)]
    pub text: String,
    /// Event time, RFC 3339.
    #[serde(default)]
    pub timestamp: String,
    /// What the rule attached.
    #[serde(default)]
    pub data: Value,
    /// All other fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Start (inclusive) and end (exclusive) of a window, RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first moment in the window.
    pub start: String,
    /// The first moment after it.
    pub end: String,
}

/// Why the value of a record is no alert.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// The record is a tombstone.
    #[error("the record has no value; an alert is a JSON object")]
    NoValue,
    /// The bytes are not the JSON of an alert.
    #[error("the value is not the JSON of an alert: {0}")]
    Json(#[from] serde_json::Error),
    /// The id is empty or too long.
    #[error("the alert's id has {0} bytes; it needs 1 to {ID_BYTES_MAX}")]
    Id(usize),
    /// The kind cannot be part of an event type.
    #[error("the alert's kind `{0}` is not made of 1 to 32 lowercase letters, `_` and `-`")]
    Kind(String),
}

impl Alert {
    /// Reads the value of a record.
    ///
    /// # Errors
    /// When it is no alert; see [`AlertError`].
    pub fn parse(value: Option<&[u8]>) -> Result<Self, AlertError> {
        let alert: Self = serde_json::from_slice(value.ok_or(AlertError::NoValue)?)?;
        if alert.id.is_empty() || alert.id.len() > ID_BYTES_MAX {
            return Err(AlertError::Id(alert.id.len()));
        }
        let is_word = |b: u8| b.is_ascii_lowercase() || b == b'_' || b == b'-';
        if !(1..=32).contains(&alert.kind.len()) || !alert.kind.bytes().all(is_word) {
            return Err(AlertError::Kind(alert.kind.chars().take(64).collect()));
        }
        Ok(alert)
    }

    /// The `webhook-id`: the alert's id with everything that a header cannot carry (and `%`)
    /// percent-encoded. Different ids stay different, and an id stays the same for ever.
    pub fn webhook_id(&self) -> String {
        let mut out = String::with_capacity(self.id.len());
        for byte in self.id.bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    }
}

fn firing() -> String {
    "firing".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_keeps_the_fields_that_it_does_not_know() {
        let json = r#"{"id":"r:k:1","rule":"r","key":"k","kind":"firing","severity":"info",
            "window":{"start":"2023-11-14T22:13:20Z","end":"2023-11-14T22:14:20Z"},
            "text":"t","timestamp":"2023-11-14T22:14:20Z","data":{"n":1},"later":[1,2]}"#;
        let alert = Alert::parse(Some(json.as_bytes())).unwrap();
        assert_eq!(alert.rest["later"], serde_json::json!([1, 2]));
        let back: Value = serde_json::to_value(&alert).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(json).unwrap());
    }

    #[test]
    fn an_alert_with_nothing_but_an_id_is_one() {
        let alert = Alert::parse(Some(br#"{"id":"x"}"#)).unwrap();
        assert_eq!((alert.kind.as_str(), alert.window), ("firing", None));
    }

    #[test]
    fn what_is_no_alert_says_why() {
        for (value, why) in [
            (None, "no value"),
            (Some(&b"{"[..]), "not the JSON"),
            (Some(b"[]"), "not the JSON"),
            (Some(br#"{"rule":"x"}"#), "missing field `id`"),
            (Some(br#"{"id":""}"#), "0 bytes"),
            (Some(br#"{"id":"x","kind":"Fi ring"}"#), "kind `Fi ring`"),
        ] {
            let error = Alert::parse(value).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_webhook_id_is_fit_for_a_header_and_tells_ids_apart() {
        let id = |id: &str| {
            let json = serde_json::json!({ "id": id }).to_string();
            Alert::parse(Some(json.as_bytes())).unwrap().webhook_id()
        };
        assert_eq!(id("card-testing:card-1:1700000000000"), "card-testing:card-1:1700000000000");
        assert_eq!(id("r:josé \n:1"), "r:jos%C3%A9%20%0A:1");
        assert_ne!(id("a b"), id("a%20b"));
    }
}
