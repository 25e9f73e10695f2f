//! All or nothing for one record: what it did is kept when it is done, or taken back.
//!
//! Stores, outputs and [`Remembered`] values each know what has changed since the record began, so
//! one bad record costs what it did itself, and nothing of what was done before it.

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
    /// Results made by time that broke off: their keys, and how.
    pub(super) isolated: Vec<(Vec<u8>, Broken)>,
}

impl Context<'_> {
    /// Runs `work` to its end, or takes back what it did and says how it broke off.
    pub(super) fn attempt(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Attempt> {
        self.begin();
        self.effects.attempting = true;
        let ended = catch(|| work(self));
        self.effects.attempting = false;
        let broken = match ended {
            Ok(Ok(())) => match self.effects.too_large.take() {
                None => return Ok(()),
                Some((node, reason)) => self.broken_at(node, Defect::TooLarge, reason),
            },
            Ok(Err(Fault::State(error))) => return Err(Attempt::State(error)),
            Ok(Err(Fault::BadRecord { node, defect, reason })) => {
                Broken { defect, node, message: reason, place: String::new() }
            }
            Err(panicked) => {
                let broken = self.broken_at(self.node, Defect::Panic, panicked.text);
                Broken { place: panicked.place, ..broken }
            }
        };
        if self.effects.touched {
            return Err(Attempt::Tainted(broken));
        }
        self.undo();
        Err(Attempt::Undone(broken))
    }

    /// Runs `work`, which forwards one result that time has made; `key` says which. If it breaks
    /// off, what it did is taken back, and the policy decides what becomes of it; the other
    /// results go on. Within a record it just runs: the record as a whole is taken back then.
    pub(crate) fn isolated(
        &mut self,
        key: &[u8],
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.effects.attempting {
            return work(self);
        }
        let node = self.node;
        let attempted = self.attempt(work);
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

    /// Takes back what was done since [`Self::begin`].
    fn undo(&mut self) {
        if self.effects.changed {
            self.stores.iter_mut().for_each(Store::undo);
            self.outputs.undo();
            for (memory, before) in self.effects.memory.drain(..).rev() {
                memory.load(before);
            }
            self.effects.changed = false;
        }
    }

    fn broken_at(&self, node: usize, defect: Defect, message: String) -> Broken {
        let node = self.graph.nodes[node].name.clone();
        Broken { defect, node, message, place: String::new() }
    }
}
