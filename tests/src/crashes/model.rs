//! What must come out, computed from what was sent and from nothing else.
//!
//! It shares no code with the engine but Kafka's partitioner, which says whose clock a payment
//! moves: a payment is late by the largest timestamp that came before it in its partition.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::log::partition_for;

use super::ledger::{BUSY_MIN, GRACE_MS, Payment, RULE, Tally, WINDOW_MS};

/// What must come out.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// By region and start of the window.
    pub(super) windows: BTreeMap<(String, i64), Tally>,
    /// The ids of the alerts.
    pub(super) alerts: BTreeSet<String>,
    /// Payments that no window takes.
    pub(super) late: u64,
}

impl Model {
    /// The model of `sent`, which lie in `partitions` partitions in this order.
    pub(super) fn of(sent: &[Payment], partitions: u32) -> Self {
        let mut model = Self::default();
        let mut clocks: BTreeMap<u32, i64> = BTreeMap::new();
        for payment in sent {
            let clock = clocks.entry(partition_for(payment.card.as_bytes(), partitions));
            let clock = clock.or_insert(i64::MIN);
            *clock = payment.ts.max(*clock);
            let start = payment.ts - payment.ts.rem_euclid(WINDOW_MS);
            if start + WINDOW_MS <= clock.saturating_sub(GRACE_MS) {
                model.late += 1;
                continue;
            }
            let tally = model.windows.entry((payment.region.clone(), start)).or_default();
            *tally = std::mem::take(tally).with(payment);
            if tally.count >= BUSY_MIN {
                model.alerts.insert(format!("{RULE}:{}:{start}", payment.region));
            }
        }
        model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_is_late_by_the_clock_of_its_own_partition() {
        let payment = |id, card: &str, ts| Payment {
            id,
            card: card.to_owned(),
            region: "north".to_owned(),
            cents: 1,
            ts,
            note: String::new(),
        };
        let of = |card: &str| partition_for(card.as_bytes(), 2);
        let one = "card-0";
        let mut cards = (1..).map(|number| format!("card-{number}"));
        let other = cards.find(|card| of(card) != of(one)).expect("there are two partitions");
        let sent = [payment(0, one, 100_000), payment(1, &other, 1_000), payment(2, one, 1_000)];
        let model = Model::of(&sent, 2);
        let starts: Vec<i64> = model.windows.keys().map(|(_, start)| *start).collect();
        assert_eq!((starts, model.late), (vec![1_000, 100_000], 1));
    }
}
