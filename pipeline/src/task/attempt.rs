//! All or nothing for one record: what it did is kept when it is done, or taken back.
//!
//! Stores, outputs and [`Remembered`] values each know what has changed since the record began, so
//! one bad record costs what it did itself, and nothing of what was done before it.
//!
//! A record may move time, and time makes results: those of windows that close, of records that
//! have waited. What breaks off over one of them is not the record's fault, and would break off
//! again over the next one: such a result is taken back alone, within the record, which goes on.

use stores::state::{StateError, Store};

use super::Context;
use super::caught::catch;
use super::remembered::Remembered;
use crate::bad_record::{BadRecordPolicy, Defect};
use crate::operator::Fault;

/// How a record broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What kind of thing is wrong.
    pub defect: Defect,
    /// The node's name.
    pub node: String,
    /// What is wrong, in words.
    pub message: String,
    /// Of a panic, its place in the source.
    pub place: String,
}

/// Why a piece of work was not done.
pub(super) enum Attempt {
    /// It broke off, and nothing of it is left.
    Undone(Broken),
    /// It broke off, and an operator has changed what cannot be taken back: make the task again.
    Tainted(Broken),
    /// The disk failed.
    State(StateError),
}

/// What the record has done so far, beside what stores and outputs know themselves. One for each
/// task, used again and again.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// A piece of work is under way that is kept or taken back as a whole.
    attempting: bool,
    /// Stores, outputs or memory have changed: there is something to take back.
    pub(super) changed: bool,
    /// Something has changed that cannot be taken back.
    pub(super) touched: bool,
    /// A node gave a store more than a record may hold.
    pub(super) too_large: Option<(usize, String)>,
    memory: Vec<(Remembered, i64)>,
    /// How far each store had changed when the results of time that are being made began.
    marks: Vec<usize>,
    /// Results made by time that broke off: their keys, and how.
    pub(super) isolated: Vec<(Vec<u8>, Broken)>,
}

/// How far everything but the stores had changed when a piece of work began.
#[derive(Clone, Copy)]
struct Mark {
    outputs: usize,
    memory: usize,
    /// Where the stores' marks begin.
    stores: usize,
    isolated: usize,
}

impl Context<'_> {
    /// Runs `work` to its end, or takes back what it did and says how it broke off.
    pub(super) fn attempt(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Attempt> {
        self.begin();
        let mark = self.mark();
        self.effects.attempting = true;
        let ended = self.run(work);
        self.effects.attempting = false;
        self.settle(ended, mark)
    }

    /// As [`Self::attempt`], within a piece of work that is under way and goes on.
    fn attempt_within(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Attempt> {
        let mark = self.mark();
        let touched = std::mem::take(&mut self.effects.touched);
        let too_large = self.effects.too_large.take();
        let ended = self.run(work);
        let settled = self.settle(ended, mark);
        self.effects.touched |= touched;
        self.effects.too_large = too_large;
        settled
    }

    /// Keeps what was done since `mark`, or takes it back if it broke off.
    fn settle(
        &mut self,
        ended: Result<Option<Broken>, StateError>,
        mark: Mark,
    ) -> Result<(), Attempt> {
        let settled = match ended {
            Ok(None) => Ok(()),
            Ok(Some(broken)) if self.effects.touched => Err(Attempt::Tainted(broken)),
            Ok(Some(broken)) => {
                self.undo_to(mark);
                Err(Attempt::Undone(broken))
            }
            Err(error) => Err(Attempt::State(error)),
        };
        self.effects.marks.truncate(mark.stores);
        settled
    }

    /// Runs `work`, and says how it broke off if it did.
    fn run(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<Option<Broken>, StateError> {
        match catch(|| work(self)) {
            Ok(Ok(())) => {
                let too_large = self.effects.too_large.take();
                Ok(too_large.map(|(node, reason)| self.broken_at(node, Defect::TooLarge, reason)))
            }
            Ok(Err(Fault::State(error))) => Err(error),
            Ok(Err(Fault::BadRecord { node, defect, reason })) => {
                Ok(Some(Broken { defect, node, message: reason, place: String::new() }))
            }
            Err(panicked) => {
                let broken = self.broken_at(self.node, Defect::Panic, panicked.text);
                Ok(Some(Broken { place: panicked.place, ..broken }))
            }
        }
    }

    /// Runs `work`, which forwards one result that time has made; `key` says which. If it breaks
    /// off, what it did is taken back, and the policy decides what becomes of it; the other
    /// results go on, and so does the record by which time moved, if there is one.
    pub(crate) fn isolated(
        &mut self,
        key: &[u8],
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let node = self.node;
        let attempted =
            if self.effects.attempting { self.attempt_within(work) } else { self.attempt(work) };
        self.node = node;
        match attempted {
            Ok(()) => Ok(()),
            Err(Attempt::Undone(broken)) if self.policy != BadRecordPolicy::Fail => {
                self.effects.isolated.push((key.to_vec(), broken));
                Ok(())
            }
            Err(Attempt::Undone(broken) | Attempt::Tainted(broken)) => {
                let Broken { defect, node, message, .. } = broken;
                Err(Fault::BadRecord { node, defect, reason: message })
            }
            Err(Attempt::State(error)) => Err(error.into()),
        }
    }

    /// Notes that `memory` was `before` until now.
    pub(super) fn changed_memory(&mut self, memory: Remembered, before: i64) {
        self.effects.changed = true;
        self.effects.memory.push((memory, before));
    }

    /// What was done until now stays; what is done from now on can be taken back.
    fn begin(&mut self) {
        if self.effects.changed {
            self.stores.iter_mut().for_each(Store::begin);
            self.outputs.begin();
            self.effects.memory.clear();
            self.effects.changed = false;
        }
        self.effects.touched = false;
        self.effects.too_large = None;
    }

    /// How far everything has changed since [`Self::begin`].
    fn mark(&mut self) -> Mark {
        let stores = self.effects.marks.len();
        self.effects.marks.extend(self.stores.iter().map(Store::mark));
        Mark {
            outputs: self.outputs.mark(),
            memory: self.effects.memory.len(),
            stores,
            isolated: self.effects.isolated.len(),
        }
    }

    /// Takes back what was done since `mark`.
    fn undo_to(&mut self, mark: Mark) {
        let marks = &self.effects.marks[mark.stores..];
        for (store, mark) in self.stores.iter_mut().zip(marks) {
            store.undo_to(*mark);
        }
        self.outputs.undo_to(mark.outputs);
        for (memory, before) in self.effects.memory.drain(mark.memory..).rev() {
            memory.load(before);
        }
        // The results of time that it set aside will be made again.
        self.effects.isolated.truncate(mark.isolated);
    }

    fn broken_at(&self, node: usize, defect: Defect, message: String) -> Broken {
        let node = self.graph.nodes[node].name.clone();
        Broken { defect, node, message, place: String::new() }
    }
}
