//! Seeded, realistic traffic for the demo: payments, orders with their customers, and syslog.
//!
//! It is pure: it never reads a clock, and a seed makes the same bytes for ever. It is not a load
//! generator: the caller says what time it is, and decides how fast that time and the records go.
//!
//! Among the ordinary records are what the shipped topologies look for (card testing, items added
//! to cancelled orders, password guessing) and what every stream has to live with: records that
//! are out of order, late, repeated, and a few that nobody can decode.

mod agenda;
mod brute_force;
mod card_testing;
mod customers;
mod dice;
mod faults;
mod orders;
mod payments;
mod skew;
mod syslog;

use std::fmt;

use agenda::{Agenda, Plan};
use brute_force::BruteForce;
use card_testing::CardTesting;
use customers::Customers;
pub(crate) use dice::Dice;
use orders::Orders;
use payments::Payments;
use syslog::Syslog;

/// Payments, keyed by card id.
pub const PAYMENTS: &str = "payments";
/// All events of orders, keyed by order id.
pub const ORDERS: &str = "orders";
/// Customers, keyed by customer id.
pub const CUSTOMERS: &str = "customers";
/// Lines of system logs, keyed by host.
pub const SYSLOG: &str = "syslog";

/// How many of 10,000 records of the orders' share change a customer instead.
const CUSTOMER_CHANGES: u32 = 5;

/// One record for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// One of the topics of this module.
    pub topic: &'static str,
    /// What the topic's records are keyed by.
    pub key: Vec<u8>,
    /// JSON, or, rarely, damaged JSON.
    pub value: Vec<u8>,
    /// When it happened, which is not after the `now_ms` that it was asked for with.
    pub timestamp_ms: i64,
}

impl Generated {
    fn new(topic: &'static str, key: String, value: String, timestamp_ms: i64) -> Generated {
        Generated { topic, key: key.into_bytes(), value: value.into_bytes(), timestamp_ms }
    }
}

/// How the records are shared out among the topics, in parts of any size: 2:1:1 is 50 %, 25 % and
/// 25 %. The steps of attacks and the repeats of records come on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    payments: u16,
    orders: u16,
    syslog: u16,
}

/// All parts of a mix are zero: there is nothing to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyMix;

impl fmt::Display for EmptyMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "every part of the traffic mix is 0: give payments, orders or syslog a part above 0",
        )
    }
}

impl std::error::Error for EmptyMix {}

impl Mix {
    /// Checks the parts of a mix.
    ///
    /// # Errors
    ///
    /// Fails if all of them are zero.
    pub fn new(payments: u16, orders: u16, syslog: u16) -> Result<Mix, EmptyMix> {
        let mix = Mix { payments, orders, syslog };
        if mix.total() == 0 { Err(EmptyMix) } else { Ok(mix) }
    }

    fn total(self) -> u32 {
        u32::from(self.payments) + u32::from(self.orders) + u32::from(self.syslog)
    }
}

impl Default for Mix {
    /// Half of the records are payments, a quarter each are orders and syslog.
    fn default() -> Mix {
        Mix { payments: 50, orders: 25, syslog: 25 }
    }
}

/// Makes one record after the other, for ever.
pub struct Traffic {
    dice: Dice,
    mix: Mix,
    payments: Payments,
    orders: Orders,
    customers: Customers,
    syslog: Syslog,
    agenda: Agenda,
    card_tests: Recurring,
    guessing: Recurring,
}

impl Traffic {
    /// Prepares the traffic of `seed`. It takes some milliseconds and 2 MB.
    pub fn new(seed: u64, mix: Mix) -> Traffic {
        Traffic {
            dice: Dice::new(seed, 0),
            mix,
            payments: Payments::new(seed),
            orders: Orders::new(seed),
            customers: Customers::new(seed),
            syslog: Syslog::new(seed),
            agenda: Agenda::default(),
            card_tests: Recurring::new(4_000, 500),
            guessing: Recurring::new(20_000, 4_000),
        }
    }

    /// Writes every customer once: the table that must be there before the orders mean anything.
    pub fn customers(&self, now_ms: i64) -> impl Iterator<Item = Generated> + '_ {
        self.customers.all(now_ms)
    }

    /// Makes the next record of an instant that the caller calls now.
    ///
    /// What was planned for this instant or an earlier one comes first. Time that stands still
    /// makes ordinary records only; time that leaps makes the attacks under way go on from there.
    pub fn next(&mut self, now_ms: i64) -> Generated {
        if let Some((at_ms, plan)) = self.agenda.due(now_ms) {
            return self.perform(at_ms, plan);
        }
        let part = self.dice.below(self.mix.total());
        let (payments, syslog) = (u32::from(self.mix.payments), u32::from(self.mix.syslog));
        if part < payments {
            if self.card_tests.starts(now_ms, &mut self.payments.dice) {
                let attack = CardTesting::new(&mut self.payments.dice);
                self.agenda.add(now_ms, Plan::Test(attack));
            }
            let record = self.payments.pay(now_ms);
            self.send(record, now_ms)
        } else if part < payments + syslog {
            if self.guessing.starts(now_ms, &mut self.syslog.dice) {
                let attack = BruteForce::new(&mut self.syslog);
                self.agenda.add(now_ms, Plan::Guess(attack));
            }
            let record = self.syslog.line(now_ms);
            self.send(record, now_ms)
        } else if self.orders.dice.in_10_000(CUSTOMER_CHANGES) {
            self.customers.change(&mut self.orders.dice, now_ms)
        } else {
            let record = self.orders.step(now_ms);
            self.send(record, now_ms)
        }
    }

    fn perform(&mut self, at_ms: i64, plan: Plan) -> Generated {
        match plan {
            Plan::Repeat(record) => record,
            Plan::Test(mut attack) => {
                let (record, next) = attack.step(at_ms, &mut self.payments);
                if let Some(next_ms) = next {
                    self.agenda.add(next_ms, Plan::Test(attack));
                }
                record
            }
            Plan::Guess(mut attack) => {
                let (record, next) = attack.step(at_ms, &mut self.syslog);
                if let Some(next_ms) = next {
                    self.agenda.add(next_ms, Plan::Guess(attack));
                }
                record
            }
        }
    }

    /// Sends an ordinary record over an imperfect way.
    fn send(&mut self, mut record: Generated, now_ms: i64) -> Generated {
        let faults = match record.topic {
            PAYMENTS => &payments::FAULTS,
            ORDERS => &orders::FAULTS,
            _ => &syslog::FAULTS,
        };
        if let Some(after_ms) = faults.repeat_after_ms(&mut self.dice) {
            self.agenda.add(now_ms + after_ms, Plan::Repeat(record.clone()));
        } else {
            faults.damage(&mut record.value, &mut self.dice);
        }
        record
    }
}

/// Decides when something rare begins: by event time, so that it is as frequent at any rate, but
/// with so many ordinary records before it that it stays the exception at a low rate.
struct Recurring {
    every_ms: u32,
    records_between: u32,
    records: u32,
    next_ms: Option<i64>,
}

impl Recurring {
    fn new(every_ms: u32, records_between: u32) -> Recurring {
        // Whoever starts the demo sees the first one soon.
        Recurring { every_ms, records_between, records: records_between, next_ms: None }
    }

    fn starts(&mut self, now_ms: i64, dice: &mut Dice) -> bool {
        self.records = self.records.saturating_add(1);
        let next_ms = *self.next_ms.get_or_insert(now_ms + 1_500);
        let starts = now_ms >= next_ms && self.records > self.records_between;
        if starts {
            self.records = 0;
            let pause_ms = dice.between(self.every_ms / 2, self.every_ms * 3 / 2);
            self.next_ms = Some(now_ms + i64::from(pause_ms));
        }
        starts
    }
}

#[cfg(test)]
mod tests;
