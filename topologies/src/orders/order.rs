//! An order, and what each event makes of it.

use serde::{Deserialize, Serialize};

use super::event::{DeliveryDate, EventKind, OrderEvent};

/// Where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There were events of it, but not yet the one that places it.
    #[default]
    Unknown,
    /// It takes items.
    Placed,
    /// It has left the house.
    Shipped,
    /// It was called off.
    Cancelled,
}

/// An order as its events have made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Where it stands.
    pub status: Status,
    /// Who placed it.
    pub customer_id: Option<String>,
    /// Pieces, of all items together.
    pub items: u64,
    /// What they cost, in hundredths.
    pub total_cents: u64,
    /// The day of its delivery.
    pub delivery_date: Option<DeliveryDate>,
    /// Why it was called off; empty if it was not, or nobody said.
    pub cancel_reason: String,
    /// The latest time of its events, milliseconds since 1970-01-01 UTC.
    pub updated: i64,
    /// When it was placed, if it was, milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub placed_at: Option<i64>,
}

/// An order after an event, and whether it has accepted that event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The order. An event that was rejected has not changed it.
    pub order: Order,
    /// What was rejected, if the event was.
    pub rejection: Option<Rejection>,
    /// By how much the event has changed what its customer has bought. It is told, not kept.
    #[serde(skip)]
    pub sale: Option<Sale>,
}

/// A change of what a customer has bought on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// The customer.
    pub customer_id: String,
    /// When the order was placed, milliseconds since 1970-01-01 UTC.
    pub placed_at: i64,
    /// By how much it grew, in hundredths; below zero if it shrank.
    pub cents: i64,
}

/// An event that its order could not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The order.
    pub order_id: String,
    /// Who had placed it.
    pub customer_id: Option<String>,
    /// Why it could not.
    pub reason: Reason,
    /// The event.
    pub event: OrderEvent,
}

/// Why an order cannot take an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was called off before.
    OrderCancelled,
    /// It had left the house before.
    OrderShipped,
    /// Another customer had placed it before.
    OtherCustomer,
}

impl Order {
    /// Makes of the order `id` what it is after `event`, or rejects the event.
    ///
    /// | event         | unknown, placed | shipped        | cancelled      |
    /// |---------------|-----------------|----------------|----------------|
    /// | `placed`      | accepted        | accepted       | accepted       |
    /// | `item_added`  | accepted        | rejected       | rejected       |
    /// | `rescheduled` | accepted        | rejected       | rejected       |
    /// | `shipped`     | accepted        | changes nothing| rejected       |
    /// | `cancelled`   | accepted        | rejected       | changes nothing|
    ///
    /// `placed` tells who the customer is, whenever it comes; it is rejected if that was another
    /// one. An order that is shipped or cancelled remains so.
    #[must_use]
    pub fn take(self, id: &str, event: &OrderEvent) -> Outcome {
        let Err(reason) = self.accepts(&event.kind) else {
            let before = self.worth();
            let order = self.with(event);
            let sale = order.sale(order.worth() - before);
            return Outcome { order, rejection: None, sale };
        };
        let rejection = Rejection {
            order_id: id.to_owned(),
            customer_id: self.customer_id.clone(),
            reason,
            event: event.clone(),
        };
        Outcome { order: self, rejection: Some(rejection), sale: None }
    }

    /// What it counts for, in hundredths: nothing while nobody has placed it, and once it was called
    /// off.
    fn worth(&self) -> i64 {
        if self.customer_id.is_none() || self.status == Status::Cancelled {
            return 0;
        }
        i64::try_from(self.total_cents).unwrap_or(i64::MAX)
    }

    /// What a change of its worth is to its customer.
    fn sale(&self, cents: i64) -> Option<Sale> {
        let (customer_id, placed_at) = (self.customer_id.clone()?, self.placed_at?);
        (cents != 0).then_some(Sale { customer_id, placed_at, cents })
    }

    fn accepts(&self, event: &EventKind) -> Result<(), Reason> {
        match (self.status, event) {
            (_, EventKind::Placed { customer_id }) => match &self.customer_id {
                Some(known) if known != customer_id => Err(Reason::OtherCustomer),
                _ => Ok(()),
            },
            (Status::Unknown | Status::Placed, _)
            | (Status::Shipped, EventKind::Shipped)
            | (Status::Cancelled, EventKind::Cancelled { .. }) => Ok(()),
            (Status::Shipped, _) => Err(Reason::OrderShipped),
            (Status::Cancelled, _) => Err(Reason::OrderCancelled),
        }
    }

    /// The order after an event that it accepts.
    fn with(mut self, event: &OrderEvent) -> Self {
        self.updated = self.updated.max(event.ts);
        match &event.kind {
            EventKind::Placed { customer_id } => {
                self.customer_id = Some(customer_id.clone());
                self.placed_at.get_or_insert(event.ts);
                if self.status == Status::Unknown {
                    self.status = Status::Placed;
                }
            }
            EventKind::ItemAdded { quantity, unit_price_cents, .. } => {
                let (quantity, price) = (u64::from(*quantity), u64::from(*unit_price_cents));
                self.items += quantity;
                self.total_cents = self.total_cents.saturating_add(quantity * price);
            }
            EventKind::Rescheduled { delivery_date } => {
                self.delivery_date = Some(delivery_date.clone());
            }
            EventKind::Shipped => self.status = Status::Shipped,
            EventKind::Cancelled { reason } if self.status != Status::Cancelled => {
                self.status = Status::Cancelled;
                self.cancel_reason.clone_from(reason);
            }
            // The first cancellation is the one that counts.
            EventKind::Cancelled { .. } => {}
        }
        self
    }
}
