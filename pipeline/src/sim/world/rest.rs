//! Coming to rest: everything heals, every record is given, everybody works until nothing is left
//! to do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stores::state::StateImage;

use super::{IDLE_TIMEOUT, WALL_MS, World};
use crate::sim::plan::Trouble;
use crate::worker::WorkerError;

/// Rounds until a world must be at rest.
const ROUNDS_MAX: usize = 4_000;
/// Later than any jump of the wall clock, in milliseconds after its beginning: a hundred days.
const LATER_MS: i64 = 8_640_000_000;
/// Rounds in which nothing happens, until we believe it.
const QUIET_ROUNDS: usize = 3;

impl World<'_> {
    pub(super) fn come_to_rest(&mut self) {
        {
            let mut wire = self.log.wire();
            wire.trouble = Trouble::default();
            wire.time_out();
            wire.hasten();
        }
        self.heal();
        self.append_next(usize::MAX);
        self.settle();
        if self.faults.is_empty() {
            self.append_last();
        }
        if self.faults.is_empty()
            && let Some(index) = &mut self.index
        {
            let fault = index.finish((&self.log, &self.clock), self.has_cleaned);
            self.faults.extend(fault);
        }
    }

    /// The records that come when everybody has stood still for a while: sources are left behind,
    /// processors were called by the wall clock, and global tables are read to their ends.
    fn append_last(&mut self) {
        let last = &self.inputs.last;
        if last.is_empty() {
            return;
        }
        self.clock.advance(2 * u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX));
        // Wherever it has jumped to, it shows a later time than ever.
        self.clock.set_wall_ms(WALL_MS + LATER_MS);
        self.settle();
        // That a table advances is nothing that a worker tells: one fetch of it in each commit.
        if !self.subject.topology.global_topics().is_empty() {
            for _ in 0..self.inputs.count() {
                self.clock.advance(self.rest_turn_ms());
                self.round();
            }
        }
        let count = if self.scenario.idle { 1 } else { last.len() };
        if self.faults.is_empty() {
            self.append(&last[..count.min(last.len())]);
            self.settle();
        }
        let behind = &self.inputs.behind;
        if self.faults.is_empty() && !behind.is_empty() {
            // What has been closed without them is remembered by others than those who closed it.
            self.workers.iter_mut().for_each(|worker| *worker = None);
            self.append(behind);
            self.settle();
        }
    }

    /// A turn at least as long as every interval: whatever is due is done in it.
    fn rest_turn_ms(&self) -> u32 {
        let limits = self.scenario.limits;
        let longest = limits.commit_interval_ms.max(limits.progress_interval_ms);
        u32::try_from(longest + 1).unwrap_or(u32::MAX)
    }

    /// All workers work until nothing is left to do.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            self.clock.advance(self.rest_turn_ms());
            let busy = self.round();
            self.take_broken();
            if !self.faults.is_empty() {
                return;
            }
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == QUIET_ROUNDS {
                return;
            }
        }
        self.fault("everything comes to rest", format!("not within {ROUNDS_MAX} rounds"));
    }

    fn round(&mut self) -> bool {
        let mut busy = !self.zombies.is_empty();
        for at in (0..self.zombies.len()).rev() {
            self.zombie_turn(at, false);
        }
        for index in 0..self.workers.len() {
            let is_there = self.workers[index].is_some();
            let before = self.positions_of(index);
            let taken = catch_unwind(AssertUnwindSafe(|| self.take_turn(index)));
            self.log.wire().tamper.turned();
            self.after_turn(index, before.as_ref());
            match taken {
                Ok(Ok(_)) if self.has_lost_its_place() => {
                    self.workers[index] = None;
                    busy = true;
                }
                Ok(Ok(was_busy)) => busy |= was_busy || !is_there,
                Ok(Err(WorkerError::Fenced { .. })) if self.fence_excused => {
                    // It learns now that it was replaced or expired, and comes back.
                    self.workers[index] = None;
                    busy = true;
                }
                Ok(Err(error)) => {
                    self.workers[index] = None;
                    self.fault("a worker stops for a reason", format!("w{index}: {error}"));
                }
                Err(panic) => self.panicked(panic.as_ref()),
            }
        }
        busy
    }

    /// Compacts the log, forgets all state, and lets everything come to rest once more: what comes
    /// of it must be what was there.
    pub(in crate::sim) fn restore_from_nothing(&mut self) {
        self.workers.iter_mut().for_each(|worker| *worker = None);
        for at in 0..self.machines.len() {
            drop(self.machines[at].state.load(&StateImage::default()));
        }
        self.clean();
        self.settle();
    }
}
