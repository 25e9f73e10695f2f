//! The documents of the two views, the customers they are enriched from, and the notice to them.

use pipeline::ViewFields;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::event::{DeliveryDate, EventKind};
use super::order::{Order, Reason, Rejection, Status};

/// A customer, under the customer's id as the record's key. What else its JSON holds is left
/// alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// What the customer is called.
    pub name: String,
    /// How good a customer it is.
    pub tier: String,
    /// Where the customer lives.
    pub country: String,
}

pub(super) fn total_fields() -> ViewFields {
    ViewFields::new()
        .keyword("order_id")
        .keyword("status")
        .u64("items")
        .u64("total_cents")
        .keyword("delivery_date")
        .text("cancel_reason")
        .keyword("customer_id")
        .text("customer")
        .keyword("tier")
        .keyword("country")
        .timestamp("updated")
}

/// The document of an order, its fields in the order of the alphabet; an unknown customer leaves
/// its fields empty. Of all documents it is the one that is made most often, so it is a struct.
#[derive(Serialize)]
pub(super) struct Total {
    cancel_reason: String,
    country: Option<String>,
    customer: Option<String>,
    customer_id: Option<String>,
    delivery_date: Option<DeliveryDate>,
    items: u64,
    order_id: String,
    status: Status,
    tier: Option<String>,
    total_cents: u64,
    updated: i64,
}

pub(super) fn total(id: &str, order: &Order, customer: Option<&Customer>) -> Total {
    Total {
        cancel_reason: order.cancel_reason.clone(),
        country: customer.map(|customer| customer.country.clone()),
        customer: customer.map(|customer| customer.name.clone()),
        customer_id: order.customer_id.clone(),
        delivery_date: order.delivery_date.clone(),
        items: order.items,
        order_id: id.to_owned(),
        status: order.status,
        tier: customer.map(|customer| customer.tier.clone()),
        total_cents: order.total_cents,
        updated: order.updated,
    }
}

pub(super) fn rejection_fields() -> ViewFields {
    ViewFields::new()
        .keyword("order_id")
        .keyword("customer_id")
        .keyword("event_id")
        .keyword("reason")
        .text("text")
        .timestamp("ts")
        .json("event")
}

/// The document of a rejection.
pub(super) fn rejection(rejection: &Rejection) -> serde_json::Value {
    json!({
        "order_id": rejection.order_id,
        "customer_id": rejection.customer_id,
        "event_id": rejection.event.event_id,
        "reason": rejection.reason,
        "text": notice(rejection),
        "ts": rejection.event.ts,
        "event": rejection.event,
    })
}

/// What is said to people.
pub(super) fn notice(rejection: &Rejection) -> String {
    let what = match &rejection.event.kind {
        EventKind::Placed { .. } => "not placed again".to_owned(),
        EventKind::ItemAdded { sku, quantity, .. } => format!("{quantity} × {sku} not added"),
        EventKind::Rescheduled { .. } => "not rescheduled".to_owned(),
        EventKind::Shipped => "not shipped".to_owned(),
        EventKind::Cancelled { .. } => "not cancelled".to_owned(),
    };
    let why = match rejection.reason {
        Reason::OrderCancelled => "the order was cancelled before",
        Reason::OrderShipped => "the order was shipped before",
        Reason::OtherCustomer => "another customer placed the order before",
    };
    format!("{}: {what}, {why}", rejection.order_id)
}
