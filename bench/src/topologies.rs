//! The three topologies of the comparison, as a user would write them.
//!
//! `bench/peers` has them as the peers' users would. They have no views and no alerts, since the
//! peers have none; what Millpond ships is in the crate `topologies`.

use std::time::Duration;

use pipeline::codec::{int64, utf8};
use pipeline::{Consumed, TimeWindows, Topology, TopologyBuilder, TopologyError};
use serde::{Deserialize, Serialize};

/// The grace of all windows.
const GRACE: Duration = Duration::from_secs(10);

/// None of them has settings.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {}

/// A payment, keyed by its card.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    event_id: String,
    card_id: String,
    merchant: String,
    amount_cents: i64,
    currency: String,
    country: String,
    ts: i64,
}

/// Payments of an amount that counts, per card and minute; windows with five or more are told.
pub(crate) fn fraud(_: &Settings) -> Result<Topology, TopologyError> {
    let minute = TimeWindows::of_size_and_grace(Duration::from_secs(60), GRACE);
    let builder = TopologyBuilder::new("fraud");
    builder
        .stream::<String, Payment>("payments")
        .filter(|_, payment| payment.amount_cents >= 100)
        .group_by_key()
        .windowed_by(minute)
        .count("payments-per-card")
        .filter(|_, count| *count >= 5)
        .to_with("fraud-out", int64());
    builder.build()
}

/// An order, keyed by its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    order_id: String,
    customer_id: String,
    status: String,
    ts: i64,
}

/// An item of an order, keyed by the order's id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    item_id: String,
    order_id: String,
    sku: String,
    qty: i64,
    unit_price_cents: i64,
    ts: i64,
}

/// What the items of an order come to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Total {
    items: i64,
    total_cents: i64,
}

/// An order and what its items come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OrderTotal {
    order_id: String,
    customer_id: String,
    status: String,
    items: i64,
    total_cents: i64,
}

/// Items summed up per order, joined with the orders.
pub(crate) fn totals(_: &Settings) -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("totals");
    let orders = builder.table::<String, Order>("orders", "orders");
    builder
        .stream::<String, Item>("order-items")
        .group_by_key()
        .aggregate("totals", Total::default, |_, item, total| Total {
            items: total.items + 1,
            total_cents: total.total_cents + item.qty * item.unit_price_cents,
        })
        .join(&orders, |_, total, order| OrderTotal {
            order_id: order.order_id.clone(),
            customer_id: order.customer_id.clone(),
            status: order.status.clone(),
            items: total.items,
            total_cents: total.total_cents,
        })
        .to("totals-out");
    builder.build()
}

/// Lines of failed logins, per host and five minutes.
pub(crate) fn logins(_: &Settings) -> Result<Topology, TopologyError> {
    let minutes = TimeWindows::of_size_and_grace(Duration::from_secs(300), GRACE);
    let builder = TopologyBuilder::new("logins");
    builder
        .stream_with::<String, String>("syslog", Consumed::with(utf8()))
        .filter(|_, line| is_failed_login(line))
        .group_by_key()
        .windowed_by(minutes)
        .count("failures-per-host")
        .to_with("logins-out", int64());
    builder.build()
}

fn is_failed_login(line: &str) -> bool {
    line.contains(" sshd[")
        && (line.contains("]: Failed password for ") || line.contains("]: Invalid user "))
}
