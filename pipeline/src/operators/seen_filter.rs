//! A filter in memory in front of a store of ids: it knows for certain of most new ids that they
//! are new, and says nothing of the others.
//!
//! It is a Bloom filter whose bits for one id lie in one line of the processor's cache (Putze,
//! Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007), in parts that are
//! added as ids come in. It holds no data: without it the answers are the same, only slower.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

/// Ten bits for each id: about one new id in fifty is not told from an old one.
const IDS_PER_LINE: usize = 51;
/// Bits that each id sets in its line.
const BITS_PER_ID: u32 = 5;
/// The first part of a filter that knows nothing of what will come.
const LINES_MIN: usize = 1 << 9;
/// The parts of one filter never take more: 2 MiB, for about 1.6 million ids.
const LINES_MAX: usize = 1 << 15;

/// A line of the cache: 512 bits.
type Line = [u64; 8];

/// Which ids may be there.
pub(super) struct SeenFilter {
    parts: Vec<Part>,
    hasher: DefaultHashBuilder,
    ids: usize,
    /// It has no room for more: from now on every id may be there.
    is_full: bool,
}

struct Part {
    lines: Vec<Line>,
    ids: usize,
}

impl SeenFilter {
    /// A filter with room for as many ids as came in a period `before`.
    pub(super) fn like(before: Option<&Self>) -> Self {
        let expected = before.map_or(0, |before| before.ids + before.ids / 8) / IDS_PER_LINE;
        Self {
            parts: vec![Part::of(expected.clamp(LINES_MIN, LINES_MAX))],
            hasher: DefaultHashBuilder::default(),
            ids: 0,
            is_full: false,
        }
    }

    /// Whether `id` may have been added; if not, it was not.
    pub(super) fn may_have(&self, id: &[u8]) -> bool {
        let hash = self.hasher.hash_one(id);
        self.is_full || self.parts.iter().any(|part| part.has(hash))
    }

    /// Adds `id`.
    pub(super) fn add(&mut self, id: &[u8]) {
        if self.is_full {
            return;
        }
        self.ids += 1;
        let hash = self.hasher.hash_one(id);
        if self.parts.last().is_some_and(Part::is_full) {
            let lines: usize = self.parts.iter().map(|part| part.lines.len()).sum();
            if 2 * lines > LINES_MAX {
                self.is_full = true;
                self.parts = Vec::new();
                return;
            }
            self.parts.push(Part::of(lines));
        }
        let part = self.parts.last_mut().expect("it begins with one");
        part.add(hash);
    }
}

impl Part {
    fn of(lines: usize) -> Self {
        Self { lines: vec![[0; 8]; lines], ids: 0 }
    }

    fn is_full(&self) -> bool {
        self.ids >= self.lines.len() * IDS_PER_LINE
    }

    fn has(&self, hash: u64) -> bool {
        let line = &self.lines[self.line_of(hash)];
        bits_of(hash).all(|bit| line[bit / 64] & (1 << (bit % 64)) != 0)
    }

    fn add(&mut self, hash: u64) {
        let place = self.line_of(hash);
        for bit in bits_of(hash) {
            self.lines[place][bit / 64] |= 1 << (bit % 64);
        }
        self.ids += 1;
    }

    /// By the upper half of the hash.
    fn line_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }
}

/// The bits in a line, nine of the hash's lower bits for each.
fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    (0..BITS_PER_ID).map(move |n| (hash >> (9 * n)) as usize % 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_may_be_there_and_few_others_may() {
        let mut before = None;
        for ids in [1_000_u32, 100_000, 110_000] {
            let mut filter = SeenFilter::like(before.as_ref());
            for id in 0..ids {
                filter.add(&id.to_be_bytes());
            }
            assert!((0..ids).all(|id| filter.may_have(&id.to_be_bytes())));
            let wrong = (ids..2 * ids).filter(|id| filter.may_have(&id.to_be_bytes())).count();
            assert!(wrong < ids as usize / 10, "{wrong} of {ids} new ids may be there");
            before = Some(filter);
        }
        assert_eq!(before.unwrap().parts.len(), 1, "the period before told how many would come");
    }

    #[test]
    fn a_full_filter_takes_no_more_memory_and_says_nothing() {
        let mut filter = SeenFilter::like(None);
        for id in 0..2_000_000_u32 {
            filter.add(&id.to_be_bytes());
        }
        assert!(filter.is_full && filter.parts.is_empty());
        assert!(filter.may_have(b"anything"));
    }
}
