//! The topology that is killed: everything that must survive, in one.
//!
//! ```text
//! payments (HTTP) -> dedup -.-> topic `payments-once`
//!                           '-> repartition by region -> windows -.-> view `regions`
//!                                                                 '-> many: alert `busy-region`
//! lines (a file) -> topic `lines-once`
//! ```

use std::time::Duration;

use pipeline::{
    AlertRule, Consumed, Severity, TimeWindows, Topology, TopologyBuilder, TopologyError,
    ViewFields, Windowed,
};
use serde::{Deserialize, Serialize};

/// Where payments come in, keyed by card.
pub const PAYMENTS: &str = "payments";
/// Every payment once.
pub const PAYMENTS_ONCE: &str = "payments-once";
/// Where the lines of the file come in.
pub const LINES: &str = "lines";
/// Every line once.
pub const LINES_ONCE: &str = "lines-once";
/// Where alerts lie.
pub const ALERTS: &str = "ledger-alerts";
/// The view of regions and windows.
pub const REGIONS: &str = "regions";
/// The rule of the alerts.
pub const RULE: &str = "busy-region";
/// The length of a window.
pub const WINDOW_MS: i64 = 1_000;
/// How late a payment may be.
pub const GRACE_MS: i64 = 5_000;
/// From how many payments on a region's window is busy.
pub const BUSY_MIN: u64 = 16;
/// How long repeats are dropped; shorter than a campaign, so that ids are forgotten, too.
const DEDUP_WITHIN: Duration = Duration::from_secs(120);

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Counts the payments of a campaign.
    pub id: u64,
    /// The key.
    pub card: String,
    /// What it is grouped by.
    pub region: String,
    /// How much.
    pub cents: u64,
    /// When, milliseconds since 1970-01-01 UTC.
    pub ts: i64,
    /// Bytes that make the log grow.
    pub note: String,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counts the lines of a campaign.
    pub id: u64,
    /// The key.
    pub card: String,
}

/// What a region comes to in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many payments.
    pub count: u64,
    /// What they sum up to.
    pub cents: u64,
    /// Their ids, mixed: two wrongs do not make a right.
    pub mix: u64,
}

impl Tally {
    /// Adds a payment.
    #[must_use]
    pub fn with(mut self, payment: &Payment) -> Self {
        self.count += 1;
        self.cents += payment.cents;
        // Fibonacci hashing spreads the ids; 53 bits, so that every JSON reader keeps them.
        self.mix ^= payment.id.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        self
    }
}

/// There is nothing to set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

/// Builds the topology `ledger`.
///
/// # Errors
/// Never; the type is what a binary wants.
pub fn build(_: &Settings) -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("ledger");
    let in_event_time = Consumed::default().with_timestamp(|payment: &Payment, _| payment.ts);
    let payments = builder.stream_with::<String, Payment>(PAYMENTS, in_event_time).dedup(
        "seen",
        DEDUP_WITHIN,
        |_, _, info| info.event_id().map(str::to_owned),
    );
    payments.to(PAYMENTS_ONCE);
    let (window, grace) = (ms(WINDOW_MS), ms(GRACE_MS));
    let regions = payments
        .group_by("by-region", |_, payment| payment.region.clone())
        .windowed_by(TimeWindows::of_size_and_grace(window, grace))
        .aggregate("regions", Tally::default, |_, payment, tally| tally.with(payment));
    let fields =
        ViewFields::new().keyword("region").i64("start").u64("count").u64("cents").u64("mix");
    regions.view(REGIONS, fields, |key: &Windowed<String>, tally| {
        serde_json::json!({
            "region": key.key,
            "start": key.window.start,
            "count": tally.count,
            "cents": tally.cents,
            "mix": tally.mix,
        })
    });
    regions
        .filter(|_, tally| tally.count >= BUSY_MIN)
        .to_stream()
        .alert(AlertRule::new(RULE, Severity::Warning).remember(window + grace), |key, tally| {
            (format!("{} is busy", key.key), tally.clone())
        });
    builder.stream::<String, Line>(LINES).to(LINES_ONCE);
    builder.build()
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}
