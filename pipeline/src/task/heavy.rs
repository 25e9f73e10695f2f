//! The heaviest keys of an input, in bounded memory.
//!
//! Space-Saving (A. Metwally, D. Agrawal, A. El Abbadi: *Efficient Computation of Frequent and Top-k
//! Elements in Data Streams*, ICDT 2005): a fixed number of counters; a key without one takes over
//! the smallest, and notes how much it may be counted too high for that. So a key is never counted
//! too low, and every one that is heavier than a counter's share is there.
//!
//! One record in sixteen is looked at, chosen by its offset, so that the others cost a
//! multiplication. Old counts fade: all are halved now and then.

use std::hash::{DefaultHasher, Hasher as _};

use crate::log::TopicPartition;

/// Counters: a key with more than one part in so many of the records is found.
const COUNTERS: usize = 64;
/// One record in so many is looked at.
const SAMPLED: u64 = 16;
/// Looks after which all counts are halved.
const FADES_AT: u64 = 8_192;
/// Bytes of a key that are remembered, to be shown.
const KEY_BYTES_MAX: usize = 64;
/// Keys that are told.
const TOLD: usize = 5;
/// The share from which a key is told, in thousandths.
const TOLD_PERMILLE_MIN: u64 = 10;
/// How often a key must have been counted to be told: chance is no weight.
const TOLD_COUNT_MIN: u64 = 8;

/// A key that many records have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeavyKey {
    /// The key as text, or its bytes in hexadecimal if it is none; its beginning, if it is long.
    pub key: String,
    /// The part of the records of late that have it, in thousandths: of those looked at, at least.
    pub permille: u64,
}

/// Where an input is, and what is heavy in it.
pub(crate) struct InputPlace<'a> {
    pub(crate) partition: &'a TopicPartition,
    /// The next offset to read.
    pub(crate) position: u64,
    /// The partition's end as far as known.
    pub(crate) end: u64,
    /// Records handled since the task was made.
    pub(crate) records: u64,
    pub(crate) heaviest: Vec<HeavyKey>,
}

/// The sketch of one input.
#[derive(Default)]
pub(crate) struct HeavyKeys {
    counters: Vec<Counter>,
    /// Keys that were counted, less what has faded.
    seen: u64,
}

struct Counter {
    /// Of the whole key: two keys of one hash would be one key here.
    hash: u64,
    key: Vec<u8>,
    count: u64,
    /// How much of the count may be other keys'.
    over: u64,
}

impl HeavyKeys {
    /// Looks at the record at `offset`, if it is one of those that are looked at.
    pub(crate) fn see(&mut self, offset: u64, key: Option<&[u8]>) {
        // The golden ratio spreads the chosen offsets: no period of the input is met again and
        // again.
        let turn = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if turn < u64::MAX / SAMPLED
            && let Some(key) = key
        {
            self.count(key);
        }
    }

    fn count(&mut self, key: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write(key);
        let hash = hasher.finish();
        self.seen += 1;
        if self.seen >= FADES_AT {
            self.fade();
        }
        if let Some(known) = self.counters.iter_mut().find(|counter| counter.hash == hash) {
            known.count += 1;
            return;
        }
        let key = key[..key.len().min(KEY_BYTES_MAX)].to_vec();
        if self.counters.len() < COUNTERS {
            self.counters.push(Counter { hash, key, count: 1, over: 0 });
            return;
        }
        let smallest = self.counters.iter_mut().min_by_key(|counter| counter.count);
        if let Some(smallest) = smallest {
            let over = smallest.count;
            *smallest = Counter { hash, key, count: over + 1, over };
        }
    }

    fn fade(&mut self) {
        self.seen /= 2;
        for counter in &mut self.counters {
            counter.count /= 2;
            // Rounded up, so that the count without it stays a lower bound.
            counter.over = counter.over.div_ceil(2);
        }
    }

    /// The heaviest keys that are worth telling, the heaviest first.
    pub(crate) fn heaviest(&self) -> Vec<HeavyKey> {
        let least = |counter: &Counter| counter.count.saturating_sub(counter.over);
        let permille = |counter: &Counter| least(counter) * 1_000 / self.seen.max(1);
        let is_heavy =
            |one: &&Counter| permille(one) >= TOLD_PERMILLE_MIN && least(one) >= TOLD_COUNT_MIN;
        let heavy = self.counters.iter().filter(is_heavy);
        let mut heavy: Vec<&Counter> = heavy.collect();
        heavy.sort_by_key(|counter| (u64::MAX - permille(counter), &counter.key));
        heavy.truncate(TOLD);
        let told = |one: &&Counter| HeavyKey { key: shown(&one.key), permille: permille(one) };
        heavy.iter().map(told).collect()
    }
}

/// A key as people can read it.
fn shown(key: &[u8]) -> String {
    // A text that was cut within a letter ends before it.
    let text = match std::str::from_utf8(key) {
        Ok(text) => Some(text),
        Err(error) if key.len() == KEY_BYTES_MAX && error.error_len().is_none() => {
            std::str::from_utf8(&key[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => text.to_owned(),
        None => key.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_heavy_key_among_many_light_ones_is_named() {
        let mut sketch = HeavyKeys::default();
        for offset in 0..200_000_u64 {
            let key = if offset % 10 < 4 { "heavy".to_owned() } else { format!("light-{offset}") };
            sketch.see(offset, Some(key.as_bytes()));
        }
        let heaviest = sketch.heaviest();
        assert_eq!(heaviest[0].key, "heavy");
        assert!((380..=420).contains(&heaviest[0].permille), "{heaviest:?}");
        assert_eq!(heaviest.len(), 1, "no light one is told: {heaviest:?}");
        assert!(sketch.counters.len() <= COUNTERS);
    }

    #[test]
    fn what_was_heavy_once_fades() {
        let mut sketch = HeavyKeys::default();
        (0..5_000).for_each(|_| sketch.count(b"old"));
        (0..20_000).for_each(|_| sketch.count(b"new"));
        let heaviest = sketch.heaviest();
        assert_eq!(heaviest[0].key, "new");
        assert!(heaviest[0].permille > 900, "{heaviest:?}");
    }

    #[test]
    fn one_record_in_sixteen_is_looked_at_whatever_the_period() {
        for period in [1, 2, 3, 5, 8, 13, 16, 21, 64] {
            let mut sketch = HeavyKeys::default();
            let offsets = (0..32_000_u64).map(|number| number * period);
            offsets.for_each(|offset| sketch.see(offset, Some(b"key")));
            assert!((1_800..2_200).contains(&sketch.seen), "every {period}th: {}", sketch.seen);
        }
    }

    #[test]
    fn keys_are_shown_as_text_or_bytes() {
        assert_eq!(shown("größe".as_bytes()), "größe");
        assert_eq!(shown(&[0, 0, 1]), "0x000001");
        assert_eq!(shown(b"two\nlines"), "0x74776f0a6c696e6573");
        let long = [b"x".repeat(KEY_BYTES_MAX - 1).as_slice(), "ü".as_bytes()].concat();
        assert_eq!(shown(&long[..KEY_BYTES_MAX]), "x".repeat(KEY_BYTES_MAX - 1));
    }

    proptest! {
        /// The paper's bounds: a count is at most `over` too high and never too low, and whatever
        /// is heavier than one part in [`COUNTERS`] has a counter.
        #[test]
        fn counts_are_bounded_on_both_sides(keys in prop::collection::vec(0..300_u32, 0..4_000)) {
            let mut sketch = HeavyKeys::default();
            let mut exact: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            for key in keys.iter().map(|key| (key * key / 300).to_be_bytes().to_vec()) {
                sketch.count(&key);
                *exact.entry(key).or_default() += 1;
            }
            for counter in &sketch.counters {
                let real = exact[&counter.key];
                prop_assert!(counter.count >= real && counter.count - counter.over <= real);
            }
            for (key, real) in exact.iter().filter(|(_, real)| **real > sketch.seen / COUNTERS as u64) {
                let found = sketch.counters.iter().any(|counter| counter.key == *key);
                prop_assert!(found, "{key:?} with {real}");
            }
        }
    }
}
