//! What orders come to, and what they cannot take any more.
//!
//! All events of an order are in one topic under the order's id, so they lie in one partition, and
//! the order in which they were appended decides: an item that was added before the cancellation
//! counts, one that comes after it does not, whatever the clocks of their senders say.
//!
//! ```text
//! orders -> each once -> per order -> sales per customer and day -> view `customer-leaderboard`
//!                                  '-> accepted -> with the customer -> view `order-totals`
//!                                  '-> rejected --> topic and view `order-rejections`
//!                                               '-> items: alert `order-rejection`
//! ```
//!
//! An order that has had no event for a while can leave, if a setting says so: what it came to is
//! taken out of state, topic and view, and stays in the leaderboard.
//!
//! Which event an order accepts in which state is [`Order::take`]'s to say. A customer is looked
//! up when an event is handled: a later change of the customer shows with the order's next event.

mod event;
mod leaders;
mod order;
mod views;

use std::sync::Arc;
use std::time::Duration;

use pipeline::{AlertRule, Consumed, Severity, Stream, Topology, TopologyBuilder, TopologyError};
use serde::{Deserialize, Serialize};

pub use event::{DeliveryDate, EventKind, OrderEvent};
pub use order::{Order, Outcome, Reason, Rejection, Sale, Status};
pub use views::Customer;

use crate::{Pair, period};

/// What the topology `orders` can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The topic of the orders' events, keyed by order.
    pub orders_topic: String,
    /// The topic of the customers, keyed by customer; a null value deletes.
    pub customers_topic: String,
    /// The topic that rejected events go to, keyed by order.
    pub rejections_topic: String,
    /// How long an event's id is remembered, in milliseconds of event time: a second event with it
    /// is a repeat of the first.
    pub dedup_within_ms: u64,
    /// After how long without an event an order leaves, with its document, in milliseconds of event
    /// time; 0 keeps all orders. It must be longer than anything that belongs to one order takes.
    pub archive_after_ms: u64,
    /// How long the document of a rejected event is kept and its alert remembered, in milliseconds
    /// of event time; 0 keeps all documents, and remembers alerts for a day.
    pub rejections_kept_ms: u64,
    /// How many customers the leaderboard of a day has; 0 keeps no leaderboard.
    pub leaders_max: usize,
    /// After how long without a sale a customer leaves the leaderboard of a day, in milliseconds
    /// of event time; 0 keeps the leaderboards of all days. It must be longer than a day.
    pub leaders_kept_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            orders_topic: "orders".to_owned(),
            customers_topic: "customers".to_owned(),
            rejections_topic: "order-rejections".to_owned(),
            dedup_within_ms: 600_000,
            archive_after_ms: 0,
            rejections_kept_ms: 0,
            leaders_max: 10,
            leaders_kept_ms: 0,
        }
    }
}

/// Builds the topology `orders`.
///
/// # Errors
/// When the settings make no topology: a name that no topic can have, one topic for two things.
pub fn build(settings: &Settings) -> Result<Topology, TopologyError> {
    let dedup_within = Duration::from_millis(settings.dedup_within_ms);

    let builder = TopologyBuilder::new("orders");
    let customers = builder.global_table(&settings.customers_topic, "customers");
    let in_event_time = Consumed::default().with_timestamp(|event: &OrderEvent, _| event.ts);
    let events = builder
        .stream_with::<String, OrderEvent>(&settings.orders_topic, in_event_time)
        .dedup("seen-events", dedup_within, |_, event, _| Some(event.event_id.clone()))
        .group_by_key();
    let events = match period(settings.archive_after_ms) {
        Some(after) => events.expire_after(after),
        None => events,
    };
    let orders = events
        .aggregate("orders", Outcome::default, |id, event, before| before.order.take(id, event));
    // `None` is an order that has left.
    let mut outcomes = orders.to_stream_with_tombstones().split();
    let accepted = outcomes
        .branch(|_, outcome| outcome.as_ref().is_none_or(|outcome| outcome.rejection.is_none()));
    let rejected = outcomes.done().flat_map_values(|_, outcome| outcome?.rejection);

    accepted
        .left_join_global(
            &customers,
            |_, outcome| outcome.as_ref()?.order.customer_id.clone(),
            |id, outcome, customer| {
                let total = |outcome: &Outcome| views::total(id, &outcome.order, customer);
                outcome.as_ref().map(total).map(Arc::new)
            },
        )
        .as_table()
        .view("order-totals", views::total_fields(), |_, total| Arc::clone(total));

    rejected.to(&settings.rejections_topic);
    reject(&rejected, period(settings.rejections_kept_ms));
    if settings.leaders_max > 0 {
        leaders::keep(&orders, settings.leaders_max, period(settings.leaders_kept_ms));
    }
    builder.build()
}

/// Shows what was rejected, and tells the customers of items.
fn reject(rejected: &Stream<String, Rejection>, kept: Option<Duration>) {
    let by_event = rejected
        .refine_key(|order, rejection| Pair(order.clone(), rejection.event.event_id.clone()));
    let rows = by_event.map_values(|_, rejection| Some(rejection)).as_table();
    let rows = match kept {
        Some(kept) => rows.expire_after("order-rejections-kept", kept),
        None => rows,
    };
    rows.view("order-rejections", views::rejection_fields(), |_, rejection| {
        views::rejection(rejection)
    });
    let rule = AlertRule::new("order-rejection", Severity::Info);
    by_event
        .filter(|_, rejection| matches!(rejection.event.kind, EventKind::ItemAdded { .. }))
        .alert(kept.map_or(rule.clone(), |kept| rule.remember(kept)), |_, rejection| {
            (views::notice(rejection), views::rejection(rejection))
        });
}

#[cfg(test)]
mod tests;
