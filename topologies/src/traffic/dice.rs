//! Seeded randomness whose stream never changes: ChaCha8 and integer arithmetic.
//!
//! Not `rand`'s distributions: their algorithms may change from version to version, and floating
//! point functions such as `ln` differ from platform to platform. Both would change what a seed
//! means.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws numbers from one stream of one seed.
pub(crate) struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// Starts stream `stream` of `seed`. Each topic has its own, so that a change to the orders
    /// does not change the payments of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Dice {
        let mut bytes = [0; 32];
        for (i, chunk) in (0_u64..).zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&scramble(seed.wrapping_add(i)).to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(bytes);
        rng.set_stream(stream);
        Dice { rng }
    }

    /// Draws 64 uniform bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Draws from `0..n`. The bias of the multiplication, below n / 2^32, does not matter here.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "there is something to draw from");
        scale(self.rng.next_u32(), n)
    }

    /// Draws from `low..=high`.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        assert!(low <= high, "the range is not empty");
        low + self.below(high - low + 1)
    }

    /// Says true `n` times in 10,000.
    pub(crate) fn in_10_000(&mut self, n: u32) -> bool {
        self.below(10_000) < n
    }

    /// Draws one of `items`.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.index(items.len())]
    }

    /// Draws an index into a collection of `len` items.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u32::try_from(len).expect("the collections here have thousands of items");
        self.below(len) as usize
    }
}

/// Maps 32 uniform bits to `0..n`.
pub(super) fn scale(bits: u32, n: u32) -> u32 {
    ((u64::from(bits) * u64::from(n)) >> 32) as u32
}

/// Scatters `x`: a fixed permutation, for properties that follow from an identity (a card's home
/// country) and must not take a draw. It is the finalizer of SplitMix64 (Steele, Lea, Flood,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014).
pub(super) fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
