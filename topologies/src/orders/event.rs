//! What can happen to an order.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// An event, under its order as the record's key. What else its JSON holds is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// One for each event: a retry has the same.
    pub event_id: String,
    /// When it happened, milliseconds since 1970-01-01 UTC.
    pub ts: i64,
    /// What happened; `type` says which of these it is.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A customer placed the order.
    Placed {
        /// Who.
        customer_id: String,
    },
    /// Something was added to it.
    ItemAdded {
        /// What.
        sku: String,
        /// How many pieces.
        quantity: u32,
        /// The price of each, in hundredths.
        unit_price_cents: u32,
    },
    /// The delivery was set to a day, or to another one.
    Rescheduled {
        /// The day.
        delivery_date: DeliveryDate,
    },
    /// It left the house.
    Shipped,
    /// It was called off.
    Cancelled {
        /// Why, if it was said.
        #[serde(default)]
        reason: String,
    },
}

/// A day, as `YYYY-MM-DD`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryDate(NaiveDate);

impl TryFrom<String> for DeliveryDate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d");
        date.map(Self).map_err(|error| format!("`{text}` is no day as YYYY-MM-DD: {error}"))
    }
}

impl From<DeliveryDate> for String {
    fn from(DeliveryDate(date): DeliveryDate) -> Self {
        date.to_string()
    }
}
