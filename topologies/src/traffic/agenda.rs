//! What the generator has planned for later: repeats of records, and the next steps of attacks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::Generated;
use super::brute_force::BruteForce;
use super::card_testing::CardTesting;

/// The most plans at a time. A caller that never lets time pass cannot fill the memory: what does
/// not fit is not planned, so that there are fewer duplicates and attacks.
const PLANS_MAX: usize = 65_536;

/// How far behind its time a plan may run. Behind that (the caller slept, or asks too rarely) it
/// moves to the present instead of making late records.
const SLIP_MS_MAX: i64 = 1_000;

/// Something that makes a record when its time has come.
pub(super) enum Plan {
    /// The producer sends a record a second time.
    Repeat(Generated),
    /// A card tester makes the next payment.
    Test(CardTesting),
    /// A password guesser makes the next line appear.
    Guess(BruteForce),
}

/// Plans in order of their time; those of the same time in the order in which they were made.
#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    planned: u64,
}

struct Entry {
    due_ms: i64,
    number: u64,
    plan: Plan,
}

impl Agenda {
    /// Plans `plan` for `due_ms`, if there is room.
    pub(super) fn add(&mut self, due_ms: i64, plan: Plan) {
        if self.heap.len() < PLANS_MAX {
            self.heap.push(Reverse(Entry { due_ms, number: self.planned, plan }));
            self.planned += 1;
        }
    }

    /// Takes the earliest plan that is due, and the time that it happens at.
    pub(super) fn due(&mut self, now_ms: i64) -> Option<(i64, Plan)> {
        let first = self.heap.peek_mut()?;
        if first.0.due_ms > now_ms {
            return None;
        }
        let Reverse(entry) = PeekMut::pop(first);
        Some((entry.due_ms.max(now_ms - SLIP_MS_MAX), entry.plan))
    }
}

impl Entry {
    fn rank(&self) -> (i64, u64) {
        (self.due_ms, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}
