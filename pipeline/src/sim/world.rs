//! A simulated world: machines with state, workers on them, one log, an index, and the steps that
//! happen to them. Everything runs on one thread; nothing waits.

mod deaths;
mod rest;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use stores::state::{StateDb, StateImage};

use super::dice::Dice;
use super::index::Index;
use super::input::Inputs;
use super::log::{self, SimLog, Wired};
use super::mutants::{Mutant, Tamper};
use super::plan::{Action, Death, Scenario, Step};
use super::subject::Subject;
use super::{Fault, Places, Pool};
use crate::clock::{Clock as _, ManualClock};
use crate::log::embedded::{Durability, EmbeddedSettings};
use crate::log::storage::{FailedWrite, MemoryStorage};
use crate::log::{BatchBuilder, Cleanup, Commit, Log, LogError, Outcome, TopicPartition};
use crate::task::TaskSettings;
use crate::topology::Plan;
use crate::worker::{Worker, WorkerError, WorkerParts, WorkerSettings, WorkerStats};

/// The wall clock at the beginning of each run, in milliseconds.
pub(super) const WALL_MS: i64 = 1_700_000_000_000;

/// How long a source stands still until time leaves it behind, where it does.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything in a run.
pub(super) struct World<'a> {
    pub(super) subject: &'a Subject,
    pub(super) scenario: &'a Scenario,
    pub(super) log: Arc<SimLog>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) plan: Arc<Plan>,
    pub(super) machines: Vec<Machine>,
    workers: Vec<Option<Placed>>,
    /// Workers that have been replaced and do not know it yet.
    zombies: Vec<Placed>,
    pub(super) index: Option<Index>,
    inputs: &'a Inputs,
    next_input: usize,
    /// A worker may stop for a reason of the log: something is or was wrong with it.
    log_excused: bool,
    /// A worker may be fenced: the group has been told that another one is it.
    fence_excused: bool,
    pub(super) power_failed: bool,
    /// Compaction may have taken records that a follower has not read.
    pub(super) has_cleaned: bool,
    pub(super) faults: Vec<Fault>,
    pool: &'a Pool,
}

/// A machine: the state of the workers on it, and what of it has reached files.
pub(super) struct Machine {
    pub(super) state: Arc<StateDb>,
    images: Vec<StateImage>,
}

struct Placed {
    machine: usize,
    worker: Worker,
}

impl<'a> World<'a> {
    pub(super) fn new(
        subject: &'a Subject,
        scenario: &'a Scenario,
        inputs: &'a Inputs,
        (places, mutant): (&Places<'a>, Option<Mutant>),
    ) -> Result<Self, LogError> {
        let clock = Arc::new(ManualClock::at(WALL_MS));
        let durability = if scenario.sync { Durability::Sync } else { Durability::Os };
        let settings = EmbeddedSettings {
            durability,
            dirty_ratio_min: 0.0,
            fetch_bytes_max: scenario.limits.fetch_bytes_max,
            ..EmbeddedSettings::default()
        };
        let names = &subject.topology.names;
        let tamper = Tamper::new(mutant, (names.dead_letters(), names.alerts()));
        let storage = Arc::new(MemoryStorage::new());
        let log = SimLog::new(storage, Arc::clone(&clock), settings, tamper)?;
        let plan = plan(subject, log.inner().as_ref(), scenario.partitions)?;
        let index = scenario.indexed.then(|| Index::new(places.folder, &plan.views));
        let machine = || Machine { state: places.pool.take(), images: vec![StateImage::default()] };
        Ok(Self {
            subject,
            scenario,
            log,
            clock,
            plan: Arc::new(plan),
            machines: (0..scenario.machines).map(|_| machine()).collect(),
            workers: (0..scenario.workers).map(|_| None).collect(),
            zombies: Vec::new(),
            index,
            inputs,
            next_input: 0,
            log_excused: false,
            fence_excused: false,
            power_failed: false,
            has_cleaned: false,
            faults: Vec::new(),
            pool: places.pool,
        })
    }

    /// Runs the whole schedule, then lets everything come to rest.
    pub(super) fn run(&mut self) {
        self.append_first();
        self.log.wire().trouble = self.scenario.trouble;
        let scenario = self.scenario;
        for step in &scenario.steps {
            self.log.wire().note(|| format!("{step:?}"));
            self.step(step);
            self.take_broken();
            if !self.faults.is_empty() {
                return;
            }
        }
        self.come_to_rest();
    }

    fn step(&mut self, step: &Step) {
        let dice = Dice::new(step.dice);
        self.log.wire().dice = dice.clone();
        let mut dice = Dice::new(!step.dice);
        match step.action {
            Action::Append(count) => self.append_next(count),
            Action::Turn(worker) => self.turn(worker, None, &mut dice),
            Action::Die { worker, calls, death } => {
                self.turn(worker, Some((calls, death)), &mut dice);
            }
            Action::Close(worker) => self.close(worker),
            Action::Replace(worker) => self.replace(worker),
            Action::Expire(worker) => self.expire(worker),
            Action::Zombie => self.zombie(&mut dice),
            Action::Timeout => self.log.wire().time_out(),
            Action::FailWrite(made) => self.fail_write(made),
            Action::Full => {
                self.log_excused = true;
                self.log.wire().storage.fill();
            }
            Action::Heal => self.heal(),
            Action::Flush(machine) => self.flush(machine),
            Action::Clean => self.clean(),
            Action::Purge => self.purge(),
            Action::Wait(ms) => self.clock.advance(ms),
            Action::Jump(ms) => self.clock.set_wall_ms(self.clock.wall_ms() + ms),
            Action::Follow => self.follow_index(&mut dice),
            Action::FollowerDies => {
                if let Some(index) = &mut self.index {
                    index.die();
                }
            }
            Action::Look => self.faults.extend(super::check::under_way(self, self.pool)),
        }
    }

    /// A worker takes a turn, and dies in it or after it if `death` says so.
    fn turn(&mut self, index: usize, death: Option<(u32, Death)>, dice: &mut Dice) {
        self.clock.advance(self.scenario.limits.turn_ms);
        self.log.die_at(death.map(|(calls, _)| calls));
        let before = self.positions_of(index);
        let taken = catch_unwind(AssertUnwindSafe(|| self.take_turn(index)));
        self.log.die_at(None);
        self.log.wire().tamper.turned();
        self.after_turn(index, before.as_ref());
        match taken {
            Ok(Ok(_)) if self.has_lost_its_place() => self.workers[index] = None,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.ended(index, &error),
            Err(panic) if panic.is::<log::Death>() => {}
            Err(panic) => self.panicked(panic.as_ref()),
        }
        if let Some((_, death)) = death {
            self.die(index, death, dice);
        }
    }

    /// Answers whether there was anything to do.
    fn take_turn(&mut self, index: usize) -> Result<bool, WorkerError> {
        let placed = match self.workers[index].take() {
            Some(placed) => placed,
            None => {
                let machine = index % self.machines.len();
                self.forget(machine);
                Placed { machine, worker: self.open(index, machine)? }
            }
        };
        self.workers[index].insert(placed).worker.run_once(Duration::ZERO)
    }

    fn open(&self, index: usize, machine: usize) -> Result<Worker, WorkerError> {
        let limits = self.scenario.limits;
        let settings = WorkerSettings {
            task: TaskSettings {
                idle_timeout: self.scenario.idle.then_some(IDLE_TIMEOUT),
                progress_interval: Duration::from_millis(limits.progress_interval_ms),
                record_bytes_max: self.subject.record_bytes_max,
                coalesce: limits.coalesce,
                ..TaskSettings::default()
            },
            commit_interval: Duration::from_millis(limits.commit_interval_ms),
            poll_records_max: limits.poll_records_max,
            overlay_bytes_max: limits.overlay_bytes_max,
            queue_bytes_max: limits.queue_bytes_max,
            ..WorkerSettings::new(&format!("w{index}"))
        };
        let parts = WorkerParts {
            plan: Arc::clone(&self.plan),
            log: Arc::new(Wired(Arc::clone(&self.log))),
            state: Arc::clone(&self.machines[machine].state),
            clock: Arc::clone(&self.clock) as _,
            stats: Arc::new(WorkerStats::default()),
        };
        Worker::new(parts, settings)
    }

    /// Whether the worker that took the last turn has heard that its place is another's: it does
    /// nothing any more, and whoever watches over it starts it again.
    fn has_lost_its_place(&mut self) -> bool {
        let lost = std::mem::take(&mut self.log.wire().somebody_lost);
        if lost && !self.fence_excused {
            self.fault("a worker stops for a reason", "its partitions are lost".into());
        }
        lost
    }

    /// A worker has stopped by itself: with a reason, or it is a fault.
    fn ended(&mut self, index: usize, error: &WorkerError) {
        self.workers[index] = None;
        let excused = match error {
            WorkerError::Fenced { .. } => self.fence_excused,
            WorkerError::Failed(crate::task::TaskError::Log(_))
            | WorkerError::Task { error: crate::task::TaskError::Log(_), .. } => {
                self.log_excused || self.scenario.trouble.is_with_the_log()
            }
            WorkerError::Failed(_) | WorkerError::Task { .. } => false,
        };
        if !excused {
            self.fault("a worker stops for a reason", format!("w{index}: {error}"));
        }
    }

    fn panicked(&mut self, panic: &(dyn std::any::Any + Send)) {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        self.fault("nothing panics", text.unwrap_or_default());
    }

    pub(super) fn fault(&mut self, invariant: &'static str, what: String) {
        self.faults.push(Fault { invariant, what });
    }

    fn take_broken(&mut self) {
        let broken = std::mem::take(&mut self.log.wire().broken);
        for what in broken {
            self.fault("the log keeps what it accepted", what);
        }
    }

    fn close(&mut self, index: usize) {
        let Some(placed) = self.workers[index].take() else { return };
        let closed = catch_unwind(AssertUnwindSafe(|| placed.worker.close()));
        self.log.wire().tamper.turned();
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.ended(index, &error),
            Err(panic) => self.panicked(panic.as_ref()),
        }
    }

    /// A newer worker of the same name on another machine; with one machine there is no other.
    fn replace(&mut self, index: usize) {
        if self.machines.len() < 2 {
            return;
        }
        let Some(old) = self.workers[index].take() else { return };
        let machine = (old.machine + 1) % self.machines.len();
        self.fence_excused = true;
        self.zombies.push(old);
        match catch_unwind(AssertUnwindSafe(|| self.open(index, machine))) {
            Ok(Ok(worker)) => self.workers[index] = Some(Placed { machine, worker }),
            Ok(Err(error)) => self.ended(index, &error),
            Err(panic) => self.panicked(panic.as_ref()),
        }
    }

    /// The group gives the partitions of a worker to others, as after a session timeout: what a
    /// member of the same name does that comes and goes.
    fn expire(&mut self, index: usize) {
        self.fence_excused = true;
        let config = crate::log::GroupConfig {
            group: self.plan.topology.names.group(),
            instance: format!("w{index}"),
            topics: self.plan.input_topics(),
        };
        drop(self.log.inner().join(config));
    }

    fn zombie(&mut self, dice: &mut Dice) {
        if !self.zombies.is_empty() {
            let log_fails = self.log_excused || self.scenario.trouble.is_with_the_log();
            self.zombie_turn(dice.below(self.zombies.len()), log_fails);
        }
    }

    /// A worker that was replaced takes a turn; it is gone when it has noticed, or when the log,
    /// if that fails, has stopped it.
    fn zombie_turn(&mut self, at: usize, log_fails: bool) {
        let zombie = &mut self.zombies[at];
        let taken = catch_unwind(AssertUnwindSafe(|| zombie.worker.run_once(Duration::ZERO)));
        match taken {
            Ok(Ok(_)) if self.has_lost_its_place() => drop(self.zombies.remove(at)),
            Ok(Ok(_)) => {}
            Ok(Err(WorkerError::Fenced { .. })) => drop(self.zombies.remove(at)),
            Ok(Err(_)) if log_fails => drop(self.zombies.remove(at)),
            Ok(Err(error)) => self.fault("a worker stops for a reason", error.to_string()),
            Err(panic) => self.panicked(panic.as_ref()),
        }
    }

    fn fail_write(&mut self, made: bool) {
        self.log_excused = true;
        let failure = if made { FailedWrite::Applied } else { FailedWrite::Lost };
        self.log.wire().storage.fail_next_write(failure);
    }

    /// The disk is well again, and somebody has noticed.
    fn heal(&mut self) {
        let mut wire = self.log.wire();
        wire.storage.heal();
        let reconnected = wire.log.reconnect();
        wire.follow();
        drop(wire);
        if let Err(error) = reconnected {
            self.fault("a log that is well can be reached", error.to_string());
        }
    }

    fn flush(&mut self, machine: usize) {
        match self.machines[machine].state.image() {
            Ok(image) => self.machines[machine].images.push(image),
            Err(error) => self.fault("state can be read", error.to_string()),
        }
    }

    fn clean(&mut self) {
        self.has_cleaned = true;
        let mut wire = self.log.wire();
        let cleaned = wire.log.clean();
        wire.follow();
        drop(wire);
        if let Err(error) = cleaned
            && !self.log_excused
        {
            self.fault("the log can be cleaned", error.to_string());
        }
    }

    /// Forgets the records of repartition topics that all who read them have consumed.
    fn purge(&mut self) {
        let (log, group) = (self.log.inner(), self.plan.topology.names.group());
        for topic in self.plan.input_topics() {
            if !topic.ends_with("-repartition") {
                continue;
            }
            let partitions = log.topics().map_or(0, |topics| topics[&topic].partitions);
            for partition in 0..partitions {
                let at = TopicPartition::new(topic.as_str(), partition);
                let committed = log.committed(&group, std::slice::from_ref(&at));
                if let Ok([Some(position)]) = committed.as_deref() {
                    // A log whose disk fails refuses; the next one tries again.
                    drop(log.purge(&at, position.offset));
                }
            }
        }
    }

    fn follow_index(&mut self, dice: &mut Dice) {
        let loose = self.has_cleaned;
        if let Some(index) = &mut self.index {
            self.log.wire().traced = false;
            let found = index.turn((&self.log, &self.clock), loose, dice);
            self.log.wire().traced = true;
            self.faults.extend(found);
        }
    }

    /// Whether this world shall be restored from nothing in the end.
    pub(super) fn restores(&self) -> bool {
        self.scenario.steps.len().is_multiple_of(3)
    }

    /// How many records of each topic for others there are.
    pub(super) fn written(&self) -> std::collections::BTreeMap<String, usize> {
        let wire = self.log.wire();
        let topology = self.plan.topology();
        let mut topics = topology.output_topics();
        topics.extend([topology.names.alerts(), topology.names.dead_letters()]);
        topics.extend(topology.view_names().iter().map(|view| topology.names.view(view)));
        let count = |topic: String| {
            let of_topic = wire.shadow.topic(&topic).flat_map(|(_, records)| records);
            let count = of_topic.filter(|record| !record.is_control()).count();
            (topic, count)
        };
        topics.into_iter().map(count).collect()
    }

    fn append_first(&mut self) {
        let inputs = self.inputs;
        self.append(&inputs.first);
    }

    fn append_next(&mut self, count: usize) {
        let inputs = self.inputs;
        let left = &inputs.rest[self.next_input.min(inputs.rest.len())..];
        let now = &left[..count.min(left.len())];
        if self.append(now) {
            self.next_input += now.len();
        }
    }

    /// Appends `inputs` as a source does: until the log has them. Answers whether it has.
    fn append(&mut self, inputs: &[super::Input]) -> bool {
        if inputs.is_empty() {
            return true;
        }
        let appends = self.batches(inputs);
        let mut wire = self.log.wire();
        let ends = |wire: &log::Wire| -> Vec<u64> {
            appends.iter().map(|(at, _)| wire.log.range(at).map_or(0, |r| r.end.offset)).collect()
        };
        let before = ends(&wire);
        for _ in 0..4 {
            let commit = Commit { appends: appends.clone(), offsets: Vec::new() };
            let Ok(mut writer) = wire.log.writer("source") else { return false };
            let outcome = writer.commit(commit).wait();
            if matches!(outcome, Outcome::Committed { .. }) {
                wire.follow();
                break;
            }
            if wire.log.reconnect().is_err() {
                return false;
            }
            wire.follow();
            if ends(&wire) != before {
                break;
            }
        }
        let has_them = appends.iter().zip(before).all(|((at, batch), end)| {
            let kept = &wire.shadow.records(at)[usize::try_from(end).unwrap_or(usize::MAX)..];
            let given = batch.clone().into_batch(end, 0);
            given.records().map(|record| super::Stored::of(&record)).eq(kept.iter().cloned())
        });
        drop(wire);
        if !has_them {
            self.fault("a source's records are in the log once, in order", String::new());
        }
        true
    }

    fn batches(&self, inputs: &[super::Input]) -> Vec<(TopicPartition, BatchBuilder)> {
        let mut batches: std::collections::BTreeMap<TopicPartition, BatchBuilder> =
            std::collections::BTreeMap::new();
        for input in inputs {
            let partition = input.partition(self.scenario.partitions);
            let at = TopicPartition::new(input.topic.as_str(), partition);
            batches.entry(at).or_default().push(
                input.timestamp_ms,
                input.key.as_deref(),
                input.value.as_deref(),
                &input.headers(),
            );
        }
        batches.into_iter().collect()
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        self.workers.clear();
        self.zombies.clear();
    }
}

/// Makes the topics of a subject; sources are kept for ever, so that a replay can be compared.
pub(super) fn plan(subject: &Subject, log: &dyn Log, partitions: u32) -> Result<Plan, LogError> {
    let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
    let made = Plan::make(Arc::clone(&subject.topology), log, (partitions, keep));
    made.map_err(|error| LogError::Unavailable(error.to_string()))
}

impl Pool {
    /// Gives the machines' states back, to be used by the next run.
    pub(super) fn put_back(&self, world: World<'_>) {
        let states: Vec<_> =
            world.machines.iter().map(|machine| Arc::clone(&machine.state)).collect();
        drop(world);
        for state in states {
            self.put(state);
        }
    }
}
