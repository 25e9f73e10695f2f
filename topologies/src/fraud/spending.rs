//! What one card does within one window.

use serde::{Deserialize, Serialize};

use super::Payment;
use crate::distinct::{Distinct, cut};

/// The longest name of a country that is told from others, in bytes. The longest one in English
/// has 52.
const COUNTRY_BYTES_MAX: usize = 64;

/// The payments of one card in one window, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// How many payments.
    pub count: u64,
    /// The sum of their amounts, in hundredths, whatever their currencies.
    pub sum_cents: i64,
    /// The countries that they were made in.
    pub countries: Distinct,
}

impl Spending {
    /// Adds a payment, telling at most `countries_max` countries apart.
    #[must_use]
    pub fn add(mut self, payment: &Payment, countries_max: usize) -> Self {
        self.count += 1;
        self.sum_cents = self.sum_cents.saturating_add(payment.amount_cents);
        self.countries.add(cut(&payment.country, COUNTRY_BYTES_MAX), countries_max);
        self
    }

    /// Whether there are that many payments from that many countries.
    pub fn is_suspicious(&self, count_min: u64, countries_min: usize) -> bool {
        self.count >= count_min && self.countries.len() >= countries_min
    }
}
