//! Draws from a seed: ChaCha8 and whole numbers, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Draws numbers.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `n`. The bias of the multiplication does not matter here.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number of `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let n = u64::try_from(high - low + 1).expect("the range is not empty");
        low + self.below(n) as i64
    }

    /// One of `items`.
    pub(super) fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len() as u64) as usize]
    }
}

/// Draws ranks by Zipf's law with exponent one.
pub(super) struct Zipf {
    /// For each rank its weight and those of all before it.
    sums: Vec<u64>,
}

impl Zipf {
    pub(super) fn new(ranks: u64) -> Self {
        let weights = (1..=ranks).map(|rank| (1 << 40) / rank);
        let sums = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    pub(super) fn draw(&self, dice: &mut Dice) -> usize {
        let all = self.sums.last().copied().expect("there are ranks");
        let drawn = dice.below(all);
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}
