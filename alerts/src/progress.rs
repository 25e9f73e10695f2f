//! What of one partition is done, although deliveries end in any order.
//!
//! Pure: offsets in, a position out. It holds no records and makes no calls. Its memory is bounded
//! by the number of open offsets, however far delivery has run ahead of a slow one: what lies below
//! `end` and is not open is done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The done part of a partition: everything below `end` but what is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// One past the last offset that was seen.
    end: u64,
    /// Begun, not done.
    open: BTreeSet<u64>,
    /// Open when the state was stored, and not read again yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    unread: BTreeSet<u64>,
}

impl Progress {
    /// Everything before `offset` is done, nothing after it is.
    pub(crate) fn at(offset: u64) -> Self {
        Self { end: offset, ..Self::default() }
    }

    /// The state to go on with in a new process, where nothing is under way.
    pub(crate) fn resumed(mut self) -> Self {
        self.unread.append(&mut self.open);
        self
    }

    /// Takes note of the record at `offset`; records come in order. Says whether it is to be
    /// handled: it is open then, until [`Progress::done`].
    pub(crate) fn begin(&mut self, offset: u64) -> bool {
        // What retention took before it was read again will not come any more.
        self.unread = self.unread.split_off(&offset);
        let wanted = self.unread.remove(&offset) || offset >= self.end;
        if wanted {
            assert!(self.open.insert(offset), "a record is read once");
            self.end = self.end.max(offset + 1);
        }
        wanted
    }

    /// The record at `offset` needs nothing more.
    pub(crate) fn done(&mut self, offset: u64) {
        assert!(self.open.remove(&offset), "what is done was begun");
    }

    /// The offset to commit: everything before it is done.
    pub(crate) fn next(&self) -> u64 {
        let first = self.open.first().into_iter().chain(self.unread.first()).min();
        first.copied().unwrap_or(self.end)
    }

    /// How many offsets are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether something is done that lies beyond [`Progress::next`], so that the offset alone
    /// would repeat it.
    pub(crate) fn is_ahead(&self) -> bool {
        let held = self.open.len() + self.unread.len();
        self.end - self.next() > held as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, kept as one flag for each record.
    struct Naive {
        records: Vec<(u64, bool)>,
    }

    impl Naive {
        fn next(&self, start: u64) -> u64 {
            match self.records.iter().find(|(_, done)| !done) {
                Some((offset, _)) => *offset,
                None => self.records.last().map_or(start, |(offset, _)| offset + 1),
            }
        }
    }

    proptest! {
        /// Gaps between offsets, completions in any order, kills with a reload of the stored state
        /// at any point: the offset is that of the first record that is not done, what is done is
        /// never wanted again, and what is not always is.
        #[test]
        fn it_agrees_with_a_flag_for_each_record(
            start in 0_u64..100,
            gaps in prop::collection::vec(1_u64..4, 1..40),
            steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut offset = start;
            let all: Vec<u64> = gaps.iter().map(|gap| { offset += gap; offset }).collect();
            let mut progress = Progress::at(start);
            let mut naive = Naive { records: Vec::new() };
            let mut read = 0;
            for (step, index) in steps {
                let open: Vec<u64> = progress.open.iter().copied().collect();
                match step {
                    0..=3 if read < all.len() => {
                        let offset = all[read];
                        let known = naive.records.iter().find(|(o, _)| *o == offset);
                        let wanted = known.is_none_or(|(_, done)| !done);
                        prop_assert_eq!(progress.begin(offset), wanted);
                        if known.is_none() {
                            naive.records.push((offset, false));
                        }
                        read += 1;
                    }
                    4..=6 if !open.is_empty() => {
                        let offset = open[index.index(open.len())];
                        progress.done(offset);
                        naive.records.iter_mut().find(|(o, _)| *o == offset).unwrap().1 = true;
                    }
                    7 => {
                        let stored = serde_json::to_string(&progress).unwrap();
                        progress = serde_json::from_str::<Progress>(&stored).unwrap().resumed();
                        let next = progress.next();
                        read = all.iter().position(|o| *o >= next).unwrap_or(all.len());
                    }
                    _ => {}
                }
                prop_assert_eq!(progress.next(), naive.next(start));
                prop_assert!(progress.open() <= all.len());
            }
        }
    }

    #[test]
    fn a_slow_record_holds_the_offset_but_costs_one_entry() {
        let mut progress = Progress::at(10);
        for offset in 10..100_000 {
            assert!(progress.begin(offset));
            if offset != 10 {
                progress.done(offset);
            }
        }
        assert_eq!((progress.next(), progress.open()), (10, 1));
        assert!(progress.is_ahead());
        progress.done(10);
        assert_eq!(progress.next(), 100_000);
        assert!(!progress.is_ahead());
    }

    #[test]
    fn a_record_lost_to_retention_does_not_hold_the_offset_for_ever() {
        let mut progress = Progress::at(0);
        for offset in 0..3 {
            progress.begin(offset);
        }
        progress.done(1);
        let mut progress = progress.resumed();
        assert_eq!(progress.next(), 0);
        assert!(progress.begin(5), "0 and 2 are gone");
        assert_eq!(progress.next(), 5);
    }
}
