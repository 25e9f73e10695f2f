//! What traffic comes to, worked out without the DSL: with maps, and all of it in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value, json};

use crate::logins::attempt::{Line, parse};
use crate::traffic::Generated;

/// Some fields of the documents that there must be, by key.
pub(crate) type Expected = BTreeMap<String, Value>;

/// The given fields of a record, if it is whole: a damaged byte elsewhere does not matter.
fn fields<const N: usize>(record: &Generated, names: [&str; N]) -> Option<[Value; N]> {
    let text = String::from_utf8_lossy(&record.value);
    let value: Value = serde_json::from_str(&text).ok()?;
    let fields = names.map(|name| value[name].clone());
    let is_whole = |field: &Value| !field.is_null() && !field.to_string().contains('\u{fffd}');
    fields.iter().all(is_whole).then_some(fields)
}

fn key(record: &Generated) -> String {
    String::from_utf8(record.key.clone()).unwrap()
}

fn windowed(key: &str, at: i64, size_ms: i64) -> String {
    let start = at - at.rem_euclid(size_ms);
    let time = chrono::DateTime::from_timestamp_millis(start).unwrap();
    format!("{key}@{}", time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// Suspicious windows. A generated payment is under way for less than 10 s, or is late.
pub(crate) fn suspicious_cards(records: &[Generated]) -> Expected {
    let mut seen = HashSet::new();
    let mut windows: BTreeMap<String, (u64, i64, BTreeSet<String>)> = BTreeMap::new();
    let mut now = i64::MIN;
    for record in records {
        let names = ["event_id", "amount_cents", "country", "ts"];
        let Some([id, cents, country, ts]) = fields(record, names) else { continue };
        let (Some(id), Some(ts), Some(cents)) = (id.as_str(), ts.as_i64(), cents.as_i64()) else {
            continue;
        };
        now = now.max(ts);
        if !seen.insert(id.to_owned()) || cents < 100 || ts < now - 10_000 {
            continue;
        }
        let window = windows.entry(windowed(&key(record), ts, 60_000)).or_default();
        window.0 += 1;
        window.1 += cents;
        window.2.insert(country.as_str().unwrap().to_owned());
    }
    windows.retain(|_, (count, _, countries)| *count >= 8 && countries.len() >= 2);
    let document = |(count, sum, countries): (u64, i64, BTreeSet<String>)| json!({ "count": count, "sum_cents": sum, "countries": countries });
    windows.into_iter().map(|(key, window)| (key, document(window))).collect()
}

/// Orders, and the ids of the items that came too late for them.
pub(crate) fn orders(records: &[Generated]) -> (Expected, BTreeSet<String>) {
    let (mut seen, mut over) = (HashSet::new(), BTreeMap::new());
    let mut totals: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut rejected = BTreeSet::new();
    for record in records {
        let Some([id, kind]) = fields(record, ["event_id", "type"]) else { continue };
        let Some(id) = id.as_str() else { continue };
        if !is_readable(record, &kind) || !seen.insert(id.to_owned()) {
            continue;
        }
        let order = key(record);
        let total = totals.entry(order.clone()).or_default();
        match kind.as_str() {
            Some("item_added") if over.contains_key(&order) => {
                rejected.insert(format!("{order}/{id}"));
            }
            Some("item_added") => {
                let [quantity, price] = fields(record, ["quantity", "unit_price_cents"]).unwrap();
                let (quantity, price) = (quantity.as_u64().unwrap(), price.as_u64().unwrap());
                *total = (total.0 + quantity, total.1 + quantity * price);
            }
            Some(end @ ("shipped" | "cancelled")) => {
                over.insert(order, end.to_owned());
            }
            _ => {}
        }
    }
    let document = |(order, (items, cents)): (String, (u64, u64))| {
        let mut fields = json!({ "items": items, "total_cents": cents });
        // An order that is not over may be unknown, if what placed it was damaged.
        if let Some(status) = over.get(&order) {
            fields["status"] = json!(status);
        }
        (order, fields)
    };
    (totals.into_iter().map(document).collect(), rejected)
}

/// Whether the fields that this kind of event must have are whole.
fn is_readable(record: &Generated, kind: &Value) -> bool {
    match kind.as_str() {
        Some("placed") => fields(record, ["ts", "customer_id"]).is_some(),
        Some("item_added") => {
            fields(record, ["ts", "sku", "quantity", "unit_price_cents"]).is_some()
        }
        Some("rescheduled") => fields(record, ["ts", "delivery_date"]).is_some(),
        Some("shipped") => fields(record, ["ts"]).is_some(),
        Some("cancelled") => fields(record, ["ts", "reason"]).is_some(),
        _ => false,
    }
}

/// Failed attempts of each host, source and window, and of each host and window. No generated line
/// is late.
pub(crate) fn failed_logins(records: &[Generated]) -> (Expected, Expected) {
    let mut by_source: BTreeMap<String, u64> = BTreeMap::new();
    let mut by_host: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        let Some([app, message]) = fields(record, ["app", "message"]) else { continue };
        let (Some(app), Some(message)) = (app.as_str(), message.as_str()) else { continue };
        if let Line::Attempt(attempt) = parse(app, message) {
            let (host, at, count) = (key(record), record.timestamp_ms, u64::from(attempt.count));
            let source = format!("{host}/{}", attempt.source.unwrap_or("-"));
            *by_source.entry(windowed(&source, at, 300_000)).or_default() += count;
            *by_host.entry(windowed(&host, at, 300_000)).or_default() += count;
        }
    }
    let documents = |counts: BTreeMap<String, u64>| -> Expected {
        counts.into_iter().map(|(key, count)| (key, json!({ "attempts": count }))).collect()
    };
    (documents(by_source), documents(by_host))
}
