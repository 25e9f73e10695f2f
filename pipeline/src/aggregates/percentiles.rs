//! Percentiles with a bounded relative error: DDSketch.
//!
//! Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees" (2019). Numbers are counted in buckets whose bounds are at most a factor of
//! (1 + accuracy) / (1 - accuracy) apart, so what is said of a bucket is within `accuracy` of each
//! number in it. The logarithm is interpolated linearly between powers of two, from the number's
//! bits alone: 44 % more buckets than with the true one, and the same bucket on every machine.

use std::collections::BTreeMap;

use super::{Aggregator, At, Merge, Retract};
use crate::codec::{CodecError, Serde, custom};
use crate::log::record::{put_signed, put_varint, take_signed, take_varint};

/// Estimates percentiles of numbers, each within a relative error of its accuracy (1 % unless
/// said otherwise). Merges and retracts. What is not a number is left out.
///
/// There are at most [`BUCKETS_MAX`] buckets of either sign, 24 decades at 1 %; beyond them the
/// numbers nearest to zero share a bucket and lose their accuracy, the others keep theirs.
pub struct Percentiles<F> {
    quantiles: Vec<f64>,
    per_octave: f64,
    of: F,
}

/// The most buckets of either sign.
pub const BUCKETS_MAX: usize = 4096;

/// How many numbers fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    positive: BTreeMap<i32, u64>,
    zero: u64,
    negative: BTreeMap<i32, u64>,
}

impl<F> Percentiles<F> {
    /// Estimates `quantiles` (0.5 is the median) of what `of` gives of each value. The result has
    /// them in this order; it is empty if there were no numbers.
    pub fn of<V>(quantiles: &[f64], of: F) -> Self
    where
        F: Fn(&V) -> f64,
    {
        let quantiles = quantiles.iter().map(|q| q.clamp(0.0, 1.0)).collect();
        Self { quantiles, per_octave: per_octave(0.01), of }
    }

    /// Takes another relative error, from 0.001 to 0.5.
    #[must_use]
    pub fn with_accuracy(mut self, accuracy: f64) -> Self {
        self.per_octave = per_octave(accuracy.clamp(0.001, 0.5));
        self
    }

    /// The bucket of a positive number.
    fn bucket(&self, number: f64) -> i32 {
        let bits = number.to_bits();
        // Numbers below the smallest normal one (1e-308) are taken for a little more than it.
        let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
        let significand = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
        ((f64::from(exponent) + significand - 1.0) * self.per_octave).floor() as i32
    }

    /// A number that is within the accuracy of all in a bucket: the harmonic mean of its bounds.
    fn number(&self, bucket: i32) -> f64 {
        let bound = |bucket: i32| {
            let log = f64::from(bucket) / self.per_octave;
            let exponent = log.floor();
            (log - exponent + 1.0) * 2_f64.powi(exponent as i32)
        };
        let (low, high) = (bound(bucket), bound(bucket + 1));
        if high.is_finite() { low * (2.0 * high / (low + high)) } else { low }
    }

    fn count(&self, sketch: &mut Sketch, number: f64, change: impl Fn(&mut u64)) {
        if number > 0.0 {
            sketch.positive.change(self.bucket(number.min(f64::MAX)), change);
        } else if number < 0.0 {
            sketch.negative.change(self.bucket((-number).min(f64::MAX)), change);
        } else if number == 0.0 {
            change(&mut sketch.zero);
        }
    }

    fn quantile(&self, sketch: &Sketch, quantile: f64, total: u64) -> f64 {
        let rank = (quantile * (total - 1) as f64).floor() as u64;
        let negative = sketch.negative.iter().rev().map(|(b, n)| (-self.number(*b), *n));
        let zero = (sketch.zero > 0).then_some((0.0, sketch.zero));
        let positive = sketch.positive.iter().map(|(b, n)| (self.number(*b), *n));
        let mut before = 0;
        let mut in_order = negative.chain(zero).chain(positive);
        let found = in_order.find(|(_, count)| {
            before += count;
            before > rank
        });
        found.expect("the rank is below the total").0
    }
}

/// Buckets for each doubling: so many that the factor between the bounds of one is at most
/// (1 + accuracy) / (1 - accuracy), whose logarithm is 2 artanh(accuracy): its series, for the
/// logarithm of a library is not the same on all machines.
fn per_octave(accuracy: f64) -> f64 {
    let square = accuracy * accuracy;
    let (mut sum, mut power) = (0.0, accuracy);
    for odd in (1..200).step_by(2) {
        sum += power / f64::from(odd);
        power *= square;
    }
    1.0 / (2.0 * sum)
}

trait Buckets {
    fn change(&mut self, bucket: i32, change: impl Fn(&mut u64));
}

impl Buckets for BTreeMap<i32, u64> {
    fn change(&mut self, bucket: i32, change: impl Fn(&mut u64)) {
        // Once the lowest bucket holds what was below it, it takes what is below it.
        let lowest = self.first_key_value().map(|(lowest, _)| *lowest);
        let bucket = match lowest {
            Some(lowest) if self.len() == BUCKETS_MAX => bucket.max(lowest),
            _ => bucket,
        };
        let count = self.entry(bucket).or_default();
        change(count);
        if *count == 0 {
            self.remove(&bucket);
        }
        while self.len() > BUCKETS_MAX {
            let (_, count) = self.pop_first().expect("it is longer than the bound");
            *self.first_entry().expect("there is at least one more").get_mut() += count;
        }
    }
}

impl<K, V, F: Fn(&V) -> f64 + Send + Sync + 'static> Aggregator<K, V> for Percentiles<F> {
    type State = Sketch;
    type Output = Vec<f64>;

    fn init(&self) -> Sketch {
        Sketch::default()
    }

    fn add(&self, mut sketch: Sketch, _: &K, value: &V, _: At) -> Sketch {
        self.count(&mut sketch, (self.of)(value), |count| *count += 1);
        sketch
    }

    fn output(&self, sketch: &Sketch) -> Vec<f64> {
        let counts = sketch.positive.values().chain(sketch.negative.values());
        let total = counts.sum::<u64>() + sketch.zero;
        if total == 0 {
            return Vec::new();
        }
        self.quantiles.iter().map(|quantile| self.quantile(sketch, *quantile, total)).collect()
    }

    fn codec(&self) -> Serde<Sketch> {
        custom(write, read)
    }

    fn merge(&self) -> Option<Merge<Self, K, Sketch>> {
        Some(|_, _, mut a, b| {
            let add = |into: &mut BTreeMap<i32, u64>, from: BTreeMap<i32, u64>| {
                // The highest first: what is collapsed is the lowest of both.
                from.into_iter()
                    .rev()
                    .for_each(|(bucket, more)| into.change(bucket, |n| *n += more));
            };
            add(&mut a.positive, b.positive);
            add(&mut a.negative, b.negative);
            a.zero += b.zero;
            a
        })
    }

    fn retract(&self) -> Option<Retract<Self, K, V, Sketch>> {
        Some(|this, _, mut sketch, value| {
            let number = (this.of)(value);
            this.count(&mut sketch, number, |count| *count = count.saturating_sub(1));
            sketch
        })
    }
}

/// The zeros; then for each sign the number of buckets, and gap and count of each.
fn write(sketch: &Sketch, out: &mut Vec<u8>) {
    put_varint(out, sketch.zero);
    for buckets in [&sketch.positive, &sketch.negative] {
        put_varint(out, buckets.len() as u64);
        let mut last = 0;
        for (bucket, count) in buckets {
            put_signed(out, i64::from(*bucket) - last);
            put_varint(out, *count);
            last = i64::from(*bucket);
        }
    }
}

fn read(mut bytes: &[u8]) -> Result<Sketch, CodecError> {
    let damaged = || CodecError::new("not a sketch of percentiles");
    let zero = take_varint(&mut bytes).ok_or_else(damaged)?;
    let mut signs = [BTreeMap::new(), BTreeMap::new()];
    for buckets in &mut signs {
        let mut last = 0_i64;
        for _ in 0..take_varint(&mut bytes).ok_or_else(damaged)? {
            let gap = take_signed(&mut bytes).ok_or_else(damaged)?;
            last = last.checked_add(gap).ok_or_else(damaged)?;
            let count = take_varint(&mut bytes).ok_or_else(damaged)?;
            buckets.insert(i32::try_from(last).map_err(|_| damaged())?, count);
        }
    }
    let [positive, negative] = signs;
    bytes.is_empty().then_some(Sketch { positive, zero, negative }).ok_or_else(damaged)
}
