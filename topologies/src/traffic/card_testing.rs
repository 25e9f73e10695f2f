//! Card testing: somebody with a stolen card finds out whether it works, with many small payments
//! within seconds, at many merchants, from several countries.

use super::Generated;
use super::dice::Dice;
use super::payments::{CARDS, Payment, Payments, some_countries};

/// The longest burst.
const BURST_MS_MAX: u32 = 20_000;

/// A burst under way.
pub(super) struct CardTesting {
    card: u32,
    countries: Vec<usize>,
    done: u32,
    payments: u32,
}

impl CardTesting {
    pub(super) fn new(dice: &mut Dice) -> CardTesting {
        CardTesting {
            card: dice.below(CARDS),
            countries: some_countries(dice),
            done: 0,
            payments: dice.between(8, 30),
        }
    }

    /// Makes the next payment, and says when the one after it is due.
    pub(super) fn step(&mut self, at_ms: i64, payments: &mut Payments) -> (Generated, Option<i64>) {
        let payment = Payment {
            card: self.card,
            country: self.countries[self.done as usize % self.countries.len()],
            amount_cents: payments.dice.between(100, 300),
            ts_ms: at_ms,
        };
        let record = payments.write(&payment, at_ms);
        self.done += 1;
        let pause_ms = payments.dice.below(BURST_MS_MAX / self.payments);
        (record, (self.done < self.payments).then(|| at_ms + i64::from(pause_ms)))
    }
}
