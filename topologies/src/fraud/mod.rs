//! Cards that are being tested.
//!
//! Whoever has a list of stolen card numbers finds out which of them work by paying small amounts
//! with each, many times within seconds, and often from several countries at once. So: count each
//! card's payments and their countries, minute by minute.
//!
//! ```text
//! payments -> each once -> of an amount that counts -> per card and minute -> suspicious ones:
//!     view `suspicious-cards`, alert `card-testing`
//! ```
//!
//! It judges a card by its own payments alone; it knows no merchant, no history of the card, and
//! no exchange rates: the sum of a window is that of the amounts as they stand.

mod payment;
mod spending;
mod views;

use std::time::Duration;

use pipeline::{
    AlertRule, Consumed, Severity, TimeWindows, Topology, TopologyBuilder, TopologyError,
};
use serde::{Deserialize, Serialize};

pub use payment::Payment;
pub use spending::Spending;

use crate::period;

/// What the topology `fraud` can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The topic of the payments, keyed by card.
    pub payments_topic: String,
    /// How long a payment's event id is remembered, in milliseconds of event time: a second
    /// payment with it is a repeat of the first.
    pub dedup_within_ms: u64,
    /// The smallest amount that counts, in hundredths of its currency.
    pub amount_cents_min: i64,
    /// The length of a window, in milliseconds.
    pub window_ms: u64,
    /// How long after its end a window still takes payments, in milliseconds of event time.
    pub grace_ms: u64,
    /// From how many payments on a window is suspicious, if the countries agree.
    pub count_min: u64,
    /// From how many different countries on a window is suspicious, if the count agrees.
    pub countries_min: usize,
    /// How many different countries a window tells apart. Beyond it holds that there were more.
    /// It is never less than `countries_min`.
    pub countries_max: usize,
    /// How long after its window a document is kept, in milliseconds of event time; 0 keeps all.
    pub documents_kept_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            payments_topic: "payments".to_owned(),
            dedup_within_ms: 600_000,
            amount_cents_min: 100,
            window_ms: 60_000,
            grace_ms: 10_000,
            count_min: 8,
            countries_min: 2,
            countries_max: 50,
            documents_kept_ms: 0,
        }
    }
}

/// Builds the topology `fraud`.
///
/// # Errors
/// When the settings make no topology: a window without length, or one beyond all time.
pub fn build(settings: &Settings) -> Result<Topology, TopologyError> {
    let Settings { amount_cents_min, count_min, countries_min, .. } = *settings;
    let countries_max = settings.countries_max.max(countries_min);
    let dedup_within = Duration::from_millis(settings.dedup_within_ms);
    let window = Duration::from_millis(settings.window_ms);
    let grace = Duration::from_millis(settings.grace_ms);

    let builder = TopologyBuilder::new("fraud");
    let in_event_time = Consumed::default().with_timestamp(|payment: &Payment, _| payment.ts);
    let suspicious = builder
        .stream_with::<String, Payment>(&settings.payments_topic, in_event_time)
        .dedup("seen-payments", dedup_within, |_, payment, _| Some(payment.event_id.clone()))
        .filter(move |_, payment| payment.amount_cents >= amount_cents_min)
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(window, grace))
        .aggregate("spending", Spending::default, move |_, payment, spending| {
            spending.add(payment, countries_max)
        })
        .filter(move |_, spending| spending.is_suspicious(count_min, countries_min));

    // Counts only grow, so a window that was suspicious stays so: its document is updated until it
    // has had its time, and the first time is when somebody must know.
    let shown = match period(settings.documents_kept_ms) {
        Some(kept) => suspicious.expire_after("suspicious-kept", kept),
        None => suspicious.clone(),
    };
    shown.view("suspicious-cards", views::fields(), views::document);
    suspicious.to_stream().alert(
        AlertRule::new("card-testing", Severity::Critical).remember(window + grace),
        |card, spending| (views::warning(card, spending), views::document(card, spending)),
    );
    builder.build()
}

#[cfg(test)]
mod tests;
