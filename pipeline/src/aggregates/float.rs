//! Sums and averages of floating-point numbers.

use super::{Aggregator, At, Merge, Retract};
use crate::codec::{CodecError, Serde, custom};

/// A sum with the part that rounding has cut off so far (Neumaier 1974), and how many numbers.
///
/// The error does not grow with the number of values, but the last bits still depend on their
/// order, and so on which of several partitions was read first. Where results must be equal bit
/// by bit, add whole numbers: [`super::Sum`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    sum: f64,
    cut: f64,
    count: i64,
}

impl Total {
    fn plus(self, number: f64) -> Self {
        let sum = self.sum + number;
        let cut = if self.sum.abs() >= number.abs() {
            (self.sum - sum) + number
        } else {
            (number - sum) + self.sum
        };
        Self { sum, cut: self.cut + cut, count: self.count + 1 }
    }

    fn and(self, other: Self) -> Self {
        let mut both = self.plus(other.sum);
        both.cut += other.cut;
        both.count = self.count + other.count;
        both
    }

    fn minus(self, number: f64) -> Self {
        let mut rest = self.plus(-number);
        rest.count = self.count - 1;
        rest
    }

    fn value(self) -> f64 {
        self.sum + self.cut
    }
}

fn codec() -> Serde<Total> {
    let write = |total: &Total, out: &mut Vec<u8>| {
        out.extend_from_slice(&total.sum.to_bits().to_be_bytes());
        out.extend_from_slice(&total.cut.to_bits().to_be_bytes());
        out.extend_from_slice(&total.count.to_be_bytes());
    };
    custom(write, |bytes| {
        let bytes: &[u8; 24] =
            bytes.try_into().map_err(|_| CodecError::new("not the 24 bytes of a total"))?;
        let number = |at: usize| {
            u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 of 24 bytes are 8 bytes"))
        };
        Ok(Total {
            sum: f64::from_bits(number(0)),
            cut: f64::from_bits(number(8)),
            count: number(16).cast_signed(),
        })
    })
}

/// Adds floating-point numbers. Merges and retracts, up to rounding: see [`Total`].
pub struct FloatSum<F>(F);

impl<F> FloatSum<F> {
    /// Adds what `number` gives of each value.
    pub fn of<V>(number: F) -> Self
    where
        F: Fn(&V) -> f64,
    {
        Self(number)
    }
}

impl<K, V, F: Fn(&V) -> f64 + Send + Sync + 'static> Aggregator<K, V> for FloatSum<F> {
    type State = Total;
    type Output = f64;

    fn init(&self) -> Total {
        Total::default()
    }

    fn add(&self, total: Total, _: &K, value: &V, _: At) -> Total {
        total.plus((self.0)(value))
    }

    fn output(&self, total: &Total) -> f64 {
        total.value()
    }

    fn codec(&self) -> Serde<Total> {
        codec()
    }

    fn merge(&self) -> Option<Merge<Self, K, Total>> {
        Some(|_, _, a, b| a.and(b))
    }

    fn retract(&self) -> Option<Retract<Self, K, V, Total>> {
        Some(|this, _, total, value| total.minus((this.0)(value)))
    }
}

/// The average of floating-point numbers, `None` of no values. Merges and retracts, up to
/// rounding: see [`Total`].
pub struct FloatAverage<F>(F);

impl<F> FloatAverage<F> {
    /// Averages what `number` gives of each value.
    pub fn of<V>(number: F) -> Self
    where
        F: Fn(&V) -> f64,
    {
        Self(number)
    }
}

impl<K, V, F: Fn(&V) -> f64 + Send + Sync + 'static> Aggregator<K, V> for FloatAverage<F> {
    type State = Total;
    type Output = Option<f64>;

    fn init(&self) -> Total {
        Total::default()
    }

    fn add(&self, total: Total, _: &K, value: &V, _: At) -> Total {
        total.plus((self.0)(value))
    }

    fn output(&self, total: &Total) -> Option<f64> {
        (total.count != 0).then(|| total.value() / total.count as f64)
    }

    fn codec(&self) -> Serde<Total> {
        codec()
    }

    fn merge(&self) -> Option<Merge<Self, K, Total>> {
        Some(|_, _, a, b| a.and(b))
    }

    fn retract(&self) -> Option<Retract<Self, K, V, Total>> {
        Some(|this, _, total, value| total.minus((this.0)(value)))
    }
}
