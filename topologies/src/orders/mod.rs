//! What orders come to, and what they cannot take any more.
//!
//! All events of an order are in one topic under the order's id, so they lie in one partition, and
//! the order in which they were appended decides: an item that was added before the cancellation
//! counts, one that comes after it does not, whatever the clocks of their senders say.
//!
//! ```text
//! orders -> each once -> per order -> per customer and day -> best -> view `customer-leaderboard`
//!                                  '-> accepted -> with the customer -> view `order-totals`
//!                                  '-> rejected --> topic and view `order-rejections`
//!                                               '-> items: alert `order-rejection`
//! ```
//!
//! Which event an order accepts in which state is [`Order::take`]'s to say. A customer is looked
//! up when an event is handled: a later change of the customer shows with the order's next event.

mod event;
mod leaders;
mod order;
mod views;

use std::time::Duration;

use pipeline::{AlertRule, Consumed, Severity, Topology, TopologyBuilder, TopologyError};
use serde::{Deserialize, Serialize};

pub use event::{DeliveryDate, EventKind, OrderEvent};
pub use order::{Order, Outcome, Reason, Rejection, Status};
pub use views::Customer;

use crate::Pair;

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
    /// How many customers the leaderboard of a day has; 0 keeps no leaderboard.
    pub leaders_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            orders_topic: "orders".to_owned(),
            customers_topic: "customers".to_owned(),
            rejections_topic: "order-rejections".to_owned(),
            dedup_within_ms: 600_000,
            leaders_max: 10,
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
    let orders = builder
        .stream_with::<String, OrderEvent>(&settings.orders_topic, in_event_time)
        .dedup("seen-events", dedup_within, |_, event, _| Some(event.event_id.clone()))
        .group_by_key()
        .aggregate("orders", Outcome::default, |id, event, before| before.order.take(id, event));
    let mut outcomes = orders.to_stream().split();
    let accepted = outcomes.branch(|_, outcome| outcome.rejection.is_none());
    let rejected = outcomes.done().flat_map_values(|_, outcome| outcome.rejection);

    accepted
        .left_join_global(
            &customers,
            |_, outcome| outcome.order.customer_id.clone(),
            |id, outcome, customer| views::total(id, &outcome.order, customer),
        )
        .view("order-totals", views::total_fields(), |_, total| total.clone());

    rejected.to(&settings.rejections_topic);
    let by_event = rejected
        .refine_key(|order, rejection| Pair(order.clone(), rejection.event.event_id.clone()));
    by_event.view("order-rejections", views::rejection_fields(), |_, rejection| {
        views::rejection(rejection)
    });
    by_event
        .filter(|_, rejection| matches!(rejection.event.kind, EventKind::ItemAdded { .. }))
        .alert(AlertRule::new("order-rejection", Severity::Info), |_, rejection| {
            (views::notice(rejection), views::rejection(rejection))
        });
    if settings.leaders_max > 0 {
        leaders::keep(&orders, settings.leaders_max);
    }
    builder.build()
}

#[cfg(test)]
mod tests;
