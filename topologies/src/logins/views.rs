//! The documents of the two views, and the text of the alert.

use pipeline::{ViewFields, Windowed};
use serde_json::json;

use super::Tally;
use crate::Pair;

pub(super) fn source_fields() -> ViewFields {
    tally_fields(ViewFields::new().keyword("host").keyword("source"))
}

pub(super) fn source_document(key: &Windowed<Pair>, tally: &Tally) -> serde_json::Value {
    let Windowed { key: Pair(host, source), window } = key;
    let (start, end) = (window.start, window.end);
    let keys = json!({ "host": host, "source": source, "window_start": start, "window_end": end });
    with_tally(keys, tally)
}

pub(super) fn host_fields() -> ViewFields {
    let own = ViewFields::new().keyword("host").keyword("sources").u64("source_count");
    tally_fields(own.bool("more_sources"))
}

pub(super) fn host_document(key: &Windowed<String>, tally: &Tally) -> serde_json::Value {
    let keys = json!({
        "host": key.key,
        "sources": tally.sources.texts(),
        "source_count": tally.sources.len(),
        "more_sources": tally.sources.has_more(),
        "window_start": key.window.start,
        "window_end": key.window.end,
    });
    with_tally(keys, tally)
}

/// The fields that both views have.
fn tally_fields(fields: ViewFields) -> ViewFields {
    fields
        .timestamp("window_start")
        .timestamp("window_end")
        .u64("attempts")
        .u64("invalid_user_attempts")
        .text("users")
        .bool("more_users")
        .keyword("methods")
        .timestamp("first_seen")
        .timestamp("last_seen")
        .text("last")
}

fn with_tally(mut document: serde_json::Value, tally: &Tally) -> serde_json::Value {
    document["attempts"] = json!(tally.attempts);
    document["invalid_user_attempts"] = json!(tally.invalid_user_attempts);
    document["users"] = json!(tally.users.texts());
    document["more_users"] = json!(tally.users.has_more());
    document["methods"] = json!(tally.methods.texts());
    document["first_seen"] = json!(tally.first_seen);
    document["last_seen"] = json!(tally.last.as_ref().map(|last| last.at));
    document["last"] = json!(tally.last.as_ref().map(|last| &last.message));
    document
}

/// The text of an alert.
pub(super) fn warning(key: &Windowed<Pair>, tally: &Tally) -> String {
    let Windowed { key: Pair(host, source), window } = key;
    let (attempts, seconds) = (tally.attempts, (window.end - window.start) / 1_000);
    format!("{host}: {attempts} failed logins from {source} within {seconds} seconds")
}
