//! Sums and averages of whole numbers.

use super::{Aggregator, At, Merge, Retract};
use crate::codec::{CodecError, Serde, custom};

/// Adds whole numbers, exactly; the result is held within `i64`. Merges and retracts.
///
/// Money is whole numbers of its smallest unit; for measurements see [`super::FloatSum`].
pub struct Sum<F>(F);

impl<F> Sum<F> {
    /// Adds what `number` gives of each value.
    pub fn of<V, N: Into<i128>>(number: F) -> Self
    where
        F: Fn(&V) -> N,
    {
        Self(number)
    }
}

impl<K, V, N, F> Aggregator<K, V> for Sum<F>
where
    N: Into<i128>,
    F: Fn(&V) -> N + Send + Sync + 'static,
{
    type State = i128;
    type Output = i64;

    fn init(&self) -> i128 {
        0
    }

    fn add(&self, sum: i128, _: &K, value: &V, _: At) -> i128 {
        sum + (self.0)(value).into()
    }

    fn output(&self, sum: &i128) -> i64 {
        i64::try_from(*sum).unwrap_or(if *sum < 0 { i64::MIN } else { i64::MAX })
    }

    fn codec(&self) -> Serde<i128> {
        custom(|sum, out| out.extend_from_slice(&sum.to_be_bytes()), read_sum)
    }

    fn merge(&self) -> Option<Merge<Self, K, i128>> {
        Some(|_, _, a, b| a + b)
    }

    fn retract(&self) -> Option<Retract<Self, K, V, i128>> {
        Some(|this, _, sum, value| sum - (this.0)(value).into())
    }
}

fn read_sum(bytes: &[u8]) -> Result<i128, CodecError> {
    let bytes = bytes.try_into().map_err(|_| CodecError::new("not the 16 bytes of a sum"))?;
    Ok(i128::from_be_bytes(bytes))
}

/// The average of whole numbers, `None` of no values. Merges and retracts.
pub struct Average<F>(F);

impl<F> Average<F> {
    /// Averages what `number` gives of each value.
    pub fn of<V, N: Into<i128>>(number: F) -> Self
    where
        F: Fn(&V) -> N,
    {
        Self(number)
    }
}

impl<K, V, N, F> Aggregator<K, V> for Average<F>
where
    N: Into<i128>,
    F: Fn(&V) -> N + Send + Sync + 'static,
{
    /// Sum, and how many.
    type State = (i128, i64);
    type Output = Option<f64>;

    fn init(&self) -> (i128, i64) {
        (0, 0)
    }

    fn add(&self, (sum, count): (i128, i64), _: &K, value: &V, _: At) -> (i128, i64) {
        (sum + (self.0)(value).into(), count + 1)
    }

    fn output(&self, (sum, count): &(i128, i64)) -> Option<f64> {
        (*count != 0).then(|| *sum as f64 / *count as f64)
    }

    fn codec(&self) -> Serde<(i128, i64)> {
        let write = |(sum, count): &(i128, i64), out: &mut Vec<u8>| {
            out.extend_from_slice(&sum.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        };
        custom(write, |bytes| {
            let (count, sum) = bytes
                .split_last_chunk::<8>()
                .map(|(sum, count)| (i64::from_be_bytes(*count), sum))
                .ok_or_else(|| CodecError::new("too short for an average"))?;
            Ok((read_sum(sum)?, count))
        })
    }

    fn merge(&self) -> Option<Merge<Self, K, (i128, i64)>> {
        Some(|_, _, a, b| (a.0 + b.0, a.1 + b.1))
    }

    fn retract(&self) -> Option<Retract<Self, K, V, (i128, i64)>> {
        Some(|this, _, (sum, count), value| (sum - (this.0)(value).into(), count - 1))
    }
}
