//! The seeded data of the comparison. The same seed gives the same records, everywhere.

mod dice;
mod logins;
mod orders;
mod payments;

use clap::ValueEnum;

pub(crate) use payments::Payments;

/// Time begins here: 2023-11-14 22:13:20 UTC.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Which topology's data.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// Payments.
    Fraud,
    /// Orders and their items.
    Totals,
    /// Lines of syslog.
    Logins,
}

/// A record to be sent.
pub(crate) struct Record {
    pub(crate) topic: &'static str,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) timestamp_ms: i64,
}

impl Kind {
    /// The topics that the data goes to.
    pub(crate) fn topics(self) -> &'static [&'static str] {
        match self {
            Self::Fraud => &["payments"],
            Self::Totals => &["orders", "order-items"],
            Self::Logins => &["syslog"],
        }
    }

    /// `count` records of `seed`.
    pub(crate) fn records(self, seed: u64, count: u64) -> Box<dyn Iterator<Item = Record>> {
        match self {
            Self::Fraud => Box::new(payments::records(seed, count)),
            Self::Totals => Box::new(orders::records(seed, count)),
            Self::Logins => Box::new(logins::records(seed, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kind: Kind, seed: u64, count: u64) -> Vec<(String, String, i64)> {
        let records = kind.records(seed, count);
        records.map(|record| (record.key, record.value, record.timestamp_ms)).collect()
    }

    #[test]
    fn a_seed_is_the_same_records_and_another_one_is_others() {
        for kind in [Kind::Fraud, Kind::Totals, Kind::Logins] {
            let records = all(kind, 7, 1_200);
            assert_eq!(records.len(), 1_200, "{kind:?}");
            assert_eq!(records, all(kind, 7, 1_200), "{kind:?}");
            assert_ne!(records, all(kind, 8, 1_200), "{kind:?}");
        }
    }

    #[test]
    fn payments_are_as_late_and_as_skewed_as_they_are_to_be() {
        let records = all(Kind::Fraud, 1, 100_000);
        let late = |by: i64| {
            let delays = (EPOCH_MS..).zip(&records).map(|(sent, record)| sent - record.2);
            delays.filter(|delay| *delay >= by).count()
        };
        assert!((5_000..6_000).contains(&late(1)), "{}", late(1));
        assert!((400..600).contains(&late(75_000)), "{}", late(75_000));
        // One over the harmonic number of 100,000.
        let first = records.iter().filter(|record| record.0 == "card-000000").count();
        assert!((7_800..8_800).contains(&first), "{first}");
    }

    #[test]
    fn a_fifth_of_the_lines_are_failed_logins() {
        let records = all(Kind::Logins, 1, 50_000);
        let failed = records.iter().filter(|record| {
            record.1.contains("Failed password") || record.1.contains("Invalid user")
        });
        let failed = failed.count();
        assert!((9_700..10_300).contains(&failed), "{failed}");
    }
}
