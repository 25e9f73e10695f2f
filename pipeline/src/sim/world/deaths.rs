//! Dying: who goes, and what is found afterwards.

use std::collections::BTreeMap;

use stores::state::StateImage;

use super::{Machine, World};
use crate::log::{Log as _, TopicPartition};
use crate::sim::dice::Dice;
use crate::sim::mutants::Mutant;
use crate::sim::plan::Death;

impl World<'_> {
    /// A worker dies, and with it whoever shares its fate.
    pub(super) fn die(&mut self, index: usize, death: Death, dice: &mut Dice) {
        match death {
            Death::Worker => self.workers[index] = None,
            Death::Machine => {
                let placed = self.workers[index].as_ref();
                let machine = placed.map_or(index % self.machines.len(), |placed| placed.machine);
                self.log.wire().dead_linger = dice.chance(50);
                self.drop_workers_of(machine);
                self.log.wire().dead_linger = false;
                self.lose_state(machine, false, dice);
            }
            Death::Process => self.end_process(false, dice),
            Death::Power => self.end_process(true, dice),
        }
    }

    fn drop_workers_of(&mut self, machine: usize) {
        for worker in &mut self.workers {
            if worker.as_ref().is_some_and(|placed| placed.machine == machine) {
                *worker = None;
            }
        }
        self.zombies.retain(|zombie| zombie.machine != machine);
    }

    /// Everything ends and starts again.
    fn end_process(&mut self, power: bool, dice: &mut Dice) {
        self.workers.iter_mut().for_each(|worker| *worker = None);
        self.zombies.clear();
        // An index that has just followed is the furthest ahead of a log that loses its end.
        if power && self.index.is_some() && dice.chance(50) {
            self.follow_index(dice);
        }
        if let Some(index) = &mut self.index {
            index.die();
        }
        if power {
            self.power_failed = true;
            let wire = self.log.wire();
            let kept = dice.below(wire.storage.unsynced() + 1);
            if wire.tamper.is(Mutant::TornCommit) {
                wire.storage.lose_power_in_a_write(kept);
            } else {
                wire.storage.lose_power(kept);
            }
        }
        for machine in 0..self.machines.len() {
            self.lose_state(machine, power, dice);
        }
        if let (true, Some(index)) = (power, &mut self.index) {
            index.lose_power(dice);
        }
        self.reopen_log(power);
    }

    fn reopen_log(&mut self, power: bool) {
        let mut wire = self.log.wire();
        if wire.reopen().is_err() {
            // Nothing starts on a full disk: somebody makes room.
            wire.storage.heal();
            if let Err(error) = wire.reopen() {
                drop(wire);
                self.fault("a log can be opened again", error.to_string());
                return;
            }
        }
        let log = std::sync::Arc::clone(&wire.log);
        let ends: BTreeMap<TopicPartition, u64> =
            wire.shadow.all().map(|(at, records)| (at.clone(), records.len() as u64)).collect();
        let mut lost = Vec::new();
        for (at, known) in ends {
            let end = log.range(&at).map_or(0, |range| range.end.offset);
            if end < known && (!power || self.scenario.sync) {
                lost.push(format!("{at} had {known} records and has {end}"));
            }
        }
        if power && let Err(error) = wire.shadow.cut(log.as_ref()) {
            lost.push(error.to_string());
        }
        wire.follow();
        drop(wire);
        for what in lost {
            self.fault("what was accepted survives", what);
        }
    }

    /// The state of a machine goes back to a moment that had reached its files. Files are synced
    /// as they are written, so a power failure takes no more than a kill does.
    fn lose_state(&mut self, at: usize, power: bool, dice: &mut Dice) {
        let now = self.machines[at].state.image();
        let Ok(now) = now else {
            self.fault("state can be read", "after a kill".into());
            return;
        };
        let Machine { state, images } = &mut self.machines[at];
        // The database writes files by itself too, whenever it likes.
        let survives = match dice.below(if power { 6 } else { 5 }) {
            0 | 1 => now,
            2..=4 => images.last().cloned().unwrap_or_default(),
            // Somebody has put in another disk.
            _ => StateImage::default(),
        };
        let loaded = state.load(&survives);
        *images = vec![survives];
        if let Err(error) = loaded {
            self.fault("state can be written", error.to_string());
        }
    }

    /// A start knows nothing of what a mutant forgets.
    pub(super) fn forget(&mut self, machine: usize) {
        let forgets = {
            let wire = self.log.wire();
            if !wire.tamper.is(Mutant::StreamTimeForgotten)
                && !wire.tamper.is(Mutant::ClocksForgotten)
            {
                return;
            }
            wire.tamper.forgets()
        };
        if self.workers.iter().flatten().any(|placed| placed.machine == machine) {
            return;
        }
        if let Ok(image) = self.machines[machine].state.image() {
            drop(self.machines[machine].state.load(&image.without(&forgets)));
        }
    }

    /// For a mutant that does not write positions: those from before the turn.
    pub(super) fn positions_of(&self, index: usize) -> Option<StateImage> {
        if !self.log.wire().tamper.is(Mutant::PositionForgotten) {
            return None;
        }
        let placed = self.workers[index].as_ref();
        let machine = placed.map_or(index % self.machines.len(), |placed| placed.machine);
        self.machines[machine].state.image().ok()
    }

    /// What mutants do to the state after a turn.
    pub(super) fn after_turn(&mut self, index: usize, before: Option<&StateImage>) {
        let placed = self.workers[index].as_ref();
        let machine = placed.map_or(index % self.machines.len(), |placed| placed.machine);
        let state = std::sync::Arc::clone(&self.machines[machine].state);
        if let Some(before) = before
            && let Ok(after) = state.image()
        {
            drop(state.load(&after.with_positions_of(before)));
        }
        let kept = std::mem::take(&mut self.log.wire().tamper.kept);
        for (at, changes) in kept {
            let Ok(store) = state.store(&at.topic, at.partition) else { continue };
            let mut batch = state.batch();
            for record in changes.into_batch(0, 0).records() {
                if let Some(key) = record.key {
                    batch.set(store, key, record.value);
                }
            }
            drop(batch.write());
        }
    }
}
