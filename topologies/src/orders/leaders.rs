//! Who buys most: the customers of each day by the value of the orders that they placed on it.

use chrono::DateTime;
use pipeline::aggregates::{Ranked, Sum};
use pipeline::{Table, ViewFields};
use serde_json::json;

use super::order::{Outcome, Status};
use crate::Pair;

/// What an order counts for: its customer, the day it was placed on, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sale {
    customer: String,
    day: String,
    cents: i64,
}

/// Keeps the view `customer-leaderboard` of the `places` best customers of each day.
///
/// An order that grows moves its customer up; one that is cancelled counts for nothing any more.
/// Each partition sums up and ranks its own customers, and sends the best of them to one place.
pub(super) fn keep(orders: &Table<String, Outcome>, places: usize) {
    orders
        .map_values(|_, outcome| sale(outcome))
        .filter(|_, sale| sale.is_some())
        .group_by("sales-of-customer-and-day", |_, sale| match sale {
            Some(Sale { customer, day, cents }) => {
                (Some(Pair(day.clone(), customer.clone())), *cents)
            }
            None => (None, 0),
        })
        .aggregate_by("customer-days", Sum::of(|cents: &i64| *cents))
        .filter(|_, cents| *cents > 0)
        .top("customer-leaders", places, |key, cents| {
            let Pair(day, customer) = key.clone().expect("a row without a group is in no sum");
            (day, *cents, customer)
        })
        .view("customer-leaderboard", fields(), |day, leaders| document(day, leaders));
}

/// `None` of an order that nobody has placed, or that was called off.
fn sale(outcome: &Outcome) -> Option<Sale> {
    let order = &outcome.order;
    if order.status == Status::Cancelled {
        return None;
    }
    let customer = order.customer_id.clone()?;
    let day = DateTime::from_timestamp_millis(order.placed_at?)?.date_naive().to_string();
    let cents = i64::try_from(order.total_cents).unwrap_or(i64::MAX);
    Some(Sale { customer, day, cents })
}

fn fields() -> ViewFields {
    ViewFields::new()
        .keyword("day")
        .keyword("leader")
        .i64("leader_cents")
        .keyword("customers")
        .json("places")
}

fn document(day: &str, leaders: &[Ranked<i64, String>]) -> serde_json::Value {
    let places: Vec<_> = leaders
        .iter()
        .map(|leader| json!({"customer_id": leader.item, "cents": leader.rank}))
        .collect();
    json!({
        "day": day,
        "leader": leaders.first().map(|leader| &leader.item),
        "leader_cents": leaders.first().map(|leader| leader.rank),
        "customers": leaders.iter().map(|leader| &leader.item).collect::<Vec<_>>(),
        "places": places,
    })
}
