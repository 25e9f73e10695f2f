//! Orders: the lives of thousands of them, interleaved, all events of an order under its id.

use chrono::DateTime;

use super::dice::Dice;
use super::faults::Faults;
use super::skew::Skew;
use super::{Generated, ORDERS, customers};

/// The most orders that are open at a time; a new one then waits until one is done.
const OPEN_MAX: usize = 4_000;

/// How many of 10,000 events place an order while there is room. An order has some six events, so
/// that the room fills up.
const PLACED: u32 = 2_500;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const CUSTOMER_FLATNESS: u32 = 50;
const PRODUCTS: [&str; 12] = [
    "lamp", "chair", "desk", "kettle", "shelf", "clock", "rug", "vase", "mirror", "stool", "pan",
    "bowl",
];
const REASONS: [&str; 5] =
    ["changed my mind", "found it cheaper", "ordered twice", "too late", "payment declined"];

pub(super) const FAULTS: Faults = Faults { delayed: 200, late: 0, repeated: 100, damaged: 3 };

/// Makes the events of orders.
pub(super) struct Orders {
    pub(super) dice: Dice,
    customers: Skew,
    open: Vec<Order>,
    written: u32,
}

/// An order and what is still to happen to it.
struct Order {
    /// When it was placed, and the number of the event that placed it: its identity.
    placed_ms: i64,
    number: u32,
    items: u32,
    end: End,
    /// Items that the customer's page adds while the cancellation is on its way to it.
    stragglers: u32,
}

/// How an order ends, and whether it has.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Shipping,
    Cancelling,
    Over,
}

/// One event's type, and the fields that only this type has.
struct Event {
    kind: &'static str,
    details: String,
}

impl Orders {
    pub(super) fn new(seed: u64) -> Orders {
        Orders {
            dice: Dice::new(seed, 2),
            customers: Skew::new(customers::COUNT, CUSTOMER_FLATNESS),
            open: Vec::with_capacity(OPEN_MAX),
            written: 0,
        }
    }

    /// Lets the next thing happen to some order.
    pub(super) fn step(&mut self, now_ms: i64) -> Generated {
        let room = self.open.len() < OPEN_MAX;
        if self.open.is_empty() || (room && self.dice.in_10_000(PLACED)) {
            return self.place(now_ms);
        }
        let at = self.dice.index(self.open.len());
        let order = &mut self.open[at];
        let event = order.next_event(&mut self.dice, now_ms);
        let order_id = order.id();
        if order.is_done() {
            self.open.swap_remove(at);
        }
        self.write(&order_id, &event, now_ms)
    }

    fn place(&mut self, now_ms: i64) -> Generated {
        let dice = &mut self.dice;
        let cancelled = dice.in_10_000(2_000);
        let raced = cancelled && dice.in_10_000(4_000);
        let order = Order {
            placed_ms: now_ms,
            number: self.written,
            items: dice.between(1, 6),
            end: if cancelled { End::Cancelling } else { End::Shipping },
            stragglers: if raced { dice.between(1, 2) } else { 0 },
        };
        let customer = self.customers.draw(dice);
        let order_id = order.id();
        self.open.push(order);
        let details = format!(r#","customer_id":"cust-{customer:05}""#);
        self.write(&order_id, &Event { kind: "placed", details }, now_ms)
    }

    fn write(&mut self, order_id: &str, event: &Event, now_ms: i64) -> Generated {
        let Event { kind, details } = event;
        let ts_ms = now_ms - FAULTS.delay_ms(&mut self.dice);
        let number = self.written;
        self.written = self.written.wrapping_add(1);
        let value = format!(
            r#"{{"type":"{kind}","event_id":"o{now_ms:011x}{number:08x}","order_id":"{order_id}"{details},"ts":{ts_ms}}}"#
        );
        Generated::new(ORDERS, order_id.to_owned(), value, ts_ms)
    }
}

impl Order {
    fn id(&self) -> String {
        format!("ord-{:011x}{:08x}", self.placed_ms, self.number)
    }

    fn is_done(&self) -> bool {
        self.end == End::Over && self.stragglers == 0
    }

    /// Lets the next thing happen: all items, then the end, then what came too late for it.
    fn next_event(&mut self, dice: &mut Dice, now_ms: i64) -> Event {
        if self.items > 0 {
            if dice.in_10_000(700) {
                return Event::rescheduled(dice, now_ms);
            }
            self.items -= 1;
            return Event::item_added(dice);
        }
        match self.end {
            End::Shipping if dice.in_10_000(1_500) => Event::rescheduled(dice, now_ms),
            End::Shipping => {
                self.end = End::Over;
                Event { kind: "shipped", details: String::new() }
            }
            End::Cancelling => {
                self.end = End::Over;
                let reason = dice.pick(&REASONS);
                Event { kind: "cancelled", details: format!(r#","reason":"{reason}""#) }
            }
            End::Over => {
                self.stragglers -= 1;
                Event::item_added(dice)
            }
        }
    }
}

impl Event {
    fn item_added(dice: &mut Dice) -> Event {
        let product = dice.pick(&PRODUCTS);
        let variant = dice.below(80);
        let quantity = dice.between(1, 4);
        // A product has one price: it follows from the name and the variant.
        let unit_price_cents = 499 + variant * 250 + product.len() as u32 * 100;
        let details = format!(
            r#","sku":"{product}-{variant:02}","quantity":{quantity},"unit_price_cents":{unit_price_cents}"#
        );
        Event { kind: "item_added", details }
    }

    fn rescheduled(dice: &mut Dice, now_ms: i64) -> Event {
        let day = now_ms + i64::from(dice.between(1, 21)) * DAY_MS;
        let date = DateTime::from_timestamp_millis(day).unwrap_or_default().date_naive();
        Event { kind: "rescheduled", details: format!(r#","delivery_date":"{date}""#) }
    }
}
