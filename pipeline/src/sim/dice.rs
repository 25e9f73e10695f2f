//! The one source of chance in a simulation.

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014): a
/// seed gives the same numbers for ever, on every machine. Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Dice of their own for one purpose: what others throw does not change what these throw.
    pub fn fork(&mut self, purpose: u64) -> Self {
        let mut forked = Self::new(self.roll() ^ purpose.wrapping_mul(0xff51_afd7_ed55_8ccd));
        forked.roll();
        forked
    }

    /// 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        // The remainder is below a `usize`.
        (self.roll() % bound) as usize
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = from.abs_diff(to).saturating_add(1);
        from.min(to).wrapping_add((self.roll() % span).cast_signed())
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.roll() % 100 < u64::from(percent)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 1234567, as the reference implementation prints them.
    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut dice = Dice::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| dice.roll()).collect();
        let expected =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, expected);
    }

    #[test]
    fn numbers_stay_in_their_bounds() {
        let mut dice = Dice::new(7);
        for _ in 0..1_000 {
            assert!(dice.below(3) < 3);
            assert!((-5..=5).contains(&dice.between(-5, 5)));
        }
        assert!(!dice.chance(0) && dice.chance(100));
    }
}
