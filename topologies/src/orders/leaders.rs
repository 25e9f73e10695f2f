//! Who buys most: the customers of each day by the value of the orders that they placed on it.

use std::time::Duration;

use chrono::DateTime;
use pipeline::aggregates::{Ranked, Sum};
use pipeline::{Table, ViewFields};
use serde_json::json;

use super::order::{Outcome, Sale};
use crate::Pair;

/// Keeps the view `customer-leaderboard` of the `places` best customers of each day; who has
/// bought nothing for as long as `kept` leaves it.
///
/// An order that grows moves its customer up; one that is cancelled counts for nothing any more.
/// What counts are the changes of orders, not the orders, which may have left meanwhile. Each
/// partition sums up and ranks its own customers, and sends the best of them to one place.
pub(super) fn keep(orders: &Table<String, Outcome>, places: usize, kept: Option<Duration>) {
    let sales = orders
        .to_stream()
        .flat_map_values(|_, outcome| outcome.sale)
        .map(|_, sale| (day_and_customer(&sale), sale.cents))
        .group_by_key();
    let sales = match kept {
        Some(kept) => sales.expire_after(kept),
        None => sales,
    };
    sales
        .aggregate_by("customer-days", Sum::of(|cents: &i64| *cents))
        .filter(|_, cents| *cents > 0)
        .top("customer-leaders", places, |Pair(day, customer), cents| {
            (day.clone(), *cents, customer.clone())
        })
        .view("customer-leaderboard", fields(), |day, leaders| document(day, leaders));
}

fn day_and_customer(sale: &Sale) -> Pair {
    // A time beyond the calendar is refused with its record.
    let placed = DateTime::from_timestamp_millis(sale.placed_at).unwrap_or_default();
    Pair(placed.date_naive().to_string(), sale.customer_id.clone())
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
