//! What a payment says.

use serde::{Deserialize, Serialize};

/// A payment, under its card as the record's key. What else its JSON holds is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// One for each payment: a retry has the same.
    pub event_id: String,
    /// Hundredths of the currency.
    pub amount_cents: i64,
    /// Where it was made, as a code or a name.
    pub country: String,
    /// When it was made, milliseconds since 1970-01-01 UTC.
    pub ts: i64,
}
