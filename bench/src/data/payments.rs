//! Payments: 100,000 cards, some used far more than others, one payment a millisecond, some late.

use super::dice::{Dice, Zipf};
use super::{EPOCH_MS, Record};

const CARDS: u64 = 100_000;
const COUNTRIES: [&str; 8] = ["DE", "FR", "NL", "ES", "IT", "PL", "AT", "BE"];

/// Payments without a time.
pub(crate) struct Payments {
    dice: Dice,
    cards: Zipf,
    number: u64,
}

/// A payment before it has a time.
pub(crate) struct Payment {
    pub(crate) card: String,
    pub(crate) amount_cents: i64,
    number: u64,
    merchant: u64,
    country: &'static str,
}

impl Payments {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), cards: Zipf::new(CARDS), number: 0 }
    }

    /// How late the next payment comes, in milliseconds.
    fn delay(&mut self) -> i64 {
        match self.dice.below(1_000) {
            0..=4 => self.dice.between(75_000, 200_000),
            5..=54 => self.dice.between(1, 5_000),
            _ => 0,
        }
    }

    pub(crate) fn next_payment(&mut self) -> Payment {
        self.number += 1;
        let card = self.cards.draw(&mut self.dice);
        // One in ten is too small to count.
        let amount_cents = match self.dice.below(10) {
            0 => self.dice.between(1, 99),
            _ => self.dice.between(100, 50_000),
        };
        Payment {
            card: format!("card-{card:06}"),
            amount_cents,
            number: self.number,
            merchant: self.dice.below(5_000),
            country: self.dice.pick(&COUNTRIES),
        }
    }
}

impl Payment {
    /// The payment, made at this time.
    pub(crate) fn json(&self, ts: i64) -> String {
        let Self { card, amount_cents, number, merchant, country } = self;
        format!(
            "{{\"event_id\":\"e{number:09}\",\"card_id\":\"{card}\",\"merchant\":\"m-{merchant:04}\",\
             \"amount_cents\":{amount_cents},\"currency\":\"EUR\",\"country\":\"{country}\",\"ts\":{ts}}}"
        )
    }
}

pub(super) fn records(seed: u64, count: u64) -> impl Iterator<Item = Record> {
    let mut payments = Payments::new(seed);
    (0..count).map(move |number| {
        let timestamp_ms = EPOCH_MS + number as i64 - payments.delay();
        let payment = payments.next_payment();
        let value = payment.json(timestamp_ms);
        Record { topic: "payments", key: payment.card, value, timestamp_ms }
    })
}
