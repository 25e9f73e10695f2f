//! The documents of the view, and the text of the alert.

use pipeline::{ViewFields, Windowed};
use serde_json::json;

use super::Spending;

pub(super) fn fields() -> ViewFields {
    ViewFields::new()
        .keyword("card")
        .timestamp("window_start")
        .timestamp("window_end")
        .u64("count")
        .i64("sum_cents")
        .keyword("countries")
        .u64("country_count")
        .bool("more_countries")
}

pub(super) fn document(card: &Windowed<String>, spending: &Spending) -> serde_json::Value {
    json!({
        "card": card.key,
        "window_start": card.window.start,
        "window_end": card.window.end,
        "count": spending.count,
        "sum_cents": spending.sum_cents,
        "countries": spending.countries.texts(),
        "country_count": spending.countries.len(),
        "more_countries": spending.countries.has_more(),
    })
}

/// The text of an alert.
pub(super) fn warning(card: &Windowed<String>, spending: &Spending) -> String {
    let Windowed { key, window } = card;
    let (count, countries) = (spending.count, spending.countries.len());
    let seconds = (window.end - window.start) / 1_000;
    format!("{key}: {count} payments in {countries} countries within {seconds} seconds")
}
